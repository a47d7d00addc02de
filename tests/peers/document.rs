//! The tables of docs/peers.md, which tests hold to what is seen. Include it with
//! `#[path = "peers/document.rs"] mod document;`.

const PAGE: &str = include_str!("../../docs/peers.md");

/// The rows of the table below this heading, the first one with the names of its columns.
pub fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, below) = PAGE.split_once(&format!("\n## {heading}\n")).expect("a heading");
    let lines = below.lines().skip_while(|line| !line.starts_with('|'));
    let is_row = |line: &&str| !line.starts_with("|--");
    lines.take_while(|line| line.starts_with('|')).filter(is_row).map(cells).collect()
}

fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}
