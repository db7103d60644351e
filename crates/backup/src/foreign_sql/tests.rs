//! Dumps in, dumps out.

use super::*;

fn filtered_by(text: &[u8], chunk: usize) -> BackupResult<Vec<u8>> {
    let (mut filter, mut out) = (Filter::default(), Vec::new());
    for chunk in text.chunks(chunk) {
        filter.push(chunk, &mut out)?;
    }
    filter.end().map(|()| out)
}

fn filtered(text: &str) -> BackupResult<String> {
    filtered_by(text.as_bytes(), usize::MAX).map(|out| String::from_utf8(out).unwrap())
}

#[test]
fn what_pg_dump_writes_means_the_same_afterwards() {
    for (text, expected) in [
        ("SELECT 1;\n", "SELECT 1;\n"),
        ("-- a\\b\nSELECT /* \\! /* nested */ */ 1--2\n;", "\nSELECT   1 \n;"),
        ("SELECT 'it''s', 'a\\', 'é', '!', '\u{1f600}!'';';", {
            "SELECT 'it''s', U&'a!005C' UESCAPE '!', U&'!00E9' UESCAPE '!', '!', U&'!+01F600!!'';' UESCAPE '!';"
        }),
        ("SELECT E'a\\'b\\n\\\\\\x41\\101\\u00e9\\q';", "SELECT U&'a''b\n!005CAA!00E9q' UESCAPE '!';"),
        ("SELECT $$it's$$, $a_1$ $$ $a$ \\! $a_1$, a$b$c;", "SELECT 'it''s', U&' $$ $a$ !005C!! ' UESCAPE '!', a$b$c;"),
        ("SELECT a[1:2], x::text, y[b:c], f(a := 1);", "SELECT a[1: 2], x::text, y[b: c], f(a := 1);"),
        ("SELECT 1.5e-07-2+.5*1e3, 1-1, a[1];", "SELECT 1.5e-07-2+.5*1e3, 1-1, a[1];"),
        ("SELECT B'101'||'x', $1;", "SELECT B'101'|| 'x', $1;"),
        ("SELECT \"a\\\"\"b\", \"naïve\".x;", "SELECT U&\"a!005C\"\"b\" UESCAPE '!', U&\"na!00EFve\" UESCAPE '!'.x;"),
        (
            "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);\n",
            "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);\n",
        ),
        ("ALTER TABLE t RENAME COLUMN owner TO x;", "ALTER TABLE t RENAME COLUMN owner TO x;"),
        ("ALTER TABLE t ADD COLUMN a int;", "ALTER TABLE t ADD COLUMN a int;"),
        ("CREATE TABLE t (begin date);", "CREATE TABLE t (begin date);"),
        ("COMMENT ON COLUMN t.a IS 'x';", "COMMENT ON COLUMN t.a IS 'x';"),
        (
            "COPY public.\"Ü\" (a, \"from\") FROM stdin;\n\\N\ta\\tb\n\\.x\n \\.\n\\\\.\n\\.\nSELECT 1;",
            "COPY public.U&\"!00DC\" UESCAPE '!' (a, \"from\") FROM stdin;\n\\N\ta\\tb\n\\.x\n \\.\n\\\\.\n\\.\nSELECT 1;",
        ),
        ("copy t from STDIN; \r\n\\.\r\n", "copy t from STDIN;\n\\.\r\n"),
    ] {
        assert_eq!(filtered(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn what_only_an_owner_may_say_is_left_out() {
    for text in [
        "COMMENT ON EXTENSION plpgsql IS 'x;y';",
        "comment on extension \"plpgsql\" is NULL;",
        "ALTER TABLE public.a OWNER TO somebody;",
        "ALTER FUNCTION f(a integer, b text) OWNER TO \"some body\";",
        "GRANT ALL ON SCHEMA public TO PUBLIC;",
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC;",
        "ALTER DEFAULT PRIVILEGES FOR ROLE a GRANT SELECT ON TABLES TO b;",
        "BEGIN;",
        "COMMIT;",
        "SET transaction_timeout = 0;",
        "SET default_with_oids = false;",
    ] {
        assert_eq!(filtered(text).unwrap(), "", "{text}");
    }
    assert_eq!(filtered("\\restrict aB1\n\\unrestrict aB1\n\\unrestrict aB1").unwrap(), "");
}

#[test]
fn what_pg_dump_never_writes_is_refused() {
    for text in [
        "\\! touch x\n",
        "\\restrict\n",
        "\\restrict a; \\! x\n",
        "\\connect x\n",
        " \\unrestrict a\n",
        "SELECT 1 \\g\n",
        "SELECT 1\\; SELECT 2;",
        "\\.\n",
        "SELECT 'a\\'; \\! x';",
        "SELECT U&'a\\' UESCAPE 'b';",
        "SELECT N'a';",
        "SELECT 1'a\\';",
        "SELECT a'b';",
        "SELECT 1$a$b$a$;",
        "SELECT a\"b\";",
        "SELECT $é$a$é$;",
        "SELECT é;",
        "SELECT );",
        "SELECT 'a",
        "SELECT 1",
        "SELECT $a$ $b$",
        "/* ",
        "COPY t FROM stdin; SELECT 1;\n\\.\n",
        "COPY t FROM stdin;",
        "COPY t FROM stdin;\n1\n",
        "COPY t FROM stdin;\n1\n\\.",
        "COPY t FROM '/etc/passwd';",
        "COPY t FROM PROGRAM 'id';",
        "COPY (SELECT 1) TO STDOUT;",
        "COPY t (a, b) FROM stdin WITH (FORMAT csv);\n\\.\n",
        "COPY BINARY t FROM stdin;\n\\.\n",
        "COPY t FROM stdin;\n\\.\n\\! x\n",
        "SELECT (;\nCOPY t FROM stdin;\n\\! x\n\\.\n",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END;",
        "create or replace procedure f() begin atomic select 1; end;",
        "- CREATE FUNCTION f() BEGIN;\n",
        "\"x\" (CREATE) or replace FUNCTION f() BEGIN;\n",
        "1create function f() begin;\n",
        "1efunction;",
        "1e;",
        "1e+x;",
        "$1a;",
        "$1e5;",
        "1_000;",
        "ROLLBACK;",
        "COMMIT AND CHAIN;",
        "END;",
        "SET standard_conforming_strings = off;",
        "SET SESSION standard_conforming_strings TO 'off';",
        "SET client_encoding = 'SJIS';",
        "SELECT E'\\000';",
        "SELECT E'\\xff';",
        "SELECT E'\\u00';",
        "PGDMP\u{1}\u{e}",
        "\u{feff}SELECT 1;",
        "SELECT '\0';",
        "SELECT \u{b}1;",
    ] {
        let outcome = filtered(text);
        assert!(matches!(&outcome, Err(BackupError::Refused(why)) if why.starts_with("line ")), "{text}: {outcome:?}");
    }
    assert!(filtered_by(b"SELECT '\xff';", 9).is_err());
    assert!(filtered_by(b"SELECT '\xc3';", 9).is_err());
}

#[test]
fn long_strings_are_passed_on_while_they_are_read() {
    let long = format!("SELECT '{}é\\';", "it's é ".repeat(HOLD / 4).replace('\'', "''"));
    let expected = format!("SELECT U&'{}!00E9!005C' UESCAPE '!';", "it''s !00E9 ".repeat(HOLD / 4));
    assert!(filtered(&long).unwrap() == expected);
    let mut filter = Filter::default();
    for chunk in long.as_bytes().chunks(1000) {
        filter.push(chunk, &mut Vec::new()).unwrap();
        assert!(filter.literal.held.len() + filter.statement.held.len() < 3 * HOLD);
    }
}

/// Whatever comes in, in whatever pieces: what goes out outside of data is such that no psql finds a command in it.
#[test]
fn nothing_that_comes_in_brings_a_backslash_out() {
    const PARTS: &[&str] = &[
        "'",
        "''",
        "\"",
        "\\",
        "\\!",
        "\n",
        ";",
        ";\n",
        "$$",
        "$a$",
        "$",
        "E'",
        "U&'",
        "B'",
        "a",
        "1",
        "--",
        "/*",
        "*/",
        "(",
        ")",
        ":",
        "::",
        "é",
        "\u{3042}",
        " ",
        "SELECT ",
        "COPY t FROM stdin",
        "\\.\n",
        "\n\\.\n",
        "\\restrict a\n",
        "x'",
        "&",
        "-",
        "/",
    ];
    let mut state = 42_u64;
    let mut random = |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % most
    };
    let mut passed = 0;
    for _ in 0..20_000 {
        let text: String = (0..1 + random(14)).map(|_| PARTS[random(PARTS.len())]).collect();
        let whole = filtered(&text);
        let pieces = filtered_by(text.as_bytes(), 1 + random(3));
        assert_eq!(whole.as_ref().ok().map(String::as_bytes), pieces.as_deref().ok(), "{text:?}");
        let Ok(out) = whole else { continue };
        passed += 1;
        let mut is_data = false;
        for line in out.split_inclusive('\n') {
            if !is_data {
                assert!(line.bytes().all(|b| (b.is_ascii_graphic() || b" \n\t".contains(&b)) && b != b'\\'), "{text:?}: {out:?}");
                is_data = line.starts_with("COPY t FROM stdin");
            } else if line == "\\.\n" {
                is_data = false;
            }
        }
    }
    assert!(passed > 200, "{passed}");
}
