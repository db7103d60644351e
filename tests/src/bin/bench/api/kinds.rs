//! What is asked.

use anyhow::Result;
use serde_json::json;
use stories::Stack;

/// One kind of request.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// The status of every answer.
    pub(crate) expected: &'static str,
    /// The parameters of its statement in SQL, with the number of a row as `:n`; none where a change is asked for.
    pub(crate) floor: Option<&'static [&'static str]>,
    /// Whether the goal for reads is meant for it.
    pub(crate) is_goal: bool,
    form: Form,
}

enum Form {
    /// A look-up of one of these, between the two parts of a path.
    Get(&'static str, Vec<String>, &'static str),
    Create,
    Restart(Vec<String>),
}

impl Kind {
    /// The request with this number, as it goes over the wire.
    pub(crate) fn request(&self, number: u64) -> String {
        let pick = |from: &[String]| from[usize::try_from(number).unwrap_or(0) % from.len()].clone();
        match &self.form {
            Form::Get(before, ids, after) => format!("GET {before}{}{after} HTTP/1.1\r\nhost: bench\r\n\r\n", pick(ids)),
            Form::Restart(ids) => post(&format!("/api/v1/instances/{}/actions", pick(ids)), &json!({ "action": "restart" })),
            Form::Create => post("/api/v1/instances", &order(number)),
        }
    }
}

fn post(path: &str, body: &serde_json::Value) -> String {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn order(number: u64) -> serde_json::Value {
    json!({
        "customer_id": format!("00000000-0000-4000-8000-{number:012x}"),
        "subscription_id": format!("00000000-0000-4000-9000-{number:012x}"),
        "name": "Bench",
        "admin_email": "owner@bench.example",
        "database_name": format!("bench_{number}"),
    })
}

const ONE: &[&str] = &["md5('instance ' || :n)::uuid"];
const SUBSCRIPTION: &[&str] = &["md5('subscription ' || :n)::uuid"];
const LIST_1: &[&str] = &["md5('customer ' || 5000 + :n % 90000)::uuid", "100", "0"];
const LIST_20: &[&str] = &["md5('customer ' || 1 + :n % 200)::uuid", "100", "0"];
const LIST_500: &[&str] = &["md5('customer 0')::uuid", "100", "0"];

pub(crate) fn all(stack: &Stack) -> Result<Vec<Kind>> {
    let ids = |sql: &str| -> Result<Vec<String>> { Ok(stack.platform_sql(sql)?.lines().map(str::to_owned).collect()) };
    let get = |name, before, ids, after, parameters, is_goal| Kind {
        name,
        expected: "200",
        floor: Some(parameters),
        is_goal,
        form: Form::Get(before, ids, after),
    };
    let change = |name, expected, form| Kind { name, expected, floor: None, is_goal: false, form };
    let instances = ids("SELECT id FROM public.instances ORDER BY random()")?;
    let running = ids(
        "SELECT id FROM public.instances i WHERE status = 'running'
            AND NOT EXISTS (SELECT FROM instance_service.operations o WHERE o.instance_id = i.id AND o.state = 'queued') ORDER BY random()",
    )?;
    let subscriptions = ids("SELECT subscription_id FROM public.instances ORDER BY random()")?;
    let owners = |first: u32, last: u32| {
        ids(&format!("SELECT md5('customer ' || n)::uuid FROM generate_series({first}, {last}) AS n ORDER BY random()"))
    };
    let list = "/api/v1/instances?customer_id=";
    Ok(vec![
        get("get", "/api/v1/instances/", instances.clone(), "", ONE, true),
        get("status", "/api/v1/instances/", instances, "/status", ONE, true),
        get("by-subscription", "/api/v1/instances/by-subscription/", subscriptions, "", SUBSCRIPTION, true),
        get("list of a customer with 1", list, owners(5000, 95_000)?, "", LIST_1, true),
        get("list of a customer with 20", list, owners(1, 200)?, "", LIST_20, false),
        get("list of a customer with 500", list, owners(0, 0)?, "", LIST_500, false),
        change("create", "201", Form::Create),
        change("action restart", "200", Form::Restart(running)),
    ])
}
