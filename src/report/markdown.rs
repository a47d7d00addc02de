//! GitHub's Markdown, as a comment on a change shows it; GitLab reads the same.

use super::document::{Cell, Document, Item, Remedy, Section, State, Table};
use super::human::finding::{WHAT_TO_DO, windows_shows};
use super::human::hops::short_duration;
use super::text::{clean, width_of};

/// A document as Markdown, of at most [`LONGEST`] bytes: what comes last is left out, and counted.
pub fn markdown(document: &Document) -> String {
    let mut page = Page { text: String::new(), left_out: 0 };
    page.text.extend(["## ", &escaped(&document.title), "\n\n"]);
    let verdict = marked(Some(document.status.into()), &escaped(&document.verdict));
    page.text.extend(["**", &verdict, "**\n"]);
    for section in &document.sections {
        page.section(section);
    }
    if page.left_out > 0 {
        let count = page.left_out.to_string();
        page.text.extend([
            "
",
            &count,
            " more left out: too long for a comment.
",
        ]);
    }
    page.text.extend(["\n", &paragraph(&document.closing), "\n"]);
    page.text
}

/// GitHub takes comments of 65,536 characters.
const LONGEST: usize = 65_000;
/// Of a table that belongs to no item: what matters stands first, and findings come after domains.
const MOST_ROWS: usize = 40;
/// For what stands at the end in any case.
const CLOSING: usize = 1_000;

struct Page {
    text: String,
    /// Items and rows.
    left_out: usize,
}

impl Page {
    fn section(&mut self, section: &Section) {
        let heading = marked(section.state, &escaped(&section.title));
        let sentences: Vec<String> = section.text.iter().map(|text| paragraph(text)).collect();
        let mut blocks = vec![format!("\n### {heading}\n")];
        blocks.extend(sentences.iter().map(|text| format!("\n{text}\n")));
        self.add(&blocks.concat(), 0);
        for entry in &section.items {
            self.add(&item(entry), 1);
        }
        for shown in &section.tables {
            self.table(shown);
        }
    }

    /// As many rows as there is room for.
    fn table(&mut self, shown: &Table) {
        let room = (LONGEST - CLOSING).saturating_sub(self.text.len());
        let mut rows = shown.rows.len().min(MOST_ROWS);
        let mut text = table(shown, rows);
        while text.len() > room && rows > 0 {
            rows /= 2;
            text = table(shown, rows);
        }
        self.left_out += shown.rows.len() - rows;
        self.text.push_str(&text);
    }

    /// A block, or one more that was left out.
    fn add(&mut self, block: &str, counts: usize) {
        if self.text.len() + block.len() + CLOSING > LONGEST {
            self.left_out += counts;
        } else {
            self.text.push_str(block);
        }
    }
}

fn item(item: &Item) -> String {
    let took = item.took.map_or(String::new(), |took| format!(" ({})", short_duration(took)));
    let title =
        marked(Some(item.state), &format!("{} {}", item.state.as_str(), escaped(&item.name)));
    let mut text = format!("\n**{title}**{took}: {}\n", escaped(&item.text));
    let shown = item.client_error.map(windows_shows);
    let sentences: Vec<String> =
        shown.iter().chain(&item.details).map(|sentence| paragraph(sentence)).collect();
    if !sentences.is_empty() {
        text.extend(["\n", &sentences.join(" "), "\n"]);
    }
    for shown in &item.evidence {
        text.push_str(&table(shown, shown.rows.len()));
    }
    text.push_str(&remedy(item));
    text
}

fn remedy(item: &Item) -> String {
    let parts = item.remedy();
    let mut text = String::new();
    if !parts.is_empty() {
        text.extend(["\n", WHAT_TO_DO, "\n"]);
    }
    for part in parts {
        match part {
            Remedy::Say(sentence) => text.extend(["\n", &paragraph(sentence), "\n"]),
            Remedy::Run(commands) => text.push_str(&fenced(&commands)),
        }
    }
    text
}

/// A fence that no line within can end.
fn fenced(commands: &[&str]) -> String {
    let runs = commands.iter().flat_map(|command| command.split(|character| character != '`'));
    let longest = runs.map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let lines: Vec<_> = commands.iter().map(|command| clean(command)).collect();
    format!("\n{fence}\n{}\n{fence}\n", lines.join("\n"))
}

/// The first rows, their columns aligned.
fn table(table: &Table, most: usize) -> String {
    if table.rows.is_empty() || most == 0 {
        return String::new();
    }
    let header: Vec<String> = table.headers.iter().map(|header| escaped(header)).collect();
    let mut rows = vec![header];
    rows.extend(table.rows.iter().take(most).map(|row| row.iter().map(cell).collect()));
    let widths: Vec<usize> = (0..table.headers.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| width_of(cell)).max().unwrap_or(0).clamp(3, WIDEST)
        })
        .collect();
    let rule = widths.iter().map(|width| "-".repeat(*width)).collect();
    rows.insert(1, rule);
    let lines: Vec<String> = rows.iter().map(|row| line(row, &widths)).collect();
    format!("\n{}:\n\n{}\n", paragraph(&table.caption), lines.join("\n"))
}

/// A wider cell is not aligned to: the source would be all spaces.
const WIDEST: usize = 60;

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::from("|");
    for (column, width) in widths.iter().enumerate() {
        let cell = row.get(column).map_or("", String::as_str);
        let missing = width.saturating_sub(width_of(cell));
        line.extend([" ", cell, &" ".repeat(missing), " |"]);
    }
    line
}

fn cell(cell: &Cell) -> String {
    let lines: Vec<String> = cell.lines.iter().map(|line| escaped(line)).collect();
    marked(cell.state, &lines.join("<br>"))
}

fn marked(state: Option<State>, text: &str) -> String {
    match state {
        Some(state) => format!("{} {}", escaped(state.mark()), text.trim()),
        None => text.trim().to_owned(),
    }
}

/// Text at the beginning of a line, which begins no list, rule or block of code.
fn paragraph(text: &str) -> String {
    let text = escaped(text.trim_start());
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    match text[digits..].chars().next() {
        Some('.' | ')') if digits > 0 => format!("{}\\{}", &text[..digits], &text[digits..]),
        Some('-' | '+' | '=') if digits == 0 => format!("\\{text}"),
        _ => text,
    }
}

/// Text that says itself, whatever it is: the punctuation that Markdown reads within a line is escaped
/// (CommonMark 0.31 section 2.4). GitHub looks for people and issues in what comes of that, so a comment
/// stands behind `@` and `#`.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for character in clean(text).chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '!' | '$' => {
                safe.extend(['\\', character]);
            }
            '@' | '#' => safe.extend([&character.to_string(), "<!-- -->"]),
            // A table is cut at its bars before anything else is read.
            '|' => safe.push_str("&#124;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            other => safe.push(other),
        }
    }
    safe
}
