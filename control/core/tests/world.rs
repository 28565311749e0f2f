// SPDX-License-Identifier: MIT
//! A switch without packets: a core, and a worker's view of its tables.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;
use serde_json::Value;
use vswitch::tables::rcu::Reader;
use vswitch::tables::routes::Target;
use vswitch::tables::snapshot::{Registrar, tables};
use vswitch::tables::{
    Hop, HopId, Lease, Lease6, Neighbor, PortId, Role, Tables, TenantPort, Tunnel, Underlay,
};
use vswitch::wire::Mac;

use super::export::exported;
use super::goal::State;
use super::goal::v1;
use crate::core::watchdog::GRACE;
use crate::core::{Core, Goal, Link, PortRules, Replicated, Show, Site, Uplink};
use crate::families::Families;
use crate::proto::schema::{GoalStateOperationReply, OperationStatus};
use crate::southbound::decode::Encoded;

pub(super) const UPLINK: PortId = PortId::new(0).unwrap();
pub(super) const SECOND: PortId = PortId::new(4).unwrap();
pub(super) const PORT_A: PortId = PortId::new(1).unwrap();
pub(super) const PORT_B: PortId = PortId::new(2).unwrap();

/// Every address and every MAC that tests use, to look up.
fn addresses() -> impl Iterator<Item = IpAddr> {
    let v4 = |(a, b)| (0..=255).map(move |n| IpAddr::from([10, a, b, n]));
    let few = || (0..0x20).chain(0x100..0x110);
    let v6 = move |(a, b)| few().map(move |n| IpAddr::from([0x2001, 0xdb8, a, b, 0, 0, 0, n]));
    let v4 = [(7, 1), (7, 2), (8, 3)].into_iter().flat_map(v4);
    let v6 = [(7, 1), (8, 3)].into_iter().flat_map(v6);
    let by_rule = [
        "203.0.113.5",
        "203.0.113.200",
        "198.18.0.9",
        "2001:db8:203::5",
    ];
    let by_rule = by_rule.map(|ip| ip.parse().unwrap());
    v4.chain(v6).chain(by_rule)
}

fn macs() -> impl Iterator<Item = Mac> {
    (0..=1).flat_map(|m| (0..=255).map(move |n| Mac::new([2, 0, 0, 0, m, n])))
}

const VTEP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const VTEP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);

/// The host: VTEP 192.0.2.1 on port 0.
pub(super) fn site() -> Site {
    let link = Link {
        vtep: IpNet::new(VTEP.into(), 24).unwrap(),
        gateway: None,
    };
    let uplink = Uplink {
        links: Families {
            v4: Some(link),
            v6: None,
        },
        port: UPLINK,
        mac: Mac::new([2, 0xaa, 0, 0, 0, 1]),
        mtu: 1600,
        neighbors: HashMap::new(),
        learned: HashMap::new(),
    };
    Site {
        uplinks: vec![uplink],
        host_port: None,
        anti_spoofing: true,
        rules: HashMap::new(),
        replicated: Replicated::default(),
    }
}

/// The same with a VTEP of IPv6 too: 2001:db8:ff::1/64.
pub(super) fn dual_site() -> Site {
    let mut site = site();
    let uplink = &mut site.uplinks[0];
    uplink.links.v6 = Some(Link {
        vtep: IpNet::new(VTEP6.into(), 64).unwrap(),
        gateway: None,
    });
    site
}

/// With a second uplink at port 4: 198.51.100.1/24 and a router there that knows all, or, with `six`, 2001:db8:ff::1/64.
pub(super) fn two_uplinks(six: bool) -> Site {
    let mut site = if six { dual_site() } else { site() };
    let mut second = site.uplinks[0].clone();
    (second.port, second.mac) = (SECOND, Mac::new([2, 0xaa, 0, 0, 0, 2]));
    second.links.v4 = (!six).then(|| Link {
        vtep: "198.51.100.1/24".parse().unwrap(),
        gateway: Some((
            [198, 51, 100, 254].into(),
            Some(Mac::new([2, 0xaa, 0, 0, 1, 0xfe])),
        )),
    });
    site.uplinks[0].links.v6 = None;
    site.uplinks.push(second);
    site
}

pub(super) struct World {
    pub(super) core: Core,
    pub(super) registrar: Registrar,
    reader: Reader<Tables>,
}

impl World {
    /// VTEP 192.0.2.1 on port 0; the controller's "port-a" is port 1 and "port-b" port 2.
    pub(super) fn new() -> Self {
        let mut world = Self::unbound(1 << 16);
        world.bind(PORT_A, "port-a");
        world.bind(PORT_B, "port-b");
        world
    }

    /// At a [`dual_site`].
    pub(super) fn dual() -> Self {
        let mut world = Self::at(dual_site(), 1 << 16);
        world.bind(PORT_A, "port-a");
        world
    }

    /// The first without ports bound, and with room for so many neighbors.
    pub(super) fn unbound(capacity: usize) -> Self {
        Self::at(site(), capacity)
    }

    /// At this place, without ports bound.
    pub(super) fn at(site: Site, capacity: usize) -> Self {
        let mut uplinks = site.uplinks.iter().map(|uplink| {
            let (mut vtep, mut vtep6) = (None, None);
            for own in uplink.vteps() {
                match own {
                    IpAddr::V4(own) => vtep = Some(own),
                    IpAddr::V6(own) => vtep6 = Some(own),
                }
            }
            vswitch::tables::Uplink {
                port: uplink.port,
                vtep,
                vtep6,
            }
        });
        let first = uplinks.next().unwrap();
        let underlay = Underlay {
            vtep: first.vtep,
            vtep6: first.vtep6,
            uplink: first.port,
            second: uplinks.next(),
            host_port: None,
            tunnel: Tunnel::default(),
        };
        drop(uplinks);
        let (writer, registrar) = tables(Some(underlay), capacity);
        let mut core = Core::new(site, writer);
        core.make_visible(GRACE);
        let mut reader = registrar.reader("test").unwrap();
        reader.offline();
        Self {
            core,
            registrar,
            reader,
        }
    }

    pub(super) fn bind(&mut self, port: PortId, id: &str) {
        self.core.bind(port, id).unwrap();
        assert!(self.core.make_visible(GRACE));
        self.core.wanted.sweep();
    }

    pub(super) fn unbind(&mut self, port: PortId) {
        self.core.unbind(port).unwrap();
        assert!(self.core.make_visible(GRACE));
        self.core.wanted.sweep();
    }

    pub(super) fn apply(&mut self, goal: Goal) -> GoalStateOperationReply {
        let reply = self.core.apply("test", &Encoded::from(&goal)).unwrap();
        self.check();
        reply
    }

    /// Applies states in one message and returns the status of each, in the order of the reply.
    pub(super) fn put(&mut self, states: impl IntoIterator<Item = State>) -> Vec<OperationStatus> {
        statuses(&self.apply(v1(states)))
    }

    /// Applies states that must all succeed.
    pub(super) fn succeed(&mut self, states: impl IntoIterator<Item = State>) {
        let statuses = self.put(states);
        assert!(
            statuses
                .iter()
                .all(|status| *status == OperationStatus::Success),
            "{statuses:?}"
        );
    }

    /// The rows of a list, as operators see it.
    pub(super) fn show(&mut self, what: Show) -> Vec<Value> {
        let rows = self.core.program.show(&self.core.wanted, what);
        rows.as_array().unwrap().clone()
    }

    /// Why resources wait, in the order of the list.
    pub(super) fn reasons(&mut self) -> Vec<String> {
        let rows = self.show(Show::Pending).into_iter();
        rows.map(|row| row["reason"].as_str().unwrap().to_owned())
            .collect()
    }

    /// All that is wanted, in the controller's shape, and how each list looks to operators.
    pub(super) fn wanted(&mut self) -> String {
        let mut lines: Vec<_> = exported(&self.core.wanted)
            .into_iter()
            .map(|state| format!("{state:?}"))
            .collect();
        for what in [Show::Vpcs, Show::Subnets, Show::Ports, Show::Neighbors] {
            lines.extend(self.show(what).iter().map(Value::to_string));
        }
        for what in [
            Show::SecurityGroups,
            Show::Dhcp,
            Show::Gateways,
            Show::Pending,
        ] {
            lines.extend(self.show(what).iter().map(Value::to_string));
        }
        lines.sort_unstable();
        lines.join("\n")
    }

    /// How many snapshots were published.
    pub(super) fn publications(&self) -> u64 {
        self.core.program.publications()
    }

    /// Asserts that what is programmed agrees with itself and with the tables.
    pub(super) fn check(&mut self) {
        let tables = self.reader.pin();
        self.core
            .program
            .assert_consistent(&self.core.wanted, &tables);
        drop(tables);
        self.reader.offline();
    }

    /// All that a worker can find out, without the numbers that the control plane chose: equal texts, equal
    /// behaviour.
    pub(super) fn see(&mut self) -> String {
        let tables = self.reader.pin();
        let mut text = String::new();
        for port in (0..4).filter_map(PortId::new) {
            let Role::Tenant(tenant) = tables.role(port) else {
                continue;
            };
            writeln!(
                text,
                "port {} {} up={}",
                port.get(),
                tenant.mac,
                tenant.admin_up
            )
            .unwrap();
            if let Some(lease) = &tenant.lease {
                writeln!(text, " told {lease:?}").unwrap();
            }
            if let Some(lease) = &tenant.lease6 {
                writeln!(text, " told {lease:?}").unwrap();
            }
            for attachment in &tenant.attachments {
                let (gateway, dvr) = (attachment.gateway_mac, attachment.host_dvr_mac);
                writeln!(
                    text,
                    " in {} vni {} gateway {gateway:?} dvr {dvr:?} at {:?} of {:?}",
                    attachment.cidr, attachment.vni, attachment.gateway_ip, attachment.gateways
                )
                .unwrap();
                if let Some(group) = &attachment.group {
                    let flows = (0..1 << 12).map(|n| n << 20);
                    let machines = flows.map(|flow| machine(&tables, group.hop(flow)));
                    let all: BTreeSet<_> = machines.collect();
                    let all = Vec::from_iter(all).join(" ");
                    writeln!(text, "  what lacks a neighbor: {all}").unwrap();
                    for flow in (0..16).map(|n| n << 28) {
                        let machine = machine(&tables, group.hop(flow));
                        writeln!(text, "   flow {flow:x}: {machine}").unwrap();
                    }
                }
                if let Some(replication) = &attachment.replication {
                    let hosts = replication.hosts.iter();
                    let hosts: Vec<_> = hosts.map(|hop| host(&tables, *hop)).collect();
                    let (rate, hosts) = (replication.rate, hosts.join(", "));
                    writeln!(text, "  {rate} copies a second to {hosts}").unwrap();
                }
                for mac in macs() {
                    if let Some(found) = tables.neighbors.find_mac(attachment.domain, mac) {
                        assert_eq!(found.mac, mac);
                        writeln!(text, "  {mac}: {}", show(&tables, found)).unwrap();
                    }
                }
                for ip in addresses() {
                    for target in attachment.routes.lookup(ip) {
                        let found = match target {
                            Target::Connected(vpc) => tables.neighbors.find_ip(vpc, ip),
                            Target::Via(vpc, hop) => tables.neighbors.find_ip(vpc, hop),
                            Target::Blackhole => {
                                writeln!(text, "  {ip}: nowhere").unwrap();
                                continue;
                            }
                        };
                        if let Some(found) = found {
                            writeln!(text, "  {ip}: {}", show(&tables, found)).unwrap();
                        }
                    }
                }
            }
        }
        drop(tables);
        self.reader.offline();
        let memory = self.core.program.usage();
        writeln!(text, "entries {memory:?}").unwrap();
        text
    }

    /// What workers tell the guest at port 1 by DHCP.
    pub(super) fn lease(&mut self) -> Option<Arc<Lease>> {
        self.guest(PORT_A)?.lease.clone()
    }

    /// The same by DHCPv6.
    pub(super) fn lease6(&mut self) -> Option<Arc<Lease6>> {
        self.guest(PORT_A)?.lease6.clone()
    }

    /// What workers know of a port's guest.
    pub(super) fn guest(&mut self, port: PortId) -> Option<Arc<TenantPort>> {
        let tables = self.reader.pin();
        let guest = match tables.role(port) {
            Role::Tenant(tenant) => Some(Arc::clone(tenant)),
            _ => None,
        };
        drop(tables);
        self.reader.offline();
        guest
    }

    /// Says what holds at a port.
    pub(super) fn rule(&mut self, port: PortId, rules: PortRules) {
        self.core.set_rules(port, rules).unwrap();
        assert!(self.core.make_visible(GRACE));
        self.check();
    }

    /// Says in which subnets there is replication.
    pub(super) fn replicate(&mut self, id: Option<&str>, rate: Option<u32>) {
        self.core.set_replicated(id, rate).unwrap();
        assert!(self.core.make_visible(GRACE));
        self.check();
    }

    /// What the tables say of an address in the VPC of the first subnet of port 1.
    pub(super) fn find(&mut self, ip: &str) -> Option<String> {
        let tables = self.reader.pin();
        let Role::Tenant(tenant) = tables.role(PORT_A) else {
            panic!("port 1 is no tenant's")
        };
        let found = tables
            .neighbors
            .find_ip(tenant.attachments[0].vpc, ip.parse().unwrap());
        let text = found.map(|found| show(&tables, found));
        drop(tables);
        self.reader.offline();
        text
    }
}

/// The outer header towards a next hop.
fn header(tables: &Tables, hop: HopId) -> [u8; 64] {
    let mut header = [0; 64];
    let words = tables.neighbors.hops.template(hop).words;
    header
        .chunks_mut(8)
        .zip(words)
        .for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_ne_bytes()));
    header
}

/// The machine that has this address and the MAC that goes with it.
fn machine(tables: &Tables, hop: HopId) -> String {
    let header = header(tables, hop);
    assert_eq!(header[..6], [2, 0xaa, 0, 0, 1, header[33]]);
    format!("192.0.2.{}", header[33])
}

fn show(tables: &Tables, found: Neighbor) -> String {
    let place = match found.hop {
        Hop::Local(port) => format!("port {}", port.get()),
        Hop::Remote(hop) => host(tables, hop),
    };
    format!("{} vni {} {place}", found.mac, found.vni)
}

fn host(tables: &Tables, hop: HopId) -> String {
    let header = header(tables, hop);
    match tables.neighbors.hops.template(hop).is_over_ipv6() {
        true => format!("host ..::{:x} mac ..:{:02x}", header[53], header[5]),
        false => format!("host 192.0.2.{} mac ..:{:02x}", header[33], header[5]),
    }
}

pub(super) fn statuses(reply: &GoalStateOperationReply) -> Vec<OperationStatus> {
    reply
        .operation_statuses
        .iter()
        .map(|status| status.operation_status())
        .collect()
}
