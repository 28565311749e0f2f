// SPDX-License-Identifier: MIT
//! Whether somebody listens at a Unix socket.

use std::io::{self, ErrorKind};
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

/// Asks by a connection, and waits for nobody: where so many wait to be accepted that there is no room, somebody listens.
pub(crate) fn is_there(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock => Ok(true),
            ErrorKind::ConnectionRefused => Ok(false),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn somebody_who_accepts_nobody_is_there_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        assert_eq!(is_there(&path).unwrap_err().kind(), ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).unwrap();
        // More than std has wait.
        for _ in 0..5000 {
            assert!(is_there(&path).unwrap());
        }
        drop(listener);
        assert!(!is_there(&path).unwrap());
    }
}
