// SPDX-License-Identifier: MIT
//! The command line itself.

use clap::{CommandFactory, Parser};

use crate::cli::{Cli, Client, Rpc, Subcommands};

fn parse(line: &str) -> Subcommands {
    Cli::try_parse_from(line.split(' ')).unwrap().command
}

#[test]
fn the_command_line_is_consistent_and_every_argument_is_explained() {
    let mut cli = Cli::command();
    cli.build();
    cli.clone().debug_assert();
    for command in cli.get_subcommands() {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{} {}",
                command.get_name(),
                argument.get_id()
            );
        }
    }
}

#[test]
fn subcommands_take_their_arguments() {
    assert!(
        matches!(parse("alkaid run a.conf"), Subcommands::Run(args) if args.file.ends_with("a.conf"))
    );
    let Subcommands::Replay(replay) =
        parse("alkaid replay --config c --goal-state a b --goal-state d --json")
    else {
        panic!()
    };
    assert_eq!((replay.goal_state.len(), replay.json), (3, true));
    let Subcommands::Client(Client::Exec(exec)) =
        parse("alkaid exec show ports --json --socket /tmp/s")
    else {
        panic!()
    };
    assert_eq!(
        (exec.command.join(" ").as_str(), exec.json),
        ("show ports", true)
    );
    assert_eq!(exec.socket.socket.unwrap().to_str(), Some("/tmp/s"));
    let Subcommands::Client(Client::Push(push)) = parse("alkaid push - --rpc v1") else {
        panic!()
    };
    assert_eq!(
        (push.rpc, push.to.as_str()),
        (Some(Rpc::V1), "127.0.0.1:50001")
    );
    let dry = parse("alkaid push --dry-run a b --socket /tmp/s");
    assert!(
        matches!(dry, Subcommands::Client(Client::Push(push)) if push.dry_run && push.files.len() == 2)
    );
}

#[test]
fn wrong_usage_is_status_2() {
    for line in [
        "alkaid",
        "alkaid rnu x",
        "alkaid exec",
        "alkaid push a --rpc v3",
        "alkaid push",
        "alkaid push a --socket s",
        "alkaid push a --dry-run --to 127.0.0.1:1",
        "alkaid replay --config c",
    ] {
        let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}
