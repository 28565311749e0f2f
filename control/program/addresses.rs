// SPDX-License-Identifier: MIT
//! Addresses: who claims one, and when the neighbor tables say so.
//!
//! Workers see a neighbor entry as soon as it is written, and a port's role with the commit. So an entry that leads
//! to a new port is written after that, by [`Program::follow_up`], and the one that it takes the place of stays until
//! then: no packet meets a port without a role, nor an address that nobody has for a moment.

use std::collections::BTreeSet;

use vswitch::tables::{Hop, HopId, Neighbor, TableFull};

use super::claims::Rank;
use super::{IpKey, MacKey, Obstacle, Program};
use crate::state::Wanted;

impl Program {
    /// Does what had to wait for a commit to be settled: addresses lead to ports whose role is visible now,
    /// and what found no room is tried once more, since what was removed has left. True if there was
    /// anything: it wants another commit.
    pub(crate) fn follow_up(&mut self, wanted: &Wanted) -> bool {
        self.unseen.clear();
        let neighbors = std::mem::take(&mut self.crowded);
        let mut groups = std::mem::take(&mut self.crowded_groups);
        if !std::mem::take(&mut self.hops_left) {
            // Looked at again when a next hop has gone.
            self.crowded_groups = std::mem::take(&mut groups);
        }
        let ips = std::mem::take(&mut self.late_ips);
        let macs = std::mem::take(&mut self.late_macs);
        let none = neighbors.is_empty() && groups.is_empty() && ips.is_empty() && macs.is_empty();
        if none && self.moving.is_empty() {
            return false;
        }
        for key in ips {
            let winner = self.by_ip.winner(key);
            if let (Err(full), Some(winner)) = (self.show_ip(key, winner), winner) {
                match winner.hop {
                    Hop::Local(port) => self.void(port, Some(key), None, full.into()),
                    Hop::Remote(_) => tracing::error!("{}: {full}", key.1),
                }
            }
        }
        for key in macs {
            let winner = self.by_mac.winner(key);
            if let (Err(full), Some(winner)) = (self.show_mac(key, winner), winner) {
                match winner.hop {
                    Hop::Local(port) => self.void(port, None, Some(key), full.into()),
                    Hop::Remote(_) => tracing::error!("{}: {full}", key.1),
                }
            }
        }
        for hop in std::mem::take(&mut self.late_hops) {
            self.hops_left = true;
            self.writer.release_hop(hop);
        }
        for neighbor in neighbors {
            self.update_neighbor(wanted, neighbor);
        }
        let mut ports = BTreeSet::new();
        for vpc in groups {
            ports.extend(self.update_group(wanted, vpc));
        }
        for port in ports {
            self.update_port(wanted, port);
        }
        self.crowded.clear(); // what has no room now has none
        let mut moved = self.move_on(wanted);
        if self.writer.is_nearly_full_of_hops() {
            // A few at a time would take as many commits: they leave the old way, and take the new one with the next commit.
            for neighbor in std::mem::take(&mut self.moving) {
                moved = true;
                self.update_neighbor(wanted, neighbor);
            }
        }
        self.refresh_replicas(wanted, BTreeSet::new());
        !none || moved
    }

    /// Claims an address, and says in the table who has it. On an error the claim is void.
    pub(super) fn claim_ip(
        &mut self,
        key: IpKey,
        rank: Rank,
        value: Neighbor,
    ) -> Result<(), Obstacle> {
        let winner = self.by_ip.claim(key, rank, value);
        self.show_ip(key, Some(winner)).map_err(|full| {
            self.withdraw_ip(key, rank);
            full.into()
        })
    }

    /// Likewise a MAC.
    pub(super) fn claim_mac(
        &mut self,
        key: MacKey,
        rank: Rank,
        value: Neighbor,
    ) -> Result<(), Obstacle> {
        let winner = self.by_mac.claim(key, rank, value);
        self.show_mac(key, Some(winner)).map_err(|full| {
            self.withdraw_mac(key, rank);
            full.into()
        })
    }

    /// Takes a claim back and says in the table who has the address now.
    pub(super) fn withdraw_ip(&mut self, key: IpKey, rank: Rank) {
        let next = self.by_ip.withdraw(key, rank);
        if self.show_ip(key, next).is_err() {
            // For now rather nothing than the one who has left.
            self.writer.remove_ip(key.0, key.1);
            self.late_ips.push(key);
        }
    }

    /// Likewise a MAC.
    pub(super) fn withdraw_mac(&mut self, key: MacKey, rank: Rank) {
        let next = self.by_mac.withdraw(key, rank);
        if self.show_mac(key, next).is_err() {
            self.writer.remove_mac(key.0, key.1);
            self.late_macs.push(key);
        }
    }

    /// Says in the table who has an address, which workers see at once. What leads to a port whose role they
    /// do not see yet follows later; until then they see whom they saw before.
    fn show_ip(&mut self, key: IpKey, winner: Option<Neighbor>) -> Result<(), TableFull> {
        match winner {
            None => self.writer.remove_ip(key.0, key.1),
            Some(winner) if self.is_unseen(winner) => self.late_ips.push(key),
            Some(winner) => self.writer.upsert_ip(key.0, key.1, winner)?,
        }
        Ok(())
    }

    /// Likewise a MAC.
    fn show_mac(&mut self, key: MacKey, winner: Option<Neighbor>) -> Result<(), TableFull> {
        match winner {
            None => self.writer.remove_mac(key.0, key.1),
            Some(winner) if self.is_unseen(winner) => self.late_macs.push(key),
            Some(winner) => self.writer.upsert_mac(key.0, key.1, winner)?,
        }
        Ok(())
    }

    fn is_unseen(&self, neighbor: Neighbor) -> bool {
        matches!(neighbor.hop, Hop::Local(port) if self.unseen.contains(&port))
    }

    /// Gives a next hop back, when no entry of the table names it any more.
    pub(super) fn release_hop(&mut self, hop: HopId) {
        if self.late_ips.is_empty() && self.late_macs.is_empty() {
            self.hops_left = true;
            self.writer.release_hop(hop);
        } else {
            self.late_hops.push(hop);
        }
    }
}
