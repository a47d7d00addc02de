//! The bind and its answers as connection-oriented RPC writes them (C706 chapter 12); no I/O.

/// The common header of every PDU.
pub(super) const HEADER: usize = 16;
/// The longest PDU before sizes are negotiated; what Microsoft's runtime offers.
const LONGEST: usize = 5840;
/// `bind`.
pub(super) const BIND: u8 = 11;
const BIND_ACK: u8 = 12;
const BIND_NAK: u8 = 13;
/// `PFC_FIRST_FRAG | PFC_LAST_FRAG`: the PDU is whole.
const WHOLE: u8 = 0x03;
/// Data representation: little-endian integers, ASCII, IEEE floats.
const LITTLE_ENDIAN: [u8; 4] = [0x10, 0, 0, 0];
/// NDR, 8a885d04-1ceb-11c9-9fe8-08002b104860 version 2.0.
const NDR: Syntax = [
    0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60,
    0x02, 0x00, 0x00, 0x00,
];
/// The KMS interface, 51c82175-844e-4750-b0d8-ec255555bc06 version 1.0.
pub(super) const KMS: Syntax = [
    0x75, 0x21, 0xc8, 0x51, 0x4e, 0x84, 0x50, 0x47, 0xb0, 0xd8, 0xec, 0x25, 0x55, 0x55, 0xbc, 0x06,
    0x01, 0x00, 0x00, 0x00,
];
/// The endpoint mapper, e1af8308-5d1f-11c9-91a4-08002b14a0fa version 3.0.
pub(super) const ENDPOINT_MAPPER: Syntax = [
    0x08, 0x83, 0xaf, 0xe1, 0x1f, 0x5d, 0xc9, 0x11, 0x91, 0xa4, 0x08, 0x00, 0x2b, 0x14, 0xa0, 0xfa,
    0x03, 0x00, 0x00, 0x00,
];

/// An interface or transfer syntax as on the wire: UUID, version.
pub(super) type Syntax = [u8; 20];

/// A PDU's header, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// `rpc_vers`, `rpc_vers_minor`.
    version: (u8, u8),
    /// `PTYPE`.
    pub(super) kind: u8,
    flags: u8,
    /// How many octets follow the header.
    pub(super) rest: usize,
    call_id: [u8; 4],
}

impl Header {
    /// `None` where this is no RPC: another version than 5, other than little-endian integers (which
    /// every Windows client sends), an impossible length.
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let [major, minor, kind, flags, r0, r1, r2, r3, f0, f1, _, _, c0, c1, c2, c3] = *bytes;
        let length = usize::from(u16::from_le_bytes([f0, f1]));
        let is_rpc = [r0, r1, r2, r3] == LITTLE_ENDIAN && (HEADER..=LONGEST).contains(&length);
        is_rpc.then(|| Self {
            version: (major, minor),
            kind,
            flags,
            rest: length - HEADER,
            call_id: [c0, c1, c2, c3],
        })
    }
}

/// Which interfaces a listener has registered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Registered {
    /// This one.
    Only(Syntax),
    /// Any that is asked for.
    Any,
}

/// The answer to a whole bind: `bind_ack` with a verdict on each context, or `bind_nak` for
/// another version of RPC. `None` where it is malformed.
pub(super) fn answer_bind(
    header: Header,
    body: &[u8],
    registered: Registered,
    port: u16,
    association: u32,
) -> Option<Vec<u8>> {
    if header.version.0 != 5 || header.version.1 > 1 {
        return Some(bind_nak(header));
    }
    if header.flags & WHOLE != WHOLE {
        return None;
    }
    let mut body = Reader(body);
    let (max_xmit, max_recv) = (body.u16()?, body.u16()?);
    let asked_association = u32::from_le_bytes(body.take()?);
    let [contexts, _, _, _] = body.take()?;
    let mut results = vec![contexts, 0, 0, 0];
    for _ in 0..contexts {
        results.extend(context_result(&mut body, registered)?);
    }
    let association = if asked_association == 0 { association } else { asked_association };
    let mut ack = Vec::new();
    // What the client receives is what the server may send, and the reverse.
    for size in [max_recv, max_xmit] {
        ack.extend(size.to_le_bytes());
    }
    ack.extend(association.to_le_bytes());
    put_secondary_address(&mut ack, port);
    ack.extend(results);
    Some(whole(BIND_ACK, header, &ack))
}

/// `p_result_t` of one context.
fn context_result(body: &mut Reader<'_>, registered: Registered) -> Option<Vec<u8>> {
    let _context_id = body.u16()?;
    let [syntaxes, _] = body.take()?;
    let interface: Syntax = body.take()?;
    let mut offers_ndr = false;
    for _ in 0..syntaxes {
        offers_ndr |= body.take::<20>()? == NDR;
    }
    let is_registered = match registered {
        Registered::Any => true,
        Registered::Only(syntax) => syntax == interface,
    };
    // Result, reason: provider rejection (2) of the abstract syntax (1) or all transfer syntaxes (2).
    let (result, reason, syntax) = match (is_registered, offers_ndr) {
        (true, true) => (0_u16, 0_u16, NDR),
        (false, _) => (2, 1, [0; 20]),
        (true, false) => (2, 2, [0; 20]),
    };
    Some([&result.to_le_bytes()[..], &reason.to_le_bytes(), &syntax].concat())
}

/// The port as text with its NUL (`ncacn_ip_tcp`), then padding to a multiple of 4.
fn put_secondary_address(ack: &mut Vec<u8>, port: u16) {
    let text = format!("{port}\0");
    ack.extend(length_of(text.len()));
    ack.extend(text.as_bytes());
    ack.resize(ack.len().next_multiple_of(4), 0);
}

/// Reason 4, "protocol version not supported"; one version is: 5.0.
fn bind_nak(header: Header) -> Vec<u8> {
    whole(BIND_NAK, header, &[4, 0, 1, 5, 0, 0, 0, 0])
}

fn whole(kind: u8, asked: Header, body: &[u8]) -> Vec<u8> {
    let mut pdu = vec![5, 0, kind, WHOLE];
    pdu.extend(LITTLE_ENDIAN);
    pdu.extend(length_of(HEADER + body.len()));
    pdu.extend([0, 0]);
    pdu.extend(asked.call_id);
    pdu.extend(body);
    pdu
}

/// Everything here is far shorter: the largest are 255 results of 24 octets.
fn length_of(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes()
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bind of one context: the KMS interface with NDR.
    const ONE: &str = "05000b03 10000000 48000000 01000000 b810b810 00000000 01000000 \
        00000100 7521c851 4e845047 b0d8ec25 5555bc06 01000000 045d888a eb1cc911 9fe80800 2b104860 02000000";
    /// The same with a second context, of an interface that cannot exist.
    const TWO: &str = "05000b03 10000000 74000000 01020304 b810d016 00000000 02000000 \
        00000100 7521c851 4e845047 b0d8ec25 5555bc06 01000000 045d888a eb1cc911 9fe80800 2b104860 02000000 \
        01000100 deadbeef deadbeef deadbeef deadbeef 01000000 045d888a eb1cc911 9fe80800 2b104860 02000000";
    const ACCEPT: &str = "00000000 045d888a eb1cc911 9fe80800 2b104860 02000000";
    const REJECT: &str = "02000100 00000000 00000000 00000000 00000000 00000000";

    fn octets(hex: &str) -> Vec<u8> {
        let digits: Vec<char> = hex.chars().filter(char::is_ascii_hexdigit).collect();
        let octet = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16);
        digits.chunks(2).map(|pair| octet(pair).expect("hex digits")).collect()
    }

    fn answer(bind: &[u8], registered: Registered, port: u16) -> Option<Vec<u8>> {
        let (header, body) = bind.split_first_chunk()?;
        answer_bind(Header::parse(header)?, body, registered, port, 7)
    }

    #[test]
    fn each_context_gets_its_verdict_to_the_byte() {
        let (kms, mapper) = (Registered::Only(KMS), Registered::Only(ENDPOINT_MAPPER));
        for (bind, registered, expected) in [
            (
                ONE,
                kms,
                format!(
                    "3c000000 01000000 b810b810 07000000 0500 31363838 00 00 01000000 {ACCEPT}"
                ),
            ),
            (
                TWO,
                kms,
                format!(
                    "54000000 01020304 d016b810 07000000 0500 31363838 00 00 02000000 {ACCEPT} {REJECT}"
                ),
            ),
            (
                TWO,
                mapper,
                format!(
                    "54000000 01020304 d016b810 07000000 0500 31363838 00 00 02000000 {REJECT} {REJECT}"
                ),
            ),
            (
                TWO,
                Registered::Any,
                format!(
                    "54000000 01020304 d016b810 07000000 0500 31363838 00 00 02000000 {ACCEPT} {ACCEPT}"
                ),
            ),
        ] {
            let expected = octets(&format!("05000c03 10000000 {expected}"));
            assert_eq!(
                answer(&octets(bind), registered, 1688),
                Some(expected),
                "{bind} {registered:?}"
            );
        }
    }

    #[test]
    fn another_version_of_the_interface_or_transfer_syntax_is_rejected() {
        let result_of = |offset: usize| {
            let mut bind = octets(ONE);
            bind[offset] ^= 1;
            let ack = answer(&bind, Registered::Only(KMS), 1688).expect("an answer");
            ack[36..40].to_vec()
        };
        assert_eq!(result_of(48), octets("02000100"), "interface version");
        assert_eq!(result_of(32), octets("02000100"), "interface");
        assert_eq!(result_of(52), octets("02000200"), "transfer syntax");
    }

    #[test]
    fn the_secondary_address_is_padded_to_four() {
        for (port, text) in [
            (9, "0200 3900"),
            (99, "0300 393900 000000"),
            (999, "0400 39393900 0000"),
            (50123, "0600 353031323300"),
        ] {
            let ack = answer(&octets(ONE), Registered::Any, port).expect("an answer");
            let expected = octets(text);
            assert_eq!(ack[24..24 + expected.len()], expected, "{port}");
            assert_eq!(ack[24 + expected.len()..], octets(&format!("01000000 {ACCEPT}")), "{port}");
        }
    }

    #[test]
    fn another_version_of_rpc_gets_a_nak_and_malformed_binds_nothing() {
        let with = |offset: usize, octet: u8| {
            let mut bind = octets(ONE);
            bind[offset] = octet;
            answer(&bind, Registered::Any, 1688)
        };
        let nak = octets("05000d03 10000000 18000000 01000000 04000105 00000000");
        assert_eq!(with(0, 4), Some(nak.clone()));
        assert_eq!(with(1, 2), Some(nak));
        assert_eq!(with(3, 0x01), None, "a first fragment only");
        assert_eq!(with(4, 0x00), None, "big-endian");
        assert_eq!(with(8, 15), None, "shorter than its header");
        assert_eq!(with(9, 0x20), None, "longer than any");
        assert_eq!(with(24, 2), None, "a context fewer than promised");
        assert_eq!(with(30, 2), None, "a transfer syntax fewer than promised");
        assert!(with(1, 1).is_some(), "version 5.1 is 5.0 for a bind");
    }

    proptest! {
        #[test]
        fn nothing_panics_on_any_bytes(header: [u8; HEADER], body: Vec<u8>, fixed in 0..3_u8) {
            let mut header = header;
            let start: [u8; 8] = [5, 0, BIND, WHOLE, 0x10, 0, 0, 0];
            if fixed > 0 {
                header[..8].copy_from_slice(&start);
            }
            if let Some(header) = Header::parse(&header)
                && let Some(answer) = answer_bind(header, &body, Registered::Any, 1688, 1)
            {
                prop_assert_eq!(usize::from(u16::from_le_bytes([answer[8], answer[9]])), answer.len());
            }
        }
    }
}
