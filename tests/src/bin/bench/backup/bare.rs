//! The same with PostgreSQL's own programs, zstd and tar, as a careful administrator would do it: one after the other, on the disk at the end,
//! and what was written is read back and hashed.

use super::load;
use super::shop::Shop;
use anyhow::{Context, Result, ensure};
use std::process::Command;
use std::time::{Duration, Instant};
use stories::Stack;
use testkit::Cluster;
use testkit::installation::Installation;

const DATABASE: &str = "bench_bare";

pub(crate) struct Bare<'a> {
    server: &'a Cluster,
    directory: tempfile::TempDir,
}

impl<'a> Bare<'a> {
    pub(crate) fn new(stack: &'a Stack) -> Result<Self> {
        Ok(Self { server: &stack.pair.postgres2, directory: tempfile::Builder::new().prefix("bare-").tempdir()? })
    }

    /// What is compared, where, and with which programs.
    pub(crate) fn describe(&self, stack: &Stack) -> Result<()> {
        let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
        let version = |program: &str| Command::new(program).arg("--version").output().with_context(|| format!("no {program}"));
        let said = |program: &str| Ok::<_, anyhow::Error>(first(String::from_utf8(version(program)?.stdout)?));
        let processors = std::fs::read_to_string("/proc/cpuinfo")?;
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
        println!("PostgreSQL {}; {}; {}", stack.platform_sql("SHOW server_version")?, said("zstd")?, said("tar")?);
        println!(
            "{} processors{model}, for service, servers and bare programs; load of the machine at the beginning: {}",
            std::thread::available_parallelism()?,
            load()?
        );
        Ok(())
    }

    /// Backs an instance up, in place of what was backed up before.
    pub(crate) fn back_up(&self, shop: &Shop) -> Result<Duration> {
        let begin = Instant::now();
        self.shell(
            shop,
            "rm -f dump.zst files.tar
             \"$BIN/pg_dump\" -Fc -Z0 \"$DATABASE\" | zstd -3 -q -o dump.zst
             tar -C \"$FILES\" -cf files.tar .
             sync -f files.tar
             sha256sum dump.zst files.tar > sums",
        )?;
        Ok(begin.elapsed())
    }

    /// Restores what was backed up last into a new database and a new directory.
    pub(crate) fn restore(&self, shop: &Shop, jobs: u32) -> Result<Duration> {
        let database =
            format!("CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' OWNER \"{}\"", shop.place.role);
        let begin = Instant::now();
        self.server.psql("postgres", &database)?;
        let load = match jobs {
            1 => "zstd -dcq dump.zst | \"$BIN/pg_restore\" --role=\"$OWNER\" --no-owner --no-acl --exit-on-error -d \"$INTO\""
                .to_owned(),
            // Several jobs need a file.
            jobs => format!(
                "zstd -dfq dump.zst -o dump
                 \"$BIN/pg_restore\" -j{jobs} --role=\"$OWNER\" --no-owner --no-acl --exit-on-error -d \"$INTO\" dump"
            ),
        };
        self.shell(shop, &format!("{load}\nmkdir restored\ntar -C restored -xf files.tar\nsync -f restored"))?;
        let took = begin.elapsed();
        self.server.psql("postgres", &format!("DROP DATABASE {DATABASE}"))?;
        self.shell(shop, "rm -rf restored dump")?;
        Ok(took)
    }

    fn installation(&self) -> &Installation {
        self.server.server().installation()
    }

    /// Runs a script as the superuser of the server; it stops at the first thing that fails.
    fn shell(&self, shop: &Shop, script: &str) -> Result<()> {
        let server = self.server.server();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(self.directory.path())
            .env_clear()
            .envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LC_ALL", "C.UTF-8")])
            .env("BIN", self.installation().bin())
            .env("PGHOST", server.directory())
            .env("PGPORT", server.port().to_string())
            .env("PGUSER", testkit::server::SUPERUSER)
            .env("DATABASE", &shop.place.database)
            .env("INTO", DATABASE)
            .env("OWNER", &shop.place.role)
            .env("FILES", shop.filestore())
            .output()
            .context("cannot run bash")?;
        ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }
}
