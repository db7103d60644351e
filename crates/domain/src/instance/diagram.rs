//! The state machine as a Mermaid diagram, printed from the table (`cargo dev diagram`).

use super::table::TRANSITIONS;
use super::transition::{To, Transition};
use super::words::Status;
use std::collections::BTreeMap;

/// A Mermaid state diagram of every transition that changes the status, the events of one arrow joined.
pub fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n");
    for ((from, to), events) in arrows() {
        let from = from.map_or("[*]", Status::as_str);
        text += &format!("    {from} --> {to} : {}\n", events.join(", "));
    }
    text
}

type Arrow = (Option<Status>, Status);

fn arrows() -> BTreeMap<Arrow, Vec<&'static str>> {
    let mut arrows: BTreeMap<Arrow, Vec<&'static str>> = BTreeMap::new();
    for row in TRANSITIONS {
        for arrow in arrows_of(row) {
            let events = arrows.entry(arrow).or_default();
            if !events.contains(&row.event.as_str()) {
                events.push(row.event.as_str());
            }
        }
    }
    arrows
}

fn arrows_of(row: &Transition) -> Vec<Arrow> {
    let origins = if row.from.is_empty() { vec![None] } else { row.from.iter().copied().map(Some).collect() };
    let targets = match row.to {
        To::Unchanged => Vec::new(),
        To::Is(status) => vec![status],
        To::Before(statuses) => statuses.to_vec(),
    };
    let mut arrows: Vec<Arrow> = Vec::new();
    for from in origins {
        arrows.extend(targets.iter().map(|to| (from, *to)).filter(|(from, to)| *from != Some(*to)));
    }
    arrows
}
