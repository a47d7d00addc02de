//! The unix socket for calls that change something: who may use it, the mode of its file says.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Type};
use thiserror::Error;
use tokio::net::UnixListener;

/// What keeps the daemon from listening on its socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// A file, or whatever else.
    #[error("{}: it is there already, and is no socket; remove it, or give another path ([web] socket)", .0.display())]
    NoSocket(PathBuf),
    /// It would be taken away from whoever listens.
    #[error("{}: another process listens there; end that, or give another path ([web] socket)", .0.display())]
    InUse(PathBuf),
    /// The operating system's refusal.
    #[error("{}: cannot listen: {error}; make its folder, which this user may write, or give another path ([web] socket)", .path.display())]
    System {
        /// Of the socket.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// A socket that is listened on; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

/// The file of a socket; removed when dropped, unless it is another's by now.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl Socket {
    /// Listens, in place of what a process left behind that has ended. Needs a tokio runtime.
    ///
    /// # Errors
    /// Something else is there, another process listens, or the operating system refuses.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let system = |error| SocketError::System { path: path.to_owned(), error };
        match fs::symlink_metadata(path) {
            Ok(known) if !known.file_type().is_socket() => {
                return Err(SocketError::NoSocket(path.to_owned()));
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(SocketError::InUse(path.to_owned()));
            }
            Ok(_) => fs::remove_file(path).map_err(system)?,
            Err(_) => {}
        }
        Self::listen(path).map_err(system)
    }

    /// Nobody can connect before the mode is what it should be.
    fn listen(path: &Path) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        let known = fs::symlink_metadata(path)?;
        let file = SocketFile { path: path.to_owned(), id: (known.dev(), known.ino()) };
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(socket.into())?, file })
    }
}

/// Its user and group.
const MODE: u32 = 0o660;
const BACKLOG: i32 = 16;

impl Drop for SocketFile {
    fn drop(&mut self) {
        let known = fs::symlink_metadata(&self.path);
        if known.is_ok_and(|known| (known.dev(), known.ino()) == self.id) {
            // Where it cannot be removed, the next to listen replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_for_its_user_and_group_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("k.sock");
        // Left behind by one that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());
        let socket = Socket::bind(&path).expect("replaced");
        let known = fs::symlink_metadata(&path).expect("it is there");
        assert_eq!(known.permissions().mode() & 0o777, 0o660);
        assert!(matches!(Socket::bind(&path), Err(SocketError::InUse(_))));
        drop(socket);
        assert!(!path.exists());
        fs::write(&path, "mine").expect("written");
        assert!(matches!(Socket::bind(&path), Err(SocketError::NoSocket(_))));
        let nowhere = Socket::bind(&folder.path().join("none/k.sock")).expect_err("no folder");
        assert!(nowhere.to_string().contains("none/k.sock: cannot listen: "), "{nowhere}");
    }

    #[tokio::test]
    async fn the_file_of_another_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("k.sock");
        let first = Socket::bind(&path).expect("bound");
        fs::rename(&path, folder.path().join("moved.sock")).expect("moved");
        let _second = Socket::bind(&path).expect("bound");
        drop(first);
        assert!(path.exists());
    }
}
