//! I3 and I4: one writer at a time, and each acknowledged request carried out once.

use super::Found;
use super::world::World;
use crate::Stack;
use anyhow::Result;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What an operation left behind: its audit entries by action, and its mails.
#[derive(Deserialize)]
struct Trace {
    id: String,
    kind: String,
    state: String,
    instance_id: Option<String>,
    begun: i64,
    done: i64,
    purged: i64,
    ready_mails: i64,
}

const TRACES: &str = "
    SELECT o.id, o.kind, o.state, o.instance_id,
           count(*) FILTER (WHERE a.action = 'provision_begins') AS begun,
           count(*) FILTER (WHERE a.action = 'provision_done') AS done,
           count(*) FILTER (WHERE a.action = 'purged') AS purged,
           (SELECT count(*) FROM instance_service.outbox m WHERE m.operation_id = o.id AND m.template = 'instance_ready') AS ready_mails
      FROM instance_service.operations o LEFT JOIN instance_service.audit_log a ON a.operation_id = o.id
     GROUP BY o.id";

/// Names of all services that were ever planned: the fake runtime counts by them.
const SERVICES: &str = "SELECT DISTINCT s.output ->> 'service' AS name, o.kind = 'build_template' AS passing
                          FROM instance_service.operation_steps s JOIN instance_service.operations o ON o.id = s.operation_id
                         WHERE s.output ->> 'service' IS NOT NULL";

pub(super) fn check(stack: &Stack, world: &World, found: &mut Found) -> Result<()> {
    let traces: Vec<Trace> = stack.platform_rows(TRACES)?;
    acknowledged(world, &traces, found);
    for trace in traces.iter().filter(|trace| trace.kind == "provision") {
        let expected = i64::from(trace.state == "succeeded");
        let shown = format!("provision {} ({})", trace.id, trace.state);
        found.unless(trace.begun <= 1, "I4", format!("{shown} began {} times", trace.begun));
        found.unless(trace.done == expected, "I4", format!("{shown} is noted as done {} times", trace.done));
        found.unless(trace.ready_mails == expected, "I4", format!("{shown} has {} mails of success", trace.ready_mails));
    }
    for trace in traces.iter().filter(|trace| trace.kind == "delete") {
        let expected = i64::from(trace.state == "succeeded");
        found.unless(trace.purged == expected, "I4", format!("delete {} purged {} times", trace.id, trace.purged));
    }
    mails(stack, found)?;
    writers(stack, world, found)
}

fn acknowledged(world: &World, traces: &[Trace], found: &mut Found) {
    for asked in &world.acknowledged {
        let kept = traces.iter().find(|trace| trace.id == asked.operation);
        let same = kept.is_some_and(|trace| trace.kind == asked.kind && trace.instance_id.as_deref() == Some(&asked.instance));
        found.unless(same, "I4", format!("{} {} was acknowledged and is not there", asked.kind, asked.operation));
    }
}

/// Every delivered mail arrived, and however often it was sent, it is one message.
fn mails(stack: &Stack, found: &mut Found) -> Result<()> {
    // First: what is delivered between the two looks has arrived by the second.
    let delivered = stack.platform_sql("SELECT id FROM instance_service.outbox WHERE state = 'delivered'")?;
    let mut arrived: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mail in stack.services.mails()? {
        let key = mail["idempotency_key"].as_str().unwrap_or_default().to_owned();
        let text = mail["template_variables"].to_string();
        arrived.entry(key).or_default().push(format!("{} {text}", mail["template_name"]));
    }
    for (key, mut texts) in arrived.clone() {
        texts.dedup();
        found.unless(!key.is_empty() && texts.len() == 1, "I4", format!("mail {key:?} arrived in {} versions", texts.len()));
    }
    for id in delivered.lines() {
        found.unless(arrived.contains_key(id), "I4", format!("mail {id} is noted as delivered and never arrived"));
    }
    Ok(())
}

/// A service that some step noted, and whether it passes with the operation.
#[derive(Deserialize)]
struct Planned {
    name: String,
    passing: bool,
}

fn writers(stack: &Stack, world: &World, found: &mut Found) -> Result<()> {
    let Some(fake) = &stack.fake else { return Ok(()) };
    let planned: Vec<Planned> = stack.platform_rows(SERVICES)?;
    let passing: BTreeSet<&str> = planned.iter().filter(|service| service.passing).map(|service| service.name.as_str()).collect();
    let mut services: BTreeSet<&str> = planned.iter().map(|service| service.name.as_str()).collect();
    services.extend(world.services.iter().map(|service| service.name.as_str()));
    for service in services {
        let counts = fake.counts(service)?;
        found.unless(counts.most_writers <= 1, "I3", format!("service {service} had {} writers at once", counts.most_writers));
        // Once, and once more after each time it was brought down. The service that warms a template is made and removed in one
        // step: killed before it says so, the step is done again.
        let downs = counts.stops + if passing.contains(service) { counts.removes } else { 0 };
        found.unless(counts.starts <= 1 + downs, "I4", format!("service {service} was started {} times", counts.starts));
    }
    Ok(())
}
