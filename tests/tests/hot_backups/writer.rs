//! Somebody who works with an instance: a row and an attachment a hundred times a second, as Odoo writes them (`ir_attachment.py`): first the
//! file, under the SHA-1 of its content, then the row; deleted is the row, and the file some time later, when no row names it.

use anyhow::{Context, Result, anyhow, bail};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use stories::{Place, Stack, until};
use testkit::server::SUPERUSER;

const PAUSE: Duration = Duration::from_millis(10);

pub(crate) fn sha1(content: &[u8]) -> String {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is committed, by the SHA-1 of each file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) live: BTreeSet<String>,
    pub(crate) deleted: BTreeSet<String>,
}

impl Known {
    fn all(&self) -> usize {
        self.live.len() + self.deleted.len()
    }
}

enum Order {
    CollectGarbage,
    Tell(Sender<Known>),
}

pub(crate) struct Writer {
    orders: Sender<Order>,
    thread: JoinHandle<Result<usize>>,
}

impl Writer {
    pub(crate) fn start(stack: &Stack, place: &Place) -> Result<Self> {
        let server = stack.pair.postgres2.server();
        let mut psql = server
            .installation()
            .command("psql")
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d", &place.database, "-f", "-", "-h"])
            .arg(server.directory())
            .args(["-p", &server.port().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run psql")?;
        writeln!(psql.stdin.as_mut().context("psql has no input")?, "SET ROLE \"{}\";", place.role)?;
        let answers = BufReader::new(psql.stdout.take().context("psql has no output")?);
        let filestore = place.directory.join("data/filestore").join(&place.database);
        let mut work = Work { psql, answers, filestore, known: Known::default(), garbage: Vec::new(), written: 0 };
        let (orders, given) = mpsc::channel();
        Ok(Self { orders, thread: std::thread::spawn(move || work.until_told(&given)) })
    }

    /// What is committed now.
    pub(crate) fn known(&self) -> Result<Known> {
        let (tell, told) = mpsc::channel();
        self.orders.send(Order::Tell(tell)).map_err(|_| anyhow!("the writer has ended"))?;
        told.recv().context("the writer has ended")
    }

    /// Removes the files that no row names any more.
    pub(crate) fn collect_garbage(&self) -> Result<()> {
        self.orders.send(Order::CollectGarbage).map_err(|_| anyhow!("the writer has ended"))
    }

    /// Waits for so many more attachments.
    pub(crate) fn writes(&self, more: usize) -> Result<()> {
        let before = self.known()?.all();
        until(Duration::from_secs(60), "attachments", || Ok((self.known()?.all() >= before + more).then_some(())))
    }

    /// Ends it; answers how many attachments it has written.
    pub(crate) fn stop(self) -> Result<usize> {
        drop(self.orders);
        self.thread.join().map_err(|_| anyhow!("the writer has panicked"))?
    }
}

struct Work {
    psql: Child,
    answers: BufReader<std::process::ChildStdout>,
    filestore: PathBuf,
    known: Known,
    garbage: Vec<String>,
    written: usize,
}

impl Work {
    fn until_told(&mut self, orders: &Receiver<Order>) -> Result<usize> {
        let mut due = Instant::now();
        loop {
            match orders.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Order::Tell(to)) => {
                    // Whoever asked may have given up.
                    drop(to.send(self.known.clone()));
                    continue;
                }
                Ok(Order::CollectGarbage) => {
                    for sum in std::mem::take(&mut self.garbage) {
                        fs::remove_file(self.filestore.join(&sum[..2]).join(&sum))?;
                    }
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            due += PAUSE;
            self.write()?;
            if self.written.is_multiple_of(5) {
                self.delete()?;
            }
        }
        drop(self.psql.stdin.take());
        self.psql.wait()?;
        Ok(self.written)
    }

    fn write(&mut self) -> Result<()> {
        self.written += 1;
        let number = self.written;
        let content = format!("attachment {number}\n").repeat(1 + number * 7 % 900);
        let sum = sha1(content.as_bytes());
        let directory = self.filestore.join(&sum[..2]);
        // Odoo must be able to write there as well.
        let owner = fs::metadata(&self.filestore)?;
        if !directory.exists() {
            fs::create_dir(&directory)?;
            chown(&directory, Some(owner.uid()), Some(owner.gid()))?;
        }
        let file = directory.join(&sum);
        fs::write(&file, &content)?;
        chown(&file, Some(owner.uid()), Some(owner.gid()))?;
        let (name, length) = (format!("{}/{sum}", &sum[..2]), content.len());
        self.commit(&format!(
            "INSERT INTO res_partner_category (name, active, create_date) VALUES ('{{\"en_US\": \"Number {number}\"}}', true, now());
             INSERT INTO ir_attachment (name, type, store_fname, checksum, file_size, mimetype, create_date)
             VALUES ('number {number}', 'binary', '{name}', '{sum}', {length}, 'text/plain', now());"
        ))?;
        self.known.live.insert(sum);
        Ok(())
    }

    fn delete(&mut self) -> Result<()> {
        let sum = self.known.live.iter().nth(self.written % self.known.live.len()).context("nothing is there")?.clone();
        self.commit(&format!("DELETE FROM ir_attachment WHERE checksum = '{sum}';"))?;
        self.known.live.remove(&sum);
        self.known.deleted.insert(sum.clone());
        self.garbage.push(sum);
        Ok(())
    }

    /// Returns when the server has said that it is committed.
    fn commit(&mut self, sql: &str) -> Result<()> {
        let input = self.psql.stdin.as_mut().context("psql has no input")?;
        write!(input, "BEGIN;\n{sql}\nCOMMIT;\n\\echo committed\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.trim() != "committed" {
            bail!("psql says {line:?} to {sql}");
        }
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // It has ended already where all went well.
        drop(self.psql.kill());
        drop(self.psql.wait());
    }
}
