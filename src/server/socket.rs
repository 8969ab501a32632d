//! A unix socket of the agent's own: claimed, kept and given up.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tracing::{info, warn};

use super::authority::LocalAuthority;
use super::{Admitted, Crowd, Error};

/// How often the socket's file is looked after: somebody may have emptied its directory.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait when no further connection can be taken, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that may wait for the server.
const BACKLOG: usize = 64;
/// Clients at the same time. A kubelet and the sidecars have a few, and each costs some 20 KiB.
const MOST: usize = 512;

/// A client's connection as the server gets it.
pub type Connection = LocalAuthority<Admitted<UnixStream>>;

/// The path of a socket that this process owns as long as the value lives.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// Locked with flock(2); closing it lets go.
    _lock: File,
}

impl Socket {
    /// Claims the path `path` for a socket. A file that a dead agent left is replaced when
    /// listening begins; a socket that a live one owns is an error.
    pub fn claim(path: &Path) -> Result<Self, Error> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::io("use", path, io::ErrorKind::InvalidInput.into()));
        };
        prepare_directory(directory)?;
        let lock_path = path.with_file_name(format!(".{}.lock", name.to_string_lossy()));
        let lock = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            // Whoever may open it may lock it, and keep every agent from starting.
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| Error::io("open", &lock_path, error))?;
        let owned = || Error::Owned { path: path.to_owned() };
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => owned(),
            TryLockError::Error(error) => Error::io("lock", &lock_path, error),
        })?;
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(Error::NotASocket { path: path.to_owned() });
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => return Err(owned()),
            _ => {}
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Listens, and hands over the connections of callers that may call, until `stop` says so. A
    /// socket file that disappears is made again. In the end it goes, unless `stays` says then that
    /// somebody counts on it.
    pub fn listen(
        self,
        mut stop: watch::Receiver<bool>,
        stays: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<ReceiverStream<io::Result<Connection>>, Error> {
        let stays: Stays = Arc::new(stays);
        let mut bound = Bound::new(&self.path, &stays)?;
        let mut crowd = Crowd::new(MOST, None);
        let (sender, receiver) = mpsc::channel(BACKLOG);
        tokio::spawn(async move {
            let mut look = tokio::time::interval(LOOK);
            loop {
                tokio::select! {
                    () = told(&mut stop) => break,
                    _ = look.tick() => {
                        if !bound.is_intact() {
                            match Bound::new(&self.path, &stays) {
                                Ok(again) => bound = again,
                                Err(error) => warn!(%error, "socket is gone and cannot be made again, will try"),
                            }
                        }
                    }
                    accepted = bound.listener.accept() => match accepted {
                        Ok((stream, _)) if !may_call(&stream) => {}
                        Ok((stream, _)) => {
                            let connection = LocalAuthority::new(crowd.admit(stream));
                            if sender.send(Ok(connection)).await.is_err() {
                                break;
                            }
                        }
                        Err(error) => {
                            warn!(%error, socket = %self.path.display(), "cannot accept a connection");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    },
                }
            }
        });
        Ok(ReceiverStream::new(receiver))
    }
}

/// Waits until `stop` says so, or can say nothing any more.
pub async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Whether a socket's file outlives its listener.
type Stays = Arc<dyn Fn() -> bool + Send + Sync>;

/// A socket file with the listener behind it.
struct Bound {
    listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
    stays: Stays,
}

impl Bound {
    fn new(path: &Path, stays: &Stays) -> Result<Self, Error> {
        if let Some(directory) = path.parent() {
            prepare_directory(directory)?;
        }
        // Replaced in one step: a caller sees the old socket or the new one, never none, and
        // never one that others may use.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let fresh = path.with_file_name(format!(".{name}"));
        let _ = fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh).map_err(|error| Error::io("make the socket", path, error))?;
        fs::set_permissions(&fresh, Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&fresh, path))
            .map_err(|error| Error::io("put in place the socket", path, error))?;
        let inode = identity(path).map_err(|error| Error::io("examine the socket", path, error))?;
        info!(socket = %path.display(), "listening");
        Ok(Self {
            listener,
            path: path.to_owned(),
            inode,
            stays: stays.clone(),
        })
    }

    fn is_intact(&self) -> bool {
        identity(&self.path).is_ok_and(|inode| inode == self.inode)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Asked here, because whoever listens may be dropped before it hears of the end.
        if self.is_intact() && !(self.stays)() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Makes the directory of a socket, for its owner alone. One that exists is narrowed if nothing
/// but sockets of ours is in it, and refused if others may write to it.
fn prepare_directory(directory: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| Error::io("make the directory", directory, error))?;
    let found = fs::metadata(directory).map_err(|error| Error::io("examine", directory, error))?;
    let mode = found.mode() & 0o777;
    let ours_alone = fs::read_dir(directory)
        .map_err(|error| Error::io("list", directory, error))?
        .all(|entry| entry.is_ok_and(|entry| is_ours(&entry)));
    if mode != 0o700 && ours_alone && found.uid() == nix::unistd::geteuid().as_raw() {
        fs::set_permissions(directory, Permissions::from_mode(0o700))
            .map_err(|error| Error::io("narrow", directory, error))?;
    } else if mode & 0o022 != 0 {
        return Err(Error::OpenToOthers {
            path: directory.to_owned(),
            mode,
        });
    }
    Ok(())
}

fn is_ours(entry: &fs::DirEntry) -> bool {
    let socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
    socket || entry.file_name().to_string_lossy().ends_with(".sock.lock")
}

/// Only root and the agent's own user may call; the permissions of the socket say the same.
fn may_call(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == own => true,
        Ok(peer) => {
            warn!(uid = peer.uid(), pid = peer.pid(), "caller refused: only root may call");
            false
        }
        Err(error) => {
            warn!(%error, "caller refused: the kernel does not tell who it is");
            false
        }
    }
}
