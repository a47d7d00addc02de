//! Replies are written by hand (C706 and what real servers sent), never made by the codec under test.

use proptest::prelude::*;

use super::*;

const CALL_ID: u32 = 0x0403_0201;
const ONE: Bind = Bind { call_id: CALL_ID, control: None };
const TWO: Bind = Bind { call_id: CALL_ID, control: Some([0xaa; 16]) };

/// Accept, reject (2, 1); secondary address "1688".
const KMS_ACK: &str = "05000c03 10000000 54000000 01020304 b810b810 78560000 05003136 38380000 \
    02000000 00000000 045d888aeb1cc9119fe808002b104860 02000000 \
    02000100 00000000000000000000000000000000 00000000";
/// One context, accepted; no secondary address.
const KMS_ACK_ONE: &str = "05000c03 10000000 38000000 01020304 b810b810 78560000 00000000 \
    01000000 00000000 045d888aeb1cc9119fe808002b104860 02000000";
/// The same from a big-endian runtime.
const KMS_ACK_BIG: &str = "05000c03 00000000 00380000 04030201 10b810b8 00005678 00000000 \
    01000000 00000000 8a885d041ceb11c99fe808002b104860 00000002";
/// Reason 4: protocol version.
const NAK: &str = "05000d03 10000000 18000000 01020304 04000105 00000000";
const FAULT: &str = "05000303 10000000 20000000 01020304 00000000 00000000 0300011c 00000000";

const ACCEPTED: Negotiation = Negotiation { result: 0, reason: 0 };

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits")).collect()
}

fn read(bind: Bind, reply: &[u8]) -> Progress {
    Reply::to(bind).feed(reply)
}

/// A reply with some bytes replaced.
fn patched(hex: &str, at: usize, with: &[u8]) -> Progress {
    let mut reply = bytes(hex);
    reply[at..at + with.len()].copy_from_slice(with);
    read(if hex == KMS_ACK { TWO } else { ONE }, &reply)
}

#[test]
fn a_bind_is_what_real_servers_take() {
    let expected = bytes(
        "05000b03 10000000 48000000 01000000 b810b810 00000000 01000000 00000100 7521c851 4e845047 \
         b0d8ec25 5555bc06 01000000 045d888a eb1cc911 9fe80800 2b104860 02000000",
    );
    assert_eq!(Bind { call_id: 1, control: None }.encode(), expected);
}

#[test]
fn a_control_is_a_second_context_with_a_random_uuid() {
    let pdu = TWO.encode();
    let one = ONE.encode();
    assert_eq!(pdu.len(), 116);
    assert_eq!(pdu[8..10], [116, 0]);
    assert_eq!(pdu[12..16], [1, 2, 3, 4]);
    assert_eq!(pdu[24], 2);
    assert_eq!(pdu[28..72], one[28..72]);
    assert_eq!(
        pdu[72..],
        bytes(
            "01000100 aaaaaaaaaaaaaa4aaaaaaaaaaaaaaaaa 01000000 045d888aeb1cc9119fe808002b104860 02000000"
        )
    );
}

#[test]
fn whole_replies_are_read() {
    let rejected = Negotiation { result: 2, reason: 1 };
    for (bind, reply, expected) in [
        (TWO, KMS_ACK, Verdict::Ack { kms: ACCEPTED, control: Some(rejected) }),
        (ONE, KMS_ACK_ONE, Verdict::Ack { kms: ACCEPTED, control: None }),
        (ONE, KMS_ACK_BIG, Verdict::Ack { kms: ACCEPTED, control: None }),
        (ONE, NAK, Verdict::Nak { reason: 4 }),
        (ONE, FAULT, Verdict::Fault { status: 0x1c01_0003 }),
    ] {
        let reply = bytes(reply);
        assert_eq!(read(bind, &reply), Progress::Done(expected));
        assert_eq!(read(bind, &reply[..reply.len() - 1]), Progress::NeedMore);
        let followed = [&reply[..], b"more"].concat();
        assert_eq!(read(bind, &followed), Progress::Done(expected), "only one PDU is read");
    }
}

#[test]
fn results_decide_what_a_peer_is() {
    let outcome = |kms: (u16, u16), control: Option<(u16, u16)>| {
        let negotiation = |(result, reason)| Negotiation { result, reason };
        Verdict::Ack { kms: negotiation(kms), control: control.map(negotiation) }.outcome()
    };
    assert_eq!(outcome((0, 0), Some((2, 1))), ProbeOutcome::Kms);
    assert_eq!(outcome((0, 0), Some((1, 1))), ProbeOutcome::Kms);
    assert_eq!(outcome((0, 0), None), ProbeOutcome::Kms);
    assert_eq!(outcome((0, 0), Some((0, 0))), ProbeOutcome::AcceptsAny);
    assert_eq!(outcome((2, 1), Some((2, 1))), ProbeOutcome::RpcOther);
    assert_eq!(outcome((1, 1), Some((0, 0))), ProbeOutcome::RpcOther);
    assert_eq!(outcome((3, 0), None), ProbeOutcome::RpcOther);
    assert_eq!(Verdict::Nak { reason: 4 }.outcome(), ProbeOutcome::RpcOther);
    assert_eq!(Verdict::Fault { status: 0 }.outcome(), ProbeOutcome::RpcOther);
}

#[test]
fn details_carry_the_codes() {
    let rejected = Negotiation { result: 2, reason: 1 };
    let detail = |verdict: Verdict| verdict.detail().unwrap_or_default();
    assert_eq!(
        detail(Verdict::Ack { kms: rejected, control: Some(ACCEPTED) }),
        "KMS interface rejected, result 2 reason 1 (interface not supported); control interface accepted"
    );
    assert_eq!(
        detail(Verdict::Nak { reason: 4 }),
        "bind_nak, reason 4 (protocol version not supported)"
    );
    assert_eq!(detail(Verdict::Fault { status: 0x1c01_0003 }), "fault, status 0x1c010003");
    assert_eq!(detail(Verdict::Ack { kms: ACCEPTED, control: Some(rejected) }), "");
}

#[test]
fn every_limit_of_the_header_holds() {
    let ack = |at, with: &[u8]| patched(KMS_ACK, at, with);
    let done = read(TWO, &bytes(KMS_ACK));
    assert!(matches!(done, Progress::Done(_)));
    assert_eq!(ack(0, &[4]), Progress::NotRpc(Violation::Version));
    assert_eq!(ack(0, &[6]), Progress::NotRpc(Violation::Version));
    assert_eq!(ack(1, &[1]), done);
    assert_eq!(ack(1, &[2]), Progress::NotRpc(Violation::Version));
    for other in (0..=u8::MAX).filter(|other| ![3, 12, 13].contains(other)) {
        assert_eq!(ack(2, &[other]), Progress::NotRpc(Violation::PacketType(other)));
    }
    assert_eq!(ack(3, &[0x07]), done, "further flags are the peer's business");
    for flags in [0x00, 0x01, 0x02, 0xfc] {
        assert_eq!(ack(3, &[flags]), Progress::NotRpc(Violation::Flags(flags)));
    }
    assert_eq!(ack(4, &[0x20]), Progress::NotRpc(Violation::DataRepresentation(0x20)));
    assert_eq!(ack(4, &[0x11]), done, "EBCDIC says nothing of integers");
    for wrong in [[17, 0], [0, 0], [0xd1, 0x16], [0xff, 0xff]] {
        let length = u16::from_le_bytes(wrong);
        assert_eq!(ack(8, &wrong), Progress::NotRpc(Violation::FragmentLength(length)));
    }
    assert_eq!(ack(8, &[0xd0, 0x16]), Progress::NeedMore, "5840 bytes are announced");
    assert_eq!(ack(10, &[1, 0]), Progress::NotRpc(Violation::AuthLength(1)));
    assert_eq!(ack(12, &[2, 2, 3, 4]), Progress::NotRpc(Violation::CallId));
    assert_eq!(ack(12, &[1, 2, 3, 5]), Progress::NotRpc(Violation::CallId));
    assert_eq!(ack(12, &[4, 3, 2, 1]), Progress::NotRpc(Violation::CallId), "the peer's own order");
}

#[test]
fn the_shortest_and_the_longest_reply_are_read() {
    let shortest = bytes("05000d03 10000000 12000000 01020304 0400");
    assert_eq!(read(ONE, &shortest), Progress::Done(Verdict::Nak { reason: 4 }));
    let mut longest = bytes(KMS_ACK);
    longest[8..10].copy_from_slice(&5840_u16.to_le_bytes());
    longest.resize(5840, 0);
    assert!(matches!(read(TWO, &longest), Progress::Done(_)));
    assert_eq!(read(TWO, &longest[..5839]), Progress::NeedMore);
}

#[test]
fn every_limit_of_the_body_holds() {
    // The secondary address reaches up to the results, or beyond the PDU.
    let beyond = |length: u16| patched(KMS_ACK, 24, &length.to_le_bytes());
    assert!(matches!(beyond(6), Progress::Done(_)), "still the same padding");
    assert_eq!(beyond(7), Progress::NotRpc(Violation::ResultCount(0)));
    assert_eq!(beyond(54), Progress::NotRpc(Violation::ResultCount(0)), "the last four bytes");
    assert_eq!(beyond(55), Progress::NotRpc(Violation::Bounds(84)));
    assert_eq!(beyond(u16::MAX), Progress::NotRpc(Violation::Bounds(65564)));
    // One result for each context, no more and no fewer.
    for count in [0, 1, 3, 255] {
        let progress = patched(KMS_ACK, 32, &[count]);
        assert_eq!(progress, Progress::NotRpc(Violation::ResultCount(count)));
    }
    assert_eq!(read(ONE, &bytes(KMS_ACK)), Progress::NotRpc(Violation::ResultCount(2)));
    assert_eq!(patched(KMS_ACK, 8, &[83, 0]), Progress::NotRpc(Violation::Bounds(60)));
    assert_eq!(patched(KMS_ACK, 8, &[25, 0]), Progress::NotRpc(Violation::Bounds(24)));
    // Results 0 to 3 exist.
    assert!(matches!(patched(KMS_ACK, 60, &[3, 0]), Progress::Done(_)));
    assert_eq!(patched(KMS_ACK, 60, &[4, 0]), Progress::NotRpc(Violation::UnknownResult(4)));
    // A fault has its status at 24.
    assert!(matches!(patched(FAULT, 8, &[28, 0]), Progress::Done(_)));
    assert_eq!(patched(FAULT, 8, &[27, 0]), Progress::NotRpc(Violation::Bounds(24)));
}

/// Bytes that get past the first checks more often than chance would let them.
fn nearly_rpc() -> impl Strategy<Value = Vec<u8>> {
    let template = prop::sample::select(vec![KMS_ACK, KMS_ACK_ONE, KMS_ACK_BIG, NAK, FAULT]);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (template, changes, prop::collection::vec(any::<u8>(), 0..64)).prop_map(
        |(hex, changes, tail)| {
            let mut reply = bytes(hex);
            for (at, byte) in changes {
                let at = at.index(reply.len());
                reply[at] = byte;
            }
            reply.extend(tail);
            reply
        },
    )
}

/// Feeds pieces until something is decided.
fn feed_in_pieces(bind: Bind, reply: &[u8], length: usize) -> Progress {
    let mut reading = Reply::to(bind);
    reply
        .chunks(length)
        .map(|piece| reading.feed(piece))
        .find(|progress| *progress != Progress::NeedMore)
        .unwrap_or(Progress::NeedMore)
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic_and_within_the_bound(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4000), 0..6),
    ) {
        let mut reading = Reply::to(TWO);
        for piece in &pieces {
            reading.feed(piece);
            prop_assert!(reading.bytes().len() <= Reply::MAX_BYTES);
        }
        let sent = pieces.concat();
        prop_assert_eq!(reading.bytes(), &sent[..sent.len().min(Reply::MAX_BYTES)]);
    }

    #[test]
    fn pieces_make_no_difference(
        reply in prop_oneof![nearly_rpc(), prop::collection::vec(any::<u8>(), 0..200)],
        length in 1_usize..40,
        control in any::<bool>(),
    ) {
        let bind = if control { TWO } else { ONE };
        let whole = read(bind, &reply);
        prop_assert_eq!(feed_in_pieces(bind, &reply, 1), whole);
        prop_assert_eq!(feed_in_pieces(bind, &reply, length), whole);
    }

    #[test]
    fn a_bind_differs_only_in_what_is_random(call_id: u32, control: [u8; 16]) {
        let pdu = Bind { call_id, control: Some(control) }.encode();
        prop_assert_eq!(&pdu[12..16], &call_id.to_le_bytes());
        let uuid = &pdu[76..92];
        prop_assert_eq!((uuid[7] >> 4, uuid[8] >> 6), (4, 2), "RFC 9562 version and variant");
        let mut plain = TWO.encode();
        plain[12..16].copy_from_slice(&pdu[12..16]);
        plain[76..92].copy_from_slice(uuid);
        prop_assert_eq!(pdu, plain);
    }
}
