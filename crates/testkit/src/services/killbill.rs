//! A stand-in for the billing engine: it holds accounts, subscriptions and invoices, changes them as it is told, and answers about them
//! as the engine does (KillBill API docs). It pushes nothing by itself: every change hands out the event that the engine would push, and
//! whether that arrives, when, and how often is for the test to say.

use super::http::{Listening, Reply, Request};
use crate::random;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// KILLBILL_USERNAME.
pub const USERNAME: &str = "billing-reader";
/// KILLBILL_PASSWORD.
pub const PASSWORD: &str = "kb-password";
/// KILLBILL_API_KEY.
pub const API_KEY: &str = "kb-tenant";
/// KILLBILL_API_SECRET.
pub const API_SECRET: &str = "kb-tenant-secret";
/// User and password as a request carries them.
const BASIC: &str = "Basic YmlsbGluZy1yZWFkZXI6a2ItcGFzc3dvcmQ=";

#[derive(Clone, Debug)]
struct Subscription {
    account: String,
    state: &'static str,
    phase: &'static str,
    fields: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
struct Invoice {
    account: String,
    subscription: String,
    phase: &'static str,
    status: &'static str,
    balance: f64,
    /// The outcome of each payment that was tried.
    payments: Vec<&'static str>,
}

#[derive(Debug, Default)]
struct Books {
    down: bool,
    asked: usize,
    accounts: BTreeMap<String, (String, bool)>,
    subscriptions: BTreeMap<String, Subscription>,
    invoices: BTreeMap<String, Invoice>,
}

/// The stand-in, inside this process; it ends when it is dropped.
#[derive(Debug)]
pub struct KillBill {
    listening: Listening,
    books: Arc<Mutex<Books>>,
}

impl KillBill {
    /// Starts it on a free loopback port, with empty books.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start() -> Result<Self> {
        let books = Arc::new(Mutex::new(Books::default()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for the billing engine")?;
        let answering = Arc::clone(&books);
        let listening = Listening::start(listener, Arc::new(move |request| lock(&answering).answer(request)))?;
        Ok(Self { listening, books })
    }

    /// For `KILLBILL_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.listening.address())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// From now on it does, or does not, answer.
    pub fn set_down(&self, down: bool) {
        self.books().down = down;
    }

    /// How many questions it was asked so far.
    pub fn asked(&self) -> usize {
        self.books().asked
    }

    /// An account of this customer; its id.
    ///
    /// # Errors
    /// Without randomness.
    pub fn account(&self, customer: &str) -> Result<String> {
        let id = random::uuid()?;
        self.books().accounts.insert(id.clone(), (customer.to_owned(), false));
        Ok(id)
    }

    /// A subscription that begins now, in a trial or paid from the start; its id. Its custom fields are written later.
    ///
    /// # Errors
    /// Without randomness.
    pub fn subscribe(&self, account: &str, trial: bool) -> Result<String> {
        let id = random::uuid()?;
        let phase = if trial { "TRIAL" } else { "EVERGREEN" };
        let subscription = Subscription { account: account.to_owned(), state: "ACTIVE", phase, fields: Vec::new() };
        self.books().subscriptions.insert(id.clone(), subscription);
        if trial {
            // The engine bills a trial, too: with nothing.
            self.bill_for(&id, 0.0)?;
        }
        Ok(id)
    }

    /// Sets custom fields of a subscription.
    pub fn set_fields(&self, subscription: &str, fields: &[(&str, &str)]) {
        self.with(subscription, |known| {
            for (name, value) in fields {
                known.fields.retain(|(other, _)| other != name);
                known.fields.push(((*name).to_owned(), (*value).to_owned()));
            }
        });
    }

    /// The trial is over.
    pub fn end_trial(&self, subscription: &str) -> Value {
        self.with(subscription, |known| known.phase = "EVERGREEN");
        self.event("SUBSCRIPTION_PHASE", subscription, Value::Null)
    }

    /// A cancellation takes effect.
    pub fn cancel(&self, subscription: &str) -> Value {
        self.with(subscription, |known| known.state = "CANCELLED");
        self.event("SUBSCRIPTION_CANCEL", subscription, json!("{\"actionType\":\"EFFECTIVE\"}"))
    }

    /// It has come to its end.
    pub fn expire(&self, subscription: &str) -> Value {
        self.with(subscription, |known| known.state = "EXPIRED");
        self.event("SUBSCRIPTION_EXPIRED", subscription, Value::Null)
    }

    /// A pause begins or ends.
    pub fn pause(&self, subscription: &str, paused: bool) {
        self.with(subscription, |known| known.state = if paused { "BLOCKED" } else { "ACTIVE" });
    }

    /// The event that a change of this subscription pushes.
    pub fn event(&self, kind: &str, subscription: &str, metadata: Value) -> Value {
        let account = self.books().subscriptions.get(subscription).map(|known| known.account.clone());
        json!({"eventType": kind, "accountId": account, "objectType": "SUBSCRIPTION", "objectId": subscription, "metaData": metadata})
    }

    /// An invoice for the present phase, unpaid; its id.
    ///
    /// # Errors
    /// Without randomness, and for an unknown subscription.
    pub fn bill(&self, subscription: &str) -> Result<String> {
        self.bill_for(subscription, 29.95)
    }

    fn bill_for(&self, subscription: &str, balance: f64) -> Result<String> {
        let (id, mut books) = (random::uuid()?, self.books());
        let known = books.subscriptions.get(subscription).context("no such subscription")?.clone();
        let (account, phase) =
            (known.account, if known.phase == "TRIAL" { "basic-monthly-trial" } else { "basic-monthly-evergreen" });
        let subscription = subscription.to_owned();
        let payments = Vec::new();
        books.invoices.insert(id.clone(), Invoice { account, subscription, phase, status: "COMMITTED", balance, payments });
        Ok(id)
    }

    /// A payment of it is tried and fails.
    ///
    /// # Errors
    /// Without randomness.
    pub fn fail(&self, invoice: &str) -> Result<Value> {
        self.payment(invoice, "INVOICE_PAYMENT_FAILED", |known| known.payments.push("PAYMENT_FAILURE"))
    }

    /// It is paid.
    ///
    /// # Errors
    /// Without randomness.
    pub fn pay(&self, invoice: &str) -> Result<Value> {
        self.payment(invoice, "INVOICE_PAYMENT_SUCCESS", |known| {
            known.payments.push("SUCCESS");
            known.balance = 0.0;
        })
    }

    /// It is written off.
    pub fn write_off(&self, invoice: &str) {
        if let Some(known) = self.books().invoices.get_mut(invoice) {
            known.balance = 0.0;
        }
    }

    /// What is open of it: nothing, something, or something that could not be collected.
    pub fn is_failed(&self, invoice: &str) -> Option<bool> {
        let books = self.books();
        let known = books.invoices.get(invoice).filter(|known| known.balance > 0.0)?;
        Some(known.payments.contains(&"PAYMENT_FAILURE"))
    }

    fn payment(&self, invoice: &str, kind: &str, change: impl FnOnce(&mut Invoice)) -> Result<Value> {
        let (payment, mut books) = (random::uuid()?, self.books());
        let known = books.invoices.get_mut(invoice).context("no such invoice")?;
        change(known);
        let metadata = json!({ "paymentId": payment }).to_string();
        Ok(
            json!({"eventType": kind, "accountId": known.account, "objectType": "INVOICE", "objectId": invoice, "metaData": metadata}),
        )
    }

    /// The account's debts are old enough to block it, or are so no longer.
    pub fn set_overdue(&self, account: &str, blocked: bool) -> Value {
        if let Some(known) = self.books().accounts.get_mut(account) {
            known.1 = blocked;
        }
        json!({"eventType": "OVERDUE_CHANGE", "accountId": account, "objectType": "ACCOUNT", "objectId": account, "metaData": null})
    }

    fn with(&self, subscription: &str, change: impl FnOnce(&mut Subscription)) {
        if let Some(known) = self.books().subscriptions.get_mut(subscription) {
            change(known);
        }
    }
}

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Books {
    fn answer(&mut self, request: &Request) -> Reply {
        self.asked += 1;
        if self.down {
            return Reply::Close;
        }
        let carries = |name: &str, value: &str| request.header(name) == Some(value);
        let admitted = carries("authorization", BASIC)
            && carries("x-killbill-apikey", API_KEY)
            && carries("x-killbill-apisecret", API_SECRET);
        if !admitted || request.method != "GET" {
            return Reply::Json(401, Value::Null);
        }
        match self.route(&request.path) {
            Some(body) => Reply::Json(200, body),
            None => Reply::Json(404, json!({ "message": "Object does not exist" })),
        }
    }

    fn route(&self, path: &str) -> Option<Value> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.strip_prefix("/1.0/kb/")?.split('/').collect();
        match parts[..] {
            ["subscriptions", id] => self.subscription(id),
            ["subscriptions", id, "customFields"] => {
                let field = |(name, value): &(String, String)| json!({"objectId": id, "objectType": "SUBSCRIPTION", "name": name, "value": value});
                Some(self.subscriptions.get(id)?.fields.iter().map(field).collect())
            }
            ["accounts", id] => Some(json!({"accountId": id, "externalKey": self.accounts.get(id)?.0, "currency": "USD"})),
            ["accounts", id, "overdue"] => {
                let blocked = self.accounts.get(id)?.1;
                Some(json!({"name": if blocked { "BLOCKED" } else { "__KILLBILL__CLEAR__OVERDUE_STATE__" },
                            "isDisableEntitlementAndChangesBlocked": blocked, "isClearState": !blocked}))
            }
            ["accounts", id, "bundles"] => {
                self.accounts.get(id)?;
                Some(self.bundles(|known| known.account == id).into())
            }
            ["accounts", id, "invoices"] => {
                self.accounts.get(id)?;
                Some(
                    self.invoices.iter().filter(|(_, known)| known.account == id).map(|(id, known)| invoice(id, known)).collect(),
                )
            }
            ["bundles", "pagination"] => {
                let number =
                    |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
                let all = self.bundles(|_| true).into_iter();
                Some(all.skip(number("offset").unwrap_or(0)).take(number("limit").unwrap_or(100)).collect())
            }
            ["invoices", id] => Some(invoice(id, self.invoices.get(id)?)),
            ["invoices", id, "payments"] => {
                let payment = |status: &&str| json!({"targetInvoiceId": id, "transactions": [{"transactionType": "PURCHASE", "status": status}]});
                Some(self.invoices.get(id)?.payments.iter().map(payment).collect())
            }
            _ => None,
        }
    }

    fn subscription(&self, id: &str) -> Option<Value> {
        let known = self.subscriptions.get(id)?;
        Some(json!({
            "accountId": known.account, "bundleId": id, "subscriptionId": id, "productName": "Basic", "productCategory": "BASE",
            "billingPeriod": "MONTHLY", "phaseType": known.phase, "planName": "basic-monthly", "state": known.state, "events": [],
        }))
    }

    fn bundles(&self, of: impl Fn(&Subscription) -> bool) -> Vec<Value> {
        let chosen = self.subscriptions.iter().filter(|(_, known)| of(known));
        chosen
            .map(|(id, known)| json!({"accountId": known.account, "bundleId": id, "subscriptions": [self.subscription(id)]}))
            .collect()
    }
}

fn invoice(id: &str, known: &Invoice) -> Value {
    json!({
        "invoiceId": id, "accountId": known.account, "status": known.status, "balance": known.balance, "amount": 29.95,
        "items": [{"itemType": "RECURRING", "subscriptionId": known.subscription, "phaseName": known.phase, "amount": 29.95},
                  {"itemType": "EXTERNAL_CHARGE", "subscriptionId": null, "phaseName": null, "amount": 0}],
    })
}
