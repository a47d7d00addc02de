//! TOML as written: typed reading of the recoverable tree, where every refusal is recorded with its
//! place and reading goes on.

use std::cell::OnceCell;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::errors::{Kind, Log, Place};
use super::refusal::{Refusal, shown, suggest};
use super::syntax::{self, Broken};
use super::units;

/// A file's text and where its lines begin.
#[derive(Debug)]
pub(super) struct Source {
    name: Arc<str>,
    order: usize,
    line_starts: Vec<usize>,
    /// Relative paths in this file begin here.
    pub base: PathBuf,
    /// Without a byte order mark.
    pub text: String,
    /// The text without what breaks the rest.
    legible: OnceCell<String>,
}

impl Source {
    /// The text of a file that was read just now.
    pub(super) fn new(file: &Path, text: &str, log: &Log) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        let base = file.parent().unwrap_or(Path::new("")).to_owned();
        Self {
            name: file.display().to_string().into(),
            order: log.next_file(),
            line_starts,
            base,
            text,
            legible: OnceCell::new(),
        }
    }

    /// The line and column of an offset.
    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line.saturating_sub(1)];
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or("");
        Place {
            file: self.name.clone(),
            line,
            column: before.chars().count() + 1,
            order: self.order,
        }
    }

    /// The tree, as far as the text is TOML; what is not is recorded.
    pub(super) fn parse<'a>(&'a self, log: &Log) -> Part<'a> {
        let legible = self.legible.get_or_init(|| {
            let (legible, broken) = syntax::recover(&self.text);
            for one in broken {
                self.refuse_broken(one, log);
            }
            legible.into_owned()
        });
        let (table, errors) = DeTable::parse_recoverable(legible);
        for error in errors {
            self.refuse_broken(syntax::told(legible, &error), log);
        }
        Part { source: self, table: table.into_inner() }
    }

    fn refuse_broken(&self, broken: Broken, log: &Log) {
        log.refuse(Kind::Syntax, self.place(broken.offset), "", broken.refusal);
    }
}

/// One file's tree.
#[derive(Debug)]
pub(super) struct Part<'a> {
    source: &'a Source,
    table: DeTable<'a>,
}

/// The keys of a table.
#[derive(Debug)]
pub(super) struct Keys {
    /// What this version knows.
    pub known: &'static [&'static str],
    /// What the contract has, and this version does not.
    pub later: &'static [&'static str],
}

/// A table of the config; where it is one that several files may write, all of them together.
#[derive(Debug)]
pub(super) struct Section<'a> {
    log: &'a Log,
    key: String,
    parts: Vec<Fragment<'a>>,
}

/// What one file writes of a table.
#[derive(Debug, Clone, Copy)]
struct Fragment<'a> {
    source: &'a Source,
    table: &'a DeTable<'a>,
    at: usize,
}

impl<'a> Section<'a> {
    /// The top of all files together.
    pub(super) fn root(parts: &'a [Part<'a>], log: &'a Log, keys: &Keys) -> Self {
        let Self { key, parts, .. } = Self::unchecked(parts, log);
        Self::open(log, key, parts, keys)
    }

    /// The top of all files, whatever keys there are.
    pub(super) fn unchecked(parts: &'a [Part<'a>], log: &'a Log) -> Self {
        let fragment =
            |part: &'a Part<'a>| Fragment { source: part.source, table: &part.table, at: 0 };
        Self { log, key: String::new(), parts: parts.iter().map(fragment).collect() }
    }

    fn open(log: &'a Log, key: String, parts: Vec<Fragment<'a>>, keys: &Keys) -> Self {
        let section = Self { log, key, parts };
        for part in &section.parts {
            section.check_keys(*part, keys);
        }
        section
    }

    fn check_keys(&self, part: Fragment<'a>, keys: &Keys) {
        for (key, _) in part.table {
            let name: &str = key.get_ref();
            if keys.known.contains(&name) {
                continue;
            }
            let refusal = if keys.later.contains(&name) {
                Refusal::new("not in this version", "remove it")
            } else {
                let known = keys.known.iter().copied();
                Refusal::new("unknown key", suggest(name, known))
            };
            let place = part.source.place(key.span().start);
            self.log.refuse(Kind::Value, place, &self.path_of(name), refusal);
        }
    }

    /// The value of a key, where it is given. A key that two files set is an error.
    pub(super) fn get(&self, key: &str) -> Option<Item<'a>> {
        let mut items = self.items(key);
        let first = items.next()?;
        for again in items {
            let problem = format!("set already at {}", first.place());
            again.refuse(Refusal::new(problem, "remove one of the two"));
        }
        Some(first)
    }

    /// The value of a key that must be given.
    pub(super) fn require(&self, key: &str, example: &str) -> Option<Item<'a>> {
        let item = self.get(key);
        let broken = self.parts.iter().any(|part| part.table.contains_key(key));
        if item.is_none() && !broken {
            let refusal = Refusal::new("missing", format!("write {key} = {example}"));
            self.log.refuse(Kind::Missing, self.place(), &self.path_of(key), refusal);
        }
        item
    }

    /// The values of a key in each file.
    pub(super) fn items(&self, key: &str) -> impl Iterator<Item = Item<'a>> {
        let path = self.path_of(key);
        let log = self.log;
        self.parts.iter().filter_map(move |part| {
            // What is broken has no place and was recorded as syntax.
            let value = part.table.get(key).filter(|value| !value.span().is_empty())?;
            Some(Item { log, source: part.source, value, path: path.clone(), leaf: key.len() })
        })
    }

    /// `[key]`, from all files.
    pub(super) fn table(&self, key: &str, keys: &Keys) -> Section<'a> {
        let wanted = format!("write [{key}]");
        let parts = self.items(key).filter_map(|item| item.fragment("a table", &wanted));
        Section::open(self.log, self.path_of(key), parts.collect(), keys)
    }

    /// Every `[[key]]`, from all files.
    pub(super) fn tables(&self, key: &str, keys: &Keys) -> Vec<Section<'a>> {
        let wanted = format!("write [[{key}]]");
        let entries = self.items(key).filter_map(|item| item.elements("tables", &wanted));
        entries
            .flatten()
            .filter_map(|entry| {
                let part = entry.fragment("a table", &wanted)?;
                Some(Section::open(self.log, entry.path, vec![part], keys))
            })
            .collect()
    }

    /// Where the table begins.
    pub(super) fn place(&self) -> Place {
        let first = self.parts.first();
        first.map_or_else(
            || Place { file: "".into(), line: 1, column: 1, order: 0 },
            |part| part.source.place(part.at),
        )
    }

    /// The path of this table.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    fn path_of(&self, key: &str) -> String {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let key =
            if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { shown(key) };
        if self.key.is_empty() { key } else { format!("{}.{key}", self.key) }
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Item<'a> {
    log: &'a Log,
    source: &'a Source,
    value: &'a Spanned<DeValue<'a>>,
    path: String,
    /// So many bytes at the end of the path are the key itself; 0 for an element of an array.
    leaf: usize,
}

impl<'a> Item<'a> {
    /// Where the value stands.
    pub(super) fn place(&self) -> Place {
        self.source.place(self.value.span().start)
    }

    /// The path of its key.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The file that it stands in.
    pub(super) fn source(&self) -> &'a Source {
        self.source
    }

    /// Records what is wrong with it.
    pub(super) fn refuse(&self, refusal: Refusal) {
        self.log.refuse(Kind::Value, self.place(), &self.path, refusal);
    }

    /// A value, or what is wrong with it on record.
    pub(super) fn take<T>(&self, value: Result<T, Refusal>) -> Option<T> {
        value.map_err(|refusal| self.refuse(refusal)).ok()
    }

    /// A string; `example` as TOML.
    pub(super) fn string(&self, example: &str) -> Option<&'a str> {
        let text = self.value.get_ref().as_str();
        text.or_else(|| self.wrong_type("a string", &self.assignment(example)))
    }

    /// A string that a grammar reads.
    pub(super) fn read<T>(
        &self,
        example: &str,
        grammar: impl FnOnce(&'a str) -> Result<T, Refusal>,
    ) -> Option<T> {
        let text = self.string(example)?;
        self.take(grammar(text))
    }

    /// One of a few words.
    pub(super) fn choose<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let all: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let text = self.string(all.first().map_or("\"\"", String::as_str))?;
        let chosen = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        let refusal = || {
            Refusal::new(
                format!("{} is not known here", shown(text)),
                format!("write {}", all.join(" or ")),
            )
        };
        self.take(chosen.ok_or_else(refusal))
    }

    /// True or false.
    pub(super) fn boolean(&self, example: &str) -> Option<bool> {
        let value = self.value.get_ref().as_bool();
        value.or_else(|| self.wrong_type("true or false", &self.assignment(example)))
    }

    /// A whole number within a range.
    pub(super) fn integer(&self, range: RangeInclusive<u32>, example: &str) -> Option<u32> {
        let Some(integer) = self.value.get_ref().as_integer() else {
            return self.wrong_type("a whole number", &self.assignment(example));
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let refusal = || {
            let [least, most] = [range.start(), range.end()];
            let problem = format!("{} is out of range", shown_number(&integer.to_string()));
            Refusal::new(problem, format!("write a number from {least} to {most}"))
        };
        self.take(number.filter(|number| range.contains(number)).ok_or_else(refusal))
    }

    /// A duration within a range.
    pub(super) fn duration(
        &self,
        range: &RangeInclusive<Duration>,
        example: &str,
    ) -> Option<Duration> {
        if let Some(number) = self.value.get_ref().as_integer() {
            return self.take(Err(units::without_unit(shown_number(&number.to_string()))));
        }
        let duration = self.read(example, units::duration)?;
        self.take(units::within(duration, range))
    }

    /// A date without time.
    pub(super) fn date(&self, example: &str) -> Option<jiff::civil::Date> {
        let datetime = self.value.get_ref().as_datetime();
        let date =
            datetime.filter(|datetime| datetime.time.is_none()).and_then(|datetime| datetime.date);
        let Some(date) = date else {
            return self.wrong_type("a date without quotes and time", &self.assignment(example));
        };
        let [month, day] = [date.month, date.day].map(|part| i8::try_from(part).unwrap_or(0));
        let year = i16::try_from(date.year).unwrap_or(0);
        let no_date = |_| Refusal::new(format!("{date} is no date"), format!("write {example}"));
        self.take(jiff::civil::Date::new(year, month, day).map_err(no_date))
    }

    /// A moment: a date and time with an offset.
    pub(super) fn moment(&self, example: &str) -> Option<jiff::Timestamp> {
        let Some(datetime) = self.value.get_ref().as_datetime() else {
            let wanted = "a date and time without quotes";
            return self.wrong_type(wanted, &self.assignment(example));
        };
        let refusal = || {
            let has_all = datetime.date.is_some() && datetime.time.is_some();
            let problem = match datetime.offset {
                None if has_all => format!("{datetime} says not by whose clocks"),
                _ => format!("{datetime} is no moment"),
            };
            Refusal::new(
                problem,
                format!("write a date and time with Z or an offset, such as {example}"),
            )
        };
        self.take(datetime.to_string().parse().map_err(|_| refusal()))
    }

    /// The elements of an array; `example` as TOML.
    pub(super) fn array(&self, example: &str) -> Option<Vec<Item<'a>>> {
        self.elements("", &self.assignment(example))
    }

    /// Whether it is an array without elements.
    pub(super) fn is_empty_array(&self) -> bool {
        self.value.get_ref().as_array().is_some_and(|array| array.is_empty())
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    /// Whether it is this string.
    pub(super) fn is_string(&self, text: &str) -> bool {
        self.text() == Some(text)
    }

    fn elements(&self, of: &str, wanted: &str) -> Option<Vec<Item<'a>>> {
        let Some(array) = self.value.get_ref().as_array() else {
            let kind =
                if of.is_empty() { "an array".to_owned() } else { format!("an array of {of}") };
            return self.wrong_type(&kind, wanted);
        };
        let element = |(at, value)| Item {
            log: self.log,
            source: self.source,
            value,
            path: format!("{}[{at}]", self.path),
            leaf: 0,
        };
        Some(array.iter().enumerate().map(element).collect())
    }

    /// The keys and values of a table of strings; a key is a value's path's end.
    pub(super) fn entries(&self, example: &str) -> Option<Vec<(&'a str, Item<'a>)>> {
        let part = self.fragment("a table", &self.assignment(example))?;
        let section = Section { log: self.log, key: self.path.clone(), parts: vec![part] };
        let keys = part.table.iter().map(|(key, _)| -> &'a str { key.get_ref() });
        Some(keys.filter_map(|key| Some((key, section.items(key).next()?))).collect())
    }

    fn fragment(&self, kind: &str, wanted: &str) -> Option<Fragment<'a>> {
        let Some(table) = self.value.get_ref().as_table() else {
            return self.wrong_type(kind, wanted);
        };
        Some(Fragment { source: self.source, table, at: self.value.span().start })
    }

    /// `key = example`, or the example alone within an array.
    fn assignment(&self, example: &str) -> String {
        let start = self.path.len().saturating_sub(self.leaf);
        match self.path.get(start..).filter(|leaf| !leaf.is_empty()) {
            Some(leaf) => format!("write {leaf} = {example}"),
            None => format!("write {example}"),
        }
    }

    fn wrong_type<T>(&self, wanted: &str, advice: &str) -> Option<T> {
        let kind = self.value.get_ref().type_str();
        let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
        self.take(Err(Refusal::new(format!("wants {wanted}, not {article} {kind}"), advice)))
    }
}

fn shown_number(number: &str) -> String {
    const MOST: usize = 20;
    match number.get(..MOST) {
        Some(start) if number.len() > MOST => format!("{start}…"),
        _ => number.to_owned(),
    }
}
