// SPDX-License-Identifier: MIT
//! Who may have the socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Barrier};

use crate::northbound::socket::{Socket, SocketError};

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn only_its_owner_may_open_it_and_it_goes_with_the_switch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let socket = Socket::bind(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(UnixStream::connect(&path).is_ok());
    assert_eq!(names(folder.path()), ["s"]);
    drop(socket);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_second_switch_is_refused_and_the_first_not_disturbed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let first = Socket::bind(&path).unwrap();
    let refused = Socket::bind(&path).unwrap_err();
    assert!(matches!(refused, SocketError::InUse(_)));
    assert!(
        refused.to_string().contains("another switch runs here"),
        "{refused}"
    );
    assert!(UnixStream::connect(&path).is_ok());
    drop(first);
    assert!(Socket::bind(&path).is_ok());
}

#[test]
fn what_a_killed_switch_left_behind_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _socket = Socket::bind(&path).unwrap();
    assert!(UnixStream::connect(&path).is_ok());
}

#[test]
fn a_file_in_its_place_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    fs::write(&path, "precious").unwrap();
    assert!(matches!(
        Socket::bind(&path),
        Err(SocketError::NotASocket(_))
    ));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert!(matches!(
        Socket::bind(&folder.path().join("no/s")),
        Err(SocketError::System { .. })
    ));
}

#[test]
fn a_socket_that_took_its_place_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let first = Socket::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
}

#[test]
fn of_switches_that_start_together_one_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    let start = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (start, path) = (Arc::clone(&start), path.clone());
            std::thread::spawn(move || {
                start.wait();
                Socket::bind(&path)
            })
        })
        .collect();
    let sockets: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    assert_eq!(
        sockets.iter().filter(|socket| socket.is_ok()).count(),
        1,
        "{sockets:?}"
    );
}
