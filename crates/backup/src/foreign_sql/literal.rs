//! Strings and names of a dump, passed on in a form that means the same under any settings.

use super::SHORT;
use super::statement::Statement;

/// A string or a name: as it is for as long as it can be, else with numbers for its characters.
#[derive(Debug, Default)]
pub(super) struct Literal {
    pub(super) held: Vec<u8>,
    pub(super) numbered: bool,
}

impl Literal {
    pub(super) fn short(&self) -> Option<String> {
        let is_short = !self.numbered && self.held.len() <= SHORT;
        is_short.then(|| String::from_utf8_lossy(&self.held).into_owned())
    }

    /// Writes all but a character that is not whole yet.
    pub(super) fn spill(&mut self, quote: u8, statement: &mut Statement, out: &mut Vec<u8>) -> Result<(), &'static str> {
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

    pub(super) fn end(&mut self, quote: u8, statement: &mut Statement, out: &mut Vec<u8>) -> Result<(), &'static str> {
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
