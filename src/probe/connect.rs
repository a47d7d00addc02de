//! One TCP connection over a path, and what the kernel's error queue says where it fails.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::failure::{Failure, IcmpError, IcmpVersion, is_shortage};
use crate::model::observation::{in_words, not_here};
use crate::model::{EndpointKey, Path, ProbeOutcome};

/// An established connection. It ends with a reset however it ends, so that no `TIME_WAIT` piles up.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// From the SYN to the established connection.
    pub took: Duration,
}

impl Connection {
    /// Connects, for as long as it takes: the deadline is the caller's. While this machine lacks what
    /// a socket needs, `shortage` says what.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn open(
        key: &EndpointKey,
        shortage: &mut Option<io::Error>,
    ) -> Result<Self, Failure> {
        let (stream, started) = start(key, shortage).await?;
        stream.writable().await.map_err(|error| failure(&stream, &error))?;
        let took = started.elapsed();
        // Others whose connection stands as well look at the time first, before any of them works on.
        yield_now().await;
        let connection = Self { stream, took };
        match connection.stream.take_error() {
            Ok(None) => connection.checked(key.address.port()),
            Ok(Some(error)) | Err(error) => Err(connection.failure(&error)),
        }
    }

    /// The stream.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Why it ended with an error.
    pub fn failure(&self, error: &io::Error) -> Failure {
        failure(&self.stream, error)
    }

    /// Refuses what is not a connection to somebody: on loopback, a socket may be given the very port
    /// that it connects to, and TCP lets it connect to itself (RFC 9293 section 3.5, simultaneous open).
    /// `port` is the one that it connected to.
    fn checked(self, port: u16) -> Result<Self, Failure> {
        match self.met_itself(port) {
            Ok(true) => Err(Failure {
                outcome: ProbeOutcome::Refused,
                rejected_by: None,
                detail: Some("nobody listens: the connection met itself".to_owned()),
            }),
            Ok(false) => Ok(self),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Who the peer is need not be asked but where the ports are the same, which they hardly ever are.
    fn met_itself(&self, port: u16) -> io::Result<bool> {
        let own = self.stream.local_addr()?;
        Ok(own.port() == port && own == self.stream.peer_addr()?)
    }
}

/// How long to wait where this machine has no descriptor or memory left for one more socket.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(20);

/// Sends the SYN, as soon as this machine has what it takes.
async fn start(
    key: &EndpointKey,
    shortage: &mut Option<io::Error>,
) -> Result<(TcpStream, Instant), Failure> {
    loop {
        match try_start(key) {
            Err(NotStarted::Shortage(error)) => *shortage = Some(error),
            Err(NotStarted::Failed(failure)) => return Err(failure),
            Ok(started) => {
                *shortage = None;
                return Ok(started);
            }
        }
        tokio::time::sleep(SHORTAGE_PAUSE).await;
    }
}

/// Why no SYN was sent.
enum NotStarted {
    /// For a moment, and not by the peer's fault.
    Shortage(io::Error),
    /// For good.
    Failed(Failure),
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        if is_shortage(&error) {
            Self::Shortage(error)
        } else {
            Self::Failed(Failure::new(&error, None))
        }
    }
}

fn try_start(key: &EndpointKey) -> Result<(TcpStream, Instant), NotStarted> {
    let domain = Domain::for_address(key.address);
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_linger(Some(Duration::ZERO))?;
    receive_icmp_errors(&socket, key.address)?;
    take_path(&socket, &key.path)?;
    let started = Instant::now();
    let connecting = socket.connect(&SockAddr::from(key.address));
    let stream = TcpStream::from_std(socket.into())?;
    match connecting {
        Ok(()) => Ok((stream, started)),
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {
            Ok((stream, started))
        }
        Err(error) if is_shortage(&error) => Err(NotStarted::Shortage(error)),
        Err(error) => Err(NotStarted::Failed(failure(&stream, &error))),
    }
}

fn receive_icmp_errors(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true),
    }
    .map_err(io::Error::from)
}

/// Binds to the path's interface and source. The kernel picks the port with the peer in view, so that
/// as many probes as there are ports can leave one source for each peer.
fn take_path(socket: &Socket, path: &Path) -> Result<(), NotStarted> {
    if let Some(interface) = &path.interface {
        bind_interface(socket, interface).map_err(|error| {
            NotStarted::Failed(Failure::of_this_machine(interface_words(interface, &error)))
        })?;
    }
    if let Some(source) = path.source {
        setsockopt(socket, sockopt::IpBindAddressNoPort, &true).map_err(io::Error::from)?;
        socket.bind(&SockAddr::from(SocketAddr::new(source, 0))).map_err(|error| {
            NotStarted::Failed(Failure::of_this_machine(source_words(source, &error)))
        })?;
    }
    Ok(())
}

/// The kernel cuts longer names short, and would bind to whatever is called so.
fn bind_interface(socket: &Socket, interface: &str) -> io::Result<()> {
    if interface.is_empty() || interface.len() >= libc::IFNAMSIZ {
        return Err(Errno::ENODEV.into());
    }
    socket.bind_device(Some(interface.as_bytes()))
}

fn interface_words(interface: &str, error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENODEV) => not_here(format_args!("interface {interface}")),
        _ => format!("interface {interface} of the path: {}", in_words(error)),
    }
}

fn source_words(source: IpAddr, error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EADDRNOTAVAIL) => not_here(format_args!("source {source}")),
        _ => format!("source {source} of the path: {}", in_words(error)),
    }
}

fn failure(stream: &TcpStream, error: &io::Error) -> Failure {
    Failure::new(error, icmp_error(stream).as_ref())
}

/// More of them than this are not asked of one socket's error queue.
const MAX_ICMP_ERRORS: usize = 8;

/// The last ICMP error about a connection: what came before it did not end it.
fn icmp_error(stream: &TcpStream) -> Option<IcmpError> {
    let own = stream.local_addr().map(|address| address.ip()).ok();
    let queue = (0..MAX_ICMP_ERRORS).map_while(|_| next_error(stream).ok());
    let mut error = queue.flatten().last()?;
    error.own = error.offender.is_some() && error.offender == own;
    Some(error)
}

/// Takes one message off the error queue; `None` where it is no ICMP error.
///
/// # Errors
/// `EAGAIN`: the queue is empty.
fn next_error(stream: &TcpStream) -> nix::Result<Option<IcmpError>> {
    let mut offending_segment = [0_u8; 64];
    let mut parts = [IoSliceMut::new(&mut offending_segment)];
    let mut space = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    Ok(message.cmsgs()?.find_map(|control| icmp_of(&control)))
}

fn icmp_of(message: &ControlMessageOwned) -> Option<IcmpError> {
    let (error, offender) = match *message {
        ControlMessageOwned::Ipv4RecvErr(error, offender) => {
            (error, offender.map(|from| Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr)).into()))
        }
        ControlMessageOwned::Ipv6RecvErr(error, offender) => {
            (error, offender.map(|from| Ipv6Addr::from(from.sin6_addr.s6_addr).into()))
        }
        _ => return None,
    };
    let version = match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP => IcmpVersion::V4,
        libc::SO_EE_ORIGIN_ICMP6 => IcmpVersion::V6,
        _ => return None,
    };
    let offender = offender.filter(|address: &IpAddr| !address.is_unspecified());
    Some(IcmpError { version, kind: error.ee_type, code: error.ee_code, offender, own: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_met_itself_is_refused() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        let own = socket.local_addr().expect("a bound socket");
        socket.connect(&own).expect("TCP lets a socket connect to itself");
        socket.set_nonblocking(true).expect("a socket");
        let stream = TcpStream::from_std(socket.into()).expect("a connected socket");
        let connection = Connection { stream, took: Duration::ZERO };
        let outcome = connection
            .checked(own.as_socket().expect("IPv4").port())
            .map(|_| ())
            .map_err(|failure| failure.outcome);
        assert_eq!(outcome, Err(ProbeOutcome::Refused));
    }
}
