//! What every text format needs: foreign text made harmless, wrapped sentences, aligned columns,
//! bounded lists.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Foreign text with everything escaped that could move a cursor, hide or reorder what is read.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Foreign text as content or attribute of XML (1.0, section 2.4) and HTML; the characters that XML
/// forbids are among those that [`clean`] spells out.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in clean(text).chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// Control characters, Unicode's invisible and direction-changing ones (UTR 36 section 2.5), and
/// noncharacters, some of which XML 1.0 forbids (section 2.2).
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fdd0}'..='\u{fdef}')
        || u32::from(character) & 0xfffe == 0xfffe
}

/// Breaks a sentence at spaces so that no line is longer than `width` characters, but for words that
/// are longer themselves: a name stays whole.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut length = 0;
    for word in text.split_whitespace() {
        let word_length = width_of(word);
        if length > 0 && length + 1 + word_length > width {
            lines.push(String::new());
            length = 0;
        }
        let line = lines.last_mut().expect("there is always a line");
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        line.push_str(word);
        length += word_length;
    }
    lines
}

/// Rows as lines, each column as wide as its widest cell, two spaces between columns; a column that
/// is empty throughout takes no room.
pub(super) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| width_of(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    rows.iter().map(|row| padded_row(row, &widths)).collect()
}

fn padded_row(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths).filter(|(_, width)| **width > 0) {
        if !line.is_empty() {
            line.push_str("  ");
        }
        line.push_str(cell);
        let missing = width - width_of(cell);
        line.extend(std::iter::repeat_n(' ', missing));
    }
    line.truncate(line.trim_end().len());
    line
}

/// `a, b and c`; beyond `most`: `a, b and 7 more`.
pub(super) fn listed(items: &[impl AsRef<str>], most: usize) -> String {
    let mut text = String::new();
    let shown = if items.len() > most { most } else { items.len() };
    let rest = items.len() - shown;
    for (at, item) in items[..shown].iter().enumerate() {
        let last = rest == 0 && at + 1 == shown;
        text.push_str(match at {
            0 => "",
            _ if last => " and ",
            _ => ", ",
        });
        text.push_str(item.as_ref());
    }
    if rest > 0 {
        let _ = write!(text, "{}{rest} more", if shown > 0 { " and " } else { "" });
    }
    text
}

/// `1 domain`, `2 domains`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Columns on a terminal: names are ASCII, and what else is shown is not wide.
pub(super) fn width_of(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_bounded() {
        assert_eq!(listed(&["a"], 3), "a");
        assert_eq!(listed(&["a", "b", "c"], 3), "a, b and c");
        assert_eq!(listed(&["a", "b", "c", "d"], 2), "a, b and 2 more");
    }

    #[test]
    fn columns_are_aligned_and_empty_ones_vanish() {
        let rows = [["ab", "", "x"], ["a", "", "yy"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), ["ab  x", "a   yy"]);
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor_or_reorder() {
        assert_eq!(clean("a\u{1b}[2Jb\r\n\u{202e}c\u{9b}"), r"a\u{1b}[2Jb\r\n\u{202e}c\u{9b}");
        assert!(matches!(clean("plain · ünïcode"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn wrapping_loses_no_word_and_keeps_the_width(text in "[a-z]{1,9}( [a-z]{1,9}){0,30}", width in 9_usize..60) {
            let lines = wrapped(&text, width);
            prop_assert!(lines.iter().all(|line| width_of(line) <= width));
            prop_assert_eq!(lines.join(" "), text);
        }
    }
}
