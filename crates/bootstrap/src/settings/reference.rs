//! `docs/configuration.md`, printed from the table of variables.

use super::variables::{ALL, Fallback, IGNORED, IGNORED_PREFIXES, Variable};

const HEAD: &str = "# Configuration

Printed by `instance-admin configuration`; a test compares. All settings come from the environment, or from the TOML file that
`CONFIG_FILE` names. A secret can also be given as `<NAME>_FILE`, the path of a file; one newline at its end is dropped. There are no
default passwords. At start all problems are reported together, and the process ends with a non-zero code.

A process accepts and ignores the variables of the others. An empty value counts as not set, but an empty secret is an error.

| Variable | Older names | Default | Read by | Meaning |
|---|---|---|---|---|
";

/// The reference as Markdown.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for variable in ALL {
        page.push_str(&row(variable));
    }
    page.push_str("\nAccepted and ignored, each named once in the log:\n\n");
    let names = IGNORED.iter().map(|(name, reason)| (format!("`{name}`"), reason));
    let prefixes = IGNORED_PREFIXES.iter().map(|(prefix, reason)| (format!("`{prefix}*`"), reason));
    for (name, reason) in names.chain(prefixes) {
        page.push_str(&format!("- {name}: {reason}\n"));
    }
    page
}

fn row(variable: &Variable) -> String {
    let older: Vec<String> = variable.older.iter().map(|name| format!("`{name}`")).collect();
    let readers: Vec<&str> = variable.readers.iter().map(|process| process.as_str()).collect();
    let fallback = match variable.fallback {
        Fallback::Value("") => "empty".to_owned(),
        Fallback::Value(value) => format!("`{value}`"),
        Fallback::Unset => "unset".to_owned(),
        Fallback::Required => "**required**".to_owned(),
        Fallback::Derived(words) => words.to_owned(),
    };
    let name = variable.name;
    let secret = if variable.secret { " (secret)" } else { "" };
    let later = if variable.in_effect { "" } else { " *No effect in this build yet.*" };
    format!("| `{name}`{secret} | {} | {fallback} | {} | {}{later} |\n", older.join(", "), readers.join(", "), variable.meaning)
}
