//! Generated lives of subscriptions, whose events are lost, repeated, late, and in any order, while the worker is quick or slow. The end
//! is what the billing engine's own books say: an oracle that knows them and the columns of the row, and none of our rules.
//!
//! A part that changes daily runs each time; `INSTANCE_SOAK=1` runs more; `INSTANCE_LIFE=<number>` runs one, whose number a failure
//! prints.

use crate::rig::Rig;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};
use worker::billing::Occasion;

const EACH_DAY: u64 = 60;
const SOAK: u64 = 1_500;
const STEPS: u64 = 8;

/// Numbers from a number (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// The engine's books, as the test keeps them.
#[derive(Debug, Clone, Default)]
struct Books {
    trial: bool,
    over: bool,
    /// Invoices for more than a trial: whether one was ever written.
    billed: bool,
    invoices: Vec<String>,
}

struct Life<'a> {
    rig: &'a Rig,
    dice: Dice,
    id: String,
    books: Books,
    told: Vec<String>,
    /// Events on their way.
    late: Vec<Value>,
    lost: bool,
}

impl Life<'_> {
    /// Something happens in the engine, which pushes an event.
    fn step(&mut self) {
        let (engine, id) = (&self.rig.engine, self.id.clone());
        let open: Vec<String> = self.books.invoices.iter().filter(|one| engine.is_failed(one).is_some()).cloned().collect();
        let chosen = open.first().cloned();
        let (what, event) = match (self.dice.roll(8), chosen) {
            (7, _) => ("changes", engine.event("SUBSCRIPTION_CHANGE", &id, Value::Null)),
            (6, _) if self.told.len() > 3 => {
                self.books.over = true;
                ("is over", if self.dice.roll(2) == 0 { engine.cancel(&id) } else { engine.expire(&id) })
            }
            (0..3, Some(invoice)) => ("fails to pay", engine.fail(&invoice).unwrap()),
            (_, Some(invoice)) => ("pays", engine.pay(&invoice).unwrap()),
            (_, None) if self.books.trial => {
                self.books.trial = false;
                ("ends its trial", engine.end_trial(&id))
            }
            (_, None) => {
                self.books.invoices.push(engine.bill(&id).unwrap());
                self.books.billed = true;
                ("is billed", engine.event("INVOICE_CREATION", &id, Value::Null))
            }
        };
        self.told.push(what.to_owned());
        self.send(event);
    }

    fn send(&mut self, event: Value) {
        if event["eventType"] == "INVOICE_CREATION" {
            return;
        }
        match self.dice.roll(6) {
            0 => {
                self.told.push("(lost)".to_owned());
                self.lost = true;
            }
            1 => self.late.extend([event.clone(), event]),
            _ => self.late.push(event),
        }
    }

    /// Some of what is on its way arrives, in any order; or all.
    async fn arrive(&mut self, all: bool) {
        while !self.late.is_empty() && (all || self.dice.roll(3) > 0) {
            let place = self.dice.roll(self.late.len() as u64);
            let event = self.late.swap_remove(usize::try_from(place).unwrap());
            self.told.push(format!("[{}]", event["eventType"].as_str().unwrap()));
            self.rig.deliver(&event).await;
            if self.dice.roll(2) == 0 {
                self.rig.work_off().await;
            }
            if self.dice.roll(3) == 0 {
                self.rig.play(&self.id).await;
            }
        }
    }

    /// Rows of the subscription: how many, how many in service, and what the one in service says.
    fn rows(&self) -> (usize, Vec<String>) {
        let all = self.rig.sql(&format!(
            "SELECT status || ' ' || suspension || ' ' || billing_status || ' ' || desired_state
               FROM public.instances WHERE subscription_id = '{}'",
            self.id
        ));
        let rows: Vec<String> = all.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        (rows.len(), rows.into_iter().filter(|row| !row.starts_with("terminated")).collect())
    }

    /// What is wrong with the end.
    fn fault(&self, existed: bool) -> Option<String> {
        let (count, live) = self.rows();
        let engine = &self.rig.engine;
        let unpaid: Vec<bool> = self.books.invoices.iter().filter_map(|invoice| engine.is_failed(invoice)).collect();
        let row = live.first().map_or("", String::as_str);
        let (_status, rest) = row.split_once(' ').unwrap_or_default();
        let fine = if self.books.over {
            live.is_empty()
        } else if unpaid.contains(&true) {
            // Without a row there is nothing to suspend.
            rest == "debt payment_required stopped" || live.is_empty() && !existed
        } else if self.books.trial {
            rest == "none trial running"
        } else if !unpaid.is_empty() || !self.books.billed {
            // Nothing failed that is still open; what was suspended before stays so until it is paid. A new invoice pushes no event
            // that is ours: what was paid before counts as paid until somebody looks.
            let unseen = rest == "none paid running" && self.books.billed && !self.lost;
            let known = rest == "none payment_required running" || rest == "debt payment_required stopped";
            known || unseen || live.is_empty() && !existed
        } else {
            rest == "none paid running"
        };
        let one = count <= 1 && (count == 1 || !existed);
        (!fine || !one)
            .then(|| format!("{:?}, unpaid {unpaid:?}, ends in {count} rows: {live:?}; {}", self.books, self.told.join(", ")))
    }
}

async fn live(rig: &Rig, number: u64) -> Option<String> {
    let mut dice = Dice(number);
    let trial = dice.roll(2) == 0;
    let account = rig.engine.account(&rig.customer).unwrap();
    let id = rig.engine.subscribe(&account, trial).unwrap();
    rig.order(&id);
    let books = Books { trial, ..Books::default() };
    let mut life = Life { rig, dice, id, books, told: Vec::new(), late: Vec::new(), lost: false };
    life.send(rig.engine.event("SUBSCRIPTION_CREATION", &life.id, Value::Null));
    let mut existed = false;
    for _ in 0..STEPS {
        if life.books.over {
            break;
        }
        life.step();
        life.arrive(false).await;
        existed |= rig.find(&life.id).await.is_some();
    }
    life.arrive(true).await;
    rig.work_off().await;
    if life.lost {
        // A sweep does the same for everybody, and takes as long.
        life.told.push("(swept)".to_owned());
        let look = rig.billing.converge(life.id.parse().unwrap(), Occasion::default());
        look.await.unwrap();
    }
    let early = life.fault(existed);
    // Whatever the worker has still to do changes nothing of it.
    rig.play(&life.id).await;
    let late = life.fault(existed);
    early.or(late).map(|fault| format!("INSTANCE_LIFE={number}: {fault}"))
}

#[allow(clippy::disallowed_methods, reason = "a test reads its own environment")]
fn numbers() -> Vec<u64> {
    let variable = |name| std::env::var(name).ok();
    if let Some(number) = variable("INSTANCE_LIFE").and_then(|text| text.parse().ok()) {
        return vec![number];
    }
    let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let many = if variable("INSTANCE_SOAK").is_some_and(|value| value == "1") { SOAK } else { EACH_DAY };
    (day * SOAK..day * SOAK + many).collect()
}

#[tokio::test]
async fn whatever_happens_to_its_events_an_instance_ends_where_its_subscription_is() {
    let rig = Rig::start();
    let mut faults = Vec::new();
    let numbers = numbers();
    for number in &numbers {
        faults.extend(live(&rig, *number).await);
    }
    let shown: Vec<&String> = faults.iter().take(5).collect();
    assert!(faults.is_empty(), "{} of {}: {shown:#?}", faults.len(), numbers.len());
}
