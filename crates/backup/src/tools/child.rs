//! A program that was started for one call, what it says, and what its end means.

use crate::error::{BackupError, BackupResult};
use bytes::{Bytes, BytesMut};
use futures::stream;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio_util::io::StreamReader;
use tokio_util::task::AbortOnDropHandle;

/// How much of a child's words is kept: the end of them.
const WORDS: usize = 64 * 1024;
/// How many of its last lines are told.
const LINES: usize = 5;
/// What is read of its output at once.
const CHUNK: usize = 64 * 1024;

/// A program without anything of our own environment.
pub(super) fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").process_group(0).kill_on_drop(true);
    command
}

/// A child in a process group of its own, which ends with this.
#[derive(Debug)]
pub(super) struct Running {
    program: &'static str,
    child: Child,
    words: Option<JoinHandle<String>>,
}

impl Running {
    pub(super) fn start(command: &mut Command, program: &'static str) -> BackupResult<Self> {
        let mut child = command.stderr(Stdio::piped()).spawn().map_err(|e| BackupError::local(format!("start {program}"), e))?;
        let words = child.stderr.take().map(|words| tokio::spawn(listen(words)));
        Ok(Self { program, child, words })
    }

    pub(super) fn input(&mut self) -> BackupResult<ChildStdin> {
        self.child.stdin.take().ok_or_else(|| self.lacks("input"))
    }

    pub(super) fn output(&mut self) -> BackupResult<ChildStdout> {
        self.child.stdout.take().ok_or_else(|| self.lacks("output"))
    }

    /// Bounds its memory (`RLIMIT_AS`, setrlimit(2)); to be called before it gets anything to do.
    pub(super) fn bound_memory(&self, bytes: u64) -> BackupResult<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        // One that has ended already needs none, and says why itself.
        let Some(pid) = pid else { return Ok(()) };
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        match prlimit(Some(pid), Resource::As, limit) {
            Ok(_) | Err(Errno::SRCH) => Ok(()),
            Err(e) => Err(BackupError::local(format!("bound the memory of {}", self.program), e)),
        }
    }

    fn lacks(&self, what: &str) -> BackupError {
        BackupError::Refused(format!("{} has no {what}", self.program))
    }

    /// Its end, and what it means.
    pub(super) async fn end(self) -> BackupResult<()> {
        self.ended().await?.verdict()
    }

    pub(super) async fn ended(mut self) -> BackupResult<Ended> {
        let status = self.child.wait().await.map_err(|e| BackupError::local(format!("wait for {}", self.program), e))?;
        let words = match self.words.take() {
            Some(words) => words.await.unwrap_or_default(),
            None => String::new(),
        };
        Ok(Ended { program: self.program, status, words })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What it has started goes with it; the child itself is killed and reaped by tokio.
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()))
            && let Err(error) = kill_process_group(pid, Signal::KILL)
        {
            tracing::debug!(program = self.program, %error, "it has ended already");
        }
    }
}

async fn listen(mut words: ChildStderr) -> String {
    let (mut text, mut buffer) = (Vec::new(), vec![0; 8 * 1024]);
    // Whatever it says must not make it wait, and cannot push out why it ended.
    loop {
        match words.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => text.extend_from_slice(&buffer[..read]),
            Err(error) => {
                tracing::debug!(%error, "a child's words are lost");
                break;
            }
        }
        if text.len() > 2 * WORDS {
            text.drain(..text.len() - WORDS);
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// What a program writes. Its end can only be read if the program ended well: an error stands in its place otherwise, and that of
/// who feeds it comes first.
pub(super) fn written(
    mut child: Running,
    feed: Option<AbortOnDropHandle<BackupResult<()>>>,
) -> BackupResult<impl AsyncRead + Send + Unpin + use<>> {
    let from = child.output()?;
    let chunks = stream::try_unfold((child, from, feed), async |(child, mut from, feed)| -> io::Result<Option<(Bytes, _)>> {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        if from.read_buf(&mut chunk).await? > 0 {
            return Ok(Some((chunk.freeze(), (child, from, feed))));
        }
        if let Some(feed) = feed {
            feed.await.map_err(io::Error::other)?.map_err(BackupError::into_io)?;
        }
        child.end().await.map_err(BackupError::into_io)?;
        Ok(None)
    });
    Ok(StreamReader::new(Box::pin(chunks)))
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub(super) struct Ended {
    program: &'static str,
    status: ExitStatus,
    words: String,
}

impl Ended {
    /// Whether it ended only because nobody read on.
    pub(super) fn was_left(&self) -> bool {
        self.status.signal() == Some(Signal::PIPE.as_raw()) || (!self.status.success() && self.words.contains("Broken pipe"))
    }

    /// What its end means, by its own words: those of its lines that begin with its name, up to the command that it quotes, which a
    /// tenant may have written.
    pub(super) fn verdict(&self) -> BackupResult<()> {
        if self.status.success() {
            return Ok(());
        }
        let own = format!("{}: error: ", self.program);
        let last = last_of(self.words.lines().filter_map(|line| line.strip_prefix(&own)));
        let says = |words: &[&str]| words.iter().any(|words| last.contains(words));
        let text = self.text(&last);
        if says(FULL) {
            return Err(BackupError::Full(text));
        }
        if self.was_left() || says(REFUSED) {
            return Err(BackupError::Refused(text));
        }
        if self.status.code().is_none() || says(CUT) {
            return Err(BackupError::Cut(text));
        }
        Err(if says(AWAY) { BackupError::ServerAway(text) } else { BackupError::Refused(text) })
    }

    /// The same for psql and a script that may write what it likes: its exit status counts, which no script chooses (PostgreSQL docs,
    /// psql, "Exit Status").
    pub(super) fn verdict_of_script(&self) -> BackupResult<()> {
        let last = last_of(self.words.lines().filter_map(|line| {
            let said = line.strip_prefix("psql:")?;
            let said = said.split_once("<stdin>:").map_or(said, |(_, said)| said.split_once(": ").map_or(said, |(_, said)| said));
            ["ERROR:  ", "FATAL:  ", "error: "].iter().any(|kind| said.trim_start().starts_with(kind)).then_some(said.trim())
        }));
        let says = |words: &[&str]| words.iter().any(|words| last.contains(words));
        let text = self.text(&last);
        match self.status.code() {
            Some(0) => Ok(()),
            Some(_) if says(FULL) => Err(BackupError::Full(text)),
            Some(2) if !says(REFUSED) && says(CUT) => Err(BackupError::Cut(text)),
            Some(2) if !says(REFUSED) => Err(BackupError::ServerAway(text)),
            None => Err(BackupError::Cut(text)),
            Some(_) => Err(BackupError::Refused(text)),
        }
    }

    fn text(&self, last: &str) -> String {
        format!("{}: {}: {last}", self.program, self.status)
    }
}

fn last_of<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let said: Vec<&str> = lines.collect();
    said[said.len().saturating_sub(LINES)..].join("; ")
}

/// The server answers, and will not do it however often it is asked.
const REFUSED: &[&str] = &[
    "password authentication failed",
    "no pg_hba.conf entry",
    "\" does not exist",
    "permission denied",
    "is not permitted to log in",
];
/// The last is what the first session in a new database meets, whose caches are files there (PostgreSQL, `relcache.c`, `write_item`).
const FULL: &[&str] = &["No space left on device", "Disk quota exceeded", "could not write init file"];
/// It had begun and was ended, or its role may open no more sessions: a tenant can do both to itself.
const CUT: &[&str] = &[
    "connection to server was lost",
    "server closed the connection",
    "no connection to the server",
    "terminating connection",
    "could not receive data from server",
    "could not send data to server",
    "SSL SYSCALL error",
    "SSL connection has been closed unexpectedly",
    "too many connections for",
];
/// The server, or the way there, is not there now.
const AWAY: &[&str] = &[
    "connection to server",
    "could not connect",
    "could not translate host name",
    "the database system is",
    "too many clients",
    "remaining connection slots",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(program: &'static str, code: i32, words: &str) -> Ended {
        Ended { program, status: ExitStatus::from_raw(code << 8), words: words.to_owned() }
    }

    #[test]
    fn a_program_is_judged_by_its_own_words() {
        let end = |program, words: &str| ended(program, 1, words).verdict().unwrap_err();
        let at = "pg_dump: error: connection to server at \"127.0.0.1\", port 5432 failed: ";
        for words in [
            format!("{at}Connection refused"),
            format!("{at}FATAL:  the database system is shutting down"),
            "pg_dump: error: could not translate host name \"pg2\" to address: Name or service not known".to_owned(),
            format!("{at}FATAL:  sorry, too many clients already"),
        ] {
            assert!(matches!(end("pg_dump", &words), BackupError::ServerAway(_)), "{words}");
        }
        for words in [
            format!("{at}FATAL:  too many connections for role \"t\""),
            "pg_dump: error: server closed the connection unexpectedly".to_owned(),
            "pg_dump: error: query failed: FATAL:  terminating connection due to administrator command".to_owned(),
        ] {
            assert!(matches!(end("pg_dump", &words), BackupError::Cut(_)), "{words}");
        }
        for words in [
            format!("{at}FATAL:  password authentication failed for user \"t\""),
            format!("{at}FATAL:  database \"nope\" does not exist"),
            "pg_restore: error: could not execute query: ERROR:  relation \"a\" already exists".to_owned(),
            String::new(),
        ] {
            let program = if words.starts_with("pg_restore") { "pg_restore" } else { "pg_dump" };
            assert!(matches!(end(program, &words), BackupError::Refused(_)), "{words}");
        }
        let full =
            "pg_restore: error: could not execute query: ERROR:  could not extend file \"base/1\": No space left on device";
        assert!(matches!(end("pg_restore", full), BackupError::Full(_)));
        let at_once = "pg_restore: error: connection to server at \"::1\", port 1 failed: FATAL:  could not write init file";
        assert!(matches!(end("pg_restore", at_once), BackupError::Full(_)));
        // What a tenant wrote is quoted below the program's own words.
        let quoted =
            "pg_restore: error: could not execute query: ERROR:  syntax error\nCommand was: SELECT 'terminating connection';";
        assert!(matches!(end("pg_restore", quoted), BackupError::Refused(_)));
        // It was not the server that went away.
        let left = Ended { program: "pg_dump", status: ExitStatus::from_raw(13), words: String::new() };
        assert!(left.was_left() && matches!(left.verdict(), Err(BackupError::Refused(_))));
        let killed = Ended { program: "pg_dump", status: ExitStatus::from_raw(9), words: String::new() };
        assert!(!killed.was_left() && matches!(killed.verdict(), Err(BackupError::Cut(_))));
    }

    #[test]
    fn a_script_is_judged_by_how_psql_ended() {
        let end = |code, words: &str| ended("psql", code, words).verdict_of_script();
        assert!(end(0, "psql:<stdin>:1: NOTICE:  hello").is_ok());
        let faked =
            "psql:<stdin>:3: NOTICE:  a\npsql: error: terminating connection\npsql:<stdin>:4: ERROR:  relation \"a\" exists";
        let Err(BackupError::Refused(text)) = end(3, faked) else { panic!("it is refused") };
        assert!(text.ends_with("ERROR:  relation \"a\" exists"), "{text}");
        let away = "psql:<stdin>:9: error: connection to server was lost";
        assert!(matches!(end(2, away), Err(BackupError::Cut(_))));
        let refused = "psql: error: connection to server at \"::1\", port 1 failed: Connection refused";
        assert!(matches!(end(2, refused), Err(BackupError::ServerAway(_))));
        let wrong = "psql: error: connection to server failed: FATAL:  password authentication failed for user \"t\"";
        assert!(matches!(end(2, wrong), Err(BackupError::Refused(_))));
        let full = "psql:<stdin>:9: ERROR:  could not extend file: No space left on device";
        assert!(matches!(end(3, full), Err(BackupError::Full(_))));
    }
}
