//! Questions as bytes (RFC 1035 section 4, RFC 6891, RFC 7871, RFC 7873). PURE.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::{Name, RecordKind};

/// The size of a DNS header.
pub const HEADER: usize = 12;
/// Type OPT (RFC 6891).
pub const OPT: u16 = 41;
/// The option of a DNS cookie (RFC 7873 section 4).
pub const COOKIE: u16 = 10;
/// The option of a client subnet (RFC 7871 section 6).
const CLIENT_SUBNET: u16 = 8;
/// Class IN.
pub const IN: u16 = 1;
/// What fits through every common path without fragments (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;
/// Recursion desired, and "tell me whether the data is authenticated" (RFC 6840 section 5.7).
const QUERY_FLAGS: u16 = 0x0120;

/// One question, with the bytes that stand for it in a message; reusable without allocation.
#[derive(Debug)]
pub struct Question {
    /// The owner name.
    pub name: Name,
    /// The record type.
    pub kind: RecordKind,
    /// Name, type and class.
    pub wire: Vec<u8>,
}

impl Question {
    /// The question for this name and type.
    pub fn new(name: Name, kind: RecordKind) -> Self {
        let mut question = Self { name, kind, wire: Vec::with_capacity(64) };
        question.encode();
        question
    }

    /// Becomes another question.
    pub fn set(&mut self, name: Name, kind: RecordKind) {
        self.name = name;
        self.kind = kind;
        self.encode();
    }

    /// A name from [`Name::parse`] or from a DNS message always fits; a longer label is cut, and the
    /// server will deny it.
    fn encode(&mut self) {
        self.wire.clear();
        for label in self.name.wire_labels() {
            let label = &label[..label.len().min(63)];
            self.wire.push(u8::try_from(label.len()).unwrap_or(0));
            self.wire.extend_from_slice(label);
        }
        self.wire.push(0);
        self.wire.extend_from_slice(&type_code(self.kind).to_be_bytes());
        self.wire.extend_from_slice(&IN.to_be_bytes());
    }

    /// Appends the query with this id; `None` leaves EDNS out.
    pub fn write(&self, id: u16, edns: Option<Options>, into: &mut Vec<u8>) {
        let additional: u16 = edns.is_some().into();
        for field in [id, QUERY_FLAGS, 1, 0, 0, additional] {
            into.extend_from_slice(&field.to_be_bytes());
        }
        into.extend_from_slice(&self.wire);
        if let Some(options) = edns {
            write_opt(options, into);
        }
    }

    /// Whether the bytes are this question; case does not matter in names (RFC 4343).
    pub fn is(&self, bytes: &[u8]) -> bool {
        let name = self.wire.len() - 4;
        bytes.len() == self.wire.len()
            && bytes[..name].eq_ignore_ascii_case(&self.wire[..name])
            && bytes[name..] == self.wire[name..]
    }
}

/// The type's number in a message.
pub fn type_code(kind: RecordKind) -> u16 {
    match kind {
        RecordKind::A => 1,
        RecordKind::Aaaa => 28,
        RecordKind::Srv => 33,
    }
}

/// What a query says by EDNS.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Client and server part.
    pub cookie: &'a [u8],
    /// The network that the question is for.
    pub client_subnet: Option<IpNet>,
}

fn write_opt(options: Options, into: &mut Vec<u8>) {
    let Options { cookie, client_subnet } = options;
    // A cookie is at most 40 octets and a subnet 20, so none of the lengths overflows.
    let length = u16::try_from(cookie.len()).unwrap_or(0);
    let subnet_length = client_subnet.map_or(0, |subnet| 8 + prefix_octets(subnet));
    into.push(0);
    for field in [OPT, UDP_PAYLOAD, 0, 0, length + 4 + subnet_length, COOKIE, length] {
        into.extend_from_slice(&field.to_be_bytes());
    }
    into.extend_from_slice(cookie);
    if let Some(subnet) = client_subnet {
        write_client_subnet(subnet, into);
    }
}

/// Family, prefix length, a scope of 0, and as much of the address as the prefix has.
fn write_client_subnet(subnet: IpNet, into: &mut Vec<u8>) {
    let octets = prefix_octets(subnet);
    let family = if subnet.addr().is_ipv4() { 1 } else { 2 };
    for field in [CLIENT_SUBNET, 4 + octets, family] {
        into.extend_from_slice(&field.to_be_bytes());
    }
    into.extend_from_slice(&[subnet.prefix_len(), 0]);
    match subnet.network() {
        IpAddr::V4(address) => into.extend_from_slice(&address.octets()[..octets.into()]),
        IpAddr::V6(address) => into.extend_from_slice(&address.octets()[..octets.into()]),
    }
}

fn prefix_octets(subnet: IpNet) -> u16 {
    u16::from(subnet.prefix_len()).div_ceil(8)
}

/// The cookies of one server over one path (RFC 7873).
#[derive(Debug)]
pub struct Cookies {
    /// Client part, then the server's as far as it is known.
    bytes: Vec<u8>,
}

const CLIENT_PART: usize = 8;

impl Cookies {
    /// With this client part, which must be unpredictable.
    pub fn new(client: [u8; CLIENT_PART]) -> Self {
        Self { bytes: client.to_vec() }
    }

    /// What goes into a query.
    pub fn to_send(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes over what an answer carries. False where it is not for us: then somebody who does not
    /// see our queries made the answer, and it must be ignored (RFC 7873 section 5.3).
    pub fn accept(&mut self, received: &[u8]) -> bool {
        let Some((client, server)) = received.split_at_checked(CLIENT_PART) else { return false };
        if client != &self.bytes[..CLIENT_PART] {
            return false;
        }
        if (8..=32).contains(&server.len()) && server != &self.bytes[CLIENT_PART..] {
            self.bytes.truncate(CLIENT_PART);
            self.bytes.extend_from_slice(server);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, kind: RecordKind) -> Question {
        Question::new(Name::parse(name).expect("a name"), kind)
    }

    fn plain(cookie: &[u8]) -> Options<'_> {
        Options { cookie, client_subnet: None }
    }

    #[test]
    fn a_client_subnet_is_the_last_option_cut_to_its_prefix() {
        for (network, expected) in [
            ("10.40.7.0/24", &[0, 8, 0, 7, 0, 1, 24, 0, 10, 40, 7][..]),
            ("10.40.4.0/22", &[0, 8, 0, 7, 0, 1, 22, 0, 10, 40, 4]),
            ("0.0.0.0/0", &[0, 8, 0, 4, 0, 1, 0, 0]),
            ("2001:db8:40::/44", &[0, 8, 0, 10, 0, 2, 44, 0, 0x20, 1, 0x0d, 0xb8, 0, 0x40]),
        ] {
            let client_subnet = Some(network.parse().expect("a network"));
            let [mut bytes, mut without] = [Vec::new(), Vec::new()];
            let options = Options { cookie: &[1; 8], client_subnet };
            let asked = question("contoso.com", RecordKind::Srv);
            asked.write(7, Some(options), &mut bytes);
            asked.write(7, Some(plain(&[1; 8])), &mut without);
            let (head, tail) = bytes.split_at(without.len());
            assert_eq!(tail, expected, "{network}");
            let length = without.len() - 12 - 2;
            let options = u16::from_be_bytes([head[length], head[length + 1]]);
            assert_eq!(usize::from(options), 12 + expected.len(), "{network}");
            hickory_proto::op::Message::from_vec(&bytes).expect("a message");
        }
    }

    #[test]
    fn a_query_reads_back_through_hickory() {
        use hickory_proto::op::Message;
        use hickory_proto::rr::RecordType;
        let mut bytes = Vec::new();
        question("_vlmcs._tcp.contoso.com", RecordKind::Srv).write(
            7,
            Some(plain(&[1; 24])),
            &mut bytes,
        );
        let message = Message::from_vec(&bytes).expect("a message");
        let query = &message.queries[0];
        assert_eq!((message.id, query.query_type), (7, RecordType::SRV));
        assert_eq!(query.name.to_ascii(), "_vlmcs._tcp.contoso.com.");
        assert_eq!(message.edns.expect("EDNS").max_payload(), UDP_PAYLOAD);
        bytes.clear();
        question("contoso.com", RecordKind::Aaaa).write(8, None, &mut bytes);
        let message = Message::from_vec(&bytes).expect("a message");
        assert!(message.edns.is_none());
    }

    #[test]
    fn case_does_not_matter_and_everything_else_does() {
        let asked = question("kms.contoso.com", RecordKind::A);
        let mut upper = asked.wire.clone();
        upper[1..4].make_ascii_uppercase();
        assert!(asked.is(&upper));
        assert!(!asked.is(&question("kms.contoso.com", RecordKind::Aaaa).wire));
        assert!(!asked.is(&question("kms.contoso.org", RecordKind::A).wire));
        assert!(!asked.is(&asked.wire[1..]));
    }

    #[test]
    fn a_cookie_with_another_client_part_is_not_for_us() {
        let mut cookies = Cookies::new([9; 8]);
        assert!(!cookies.accept(&[8; 24]));
        assert!(!cookies.accept(&[9; 7]));
        assert!(cookies.accept(&[9; 24]));
        assert_eq!(cookies.to_send(), [9; 24]);
        assert!(cookies.accept(&[9; 8]), "a server without cookies may echo ours");
        assert_eq!(cookies.to_send(), [9; 24]);
    }
}
