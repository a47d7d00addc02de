//! Sockets towards a server over a path.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpStream, UdpSocket};

use crate::model::observation::{NoWay, in_words, not_here};
use crate::model::{Path, Upstream};

/// Why a server cannot be reached over a path, as the operating system says.
#[derive(Debug, Error)]
pub enum PathError {
    /// No socket could be made.
    #[error("cannot make a socket for {}: {}", .0, in_words(.1))]
    Socket(SocketAddr, io::Error),
    /// The source address cannot be used.
    #[error("cannot send from source {}: {}", .0, in_words(.1))]
    Source(IpAddr, io::Error),
    /// The interface may not be used.
    #[error("cannot use interface {}: {}", .0, in_words(.1))]
    Interface(String, io::Error),
    /// This machine lacks what the path names.
    #[error("{}", not_here(.0))]
    NotHere(String),
    /// This machine itself has no way to the server.
    #[error("cannot connect to {0}: {1}")]
    NoWay(SocketAddr, NoWay),
    /// No way to the server, or a closed port.
    #[error("cannot connect to {}: {}", .0, in_words(.1))]
    Connect(SocketAddr, io::Error),
}

/// Holds a few hundred answers while the task is busy elsewhere; the kernel may grant less.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A UDP socket that takes datagrams from the server only; the kernel picks its port at random.
///
/// # Errors
/// Where the path cannot be used.
pub fn udp(upstream: &Upstream) -> Result<UdpSocket, PathError> {
    let address = upstream.server.address;
    let socket = prepare(upstream, Type::DGRAM, Protocol::UDP)?;
    let failed = |error| PathError::Socket(address, error);
    // The default buffer holds some 200 answers: worth a try, not worth a failure.
    socket.set_recv_buffer_size(RECEIVE_BUFFER).ok();
    // Nothing was sent yet: no router can have said it.
    socket.connect(&address.into()).map_err(|error| not_begun(address, error))?;
    UdpSocket::from_std(socket.into()).map_err(failed)
}

/// A TCP connection to the server.
///
/// # Errors
/// Where the path cannot be used, or nobody accepts.
pub async fn tcp(upstream: &Upstream) -> Result<TcpStream, PathError> {
    let address = upstream.server.address;
    let socket = prepare(upstream, Type::STREAM, Protocol::TCP)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {}
        // Before anything was sent: no router can have said it.
        Err(error) => return Err(not_begun(address, error)),
    }
    let failed = |error| PathError::Connect(address, error);
    let stream = TcpStream::from_std(socket.into()).map_err(failed)?;
    stream.writable().await.map_err(failed)?;
    if let Some(error) = stream.take_error().map_err(failed)? {
        return Err(failed(error));
    }
    stream.set_nodelay(true).map_err(|error| PathError::Socket(address, error))?;
    Ok(stream)
}

/// What the kernel says before it sends anything.
fn not_begun(address: SocketAddr, error: io::Error) -> PathError {
    match NoWay::of(error.kind()) {
        Some(way) => PathError::NoWay(address, way),
        None => PathError::Connect(address, error),
    }
}

/// Why a datagram was not sent. What routers said of an earlier one comes back here, too; but that
/// something is not permitted is what this machine's firewall says.
pub fn not_sent(address: SocketAddr, error: io::Error) -> PathError {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM) => PathError::NoWay(address, NoWay::Policy),
        _ => PathError::Connect(address, error),
    }
}

fn prepare(upstream: &Upstream, kind: Type, protocol: Protocol) -> Result<Socket, PathError> {
    let address = upstream.server.address;
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
        .map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EAFNOSUPPORT) => PathError::NoWay(address, NoWay::Family),
            _ => PathError::Socket(address, error),
        })?;
    bind(&socket, &upstream.path)?;
    Ok(socket)
}

fn bind(socket: &Socket, path: &Path) -> Result<(), PathError> {
    if let Some(interface) = &path.interface {
        socket.bind_device(Some(interface.as_bytes())).map_err(|error| {
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENODEV) => PathError::NotHere(format!("interface {interface}")),
                _ => PathError::Interface(interface.to_string(), error),
            }
        })?;
    }
    if let Some(source) = path.source {
        // Leaves the port to connect(), which knows the peer and so has more to choose from.
        setsockopt(socket, sockopt::IpBindAddressNoPort, &true).ok();
        socket.bind(&SocketAddr::new(source, 0).into()).map_err(|error| match error.kind() {
            io::ErrorKind::AddrNotAvailable => PathError::NotHere(format!("source {source}")),
            _ => PathError::Source(source, error),
        })?;
    }
    Ok(())
}
