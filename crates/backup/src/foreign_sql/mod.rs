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

mod literal;
mod statement;
#[cfg(test)]
mod tests;

use crate::error::{BackupError, BackupResult};
use literal::Literal;
use statement::{Statement, Word};

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
