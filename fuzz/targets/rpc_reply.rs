//! The reply to a bind: no panic, bounded, and the same in whatever pieces it comes.
//!
//! The first byte says whether a control was offered, and how long the pieces are; the rest is the
//! reply.

#![no_main]

use kmswatch::probe::pdu::{Bind, Progress, Reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, reply)) = data.split_first() else { return };
    let control = (choice & 1 == 1).then_some([0xaa; 16]);
    let bind = Bind { call_id: 0x0403_0201, control };
    let whole = feed(bind, reply, reply.len());
    assert_eq!(feed(bind, reply, 1), whole, "byte by byte");
    assert_eq!(feed(bind, reply, 1 + usize::from(choice >> 1)), whole, "in pieces");
    match whole {
        Progress::NeedMore => {}
        Progress::Done(verdict) => {
            verdict.outcome();
            assert!(verdict.detail().is_none_or(|detail| is_one_line(&detail)));
            // What follows a whole reply is not read.
            let longer = [reply, b"\x05\x00\x0d\x03"].concat();
            assert_eq!(feed(bind, &longer, longer.len()), whole, "with what follows");
        }
        Progress::NotRpc(violation) => assert!(is_one_line(&violation.to_string())),
    }
});

/// What is decided after pieces of this length.
fn feed(bind: Bind, reply: &[u8], length: usize) -> Progress {
    let mut reading = Reply::to(bind);
    let mut progress = Progress::NeedMore;
    for piece in reply.chunks(length.max(1)) {
        progress = reading.feed(piece);
        assert!(reading.bytes().len() <= Reply::MAX_BYTES);
        if progress != Progress::NeedMore {
            break;
        }
    }
    progress
}

fn is_one_line(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}
