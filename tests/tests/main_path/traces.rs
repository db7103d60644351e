//! What real Odoo leaves in the servers' logs, and where secrets show up beside it.

use crate::Hosted;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use stories::invariants::{self, Secrets as Learned};
use stories::whereabouts::{Answers, Secrets};
use stories::{ProcessWatch, Seen, Stack};
use testkit::statements::Entry;

/// Odoo comes as its tenant, into its own database and the maintenance database, and nowhere else; never to postgres1.
pub(crate) fn odoo_keeps_to_its_own(stack: &Stack, hosted: &[&Hosted]) -> Result<()> {
    let templates = stack.platform_sql("SELECT content_role || '|' || db_name FROM instance_service.templates")?;
    let mut own: BTreeSet<(&str, &str)> = templates.lines().filter_map(|line| line.split_once('|')).collect();
    own.extend(hosted.iter().map(|hosted| (hosted.place.role.as_str(), hosted.place.database.as_str())));
    let entries = stack.pair.postgres2.log_entries()?;
    let odoo: Vec<_> = entries.iter().filter(|entry| entry.user.starts_with("odoo_") && entry.user != "odoo_admin").collect();
    // The story itself asks one Odoo for another one's database; the server lets it in nowhere.
    let denied = |entry: &&&Entry| entry.text.starts_with("FATAL:  permission denied for database");
    let refused: BTreeSet<_> = odoo.iter().filter(denied).map(|entry| entry.pid).collect();
    for entry in &odoo {
        let at_home = own.contains(&(entry.user.as_str(), entry.database.as_str()));
        let on_the_bus = entry.database == "postgres" && own.iter().any(|(role, _)| *role == entry.user);
        // A restore works as the tenant, on a database beside the live one.
        let beside = |(role, live): &(&str, &str)| *role == entry.user && entry.database.starts_with(&format!("{live}_n"));
        let at_home = at_home || own.iter().any(beside);
        ensure!(at_home || on_the_bus || refused.contains(&entry.pid), "an Odoo was elsewhere: {entry:?}");
    }
    for (role, database) in own {
        let came = odoo.iter().any(|entry| (entry.user.as_str(), entry.database.as_str()) == (role, database));
        ensure!(came, "no Odoo came as {role} into {database}, so nothing was shown");
    }
    let strayed = stack.pair.postgres1.log_entries()?.into_iter().find(|entry| entry.user.starts_with("odoo_"));
    ensure!(strayed.is_none(), "an Odoo came to postgres1: {strayed:?}");
    Ok(())
}

/// Secrets of instances that run, and all that was seen of processes while one of them was made.
pub(crate) fn no_secret_leaves_its_place(stack: &Stack, hosted: &[&Hosted], watch: ProcessWatch) -> Result<()> {
    let processes: BTreeSet<Seen> = watch.end()?;
    let (mut answers, mut secrets) = (Answers::default(), Secrets::default());
    secrets.learn_settings(stack)?;
    secrets.learn(stack)?;
    for hosted in hosted {
        for _ in 0..2 {
            answers.ask(stack, &hosted.id, &hosted.operation)?;
        }
    }
    secrets.are_of_tenants(hosted.len())?;
    ensure!(secrets.has_mailed(), "nobody was told a password");
    secrets.are_in_no_log(stack)?;
    secrets.are_in_no_answer(&answers)?;
    secrets.are_in_no_row(stack)?;
    secrets.are_in_no_process_list(stack, &processes)
}

/// All that holds after a fault holds here, too.
pub(crate) fn all_invariants_hold(stack: &Stack) -> Result<()> {
    let violations = invariants::check(stack, &mut Learned::default()).context("the invariants")?;
    ensure!(violations.is_empty(), "{violations:#?}");
    Ok(())
}
