// SPDX-License-Identifier: MIT
//! IPv6 as a guest sees it. What is expected is built by etherparse, or stands here byte by byte.

mod fits;
mod group;
mod icmp;
mod nd;
pub(crate) mod net;
mod on_demand;
mod router;
mod routing;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use etherparse::{IpNumber, Ipv6Header};
use vswitch::tables::PortId;
use vswitch::tables::routes::{Route, Target};
use vswitch::wire::{Mac, Vni};

use crate::lab::*;
use net::*;

/// Subnets `here` and `there`, routed, of one VPC: guest 1 of `here` at port 2, guest 2 at port 3, 9 on the peer host; of
/// `there` guest 4 at port 4, 7 on the peer host.
fn lab() -> (Lab, Net, Net) {
    lab_with(&[])
}

fn lab_with(further: &[Route]) -> (Lab, Net, Net) {
    let mut lab = Lab::new();
    let (mut here, mut there) = (Net::new(7, 1, 1, 0), Net::new(8, 2, 1, 1));
    connect(&mut [&mut here, &mut there], further);
    guest(&mut lab, port(2), 1, &here);
    guest(&mut lab, port(3), 2, &here);
    remote(&mut lab, 9, &here);
    guest(&mut lab, port(4), 4, &there);
    remote(&mut lab, 7, &there);
    lab.commit();
    (lab, here, there)
}

/// What guest 1 sends to its gateway's MAC, and what comes back from there.
fn to_gateway(here: &Net) -> [[u8; 6]; 2] {
    [here.mac(1), here.gateway_mac()]
}

fn from_gateway(here: &Net) -> [[u8; 6]; 2] {
    [here.gateway_mac(), here.mac(1)]
}
