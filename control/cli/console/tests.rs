// SPDX-License-Identifier: MIT

use std::path::Path;

use super::{Seen, Session, line};
use crate::cli::client::Switch as Client;
use crate::cli::tests::{Kept, at, streams};
use crate::config::lexer::MAX_LINE;
use crate::northbound::tests::Switch;

/// A session on a pipe with the switch at `path`, and its stdout and stderr.
fn session(path: &Path) -> (Session, Kept, Kept) {
    let (streams, out, err) = streams();
    let runtime = crate::cli::runtime().unwrap();
    (
        Session {
            runtime,
            switch: Client::new(&at(path)),
            seen: Seen::Never,
            streams,
        },
        out,
        err,
    )
}

#[test]
fn lines_of_a_pipe_are_executed_in_order_and_the_worst_is_the_status() {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::start(&folder.path().join("s"));
    let (mut session, out, err) = session(&switch.path);
    let status = session.lines(
        &mut &b"# a script\nstart\r\nshow ports\nport attach bad\nhelp start\nquit\nstop\n"[..],
    );
    assert_eq!(status, 1);
    assert_eq!(
        switch.notes.all(),
        ["start", "show ports", "port attach bad"]
    );
    let out = out.take();
    assert!(
        out.starts_with("port  device\n") && out.contains("Starts forwarding."),
        "{out}"
    );
    assert_eq!(err.take(), "no driver for `bad`\n");
}

#[test]
fn a_wrong_line_is_named_by_its_number_and_the_others_executed() {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::start(&folder.path().join("s"));
    let (mut session, _, err) = session(&switch.path);
    assert_eq!(session.lines(&mut &b"start\nstrat\nstop"[..]), 2);
    assert!(err.take().contains("standard input:2:1"));
    assert_eq!(switch.notes.all(), ["start", "stop"]);
}

#[test]
fn without_a_switch_a_pipe_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut session, _, err) = session(&folder.path().join("s"));
    assert_eq!(session.lines(&mut &b"start\nstop\n"[..]), 2);
    assert_eq!(err.take().matches("no switch is running").count(), 1);
}

#[test]
fn a_restarted_switch_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let switch = Switch::start(&path);
    let (mut session, _, err) = session(&path);
    session.greet();
    assert_eq!(session.send("start".into(), true), Some(0));
    drop(switch);
    assert_eq!(session.send("start".into(), true), None);
    let text = err.take();
    assert!(
        text.contains("no switch is running") && text.contains("tries to reach it again"),
        "{text}"
    );
    let _switch = Switch::start(&path);
    assert_eq!(session.send("start".into(), true), Some(0));
    assert_eq!(err.take(), "Connected again.\n");
    // As if the process had changed between two commands.
    session.seen = Seen::Process(1);
    assert_eq!(session.send("start".into(), true), Some(0));
    assert!(
        err.take()
            .starts_with("The switch was restarted: process 1 is gone")
    );
}

#[test]
fn of_a_line_that_is_too_long_nothing_is_executed() {
    let long = format!("start {}\nstop\n", "x".repeat(3 * MAX_LINE));
    let mut input = long.as_bytes();
    assert!(line(&mut input).unwrap().unwrap().len() > MAX_LINE);
    assert_eq!(line(&mut input).unwrap().as_deref(), Some("stop"));
    assert_eq!(line(&mut input).unwrap(), None);
    let exact = "x".repeat(MAX_LINE + 2);
    assert_eq!(
        line(&mut exact.as_bytes()).unwrap().map(|line| line.len()),
        Some(MAX_LINE + 2)
    );
}
