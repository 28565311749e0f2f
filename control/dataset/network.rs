// SPDX-License-Identifier: MIT
//! The network that a dataset describes: VPCs of very different size, their subnets, ports, and the hosts these are on.
//!
//! All of it follows from the numbers of ports of each VPC and the host of each port, which are kept; a port takes eight
//! bytes. Every VPC is 10.0.0.0/8, as tenants like to have it, so that addresses say nothing without the VPC.

use std::net::Ipv4Addr;
use std::ops::Range;

use ipnet::Ipv4Net;

use super::random::{Purpose, Seed};

/// Most ports of a dataset: a VPC has room for them, however it is cut into subnets, and a MAC has room for their number.
pub(crate) const MAX_PORTS: u32 = 1 << 22;

/// Most subnets of a VPC.
pub(crate) const MAX_SUBNETS: u32 = 256;

/// What a VPC's addresses begin with.
const BASE: u32 = u32::from_be_bytes([10, 0, 0, 0]);

/// Smallest subnet, in bits: a /24.
const MIN_BITS: u32 = 8;

/// How large a network is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// What everything random follows from.
    pub(crate) seed: u64,
    /// VPCs, at least 1.
    pub(crate) vpcs: u32,
    /// Ports of all VPCs together: at least `vpcs`, at most [`MAX_PORTS`].
    pub(crate) ports: u32,
    /// Hosts, at least 1.
    pub(crate) hosts: u32,
    /// Most subnets of a VPC, 1 to [`MAX_SUBNETS`]; one with fewer ports has a subnet for each.
    pub(crate) subnets: u32,
    /// Where hosts have their addresses, the first of which is no host's.
    pub(crate) underlay: Ipv4Net,
}

/// A network. VPCs, ports and hosts are numbered from 0; ports through all VPCs.
pub(super) struct Network {
    pub(super) seed: Seed,
    scale: Scale,
    /// The first port of each VPC, and then the number of ports.
    first: Vec<u32>,
    /// The host of each port.
    host: Vec<u32>,
    /// The ports of the first host, of the second, and so on; each host's in order.
    by_host: Vec<u32>,
}

/// A VPC.
#[derive(Clone, Debug)]
pub(super) struct Vpc {
    pub(super) number: u32,
    /// Its tunnel id, shared by all its subnets: 1 to 2^24 - 1.
    pub(super) vni: u32,
    pub(super) ports: Range<u32>,
    pub(super) subnets: u32,
    /// Log2 of the number of addresses in each subnet.
    bits: u32,
}

impl Network {
    pub(super) fn new(scale: Scale) -> Self {
        let seed = Seed(scale.seed);
        let mut host: Vec<u32> = (0..scale.ports).map(|port| port % scale.hosts).collect();
        let mut numbers = seed.stream(Purpose::Placement);
        for last in (1..host.len()).rev() {
            // Below 2^22.
            let other = numbers.below(last as u64 + 1) as usize;
            host.swap(last, other);
        }
        let mut by_host: Vec<u32> = (0..scale.ports).collect();
        by_host.sort_by_key(|port| host[*port as usize]);
        Self {
            seed,
            scale,
            first: first_ports(seed, scale.vpcs, scale.ports),
            host,
            by_host,
        }
    }

    pub(super) fn vpc(&self, number: u32) -> Vpc {
        let at = number as usize;
        let ports = self.first[at]..self.first[at + 1];
        let size = ports.end - ports.start;
        let subnets = self.scale.subnets.min(size);
        // Beside the ports: the subnet's own address, its gateway, and the broadcast address.
        let addresses = size.div_ceil(subnets) + 3;
        Vpc {
            number,
            // Odd, so that 24 bits of the product differ for different VPCs and are never 0.
            vni: (number + 1).wrapping_mul(0x5b_d1e9) & 0xff_ffff,
            ports,
            subnets,
            bits: addresses.next_power_of_two().ilog2().max(MIN_BITS),
        }
    }

    /// The VPC that a port is in.
    pub(super) fn vpc_of(&self, port: u32) -> u32 {
        // Below 2^22; the first VPC begins with port 0.
        self.first.partition_point(|first| *first <= port) as u32 - 1
    }

    pub(super) fn host_of(&self, port: u32) -> u32 {
        self.host[port as usize]
    }

    /// The ports of a host, in order.
    pub(super) fn ports_on(&self, host: u32) -> &[u32] {
        let rank = |limit| {
            self.by_host
                .partition_point(|port| self.host_of(*port) < limit)
        };
        &self.by_host[rank(host)..rank(host + 1)]
    }

    /// A host's address in the underlay.
    pub(super) fn address(&self, host: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.scale.underlay.network().to_bits() + 1 + host)
    }
}

impl Vpc {
    /// The subnet of one of its ports: they are dealt in turn.
    pub(super) const fn subnet_of(&self, port: u32) -> u32 {
        (port - self.ports.start) % self.subnets
    }

    pub(super) fn cidr(&self, subnet: u32) -> String {
        format!(
            "{}/{}",
            Ipv4Addr::from_bits(self.base(subnet)),
            32 - self.bits
        )
    }

    /// Its first address.
    pub(super) const fn gateway(&self, subnet: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base(subnet) + 1)
    }

    /// The address of one of its ports: from the second of its subnet on.
    pub(super) const fn ip(&self, port: u32) -> Ipv4Addr {
        let turn = (port - self.ports.start) / self.subnets;
        Ipv4Addr::from_bits(self.base(self.subnet_of(port)) + 2 + turn)
    }

    const fn base(&self, subnet: u32) -> u32 {
        BASE + (subnet << self.bits)
    }
}

/// Every VPC has a port. The others are each in VPC n with a probability in proportion to 1 / (n + 1), which is Zipf's law:
/// VPC 0 is the largest, and most are small.
fn first_ports(seed: Seed, vpcs: u32, ports: u32) -> Vec<u32> {
    let mut sum = 0;
    let weights = (1..=u64::from(vpcs)).map(|rank| {
        sum += (1 << 32) / rank;
        sum
    });
    let up_to: Vec<u64> = weights.collect();
    let mut sizes = vec![1_u32; vpcs as usize];
    let mut numbers = seed.stream(Purpose::Size);
    for _ in vpcs..ports {
        let number = numbers.below(sum);
        sizes[up_to.partition_point(|up_to| *up_to <= number)] += 1;
    }
    let mut first = vec![0];
    let mut count = 0;
    first.extend(sizes.into_iter().map(|size| {
        count += size;
        count
    }));
    first
}
