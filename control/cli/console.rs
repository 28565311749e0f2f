// SPDX-License-Identifier: MIT
//! `alkaid console`: a prompt for a running switch. Without a terminal, commands come from standard input.

mod editor;

use std::io::{self, BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use tokio::runtime::Runtime;

use super::client::{ClientError, Switch, Task, read};
use super::exec::{help, print};
use super::{EXIT_FAILED, EXIT_OK, EXIT_USAGE, SocketArgs, Streams, goal_state};
use crate::config::lexer::MAX_LINE;
use crate::northbound::api::ExecuteReply;
use editor::Helper;

/// What the console says that it is ready with.
const PROMPT: &str = "alkaid> ";

/// Lines that the history keeps.
const HISTORY: usize = 1000;

/// Runs the console until its input ends; the exit status.
pub(super) fn run(socket: &SocketArgs, mut streams: Streams) -> u8 {
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            streams.err(&format!("alkaid: {error}\n"));
            return EXIT_USAGE;
        }
    };
    let mut session = Session {
        runtime,
        switch: Switch::new(socket),
        seen: Seen::Never,
        streams,
    };
    match io::stdin().is_terminal() {
        true => session.interactive(),
        false => session.lines(&mut io::stdin().lock()),
    }
}

/// What is known of the switch from the last command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Nothing yet.
    Never,
    /// It answered, as this process.
    Process(u32),
    /// It was that process, and then did not answer.
    Gone(u32),
}

struct Session {
    runtime: Runtime,
    switch: Switch,
    seen: Seen,
    streams: Streams,
}

impl Session {
    fn interactive(&mut self) -> u8 {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .history_ignore_space(true)
            .max_history_size(HISTORY)
            .map(|config| config.auto_add_history(false).build());
        let editor = config.and_then(Editor::<Helper, FileHistory>::with_config);
        let mut editor = match editor {
            Ok(editor) => editor,
            Err(error) => {
                self.streams.err(&format!("alkaid: {error}\n"));
                return EXIT_USAGE;
            }
        };
        editor.set_helper(Some(Helper));
        let history = history_file();
        if let Some(file) = &history {
            // There is none before the first time.
            let _ = editor.load_history(file);
        }
        self.greet();
        loop {
            let line = match editor.readline(PROMPT) {
                Ok(line) => line,
                // Ctrl-C drops the line, Ctrl-D on an empty line ends.
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => return EXIT_OK,
                Err(error) => {
                    self.streams.err(&format!("alkaid: {error}\n"));
                    return EXIT_USAGE;
                }
            };
            if editor.add_history_entry(line.as_str()).unwrap_or(false)
                && let Some(file) = &history
            {
                // At once: a console that is killed keeps its history.
                let _ = editor.append_history(file);
            }
            match read("command", 1, &line) {
                Err(errors) => self.streams.err(&errors.report()),
                Ok(Task::Nothing) => {}
                Ok(Task::Help(text)) => {
                    help(text, &mut self.streams);
                }
                Ok(Task::Quit) => return EXIT_OK,
                Ok(Task::GoalState) => {
                    self.goal_state(true);
                }
                Ok(Task::Send(line)) => {
                    self.send(line, true);
                }
            }
        }
    }

    /// Executes the lines of `input`; the exit status is that of the worst.
    fn lines(&mut self, input: &mut impl BufRead) -> u8 {
        let mut worst = EXIT_OK;
        for number in 1.. {
            let line = match line(input) {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    self.streams
                        .err(&format!("alkaid: standard input: {error}\n"));
                    return EXIT_USAGE;
                }
            };
            let code = match read("standard input", number, &line) {
                Err(errors) => {
                    self.streams.err(&errors.report());
                    EXIT_USAGE
                }
                Ok(Task::Nothing) => EXIT_OK,
                Ok(Task::Help(text)) => help(text, &mut self.streams),
                Ok(Task::Quit) => break,
                Ok(Task::GoalState) => self.goal_state(false),
                Ok(Task::Send(line)) => match self.send(line, false) {
                    Some(code) => code,
                    None => return EXIT_USAGE,
                },
            };
            worst = worst.max(code);
        }
        worst
    }

    /// Says whether a switch is there.
    fn greet(&mut self) {
        match self.runtime.block_on(self.switch.execute(String::new())) {
            Ok(reply) => {
                self.seen = Seen::Process(reply.pid);
                self.streams.out(&format!(
                    "Connected to the switch (process {}). `help` lists commands.\n",
                    reply.pid
                ));
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Gives the switch a line and prints what it answers. `None`: it did not answer.
    fn send(&mut self, line: String, interactive: bool) -> Option<u8> {
        let reply = self.runtime.block_on(async {
            let execute = self.switch.execute(line);
            if !interactive {
                return Some(execute.await);
            }
            tokio::select! {
                reply = execute => Some(reply),
                _ = tokio::signal::ctrl_c() => None,
            }
        });
        match reply {
            None => {
                self.streams
                    .err("\nNot waiting any longer; the switch goes on with the command.\n");
                Some(EXIT_FAILED)
            }
            Some(Ok(reply)) => {
                self.notice(&reply, interactive);
                Some(print(&reply, false, &mut self.streams))
            }
            Some(Err(error)) => {
                self.complain(&error);
                None
            }
        }
    }

    /// Shows all that the controller wants; the exit status.
    fn goal_state(&mut self, interactive: bool) -> u8 {
        self.runtime.block_on(async {
            let shown = goal_state::run(&self.switch, false, &mut self.streams);
            if !interactive {
                return shown.await;
            }
            tokio::select! {
                code = shown => code,
                _ = tokio::signal::ctrl_c() => EXIT_FAILED,
            }
        })
    }

    /// Tells of a restart, before the first answer of the new process.
    fn notice(&mut self, reply: &ExecuteReply, interactive: bool) {
        let pid = reply.pid;
        match self.seen {
            Seen::Process(old) | Seen::Gone(old) if old != pid => self.streams.err(&format!(
                "The switch was restarted: process {old} is gone, this is process {pid}.\n"
            )),
            Seen::Gone(_) => self.streams.err("Connected again.\n"),
            Seen::Never if interactive => self
                .streams
                .err(&format!("Connected to the switch (process {pid}).\n")),
            _ => {}
        }
        self.seen = Seen::Process(pid);
    }

    fn complain(&mut self, error: &ClientError) {
        self.streams.err(&format!("alkaid: {error}\n"));
        if let Seen::Process(pid) = self.seen {
            self.seen = Seen::Gone(pid);
            self.streams
                .err("The next command tries to reach it again.\n");
        }
    }
}

/// The next line, without its end. Of one that is too long, as much as shows that it is; the rest is skipped.
fn line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let limit = MAX_LINE as u64 + 2;
    let mut bytes = Vec::new();
    if input.take(limit).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let mut rest = bytes.clone();
    while rest.last() != Some(&b'\n') && !rest.is_empty() {
        rest.clear();
        input.take(limit).read_until(b'\n', &mut rest)?;
    }
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

/// Where the history is kept: in `$XDG_STATE_HOME`, usually `~/.local/state`. `None`: the user has no home.
fn history_file() -> Option<PathBuf> {
    let home = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = home("XDG_STATE_HOME").or_else(|| Some(home("HOME")?.join(".local/state")))?;
    let folder = state.join("alkaid");
    make_private(&folder).ok()?;
    Some(folder.join("history"))
}

fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(test)]
mod tests;
