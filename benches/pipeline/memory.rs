// SPDX-License-Identifier: MIT
//! What the workers' tables take, by entry.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use ipnet::Ipv4Net;
use vswitch::counters::PortCounters;
use vswitch::tables::routes::{Route, Target};
use vswitch::tables::{Attachment, DomainId, MAX_VNIS, RouteTable, TenantPort, VniTable, VpcId};
use vswitch::wire::Vni;

use crate::scene::{Over, Scene};

pub(crate) fn print() {
    for neighbors in [1_000, 100_000, 1_000_000] {
        let [by_mac, by_ip, ..] = Scene::new(neighbors, Over::Ipv4).writer.memory().tables;
        let bytes = (by_mac.bytes + by_ip.bytes) as f64 / f64::from(neighbors);
        println!("neighbor, of {neighbors}: {bytes:.1} bytes in both tables");
    }
    for count in [16, 256, 4_096, 100_000] {
        let table = RouteTable::build(&mut (0..count).map(route).collect());
        let bytes = table.memory() as f64 / table.len() as f64;
        println!("route, of {}: {bytes:.1} bytes", table.len());
    }
    let vnis = (1..=MAX_VNIS as u16)
        .filter_map(|n| Some((Vni::new(n.into())?, DomainId(NonZeroU16::new(n)?))));
    let table = VniTable::build(vnis);
    println!(
        "VNI, of {}: {} bytes",
        table.len(),
        table.memory() / table.len()
    );
    println!(
        "port: {} bytes with room for its subnets ({} each), and counters of {} per worker",
        size_of::<TenantPort>(),
        size_of::<Attachment>(),
        size_of::<PortCounters>()
    );
}

/// Prefixes of /24 and longer that do not touch, each with a next hop of its own.
fn route(n: u32) -> Route {
    let hop = Ipv4Addr::from(0x0a40_0000 + n);
    Route {
        prefix: Ipv4Net::new_assert(Ipv4Addr::from(0x2000_0000 + n * 0x0900), 24 + n as u8 % 9)
            .into(),
        priority: 1,
        target: Target::Via(VpcId(NonZeroU16::MIN), hop.into()),
    }
}
