// SPDX-License-Identifier: MIT
//! `alkaid exec` and `alkaid show`: one command, one answer.

use super::client::{Switch, Task, join, read};
use super::{EXIT_FAILED, EXIT_OK, EXIT_USAGE, SocketArgs, Streams, goal_state};
use crate::config::Command;
use crate::config::help::NoSuchTopic;
use crate::northbound::api::ExecuteReply;
use crate::northbound::render;

/// Gives the switch the command that `arguments` are; the exit status.
pub(super) fn run(
    arguments: &[String],
    json: bool,
    socket: &SocketArgs,
    streams: &mut Streams,
) -> u8 {
    let line = match read("command", 1, &join(arguments)) {
        Err(errors) => {
            streams.err(&errors.report());
            return EXIT_USAGE;
        }
        Ok(Task::Nothing) => return EXIT_OK,
        Ok(Task::Help(text)) => return help(text, streams),
        Ok(Task::GoalState) => return goal_state(json, socket, streams),
        Ok(Task::Quit) => Command::Quit.to_string(),
        Ok(Task::Send(line)) => line,
    };
    let reply = super::runtime()
        .map_err(|error| error.to_string())
        .and_then(|runtime| {
            let switch = Switch::new(socket);
            let execute = switch.execute(line);
            runtime.block_on(execute).map_err(|error| error.to_string())
        });
    match reply {
        Ok(reply) => print(&reply, json, streams),
        Err(error) => {
            streams.err(&format!("alkaid: {error}\n"));
            EXIT_USAGE
        }
    }
}

fn goal_state(json: bool, socket: &SocketArgs, streams: &mut Streams) -> u8 {
    match super::runtime() {
        Ok(runtime) => runtime.block_on(goal_state::run(&Switch::new(socket), json, streams)),
        Err(error) => {
            streams.err(&format!("alkaid: {error}\n"));
            EXIT_USAGE
        }
    }
}

/// Prints what `help` answers; the exit status.
pub(super) fn help(text: Result<String, NoSuchTopic>, streams: &mut Streams) -> u8 {
    match text {
        Ok(text) => {
            streams.out(&text);
            EXIT_OK
        }
        Err(error) => {
            streams.err(&format!("{error}\n"));
            EXIT_USAGE
        }
    }
}

/// Prints an answer; the exit status that it stands for.
pub(super) fn print(reply: &ExecuteReply, json: bool, streams: &mut Streams) -> u8 {
    if !reply.ok {
        streams.err(&format!("{}\n", reply.text.trim_end()));
        return if reply.usage { EXIT_USAGE } else { EXIT_FAILED };
    }
    if json && reply.json.is_empty() {
        streams.out(&format!("{}\n", serde_json::json!({ "text": reply.text })));
    } else if json {
        streams.out(&format!("{}\n", reply.json));
    } else if reply.json.is_empty() {
        streams.out(&ended(&reply.text));
    } else {
        streams.out(&match serde_json::from_str(&reply.json) {
            Ok(rows) => render::table(&rows),
            // A switch of another version: show what it says.
            Err(_) => ended(&reply.json),
        });
    }
    EXIT_OK
}

/// `text` with the end of its last line, if there is any.
fn ended(text: &str) -> String {
    match text.is_empty() || text.ends_with('\n') {
        true => text.to_owned(),
        false => format!("{text}\n"),
    }
}
