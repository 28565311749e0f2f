// SPDX-License-Identifier: MIT
//! [`GatewayGroup`]: machines that know the neighbors that this host was not told of.

use std::net::IpAddr;

use super::HopId;

/// Flows are told apart by so many upper bits of their hash: a group of [`MAX_MEMBERS`] has four shares for each.
const BITS: u32 = 12;
const SHARES: usize = 1 << BITS;

/// Most machines of one group.
pub const MAX_MEMBERS: usize = 1024;

/// Machines of which each knows all neighbors of a VPC, and of which each flow takes one (Alcor: the destinations of a
/// gateway of type ZETA).
///
/// # Contract
///
/// * Immutable; part of a snapshot, and shared by the subnets of a VPC, and of VPCs with the same machines. Its next hops are
///   given back after it.
/// * Which machine a flow takes depends on the machines' addresses and on nothing else: hosts that reach the same machines, as
///   those with VTEPs of the same versions of IP do, agree, also after a restart. When one leaves, its flows move and no others;
///   when one comes, the flows that move are its own from then on (rendezvous hashing).
/// * **Cost:** a lookup reads one cache line. **Memory:** 16 KiB. To build it takes some microseconds per machine.
#[derive(Debug)]
pub struct GatewayGroup {
    /// By the upper bits of a flow's hash.
    shares: Box<[HopId; SHARES]>,
}

impl GatewayGroup {
    /// The group of these, by address and next hop. Those above [`MAX_MEMBERS`] are left out. `None`: there are none.
    pub fn new(members: &[(IpAddr, HopId)]) -> Option<Self> {
        let members = members.get(..MAX_MEMBERS).unwrap_or(members);
        let mut shares = Box::new([members.first()?.1; SHARES]);
        for (share, hop) in (0..).zip(shares.iter_mut()) {
            let heaviest = members
                .iter()
                .max_by_key(|(ip, _)| (weight(share, *ip), *ip));
            if let Some((_, heaviest)) = heaviest {
                *hop = *heaviest;
            }
        }
        Some(Self { shares })
    }

    /// Where the machine is that a flow takes, by the flow's hash.
    #[inline]
    pub fn hop(&self, flow: u32) -> HopId {
        self.shares[(flow >> (u32::BITS - BITS)) as usize]
    }

    /// Bytes of memory behind it.
    pub const fn memory(&self) -> usize {
        size_of::<[HopId; SHARES]>()
    }
}

/// What a machine has to say for itself when a share is given away: evenly distributed.
fn weight(share: u32, ip: IpAddr) -> u64 {
    let machine = match ip {
        IpAddr::V4(ip) => mix(ip.to_bits().into()),
        IpAddr::V6(ip) => mix(mix((ip.to_bits() >> 64) as u64) ^ ip.to_bits() as u64),
    };
    mix(machine ^ u64::from(share))
}

/// The finalizer of `SplitMix64`.
const fn mix(bits: u64) -> u64 {
    let mut bits = bits.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
#[cfg(not(vswitch_loom))]
mod tests {
    use super::*;
    use hashbrown::HashMap;

    fn member(n: u32) -> (IpAddr, HopId) {
        (IpAddr::from((0xc000_0200 + n).to_be_bytes()), HopId(n))
    }

    fn flows() -> impl Iterator<Item = u32> {
        (0..SHARES as u32).map(|n| n << (u32::BITS - BITS) | n)
    }

    #[test]
    fn flows_spread_evenly_and_only_those_of_a_machine_that_leaves_move() {
        let all: Vec<_> = (1..=5).map(member).collect();
        let group = GatewayGroup::new(&all).unwrap();
        let mut count = HashMap::<_, usize>::new();
        flows().for_each(|flow| *count.entry(group.hop(flow)).or_default() += 1);
        assert_eq!(count.len(), 5);
        assert!(count.values().all(|n| (720..920).contains(n)), "{count:?}");
        let fewer: Vec<_> = all.iter().copied().filter(|it| *it != member(3)).collect();
        let fewer = GatewayGroup::new(&fewer).unwrap();
        for flow in flows() {
            let (before, after) = (group.hop(flow), fewer.hop(flow));
            assert!(if before == HopId(3) {
                after != before
            } else {
                after == before
            });
        }
    }

    #[test]
    fn the_order_and_the_numbers_of_machines_do_not_matter() {
        let all: Vec<_> = (1..=7).map(member).collect();
        let reversed: Vec<_> = all
            .iter()
            .rev()
            .map(|(ip, hop)| (*ip, HopId(hop.0 + 100)))
            .collect();
        let (one, other) = (
            GatewayGroup::new(&all).unwrap(),
            GatewayGroup::new(&reversed).unwrap(),
        );
        for flow in flows() {
            assert_eq!(one.hop(flow).0 + 100, other.hop(flow).0);
        }
    }

    #[test]
    fn a_group_has_a_member_and_a_cap() {
        assert!(GatewayGroup::new(&[]).is_none());
        let one = GatewayGroup::new(&[member(9)]).unwrap();
        assert!(flows().all(|flow| one.hop(flow) == HopId(9)));
        assert_eq!(one.hop(u32::MAX), HopId(9));
        let many: Vec<_> = (0..2 * MAX_MEMBERS as u32).map(member).collect();
        let many = GatewayGroup::new(&many).unwrap();
        assert!(flows().all(|flow| (many.hop(flow).0 as usize) < MAX_MEMBERS));
    }
}
