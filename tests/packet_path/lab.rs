// SPDX-License-Identifier: MIT
//! A switch in memory: real tables, real worker, ports that are queues. Frames are built by etherparse, never
//! by the switch's own wire code.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::sync::Arc;

use etherparse::{IpNumber, PacketBuilder};
use vswitch::counters::capture::{Event, Seen, Wanted};
use vswitch::counters::{DropReason, PortTotals, WorkerCounters, total};
use vswitch::io::memory::{MemoryFrame, MemoryRx, MemoryTx, Wire, wire};
use vswitch::stage::transmit::Link;
use vswitch::tables::routes::{Route, Target};
use vswitch::tables::snapshot::{Registrar, Writer, tables};
use vswitch::tables::{
    Attachment, DomainId, Endpoints, GatewayGroup, Hop, Lease, Lease6, Neighbor, NextHop, PortId,
    Replication, Role, RouteTable, TenantPort, Tunnel, Underlay, VpcId,
};
use vswitch::wire::{Mac, Vni};
use vswitch::worker::Worker;

pub(crate) const UPLINK: PortId = port(0);
pub(crate) const HOST: PortId = port(1);
pub(crate) const VTEP: [u8; 4] = [192, 0, 2, 1];
pub(crate) const PEER: [u8; 4] = [192, 0, 2, 2];
pub(crate) const VTEP6: [u8; 16] = underlay6(1);
pub(crate) const PEER6: [u8; 16] = underlay6(2);
pub(crate) const UPLINK_MAC: [u8; 6] = [0x02, 0xaa, 0, 0, 0, 1];
pub(crate) const PEER_MAC: [u8; 6] = [0x02, 0xaa, 0, 0, 0, 2];
pub(crate) const DVR: [u8; 6] = [0xfe, 0x16, 0x11, 0, 0, 0];
pub(crate) const PORTS: u16 = 8;

pub(crate) const fn port(id: u16) -> PortId {
    PortId::new(id).unwrap()
}

pub(crate) fn domain(id: u16) -> DomainId {
    DomainId(NonZeroU16::new(id).unwrap())
}

pub(crate) fn vpc(id: u16) -> VpcId {
    VpcId(NonZeroU16::new(id).unwrap())
}

/// Host `n` of the underlay: 2001:db8:ff::n.
pub(crate) const fn underlay6(n: u8) -> [u8; 16] {
    [0x20, 1, 0xd, 0xb8, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, n]
}

/// MAC of guest `n` of VNI `vni`, and its gateway's.
pub(crate) fn guest_mac(vni: u32, n: u8) -> [u8; 6] {
    [0x02, 0, 0, vni as u8, 0, n]
}

pub(crate) fn gateway_mac(vni: u32, subnet: u8) -> [u8; 6] {
    [0x02, 0xff, 0, vni as u8, subnet, 1]
}

pub(crate) struct Lab {
    pub(crate) writer: Writer,
    #[allow(dead_code, reason = "tests/no_allocation makes workers of its own")]
    pub(crate) registrar: Registrar,
    pub(crate) worker: Worker<MemoryRx, MemoryTx>,
    pub(crate) rx: Vec<Wire>,
    pub(crate) tx: Vec<Wire>,
    pub(crate) counters: Arc<WorkerCounters>,
    /// Of the underlay, for next hops made from now on.
    pub(crate) mtu: u16,
    /// What guests that are made from now on are told by DHCP.
    pub(crate) lease: Option<Arc<Lease>>,
    /// The same by DHCPv6.
    pub(crate) lease6: Option<Arc<Lease6>>,
    /// Whether they take VLAN tags.
    pub(crate) takes_tags: bool,
    /// Copies of all frames so far, as far as they were looked at.
    seen: RefCell<Vec<Seen>>,
}

impl Lab {
    /// Port 0 is the uplink, port 1 the host port, 2 to 7 are free for guests.
    pub(crate) fn new() -> Self {
        let underlay = Underlay {
            vtep: Some(VTEP.into()),
            vtep6: None,
            uplink: UPLINK,
            second: None,
            host_port: Some(HOST),
            tunnel: Tunnel::default(),
        };
        Self::with(Some(underlay))
    }

    /// The same with a VTEP of IPv6 too.
    pub(crate) fn dual(host_port: Option<PortId>, tunnel: Tunnel) -> Self {
        Self::with(Some(Underlay {
            vtep: Some(VTEP.into()),
            vtep6: Some(VTEP6.into()),
            uplink: UPLINK,
            second: None,
            host_port,
            tunnel,
        }))
    }

    pub(crate) fn with(underlay: Option<Underlay>) -> Self {
        let (mut writer, registrar) = tables(underlay, 1 << 16);
        writer.set_role(UPLINK, Role::Uplink);
        writer.set_role(HOST, Role::Host);
        let rx: Vec<_> = (0..PORTS).map(|_| wire(512)).collect();
        let tx: Vec<_> = (0..PORTS).map(|_| wire(512)).collect();
        let counters = Arc::new(WorkerCounters::default());
        let reader = registrar.reader("lab").unwrap();
        let mut worker = Worker::new(reader, Arc::clone(&counters), 32);
        for (i, (rx, tx)) in (0..).zip(rx.iter().zip(&tx)) {
            let link = Link::Own(MemoryTx(Arc::clone(tx)));
            worker.add_port(port(i), vec![MemoryRx(Arc::clone(rx))], Some(link));
        }
        let mut lab = Self {
            writer,
            registrar,
            worker,
            rx,
            tx,
            counters,
            mtu: u16::MAX,
            lease: None,
            lease6: None,
            takes_tags: false,
            seen: RefCell::default(),
        };
        lab.counters.capture.start(1, &Wanted::ALL);
        lab.commit();
        lab
    }

    /// Publishes what was edited and lets the worker pass the grace periods.
    pub(crate) fn commit(&mut self) {
        let commit = self.writer.commit();
        for _ in 0..10 {
            if self.writer.settled(&commit) {
                return;
            }
            self.worker.poll();
        }
        panic!("a polling worker did not let the commit settle");
    }

    pub(crate) fn hop(&mut self, ip: [u8; 4], mac: [u8; 6]) -> Hop {
        let (src, dst) = (VTEP.into(), ip.into());
        self.hop_by(Endpoints::V4 { src, dst }, mac)
    }

    pub(crate) fn hop6(&mut self, ip: [u8; 16], mac: [u8; 6]) -> Hop {
        let (src, dst) = (VTEP6.into(), ip.into());
        self.hop_by(Endpoints::V6 { src, dst }, mac)
    }

    fn hop_by(&mut self, endpoints: Endpoints, mac: [u8; 6]) -> Hop {
        let next_hop = NextHop {
            port: UPLINK,
            endpoints,
            src_mac: Mac::new(UPLINK_MAC),
            dst_mac: Mac::new(mac),
            mtu: self.mtu,
        };
        Hop::Remote(self.writer.acquire_hop(next_hop).unwrap())
    }

    /// A guest's port in one subnet or more, with its neighbor entries.
    pub(crate) fn guest(&mut self, at: PortId, n: u8, subnets: &[Subnet]) {
        let mac = Mac::new(guest_mac(subnets[0].vni, n));
        let attachments = subnets.iter().map(Subnet::attachment).collect();
        self.writer.set_role(
            at,
            Role::Tenant(Arc::new(TenantPort {
                mac,
                admin_up: true,
                takes_tags: self.takes_tags,
                guard: None,
                lease: self.lease.clone(),
                lease6: self.lease6.clone(),
                attachments,
            })),
        );
        for subnet in subnets {
            self.neighbor(subnet, n, mac, Hop::Local(at));
        }
    }

    /// A guest on the peer host.
    pub(crate) fn remote(&mut self, n: u8, subnet: &Subnet) {
        let hop = self.hop(PEER, PEER_MAC);
        self.neighbor(subnet, n, Mac::new(guest_mac(subnet.vni, n)), hop);
    }

    /// The same, which is reached over IPv6.
    pub(crate) fn remote6(&mut self, n: u8, subnet: &Subnet) {
        let hop = self.hop6(PEER6, PEER_MAC);
        self.neighbor(subnet, n, Mac::new(guest_mac(subnet.vni, n)), hop);
    }

    pub(crate) fn neighbor(&mut self, subnet: &Subnet, n: u8, mac: Mac, hop: Hop) {
        let neighbor = Neighbor {
            mac,
            vni: Vni::new(subnet.vni).unwrap(),
            hop,
        };
        self.writer
            .upsert_mac(domain(subnet.domain), mac, neighbor)
            .unwrap();
        self.writer
            .upsert_ip(vpc(subnet.vpc), subnet.ip(n).into(), neighbor)
            .unwrap();
    }

    pub(crate) fn inject(&self, at: PortId, frame: &[u8]) {
        self.rx[at.index()].push(MemoryFrame::new(frame)).unwrap();
    }

    /// Polls, and takes what left by each port.
    pub(crate) fn out(&mut self, at: PortId) -> Vec<Vec<u8>> {
        while self.worker.poll() != 0 {}
        std::iter::from_fn(|| self.tx[at.index()].pop())
            .map(|frame| frame.to_vec())
            .collect()
    }

    pub(crate) fn totals(&self, at: PortId) -> PortTotals {
        total(&[Arc::clone(&self.counters)], at)
    }

    /// Sends one frame in at `at` and asserts that nothing leaves and that it is counted under `reason`.
    #[track_caller]
    pub(crate) fn expect_drop(&mut self, at: PortId, frame: &[u8], reason: DropReason) {
        let before = self.totals(at);
        self.inject(at, frame);
        for i in 0..PORTS {
            assert_eq!(
                self.out(port(i)),
                Vec::<Vec<u8>>::new(),
                "port {i} sent something"
            );
        }
        let since = self.totals(at).since(&before);
        let counted: Vec<_> = DropReason::ALL
            .iter()
            .filter(|reason| since.drops_for(**reason) != 0)
            .collect();
        assert_eq!((since.rx, since.dropped(), counted), (1, 1, vec![&reason]));
        self.all_is_seen();
    }

    /// Sends one frame in at `at` and asserts that exactly `expected` leaves, by `to`.
    #[track_caller]
    pub(crate) fn expect(&mut self, at: PortId, frame: &[u8], to: PortId, expected: &[u8]) {
        self.inject(at, frame);
        assert_eq!(self.out(to), [expected], "{:?}", self.totals(at));
        self.silent();
    }

    /// No port sends anything more, and every packet is accounted for.
    #[track_caller]
    pub(crate) fn silent(&mut self) {
        for i in 0..PORTS {
            let out = self.out(port(i));
            assert_eq!(out, Vec::<Vec<u8>>::new(), "port {i} sent something too");
        }
        self.balanced();
    }

    /// Every packet that arrived left, was answered, is held or was dropped; and nothing else left but what is the
    /// switch's own.
    #[track_caller]
    pub(crate) fn balanced(&self) {
        let (mut sent, mut known) = (0, 0);
        for i in 0..PORTS {
            let totals = self.totals(port(i));
            assert!(totals.is_balanced(), "port {i}: {totals:?}");
            sent += totals.tx;
            known += totals.forwarded + totals.own;
        }
        assert_eq!(sent, known);
        self.all_is_seen();
    }

    /// Copies of frames, since it was looked last.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let capture = &self.counters.capture;
        let new: Vec<_> = std::iter::from_fn(|| capture.next(1)).collect();
        self.seen.borrow_mut().extend_from_slice(&new);
        new
    }

    /// Who captures everything sees all that arrived, left and was dropped, each frame once.
    #[track_caller]
    fn all_is_seen(&self) {
        self.seen();
        let seen = self.seen.borrow();
        let all_copied = |at: &PortId| self.counters.capture.missed(*at) == 0;
        for at in (0..PORTS).map(port).filter(all_copied) {
            let copies = seen.iter().filter(|it| it.port == at);
            let count = |event| copies.clone().filter(|it| it.event == event).count() as u64;
            let totals = self.totals(at);
            let counted = (count(Event::Received), count(Event::Sent));
            assert_eq!(counted, (totals.rx, totals.tx), "{at:?}");
            for &reason in DropReason::ALL {
                let counted = count(Event::Dropped(reason));
                assert_eq!(counted, totals.drops_for(reason), "{at:?} {reason:?}");
            }
        }
    }
}

/// Subnet `10.<vni>.<number>.0/24`.
#[derive(Clone)]
pub(crate) struct Subnet {
    pub(crate) vni: u32,
    pub(crate) domain: u16,
    pub(crate) vpc: u16,
    pub(crate) number: u8,
    pub(crate) routes: Arc<RouteTable>,
    pub(crate) gateways: Vec<IpAddr>,
    /// Who knows the neighbors that the tables lack.
    pub(crate) group: Option<Arc<GatewayGroup>>,
    /// Whom broadcasts are copied to.
    pub(crate) replication: Option<Replication>,
}

impl Subnet {
    pub(crate) fn new(vni: u32, domain: u16, vpc: u16, number: u8) -> Self {
        Self {
            vni,
            domain,
            vpc,
            number,
            routes: Arc::new(RouteTable::empty()),
            gateways: Vec::new(),
            group: None,
            replication: None,
        }
    }

    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.ip(254)
    }

    pub(crate) fn ip(&self, n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.vni as u8, self.number, n)
    }

    pub(crate) fn cidr(&self) -> ipnet::Ipv4Net {
        ipnet::Ipv4Net::new(self.ip(0), 24).unwrap()
    }

    pub(crate) fn connected(&self) -> Route {
        Route {
            prefix: self.cidr().into(),
            priority: 0,
            target: Target::Connected(vpc(self.vpc)),
        }
    }

    pub(crate) fn attachment(&self) -> Attachment {
        Attachment {
            vni: Vni::new(self.vni).unwrap(),
            domain: domain(self.domain),
            vpc: vpc(self.vpc),
            cidr: self.cidr().into(),
            gateway_mac: Some(Mac::new(gateway_mac(self.vni, self.number))),
            gateway_ip: Some(self.gateway().into()),
            gateways: self.gateways.as_slice().into(),
            host_dvr_mac: Some(Mac::new(DVR)),
            routes: Arc::clone(&self.routes),
            advertisement: Arc::default(),
            group: self.group.clone(),
            replication: self.replication.clone(),
        }
    }
}

/// Connects subnets as one router does, with further routes.
pub(crate) fn router(subnets: &mut [&mut Subnet], further: &[Route]) {
    let mut routes: Vec<_> = subnets.iter().map(|subnet| subnet.connected()).collect();
    routes.extend_from_slice(further);
    let table = Arc::new(RouteTable::build(&mut routes));
    let gateways: Vec<_> = subnets
        .iter()
        .map(|subnet| subnet.gateway().into())
        .collect();
    for subnet in subnets {
        subnet.routes = Arc::clone(&table);
        subnet.gateways = gateways.clone();
    }
}

/// A UDP packet; `tos` and `ttl` as given.
pub(crate) fn udp_with(
    src: [u8; 6],
    dst: [u8; 6],
    from: Ipv4Addr,
    to: Ipv4Addr,
    ttl: u8,
    tos: u8,
) -> Vec<u8> {
    let mut ip =
        etherparse::Ipv4Header::new(0, ttl, IpNumber::UDP, from.octets(), to.octets()).unwrap();
    ip.dscp = etherparse::IpDscp::try_new(tos >> 2).unwrap();
    ip.ecn = etherparse::IpEcn::try_new(tos & 3).unwrap();
    ip.identification = 7;
    let builder =
        PacketBuilder::ethernet2(src, dst).ip(etherparse::IpHeaders::Ipv4(ip, Default::default()));
    let mut bytes = Vec::new();
    builder
        .udp(1234, 5678)
        .write(&mut bytes, b"from guest to guest")
        .unwrap();
    bytes
}

pub(crate) fn udp(src: [u8; 6], dst: [u8; 6], from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    udp_with(src, dst, from, to, 64, 0)
}

/// The VXLAN packet that carries `inner`; the outer source port is the sender's to choose.
pub(crate) fn vxlan(
    src: ([u8; 6], [u8; 4]),
    dst: ([u8; 6], [u8; 4]),
    sport: u16,
    vni: u32,
    tos: u8,
    inner: &[u8],
) -> Vec<u8> {
    let mut ip =
        etherparse::Ipv4Header::new((16 + inner.len()) as u16, 64, IpNumber::UDP, src.1, dst.1)
            .unwrap();
    ip.dscp = etherparse::IpDscp::try_new(tos >> 2).unwrap();
    ip.ecn = etherparse::IpEcn::try_new(tos & 3).unwrap();
    ip.dont_fragment = true;
    ip.header_checksum = ip.calc_header_checksum();
    let udp = etherparse::UdpHeader {
        source_port: sport,
        destination_port: 4789,
        length: (16 + inner.len()) as u16,
        checksum: 0,
    };
    let ethernet = etherparse::Ethernet2Header {
        source: src.0,
        destination: dst.0,
        ether_type: etherparse::EtherType::IPV4,
    };
    let mut bytes = ethernet.to_bytes().to_vec();
    bytes.extend_from_slice(&ip.to_bytes());
    bytes.extend_from_slice(&udp.to_bytes());
    bytes.extend_from_slice(&[8, 0, 0, 0]);
    bytes.extend_from_slice(&(vni << 8).to_be_bytes());
    bytes.extend_from_slice(inner);
    bytes
}

/// What this host sends to the peer.
pub(crate) fn to_peer(sport: u16, vni: u32, tos: u8, inner: &[u8]) -> Vec<u8> {
    vxlan((UPLINK_MAC, VTEP), (PEER_MAC, PEER), sport, vni, tos, inner)
}

/// What the peer sends to this host.
pub(crate) fn from_peer(vni: u32, tos: u8, inner: &[u8]) -> Vec<u8> {
    vxlan((PEER_MAC, PEER), (UPLINK_MAC, VTEP), 50000, vni, tos, inner)
}

/// The outer UDP source port of a VXLAN packet.
pub(crate) fn source_port(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[34], bytes[35]])
}
