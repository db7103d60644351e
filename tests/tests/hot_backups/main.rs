//! Backups while an instance works: somebody writes rows and attachments a hundred times a second and deletes some, and each backup is whole.
//!
//! What is in a backup is looked at without our code: by `cat`, `zstd` and `pg_restore`, and by the SHA-1 of each file that a row names. A few
//! backups each time; fifty with `INSTANCE_SOAK=1`.

mod by_hand;
mod probe;
mod writer;

use anyhow::{Context, Result, ensure};
use by_hand::{attachments, filestore_holds, pool_holds};
use probe::Probe;
use serde_json::json;
use std::time::Duration;
use stories::{Stack, StackOptions, real_odoo, until};
use writer::Writer;

const EACH_TIME: usize = 4;
const SOAK: usize = 50;
/// A template has to be built in it, on a machine that may be busy with other tests.
const BUILD: Duration = Duration::from_secs(300);
const LIMIT: Duration = Duration::from_secs(180);

#[expect(clippy::disallowed_methods, reason = "a test reads its own environment")]
fn times() -> usize {
    if std::env::var("INSTANCE_SOAK").is_ok_and(|value| value == "1") { SOAK } else { EACH_TIME }
}

fn begun(operation: &str) -> String {
    format!("SELECT count(*) FROM instance_service.operation_steps WHERE operation_id = '{operation}' AND step = 'store'")
}

#[test]
#[ignore = "needs real Odoo: run `cargo dev test`, which brings it"]
fn real_odoo_is_backed_up_while_it_works() -> Result<()> {
    let runtime = real_odoo()?.context("INSTANCE_TEST_ODOO names no Odoo: run `cargo dev test`, which brings one")?;
    let stack = Stack::start(&StackOptions { runtime, ..StackOptions::default() })?;
    let (id, operation) = stack.provision(&stack.order("shop")?)?;
    stack.await_success(&operation, BUILD)?;
    let place = stack.place(&id)?;
    let url = stack.instance(&id)?["external_url"].as_str().context("no address")?.to_owned();

    let probe = Probe::start(&url)?;
    let writer = Writer::start(&stack, &place)?;
    writer.writes(200)?;
    let mut last = None;
    for _ in 0..times() {
        let before = writer.known()?;
        let operation = stack.act(&id, "backup")?;
        // Odoo removes the files of deleted rows now and then: here while each backup is under way, when some went after its snapshot.
        until(LIMIT, "a backup under way", || Ok((stack.platform_sql(&begun(&operation))? == "1").then_some(())))?;
        writer.writes(20)?;
        writer.collect_garbage()?;
        let ended = stack.await_success(&operation, LIMIT)?;
        let backup = ended["result"]["backup_id"].as_str().context("no backup")?.to_owned();
        let after = writer.known()?;

        let named = attachments(&stack, &backup)?;
        pool_holds(&stack, &id, &named)?;
        let lost: Vec<_> = before.live.iter().filter(|sum| !after.deleted.contains(*sum) && !named.contains(*sum)).collect();
        ensure!(lost.is_empty(), "{backup} lacks what had been written before it was asked for: {lost:?}");
        let back: Vec<_> = before.deleted.intersection(&named).collect();
        ensure!(back.is_empty(), "{backup} has what had been deleted before it was asked for: {back:?}");

        let check = stack.post(&format!("/api/v1/backups/{backup}/verify"), &json!({ "restore": true }))?.expect(200)?;
        stack.await_success(&check.text("job_id")?, LIMIT)?;
        last = Some((backup, named));
    }
    let written = writer.stop()?;
    let asked = probe.stop()?;
    ensure!(written > 200 && asked > times(), "{written} attachments, {asked} requests: nothing was tested");

    let (backup, named) = last.context("no backup was taken")?;
    stack.await_success(&stack.restore(&id, &backup)?, LIMIT)?;
    filestore_holds(&stack, &stack.place(&id)?, &named)?;
    stack.await_success(&stack.remove(&id)?, LIMIT).map(drop)
}
