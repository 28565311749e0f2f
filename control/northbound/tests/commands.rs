// SPDX-License-Identifier: MIT
//! What becomes of commands that arrive.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};

use super::Switch;
use crate::northbound::api::control_client::ControlClient;
use crate::northbound::api::{ExecuteReply, ExecuteRequest};

async fn client(path: &Path) -> ControlClient<Channel> {
    let path = Arc::new(path.to_owned());
    let connector = tower::service_fn(move |_| {
        let path = Arc::clone(&path);
        async move {
            tokio::net::UnixStream::connect(&*path)
                .await
                .map(TokioIo::new)
        }
    });
    ControlClient::new(
        Endpoint::from_static("http://localhost")
            .connect_with_connector(connector)
            .await
            .unwrap(),
    )
}

/// Gives a fresh switch one command.
fn ask(command: &str) -> (ExecuteReply, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::start(&folder.path().join("s"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let reply = runtime.block_on(async {
        let request = ExecuteRequest {
            command: command.to_owned(),
        };
        client(&switch.path)
            .await
            .execute(request)
            .await
            .unwrap()
            .into_inner()
    });
    assert_eq!(reply.pid, std::process::id());
    (reply, switch.notes.all())
}

#[test]
fn a_command_is_executed_and_answered() {
    let (reply, notes) = ask("port  bind 1 'a b'");
    assert!(reply.ok && reply.text.is_empty() && reply.json.is_empty());
    assert_eq!(notes, [r#"port bind 1 "a b""#]);
    let (reply, _) = ask("show ports");
    assert_eq!(reply.json, r#"[{"port":0,"device":"net_null0"}]"#);
    assert_eq!(ask("show config").0.text, "set burst 32");
    assert!(ask("# nothing").0.ok);
}

#[test]
fn what_is_no_command_is_usage_and_reaches_nobody() {
    let (reply, notes) = ask("show prots");
    assert!(!reply.ok && reply.usage);
    assert!(
        reply.text.contains("did you mean `ports`?"),
        "{}",
        reply.text
    );
    assert!(notes.is_empty());
}

#[test]
fn what_is_for_the_start_up_file_is_refused() {
    let (reply, notes) = ask("set nbcore 2");
    assert!(!reply.ok && reply.usage && notes.is_empty());
    assert!(
        reply
            .text
            .contains("change it there and restart the switch"),
        "{}",
        reply.text
    );
}

#[test]
fn a_command_that_fails_says_why() {
    let (reply, _) = ask("port attach bad");
    assert!(!reply.ok && !reply.usage);
    assert_eq!(reply.text, "no driver for `bad`");
}

#[test]
fn help_is_answered_here() {
    let (reply, notes) = ask("help set burst");
    assert!(reply.ok && reply.text.contains("default 32") && notes.is_empty());
    assert!(ask("help brst").0.usage);
}

fn load(text: &str) -> (ExecuteReply, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f.conf");
    fs::write(&file, text).unwrap();
    ask(&format!("load {}", file.display()))
}

#[test]
fn a_file_is_loaded_command_by_command() {
    let (reply, notes) = load("port attach net_null1\nshow ports\nport bind 1 a\nport start 1");
    assert_eq!(
        notes,
        [
            "port attach net_null1",
            "show ports",
            "port bind 1 a",
            "port start 1"
        ]
    );
    assert!(
        reply.ok
            && reply.text.contains("net_null0")
            && reply.text.ends_with("4 commands executed\n")
    );
}

#[test]
fn nothing_of_a_wrong_file_is_applied() {
    let (reply, notes) = load("port start 0\nprt stop 0\nset brst 1");
    assert!(!reply.ok && reply.usage && notes.is_empty());
    assert!(
        reply.text.contains("f.conf:2:1") && reply.text.contains("f.conf:3:5"),
        "{}",
        reply.text
    );
    let (reply, notes) = load("port start 0\nset mbufs 2048\neal -l 0");
    assert!(!reply.ok && reply.usage && notes.is_empty());
    assert!(
        reply.text.contains("f.conf:2:1") && reply.text.contains("f.conf:3:1"),
        "{}",
        reply.text
    );
}

#[test]
fn the_first_command_of_a_file_that_fails_ends_it() {
    let (reply, notes) = load("start\nport attach bad\nport attach net_null2\nstop");
    assert!(!reply.ok && !reply.usage);
    assert_eq!(notes, ["start", "port attach bad"]);
    let why = "f.conf:2:1: `port attach bad`: no driver for `bad`\n1 commands were executed, 2 after it were not";
    assert!(reply.text.ends_with(why), "{}", reply.text);
}

#[test]
fn files_of_several_clients_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::start(&folder.path().join("s"));
    let file = |name: &str, port: u16| {
        let path = folder.path().join(name);
        fs::write(&path, format!("port start {port}\n").repeat(20)).unwrap();
        path
    };
    let files = [file("a", 1), file("b", 2)];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ask = async |path: &Path| {
            let command = format!("load {}", path.display());
            client(&switch.path)
                .await
                .execute(ExecuteRequest { command })
                .await
                .unwrap()
        };
        let (a, b) = tokio::join!(ask(&files[0]), ask(&files[1]));
        assert!(a.into_inner().ok && b.into_inner().ok);
    });
    let mut notes = switch.notes.all();
    assert_eq!(notes.len(), 40);
    notes.dedup();
    assert_eq!(notes.len(), 2, "{notes:?}");
}

#[test]
fn a_client_that_goes_away_leaves_no_command_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::start(&folder.path().join("s"));
    let file = folder.path().join("f");
    fs::write(&file, "port start 1\n".repeat(50)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut client = client(&switch.path).await;
        let request = ExecuteRequest {
            command: format!("load {}", file.display()),
        };
        // Not before the first one is executed: a client that goes earlier may not have been heard.
        let begun = async {
            while switch.notes.all().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            biased;
            () = begun => {}
            done = client.execute(request) => panic!("it was all done first: {done:?}"),
        }
    });
    drop(runtime);
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while switch.notes.all().len() < 50 && std::time::Instant::now() < limit {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(switch.notes.all().len(), 50);
}

#[test]
fn a_client_that_stays_connected_does_not_keep_the_switch_from_ending() {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::start(&folder.path().join("s"));
    let path = switch.path.clone();
    let idle = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let begun = std::time::Instant::now();
    drop(switch);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    assert!(!path.exists());
    drop(idle);
}
