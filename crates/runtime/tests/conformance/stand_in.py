"""Stands in for Odoo where its start would be too slow: the same command line, configuration file, pages and signals.

Variables of the workload choose how it behaves: EXIT_AT_ONCE, STUBBORN (ignores SIGTERM), NO_ASSETS, WITH_CHILD (starts one that
outlives it unless its process group is ended), ENDLESS (a one-off run that does not end)."""
import http.server, os, signal, socketserver, subprocess, sys, threading

conf_file = sys.argv[sys.argv.index('-c') + 1]
conf = dict(line.strip().split(' = ', 1) for line in open(conf_file) if ' = ' in line)
home = conf['data_dir']


def say(level, text):
    print('2026-01-01 00:00:00,000 1', level, conf['db_name'], 'stand_in:', text, file=sys.stderr, flush=True)


with open(home + '/starts', 'a') as starts:
    starts.write('start\n')
say('INFO', 'begins with ' + ' '.join(sys.argv[1:]))
if 'WITH_CHILD' in os.environ:
    subprocess.Popen(['sleep', '600'])
if 'EXIT_AT_ONCE' in os.environ:
    say('CRITICAL', 'told to exit')
    sys.exit(1)
if sys.argv[1] == 'neutralize':
    print('BEGIN;\nUPDATE ir_cron SET active = false;\nCOMMIT;', flush=True)
    print('a warning of a library', file=sys.stderr, flush=True)
    sys.exit(0)
if '--stop-after-init' in sys.argv:
    for store in sorted(os.listdir(home + '/filestore')):
        say('INFO', 'filestore ' + store + ' ' + ' '.join(sorted(os.listdir(home + '/filestore/' + store))))
    if 'ENDLESS' in os.environ:
        signal.pause()
    say('INFO', 'initialised')
    sys.exit(0)

ASSET = '/web/assets/1/abc/web.assets_frontend.min.css'


class Pages(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self):
        if self.path == '/web/login' or (self.path == '/odoo' and 'session_id=abc' in self.headers.get('Cookie', '')):
            self.answer(200, f'<link rel="stylesheet" href="{ASSET}"/>')
        elif self.path == ASSET:
            self.answer(500 if 'NO_ASSETS' in os.environ else 200, 'body {}')
        else:
            self.answer(404, '')

    def do_POST(self):
        said = self.rfile.read(int(self.headers['Content-Length'])).decode()
        uid = '2' if '"password":"admin"' in said.replace(' ', '') else 'null'
        self.answer(200, '{"result": {"uid": %s}}' % uid, ('Set-Cookie', 'session_id=abc; Path=/'))

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


server = Server((conf['http_interface'], int(conf['http_port'])), Pages)
handler = signal.SIG_IGN if 'STUBBORN' in os.environ else lambda *_: threading.Thread(target=server.shutdown).start()
signal.signal(signal.SIGTERM, handler)
say('INFO', 'HTTP service running')
server.serve_forever()
say('INFO', 'ends in order')
