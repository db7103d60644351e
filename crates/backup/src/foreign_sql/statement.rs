//! Statements of a dump: which are left out and which are refused.

use super::{HOLD, LOOKED_AT};

/// What a statement consists of, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// In upper case.
    Name(String),
    Quoted,
    Text(Option<String>),
    Number,
    Sign(u8),
}

impl Word {
    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Name(own) if own == name)
    }

    pub(super) const fn is_name(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Quoted)
    }
}

/// What becomes of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fate {
    #[default]
    Open,
    Passed,
    Dropped,
}

/// The statement that is being read.
#[derive(Debug, Default)]
pub(super) struct Statement {
    fate: Fate,
    pub(super) held: Vec<u8>,
    last_put: u8,
    /// The first words outside of brackets.
    words: Vec<Word>,
    /// The first names without quotes, inside and outside.
    names: Vec<String>,
    /// How many words there were, inside and outside.
    all: usize,
    outside: usize,
    /// The last three outside of brackets.
    last: [Option<Word>; 3],
    renames: bool,
    /// Something other than names stands in brackets.
    computes: bool,
}

impl Statement {
    pub(super) const fn is_empty(&self) -> bool {
        self.all == 0
    }

    pub(super) fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.last_put = bytes.last().copied().unwrap_or(self.last_put);
        match self.fate {
            Fate::Passed => out.extend_from_slice(bytes),
            Fate::Dropped => {}
            Fate::Open => {
                self.held.extend_from_slice(bytes);
                if self.held.len() > HOLD {
                    self.pass(out);
                }
            }
        }
    }

    /// Keeps what follows apart from what was.
    pub(super) fn space(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.last_put, b' ' | b'\n' | b'(' | b',' | b'.' | b'=' | b'[') {
            self.put(b" ", out);
        }
    }

    pub(super) fn pass(&mut self, out: &mut Vec<u8>) {
        self.fate = Fate::Passed;
        out.append(&mut self.held);
    }

    pub(super) fn leave_out(&mut self) {
        self.fate = Fate::Dropped;
        self.held = Vec::new();
    }

    pub(super) fn saw(&mut self, word: Word, depth: usize, out: &mut Vec<u8>) -> Result<(), String> {
        self.all += 1;
        if let Word::Name(name) = &word {
            // psql guesses by the first words, whatever stands between them, that `;` does not end a statement; each version in its own way.
            if depth == 0 && name == "BEGIN" && self.may_have_body() {
                return Err("a function whose body is not quoted (BEGIN ATOMIC)".to_owned());
            }
            if self.names.len() < 4 {
                self.names.push(name.clone());
            }
        }
        if depth > 0 {
            self.computes |= depth > 1 || !(word.is_name() || word == Word::Sign(b','));
            return Ok(());
        }
        self.outside += 1;
        self.renames |= word.is("RENAME");
        if self.words.len() < LOOKED_AT {
            self.words.push(word.clone());
        }
        self.last.rotate_left(1);
        self.last[2] = Some(word);
        let Some(Word::Name(first)) = self.words.first() else {
            self.pass(out);
            return Ok(());
        };
        match first.as_str() {
            "GRANT" | "REVOKE" => self.leave_out(),
            "ROLLBACK" | "ABORT" | "END" | "START" | "PREPARE" => {
                return Err(format!("{first} in a load that is one transaction"));
            }
            "COMMENT" if self.is_about(&["ON", "EXTENSION"]) => self.leave_out(),
            "ALTER" if self.is_about(&["DEFAULT", "PRIVILEGES"]) => self.leave_out(),
            "COMMENT" if self.outside < 3 => {}
            "ALTER" | "SET" | "COPY" | "BEGIN" | "COMMIT" => {}
            _ if self.fate == Fate::Open => self.pass(out),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn may_have_body(&self) -> bool {
        let kinds = ["FUNCTION", "PROCEDURE", "SCHEMA"];
        self.names.first().is_some_and(|first| first == "CREATE") && self.names.iter().any(|name| kinds.contains(&name.as_str()))
    }

    pub(super) fn is_about(&self, names: &[&str]) -> bool {
        self.words.len() > names.len() && self.words[1..].iter().zip(names).all(|(word, name)| word.is(name))
    }

    /// The statement has ended; says whether data follow.
    pub(super) fn over(&mut self, out: &mut Vec<u8>) -> Result<bool, String> {
        let was = std::mem::take(self);
        let first = match was.words.first() {
            Some(Word::Name(first)) => first.as_str(),
            _ => "",
        };
        let drops = match first {
            "COPY" if was.fate == Fate::Open && was.is_copy() => {
                out.extend_from_slice(&was.held);
                return Ok(true);
            }
            "COPY" => return Err("a COPY as pg_dump does not write it".to_owned()),
            "BEGIN" | "COMMIT" if was.all > 1 => return Err(format!("{first} in a load that is one transaction")),
            "BEGIN" | "COMMIT" => true,
            "ALTER" => was.gives_away(),
            "SET" => was.is_of_another_version()?,
            _ => false,
        };
        if !drops {
            out.extend_from_slice(&was.held);
        }
        Ok(false)
    }

    /// `COPY name.name (name, ...) FROM stdin`
    pub(super) fn is_copy(&self) -> bool {
        if self.outside != self.words.len() || self.computes {
            return false;
        }
        let mut left = self.words[1..].iter().peekable();
        loop {
            if !left.next().is_some_and(Word::is_name) {
                return false;
            }
            if left.next_if(|word| **word == Word::Sign(b'.')).is_none() {
                break;
            }
        }
        if left.next_if(|word| **word == Word::Sign(b'(')).is_some() && left.next() != Some(&Word::Sign(b')')) {
            return false;
        }
        left.next().is_some_and(|word| word.is("FROM"))
            && left.next().is_some_and(|word| word.is("STDIN"))
            && left.next().is_none()
    }

    /// `ALTER ... OWNER TO name`
    pub(super) fn gives_away(&self) -> bool {
        let [Some(owner), Some(to), Some(name)] = &self.last else { return false };
        self.fate == Fate::Open && owner.is("OWNER") && to.is("TO") && name.is_name() && !self.renames
    }

    /// A setting that this server may not know. One that would make all strings mean something else is an error.
    pub(super) fn is_of_another_version(&self) -> Result<bool, String> {
        let mut words = self.words[1..].iter().filter(|word| !word.is("SESSION") && !word.is("LOCAL"));
        let Some(Word::Name(name)) = words.next() else { return Ok(false) };
        let value = words.find(|word| !word.is("TO") && **word != Word::Sign(b'='));
        let value = match value {
            Some(Word::Name(value) | Word::Text(Some(value))) => value.to_ascii_uppercase(),
            _ => String::new(),
        };
        match name.as_str() {
            "TRANSACTION_TIMEOUT" | "DEFAULT_WITH_OIDS" => Ok(true),
            "STANDARD_CONFORMING_STRINGS" if !matches!(value.as_str(), "ON" | "TRUE") => {
                Err("it is written for standard_conforming_strings = off".to_owned())
            }
            "CLIENT_ENCODING" | "NAMES" if !matches!(value.as_str(), "UTF8" | "UTF-8" | "UNICODE") => {
                Err("it is not in UTF-8".to_owned())
            }
            _ => Ok(false),
        }
    }
}
