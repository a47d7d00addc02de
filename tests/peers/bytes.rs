//! Messages written by hand, byte by byte, as tables of text; `tests/answers.txt` tells their form.
//!
//! Include it with `#[path = "peers/bytes.rs"] mod bytes;`. Without any dependency: the seeds of the
//! fuzz targets are made with it too.

use std::collections::HashMap;

/// One message of a table.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    /// What stands behind the name.
    pub words: Vec<String>,
    pub bytes: Vec<u8>,
}

/// Reads a table. Panics with the line where it is none.
pub fn cases(table: &str) -> Vec<Case> {
    let mut defined = HashMap::new();
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in table.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let read = |text| {
            Reader { rest: text, defined: &defined }
                .sequence()
                .unwrap_or_else(|why| panic!("line {}: {why}: {line}", number + 1))
        };
        if let Some((name, words)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let words = words.split_whitespace().map(str::to_owned).collect();
            cases.push(Case { name: name.to_owned(), words, bytes: Vec::new() });
        } else if let Some(definition) = defined_by(line, cases.is_empty()) {
            let bytes = read(definition.1);
            defined.insert(definition.0.to_owned(), bytes);
        } else if !line.is_empty() {
            let bytes = read(line);
            cases.last_mut().expect("bytes follow a name").bytes.extend(bytes);
        }
    }
    cases
}

/// Definitions stand before the first case.
fn defined_by(line: &str, before_cases: bool) -> Option<(&str, &str)> {
    line.strip_prefix('@').filter(|_| before_cases)?.split_once(char::is_whitespace)
}

struct Reader<'a> {
    rest: &'a str,
    defined: &'a HashMap<String, Vec<u8>>,
}

impl<'a> Reader<'a> {
    /// Bytes up to the end or a closing parenthesis.
    fn sequence(&mut self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.chars().next() {
                None => return Ok(bytes),
                Some(')') => {
                    self.rest = &self.rest[1..];
                    return Ok(bytes);
                }
                Some('"') => {
                    let (text, rest) =
                        self.rest[1..].split_once('"').ok_or("a text without end")?;
                    bytes.extend(text.bytes());
                    self.rest = rest;
                }
                Some('@') => {
                    let name = self.word(&self.rest[1..]);
                    bytes.extend(self.defined.get(name).ok_or_else(|| format!("no @{name}"))?);
                }
                Some(_) => {
                    let word = self.word(self.rest);
                    match word.strip_suffix("*(") {
                        Some(times) => {
                            let times = times.parse().map_err(|_| format!("{times} times?"))?;
                            bytes.extend(self.sequence()?.repeat(times));
                        }
                        None => bytes.extend(hex(word)?),
                    }
                }
            }
        }
    }

    /// Up to white space, a parenthesis that closes, or one that opens, which belongs to it.
    fn word(&mut self, text: &'a str) -> &'a str {
        let end =
            text.find(|c: char| c.is_whitespace() || c == ')' || c == '"').unwrap_or(text.len());
        let end = text[..end].find('(').map_or(end, |at| at + 1);
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        word
    }
}

fn hex(digits: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("no hex digits: {digits}");
    if !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let byte = |at| digits.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    (0..digits.len()).step_by(2).map(|at| byte(at).ok_or_else(wrong)).collect()
}
