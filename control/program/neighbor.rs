// SPDX-License-Identifier: MIT
//! Neighbors: where each is reached, and its claims on its address and its MAC.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashSet;
use vswitch::stage::punt::Sought;
use vswitch::tables::{DomainId, Hop, HopId, Live, Neighbor, VpcId};
use vswitch::wire::Mac;

use super::claims::Rank;
use super::{IpKey, MacKey, Obstacle, Program};
use crate::core::OnLink;
use crate::state::neighbor::{NeighborIx, NeighborSlot};
use crate::state::network::SubnetIx;
use crate::state::slots::AHEAD;
use crate::state::{Touched, Wanted};

/// What is programmed of a neighbor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Placement {
    /// There is no such neighbor.
    #[default]
    Unknown,
    /// It is on this host: its port says all there is to say.
    Here,
    /// Nothing: nobody used it for long.
    Idle,
    /// Nothing, for this reason.
    Waiting(Obstacle),
    /// It claims its address and its MAC.
    Placed(Placed),
}

/// The claims of a neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(super) ip: IpKey,
    domain: DomainId,
    pub(super) subnet: SubnetIx,
    rank: Rank,
    pub(super) value: Neighbor,
}

// A million of them.
const _: () = assert!(size_of::<Placement>() == 56);

impl Placed {
    pub(super) const fn mac(&self) -> MacKey {
        (self.domain, self.value.mac)
    }
}

impl Program {
    /// Why the neighbor is not programmed, or of no use to anybody.
    pub(super) fn neighbor_state(&self, wanted: &Wanted, ix: NeighborIx) -> Result<(), Obstacle> {
        if let Some(Placement::Waiting(obstacle)) = self.neighbors.get(ix.get()) {
            return Err(obstacle.clone());
        }
        let routed = wanted.neighbor(ix).filter(|slot| slot.routed);
        match routed.and_then(|slot| Some((slot, wanted.subnet(slot.subnet)?))) {
            Some((slot, subnet)) if subnet.routers.is_empty() => {
                Err(Obstacle::NoRouter(slot.subnet))
            }
            _ => Ok(()),
        }
    }

    /// Takes a neighbor out of the tables although it is wanted, or puts it back.
    pub(crate) fn set_idle(&mut self, wanted: &Wanted, ix: NeighborIx, idle: bool) {
        let changed = match idle {
            true => self.idle.insert(ix),
            false => self.idle.remove(&ix),
        };
        if changed {
            self.update_neighbor(wanted, ix);
            self.refresh_replicas(wanted, BTreeSet::new());
        }
    }

    /// What finds the neighbor in the tables, if it is there.
    pub(crate) fn keys(&self, ix: NeighborIx) -> Option<[Sought; 2]> {
        let Placement::Placed(placed) = self.neighbors.get(ix.get())? else {
            return None;
        };
        let (ip, mac) = (placed.ip, placed.mac());
        Some([Sought::Ip(ip.0, ip.1), Sought::Mac(mac.0, mac.1)])
    }

    /// The VPC and the L2 domain of a subnet as the tables know them.
    pub(crate) fn place_of(&self, subnet: SubnetIx) -> Option<(VpcId, DomainId)> {
        let here = self.resolved(subnet).ok()?;
        Some((here.vpc, here.domain))
    }

    /// Asks the CPU to fetch what [`Program::update_neighbor`] will look for and write, [`AHEAD`] neighbors ahead.
    pub(super) fn prefetch(&mut self, wanted: &Wanted, ix: NeighborIx) {
        if let Some(slot) = wanted.neighbor(ix)
            && let Ok(here) = self.resolved(slot.subnet)
        {
            let (mac, ip) = ((here.domain, slot.place.mac), (here.vpc, slot.ip));
            self.writer.prefetch(mac, ip);
            self.by_mac.prefetch(mac);
            self.by_ip.prefetch(ip);
            self.neighbors.prefetch_vacant(AHEAD);
        }
    }

    /// Works the neighbor out anew and programs the difference.
    pub(super) fn update_neighbor(&mut self, wanted: &Wanted, ix: NeighborIx) {
        let mut new = match wanted.neighbor(ix) {
            None => Placement::Unknown,
            Some(_) if self.idle.contains(&ix) => Placement::Idle,
            Some(slot) => match self.place(slot) {
                Ok(placement) => placement,
                Err(obstacle) => self.waiting(ix, obstacle),
            },
        };
        let old = self.set_placement(ix, Placement::Unknown);
        if let Placement::Placed(placed) = &new
            && new != old
            && let Err(full) = self.claim_both(placed)
        {
            new = self.waiting(ix, full);
        }
        self.count_replicas(&old, &new);
        if let Placement::Placed(old) = &old {
            let kept = if let Placement::Placed(new) = &new {
                Some(new)
            } else {
                None
            };
            self.withdraw(old, kept);
        }
        self.set_placement(ix, new);
    }

    /// Returns the one before.
    fn set_placement(&mut self, ix: NeighborIx, new: Placement) -> Placement {
        while self.neighbors.len() <= ix.get() {
            self.neighbors.push(Placement::Unknown);
        }
        match self.neighbors.get_mut(ix.get()) {
            Some(placement) => std::mem::replace(placement, new),
            None => Placement::Unknown,
        }
    }

    /// Where the neighbor belongs. Holds its next hop from here on.
    fn place(&mut self, slot: &NeighborSlot) -> Result<Placement, Obstacle> {
        let here = *self.resolved(slot.subnet)?;
        if !here.takes(slot.ip) {
            return Err(Obstacle::OtherVersion(slot.subnet, slot.ip));
        }
        let (host, mac) = (slot.place.host, slot.place.mac);
        if self.site.is_own(host) {
            return Ok(Placement::Here);
        }
        let hop = Hop::Remote(self.hop_towards(host, slot.place.host_mac)?);
        Ok(Placement::Placed(Placed {
            ip: (here.vpc, slot.ip),
            domain: here.domain,
            subnet: slot.subnet,
            rank: Rank::neighbor(slot.changed),
            value: Neighbor {
                mac,
                vni: here.vni,
                hop,
            },
        }))
    }

    /// The next hop towards a host, whose MAC was `said` to be this. To be given back.
    pub(super) fn hop_towards(
        &mut self,
        host: IpAddr,
        said: Option<Mac>,
    ) -> Result<HopId, Obstacle> {
        if self.site.uplinks.is_empty() {
            return Err(Obstacle::NoVtep);
        }
        if !self.site.speaks_like(host) {
            return Err(Obstacle::NoVtepLike(host));
        }
        let ways = self.site.ways(host, said);
        // A million neighbors ask: with one uplink, nothing is unknown where there is a way.
        if ways.is_none() || self.site.uplinks.len() > 1 {
            self.needed.extend(self.site.unknown_to(host, said));
        }
        let ways = ways.ok_or(Obstacle::NoMac(host))?;
        Ok(self.writer.acquire_ways(ways)?)
    }

    fn waiting(&mut self, ix: NeighborIx, obstacle: Obstacle) -> Placement {
        if let Obstacle::Full(_) = obstacle {
            self.crowded.push(ix);
        }
        Placement::Waiting(obstacle)
    }

    /// Hosts and routers of the underlay said who they are.
    pub(crate) fn learned(&mut self, wanted: &Wanted, learned: &[(OnLink, Mac)]) {
        for uplink in &mut self.site.uplinks {
            let there = learned.iter().filter(|((port, _), _)| *port == uplink.port);
            uplink
                .learned
                .extend(there.map(|&((_, ip), mac)| (ip, mac)));
        }
        let learned: HashSet<_> = learned.iter().map(|(who, _)| *who).collect();
        let leads = |host| {
            let mut ways = self.site.ways_to(host);
            ways.any(|way| learned.contains(&way))
        };
        let neighbors = wanted
            .neighbors()
            .filter(|(_, slot)| leads(slot.place.host));
        let neighbors: Vec<_> = neighbors.map(|(ix, _)| ix).collect();
        let grouped = self.grouped(wanted, leads).collect();
        // Gateways first: they are few.
        self.look_at(
            wanted,
            Touched {
                grouped,
                ..Touched::default()
            },
        );
        self.moving.extend(neighbors);
        self.move_on(wanted);
        self.refresh_replicas(wanted, BTreeSet::new());
    }

    /// Has neighbors take their new way as long as there is room for one: tens of thousands of hosts may be behind a router whose
    /// MAC has changed, and the next hops of the old way are free only after a commit. True if any does.
    pub(super) fn move_on(&mut self, wanted: &Wanted) -> bool {
        let waiting = self.moving.len();
        while self.writer.has_room_for_hop()
            && let Some(ix) = self.moving.pop()
        {
            self.update_neighbor(wanted, ix);
        }
        self.moving.len() < waiting
    }

    /// The addresses of the underlay that lead to a neighbor or a gateway. What was learned of others is forgotten.
    pub(crate) fn needed(&mut self, wanted: &Wanted) -> HashSet<OnLink> {
        let neighbors = wanted.neighbors().map(|(_, slot)| slot.place.host);
        let gateways = self.groups.keys();
        let gateways = gateways.flat_map(|vpc| Self::machines_of(wanted, *vpc));
        let gateways = gateways.flat_map(|(_, gateway)| gateway.value.iter().map(|(ip, _)| *ip));
        let ways = neighbors.chain(gateways);
        let ways = ways.flat_map(|host| self.site.ways_to(host));
        let needed: HashSet<_> = ways.collect();
        for uplink in &mut self.site.uplinks {
            let port = uplink.port;
            let is_needed = |ip: &IpAddr| needed.contains(&(port, *ip));
            uplink.learned.retain(|ip, _| is_needed(ip));
        }
        needed
    }

    /// Addresses of the underlay whose MAC is needed and not known, since the last time.
    pub(crate) fn take_needed(&mut self) -> HashSet<OnLink> {
        std::mem::take(&mut self.needed)
    }

    /// Which uplinks are used, for who watches their links.
    pub(crate) fn live(&self) -> Arc<Live> {
        self.writer.live()
    }

    /// Claims address and MAC, or neither.
    fn claim_both(&mut self, placed: &Placed) -> Result<(), Obstacle> {
        let (rank, value) = (placed.rank, placed.value);
        let claimed = self
            .claim_ip(placed.ip, rank, value)
            .and_then(|()| self.claim_mac(placed.mac(), rank, value));
        if claimed.is_err() {
            self.withdraw(placed, None);
        }
        claimed
    }

    /// Withdraws the claims of `old` that are not `kept`'s too, and lets go of its next hop.
    fn withdraw(&mut self, old: &Placed, kept: Option<&Placed>) {
        let kept = kept.filter(|kept| kept.rank == old.rank);
        if kept.is_none_or(|kept| kept.ip != old.ip) {
            self.withdraw_ip(old.ip, old.rank);
        }
        if kept.is_none_or(|kept| kept.mac() != old.mac()) {
            self.withdraw_mac(old.mac(), old.rank);
        }
        if let Hop::Remote(hop) = old.value.hop {
            self.release_hop(hop);
        }
    }
}
