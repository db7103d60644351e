//! A plain dump that anybody may have written, made harmless for psql.
//!
//! psql carries out more than SQL: a backslash outside of quotes begins a command of its own (`\!` runs a shell), and `:name` is a
//! variable of its own. Where quotes end depends on settings that a script can change in ways nobody sees from outside
//! (`standard_conforming_strings`, `client_encoding`). So a dump is not looked through but written anew, in words that every psql reads
//! in one way under any settings: outside of the data of COPY there is nothing but printable ASCII without a backslash, and no
//! comment. Strings and names that have other characters become `U&'...' UESCAPE '!'` (PostgreSQL docs, 4.1.2.3); quoting by dollars and
//! by `E''` becomes the same. Data of COPY are passed on as they are; so a COPY must look exactly as `pg_dump` writes it, and its
//! data end where psql sees their end: at a line `\.` alone (psql, `handleCopyIn`).
//!
//! Left out are: owners, permissions, comments of extensions, `\restrict` lines, `BEGIN` and `COMMIT` alone (the load is one
//! transaction anyway), and two settings of other versions that a server may not know. Everything that `pg_dump` never writes and that
//! would be read in more than one way is refused.

use crate::error::{BackupError, BackupResult};

/// How much of a string is held back for its plain form, and of a statement until it is known what it is.
const HOLD: usize = 1024 * 1024;
/// No name, number or tag is longer.
const LONGEST: usize = 64 * 1024;
/// Words of a statement that are looked at.
const LOOKED_AT: usize = 16;
/// Strings of a statement that are looked at are not longer.
const SHORT: usize = 32;

/// Reads a dump piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    state: State,
    statement: Statement,
    literal: Literal,
    /// A name, number, tag or command on its way.
    word: Vec<u8>,
    /// The last two bytes.
    before: [u8; 2],
    depth: usize,
    lines: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between words.
    #[default]
    Code,
    Word,
    Number,
    /// After `$`, in what may be a tag.
    Tag,
    /// After `-`, `/` or `:`, which may be the first of two.
    Sign(u8),
    Comment,
    Block {
        depth: u32,
        last: u8,
    },
    Text {
        escapes: bool,
    },
    /// After a quote in a text: its end, or one of two.
    TextQuote {
        escapes: bool,
    },
    Escape(Escape),
    Bits,
    Name,
    NameQuote,
    /// Between dollars, of whose end so many bytes were seen.
    Body(usize),
    /// A line that begins with a backslash.
    Command,
    /// After a COPY, until its line ends.
    Tail,
    Data(Line),
}

/// What follows a backslash in `E''` (PostgreSQL docs, 4.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    Start,
    Octal { value: u32, digits: u8 },
    Hex { value: u32, digits: u8 },
    Unicode { value: u32, left: u8 },
}

/// How much of a line of data was seen, as long as it may be the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Begin,
    Backslash,
    Dot,
    Return,
    Other,
}

/// Whether a byte is done with, or to be looked at again in the new state.
enum Turn {
    Taken,
    Again,
}

impl Filter {
    /// Reads on, and adds what may be passed on to `out`.
    ///
    /// # Errors
    /// [`BackupError::Refused`]: nothing after this may be passed on, and what was passed on must not be ended properly.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> BackupResult<()> {
        if bytes.contains(&0) {
            return Err(self.refused("it has a zero byte"));
        }
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if let State::Data(line) = self.state {
                rest = self.data(line, rest, out);
                continue;
            }
            while let Turn::Again = self.turn(byte, out)? {}
            self.before = [self.before[1], byte];
            self.lines += u64::from(byte == b'\n');
            rest = &rest[1..];
        }
        Ok(())
    }

    /// The dump has ended.
    ///
    /// # Errors
    /// [`BackupError::Refused`] if it may not end here.
    pub(crate) fn end(&mut self) -> BackupResult<()> {
        match self.state {
            State::Command => self.command(),
            State::Code | State::Comment if self.statement.is_empty() => Ok(()),
            State::Tail | State::Data(_) => Err(self.refused("it ends within the data of a table")),
            _ => Err(self.refused("it ends within a statement")),
        }
    }

    fn refused(&self, why: &str) -> BackupError {
        BackupError::Refused(format!("line {} of the dump: {why}", self.lines + 1))
    }

    fn turn(&mut self, byte: u8, out: &mut Vec<u8>) -> BackupResult<Turn> {
        match self.state {
            State::Code => return self.code(byte, out).map(|()| Turn::Taken),
            State::Word => return self.in_word(byte, out),
            State::Number => return self.in_number(byte, out),
            State::Tag => match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'_' => self.lengthen(byte)?,
                b'0'..=b'9' if self.word.len() > 1 => self.lengthen(byte)?,
                b'0'..=b'9' => {
                    self.state = State::Number;
                    self.lengthen(byte)?;
                }
                b'$' => {
                    self.lengthen(byte)?;
                    self.state = State::Body(0);
                }
                _ => return Err(self.refused("a dollar sign outside of quotes")),
            },
            State::Sign(first) => return self.second(first, byte, out),
            // As the server does, which ends them at a carriage return as well.
            State::Comment if byte == b'\n' || byte == b'\r' => {
                self.state = State::Code;
                return Ok(Turn::Again);
            }
            State::Comment => {}
            State::Block { depth, last } => self.state = block(depth, last, byte),
            State::Text { escapes } => match byte {
                b'\'' => self.state = State::TextQuote { escapes },
                b'\\' if escapes => self.state = State::Escape(Escape::Start),
                _ => self.add(&[byte], b'\'', out)?,
            },
            State::TextQuote { escapes } if byte == b'\'' => {
                self.add(b"'", b'\'', out)?;
                self.state = State::Text { escapes };
            }
            State::TextQuote { .. } => {
                self.end_literal(b'\'', out)?;
                return Ok(Turn::Again);
            }
            State::Escape(escape) => return self.escape(escape, byte, out),
            State::Bits => match byte {
                b'0'..=b'9' | b'A'..=b'F' | b'a'..=b'f' => self.statement.put(&[byte], out),
                b'\'' => {
                    self.statement.put(b"'", out);
                    self.saw(Word::Text(None), out)?;
                    self.state = State::Code;
                }
                _ => return Err(self.refused("a string of bits with something else in it")),
            },
            State::Name if byte == b'"' => self.state = State::NameQuote,
            State::Name if self.literal.held.len() > LONGEST => return Err(self.refused("a name without end")),
            State::Name => self.add(&[byte], b'"', out)?,
            State::NameQuote if byte == b'"' => {
                self.add(b"\"", b'"', out)?;
                self.state = State::Name;
            }
            State::NameQuote => {
                self.end_literal(b'"', out)?;
                return Ok(Turn::Again);
            }
            State::Body(seen) => self.body(seen, byte, out)?,
            State::Command if byte == b'\n' => {
                self.command()?;
                self.state = State::Code;
            }
            State::Command => self.lengthen(byte)?,
            State::Tail => match byte {
                b' ' | b'\t' | b'\r' => {}
                b'\n' => {
                    out.push(b'\n');
                    self.state = State::Data(Line::Begin);
                }
                _ => return Err(self.refused("something follows a COPY in its line")),
            },
            // `push` never brings a byte of data here.
            State::Data(_) => {}
        }
        Ok(Turn::Taken)
    }

    fn code(&mut self, byte: u8, out: &mut Vec<u8>) -> BackupResult<()> {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | 0x0c => {
                if !self.statement.is_empty() {
                    self.statement.put(&[if byte == b'\n' { byte } else { b' ' }], out);
                } else if byte == b'\n' {
                    out.push(byte);
                }
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => self.begin(State::Word, byte),
            b'0'..=b'9' => self.begin(State::Number, byte),
            b'$' => self.begin(State::Tag, byte),
            b'-' | b'/' | b':' => self.state = State::Sign(byte),
            b'\'' | b'"' => {
                if matches!(self.before, [b'u' | b'U', b'&']) {
                    return Err(self.refused("U& before a quote"));
                }
                self.state = if byte == b'"' { State::Name } else { State::Text { escapes: false } };
            }
            b'\\' if self.statement.is_empty() && matches!(self.before[1], 0 | b'\n') => self.begin(State::Command, byte),
            b'\\' => return Err(self.refused("a backslash outside of quotes: a command of psql")),
            b'(' => {
                self.saw(Word::Sign(byte), out)?;
                self.depth += 1;
                self.statement.put(b"(", out);
            }
            b')' => {
                self.depth = self.depth.checked_sub(1).ok_or_else(|| self.refused("a bracket that was never opened"))?;
                self.saw(Word::Sign(byte), out)?;
                self.statement.put(b")", out);
            }
            b';' if self.depth == 0 => {
                self.statement.put(b";", out);
                let is_copy = self.statement.over(out).map_err(|why| self.refused(&why))?;
                self.state = if is_copy { State::Tail } else { State::Code };
            }
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'*' | b'%' | b'<' | b'>' | b'=' | b','
            | b'[' | b']' | b'.' | b';' => {
                self.saw(Word::Sign(byte), out)?;
                self.statement.put(&[byte], out);
            }
            _ => return Err(self.refused(&format!("byte {byte:#04x} outside of quotes"))),
        }
        Ok(())
    }

    fn begin(&mut self, state: State, byte: u8) {
        self.word.clear();
        self.word.push(byte);
        self.state = state;
    }

    fn lengthen(&mut self, byte: u8) -> BackupResult<()> {
        if self.word.len() >= LONGEST {
            return Err(self.refused("a word without end"));
        }
        self.word.push(byte);
        Ok(())
    }

    /// `12`, `1.5`, `2e-7`, `$1`. What else touches one is part of it for some psql, and a word of its own for another.
    fn in_number(&mut self, byte: u8, out: &mut Vec<u8>) -> BackupResult<Turn> {
        let is_plain = self.word[0] != b'$' && !self.word.iter().any(|b| matches!(b, b'e' | b'E'));
        let (is_exponent, is_signed) = match self.word.last() {
            Some(b'e' | b'E') => (true, false),
            Some(b'+' | b'-') => (true, true),
            _ => (false, false),
        };
        match byte {
            b'0'..=b'9' => self.lengthen(byte)?,
            b'+' | b'-' if is_exponent && !is_signed => self.lengthen(byte)?,
            b'.' | b'e' | b'E' if is_plain => self.lengthen(byte)?,
            b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'\'' | b'"' | b'$' => {
                return Err(self.refused("a number touches something"));
            }
            _ if is_exponent => return Err(self.refused("a number that is cut off")),
            _ => {
                self.saw(Word::Number, out)?;
                self.statement.put(&self.word, out);
                self.state = State::Code;
                return Ok(Turn::Again);
            }
        }
        Ok(Turn::Taken)
    }

    fn in_word(&mut self, byte: u8, out: &mut Vec<u8>) -> BackupResult<Turn> {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'$' => self.lengthen(byte)?,
            b'\'' => match self.word.as_slice() {
                b"e" | b"E" => self.state = State::Text { escapes: true },
                b"b" | b"B" | b"x" | b"X" => {
                    self.statement.space(out);
                    self.statement.put(&self.word, out);
                    self.statement.put(b"'", out);
                    self.state = State::Bits;
                }
                _ => return Err(self.refused("a quote touches a word")),
            },
            b'"' => return Err(self.refused("a quote touches a word")),
            _ => {
                let name = String::from_utf8_lossy(&self.word).to_ascii_uppercase();
                self.saw(Word::Name(name), out)?;
                self.statement.put(&self.word, out);
                self.state = State::Code;
                return Ok(Turn::Again);
            }
        }
        Ok(Turn::Taken)
    }

    fn second(&mut self, first: u8, byte: u8, out: &mut Vec<u8>) -> BackupResult<Turn> {
        self.state = match (first, byte) {
            (b'-', b'-') => State::Comment,
            (b'/', b'*') => State::Block { depth: 1, last: 0 },
            (b':', b':' | b'=') => {
                self.saw(Word::Sign(first), out)?;
                self.statement.put(&[first, byte], out);
                State::Code
            }
            _ => {
                self.saw(Word::Sign(first), out)?;
                self.statement.put(&[first], out);
                // A colon that touches nothing can be no variable.
                if first == b':' {
                    self.statement.put(b" ", out);
                }
                self.state = State::Code;
                return Ok(Turn::Again);
            }
        };
        // A comment separates, as it did.
        if self.state != State::Code && !self.statement.is_empty() {
            self.statement.put(b" ", out);
        }
        Ok(Turn::Taken)
    }

    fn add(&mut self, bytes: &[u8], quote: u8, out: &mut Vec<u8>) -> BackupResult<()> {
        self.literal.held.extend_from_slice(bytes);
        if self.literal.held.len() < HOLD {
            return Ok(());
        }
        self.literal.spill(quote, &mut self.statement, out).map_err(|why| self.refused(why))
    }

    fn end_literal(&mut self, quote: u8, out: &mut Vec<u8>) -> BackupResult<()> {
        let word = match quote {
            b'"' => Word::Quoted,
            _ => Word::Text(self.literal.short()),
        };
        self.saw(word, out)?;
        self.literal.end(quote, &mut self.statement, out).map_err(|why| self.refused(why))?;
        self.state = State::Code;
        Ok(())
    }

    fn escape(&mut self, escape: Escape, byte: u8, out: &mut Vec<u8>) -> BackupResult<Turn> {
        let digit = |radix| char::from(byte).to_digit(radix);
        let next = match (escape, digit(8), digit(16)) {
            (Escape::Start, Some(value), _) => Escape::Octal { value, digits: 1 },
            (Escape::Start, None, _) => {
                let plain = match byte {
                    b'x' => return self.go_on(Escape::Hex { value: 0, digits: 0 }),
                    b'u' => return self.go_on(Escape::Unicode { value: 0, left: 4 }),
                    b'U' => return self.go_on(Escape::Unicode { value: 0, left: 8 }),
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => other,
                };
                self.add(&[plain], b'\'', out)?;
                self.state = State::Text { escapes: true };
                return Ok(Turn::Taken);
            }
            (Escape::Octal { value, digits }, Some(digit), _) if digits < 3 => {
                Escape::Octal { value: value * 8 + digit, digits: digits + 1 }
            }
            (Escape::Hex { value, digits }, _, Some(digit)) if digits < 2 => {
                Escape::Hex { value: value * 16 + digit, digits: digits + 1 }
            }
            (Escape::Unicode { value, left }, _, Some(digit)) if left > 0 => {
                Escape::Unicode { value: (value << 4) | digit, left: left - 1 }
            }
            (Escape::Unicode { left: 1.., .. }, ..) => return Err(self.refused("an escape that is cut off")),
            (Escape::Hex { digits: 0, .. }, ..) => return self.end_escape(u32::from(b'x'), out),
            (Escape::Octal { value, .. } | Escape::Hex { value, .. }, ..) => {
                return self.end_escape(if value < 0x80 { value } else { 0 }, out);
            }
            (Escape::Unicode { value, .. }, ..) => return self.end_escape(value, out),
        };
        self.go_on(next)
    }

    fn go_on(&mut self, escape: Escape) -> BackupResult<Turn> {
        self.state = State::Escape(escape);
        Ok(Turn::Taken)
    }

    fn end_escape(&mut self, value: u32, out: &mut Vec<u8>) -> BackupResult<Turn> {
        let Some(character) = char::from_u32(value).filter(|c| *c != '\0') else {
            return Err(self.refused("an escape that is no character of its own"));
        };
        self.add(character.encode_utf8(&mut [0; 4]).as_bytes(), b'\'', out)?;
        self.state = State::Text { escapes: true };
        Ok(Turn::Again)
    }

    /// The end is the first place where the opening is repeated; both have a dollar first and last and nowhere else.
    fn body(&mut self, seen: usize, byte: u8, out: &mut Vec<u8>) -> BackupResult<()> {
        if self.word.get(seen) == Some(&byte) {
            if seen + 1 == self.word.len() {
                return self.end_literal(b'\'', out);
            }
            self.state = State::Body(seen + 1);
            return Ok(());
        }
        let passed = self.word[..seen].to_vec();
        self.add(&passed, b'\'', out)?;
        if byte == b'$' {
            self.state = State::Body(1);
            return Ok(());
        }
        self.state = State::Body(0);
        self.add(&[byte], b'\'', out)
    }

    /// A command that `pg_dump` itself writes: it is ours to say.
    fn command(&self) -> BackupResult<()> {
        let line = String::from_utf8_lossy(&self.word);
        let (command, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        let is_key = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        match command {
            "\\restrict" | "\\unrestrict" if is_key => Ok(()),
            "\\connect" => Err(self.refused("it says itself which database it wants (pg_dump --create)")),
            _ => Err(self.refused("a command of psql")),
        }
    }

    /// Passes data on, up to the end of a line; returns what is left.
    fn data<'a>(&mut self, line: Line, bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let next = match (line, bytes[0]) {
            (Line::Dot | Line::Return, b'\n') => {
                self.state = State::Code;
                self.before = *b"\n\n";
                self.lines += 1;
                out.push(b'\n');
                return &bytes[1..];
            }
            (_, b'\n') => {
                self.lines += 1;
                Line::Begin
            }
            (Line::Begin, b'\\') => Line::Backslash,
            (Line::Backslash, b'.') => Line::Dot,
            (Line::Dot, b'\r') => Line::Return,
            _ => {
                let length = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
                out.extend_from_slice(&bytes[..length]);
                self.state = State::Data(Line::Other);
                return &bytes[length..];
            }
        };
        out.push(bytes[0]);
        self.state = State::Data(next);
        &bytes[1..]
    }

    fn saw(&mut self, word: Word, out: &mut Vec<u8>) -> BackupResult<()> {
        self.statement.saw(word, self.depth, out).map_err(|why| self.refused(&why))
    }
}

fn block(depth: u32, last: u8, byte: u8) -> State {
    match (last, byte) {
        (b'*', b'/') if depth == 1 => State::Code,
        (b'*', b'/') => State::Block { depth: depth - 1, last: 0 },
        (b'/', b'*') => State::Block { depth: depth.saturating_add(1), last: 0 },
        _ => State::Block { depth, last: byte },
    }
}

/// A string or a name: as it is for as long as it can be, else with numbers for its characters.
#[derive(Debug, Default)]
struct Literal {
    held: Vec<u8>,
    numbered: bool,
}

impl Literal {
    fn short(&self) -> Option<String> {
        let is_short = !self.numbered && self.held.len() <= SHORT;
        is_short.then(|| String::from_utf8_lossy(&self.held).into_owned())
    }

    /// Writes all but a character that is not whole yet.
    fn spill(&mut self, quote: u8, statement: &mut Statement, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let whole = match std::str::from_utf8(&self.held) {
            Ok(text) => text.len(),
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            Err(_) => return Err("it is not in UTF-8"),
        };
        if !self.numbered {
            statement.space(out);
            statement.put(&[b'U', b'&', quote], out);
            self.numbered = true;
        }
        let rest = self.held.split_off(whole);
        let text = std::str::from_utf8(&self.held).map_err(|_| "it is not in UTF-8")?;
        statement.put(numbered(text, char::from(quote)).as_bytes(), out);
        self.held = rest;
        Ok(())
    }

    fn end(&mut self, quote: u8, statement: &mut Statement, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let is_plain = |b: &u8| (b' '..=b'~').contains(b) && *b != b'\\' || matches!(b, b'\n' | b'\t');
        if !self.numbered && self.held.iter().all(is_plain) {
            let mut text = vec![quote];
            for byte in self.held.drain(..) {
                text.push(byte);
                if byte == quote {
                    text.push(byte);
                }
            }
            text.push(quote);
            statement.space(out);
            statement.put(&text, out);
            return Ok(());
        }
        self.spill(quote, statement, out)?;
        if !self.held.is_empty() {
            return Err("it is not in UTF-8");
        }
        self.numbered = false;
        statement.put(&[quote], out);
        statement.put(b" UESCAPE '!'", out);
        Ok(())
    }
}

fn numbered(text: &str, quote: char) -> String {
    let mut numbered = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => numbered.push(c),
            '\\' => numbered.push_str("!005C"),
            ' '..='~' => {
                numbered.push(c);
                if c == '!' || c == quote {
                    numbered.push(c);
                }
            }
            _ if u32::from(c) < 0x1_0000 => numbered.push_str(&format!("!{:04X}", u32::from(c))),
            _ => numbered.push_str(&format!("!+{:06X}", u32::from(c))),
        }
    }
    numbered
}

/// What a statement consists of, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// In upper case.
    Name(String),
    Quoted,
    Text(Option<String>),
    Number,
    Sign(u8),
}

impl Word {
    fn is(&self, name: &str) -> bool {
        matches!(self, Self::Name(own) if own == name)
    }

    const fn is_name(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Quoted)
    }
}

/// What becomes of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Open,
    Passed,
    Dropped,
}

/// The statement that is being read.
#[derive(Debug, Default)]
struct Statement {
    fate: Fate,
    held: Vec<u8>,
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
    const fn is_empty(&self) -> bool {
        self.all == 0
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
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
    fn space(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.last_put, b' ' | b'\n' | b'(' | b',' | b'.' | b'=' | b'[') {
            self.put(b" ", out);
        }
    }

    fn pass(&mut self, out: &mut Vec<u8>) {
        self.fate = Fate::Passed;
        out.append(&mut self.held);
    }

    fn leave_out(&mut self) {
        self.fate = Fate::Dropped;
        self.held = Vec::new();
    }

    fn saw(&mut self, word: Word, depth: usize, out: &mut Vec<u8>) -> Result<(), String> {
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

    fn may_have_body(&self) -> bool {
        let kinds = ["FUNCTION", "PROCEDURE", "SCHEMA"];
        self.names.first().is_some_and(|first| first == "CREATE") && self.names.iter().any(|name| kinds.contains(&name.as_str()))
    }

    fn is_about(&self, names: &[&str]) -> bool {
        self.words.len() > names.len() && self.words[1..].iter().zip(names).all(|(word, name)| word.is(name))
    }

    /// The statement has ended; says whether data follow.
    fn over(&mut self, out: &mut Vec<u8>) -> Result<bool, String> {
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
    fn is_copy(&self) -> bool {
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
    fn gives_away(&self) -> bool {
        let [Some(owner), Some(to), Some(name)] = &self.last else { return false };
        self.fate == Fate::Open && owner.is("OWNER") && to.is("TO") && name.is_name() && !self.renames
    }

    /// A setting that this server may not know. One that would make all strings mean something else is an error.
    fn is_of_another_version(&self) -> Result<bool, String> {
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

#[cfg(test)]
mod tests {
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
                    assert!(
                        line.bytes().all(|b| (b.is_ascii_graphic() || b" \n\t".contains(&b)) && b != b'\\'),
                        "{text:?}: {out:?}"
                    );
                    is_data = line.starts_with("COPY t FROM stdin");
                } else if line == "\\.\n" {
                    is_data = false;
                }
            }
        }
        assert!(passed > 200, "{passed}");
    }
}
