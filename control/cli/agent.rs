// SPDX-License-Identifier: MIT
//! The Alcor Control Agent's flags, so that this switch can be started in its place.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, Parser};

use crate::config::{Conflict, DEFAULT_SOUTHBOUND, Level, NCM_PORT, Settings};

/// The name that the agent's program has.
const PROGRAM: &str = "AlcorControlAgent";

/// The configuration file when the agent's flags are all there is.
const DEFAULT_FILE: &str = "/etc/alkaid/alkaid.conf";

/// Names another one.
const FILE_VARIABLE: &str = "ALKAID_CONFIG";

/// `AlcorControlAgent`: a link of this name to the program takes the agent's command line.
///
/// The configuration file is /etc/alkaid/alkaid.conf, or what the environment variable ALKAID_CONFIG names.
#[derive(Parser, Debug)]
#[command(name = PROGRAM, version, disable_help_flag = true, max_term_width = 100)]
pub(crate) struct Agent {
    /// The flags.
    #[command(flatten)]
    pub(crate) flags: AgentFlags,
    /// Print help
    #[arg(long, action = ArgAction::HelpLong)]
    help: Option<bool>,
}

impl Agent {
    /// True if the program was called by the agent's name.
    pub(crate) fn is_called() -> bool {
        let name = std::env::args_os().next().map(PathBuf::from);
        name.is_some_and(|name| name.file_name().is_some_and(|name| name == PROGRAM))
    }

    /// The configuration file.
    pub(crate) fn file() -> PathBuf {
        let named = std::env::var_os(FILE_VARIABLE).filter(|path| !path.is_empty());
        named.map_or_else(|| Path::new(DEFAULT_FILE).to_owned(), PathBuf::from)
    }
}

/// The agent's flags. One that is given wins over the configuration file, and any of them makes this switch serve
/// what the agent serves.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
#[command(next_help_heading = "Alcor Control Agent's flags")]
pub(crate) struct AgentFlags {
    /// The network configuration manager's address (`set ncm`)
    #[arg(short = 'a', value_name = "NCM_IP", value_parser = station)]
    ncm_ip: Option<IpAddr>,
    /// Its TCP port [default: 9016]
    #[arg(short = 'p', value_name = "NCM_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    ncm_port: Option<u16>,
    /// The TCP port where goal states arrive (`set southbound listen`) [default: 50001]
    #[arg(short = 's', value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Log more (`set log debug`)
    #[arg(short = 'd')]
    debug: bool,
    /// No effect: Pulsar's brokers
    #[arg(short = 'b', value_name = "BROKERS")]
    brokers: Option<String>,
    /// No effect: Pulsar's topic (help is --help)
    #[arg(short = 'h', value_name = "TOPIC")]
    topic: Option<String>,
    /// No effect: Pulsar's subscription
    #[arg(short = 'g', value_name = "SUBSCRIPTION")]
    subscription: Option<String>,
    /// No effect: Pulsar's key
    #[arg(short = 'k', value_name = "KEY")]
    key: Option<String>,
    /// No effect: a command of ovs-ofctl
    #[arg(short = 'c', value_name = "COMMAND", allow_hyphen_values = true)]
    ofctl_command: Option<String>,
    /// No effect: the bridge for ovs-ofctl
    #[arg(short = 't', value_name = "TARGET", allow_hyphen_values = true)]
    ofctl_target: Option<String>,
    /// No effect: options for ovs-ofctl
    #[arg(short = 'o', value_name = "OPTIONS", allow_hyphen_values = true)]
    ofctl_options: Option<String>,
    /// No effect: demo mode
    #[arg(short = 'm')]
    demo: bool,
}

/// An address that a manager can have.
fn station(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text
        .parse()
        .map_err(|error: std::net::AddrParseError| error.to_string())?;
    match ip.is_unspecified() || ip.is_multicast() {
        true => Err("no single machine has this IP address".to_owned()),
        false => Ok(ip),
    }
}

/// Why flags and configuration file do not go together.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum FlagError {
    /// The manager's port without its address.
    #[error(
        "-p {0}: the network configuration manager's address is missing: give -a, or `set ncm` in the file"
    )]
    NoNcm(u16),
    /// What the flags make of the file contradicts itself.
    #[error("with the Alcor Control Agent's flags {0}")]
    Conflict(Conflict),
}

impl AgentFlags {
    /// True if there is any.
    pub(crate) fn are_given(&self) -> bool {
        *self != Self::default()
    }

    /// The settings with what the flags say.
    ///
    /// # Errors
    /// That contradicts itself.
    pub(crate) fn applied(&self, mut settings: Settings) -> Result<Settings, FlagError> {
        let ip = self.ncm_ip.or(settings.on_demand.ncm.map(|ncm| ncm.ip()));
        let port = self
            .ncm_port
            .or(settings.on_demand.ncm.map(|ncm| ncm.port()));
        settings.on_demand.ncm = match (ip, self.ncm_port) {
            (None, Some(port)) => return Err(FlagError::NoNcm(port)),
            (ip, _) => ip.map(|ip| SocketAddr::new(ip, port.unwrap_or(NCM_PORT))),
        };
        if let Some(port) = self.port {
            let listen = settings.southbound.unwrap_or(DEFAULT_SOUTHBOUND);
            settings.southbound = Some(SocketAddr::new(listen.ip(), port));
        }
        if self.debug {
            settings.log = settings.log.max(Level::Debug);
        }
        let asking = settings.asking_conflict();
        match settings.listening_conflict().or(asking) {
            Some(conflict) => Err(FlagError::Conflict(conflict)),
            None => Ok(settings),
        }
    }

    /// The flags that were given and have no effect here, each with why.
    pub(crate) fn ignored(&self) -> Vec<String> {
        const PULSAR: &str = "goal states come by gRPC and files, not by Pulsar";
        const OFCTL: &str = "there is no OpenFlow bridge to run ovs-ofctl on";
        const DEMO: &str = "ports are those of the configuration file";
        let all = [
            ("-b", self.brokers.is_some(), PULSAR),
            ("-h", self.topic.is_some(), PULSAR),
            ("-g", self.subscription.is_some(), PULSAR),
            ("-k", self.key.is_some(), PULSAR),
            ("-c", self.ofctl_command.is_some(), OFCTL),
            ("-t", self.ofctl_target.is_some(), OFCTL),
            ("-o", self.ofctl_options.is_some(), OFCTL),
            ("-m", self.demo, DEMO),
        ];
        let given = all.into_iter().filter(|(_, given, _)| *given);
        given
            .map(|(flag, _, why)| format!("{flag} has no effect here: {why}"))
            .collect()
    }
}
