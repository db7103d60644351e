//! What PostgreSQL does alone: the same statement, prepared, from `pgbench` with as many connections.

use super::client::CONNECTIONS;
use anyhow::{Context, Result, ensure};
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;
use stories::Stack;
use testkit::pair::PLATFORM_DATABASE;
use testkit::server::SUPERUSER;

pub(crate) fn per_second(stack: &Stack, sql: &str, parameters: &[&str], length: Duration) -> Result<f64> {
    let mut statement = sql.to_owned();
    for (index, parameter) in parameters.iter().enumerate().rev() {
        statement = statement.replace(&format!("${}", index + 1), parameter);
    }
    let server = stack.pair.postgres1.server();
    let script = format!("\\set n random(1, 100000)\n{};\n", statement.replace('\n', " "));
    let mut child = server
        .installation()
        .command("pgbench")
        .args([
            "-n",
            "-M",
            "prepared",
            "-c",
            &CONNECTIONS.to_string(),
            "-T",
            &length.as_secs().to_string(),
            "-U",
            SUPERUSER,
            "-f",
            "-",
        ])
        .arg("-h")
        .arg(server.directory())
        .args(["-p", &server.port().to_string(), PLATFORM_DATABASE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run pgbench")?;
    child.stdin.take().context("no input")?.write_all(script.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")).and_then(|rest| rest.split_whitespace().next());
    rate.context("pgbench told no rate")?.parse().context("pgbench told no number")
}
