//! Where things are: the checkout, and its `.dev` directory with everything that `cargo dev` makes.

use anyhow::{Context, Result, bail};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The checkout that this program was built from.
pub(crate) fn root() -> &'static Path {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    crates.and_then(Path::parent).unwrap_or(Path::new("."))
}

/// Where a built binary is.
pub(crate) fn binary(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// Where an optimised one is.
pub(crate) fn optimised(name: &str) -> PathBuf {
    target().join("release").join(name)
}

#[expect(clippy::disallowed_methods, reason = "cargo's own variable, which names where the binaries are")]
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The `.dev` directory, made if it is missing. Servers and Odoo run as users of their own and must be able to enter it:
/// where the checkout lies below a closed directory (a home, often), `.dev` is a link to a place that is open.
pub(crate) fn dev() -> Result<PathBuf> {
    let dev = root().join(".dev");
    if let Ok(real) = dev.canonicalize() {
        return Ok(real);
    }
    if dev.is_symlink() {
        std::fs::remove_file(&dev).context("cannot remove the dangling link .dev")?;
    }
    let open = if open_to_others(root())? { dev.clone() } else { elsewhere()? };
    std::fs::create_dir_all(&open).with_context(|| format!("cannot create {}", open.display()))?;
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o711))?;
    if open != dev {
        symlink(&open, &dev).context("cannot link .dev")?;
    }
    dev.canonicalize().context("cannot find .dev, which was just made")
}

/// Whether every directory from the top down to `path` lets other users through.
fn open_to_others(path: &Path) -> Result<bool> {
    for directory in path.ancestors() {
        let mode = std::fs::metadata(directory).with_context(|| format!("cannot look at {}", directory.display()))?;
        if mode.permissions().mode() & 0o001 == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn elsewhere() -> Result<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        // Everything runs as the caller then, who may enter the checkout.
        return Ok(root().join(".dev"));
    }
    let state = Path::new("/var/lib");
    if !open_to_others(state)? {
        bail!("other users may enter neither the checkout nor {}: move the checkout to a place that is open", state.display());
    }
    let name = root().to_string_lossy().trim_start_matches('/').replace('/', "-");
    Ok(state.join("instance-service-dev").join(name))
}
