//! Questions as bytes (RFC 1035 section 4, RFC 6891, RFC 7873). PURE.

use crate::model::{Name, RecordKind};

/// The size of a DNS header.
pub const HEADER: usize = 12;
/// Type OPT (RFC 6891).
pub const OPT: u16 = 41;
/// The option of a DNS cookie (RFC 7873 section 4).
pub const COOKIE: u16 = 10;
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

    /// Appends the query with this id; `cookie` is client and server part, `None` leaves EDNS out.
    pub fn write(&self, id: u16, edns: Option<&[u8]>, into: &mut Vec<u8>) {
        let additional: u16 = edns.is_some().into();
        for field in [id, QUERY_FLAGS, 1, 0, 0, additional] {
            into.extend_from_slice(&field.to_be_bytes());
        }
        into.extend_from_slice(&self.wire);
        if let Some(cookie) = edns {
            write_opt(cookie, into);
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

fn write_opt(cookie: &[u8], into: &mut Vec<u8>) {
    // A cookie is at most 40 octets, so none of the lengths overflows.
    let length = u16::try_from(cookie.len()).unwrap_or(0);
    into.push(0);
    for field in [OPT, UDP_PAYLOAD, 0, 0, length + 4, COOKIE, length] {
        into.extend_from_slice(&field.to_be_bytes());
    }
    into.extend_from_slice(cookie);
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

    #[test]
    fn a_query_reads_back_through_hickory() {
        use hickory_proto::op::Message;
        use hickory_proto::rr::RecordType;
        let mut bytes = Vec::new();
        question("_vlmcs._tcp.contoso.com", RecordKind::Srv).write(7, Some(&[1; 24]), &mut bytes);
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
