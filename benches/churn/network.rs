// SPDX-License-Identifier: MIT
//! The network that changes: neighbors, routes, and guests that each are a VPC of their own. What a thing is like in
//! its n-th version follows from the two numbers, so that neither side has to tell the other.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::sync::Arc;

use arrayvec::ArrayVec;
use vswitch::tables::routes::{Route, Target};
use vswitch::tables::snapshot::Writer;
use vswitch::tables::{
    Attachment, DomainId, Endpoints, Hop, HopId, Neighbor, NextHop, PortId, Role, RouteTable,
    TenantPort, Tunnel, Underlay, VpcId,
};
use vswitch::wire::{Mac, Vni};

use super::ports::{Seen, seen};

/// Neighbors that packets are routed to, by their addresses.
pub(crate) const NEIGHBORS: u32 = 10_000;
/// Prefixes that are routed through machines that stay.
pub(crate) const ROUTES: u32 = 200;
/// Guests that come, move and go.
pub(crate) const GUESTS: u32 = 8;
/// All things that change: neighbors first, then routes, then guests.
pub(crate) const THINGS: u32 = NEIGHBORS + ROUTES + GUESTS;

/// Machines that routes lead through.
const MACHINES: u32 = 16;
/// Hosts that neighbors are on.
const HOSTS: u64 = 2000;

pub(crate) const UPLINK: PortId = port(0);
const SENDER: PortId = port(1);
const VTEP: [u8; 4] = [192, 0, 2, 1];
const UPLINK_MAC: [u8; 6] = [2, 0xaa, 0, 0, 0, 1];
const GATEWAY: [u8; 6] = [0, 0, 0x5e, 0, 1, 1];
const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

const fn port(n: u16) -> PortId {
    PortId::new(n).unwrap()
}

fn vpc(n: u32) -> VpcId {
    VpcId(NonZeroU16::new(n as u16).unwrap())
}

fn domain(n: u32) -> DomainId {
    DomainId(NonZeroU16::new(n as u16).unwrap())
}

pub(crate) fn underlay() -> Underlay {
    Underlay {
        vtep: Some(VTEP.into()),
        vtep6: None,
        uplink: UPLINK,
        second: None,
        host_port: None,
        tunnel: Tunnel::default(),
    }
}

/// A number that looks random (splitmix64).
fn mix(thing: u32, version: u32) -> u64 {
    let mut z = (u64::from(thing) << 32 | u64::from(version)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Where a neighbor is: its host, the last two bytes of its MAC, and its VNI. It moves to another host three times,
/// becomes another machine in another subnet with the fourth change, and is away every sixteenth time.
fn place(thing: u32, version: u32) -> Option<(u16, u16, u16)> {
    let machine = mix(thing, (version / 4) | (1 << 31));
    let host = 0x300 + (mix(thing, version) % HOSTS) as u16;
    (version % 16 != 15).then_some((host, machine as u16, 1 + (machine >> 16) as u16 % 5000))
}

/// The machine that a route leads through; every eighth time there is no such route.
fn machine(route: u32, version: u32) -> Option<u32> {
    (version % 8 != 7).then_some(THINGS + (mix(route, version) % u64::from(MACHINES)) as u32)
}

/// The port of a guest: it comes, moves to another port, and goes.
fn guest_port(guest: u32, version: u32) -> Option<PortId> {
    let first = 2 + 2 * (guest - NEIGHBORS - ROUTES) as u16;
    [Some(port(first)), Some(port(first + 1)), None][version as usize % 3]
}

/// What the switch has to do with packets to a thing of this version; zero: drop them.
pub(crate) fn expected(thing: u32, version: u32) -> Seen {
    let remote = |(host, mac, vni)| seen(0, host, mac, vni);
    if thing < NEIGHBORS {
        place(thing, version).map_or(0, remote)
    } else if thing < NEIGHBORS + ROUTES {
        let machine = machine(thing, version).and_then(|machine| place(machine, 0));
        machine.map_or(0, remote)
    } else {
        guest_port(thing, version).map_or(0, |port| seen(port.get(), 0, thing as u16, 0))
    }
}

fn address(thing: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a02_0000 + thing)
}

fn prefix(route: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xc612_0000 + (route - NEIGHBORS) * 16)
}

fn guest_vni(guest: u32) -> u32 {
    6000 + guest - NEIGHBORS
}

/// A frame to a thing, as it comes in; its last 8 bytes are free.
pub(crate) fn frame(thing: u32) -> Vec<u8> {
    let guest = thing >= NEIGHBORS + ROUTES;
    let (dst_mac, dst) = match thing {
        _ if guest => (
            [2, 0, 0, 9, (thing >> 8) as u8, thing as u8],
            address(thing),
        ),
        ..NEIGHBORS => (GATEWAY, address(thing)),
        _ => (GATEWAY, Ipv4Addr::from(u32::from(prefix(thing)) + 1)),
    };
    let mut inner = Vec::new();
    let builder = etherparse::PacketBuilder::ethernet2(SENDER_MAC, dst_mac);
    let builder = builder.ipv4([10, 1, 0, 1], dst.octets(), 64);
    builder
        .udp(1024 + thing as u16 % 60_000, 9)
        .write(&mut inner, &[0; 18])
        .unwrap();
    inner[40..42].fill(0); // no UDP checksum: the number may be written over
    if !guest {
        return inner;
    }
    let mut vxlan = vec![8, 0, 0, 0];
    vxlan.extend((guest_vni(thing) << 8).to_be_bytes());
    vxlan.extend(inner);
    let mut outer = Vec::new();
    let builder = etherparse::PacketBuilder::ethernet2([2, 0xaa, 0, 0, 0, 9], UPLINK_MAC);
    let builder = builder.ipv4([192, 0, 2, 9], VTEP, 64).udp(50_000, 4789);
    builder.write(&mut outer, &vxlan).unwrap();
    outer[40..42].fill(0);
    outer
}

/// The side of the control plane.
pub(crate) struct Network {
    writer: Writer,
    /// By thing.
    versions: Vec<u32>,
    /// By neighbor: what it names.
    hops: Vec<Option<HopId>>,
}

impl Network {
    /// Everything in its version 0.
    pub(crate) fn new(mut writer: Writer) -> Self {
        writer.set_role(UPLINK, Role::Uplink);
        let versions = vec![0; THINGS as usize];
        let hops = vec![None; (THINGS + MACHINES) as usize];
        let mut network = Self {
            writer,
            versions,
            hops,
        };
        for thing in (0..NEIGHBORS).chain(THINGS..THINGS + MACHINES) {
            network.program_neighbor(thing, 0);
        }
        network.program_routes();
        for guest in NEIGHBORS + ROUTES..THINGS {
            network.program_guest(guest, 0);
        }
        network.settle();
        network
    }

    /// Gives a thing its next version; returns the version. Guests that move need two steps, see
    /// [`Network::move_guest`].
    pub(crate) fn change(&mut self, thing: u32) -> u32 {
        self.versions[thing as usize] += 1;
        let version = self.versions[thing as usize];
        if thing < NEIGHBORS {
            self.program_neighbor(thing, version);
        } else if thing >= NEIGHBORS + ROUTES {
            self.program_guest(thing, version);
        }
        version
    }

    /// To be called once after [`Network::change`] of routes: a route table is replaced as a whole.
    pub(crate) fn program_routes(&mut self) {
        let connected = Target::Connected(vpc(1));
        let mut routes = vec![route(Ipv4Addr::new(10, 2, 0, 0), 16, connected)];
        for thing in NEIGHBORS..NEIGHBORS + ROUTES {
            if let Some(machine) = machine(thing, self.versions[thing as usize]) {
                routes.push(route(
                    prefix(thing),
                    28,
                    Target::Via(vpc(1), address(machine).into()),
                ));
            }
        }
        let routes = Arc::new(RouteTable::build(&mut routes));
        let role = tenant(SENDER_MAC, 1, 1, [10, 1, 0, 0], routes);
        self.writer.set_role(SENDER, role);
    }

    /// If the guest has moved with its last change: says so to the neighbor tables, now that its new port is there.
    pub(crate) fn move_guest(&mut self, guest: u32) {
        let version = self.versions[guest as usize];
        if version % 3 == 1 {
            self.name_guest(guest, version);
        }
    }

    /// Commits, and waits until the worker sees it.
    pub(crate) fn settle(&mut self) {
        let commit = self.writer.commit();
        while !self.writer.settled(&commit) {
            std::hint::spin_loop();
        }
    }

    /// Commits, and waits for nobody; bytes and snapshots that wait for workers.
    pub(crate) fn commit(&mut self) -> (usize, usize) {
        let _ = self.writer.commit();
        let memory = self.writer.memory();
        (memory.old_bytes, memory.old_snapshots)
    }

    fn program_neighbor(&mut self, thing: u32, version: u32) {
        let old = self.hops[thing as usize].take();
        match place(thing, version) {
            None => self.writer.remove_ip(vpc(1), address(thing).into()),
            Some((host, mac, vni)) => {
                let hop = self.writer.acquire_hop(next_hop(host)).unwrap();
                let [a, b] = mac.to_be_bytes();
                let neighbor = Neighbor {
                    mac: Mac::new([2, 0, 0, 3, a, b]),
                    vni: Vni::new(vni.into()).unwrap(),
                    hop: Hop::Remote(hop),
                };
                self.writer
                    .upsert_ip(vpc(1), address(thing).into(), neighbor)
                    .unwrap();
                self.hops[thing as usize] = Some(hop);
            }
        }
        if let Some(old) = old {
            self.writer.release_hop(old);
        }
    }

    fn program_guest(&mut self, guest: u32, version: u32) {
        let domain = 2 + guest - NEIGHBORS;
        match version % 3 {
            0 | 1 => {
                let mac = [2, 0, 0, 9, (guest >> 8) as u8, guest as u8];
                let routes = Arc::new(RouteTable::empty());
                let role = tenant(mac, guest_vni(guest), domain, [10, 2, 0, 0], routes);
                let port = guest_port(guest, version);
                self.writer.set_role(port.unwrap_or(UPLINK), role);
                if version.is_multiple_of(3) {
                    self.name_guest(guest, version);
                }
            }
            _ => {
                for before in version - 2..version {
                    let port = guest_port(guest, before);
                    self.writer.set_role(port.unwrap_or(UPLINK), Role::Unbound);
                }
                self.writer
                    .remove_mac(self::domain(domain), guest_mac(guest));
                self.writer.remove_ip(vpc(domain), address(guest).into());
            }
        }
    }

    fn name_guest(&mut self, guest: u32, version: u32) {
        let number = 2 + guest - NEIGHBORS;
        let mac = guest_mac(guest);
        let neighbor = Neighbor {
            mac,
            vni: Vni::new(guest_vni(guest)).unwrap(),
            hop: Hop::Local(guest_port(guest, version).unwrap()),
        };
        self.writer
            .upsert_mac(domain(number), mac, neighbor)
            .unwrap();
        self.writer
            .upsert_ip(vpc(number), address(guest).into(), neighbor)
            .unwrap();
    }
}

fn guest_mac(guest: u32) -> Mac {
    Mac::new([2, 0, 0, 9, (guest >> 8) as u8, guest as u8])
}

fn route(prefix: Ipv4Addr, length: u8, target: Target) -> Route {
    Route {
        prefix: ipnet::Ipv4Net::new(prefix, length).unwrap().into(),
        priority: 100,
        target,
    }
}

fn tenant(mac: [u8; 6], vni: u32, number: u32, subnet: [u8; 4], routes: Arc<RouteTable>) -> Role {
    let attachment = Attachment {
        vni: Vni::new(vni).unwrap(),
        domain: domain(number),
        vpc: vpc(number),
        cidr: ipnet::Ipv4Net::new(subnet.into(), 16).unwrap().into(),
        gateway_mac: Some(Mac::new(GATEWAY)),
        gateway_ip: None,
        gateways: [].into(),
        host_dvr_mac: Some(Mac::new([0xfe, 0x16, 0x11, 0, 0, 0])),
        routes,
        advertisement: Arc::default(),
        group: None,
        replication: None,
    };
    Role::Tenant(Arc::new(TenantPort {
        mac: Mac::new(mac),
        admin_up: true,
        takes_tags: false,
        guard: None,
        lease: None,
        lease6: None,
        attachments: ArrayVec::from_iter([attachment]),
    }))
}

fn next_hop(host: u16) -> NextHop {
    let [a, b] = host.to_be_bytes();
    NextHop {
        port: UPLINK,
        endpoints: Endpoints::V4 {
            src: VTEP.into(),
            dst: Ipv4Addr::new(192, 0, a, b),
        },
        src_mac: Mac::new(UPLINK_MAC),
        dst_mac: Mac::new([2, 0xaa, 0, 0, a, b]),
        mtu: 1500,
    }
}
