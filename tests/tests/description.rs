//! The description of the API is true: requests that it permits, and requests that it does not, against the real binaries; no answer is a
//! fault (5xx), and each has a status, a type and a shape that the description gives. `INSTANCE_SOAK=1` asks thousands of times. Another
//! seed each day; a failure prints it, and a call with curl that shows the fault.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stories::{Stack, StackOptions};

/// What is not built answers 501, and only where the description says so: that each status is a described one is checked as well.
const SETTINGS: &str = r#"
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "501"]
"#;
/// What is true of every answer. The others of schemathesis are guesses about what an API should refuse.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance";

#[test]
#[ignore = "needs schemathesis: run `cargo dev test`, which brings it"]
fn the_description_is_true() -> Result<()> {
    let environment = vec![("AUTH_MODE".to_owned(), "edge".to_owned())];
    let stack = Stack::start(&StackOptions { environment, ..StackOptions::default() })?;
    let (instance, operation) = populate(&stack)?;
    // Ids at random are ids of nothing: the calls about one thing are asked once more about one that exists.
    let known = format!(
        "{SETTINGS}\n[[operations]]\ninclude-path-regex = \"/operations/\"\nparameters = {{ id = \"{operation}\" }}\n\
         \n[[operations]]\ninclude-path-regex = \"/(instances|admin/[a-z-]*instance[a-z-]*)/.id\"\nparameters = {{ id = \"{instance}\" }}\n"
    );
    let about_one = ["--include-path-regex", "[{]id[}]", "--phases", "fuzzing"];
    ask(&stack, "anything", SETTINGS, &["--phases", "examples,coverage,fuzzing,stateful"])?;
    ask(&stack, "one", &known, &about_one)
}

/// Two that run, one that was only ordered.
fn populate(stack: &Stack) -> Result<(String, String)> {
    let (instance, operation) = stack.provision(&stack.order("shop")?)?;
    let (_, other) = stack.provision(&stack.order("other")?)?;
    for operation in [&operation, &other] {
        stack.await_success(operation, Duration::from_secs(60))?;
    }
    stack.post("/api/v1/instances", stack.order("ordered")?.body())?.expect(201)?;
    stack.post(&format!("/api/v1/instances/{instance}/actions"), &json!({ "action": "restart" }))?.expect(200)?;
    Ok((instance, operation))
}

#[expect(clippy::disallowed_methods, reason = "the test run says by its environment where the program is and how long to ask")]
fn ask(stack: &Stack, name: &str, settings: &str, arguments: &[&str]) -> Result<()> {
    let program = std::env::var_os("INSTANCE_TEST_SCHEMATHESIS").context("INSTANCE_TEST_SCHEMATHESIS names no program")?;
    let soak = std::env::var("INSTANCE_SOAK").is_ok_and(|value| value == "1");
    let cases = if soak { "300" } else { "25" };
    let day = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 86_400;
    let directory = stack.log_directory().join(name);
    std::fs::create_dir(&directory)?;
    std::fs::write(directory.join("schemathesis.toml"), settings)?;
    let output = Command::new(Path::new(&program))
        .args(["--config-file", "schemathesis.toml", "run"])
        .arg(format!("{}/openapi.json", stack.api_url()))
        .args(["--checks", CHECKS, "--max-examples", cases, "--seed", &day.to_string(), "--request-timeout", "30"])
        .args(["--suppress-health-check", "all", "--continue-on-failure", "--warnings", "off", "--no-color"])
        .args(arguments)
        .current_dir(&directory)
        .output()
        .context("cannot run schemathesis")?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{name}:\n{said}");
    println!("{name}:\n{said}");
    Ok(())
}
