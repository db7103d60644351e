//! The one place where text becomes part of an SQL statement. Everything else is a bound value.

use domain::names::PhysicalName;

/// A name as a quoted identifier.
pub(super) fn ident(name: &PhysicalName) -> String {
    ident_text(name.as_str())
}

/// Catalogue text (a role or database name that the server itself reported) as a quoted identifier.
pub(super) fn ident_text(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal, for statements that take no bound values (`COMMENT`, `PASSWORD`). Never for a password in clear.
pub(super) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_backslashes_escaped() {
        assert_eq!(ident_text(r#"a"; DROP ROLE x; --"#), r#""a""; DROP ROLE x; --""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
    }
}
