//! `conf/odoo.conf` on disk: for Odoo to read and for nobody but us to write. A tenant who runs code in its Odoo must not be able to
//! change its own limits or what it listens on.

use super::{DATA, DataDirectories, Place, foreign};
use crate::error::{RuntimeError, RuntimeResult};
use crate::odoo_conf;
use crate::turn::{Entered, in_turn};
use crate::workload::Workload;
use domain::sources::Entropy;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Far more than a configuration has, in bytes.
const LONGEST: u64 = 256 * 1024;

/// Where the configuration of a data directory lies.
pub(crate) fn conf_path(directory: &Path) -> PathBuf {
    directory.join("conf/odoo.conf")
}

/// The same for a run on staged files.
pub(crate) fn staged_conf_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("conf/incoming-{number}.conf"))
}

/// What stands there; of an adopted directory that is whatever somebody wrote, so not more than a configuration can be.
fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match fs::File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(Some(text))
}

impl DataDirectories {
    /// Writes the workload's configuration. Call it only while its Odoo is down, so that what stands there is what runs.
    pub async fn write_conf(&self, workload: &Workload, entropy: Arc<dyn Entropy>) -> RuntimeResult<()> {
        let (this, workload) = (self.clone(), workload.clone());
        in_turn(workload.turn, move |asked| {
            let entered = this.enter(&workload.directory, workload.service.owner, asked)?;
            this.write_conf_now(&entered, &workload, &*entropy)
        })
        .await
    }

    pub(crate) fn write_conf_now(&self, entered: &Entered, workload: &Workload, entropy: &dyn Entropy) -> RuntimeResult<()> {
        self.write_conf_at(entered, workload, &conf_path(&workload.directory), DATA, entropy)
    }

    /// Writes it to another place, for an Odoo that works on another part of the directory.
    pub(crate) fn write_conf_at(
        &self,
        _: &Entered,
        workload: &Workload,
        path: &Path,
        data: &str,
        entropy: &dyn Entropy,
    ) -> RuntimeResult<()> {
        match self.check_now(&workload.directory, workload.service.owner)? {
            Place::Ours(_) => {}
            Place::Foreign => return Err(foreign(&workload.directory)),
            Place::Absent => return Err(RuntimeError::Permanent(format!("{} is missing", workload.directory.display()))),
        }
        let earlier = read(path).map_err(|e| RuntimeError::io(format!("read {}", path.display()), &e))?;
        let kept = earlier.as_deref().and_then(odoo_conf::master_line).map(str::to_owned);
        let master = kept.unwrap_or_else(|| odoo_conf::new_master_line(entropy));
        let text = format!("{}{master}\n", odoo_conf::body_on(workload, data)?);
        if earlier.as_deref() == Some(text.as_str()) {
            return Ok(());
        }
        self.replace(path, &text).map_err(|e| RuntimeError::io(format!("write {}", path.display()), &e))
    }

    /// Puts a whole new file in place, so that nobody ever reads half of one.
    fn replace(&self, path: &Path, text: &str) -> io::Result<()> {
        let next = path.with_extension("conf.new");
        match fs::remove_file(&next) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        file.write_all(text.as_bytes())?;
        self.account.share(&file)?;
        file.set_permissions(Permissions::from_mode(0o640))?;
        file.sync_all()?;
        fs::rename(&next, path)
    }
}
