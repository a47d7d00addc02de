//! Sockets towards a server over a path.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use crate::model::observation::{no_way, not_here};
use crate::model::{Path, Upstream};

/// Why a server cannot be reached over a path, as the operating system says.
#[derive(Debug, Error)]
pub enum PathError {
    /// No socket could be made.
    #[error("cannot make a socket for {0}: {1}")]
    Socket(SocketAddr, io::Error),
    /// The source address cannot be used.
    #[error("cannot send from source {0}: {1}")]
    Source(IpAddr, io::Error),
    /// The interface may not be used.
    #[error("cannot use interface {0}: {1}")]
    Interface(String, io::Error),
    /// This machine lacks what the path names.
    #[error("{}", not_here(.0))]
    NotHere(String),
    /// This machine itself has no way to the server.
    #[error("cannot connect to {0}: {1}")]
    NoWay(SocketAddr, &'static str),
    /// No way to the server, or a closed port.
    #[error("cannot connect to {0}: {1}")]
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
    socket.connect(&address.into()).map_err(|error| {
        // Nothing was sent yet: no router can have said it.
        match no_way(error.kind()) {
            Some(why) => PathError::NoWay(address, why),
            None => PathError::Connect(address, error),
        }
    })?;
    UdpSocket::from_std(socket.into()).map_err(failed)
}

/// A TCP connection to the server.
///
/// # Errors
/// Where the path cannot be used, or nobody accepts.
pub async fn tcp(upstream: &Upstream) -> Result<TcpStream, PathError> {
    let address = upstream.server.address;
    let socket = prepare(upstream, Type::STREAM, Protocol::TCP)?;
    let stream = TcpSocket::from_std_stream(socket.into())
        .connect(address)
        .await
        .map_err(|error| PathError::Connect(address, error))?;
    stream.set_nodelay(true).map_err(|error| PathError::Socket(address, error))?;
    Ok(stream)
}

fn prepare(upstream: &Upstream, kind: Type, protocol: Protocol) -> Result<Socket, PathError> {
    let address = upstream.server.address;
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
        .map_err(|error| PathError::Socket(address, error))?;
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
