//! Which root this is: a file `.root` in it holds an id that never changes. A file system that is not mounted, or another one, shows
//! by it; that a directory is missing then says nothing.

use super::flush;
use crate::error::{RuntimeError, RuntimeResult};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

fn file(root: &Path) -> PathBuf {
    root.join(".root")
}

/// The id of a root; `None` for one that has none yet.
pub fn root_id(root: &Path) -> RuntimeResult<Option<String>> {
    match fs::read_to_string(file(root)) {
        Ok(text) if text.trim().is_empty() => Err(RuntimeError::Permanent(format!("{} is empty", file(root).display()))),
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(RuntimeError::io(format!("read {}", file(root).display()), &e)),
    }
}

/// Gives a root its id, unless it has one; answers the one it has. What is killed half-way leaves no id.
pub fn name_root(root: &Path, id: &str) -> RuntimeResult<String> {
    let draft = root.join(format!(".root.{id}"));
    let write = || -> io::Result<()> {
        let mut text = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&draft)?;
        writeln!(text, "{id}")?;
        text.sync_all()?;
        // Only one of two that do this at once succeeds.
        match fs::hard_link(&draft, file(root)) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            _ => fs::remove_file(&draft),
        }
    };
    write().map_err(|e| RuntimeError::io(format!("write {}", file(root).display()), &e))?;
    flush(root)?;
    root_id(root)?.ok_or_else(|| RuntimeError::Unreachable(format!("{} is gone", file(root).display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_id_stays() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(root_id(root.path()).unwrap(), None);
        assert_eq!(name_root(root.path(), "a").unwrap(), "a");
        assert_eq!(name_root(root.path(), "b").unwrap(), "a");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        fs::write(file(root.path()), "").unwrap();
        assert!(root_id(root.path()).is_err(), "an empty file is no id");
    }
}
