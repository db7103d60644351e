//! What can be wrong with a request, in words fit for a customer. The HTTP answer is made of it in one place, in `api`.

/// One field that breaks a rule: contract 3.1, an entry of `errors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Field name within the body, e.g. `cpu_limit`.
    pub field: String,
    /// What is wrong, without the field's name, e.g. `must be at most 8`.
    pub msg: String,
    /// Machine-readable kind, e.g. `less_than_equal`.
    pub kind: &'static str,
}

/// Why input is refused before anything is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Wrong form of one or more fields: 422.
    #[error("{}", summary(.0))]
    Schema(Vec<FieldError>),
    /// A rule of the house is broken: 400.
    #[error("{0}")]
    Rule(String),
}

fn summary(errors: &[FieldError]) -> String {
    let parts: Vec<String> = errors.iter().map(|e| format!("{} {}", e.field, e.msg)).collect();
    parts.join("; ")
}
