//! What the reader of DNS answers makes of messages that no codec made: `tests/answers.txt`.

#[path = "peers/bytes.rs"]
mod bytes;

use std::collections::BTreeSet;

use bytes::{Case, cases};
use kmswatch::dns::{Question, Reading, Verdict, read};
use kmswatch::model::{Name, RecordKind};

#[test]
fn every_message_is_read_as_the_table_says() {
    let cases = cases(include_str!("answers.txt"));
    let names: BTreeSet<&str> = cases.iter().map(|case| &*case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases of one name");
    let wrong: Vec<String> = cases.iter().filter_map(disagreement).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() > 100, "{} cases", cases.len());
}

#[test]
fn no_message_that_is_cut_is_more_than_the_whole() {
    for case in cases(include_str!("answers.txt")) {
        let question = question(&case.words[0]);
        let whole = told(&read(&case.bytes, &question));
        for length in 0..case.bytes.len().min(600) {
            let cut = told(&read(&case.bytes[..length], &question));
            let is_tail_unread = cut == whole;
            // TC, and every flag of a foreign answer, stands before the cut.
            let is_known_by_its_head = ["broken", "truncated", "foreign"].contains(&&*cut);
            assert!(is_tail_unread || is_known_by_its_head, "{} at {length}: {cut}", case.name);
        }
    }
}

fn disagreement(case: &Case) -> Option<String> {
    let reading = read(&case.bytes, &question(&case.words[0]));
    let (told, expected) = (told(&reading), case.words[1..].join(" "));
    (told != expected).then(|| format!("[{}] {expected}, and not {told}: {reading:?}", case.name))
}

fn question(kind: &str) -> Question {
    let (name, kind) = match kind {
        "SRV" => ("_vlmcs._tcp.contoso.com", RecordKind::Srv),
        "A" => ("kms.contoso.com", RecordKind::A),
        "AAAA" => ("kms.contoso.com", RecordKind::Aaaa),
        other => panic!("no kind: {other}"),
    };
    Question::new(Name::parse(name).expect("a name"), kind)
}

/// A reading in the words of the table.
fn told(reading: &Reading) -> String {
    let reply = match reading {
        Reading::Foreign => return "foreign".to_owned(),
        Reading::Broken(_) => return "broken".to_owned(),
        Reading::Reply(reply) => reply,
    };
    match &reply.verdict {
        Verdict::Truncated => "truncated".to_owned(),
        Verdict::Alias(chain) => format!("alias {}", chain.last().expect("at least one")),
        Verdict::Answer(answer) => match answer.records.len() + answer.addresses.len() {
            0 => answer.outcome.as_str().to_owned(),
            count => format!("{} {count}", answer.outcome.as_str()),
        },
    }
}
