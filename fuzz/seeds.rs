//! Makes seeds of tables of bytes: `seeds TABLE FOLDER`. Compiled by itself, without dependencies.

#[path = "../tests/peers/bytes.rs"]
mod bytes;

use std::path::Path;

/// The first byte of an input says what was asked for.
fn choice(word: &str) -> u8 {
    match word {
        "SRV" | "one" => 0,
        "A" | "two" => 1,
        "AAAA" => 2,
        other => panic!("no choice: {other}"),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, table, folder] = &arguments[..] else { panic!("usage: seeds TABLE FOLDER") };
    let table = std::fs::read_to_string(table).expect("the table can be read");
    for (number, case) in bytes::cases(&table).iter().enumerate() {
        let seed = [&[choice(&case.words[0])], &case.bytes[..]].concat();
        std::fs::write(Path::new(folder).join(format!("{number:03} {}", case.name.replace('/', "-"))), seed).expect("written");
    }
}
