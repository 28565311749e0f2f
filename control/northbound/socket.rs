// SPDX-License-Identifier: MIT
//! The local socket: where it is, and that exactly one switch listens on it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::listener;

/// The socket's name in its folder.
const NAME: &str = "alkaid.sock";

/// How often [`Socket::bind`] asks for the folder's lock, [`LOCK_PAUSE`] apart, while another switch starts.
const LOCK_TRIES: u32 = 50;

/// Time between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why the local socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Somebody listens on it.
    #[error("another switch runs here: it listens on {}; stop it first, or choose another path with `set control socket PATH`", .0.display())]
    InUse(PathBuf),
    /// Something else is in its place, and might be precious.
    #[error("{} exists and is no socket; remove it, or choose another path with `set control socket PATH`", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("cannot listen on {}: {error}", path.display())]
    System {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The socket of a switch: listening, mode 0600, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: the file at `path` is ours only while it has these.
    identity: (u64, u64),
}

impl Socket {
    /// Listens at `path`. A socket there that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// Somebody listens on it, something else is there, or the system refuses.
    pub(crate) fn bind(path: &Path) -> Result<Self, SocketError> {
        let system = |error| SocketError::System {
            path: path.to_owned(),
            error,
        };
        let path = std::path::absolute(path).map_err(system)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        // Two switches that start together look and replace one after the other.
        let lock = File::open(folder).map_err(system)?;
        if !lock_folder(&lock).map_err(system)? {
            tracing::warn!(folder = %folder.display(), "somebody keeps the folder of the local socket locked");
        }
        look(&path)?;
        let listener = listen(folder, &path).map_err(system)?;
        let metadata = fs::symlink_metadata(&path).map_err(system)?;
        Ok(Self {
            listener,
            path,
            identity: (metadata.dev(), metadata.ino()),
        })
    }

    /// The listener, for as long as `self` lives.
    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the local socket stays behind");
        }
    }
}

/// Takes the folder's lock, which closing it gives back. False: another has it for so long that it is no switch that starts, and
/// anybody may who can read the folder.
fn lock_folder(folder: &File) -> io::Result<bool> {
    for _ in 0..LOCK_TRIES {
        match folder.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

/// Errors if what is at `path` must not be replaced.
fn look(path: &Path) -> Result<(), SocketError> {
    let system = |error| SocketError::System {
        path: path.to_owned(),
        error,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match listener::is_there(path).map_err(system)? {
        true => Err(SocketError::InUse(path.to_owned())),
        false => Ok(()),
    }
}

/// Listens in a folder of our own first and moves the socket to `path` with its mode set, so that at no time
/// anybody else can connect, and that an old socket at `path` is replaced in one step.
fn listen(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    let own = folder.join(format!(".alkaid-{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&own)?;
    let inside = own.join("s");
    let listener = UnixListener::bind(&inside).and_then(|listener| {
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o600))?;
        fs::rename(&inside, path)?;
        Ok(listener)
    });
    if listener.is_err() {
        let _ = fs::remove_file(&inside);
    }
    fs::remove_dir(&own)?;
    listener
}

/// The user that this process acts as.
pub(crate) fn user() -> Option<u32> {
    fs::metadata("/proc/self")
        .ok()
        .map(|metadata| metadata.uid())
}

/// Where a switch listens unless told otherwise: root's in `/run`, anybody else's in `$XDG_RUNTIME_DIR`, and where
/// there is none in `/tmp` under a name with the user's number.
pub(crate) fn default_path() -> PathBuf {
    default_of(
        user(),
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
    )
}

fn default_of(user: Option<u32>, runtime: Option<PathBuf>) -> PathBuf {
    match (user, runtime) {
        (Some(0), _) => Path::new("/run").join(NAME),
        (_, Some(runtime)) if runtime.is_absolute() => runtime.join(NAME),
        (Some(user), _) => PathBuf::from(format!("/tmp/alkaid-{user}.sock")),
        (None, _) => Path::new("/tmp").join(NAME),
    }
}

/// Where a client looks for a switch unless told otherwise: where its own would be, else where root's is.
pub(crate) fn find() -> PathBuf {
    let own = default_path();
    let root = Path::new("/run").join(NAME);
    if !own.exists() && root.exists() {
        root
    } else {
        own
    }
}
