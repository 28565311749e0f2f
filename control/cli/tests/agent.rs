// SPDX-License-Identifier: MIT
//! The Alcor Control Agent's flags.

use clap::{CommandFactory, Parser};

use crate::cli::agent::{Agent, AgentFlags, FlagError};
use crate::cli::{Cli, Subcommands};
use crate::config::{Conflict, Level, Settings, parse_text};

fn flags(line: &str) -> AgentFlags {
    let words = line.split_whitespace();
    Agent::try_parse_from(std::iter::once("AlcorControlAgent").chain(words))
        .unwrap()
        .flags
}

/// What flags make of a file.
fn applied(line: &str, file: &str) -> Result<Settings, FlagError> {
    let file = format!("port attach net_null0\nset vtep 192.0.2.1/24 port 0\n{file}");
    let commands = parse_text("f", &file).unwrap();
    let settings = Settings::of_agent().with_commands(&commands).unwrap();
    flags(line).applied(settings)
}

#[test]
fn the_agents_own_command_line_is_taken() {
    let settings = applied("-d -a 10.0.0.5 -p 9017", "").unwrap();
    assert_eq!(
        settings.on_demand.ncm,
        Some("10.0.0.5:9017".parse().unwrap())
    );
    assert_eq!(settings.log, Level::Debug);
    assert_eq!(settings.southbound, Some("0.0.0.0:50001".parse().unwrap()));
    assert_eq!(settings.subscribe, Some("0.0.0.0:50002".parse().unwrap()));
    assert!(settings.metrics_log);
    let all = "-a 10.0.0.5 -p 9016 -b pulsar://x -h topic -g group -k 0 -s 50011 -c add-flow -t br-int -o --x -m -d";
    let settings = applied(all, "").unwrap();
    assert_eq!(settings.southbound.map(|listen| listen.port()), Some(50011));
    let ignored = flags(all).ignored();
    let named: Vec<&str> = ignored.iter().map(|line| &line[..2]).collect();
    assert_eq!(named, ["-b", "-h", "-g", "-k", "-c", "-t", "-o", "-m"]);
    assert!(flags("-d -a 10.0.0.5").ignored().is_empty());
}

#[test]
fn run_takes_them_beside_its_file() {
    let parse = |line: &str| match Cli::parse_from(line.split(' ')).command {
        Subcommands::Run(args) => args,
        other => panic!("{other:?}"),
    };
    let args = parse("alkaid run a.conf -d -a 10.0.0.5 -p 9016");
    assert!(args.file.ends_with("a.conf") && args.agent == flags("-d -a 10.0.0.5 -p 9016"));
    assert!(!parse("alkaid run a.conf").agent.are_given());
    assert!(parse("alkaid run -h topic a.conf").agent.are_given());
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_what_flags_bring_along() {
    let file = "set ncm 10.0.0.6:9020\nset southbound listen 10.0.0.1:50001\nset log trace";
    let settings = applied("-a 10.0.0.5 -s 50009 -d", file).unwrap();
    assert_eq!(
        settings.on_demand.ncm,
        Some("10.0.0.5:9020".parse().unwrap())
    );
    assert_eq!(settings.southbound, Some("10.0.0.1:50009".parse().unwrap()));
    assert_eq!(settings.log, Level::Trace);
    let settings = applied("-p 9021", file).unwrap();
    assert_eq!(
        settings.on_demand.ncm,
        Some("10.0.0.6:9021".parse().unwrap())
    );
    let settings = applied("-d", "set subscribe off\nset metrics-log off").unwrap();
    assert_eq!((settings.subscribe, settings.metrics_log), (None, false));
    assert_eq!(settings.on_demand.ncm, None);
    let settings = applied("-d", "set southbound off").unwrap();
    assert_eq!(settings.southbound, None);
}

#[test]
fn contradictions_are_named() {
    assert_eq!(applied("-p 9016", ""), Err(FlagError::NoNcm(9016)));
    assert!(matches!(
        applied("-s 50002", ""),
        Err(FlagError::Conflict(Conflict::SameSocket(_)))
    ));
    let bare = parse_text("f", "set southbound off").unwrap();
    let bare = Settings::of_agent().with_commands(&bare).unwrap();
    let error = flags("-s 50001").applied(bare.clone()).unwrap_err();
    assert_eq!(error, FlagError::Conflict(Conflict::NoVtep));
    let error = flags("-a 10.0.0.5").applied(bare).unwrap_err();
    assert_eq!(error, FlagError::Conflict(Conflict::NeedsVtep));
    for wrong in [
        "-a ncm",
        "-a 0.0.0.0",
        "-a",
        "-p 0",
        "-p x",
        "-s 65536",
        "-x",
        "-d -d",
        "file",
    ] {
        let words = wrong.split(' ');
        let words = std::iter::once("AlcorControlAgent").chain(words);
        let error = Agent::try_parse_from(words).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{wrong}");
    }
}

#[test]
fn every_flag_is_explained() {
    for argument in Agent::command().get_arguments() {
        assert!(argument.get_help().is_some(), "{}", argument.get_id());
    }
    let help = Agent::command().render_long_help().to_string();
    assert!(help.contains("ALKAID_CONFIG"), "{help}");
}
