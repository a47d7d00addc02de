//! TCP peers on loopback that answer an RPC bind, well or badly, and record what they were sent. They
//! know nothing behind the bind: no request is ever answered.
//!
//! Plain threads, so that a test may block while a peer works. Include it with
//! `#[path = "peers/rpc.rs"] mod rpc;`.
#![allow(dead_code, reason = "each test that includes this uses its own part")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

/// What a peer does.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// As a KMS host: accepts the first context, rejects others as Windows documents it (2, 1).
    Kms,
    /// As another service: rejects every context with this result and reason.
    Rejects(u16, u16),
    /// Accepts every context.
    AcceptsAny,
    /// Sends these bytes after a whole bind; if they are an RPC reply, with the bind's `call_id`.
    Answers(Vec<u8>),
    /// The same, and then ends the stream.
    AnswersAndEnds(Vec<u8>),
    /// Sends these bytes at once, without waiting for anything.
    Greets(Vec<u8>),
    /// Sends a good reply after a whole bind, but one byte in this time.
    Drips(Duration),
    /// Sends without end after a whole bind: these bytes over and over.
    Floods(Vec<u8>),
    /// Sends back the bind.
    Echoes,
    /// Takes everything and says nothing.
    Silent,
    /// Ends the stream at once, and goes on reading.
    Ends,
    /// Resets the connection at once.
    Resets,
}

/// How a connection ended, as the peer saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By the other side, with a FIN.
    Fin,
    /// By the other side, with a reset.
    Reset,
    /// By the peer itself.
    ByPeer,
}

/// One connection that a peer saw.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Who connected.
    pub source: SocketAddr,
    /// Everything that was sent to the peer.
    pub bytes: Vec<u8>,
    /// How it ended; `None` while it is open.
    pub ended: Option<Ended>,
}

impl Seen {
    /// The packet types of the PDUs that were sent; `None` if the bytes are not whole PDUs.
    pub fn packet_types(&self) -> Option<Vec<u8>> {
        let mut rest = &self.bytes[..];
        let mut types = Vec::new();
        while !rest.is_empty() {
            let length = usize::from(u16::from_le_bytes(rest.get(8..10)?.try_into().ok()?));
            types.push(rest[2]);
            rest = rest.get(length.max(1)..)?;
        }
        Some(types)
    }
}

/// A peer on a free port of 127.0.0.1; it stops listening when dropped.
pub struct RpcPeer {
    address: SocketAddr,
    log: Arc<Log>,
    listener: Option<JoinHandle<()>>,
}

impl RpcPeer {
    /// Listens.
    pub fn start(behaviour: Behaviour) -> Self {
        Self::on("127.0.0.1:0".parse().expect("an address"), behaviour)
    }

    /// Listens at this address.
    pub fn on(address: SocketAddr, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("a bound socket");
        let log = Arc::new(Log::default());
        let accepting = log.clone();
        let listener = std::thread::spawn(move || accept(&listener, &behaviour, &accepting));
        Self { address, log, listener: Some(listener) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it saw.
    pub fn connections(&self) -> usize {
        self.seen().len()
    }

    /// How many whole PDUs it was sent over all connections.
    pub fn pdus(&self) -> usize {
        self.seen().iter().filter_map(Seen::packet_types).map(|types| types.len()).sum()
    }

    /// The addresses that connected, in order.
    pub fn sources(&self) -> Vec<IpAddr> {
        self.seen().iter().map(|seen| seen.source.ip()).collect()
    }

    /// What it saw so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.log.seen.lock().expect("no peer panics").clone()
    }

    /// What it saw, once so many connections came. Panics after 10 s.
    pub fn wait_for(&self, connections: usize) -> Vec<Seen> {
        self.wait(|seen| seen.len() >= connections)
    }

    /// What it saw, once so many connections came and all ended. Panics after 10 s.
    pub fn wait_until_ended(&self, connections: usize) -> Vec<Seen> {
        self.wait(|seen| seen.len() >= connections && seen.iter().all(|seen| seen.ended.is_some()))
    }

    fn wait(&self, enough: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let seen = self.log.seen.lock().expect("no peer panics");
        let (seen, waited) = self
            .log
            .changed
            .wait_timeout_while(seen, PATIENCE, |seen| !enough(seen))
            .expect("no peer panics");
        assert!(!waited.timed_out(), "not within 10 s: {seen:?}");
        seen.clone()
    }
}

impl Drop for RpcPeer {
    fn drop(&mut self) {
        self.log.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; where that fails, it is gone already.
        let _ = TcpStream::connect(self.address);
        let _ = self.listener.take().map(JoinHandle::join);
    }
}

/// No test waits longer for a peer, and no peer for a test.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Log {
    seen: Mutex<Vec<Seen>>,
    changed: Condvar,
    stopped: AtomicBool,
}

impl Log {
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Seen>) -> T) -> T {
        let changed = change(&mut self.seen.lock().expect("no peer panics"));
        self.changed.notify_all();
        changed
    }
}

fn accept(listener: &TcpListener, behaviour: &Behaviour, log: &Arc<Log>) {
    loop {
        let accepted = listener.accept();
        if log.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok((stream, source)) = accepted else { continue };
        let at = log.change(|seen| {
            seen.push(Seen { source, bytes: Vec::new(), ended: None });
            seen.len() - 1
        });
        let mut wire = Wire { stream, log: log.clone(), at };
        let behaviour = behaviour.clone();
        std::thread::spawn(move || {
            let ended = behave(&behaviour, &mut wire).err().unwrap_or(Ended::ByPeer);
            wire.log.clone().change(|seen| seen[wire.at].ended = Some(ended));
        });
    }
}

/// A connection that records what it reads.
struct Wire {
    stream: TcpStream,
    log: Arc<Log>,
    at: usize,
}

impl Wire {
    fn read(&mut self) -> Result<Vec<u8>, Ended> {
        let mut piece = [0; 2048];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(Ended::Fin),
            Ok(length) => {
                self.log.change(|seen| seen[self.at].bytes.extend(&piece[..length]));
                Ok(piece[..length].to_vec())
            }
            Err(error) => Err(ended_by(error.kind())),
        }
    }

    /// Reads until a PDU is whole.
    fn read_bind(&mut self) -> Result<Vec<u8>, Ended> {
        let mut bind = Vec::new();
        loop {
            bind.extend(self.read()?);
            let length = bind.get(8..10).map(|field| u16::from_le_bytes([field[0], field[1]]));
            if length.is_some_and(|length| bind.len() >= usize::from(length)) {
                return Ok(bind);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.stream.write_all(bytes).map_err(|error| ended_by(error.kind()))
    }

    /// Records all that still comes.
    fn read_on(&mut self) -> Result<(), Ended> {
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        loop {
            self.read()?;
        }
    }
}

fn ended_by(kind: ErrorKind) -> Ended {
    match kind {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ended::Reset,
        _ => Ended::ByPeer,
    }
}

fn behave(behaviour: &Behaviour, wire: &mut Wire) -> Result<(), Ended> {
    match behaviour {
        Behaviour::Kms => acknowledge(wire, (0, 0), (2, 1))?,
        Behaviour::Rejects(result, reason) => {
            acknowledge(wire, (*result, *reason), (*result, *reason))?;
        }
        Behaviour::AcceptsAny => acknowledge(wire, (0, 0), (0, 0))?,
        Behaviour::Answers(reply) | Behaviour::AnswersAndEnds(reply) => {
            let bind = wire.read_bind()?;
            wire.write(&to_call(&bind, reply))?;
            if matches!(behaviour, Behaviour::AnswersAndEnds(_)) {
                end(wire);
            }
        }
        Behaviour::Greets(bytes) => wire.write(bytes)?,
        Behaviour::Drips(pace) => drip(wire, *pace)?,
        Behaviour::Floods(bytes) => {
            let bind = wire.read_bind()?;
            let reply = to_call(&bind, bytes);
            loop {
                wire.write(&reply)?;
            }
        }
        Behaviour::Echoes => {
            let bind = wire.read_bind()?;
            wire.write(&bind)?;
        }
        Behaviour::Silent => {}
        Behaviour::Ends => end(wire),
        Behaviour::Resets => {
            SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket");
            return Ok(());
        }
    }
    wire.read_on()
}

fn end(wire: &Wire) {
    // Fails only where the other side has reset it already, which the next read tells.
    let _ = wire.stream.shutdown(Shutdown::Write);
}

fn acknowledge(wire: &mut Wire, first: (u16, u16), others: (u16, u16)) -> Result<(), Ended> {
    let bind = wire.read_bind()?;
    wire.write(&to_call(&bind, &bind_ack(bind[24], first, others)))
}

fn drip(wire: &mut Wire, pace: Duration) -> Result<(), Ended> {
    let bind = wire.read_bind()?;
    let reply = to_call(&bind, &bind_ack(bind[24], (0, 0), (2, 1)));
    wire.stream.set_read_timeout(Some(pace)).expect("a timeout above zero");
    for byte in reply {
        wire.write(&[byte])?;
        // The pace: a read that ends because nothing came.
        match wire.read() {
            Ok(_) | Err(Ended::ByPeer) => {}
            Err(ended) => return Err(ended),
        }
    }
    Ok(())
}

/// A reply with the `call_id` of the bind, in the byte order that the reply says it has. What is no RPC
/// stays as it is.
fn to_call(bind: &[u8], reply: &[u8]) -> Vec<u8> {
    let mut reply = reply.to_vec();
    if reply.first() == Some(&5) && reply.len() >= 16 {
        reply[12..16].copy_from_slice(&bind[12..16]);
        if reply[4] >> 4 == 0 {
            reply[12..16].reverse();
        }
    }
    reply
}

/// A `bind_ack` (C706 12.6.4.4) for so many contexts, little-endian, secondary address "1688".
pub fn bind_ack(contexts: u8, first: (u16, u16), others: (u16, u16)) -> Vec<u8> {
    let length = 36 + 24 * u16::from(contexts);
    let mut reply = vec![5, 0, 12, 3, 0x10, 0, 0, 0];
    reply.extend(length.to_le_bytes());
    reply.extend([0; 6]);
    reply.extend([0xb8, 0x10, 0xb8, 0x10, 0x78, 0x56, 0, 0, 5, 0]);
    // "1688", its NUL, and padding to 4.
    reply.extend(*b"1688\0\0");
    reply.extend([contexts, 0, 0, 0]);
    for context in 0..contexts {
        let (result, reason) = if context == 0 { first } else { others };
        reply.extend(result.to_le_bytes());
        reply.extend(reason.to_le_bytes());
        reply.extend(if result == 0 { NDR } else { [0; 20] });
    }
    reply
}

/// The transfer syntax that is accepted.
const NDR: [u8; 20] = [
    0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60,
    0x02, 0x00, 0x00, 0x00,
];
