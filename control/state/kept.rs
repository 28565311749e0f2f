// SPDX-License-Identifier: MIT
//! Security groups: kept for the code that will act on them, and merged as the contract says; and DHCP, of which ports' leases
//! are made.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::port::{PortIx, WantedPort};
use super::resource::{DhcpClient, DhcpUpdate, SecurityGroupUpdate, SecurityRuleKey};
use super::slots::MAX_SLOTS;
use super::{Refused, Revised, Subject, Wanted};
use crate::proto::schema::security_group_configuration::SecurityGroupRule;
use crate::proto::schema::{DhcpConfiguration, ResourceType, SecurityGroupConfiguration};

/// Most rules of one security group, all updates merged: forty times Neutron's default quota of a project.
pub(crate) const MAX_SECURITY_RULES: usize = 4096;

/// Rules by what tells them apart, and the rest of what was said of the group.
pub(crate) type SecurityGroup =
    Revised<BTreeMap<SecurityRuleKey, SecurityGroupRule>, SecurityGroupConfiguration>;
/// What a client is told.
pub(crate) type Dhcp = Revised<(), DhcpConfiguration>;

/// All resources of these kinds, at most [`MAX_SLOTS`] of each. Their words have the id, too.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    security_groups: BTreeMap<Box<str>, SecurityGroup>,
    dhcp: BTreeMap<DhcpClient, Dhcp>,
    /// Whom an id of DHCP is for.
    dhcp_clients: HashMap<Box<str>, DhcpClient>,
}

/// Why a resource that is kept is not acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unserved {
    /// It is a security group.
    #[error("kept; this version of the switch does not enforce security groups yet")]
    SecurityGroup,
}

impl Wanted {
    /// All security groups, by id.
    pub(crate) fn security_groups(&self) -> impl Iterator<Item = (&str, &SecurityGroup)> {
        let all = self.kept.security_groups.iter();
        all.map(|(id, group)| (&**id, group))
    }

    /// All that DHCP has to say, by client.
    pub(crate) fn dhcp(&self) -> impl Iterator<Item = (&DhcpClient, &Dhcp)> {
        self.kept.dhcp.iter()
    }

    /// What DHCP has to say to a client.
    pub(crate) fn dhcp_of(&self, client: &DhcpClient) -> Option<&Dhcp> {
        self.kept.dhcp.get(client)
    }

    /// The port of the client that DHCP has something to say to, if one of the switch's is bound to it. Takes time in
    /// proportion to those.
    pub(crate) fn port_of(&self, client: &DhcpClient) -> Option<PortIx> {
        let subnet = self.subnets.find(&client.subnet)?;
        let is_it = |ix: &PortIx| {
            let port = self.ports.get(*ix).and_then(|slot| slot.wanted.as_ref());
            let in_it = |port: &WantedPort| port.fixed_ips.iter().any(|(of, _)| *of == subnet);
            port.is_some_and(|port| port.value.mac == client.mac && in_it(&port.value))
        };
        self.bound.values().copied().filter(is_it).min()
    }

    pub(super) fn find_security_group(&self, id: &str) -> Subject {
        let known = self.kept.security_groups.contains_key(id);
        subject(known.then_some(Unserved::SecurityGroup))
    }

    pub(super) fn find_dhcp(&self, id: &str) -> Subject {
        let client = self.kept.dhcp_clients.get(id);
        client.map_or(Subject::Nothing, |client| Subject::Dhcp(client.clone()))
    }

    pub(super) fn set_security_group(
        &mut self,
        id: &str,
        revision: u32,
        update: Option<SecurityGroupUpdate>,
    ) -> Result<Subject, Refused> {
        let all = &mut self.kept.security_groups;
        let old = all.get(id);
        let revision = self.revisions.next(old, revision)?;
        let Some(SecurityGroupUpdate {
            full,
            rules,
            mut said,
        }) = update
        else {
            all.remove(id);
            return Ok(Subject::Nothing);
        };
        room(all.len(), old.is_some())?;
        let mut value = BTreeMap::new();
        if let Some(old) = old.filter(|_| !full) {
            value.clone_from(&old.value);
            keep(&mut said.vpc_id, &old.said.vpc_id);
            keep(&mut said.name, &old.said.name);
        }
        for (key, rule) in rules {
            match rule {
                Some(rule) => value.insert(key, rule),
                None => value.remove(&key),
            };
        }
        if value.len() > MAX_SECURITY_RULES {
            return Err(Refused::TooManyIn(MAX_SECURITY_RULES, "rules"));
        }
        said.id = id.to_owned();
        all.insert(id.into(), Revised::new(revision, value, said));
        Ok(Subject::Kept(Unserved::SecurityGroup))
    }

    pub(super) fn set_dhcp(
        &mut self,
        id: &str,
        revision: u32,
        update: DhcpUpdate,
    ) -> Result<Subject, Refused> {
        let Kept {
            dhcp, dhcp_clients, ..
        } = &self.kept;
        let of_id = dhcp_clients.get(id).cloned();
        let Some(client) = update.client.or_else(|| of_id.clone()) else {
            return Ok(Subject::Nothing);
        };
        // An id that serves another client now serves the former one no longer.
        let moved = of_id.filter(|former| *former != client);
        let mut next = self.revisions.next(dhcp.get(&client), revision)?;
        if let Some(former) = &moved {
            next = next.max(self.revisions.next(dhcp.get(former), revision)?);
        }
        let room = room(dhcp.len(), dhcp.contains_key(&client));
        if update.said.is_some() {
            room?;
        }
        for concerned in moved.iter().chain([&client]) {
            let port = self.port_of(concerned);
            self.touched.ports.extend(port);
        }
        let Kept {
            dhcp, dhcp_clients, ..
        } = &mut self.kept;
        for gone in moved.iter().chain([&client]) {
            if let Some(old) = dhcp.remove(gone) {
                dhcp_clients.remove(old.said.id.as_str());
                self.stale.remove(ResourceType::Dhcp, &old.said.id);
            }
        }
        let Some(mut said) = update.said else {
            return Ok(Subject::Nothing);
        };
        said.id = id.to_owned();
        dhcp_clients.insert(id.into(), client.clone());
        dhcp.insert(client.clone(), Revised::new(next, (), said));
        Ok(Subject::Dhcp(client))
    }
}

fn subject(unserved: Option<Unserved>) -> Subject {
    unserved.map_or(Subject::Nothing, Subject::Kept)
}

/// An error if there is no room for one more, which it takes unless it is `known`.
pub(super) fn room(count: usize, known: bool) -> Result<(), Refused> {
    if count >= MAX_SLOTS && !known {
        return Err(Refused::TooMany(MAX_SLOTS));
    }
    Ok(())
}

/// An update that leaves a text out does not take it back.
fn keep(new: &mut String, old: &str) {
    if new.is_empty() {
        new.push_str(old);
    }
}
