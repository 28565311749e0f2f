// SPDX-License-Identifier: MIT
//! `exec`, `show` and `check`.

use std::fs;

use super::{at, streams};
use crate::cli::{CheckArgs, check, client, exec, runtime};
use crate::northbound::api::ExplainRequest;
use crate::northbound::api::explain_request::Packet;
use crate::northbound::tests::Switch;

/// Runs `alkaid exec` with these arguments: status, stdout, stderr, what the switch was told.
fn exec(arguments: &[&str], json: bool) -> (u8, String, String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::start(&folder.path().join("s"));
    let arguments: Vec<String> = arguments
        .iter()
        .map(|&argument| argument.to_owned())
        .collect();
    let (mut streams, out, err) = streams();
    let status = exec::run(&arguments, json, &at(&switch.path), &mut streams);
    (status, out.take(), err.take(), switch.notes.all())
}

#[test]
fn rows_are_a_table_or_json() {
    let (status, out, err, _) = exec(&["show ports"], false);
    assert_eq!(
        (status, out.as_str(), err.as_str()),
        (0, "port  device\n   0  net_null0\n", "")
    );
    let (_, out, ..) = exec(&["show", "ports"], true);
    assert_eq!(out, "[{\"port\":0,\"device\":\"net_null0\"}]\n");
}

#[test]
fn words_are_text_or_json() {
    assert_eq!(exec(&["show config"], false).1, "set burst 32\n");
    assert_eq!(
        exec(&["show config"], true).1,
        "{\"text\":\"set burst 32\"}\n"
    );
    assert_eq!(exec(&["start"], false).1, "");
}

#[test]
fn several_arguments_are_as_many_words() {
    let (status, _, _, notes) = exec(&["port", "bind", "1", "a b"], false);
    assert_eq!(
        (status, notes),
        (0, vec![r#"port bind 1 "a b""#.to_owned()])
    );
}

#[test]
fn status_1_is_that_the_switch_refused() {
    let (status, out, err, _) = exec(&["port attach bad"], false);
    assert_eq!(
        (status, out.as_str(), err.as_str()),
        (1, "", "no driver for `bad`\n")
    );
}

#[test]
fn status_2_is_wrong_usage_and_points_at_it() {
    let (status, _, err, notes) = exec(&["show prots"], false);
    assert_eq!((status, notes.len()), (2, 0));
    assert!(
        err.contains("command:1:6") && err.contains("did you mean `ports`?"),
        "{err}"
    );
    assert_eq!(exec(&["set nbcore 2"], false).0, 2);
}

#[test]
fn without_a_switch_status_is_2_and_says_where_it_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let (mut streams, _, err) = streams();
    assert_eq!(
        exec::run(&["show ports".to_owned()], false, &at(&path), &mut streams),
        2
    );
    assert_eq!(
        err.take(),
        format!(
            "alkaid: no switch is running (nobody listens on {})\n",
            path.display()
        )
    );
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(
        exec::run(&["show ports".to_owned()], false, &at(&path), &mut streams),
        2
    );
    assert!(err.take().contains("no switch is running"));
}

#[test]
fn help_needs_no_switch() {
    let (mut streams, out, _) = streams();
    let nowhere = at(std::path::Path::new("/nowhere"));
    assert_eq!(
        exec::run(&["help".to_owned()], false, &nowhere, &mut streams),
        0
    );
    assert!(out.take().contains("port attach DEVARGS"));
    assert_eq!(
        exec::run(&["help brst".to_owned()], false, &nowhere, &mut streams),
        2
    );
}

#[test]
fn a_relative_path_is_of_the_operators_folder() {
    let (status, _, err, _) = exec(&["load no/such.conf"], false);
    let absolute = std::path::absolute("no/such.conf").unwrap();
    assert_eq!(status, 2);
    // The report may break it over lines.
    let err: String = err
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '│')
        .collect();
    assert!(err.contains(absolute.to_str().unwrap()), "{err}");
}

#[test]
fn check_reports_all_errors_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f.conf");
    let (mut streams, out, err) = streams();
    fs::write(&file, "set brst 1\nset log lod\n").unwrap();
    assert_eq!(check(&CheckArgs { file: file.clone() }, &mut streams), 2);
    let text = err.take();
    assert!(
        text.contains("2 errors") && text.contains("`burst`") && text.contains("`lod`"),
        "{text}"
    );
    fs::write(&file, "set southbound off\nport attach net_null0\n").unwrap();
    assert_eq!(check(&CheckArgs { file }, &mut streams), 0);
    assert!(
        out.take()
            .ends_with("f.conf: no error; 1 ports, 1 workers\n")
    );
}

#[test]
fn the_packets_of_a_recording_are_explained_on_one_connection() {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::start(&folder.path().join("s"));
    let client = client::Switch::new(&at(&switch.path));
    let runtime = runtime().unwrap();
    let explain = |words: &str| {
        let packet = Some(Packet::Words(words.to_owned()));
        let request = ExplainRequest { port: 1, packet };
        runtime.block_on(client.explain(request)).unwrap().error
    };
    assert!(explain("first").contains("first"));
    fs::remove_file(&switch.path).unwrap(); // nobody finds it any more
    assert!(explain("second").contains("second"));
}
