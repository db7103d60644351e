//! The log file of a service: `log/odoo.log`, which Odoo's standard output and error are appended to, and one older part.

use crate::error::{RuntimeError, RuntimeResult};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// From this size on the file is cut. An instance keeps at most about twice as much, plus what it writes between two looks.
const LIMIT: u64 = 16 * 1024 * 1024;
/// Tails are taken from this much of each part.
const TAIL: u64 = 1024 * 1024;
/// The most bytes that a run may print: many times what all of Odoo's modules together do.
const PRINTED: u64 = 8 * 1024 * 1024;
/// The longest line that is handed out, in characters.
const LONGEST: usize = 4096;
/// The longest reason that goes into a row.
const REASON: usize = 300;

/// The service's log.
pub(super) fn service_log(directory: &Path) -> PathBuf {
    directory.join("log/odoo.log")
}

/// The log of the latest one-off run.
pub(super) fn one_off_log(directory: &Path) -> PathBuf {
    directory.join("log/one-off.log")
}

/// What the latest one-off run printed, where that is told apart.
pub(super) fn one_off_output(directory: &Path) -> PathBuf {
    directory.join("log/one-off.out")
}

fn older(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// Opens a log for a process to append to.
pub(super) fn open(path: &Path) -> RuntimeResult<File> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    file.map_err(|e| RuntimeError::io(format!("open {}", path.display()), &e))
}

/// Cuts a log that grew too large: its content becomes the older part. The writer appends, so it goes on at the new beginning;
/// a line written in between may be lost. A log that cannot be cut says nothing about its service.
pub(super) fn rotate(path: &Path) {
    if let Err(error) = rotate_at(path, LIMIT) {
        tracing::warn!(path = %path.display(), %error, "a log could not be cut");
    }
}

fn rotate_at(path: &Path, limit: u64) -> io::Result<()> {
    if length(path)? <= limit {
        return Ok(());
    }
    let mut current = OpenOptions::new().read(true).write(true).open(path)?;
    // Several workers may look at once; only one may cut, and the others find it done.
    let length = current.metadata()?.len();
    if current.try_lock().is_err() || length <= limit {
        return Ok(());
    }
    let kept = keep(&mut current, length, &older(path));
    // Also when there is no room for the older part: then it is the log itself that has to make room.
    current.set_len(0)?;
    kept
}

fn keep(current: &mut File, length: u64, older: &Path) -> io::Result<()> {
    let mut kept = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(older)?;
    current.seek(SeekFrom::Start(length.saturating_sub(LIMIT)))?;
    // A writer that is quick must not be followed without end.
    io::copy(&mut current.take(LIMIT), &mut kept).map(drop)
}

fn length(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(e),
    }
}

/// All of it, of a text that somebody goes on working with.
pub(super) fn whole(path: &Path) -> RuntimeResult<String> {
    let work = || -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(path)?.take(PRINTED + 1).read_to_end(&mut bytes)?;
        let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= PRINTED);
        String::from_utf8(bytes)
            .ok()
            .filter(|_| fits)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is too long, or no text"))
    };
    work().map_err(|e| match e.kind() {
        io::ErrorKind::InvalidData => RuntimeError::Permanent(format!("{}: {e}", path.display())),
        _ => RuntimeError::io(format!("read {}", path.display()), &e),
    })
}

/// The last `count` lines, oldest first.
pub(super) fn tail(path: &Path, count: usize) -> RuntimeResult<Vec<String>> {
    let read = |part: &Path| end_of(part).map_err(|e| RuntimeError::io(format!("read {}", part.display()), &e));
    let mut lines = read(path)?;
    if lines.len() < count {
        let mut earlier = read(&older(path))?;
        earlier.append(&mut lines);
        lines = earlier;
    }
    Ok(lines.split_off(lines.len().saturating_sub(count)))
}

fn end_of(path: &Path) -> io::Result<Vec<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let skipped = file.metadata()?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line may have been cut in two.
    Ok(text.lines().skip(usize::from(skipped > 0)).map(clean).collect())
}

/// A line as it may stand in a row and in a terminal. A tenant writes what it likes, PostgreSQL stores no U+0000, and nobody
/// reads a line without end.
fn clean(line: &str) -> String {
    let harmless = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    line.chars().take(LONGEST).map(harmless).collect()
}

/// Why a service that should run does not, in the last telling words of its log.
pub(super) fn reason(directory: &Path) -> RuntimeResult<String> {
    let lines = tail(&service_log(directory), 200)?;
    let telling = |line: &&String| line.contains(" CRITICAL ") || line.contains(" ERROR ") || is_exception(line);
    let last = lines.iter().rev().find(telling).or_else(|| lines.iter().rev().find(|line| !line.trim().is_empty()));
    Ok(match last {
        Some(line) => format!("Odoo exited by itself: {}", line.trim().chars().take(REASON).collect::<String>()),
        None => "Odoo exited by itself and wrote nothing".into(),
    })
}

/// The last line of a Python traceback, e.g. `psycopg2.OperationalError: connection refused`.
fn is_exception(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(name, _)| {
        !name.contains(' ') && (name.ends_with("Error") || name.ends_with("Exception") || name.ends_with("Interrupt"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_goes_back_into_the_older_part() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("odoo.log");
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        rotate_at(&path, 5).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        fs::write(&path, "four\n").unwrap();
        assert_eq!(tail(&path, 2).unwrap(), ["three", "four"]);
        assert_eq!(tail(&path, 1).unwrap(), ["four"]);
        assert_eq!(tail(&place.path().join("missing.log"), 5).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_log_is_cut_also_where_its_older_part_cannot_be_kept() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("odoo.log");
        fs::create_dir(older(&path)).unwrap();
        fs::write(&path, "one\ntwo\n").unwrap();
        assert!(rotate_at(&path, 5).is_err());
        assert_eq!(length(&path).unwrap(), 0);
    }

    #[test]
    fn lines_can_be_stored_and_shown() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("odoo.log");
        fs::write(&path, format!("a\0b\tc\x1b[2J\u{85}\n{}\n", "é".repeat(LONGEST + 1))).unwrap();
        let lines = tail(&path, 2).unwrap();
        assert_eq!(lines[0], "a\u{fffd}b\tc\u{fffd}[2J\u{fffd}");
        assert_eq!(lines[1].chars().count(), LONGEST);
    }

    #[test]
    fn a_small_log_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("odoo.log");
        fs::write(&path, "one\n").unwrap();
        rotate(&path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
    }

    #[test]
    fn the_reason_is_the_last_error_in_the_log() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("log")).unwrap();
        let log = "x INFO d odoo: begin\npsycopg2.OperationalError: connection refused\n  at end\nx INFO d odoo: bye\n";
        fs::write(service_log(place.path()), log).unwrap();
        assert_eq!(reason(place.path()).unwrap(), "Odoo exited by itself: psycopg2.OperationalError: connection refused");
    }
}
