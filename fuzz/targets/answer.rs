//! A DNS answer: no panic, bounded time, and what hickory's own decoder makes of the same bytes.
//!
//! The first byte says what was asked for; the rest is the message.

#![no_main]

use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::{DNSClass, Name as WireName, RData, Record as WireRecord, RecordType};
use kmswatch::dns::{Question, Reading, Verdict, read};
use kmswatch::model::observation::{MAX_ADDRESSES, MAX_RECORDS};
use kmswatch::model::{Answer, LookupOutcome, Name, RecordKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, message)) = data.split_first() else { return };
    let (name, kind, wire_type) = match choice % 3 {
        0 => ("_vlmcs._tcp.contoso.com", RecordKind::Srv, RecordType::SRV),
        1 => ("kms.contoso.com", RecordKind::A, RecordType::A),
        _ => ("kms.contoso.com", RecordKind::Aaaa, RecordType::AAAA),
    };
    // A socket never gives more.
    let message = &message[..message.len().min(usize::from(u16::MAX))];
    let question = Question::new(Name::parse(name).expect("a name"), kind);
    let reading = read(message, &question);
    is_bounded(&reading);
    let Ok(decoded) = Message::from_vec(message) else { return };
    let asked: WireName = format!("{name}.").parse().expect("a name");
    compare(&reading, &Oracle { message: &decoded, asked, wire_type });
});

fn is_bounded(reading: &Reading) {
    let reply = match reading {
        Reading::Foreign => return,
        Reading::Broken(why) => return assert!(!why.contains(char::is_control), "{why:?}"),
        Reading::Reply(reply) => reply,
    };
    match &reply.verdict {
        Verdict::Truncated => {}
        Verdict::Alias(chain) => assert!((1..=MAX_HOPS).contains(&chain.len()), "{chain:?}"),
        Verdict::Answer(answer) => {
            assert!(answer.records.len() <= MAX_RECORDS && answer.addresses.len() <= MAX_ADDRESSES);
            assert!(answer.aliases.len() <= MAX_HOPS);
            assert!(answer.records.is_sorted() && answer.addresses.is_sorted());
            let has_any = !(answer.records.is_empty() && answer.addresses.is_empty());
            assert_eq!(has_any, answer.outcome == LookupOutcome::Records, "{answer:?}");
            assert!(answer.detail.as_ref().is_none_or(|words| !words.contains(char::is_control)));
        }
    }
}

/// What the decoder says of a field that is not all there.
const CUT: &str = "unexpected end of input reached";

/// As many aliases as the reader follows.
const MAX_HOPS: usize = 8;

/// What a plain decoding of the whole message says.
struct Oracle<'a> {
    message: &'a Message,
    asked: WireName,
    wire_type: RecordType,
}

/// What both agree about, or why not.
fn compare(reading: &Reading, oracle: &Oracle<'_>) {
    let metadata = oracle.message.metadata;
    let is_answer =
        metadata.message_type == MessageType::Response && metadata.op_code == OpCode::Query;
    let reply = match reading {
        Reading::Foreign => {
            return assert!(is_answer && !oracle.is_ours(), "an answer to our question is foreign");
        }
        Reading::Broken(why) => {
            return assert!(oracle.is_rightly_broken(is_answer, why), "{why}: {}", oracle.message);
        }
        Reading::Reply(reply) => reply,
    };
    assert!(is_answer, "no answer is read as one");
    assert!(oracle.is_ours() || oracle.message.queries.is_empty());
    assert_eq!(matches!(reply.verdict, Verdict::Truncated), metadata.truncation);
    if metadata.truncation {
        // What is cut may be cut anywhere: nothing in it counts.
        return;
    }
    assert_eq!(reply.rcode, u16::from(metadata.response_code), "{}", oracle.message);
    assert_eq!(reply.edns, oracle.message.edns.is_some());
    match &reply.verdict {
        Verdict::Truncated => {}
        Verdict::Alias(chain) => {
            assert_eq!(oracle.chain().expect("no loop"), texts(chain));
            assert!(oracle.records(chain.last()).is_empty());
        }
        Verdict::Answer(answer) => oracle.agrees(answer, reply.rcode),
    }
}

impl Oracle<'_> {
    fn is_ours(&self) -> bool {
        let [query] = &self.message.queries[..] else { return false };
        same(&query.name, &self.asked)
            && query.query_type == self.wire_type
            && query.query_class == DNSClass::IN
    }

    /// hickory reads more than we believe.
    fn is_rightly_broken(&self, is_answer: bool, why: &str) -> bool {
        let rcode = self.message.metadata.response_code.low();
        let is_error = !matches!(rcode, 0 | 3);
        let questions = self.message.queries.len();
        !is_answer
            || questions > 1
            || questions == 0 && !is_error
            || self.chain().is_none()
            || why == "a name has too many labels and pointers, or loops"
            || why == "the names of the message have too many labels and pointers"
            // Where the options of EDNS are cut, hickory drops the rest of them.
            || why == CUT && self.message.edns.is_some()
    }

    /// The names that the asked one stands for; `None` where they loop or are too many.
    fn chain(&self) -> Option<Vec<String>> {
        let mut chain: Vec<WireName> = Vec::new();
        loop {
            let at = chain.last().unwrap_or(&self.asked);
            let is_next = |record: &&WireRecord| is_of(record, at);
            let alias = self.message.answers.iter().filter(is_next).find_map(|record| {
                if let RData::CNAME(target) = &record.data { Some(target.0.clone()) } else { None }
            });
            let Some(target) = alias else {
                return Some(chain.iter().map(text).collect());
            };
            let is_known = chain.iter().chain([&self.asked]).any(|known| same(known, &target));
            if is_known || chain.len() == MAX_HOPS {
                return None;
            }
            chain.push(target);
        }
    }

    /// The asked records at the end of the aliases, as text and in order.
    fn records(&self, owner: Option<&Name>) -> Vec<(u16, u16, u16, String, u32)> {
        let owner = owner.map_or_else(|| text(&self.asked), |name| name.to_string());
        let mut found: Vec<_> = self
            .message
            .answers
            .iter()
            .filter(|record| record.dns_class == DNSClass::IN && text(&record.name) == owner)
            .filter_map(|record| match (&record.data, self.wire_type) {
                (RData::SRV(srv), RecordType::SRV) => {
                    let ttl = if record.ttl > i32::MAX as u32 { 0 } else { record.ttl };
                    Some((srv.priority, srv.weight, srv.port, text(&srv.target), ttl))
                }
                _ => None,
            })
            .collect();
        found.sort_unstable();
        found
    }

    fn addresses(&self, owner: Option<&Name>) -> Vec<IpAddr> {
        let owner = owner.map_or_else(|| text(&self.asked), |name| name.to_string());
        let mut found: Vec<IpAddr> = self
            .message
            .answers
            .iter()
            .filter(|record| record.dns_class == DNSClass::IN && text(&record.name) == owner)
            .filter_map(|record| match (&record.data, self.wire_type) {
                (RData::A(address), RecordType::A) => Some(IpAddr::V4(address.0)),
                (RData::AAAA(address), RecordType::AAAA) => Some(IpAddr::V6(address.0)),
                _ => None,
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn agrees(&self, answer: &Answer, rcode: u16) {
        let outcome = match rcode {
            1 => LookupOutcome::Formerr,
            2 => LookupOutcome::Servfail,
            3 => LookupOutcome::Nxdomain,
            4 => LookupOutcome::Notimp,
            5 => LookupOutcome::Refused,
            6.. => LookupOutcome::OtherRcode,
            0 if self.message.queries.is_empty() => LookupOutcome::Nodata,
            0 => return self.agrees_about_records(answer),
        };
        assert_eq!(answer.outcome, outcome);
        assert!(answer.records.is_empty() && answer.addresses.is_empty());
    }

    fn agrees_about_records(&self, answer: &Answer) {
        assert_eq!(self.chain().expect("no loop"), texts(&answer.aliases));
        let end = answer.aliases.last();
        let (mut records, mut addresses) = (self.records(end), self.addresses(end));
        let omitted = records.len().saturating_sub(MAX_RECORDS)
            + addresses.len().saturating_sub(MAX_ADDRESSES);
        records.truncate(MAX_RECORDS);
        addresses.truncate(MAX_ADDRESSES);
        assert_eq!(answer.omitted, omitted);
        assert_eq!(answer.addresses, addresses);
        let told = answer.records.iter().map(|record| {
            let target = record.target.to_string();
            (record.priority, record.weight, record.port, target, record.ttl)
        });
        let mut told: Vec<_> = told.collect();
        told.sort_unstable();
        // Which of too many are kept is the reader's affair, as long as it is so many.
        if omitted == 0 {
            assert_eq!(told, records);
        }
        assert_eq!(told.len(), records.len());
        if told.is_empty() && answer.addresses.is_empty() {
            let has = |kind| {
                let is_kind = |record: &WireRecord| {
                    record.record_type() == kind && record.dns_class == DNSClass::IN
                };
                self.message.authorities.iter().any(is_kind)
            };
            let is_referral = has(RecordType::NS)
                && !has(RecordType::SOA)
                && !self.message.metadata.authoritative;
            let expected =
                if is_referral { LookupOutcome::Referral } else { LookupOutcome::Nodata };
            assert_eq!(answer.outcome, expected, "{}", self.message);
        }
    }
}

fn is_of(record: &WireRecord, owner: &WireName) -> bool {
    record.dns_class == DNSClass::IN && same(&record.name, owner)
}

fn same(left: &WireName, right: &WireName) -> bool {
    text(left) == text(right)
}

/// The labels in lower case, as a text of the model.
fn text(name: &WireName) -> String {
    Name::from_labels(name.iter()).to_string()
}

fn texts(names: &[Name]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}
