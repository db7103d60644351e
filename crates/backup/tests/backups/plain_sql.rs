//! Plain dumps, with the real psql: what is loaded is what was dumped, and a dump is no program.

use crate::rig::{Rig, backup_id, noise};
use crate::server::{PASSWORD, Server};
use backup::tools::{ClientTools, Target};
use backup::{BackupError, Class};
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::{Command, Stdio};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Everything that quoting can stumble over, as columns, names, comments, defaults, functions, views and rules.
const ODD: &str = r#"
CREATE EXTENSION pg_trgm;
CREATE TYPE mood AS ENUM ('so\so', 'it''s', 'glück');
CREATE TABLE "Odd ""name"" \ é" (id serial PRIMARY KEY, "from" text DEFAULT 'C:\new\', "begin" mood, b bytea, j jsonb, a text[]);
INSERT INTO "Odd ""name"" \ é" ("from", "begin", b, j, a) VALUES
  (E'\\.', 'so\so', '\x00ff5c', '{"a": "\\n\u00e9"}', ARRAY[E'a\\b', NULL, E'"q"']),
  (E'\\.\n\\! touch x\n\\.\n', 'it''s', '', NULL, '{}'),
  (E'tab\t nl\n cr\r bs\b vt\x0b \\N $$ $a$ ''quote'' "double" ; -- /* :x :''x'' \\\\', NULL, NULL, 'null', NULL),
  (NULL, 'glück', E'\\\\', '[]', ARRAY['日本語 😀', U&'\0001\FFFF']),
  ('', NULL, NULL, NULL, NULL);
COMMENT ON COLUMN "Odd ""name"" \ é"."from" IS 'a \ and a '' and é, :x :''y'' -- no /* comment';
COMMENT ON TABLE "Odd ""name"" \ é" IS E'two\nlines; \\! touch x';
CREATE TABLE log (t text DEFAULT now()::text CHECK (t !~ '^\s*\\$'), n int[]);
CREATE FUNCTION f(a text, VARIADIC b int[]) RETURNS text LANGUAGE plpgsql AS $f$
BEGIN -- \! touch x
  RETURN replace(a, E'\\', '!é') || $x$ \ $x$ || b[1:2]::text;
END $f$;
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT ''\''::text = ''\''; SELECT 1';
CREATE VIEW v AS SELECT id, CASE WHEN "from" LIKE '%\\%' ESCAPE '!' THEN '\' ELSE a[1:array_length(a, 1)]::text END AS x
  FROM "Odd ""name"" \ é" WHERE '{"a":1}'::jsonb ? 'a';
CREATE RULE r AS ON UPDATE TO log DO ALSO (INSERT INTO log (t) VALUES (';\;'); INSERT INTO log (t) VALUES ('x'); );
CREATE INDEX ON "Odd ""name"" \ é" USING gin ("from" gin_trgm_ops);
CREATE SEQUENCE big MAXVALUE 9000000000; SELECT nextval('big');
CREATE MATERIALIZED VIEW mv AS SELECT * FROM v;
CREATE TABLE bits (b bit(3) DEFAULT B'101', v varbit);
INSERT INTO bits VALUES (DEFAULT, B'0110');
"#;

async fn all(mut from: impl AsyncRead + Unpin) -> Result<String, BackupError> {
    let mut text = Vec::new();
    match from.read_to_end(&mut text).await {
        Ok(_) => Ok(String::from_utf8(text).unwrap()),
        Err(e) => Err(e.downcast().expect("an error of ours")),
    }
}

/// Without what differs from dump to dump.
fn comparable(dump: &str) -> Vec<&str> {
    dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")).collect()
}

#[tokio::test]
async fn what_is_loaded_is_what_was_dumped() {
    let server = Server::start().await;
    let first = server.database("first");
    server.run(&first, ODD);
    let row = format!("INSERT INTO log (t) SELECT repeat('ab\\.{}', 400000)", "é");
    server.run(&first, &row);
    server.run(&first, "INSERT INTO log (t) SELECT E'\\\\.\\n' || n || E'\\\\' FROM generate_series(1, 3000) n");
    let dump = all(server.tools.dump_plain(&first, None).unwrap()).await.unwrap();
    assert!(dump.contains("COMMENT ON EXTENSION") && dump.contains("\\restrict "));

    let second = server.database("second");
    server.tools.load_plain(&second, dump.as_bytes()).await.unwrap();
    let again = all(server.tools.dump_plain(&second, None).unwrap()).await.unwrap();
    similar(&again, &dump);
    assert_eq!(server.run(&second, "SELECT f('a\\', 1, 2, 3), one()"), "a!é \\ {1,2}|1");

    // With rows as statements, and through the custom format.
    let installation = server.cluster.server().installation();
    let inserts = Command::new(installation.bin().join("pg_dump"))
        .args(["--inserts", "--no-owner", "-h", "127.0.0.1", "-p", &first.port.to_string(), "-U", "tenant", "first"])
        .env("PGPASSWORD", PASSWORD)
        .output()
        .unwrap();
    assert!(inserts.status.success());
    let third = server.database("third");
    server.tools.load_plain(&third, inserts.stdout.as_slice()).await.unwrap();
    similar(&all(server.tools.dump_plain(&third, None).unwrap()).await.unwrap(), &dump);

    let custom = Command::new(installation.bin().join("pg_dump"))
        .args(["-Fc", "-h", "127.0.0.1", "-p", &first.port.to_string(), "-U", "tenant", "first"])
        .env("PGPASSWORD", PASSWORD)
        .output()
        .unwrap();
    let plain = all(server.tools.to_plain(std::io::Cursor::new(custom.stdout.clone())).unwrap()).await.unwrap();
    similar(&plain.replace("-- Started on", "--"), &dump);
    let cut = custom.stdout[..custom.stdout.len() / 2].to_vec();
    let error = all(server.tools.to_plain(std::io::Cursor::new(cut)).unwrap()).await.unwrap_err();
    assert!(matches!(error, BackupError::Refused(_)), "{error}");
    let error = all(server.tools.to_plain(std::io::Cursor::new(noise(1, 3 << 20))).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("pg_restore"), "{error}");
}

fn similar(one: &str, other: &str) {
    let statements = |dump| comparable(dump).into_iter().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    let (one, other) = (statements(one), statements(other));
    let differs = one.lines().zip(other.lines()).find(|(one, other)| one != other);
    assert!(one == other, "{differs:?}");
}

#[tokio::test]
async fn what_other_owners_left_in_a_dump_does_not_fail_it() {
    let server = Server::start().await;
    let target = server.database("old");
    let dump = "SET statement_timeout = 0;\nSET default_with_oids = false;\nSET transaction_timeout = 0;\n\
        CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog;\nCOMMENT ON EXTENSION plpgsql IS 'PL/pgSQL';\n\
        CREATE EXTENSION IF NOT EXISTS unaccent WITH SCHEMA public;\nCOMMENT ON EXTENSION unaccent IS 'x';\n\
        COMMENT ON SCHEMA public IS 'standard public schema';\nCREATE TABLE public.t (a integer, owner text);\n\
        ALTER TABLE public.t OWNER TO odoo_of_somebody;\nCOPY public.t (a, owner) FROM stdin;\n1\tme\n\\.\n\
        REVOKE USAGE ON SCHEMA public FROM PUBLIC;\nGRANT SELECT ON TABLE public.t TO reader;\n\
        BEGIN;\nSELECT pg_catalog.lo_create('4711');\nSELECT pg_catalog.lo_open('4711', 131072);\n\
        SELECT pg_catalog.lowrite(0, '\\x61');\nSELECT pg_catalog.lo_close(0);\nCOMMIT;\n";
    server.tools.load_plain(&target, dump.as_bytes()).await.unwrap();
    assert_eq!(
        server.run(&target, "SELECT a, owner, pg_get_userbyid(relowner) FROM t, pg_class WHERE relname = 't'"),
        "1|me|tenant"
    );
    assert_eq!(server.run(&target, "SELECT lo_get(4711)"), "\\x61");
}

#[tokio::test]
async fn a_dump_that_is_a_program_runs_nothing() {
    let server = Server::start().await;
    let place = tempfile::tempdir().unwrap();
    // Anybody may make the marker: neither server nor psql is kept from it by permissions.
    std::fs::set_permissions(place.path(), Permissions::from_mode(0o777)).unwrap();
    let marker = place.path().join("marker");
    let shell = format!("\\! touch {}", marker.display());
    let file = marker.display();
    let table = "CREATE TABLE t (a text);\n";
    let sjis = "SELECT pg_catalog.set_config('client_encoding', 'SJIS', false);\n";
    let loose = "SELECT pg_catalog.set_config('standard_conforming_strings', 'off', false);\n";
    let cases = [
        format!("{shell}\n"),
        format!("SELECT 1 {shell}\n;"),
        format!("SELECT 1; {shell}\n"),
        format!("{table}\\copy t from program 'touch {file}'\n"),
        format!("SELECT 'touch {file}' \\g | sh\n"),
        format!("SELECT '{shell}' \\gexec\n"),
        format!("\\o | touch {file}\n"),
        format!("\\w | touch {file}\n"),
        "\\i /etc/passwd\n".to_owned(),
        "\\connect postgres\n".to_owned(),
        format!("\\set x `touch {file}`\n"),
        format!("\\setenv PAGER 'touch {file}'\n\\pset pager always\nSELECT 1;"),
        format!("\\restrict a\n\\unrestrict a\n{shell}\n"),
        format!("\\restrict a\n\\unrestrict a {shell}\n"),
        format!("\\unrestrict {}\n{shell}\n", "0".repeat(32)),
        // Where psql might see the end of quotes that is none, or none that is one.
        format!("SET standard_conforming_strings = off;\nSELECT 'a\\'; {shell}\n';"),
        format!("{loose}SELECT 'a\\'; {shell}\n';"),
        format!("{loose}SELECT 'a\\';\n{shell}\n"),
        format!("{loose}SELECT $$a\\$$, ' {shell}\n';"),
        format!("DO $$BEGIN SET standard_conforming_strings = off; END$$;\nSELECT 'a\\', ' {shell}\n --';"),
        format!("SELECT E'a\\\\'; {shell}\n"),
        format!("SELECT E'a\\'', ' {shell}\n';\n{shell}\n"),
        format!("SELECT $a$ $b$ $a$; {shell}\n"),
        format!("SELECT $a$ $$ ' $a$\n;{shell}\n"),
        format!("SELECT 1$a$;\n{shell}\n$a$;"),
        format!("SELECT a$a$;\n{shell}\n$a$;"),
        format!("SELECT 1U&'\\';\n{shell}\n';"),
        format!("/* /* */ {shell}\n */ {shell}\n"),
        format!("-- a\r{shell}\n"),
        format!("SELECT '\0';\n{shell}\n"),
        format!("{sjis}SELECT 'あ', ' {shell}\n';"),
        format!("{table}{sjis}SELECT 'あ', '(';\nCOPY t FROM stdin;\n{shell}\n\\.\n{shell}\n"),
        // Where psql might not see data that we see, or see their end elsewhere.
        format!("{table}COPY t FROM stdin;\n\\.\n{shell}\n"),
        format!("{table}COPY t FROM stdin; {shell}\n\\.\n"),
        format!("{table}COPY t FROM stdin;\n\\.\r\n{shell}\n\\.\n"),
        format!("{table}SELECT (;\nCOPY t FROM stdin;\n{shell}\n\\.\n"),
        format!("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;\nCOPY t FROM stdin;\n{shell}\n\\.\n"),
        format!("{table}- CREATE FUNCTION f() BEGIN;\nCOPY t FROM stdin;\n{shell}\n\\.\n"),
        format!("{table}(\"x\") CREATE OR REPLACE PROCEDURE f() BEGIN;\nCOPY t FROM stdin;\n{shell}\n\\.\n"),
        format!("{table}1create function f() begin;\nCOPY t FROM stdin;\n{shell}\n\\.\n"),
        "quit\n;\n".to_owned(),
        format!("COPY missing FROM stdin;\n{shell}\n\\.\n"),
        format!("{table}COPY t (missing) FROM stdin;\n{shell}\n\\.\n"),
        format!("{table}COPY t FROM stdin;\na\tb\n{shell}\n\\.\n"),
        format!("{table}COPY t FROM stdin;\n{shell}\n"),
        // What only a superuser may, and the filter does not let through.
        format!("{table}COPY t FROM PROGRAM 'touch {file}';"),
        "CREATE TABLE t (a text); COPY t FROM '/etc/passwd';".to_owned(),
        format!("COPY (SELECT 1) TO PROGRAM 'touch {file}';"),
        // The same without the filter's help.
        format!("DO $$BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch {file}'''; END$$;"),
        "DO $$BEGIN EXECUTE 'CREATE TEMP TABLE x (a text)'; EXECUTE 'COPY x FROM ''/etc/passwd'''; END$$;".to_owned(),
        "CREATE EXTENSION file_fdw;".to_owned(),
        "CREATE ROLE mine SUPERUSER;".to_owned(),
        "SET ROLE postgres;".to_owned(),
        "ALTER SYSTEM SET port = 1;".to_owned(),
        "SELECT pg_read_file('/etc/passwd');".to_owned(),
        "CREATE DATABASE other;".to_owned(),
        "ROLLBACK;".to_owned(),
        // What would not fit into memory.
        "SELECT repeat('x', 20000000) FROM generate_series(1, 100);".to_owned(),
        "SELECT".to_owned(),
    ];
    let target = server.database("hostile");
    let one_wall = without_restriction(&server, place.path()).await;
    for (dump, tools) in cases.iter().flat_map(|dump| [(dump, &server.tools), (dump, &one_wall)]) {
        let outcome = tools.load_plain(&target, dump.as_bytes()).await;
        // Some of it has become harmless SQL.
        if let Err(error) = &outcome {
            assert!(matches!(error, BackupError::Refused(_)) && error.class() == Class::Permanent, "{dump}: {error}");
            assert!(!error.to_string().contains(PASSWORD), "{dump}: {error}");
            assert_eq!(
                server.run(&target, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"),
                "0",
                "{dump}"
            );
        } else {
            assert!(
                dump.contains("SELECT 'あ', '") || dump.contains("SELECT $$a") || dump.contains("SET standard"),
                "{dump}: it was loaded"
            );
        }
        assert!(!marker.exists(), "{dump}");
    }
    // The test can fail: without either wall the marker is made.
    naked_psql(&server, &target, &format!("{shell}\n"));
    assert!(marker.exists());
}

/// Tools whose psql never hears of the restriction: what gets through to it must be harmless by itself.
async fn without_restriction(server: &Server, place: &Path) -> ClientTools {
    with_psql(server, place, "[ \"$1\" = --version ] || read -r restrict\nexec PSQL \"$@\"\n").await
}

async fn with_psql(server: &Server, place: &Path, script: &str) -> ClientTools {
    let bin = server.cluster.server().installation().bin();
    for program in ["pg_dump", "pg_restore"] {
        symlink(bin.join(program), place.join(program)).unwrap();
    }
    let script = format!("#!/bin/sh\n{}", script.replace("PSQL", &bin.join("psql").display().to_string()));
    std::fs::write(place.join("psql"), script).unwrap();
    std::fs::set_permissions(place.join("psql"), Permissions::from_mode(0o755)).unwrap();
    let major = server.tools.version().split(' ').nth(2).unwrap().split('.').next().unwrap().parse().unwrap();
    ClientTools::find(major, &[place.to_owned()]).await.unwrap()
}

#[tokio::test]
async fn a_psql_that_knows_no_restriction_loads_nothing() {
    let server = Server::start().await;
    let place = tempfile::tempdir().unwrap();
    let script = "[ \"$1\" = --version ] && exec PSQL \"$@\"\nsed -u '1s/restrict/unheard_of/' | PSQL \"$@\"\n";
    let older = with_psql(&server, place.path(), script).await;
    let target = server.database("older");
    let error = older.load_plain(&target, b"CREATE TABLE t (a text);\n".as_slice()).await.unwrap_err();
    assert!(matches!(&error, BackupError::Refused(why) if why.contains("invalid command")), "{error}");
    assert_eq!(server.run(&target, "SELECT count(*) FROM pg_class WHERE relname = 't'"), "0");
}

/// psql without any wall.
fn psql(server: &Server, target: &Target) -> Command {
    let mut command = Command::new(server.cluster.server().installation().bin().join("psql"));
    command.args(["-X", "-h", "127.0.0.1", "-p", &target.port.to_string(), "-U", "tenant", "-f", "-", "-d", &target.database]);
    command.env("PGPASSWORD", PASSWORD);
    command
}

fn naked_psql(server: &Server, target: &Target, script: &str) {
    let mut child = psql(server, target).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    child.wait().unwrap();
}

/// Programs whose environment holds the password, with their arguments.
fn programs_of(port: u16) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let environment = read("environ");
        let is = |text: String| environment.windows(text.len()).any(|window| window == text.as_bytes());
        if is(format!("PGPASSWORD={PASSWORD}")) && is(format!("PGPORT={port}")) {
            found.push((pid, String::from_utf8_lossy(&read("cmdline")).replace('\0', " ")));
        }
    }
    found
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_password_is_seen_nowhere_and_nobody_outlives_the_call() {
    let server = Server::start().await;
    let target = server.database("watched");
    server.run(&target, "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
    let port = target.port;

    // A load that waits for the rest of its dump.
    let (mut into, from) = tokio::io::duplex(1024);
    into.write_all(b"SELECT 1;\n").await.unwrap();
    {
        let mut load = pin!(server.tools.load_plain(&target, from));
        until_polled(&mut load, || {
            programs_of(port).iter().any(|(_, line)| line.contains("psql") && line.contains("ON_ERROR_STOP"))
        })
        .await;
        for (_, line) in programs_of(port) {
            assert!(!line.contains(PASSWORD), "{line}");
        }
    }
    until("psql ends with the load", || programs_of(port).is_empty()).await;
    drop(into);

    // A dump that nobody reads on.
    let mut dump = server.tools.dump_plain(&target, None).unwrap();
    dump.read_u8().await.unwrap();
    assert!(programs_of(port).iter().all(|(_, line)| !line.contains(PASSWORD)) && !programs_of(port).is_empty());
    drop(dump);
    until("pg_dump ends with its reader", || programs_of(port).is_empty()).await;

    // An error names neither.
    let wrong = Target { password: "another-0815".to_owned().into(), ..target.clone() };
    for error in [
        server.tools.load_plain(&wrong, b"SELECT 1;".as_slice()).await.unwrap_err(),
        all(server.tools.dump_plain(&wrong, None).unwrap()).await.unwrap_err(),
    ] {
        assert!(matches!(error, BackupError::Refused(_)), "{error}");
        assert!(error.to_string().contains("password authentication failed") && !error.to_string().contains("0815"), "{error}");
    }
    let away = Target { port: 1, ..target.clone() };
    for error in [
        server.tools.load_plain(&away, b"SELECT 1;".as_slice()).await.unwrap_err(),
        all(server.tools.dump_plain(&away, None).unwrap()).await.unwrap_err(),
    ] {
        assert!(matches!(error, BackupError::ServerAway(_)), "{error}");
    }
}

/// Polls a future that must not end until something is so.
async fn until_polled<T: std::fmt::Debug>(future: &mut (impl Future<Output = T> + Unpin), is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    std::future::poll_fn(|cx| {
        if is() {
            return Poll::Ready(());
        }
        assert!(Instant::now() < deadline, "it does not get there");
        match Pin::new(&mut *future).poll(cx) {
            Poll::Ready(end) => panic!("it has ended: {end:?}"),
            Poll::Pending => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_went_wrong_first_is_told() {
    let server = Server::start().await;
    let target = server.database("first_cause");
    server.run(&target, "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
    let rig = Rig::new(crate::rig::Kind::Local, 0).await;
    let mut writer = rig.backups().writer(backup_id(1), rig.instance, 1);

    // A dump that was none, since it could not be made.
    let wrong = Target { password: "another-0815".to_owned().into(), ..target.clone() };
    let mut dump = server.tools.dump(&wrong, "00000003-00000001-1").unwrap();
    let stored = writer.dump(dump.content()).await;
    assert!(matches!(stored, Err(BackupError::Refused(_))));
    let error = dump.end_of(stored).await.unwrap_err();
    assert!(error.to_string().contains("password authentication failed"), "{error}");

    // A dump that was refused half-way, and its program ends for want of a reader.
    let mut session = psql(&server, &target).stdin(Stdio::piped()).stdout(Stdio::piped()).arg("-qAt").spawn().unwrap();
    let mut ask = session.stdin.take().unwrap();
    ask.write_all(b"BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT pg_export_snapshot();\n").unwrap();
    let mut snapshot = String::new();
    BufReader::new(session.stdout.take().unwrap()).read_line(&mut snapshot).unwrap();
    for stored in [BackupError::Refused("first".to_owned()), BackupError::Unreachable("first".to_owned())] {
        let class = stored.class();
        let mut dump = server.tools.dump(&target, snapshot.trim()).unwrap();
        dump.content().read_u8().await.unwrap();
        let error = dump.end_of(Err::<(), _>(stored)).await.unwrap_err();
        assert!(error.to_string().ends_with("first") && error.class() == class, "{error}");
    }
    let mut dump = server.tools.dump(&target, snapshot.trim()).unwrap();
    let stored = writer.dump(dump.content()).await;
    dump.end_of(stored).await.unwrap();
    drop(ask);
    session.wait().unwrap();
}

/// The first wall alone, before a psql that is not restricted, goes on after errors, and has no transaction around it.
#[tokio::test]
async fn whatever_gets_through_is_no_command_of_psql() {
    const PARTS: &[&str] = &[
        "- ",
        "1 ",
        "CREATE FUNCTION f() ",
        "CREATE OR REPLACE PROCEDURE p() ",
        "BEGIN ",
        "f() ",
        "BEGIN ",
        "ATOMIC ",
        "END ",
        "CASE ",
        ";\n",
        "(",
        ")",
        "'",
        "'",
        "''",
        "$$",
        "$a$",
        "E'",
        "é",
        "あ",
        "ソ",
        "--",
        "/*",
        "*/",
        "\n",
        "\"",
        ":",
        "::",
        "\\",
        "\\\\",
        "SELECT ",
        "a",
        "1",
        "e5",
        "U&'",
        "B'1'",
        " ",
        "x",
        "!",
        "UESCAPE ",
        "$1",
        "[",
        ", ",
        "COPY",
        "COPY",
        "COPY",
        "SHELL",
        "LOOSE",
        "SJIS",
        "GB18030",
    ];
    let server = Server::start().await;
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), Permissions::from_mode(0o777)).unwrap();
    let marker = place.path().join("marker");
    let script = "[ \"$1\" = --version ] && exec PSQL \"$@\"\nread -r restrict\nexec PSQL -X -q -f -\n";
    let tools = with_psql(&server, place.path(), script).await;
    let target = server.database("random");
    server.run(&target, "CREATE TABLE t (a text)");
    let shell = format!("\\! touch {}\n", marker.display());
    let copy = format!(";\nCOPY t FROM stdin;\n{shell}\\.\n");
    let set = |name: &str, value: &str| format!("SELECT pg_catalog.set_config('{name}', '{value}', false);\n");
    let mut random = {
        let mut state = 4711_u64;
        move |most: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % most
        }
    };
    let mut passed = 0;
    for _ in 0..1000 {
        let mut text = String::new();
        for _ in 0..1 + random(12) {
            match PARTS[random(PARTS.len())] {
                "COPY" => text.push_str(&copy),
                "SHELL" => text.push_str(&shell),
                "LOOSE" => text.push_str(&set("standard_conforming_strings", "off")),
                encoding @ ("SJIS" | "GB18030") => text.push_str(&set("client_encoding", encoding)),
                part => text.push_str(part),
            }
        }
        text.push_str(&copy);
        let outcome = tools.load_plain(&target, text.as_bytes()).await;
        passed += u32::from(!outcome.is_err_and(|error| error.to_string().contains("of the dump: ")));
        assert!(!marker.exists(), "{text}");
    }
    assert!(passed > 100, "{passed}");
}
