//! What a message from a server says about a question. PURE.

use std::cell::Cell;
use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Name as WireName;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, DecodeError, Restrict};

use super::wire::{COOKIE, HEADER, IN, OPT, Question, type_code};
use crate::model::observation::{MAX_ADDRESSES, MAX_RECORDS};
use crate::model::{Answer, Flags, LookupOutcome, Name, Record, RecordKind};

/// Aliases are followed this far.
pub const MAX_HOPS: usize = 8;

/// What a message is to a question.
#[derive(Debug)]
pub enum Reading {
    /// It answers another question: as if it had never come.
    Foreign,
    /// It cannot be a valid answer, and why.
    Broken(String),
    /// It answers the question.
    Reply(Reply),
}

/// A valid answer, not yet judged by the state of the conversation.
#[derive(Debug)]
pub struct Reply {
    /// The extended RCODE (RFC 6891 section 6.1.3).
    pub rcode: u16,
    /// Whether the server speaks EDNS.
    pub edns: bool,
    /// The cookie option as received.
    pub cookie: Option<Vec<u8>>,
    /// What it says.
    pub verdict: Verdict,
}

/// What a reply says.
#[derive(Debug)]
pub enum Verdict {
    /// The end of the lookup, without its round trip.
    Answer(Answer),
    /// The records did not fit; none of them may be used.
    Truncated,
    /// The name is an alias, and the message does not say of what: the last of these names must be
    /// asked for.
    Alias(Vec<Name>),
}

/// Reads a message that came from the right peer with the right id.
pub fn read(message: &[u8], question: &Question) -> Reading {
    match examine(message, question) {
        Ok(Some(reply)) => Reading::Reply(reply),
        Ok(None) => Reading::Foreign,
        Err(Broken(why)) => Reading::Broken(why),
    }
}

/// Why a message is no valid answer.
struct Broken(String);

impl From<DecodeError> for Broken {
    fn from(error: DecodeError) -> Self {
        Self(error.to_string())
    }
}

impl From<&str> for Broken {
    fn from(why: &str) -> Self {
        Self(why.to_owned())
    }
}

fn examine(message: &[u8], question: &Question) -> Result<Option<Reply>, Broken> {
    let header = Header::read(message)?;
    let mut decoder = BinDecoder::new(message);
    decoder.read_slice(HEADER)?;
    match header.questions {
        0 if header.is_error() => {}
        1 => {
            if !is_asked(message, question, &mut decoder)? {
                return Ok(None);
            }
        }
        0 => return Err("the answer repeats no question".into()),
        _ => return Err("the answer repeats several questions".into()),
    }
    let truncated = header.flags().tc;
    let effort = Effort::default();
    let survey = match Survey::make(&mut decoder, header, &effort) {
        // Cut in the middle of a record.
        Err(_) if truncated => Survey::default(),
        survey => survey?,
    };
    let rcode = u16::from(header.rcode()) | u16::from(survey.rcode_high) << 4;
    let verdict = if truncated {
        Verdict::Truncated
    } else {
        survey.verdict(message, question, header, rcode, &effort)?
    };
    Ok(Some(Reply { rcode, edns: survey.edns, cookie: survey.cookie, verdict }))
}

/// Moves past the question; whether it is ours.
fn is_asked(
    message: &[u8],
    question: &Question,
    decoder: &mut BinDecoder<'_>,
) -> Result<bool, Broken> {
    let end = HEADER + question.wire.len();
    if message.get(HEADER..end).is_some_and(|bytes| question.is(bytes)) {
        decoder.read_slice(question.wire.len())?;
        return Ok(true);
    }
    read_name(decoder, &Effort::default())?;
    decoder.read_slice(4)?;
    Ok(false)
}

#[derive(Debug, Clone, Copy)]
struct Header {
    bits: u16,
    questions: u16,
    answers: u16,
    authorities: u16,
    additionals: u16,
}

impl Header {
    fn read(message: &[u8]) -> Result<Self, Broken> {
        let mut decoder = BinDecoder::new(message);
        let mut field = || decoder.read_u16().map(Restrict::unverified /* any is legal */);
        field()?;
        let header = Self {
            bits: field()?,
            questions: field()?,
            answers: field()?,
            authorities: field()?,
            additionals: field()?,
        };
        match header.bits & 0xf800 {
            0x8000 => Ok(header),
            bits if bits & 0x8000 == 0 => Err("a query came back instead of an answer".into()),
            _ => Err("the answer has another opcode than the query".into()),
        }
    }

    fn rcode(self) -> u8 {
        (self.bits & 0xf) as u8
    }

    /// An RCODE that says that the server would not even consider the question; without one, an
    /// answer must repeat its question.
    fn is_error(self) -> bool {
        !matches!(self.rcode(), NOERROR | NXDOMAIN)
    }

    fn flags(self) -> Flags {
        let bit = |mask| self.bits & mask != 0;
        Flags { aa: bit(0x0400), tc: bit(0x0200), ra: bit(0x0080), ad: bit(0x0020) }
    }
}

const NOERROR: u8 = 0;
const NXDOMAIN: u8 = 3;
const TYPE_NS: u16 = 2;
const TYPE_CNAME: u16 = 5;
const TYPE_SOA: u16 = 6;

/// What one pass over all sections shows.
#[derive(Default)]
struct Survey {
    /// CNAME records of the answer section, at most a few more than could be followed.
    aliases: Vec<(Owner, Name)>,
    /// Where the answer section begins.
    answers_at: usize,
    has_ns: bool,
    has_soa: bool,
    edns: bool,
    rcode_high: u8,
    cookie: Option<Vec<u8>>,
}

impl Survey {
    fn make(decoder: &mut BinDecoder<'_>, header: Header, effort: &Effort) -> Result<Self, Broken> {
        let mut survey = Self { answers_at: decoder.index(), ..Self::default() };
        for _ in 0..header.answers {
            let entry = Entry::read(decoder, effort)?;
            if entry.is(TYPE_CNAME) && survey.aliases.len() < 2 * MAX_HOPS {
                survey.aliases.push((entry.owner.clone(), entry.name(decoder)?));
            }
        }
        for _ in 0..header.authorities {
            let entry = Entry::read(decoder, effort)?;
            survey.has_ns |= entry.is(TYPE_NS);
            survey.has_soa |= entry.is(TYPE_SOA);
        }
        for _ in 0..header.additionals {
            let entry = Entry::read(decoder, effort)?;
            if entry.kind == OPT {
                survey.take_options(&entry)?;
            }
        }
        Ok(survey)
    }

    fn take_options(&mut self, entry: &Entry<'_>) -> Result<(), Broken> {
        self.edns = true;
        self.rcode_high = entry.ttl.to_be_bytes()[0];
        let mut options = BinDecoder::new(entry.data);
        while !options.is_empty() {
            let code = options.read_u16()?.unverified(/* compared only */);
            let length = options.read_u16()?.unverified(/* read_slice checks it */);
            let value = options.read_slice(length.into())?.unverified(/* compared only */);
            if code == COOKIE {
                self.cookie = Some(value.to_vec());
            }
        }
        Ok(())
    }

    fn verdict(
        &self,
        message: &[u8],
        question: &Question,
        header: Header,
        rcode: u16,
        effort: &Effort,
    ) -> Result<Verdict, Broken> {
        let mut answer = Answer { flags: header.flags(), ..Answer::bare(outcome_of(rcode)) };
        if header.questions == 0 || answer.outcome != LookupOutcome::Nodata {
            if answer.outcome == LookupOutcome::OtherRcode {
                answer.detail = Some(rcode_text(rcode).into());
            } else if answer.outcome == LookupOutcome::Nxdomain {
                answer.aliases = self.chain(&question.name)?;
            }
            return Ok(Verdict::Answer(answer));
        }
        answer.aliases = self.chain(&question.name)?;
        self.collect(message, question, header, effort, &mut answer)?;
        if answer.records.is_empty() && answer.addresses.is_empty() {
            if !answer.aliases.is_empty() && !self.has_soa {
                return Ok(Verdict::Alias(answer.aliases));
            }
            if self.has_ns && !self.has_soa && !answer.flags.aa {
                answer.outcome = LookupOutcome::Referral;
            }
        } else {
            answer.outcome = LookupOutcome::Records;
        }
        Ok(Verdict::Answer(answer))
    }

    /// The names that the asked one stands for, in order.
    fn chain(&self, asked: &Name) -> Result<Vec<Name>, Broken> {
        let mut chain: Vec<Name> = Vec::new();
        loop {
            let at = chain.last().unwrap_or(asked);
            let Some((_, target)) = self.aliases.iter().find(|(owner, _)| owner.is(at, asked))
            else {
                return Ok(chain);
            };
            if target == asked || chain.contains(target) {
                return Err(Broken(format!("{asked} is an alias of itself, through {at}")));
            }
            if chain.len() == MAX_HOPS {
                return Err(Broken(format!("{asked} leads through more than {MAX_HOPS} aliases")));
            }
            chain.push(target.clone());
        }
    }

    /// Takes the asked records over into the answer, sorted and within the bounds: the same ones
    /// whatever order they came in.
    fn collect(
        &self,
        message: &[u8],
        question: &Question,
        header: Header,
        effort: &Effort,
        answer: &mut Answer,
    ) -> Result<(), Broken> {
        let owner = answer.aliases.last().unwrap_or(&question.name).clone();
        let mut decoder = BinDecoder::new(message);
        decoder.read_slice(self.answers_at)?;
        if question.kind == RecordKind::Srv {
            answer.records.reserve_exact(MAX_RECORDS.min(header.answers.into()));
        }
        for _ in 0..header.answers {
            let entry = Entry::read(&mut decoder, effort)?;
            if entry.is(type_code(question.kind)) && entry.owner.is(&owner, &question.name) {
                entry.take(&decoder, question.kind, answer)?;
            }
        }
        answer.records.sort_unstable();
        answer.addresses.sort_unstable();
        answer.addresses.dedup();
        answer.omitted = answer.records.len().saturating_sub(MAX_RECORDS)
            + answer.addresses.len().saturating_sub(MAX_ADDRESSES);
        answer.records.truncate(MAX_RECORDS);
        answer.records.shrink_to_fit();
        answer.addresses.truncate(MAX_ADDRESSES);
        Ok(())
    }
}

/// Whose record it is.
#[derive(Clone)]
enum Owner {
    /// A pointer to the question, as nearly every server writes it: nothing to decode.
    Question,
    Other(WireName),
}

impl Owner {
    fn read(decoder: &mut BinDecoder<'_>, effort: &Effort) -> Result<Self, Broken> {
        let mut ahead = decoder.clone(u16::try_from(decoder.index()).unwrap_or(u16::MAX));
        if ahead.read_u16().is_ok_and(|field| field.unverified(/* compared */) == 0xc00c) {
            decoder.read_u16()?;
            return Ok(Self::Question);
        }
        Ok(Self::Other(read_name(decoder, effort)?))
    }

    fn is(&self, name: &Name, asked: &Name) -> bool {
        match self {
            Self::Question => name == asked,
            Self::Other(wire) => to_model(wire) == *name,
        }
    }
}

struct Entry<'a> {
    owner: Owner,
    kind: u16,
    class: u16,
    ttl: u32,
    data: &'a [u8],
    /// Where the data begins in the message.
    data_at: usize,
    effort: &'a Effort,
}

impl<'a> Entry<'a> {
    fn read<'m: 'a>(decoder: &mut BinDecoder<'m>, effort: &'a Effort) -> Result<Self, Broken> {
        let owner = Owner::read(decoder, effort)?;
        let kind = decoder.read_u16()?.unverified(/* any is legal */);
        let class = decoder.read_u16()?.unverified(/* any is legal */);
        let ttl = decoder.read_u32()?.unverified(/* any is legal */);
        let length = decoder.read_u16()?.unverified(/* read_slice checks it */);
        let data_at = decoder.index();
        let data = decoder.read_slice(length.into())?.unverified(/* read by type */);
        Ok(Self { owner, kind, class, ttl, data, data_at, effort })
    }

    fn is(&self, kind: u16) -> bool {
        self.kind == kind && self.class == IN
    }

    /// The data as a name; names are compressed against the whole message.
    fn name(&self, message: &BinDecoder<'_>) -> Result<Name, Broken> {
        self.name_after(0, message)
    }

    fn name_after(&self, skip: usize, message: &BinDecoder<'_>) -> Result<Name, Broken> {
        // The data lies within a message of at most 64 KiB.
        let at = u16::try_from(self.data_at + skip).map_err(|_| "a record lies too far in")?;
        let mut decoder = message.clone(at);
        let name = read_name(&mut decoder, self.effort)?;
        if decoder.index() != self.data_at + self.data.len() {
            return Err("a record is longer or shorter than its name".into());
        }
        Ok(to_model(&name))
    }

    fn take(
        &self,
        message: &BinDecoder<'_>,
        kind: RecordKind,
        answer: &mut Answer,
    ) -> Result<(), Broken> {
        match kind {
            RecordKind::Srv => answer.records.push(self.service(message)?),
            RecordKind::A => answer.addresses.push(self.address::<4>()?),
            RecordKind::Aaaa => answer.addresses.push(self.address::<16>()?),
        }
        Ok(())
    }

    fn service(&self, message: &BinDecoder<'_>) -> Result<Record, Broken> {
        let Some((numbers, _)) = self.data.split_first_chunk::<6>() else {
            return Err("an SRV record is too short".into());
        };
        let number = |at: usize| u16::from_be_bytes([numbers[at], numbers[at + 1]]);
        Ok(Record {
            priority: number(0),
            weight: number(2),
            port: number(4),
            target: self.name_after(6, message)?,
            // RFC 2181 section 8: with the highest bit set it counts as zero.
            ttl: if self.ttl > i32::MAX as u32 { 0 } else { self.ttl },
        })
    }

    fn address<const LENGTH: usize>(&self) -> Result<IpAddr, Broken>
    where
        IpAddr: From<[u8; LENGTH]>,
    {
        <[u8; LENGTH]>::try_from(self.data)
            .map(IpAddr::from)
            .map_err(|_| "an address record has a wrong length".into())
    }
}

/// Labels and pointers of one name; a name has at most 127 labels (RFC 1035 section 2.3.4).
const MAX_STEPS: usize = 256;

/// Labels and pointers of all names of one message, counted at each of two passes. Honest messages need
/// less: 4,000 addresses of a name of ten labels, all that fit into 64 KiB, need 96,000.
const MOST_EFFORT: usize = 1 << 17;

/// How many labels and pointers of a message were followed. Thousands of names fit into one that each
/// point to the same 127 labels; unbounded, one answer keeps us busy for a twentieth of a second.
#[derive(Debug, Default)]
struct Effort(Cell<usize>);

impl Effort {
    fn spend(&self, steps: usize) -> Result<(), Broken> {
        self.0.set(self.0.get() + steps);
        if self.0.get() > MOST_EFFORT {
            return Err("the names of the message have too many labels and pointers".into());
        }
        Ok(())
    }
}

/// Reads a name, unless it jumps about.
fn read_name(decoder: &mut BinDecoder<'_>, effort: &Effort) -> Result<WireName, Broken> {
    let end = decoder.index() + decoder.len();
    let mut ahead = decoder.clone(u16::try_from(decoder.index()).unwrap_or(u16::MAX));
    for step in 1..=MAX_STEPS {
        let length = ahead.pop()?.unverified(/* compared */);
        if length == 0 {
            effort.spend(step)?;
            return Ok(WireName::read(decoder)?);
        }
        if length < 0xc0 {
            ahead.read_slice(length.into())?;
            continue;
        }
        let low = ahead.pop()?.unverified(/* checked below */);
        let target = u16::from_be_bytes([length & 0x3f, low]);
        if usize::from(target) >= end {
            return Err("a name points beyond the message".into());
        }
        ahead = decoder.clone(target);
    }
    Err("a name has too many labels and pointers, or loops".into())
}

fn to_model(name: &WireName) -> Name {
    Name::from_labels(name.iter())
}

/// `nodata` stands for NOERROR until the records are read.
fn outcome_of(rcode: u16) -> LookupOutcome {
    match rcode {
        0 => LookupOutcome::Nodata,
        1 => LookupOutcome::Formerr,
        2 => LookupOutcome::Servfail,
        3 => LookupOutcome::Nxdomain,
        4 => LookupOutcome::Notimp,
        5 => LookupOutcome::Refused,
        _ => LookupOutcome::OtherRcode,
    }
}

fn rcode_text(rcode: u16) -> String {
    let [high, low] = (rcode << 4).to_be_bytes();
    let code = ResponseCode::from(high, low >> 4);
    format!("RCODE {rcode}: {}", code.to_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{Message, OWNER, QUESTION, wire_name};
    use super::*;

    fn asked(kind: RecordKind) -> (Question, Vec<u8>) {
        let question = Question::new(Name::parse(OWNER).expect("a name"), kind);
        let mut query = Vec::new();
        question.write(0x1234, None, &mut query);
        (question, query)
    }

    fn reading(kind: RecordKind, make: impl Fn(Message) -> Message) -> Reading {
        let (question, query) = asked(kind);
        read(&make(Message::to(&query)).bytes(), &question)
    }

    fn answer(kind: RecordKind, make: impl Fn(Message) -> Message) -> Answer {
        match reading(kind, make) {
            Reading::Reply(reply) => match reply.verdict {
                Verdict::Answer(answer) => answer,
                verdict => panic!("{verdict:?}"),
            },
            reading => panic!("{reading:?}"),
        }
    }

    fn is_broken(make: impl Fn(Message) -> Message) -> bool {
        matches!(reading(RecordKind::Srv, make), Reading::Broken(_))
    }

    #[test]
    fn records_are_sorted_and_duplicates_kept() {
        let answer =
            answer(RecordKind::Srv, |m| m.srv(2, "b.test").srv(1, "A.Test").srv(2, "b.test"));
        let seen: Vec<(u16, &str)> =
            answer.records.iter().map(|record| (record.weight, record.target.as_str())).collect();
        assert_eq!(seen, [(1, "a.test"), (2, "b.test"), (2, "b.test")]);
        assert_eq!(answer.outcome, LookupOutcome::Records);
        assert!(answer.flags.aa);
    }

    #[test]
    fn a_target_of_the_root_is_the_root() {
        assert!(answer(RecordKind::Srv, |m| m.srv(0, "")).records[0].target.is_root());
    }

    #[test]
    fn addresses_are_sorted_without_repeats_and_bounded() {
        let many = |message: Message| {
            (0..40).rev().fold(message, |message, last| message.a(QUESTION, [10, 0, 0, last / 2]))
        };
        let answer = answer(RecordKind::A, many);
        assert_eq!((answer.addresses.len(), answer.omitted), (MAX_ADDRESSES, 20 - MAX_ADDRESSES));
        assert_eq!(answer.addresses[0], IpAddr::from([10, 0, 0, 0]));
    }

    #[test]
    fn records_of_other_owners_types_and_classes_do_not_count() {
        let answer = answer(RecordKind::A, |message| {
            let message = message.a(&wire_name("other.test"), [1, 1, 1, 1]);
            message.srv(1, "kms.test").record(0, QUESTION, (1, 3, 1), &[2, 2, 2, 2]).soa()
        });
        assert_eq!(answer, Answer { flags: answer.flags, ..Answer::bare(LookupOutcome::Nodata) });
    }

    #[test]
    fn an_owner_spelled_out_in_another_case_counts() {
        let owner = wire_name("_VLMCS._tcp.Test");
        let answer = answer(RecordKind::A, |message| message.a(&owner, [1, 1, 1, 1]));
        assert_eq!(answer.addresses.len(), 1);
    }

    #[test]
    fn a_delegation_is_a_referral_and_an_empty_answer_is_none() {
        assert_eq!(
            answer(RecordKind::Srv, |m| m.flags(0x80).ns()).outcome,
            LookupOutcome::Referral
        );
        assert_eq!(
            answer(RecordKind::Srv, |m| m.flags(0x80).ns().soa()).outcome,
            LookupOutcome::Nodata
        );
        assert_eq!(answer(RecordKind::Srv, Message::ns).outcome, LookupOutcome::Nodata);
        assert_eq!(answer(RecordKind::Srv, |m| m.flags(0x80)).outcome, LookupOutcome::Nodata);
    }

    #[test]
    fn a_denial_behind_an_alias_names_the_alias() {
        let nxdomain = answer(RecordKind::A, |m| m.cname(QUESTION, "gone.test").rcode(3).soa());
        assert_eq!(nxdomain.outcome, LookupOutcome::Nxdomain);
        assert_eq!(nxdomain.aliases[0].as_str(), "gone.test");
        let nodata = answer(RecordKind::A, |m| m.cname(QUESTION, "empty.test").soa());
        assert_eq!((nodata.outcome, nodata.aliases.len()), (LookupOutcome::Nodata, 1));
    }

    #[test]
    fn the_extended_rcode_counts() {
        let answer = answer(RecordKind::A, |m| m.edns(1, &[]));
        assert_eq!(answer.outcome, LookupOutcome::OtherRcode);
        assert_eq!(answer.detail.as_deref().map(|detail| detail.contains("16")), Some(true));
    }

    #[test]
    fn without_its_question_only_an_error_is_believed() {
        let refused = answer(RecordKind::A, |m| m.asks(None).rcode(5));
        assert_eq!(refused.outcome, LookupOutcome::Refused);
        assert!(is_broken(|m| m.asks(None)));
        assert!(is_broken(|m| m.asks(None).rcode(3)));
    }

    #[test]
    fn loops_and_cuts_in_names_and_records_are_broken() {
        assert!(is_broken(|m| m.record(0, &[0xc0, 33], (33, 1, 1), &[0; 7])), "points at itself");
        assert!(is_broken(|m| m.record(0, &[1, b'a', 0xc0, 33], (33, 1, 1), &[0; 7])), "loops");
        assert!(is_broken(|m| m.record(0, &[0xc0, 200], (33, 1, 1), &[0; 7])), "points forward");
        assert!(is_broken(|m| m.record(0, QUESTION, (33, 1, 1), &[0; 6])), "no target");
        assert!(is_broken(|m| m.record(0, QUESTION, (33, 1, 1), &[0; 8])), "longer than its name");
        assert!(is_broken(|m| m.record(0, QUESTION, (5, 1, 1), &[64, 0])), "no label is so long");
        assert!(is_broken(|m| m.record(2, &[0], (41, 1232, 0), &[0, 10, 0, 9, 1])), "cut option");
        let (question, query) = asked(RecordKind::A);
        let whole = Message::to(&query).a(QUESTION, [1, 1, 1, 1]).bytes();
        for length in 0..whole.len() {
            assert!(matches!(read(&whole[..length], &question), Reading::Broken(_)), "{length}");
        }
    }

    #[test]
    fn a_name_that_follows_hundreds_of_pointers_is_broken() {
        // A record full of pointers, each to the one before, and a name that points to the last.
        let chain = |pointers: u16| {
            move |message: Message| {
                let at = u16::try_from(message.bytes().len()).expect("short") + 12;
                let to = |place: u16| (0xc000 | place).to_be_bytes();
                let mut data = vec![0];
                (0..pointers).for_each(|n| {
                    data.extend(to(if n == 0 { at } else { at + 2 * n - 1 }));
                });
                let last = to(at + 2 * pointers - 1);
                message.record(0, QUESTION, (16, IN, 1), &data).record(0, &last, (16, IN, 1), &[])
            }
        };
        assert_eq!(answer(RecordKind::Srv, chain(200)).outcome, LookupOutcome::Nodata);
        assert!(is_broken(chain(300)));
    }

    #[test]
    fn a_cut_within_a_record_is_truncation_where_the_server_says_so() {
        let (question, query) = asked(RecordKind::Srv);
        let message = Message::to(&query).flags(0x82).srv(1, "kms.test").bytes();
        let Reading::Reply(reply) = read(&message[..message.len() - 3], &question) else {
            panic!("not read");
        };
        assert!(matches!(reply.verdict, Verdict::Truncated));
    }

    #[test]
    fn the_highest_bit_of_a_ttl_makes_it_zero() {
        let data = [&[0, 0, 0, 0, 0, 0][..], &wire_name("kms.test")].concat();
        let answer = answer(RecordKind::Srv, |m| m.record(0, QUESTION, (33, IN, 1 << 31), &data));
        assert_eq!(answer.records[0].ttl, 0);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(tail in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..60) {
            let (question, query) = asked(RecordKind::Srv);
            let mut message = Message::to(&query).srv(1, "kms.test").edns(0, &[1; 16]).bytes();
            message.truncate(message.len().saturating_sub(cut));
            message.extend(&tail);
            read(&message, &question);
            read(&tail, &question);
        }

        #[test]
        fn no_flipped_byte_panics(at in 0_usize..90, value in any::<u8>()) {
            let (question, query) = asked(RecordKind::Srv);
            let mut message = Message::to(&query).cname(QUESTION, "a.test").srv(1, "kms.test").bytes();
            let at = at % message.len();
            message[at] = value;
            read(&message, &question);
        }
    }
}
