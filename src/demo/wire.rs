//! From a DNS message to its answer; no I/O.

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA, SRV};
use hickory_proto::rr::{DNSClass, Name as WireName, RData, Record, RecordType};

use super::zones::{Data, Found, Verdict, ZoneOrigin, ZoneRecord, Zones};
use crate::model::{Name, Transport};

/// What this server tells of its own size in EDNS: fits an unfragmented datagram nearly everywhere.
const EDNS_SIZE: u16 = 1232;
/// How long absence may be cached, and the other times of the SOA; nobody transfers these zones.
const SOA_TIMES: (i32, i32, i32, u32) = (3600, 600, 86_400, 300);

/// A message that is a query at all.
pub(super) struct Asked {
    message: Message,
}

impl Asked {
    /// Garbage and answers are `None`.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let message = Message::from_vec(bytes).ok()?;
        (message.metadata.message_type == MessageType::Query).then_some(Self { message })
    }

    /// Name and type of the first question; the root where there is none.
    pub(super) fn question(&self) -> (Name, RecordType) {
        let question = self.message.queries.first();
        let labels = question.into_iter().flat_map(|question| question.name.iter());
        (Name::from_labels(labels), question.map_or(RecordType::ZERO, Query::query_type))
    }

    /// What the zones say, as large as the client takes it over this transport.
    pub(super) fn answer(&self, zones: &Zones, transport: Transport) -> Option<Vec<u8>> {
        self.encode(self.reply(zones), transport)
    }

    /// A bare response code.
    pub(super) fn refusal(&self, code: ResponseCode, transport: Transport) -> Option<Vec<u8>> {
        self.encode(self.bare(code), transport)
    }

    /// The answer with TC set and half of its records, rounded down.
    pub(super) fn truncated(&self, zones: &Zones, transport: Transport) -> Option<Vec<u8>> {
        let mut reply = self.reply(zones);
        let half = reply.answers.len() / 2;
        cut(&mut reply, half);
        self.encode(reply, transport)
    }

    fn reply(&self, zones: &Zones) -> Message {
        match self.objection() {
            Some(code) => self.bare(code),
            None => self.found(zones),
        }
    }

    fn objection(&self) -> Option<ResponseCode> {
        if self.message.metadata.op_code != OpCode::Query {
            return Some(ResponseCode::NotImp);
        }
        if self.message.version() > 0 {
            return Some(ResponseCode::BADVERS);
        }
        match &self.message.queries[..] {
            [question] if question.query_class == DNSClass::IN => None,
            [_] => Some(ResponseCode::Refused),
            _ => Some(ResponseCode::FormErr),
        }
    }

    fn found(&self, zones: &Zones) -> Message {
        let (name, kind) = self.question();
        let found = zones.find(&name, kind);
        let mut reply = self.bare(response_code(found.verdict));
        reply.metadata.authoritative = found.verdict != Verdict::OutOfZone;
        if put(&mut reply, &found, kind).is_err() {
            return self.bare(ResponseCode::ServFail);
        }
        self.keep_case(&mut reply.answers);
        reply
    }

    /// The asked name goes back in the case that it came in (clients that mix it compare it).
    fn keep_case(&self, answers: &mut [Record]) {
        let Some(question) = self.message.queries.first() else { return };
        for record in answers.iter_mut().filter(|record| record.name == question.name) {
            record.name.clone_from(&question.name);
        }
    }

    /// Header, question and, if the client speaks it, EDNS.
    fn bare(&self, code: ResponseCode) -> Message {
        let mut reply = Message::query();
        reply.metadata = Metadata::response_from_request(&self.message.metadata);
        reply.metadata.response_code = code;
        reply.queries.clone_from(&self.message.queries);
        if let Some(asked) = &self.message.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(EDNS_SIZE).set_dnssec_ok(asked.flags().dnssec_ok);
            reply.set_edns(edns);
        }
        reply
    }

    /// Drops records until it fits, as BIND does: some are left, and TC is set.
    fn encode(&self, mut reply: Message, transport: Transport) -> Option<Vec<u8>> {
        let limit = match transport {
            Transport::Udp => usize::from(self.message.max_payload()),
            Transport::Tcp => usize::from(u16::MAX),
        };
        loop {
            let bytes = reply.to_vec().ok()?;
            let records = reply.answers.len();
            if bytes.len() <= limit || records == 0 {
                return Some(bytes);
            }
            cut(&mut reply, (records * limit / bytes.len()).min(records - 1));
        }
    }
}

fn cut(reply: &mut Message, records: usize) {
    reply.answers.truncate(records);
    reply.metadata.truncation = true;
}

fn response_code(verdict: Verdict) -> ResponseCode {
    match verdict {
        Verdict::Records | Verdict::NoData | Verdict::Elsewhere => ResponseCode::NoError,
        Verdict::NxDomain => ResponseCode::NXDomain,
        Verdict::OutOfZone => ResponseCode::Refused,
    }
}

fn put(reply: &mut Message, found: &Found, kind: RecordType) -> Result<(), ProtoError> {
    for record in &found.records {
        reply.answers.push(wire_record(record)?);
    }
    let denied = matches!(found.verdict, Verdict::NoData | Verdict::NxDomain);
    let Some(zone) = found.zone.as_ref().filter(|_| denied) else { return Ok(()) };
    let soa = wire_soa(zone)?;
    if kind == RecordType::SOA && reply.queries.iter().any(|asked| asked.name == soa.name) {
        reply.answers.push(soa);
    } else {
        reply.authorities.push(soa);
    }
    Ok(())
}

fn wire_record(record: &ZoneRecord) -> Result<Record, ProtoError> {
    let data = match &record.data {
        Data::Srv { priority, weight, port, target } => {
            RData::SRV(SRV::new(*priority, *weight, *port, wire_name(target)?))
        }
        Data::A(address) => RData::A(A(*address)),
        Data::Aaaa(address) => RData::AAAA(AAAA(*address)),
        Data::Cname(target) => RData::CNAME(CNAME(wire_name(target)?)),
    };
    Ok(Record::from_rdata(wire_name(&record.owner)?, record.ttl, data))
}

fn wire_soa(zone: &ZoneOrigin) -> Result<Record, ProtoError> {
    let origin = wire_name(&zone.origin)?;
    let (refresh, retry, expire, minimum) = SOA_TIMES;
    let server = origin.prepend_label("ns")?;
    let mailbox = origin.prepend_label("hostmaster")?;
    let soa = SOA::new(server, mailbox, zone.serial, refresh, retry, expire, minimum);
    Ok(Record::from_rdata(origin, minimum, RData::SOA(soa)))
}

fn wire_name(name: &Name) -> Result<WireName, ProtoError> {
    WireName::from_labels(name.wire_labels().map(std::borrow::Cow::into_owned))
}
