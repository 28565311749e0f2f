// SPDX-License-Identifier: MIT
//! `alkaid dataset`: its arguments.

use std::path::PathBuf;

use clap::Args;
use ipnet::Ipv4Net;

use super::{EXIT_OK, EXIT_USAGE, Rpc, Streams};
use crate::dataset::{Form, MAX_PORTS, MAX_SUBNETS, Request, Scale, Shape, write};

/// Most messages' worth of ports and neighbors in one message: about 40 MB.
const MAX_PER_MESSAGE: i64 = 100_000;

/// Arguments of `alkaid dataset`.
#[derive(Args, Debug)]
pub(crate) struct DatasetArgs {
    /// What everything random follows from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// VPCs, of very different size
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PORTS)))]
    pub(crate) vpcs: u32,
    /// Hosts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PORTS)))]
    pub(crate) hosts: u32,
    /// Ports of all VPCs and hosts together
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PORTS)))]
    pub(crate) ports: u32,
    /// Subnets of each VPC that has as many ports
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SUBNETS)))]
    pub(crate) subnets: u32,
    /// Where hosts have their addresses, from the first on
    #[arg(long, value_name = "PREFIX", default_value = "172.16.0.0/12")]
    pub(crate) underlay: Ipv4Net,
    /// Whose habits the messages have
    #[arg(long, value_enum, default_value = "dpm")]
    pub(crate) shape: Shape,
    /// The call they are for: v1 is PushNetworkResourceStates with a GoalState, v2 is PushGoalStatesStream with a
    /// GoalStateV2
    #[arg(long, value_enum, default_value = "v2")]
    pub(crate) rpc: Rpc,
    /// Only the messages of this host, from 0 [default: those of all]
    #[arg(long, value_name = "INDEX")]
    pub(crate) host: Option<u32>,
    /// Ports, DHCP states and neighbors in one message
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=MAX_PER_MESSAGE))]
    pub(crate) per_message: u32,
    /// With a DHCP state for each port
    #[arg(long)]
    pub(crate) dhcp: bool,
    /// With a security group for each VPC
    #[arg(long)]
    pub(crate) security_groups: bool,
    /// The folder to write: it must not be there, or be empty
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
}

/// Writes a dataset; the exit status.
pub(super) fn run(args: &DatasetArgs, streams: &mut Streams) -> u8 {
    let request = Request {
        scale: Scale {
            seed: args.seed,
            vpcs: args.vpcs,
            ports: args.ports,
            hosts: args.hosts,
            subnets: args.subnets,
            underlay: args.underlay,
        },
        shape: args.shape,
        form: match args.rpc {
            Rpc::V1 => Form::V1,
            Rpc::V2 => Form::V2,
        },
        host: args.host,
        per_message: args.per_message,
        dhcp: args.dhcp,
        security_groups: args.security_groups,
    };
    match write(&request, &args.output) {
        Ok(totals) => {
            let resources = totals.resources;
            streams.out(&format!(
                "{}: {} messages, {} bytes; {} ports, {} neighbors\n",
                args.output.display(),
                totals.messages,
                totals.bytes,
                resources.ports,
                resources.neighbors
            ));
            EXIT_OK
        }
        Err(error) => {
            streams.err(&format!("alkaid: {error}\n"));
            EXIT_USAGE
        }
    }
}
