//! `dev-services ADDRESS DIRECTORY`: the local user service and mail catcher of `cargo dev up`, until it is ended.

use anyhow::{Context, Result, bail};
use std::path::Path;
use testkit::services::Services;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, directory] = arguments.as_slice() else { bail!("usage: dev-services ADDRESS DIRECTORY") };
    let services = Services::listen(address.parse().context("not an address")?, Path::new(directory))?;
    println!("listening on {}", services.url());
    services.wait()
}
