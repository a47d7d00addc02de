//! PURE. The two PDUs of connection-oriented DCE/RPC that a probe knows: the bind that it sends and the
//! reply that it reads (C706 chapter 12, MS-RPCE 2.2.2). The peer may be hostile: reading is bounded
//! and panics on nothing.

use crate::model::ProbeOutcome;

/// A bind of the KMS interface, with or without a control. NDR is the only transfer syntax offered: a
/// server may reject NDR where NDR64 was offered too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind {
    /// Random, so that a reply which was made beforehand does not fit.
    pub call_id: u32,
    /// Random bytes for an interface that cannot exist: who accepts it accepts everything.
    pub control: Option<[u8; 16]>,
}

impl Bind {
    /// The PDU: 72 bytes, or 116 with a control.
    pub fn encode(&self) -> Vec<u8> {
        let length: u16 = if self.control.is_some() { 116 } else { 72 };
        let mut pdu = Vec::with_capacity(length.into());
        pdu.extend([5, 0, PacketType::BIND, FIRST_AND_LAST, LITTLE_ENDIAN, 0, 0, 0]);
        pdu.extend(length.to_le_bytes());
        pdu.extend(0_u16.to_le_bytes());
        pdu.extend(self.call_id.to_le_bytes());
        pdu.extend(OWN_FRAGMENT.to_le_bytes());
        pdu.extend(OWN_FRAGMENT.to_le_bytes());
        pdu.extend(0_u32.to_le_bytes());
        pdu.extend([self.contexts(), 0, 0, 0]);
        pdu.extend(context(0, KMS_INTERFACE));
        pdu.extend(self.control.into_iter().flat_map(|random| context(1, random_uuid(random))));
        pdu
    }

    /// How many contexts it offers.
    fn contexts(&self) -> u8 {
        1 + u8::from(self.control.is_some())
    }
}

/// The reply to one bind, as far as it has come.
#[derive(Debug)]
pub struct Reply {
    bind: Bind,
    bytes: Vec<u8>,
}

/// How far a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All is well so far, and it is not whole.
    NeedMore,
    /// A whole reply; what follows it is not read.
    Done(Verdict),
    /// No reply of an RPC runtime to our bind.
    NotRpc(Violation),
}

impl Reply {
    /// No more than this is ever kept of a reply.
    pub const MAX_BYTES: usize = 8 * 1024;

    /// Nothing has come yet.
    pub fn to(bind: Bind) -> Self {
        Self { bind, bytes: Vec::new() }
    }

    /// Takes what came next. In which pieces a reply comes makes no difference.
    pub fn feed(&mut self, piece: &[u8]) -> Progress {
        let room = Self::MAX_BYTES - self.bytes.len();
        self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        self.read().map_or_else(|progress| progress, Progress::Done)
    }

    /// What came, up to the bound.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `Err` is every progress but a verdict.
    fn read(&self) -> Result<Verdict, Progress> {
        let header = Header::read(&self.bytes, self.bind.call_id)?;
        let pdu = come(self.bytes.get(..usize::from(header.length)))?;
        let body = Body { pdu, order: header.order };
        Ok(match header.packet_type {
            PacketType::BindAck => body.acknowledgement(self.bind.contexts())?,
            PacketType::BindNak => Verdict::Nak { reason: body.u16(HEADER_LENGTH)? },
            PacketType::Fault => Verdict::Fault { status: body.u32(HEADER_LENGTH + 8)? },
        })
    }
}

impl From<Violation> for Progress {
    fn from(violation: Violation) -> Self {
        Self::NotRpc(violation)
    }
}

/// What has not come yet is to be waited for.
fn come<T>(field: Option<T>) -> Result<T, Progress> {
    field.ok_or(Progress::NeedMore)
}

/// What a whole reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A `bind_ack`.
    Ack {
        /// What became of the KMS interface.
        kms: Negotiation,
        /// What became of the control, where one was offered.
        control: Option<Negotiation>,
    },
    /// A `bind_nak`: the runtime wants no bind of ours.
    Nak {
        /// C706 `p_reject_reason_t`.
        reason: u16,
    },
    /// A fault: a bind is not what the runtime expected.
    Fault {
        /// C706 appendix E.
        status: u32,
    },
}

impl Verdict {
    /// What it means for a KMS client.
    pub fn outcome(self) -> ProbeOutcome {
        match self {
            Self::Ack { kms, control } => match (kms.accepted(), control) {
                (true, Some(control)) if control.accepted() => ProbeOutcome::AcceptsAny,
                (true, _) => ProbeOutcome::Kms,
                (false, _) => ProbeOutcome::RpcOther,
            },
            Self::Nak { .. } | Self::Fault { .. } => ProbeOutcome::RpcOther,
        }
    }

    /// The codes in words, where it is no plain success.
    pub fn detail(self) -> Option<String> {
        match self {
            Self::Ack { kms, .. } if kms.accepted() => None,
            Self::Ack { kms, control } => {
                let control = control.map(|control| format!("; control interface {control}"));
                Some(format!("KMS interface {kms}{}", control.unwrap_or_default()))
            }
            Self::Nak { reason } => Some(format!("bind_nak, reason {reason}{}", nak_words(reason))),
            Self::Fault { status } => Some(format!("fault, status {status:#010x}")),
        }
    }
}

/// What became of one offered context (C706 `p_result_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiation {
    /// 0 accepted, 1 rejected by the user, 2 by the provider, 3 `negotiate_ack`.
    pub result: u16,
    /// Why, where it was rejected.
    pub reason: u16,
}

impl Negotiation {
    fn accepted(self) -> bool {
        self.result == 0
    }
}

impl std::fmt::Display for Negotiation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.accepted() {
            return formatter.write_str("accepted");
        }
        let words = match self.reason {
            1 => " (interface not supported)",
            2 => " (transfer syntax not supported)",
            3 => " (local limit exceeded)",
            _ => "",
        };
        write!(formatter, "rejected, result {} reason {}{words}", self.result, self.reason)
    }
}

/// Which limit a peer broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The first two bytes are 5 and 0, or 5 and 1.
    #[error("no RPC version 5")]
    Version,
    /// Only `bind_ack`, `bind_nak` and fault answer a bind.
    #[error("packet type {0} does not answer a bind")]
    PacketType(u8),
    /// A reply to a bind is one fragment.
    #[error("flags {0:#04x}: not a whole reply in one fragment")]
    Flags(u8),
    /// Integers are big-endian (0) or little-endian (1).
    #[error("unknown data representation {0:#04x}")]
    DataRepresentation(u8),
    /// 18 to 5840 bytes.
    #[error("fragment length {0}")]
    FragmentLength(u16),
    /// We offered no authentication.
    #[error("authentication of {0} bytes that nobody asked for")]
    AuthLength(u16),
    /// Not the number of our bind.
    #[error("a reply to another call")]
    CallId,
    /// A field lies beyond the fragment.
    #[error("a field at byte {0} lies beyond the fragment")]
    Bounds(usize),
    /// Not one result for each context.
    #[error("{0} results for another number of contexts")]
    ResultCount(u8),
    /// No such result.
    #[error("unknown result {0}")]
    UnknownResult(u16),
}

/// The length of the header that all PDUs share.
const HEADER_LENGTH: usize = 16;
/// First and last fragment at once.
const FIRST_AND_LAST: u8 = 0x03;
/// Little-endian integers, ASCII, IEEE floats.
const LITTLE_ENDIAN: u8 = 0x10;
/// The largest fragment that we say we take and send; Microsoft's own runtime says 5840.
const OWN_FRAGMENT: u16 = 4280;
/// What a reply's length may be: the shortest `bind_nak`, and Microsoft's largest fragment.
const FRAGMENT_LENGTHS: std::ops::RangeInclusive<u16> = 18..=5840;
const _: () = assert!(*FRAGMENT_LENGTHS.end() as usize <= Reply::MAX_BYTES);

/// 51c82175-844e-4750-b0d8-ec255555bc06 as it goes over the wire.
const KMS_INTERFACE: [u8; 16] = [
    0x75, 0x21, 0xc8, 0x51, 0x4e, 0x84, 0x50, 0x47, 0xb0, 0xd8, 0xec, 0x25, 0x55, 0x55, 0xbc, 0x06,
];
/// NDR, 8a885d04-1ceb-11c9-9fe8-08002b104860, version 2.0.
const NDR: [u8; 20] = [
    0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60,
    0x02, 0x00, 0x00, 0x00,
];

/// An interface, version 1.0, over NDR.
fn context(id: u8, interface: [u8; 16]) -> impl Iterator<Item = u8> {
    [id, 0, 1, 0].into_iter().chain(interface).chain([1, 0, 0, 0]).chain(NDR)
}

/// RFC 9562 version 4, with its first three fields little-endian.
fn random_uuid(mut random: [u8; 16]) -> [u8; 16] {
    random[7] = random[7] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    random
}

fn nak_words(reason: u16) -> &'static str {
    match reason {
        1 => " (temporary congestion)",
        2 => " (local limit exceeded)",
        4 => " (protocol version not supported)",
        8 => " (authentication type not recognized)",
        9 => " (invalid checksum)",
        _ => "",
    }
}

/// The packet types that answer a bind.
#[derive(Debug, Clone, Copy)]
enum PacketType {
    BindAck,
    BindNak,
    Fault,
}

impl PacketType {
    const BIND: u8 = 11;

    fn of_reply(byte: u8) -> Result<Self, Violation> {
        match byte {
            12 => Ok(Self::BindAck),
            13 => Ok(Self::BindNak),
            3 => Ok(Self::Fault),
            other => Err(Violation::PacketType(other)),
        }
    }
}

/// The byte order of a reply is its sender's, whatever the request's was.
#[derive(Debug, Clone, Copy)]
enum ByteOrder {
    Big,
    Little,
}

impl ByteOrder {
    fn of_reply(representation: u8) -> Result<Self, Violation> {
        match representation >> 4 {
            0 => Ok(Self::Big),
            1 => Ok(Self::Little),
            _ => Err(Violation::DataRepresentation(representation)),
        }
    }

    fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Big => u16::from_be_bytes(bytes),
            Self::Little => u16::from_le_bytes(bytes),
        }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Big => u32::from_be_bytes(bytes),
            Self::Little => u32::from_le_bytes(bytes),
        }
    }
}

/// What the header of a good reply says.
#[derive(Debug, Clone, Copy)]
struct Header {
    packet_type: PacketType,
    order: ByteOrder,
    length: u16,
}

impl Header {
    /// Judges each byte as soon as it is there, in the order in which they come: a peer that is no RPC
    /// is known by its first byte.
    fn read(bytes: &[u8], call_id: u32) -> Result<Self, Progress> {
        if *come(bytes.first())? != 5 || *come(bytes.get(1))? > 1 {
            return Err(Violation::Version.into());
        }
        let packet_type = PacketType::of_reply(*come(bytes.get(2))?)?;
        let flags = *come(bytes.get(3))?;
        if flags & FIRST_AND_LAST != FIRST_AND_LAST {
            return Err(Violation::Flags(flags).into());
        }
        let order = ByteOrder::of_reply(*come(bytes.get(4))?)?;
        let length = order.u16(*come(chunk(bytes, 8))?);
        if !FRAGMENT_LENGTHS.contains(&length) {
            return Err(Violation::FragmentLength(length).into());
        }
        let auth_length = order.u16(*come(chunk(bytes, 10))?);
        if auth_length != 0 {
            return Err(Violation::AuthLength(auth_length).into());
        }
        if order.u32(*come(chunk(bytes, 12))?) != call_id {
            return Err(Violation::CallId.into());
        }
        Ok(Self { packet_type, order, length })
    }
}

/// A whole PDU; offsets count from its first byte.
#[derive(Debug, Clone, Copy)]
struct Body<'a> {
    pdu: &'a [u8],
    order: ByteOrder,
}

impl Body<'_> {
    /// After the header: two fragment sizes, the group, the secondary address, padding to 4, then the
    /// results (C706 `rpcconn_bind_ack_hdr_t`).
    fn acknowledgement(self, contexts: u8) -> Result<Verdict, Violation> {
        let address_length = usize::from(self.u16(HEADER_LENGTH + 8)?);
        let results = (HEADER_LENGTH + 10 + address_length).next_multiple_of(4);
        let [count] = *chunk::<1>(self.pdu, results).ok_or(Violation::Bounds(results))?;
        if count != contexts {
            return Err(Violation::ResultCount(count));
        }
        let kms = self.negotiation(results + 4)?;
        let control =
            (count > 1).then(|| self.negotiation(results + 4 + RESULT_LENGTH)).transpose()?;
        Ok(Verdict::Ack { kms, control })
    }

    fn negotiation(self, at: usize) -> Result<Negotiation, Violation> {
        chunk::<RESULT_LENGTH>(self.pdu, at).ok_or(Violation::Bounds(at))?;
        let negotiation = Negotiation { result: self.u16(at)?, reason: self.u16(at + 2)? };
        match negotiation.result {
            0..=3 => Ok(negotiation),
            unknown => Err(Violation::UnknownResult(unknown)),
        }
    }

    fn u16(self, at: usize) -> Result<u16, Violation> {
        chunk(self.pdu, at).map(|bytes| self.order.u16(*bytes)).ok_or(Violation::Bounds(at))
    }

    fn u32(self, at: usize) -> Result<u32, Violation> {
        chunk(self.pdu, at).map(|bytes| self.order.u32(*bytes)).ok_or(Violation::Bounds(at))
    }
}

/// Result, reason and a transfer syntax.
const RESULT_LENGTH: usize = 24;

fn chunk<const LENGTH: usize>(bytes: &[u8], at: usize) -> Option<&[u8; LENGTH]> {
    bytes.get(at..)?.first_chunk()
}

#[cfg(test)]
#[path = "pdu_tests.rs"]
mod tests;
