// SPDX-License-Identifier: MIT
//! Gateways, and which VPCs name them: in any order, the one may come before the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hashbrown::HashMap;
use vswitch::wire::Mac;

use super::kept::room;
use super::network::VpcIx;
use super::resource::Described;
use super::{Refused, Revised, Subject, Wanted};
use crate::proto::schema::gateway_configuration::ExtraInfo;
use crate::proto::schema::{GatewayConfiguration, GatewayType};

/// Underlay address and MAC of each machine that a gateway is.
pub(crate) type Machines = Vec<(IpAddr, Mac)>;
/// A gateway.
pub(crate) type Gateway = Revised<Machines, GatewayConfiguration>;

/// All gateways, at most [`MAX_SLOTS`](super::slots::MAX_SLOTS). Their words have the id, too.
#[derive(Debug, Default)]
pub(crate) struct Gateways {
    by_id: BTreeMap<Box<str>, Gateway>,
    /// The VPCs that name an id, whether there is such a gateway or not.
    users: HashMap<Box<str>, BTreeSet<VpcIx>>,
}

/// Why no version of the switch can use a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// It is of a type that the contract has and says nothing else of.
    #[error("kept, but a goal state does not say how a gateway of type {} is reached", .0.as_str_name())]
    Unreachable(GatewayType),
    /// It is an Arion gateway.
    #[error(
        "kept, but Arion's gateways have a protocol of their own that this switch does not speak"
    )]
    Arion,
    /// It is one that nobody could use.
    #[error("kept, but without arion_info nobody knows which VNI and subnet the gateway serves")]
    NoArionInfo,
}

impl Unusable {
    /// Whether and why a gateway is of no use.
    pub(crate) fn of(gateway: &GatewayConfiguration) -> Option<Self> {
        match gateway.gateway_type() {
            GatewayType::Zeta => None,
            GatewayType::Arion => match gateway.extra_info {
                Some(ExtraInfo::ArionInfo(_)) => Some(Self::Arion),
                _ => Some(Self::NoArionInfo),
            },
            of_no_use => Some(Self::Unreachable(of_no_use)),
        }
    }
}

impl Wanted {
    /// All gateways, by id.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = (&str, &Gateway)> {
        let all = self.gateways.by_id.iter();
        all.map(|(id, gateway)| (&**id, gateway))
    }

    /// The gateway of this id.
    pub(crate) fn gateway(&self, id: &str) -> Option<&Gateway> {
        self.gateways.by_id.get(id)
    }

    /// The VPCs that name a gateway.
    pub(crate) fn gateway_users(&self, id: &str) -> impl Iterator<Item = VpcIx> {
        let users = self.gateways.users.get(id).into_iter();
        users.flatten().copied()
    }

    /// The ids of a VPC's gateways, in order and each once.
    pub(crate) fn gateways_of(&self, vpc: VpcIx) -> BTreeSet<&str> {
        let vpc = self.vpc(vpc).and_then(|slot| slot.wanted.as_ref());
        let ids = vpc.into_iter().flat_map(|vpc| &vpc.said.gateway_ids);
        ids.map(String::as_str).collect()
    }

    pub(super) fn find_gateway(&self, id: &str) -> Subject {
        match self.gateways.by_id.get_key_value(id) {
            Some((id, _)) => Subject::Gateway(id.clone()),
            None => Subject::Nothing,
        }
    }

    pub(super) fn set_gateway(
        &mut self,
        id: &str,
        revision: u32,
        gateway: Option<Described<Machines, GatewayConfiguration>>,
    ) -> Result<Subject, Refused> {
        let all = &mut self.gateways.by_id;
        let old = all.get(id);
        let revision = self.revisions.next(old, revision)?;
        let users = self.gateways.users.get(id).into_iter().flatten();
        let Some(Described { value, mut said }) = gateway else {
            all.remove(id);
            self.touched.grouped.extend(users);
            return Ok(Subject::Nothing);
        };
        room(all.len(), old.is_some())?;
        self.touched.grouped.extend(users);
        said.id = id.to_owned();
        all.insert(id.into(), Revised::new(revision, value, said));
        Ok(Subject::Gateway(id.into()))
    }

    /// A VPC names `new` gateways now, and `old` ones before.
    pub(super) fn set_gateways_of(&mut self, vpc: VpcIx, old: &[String], new: &[String]) {
        if old == new {
            return;
        }
        self.touched.grouped.insert(vpc);
        let users = &mut self.gateways.users;
        for id in old {
            if let Some(of_id) = users.get_mut(id.as_str()) {
                of_id.remove(&vpc);
                if of_id.is_empty() {
                    users.remove(id.as_str());
                }
            }
        }
        for id in new {
            users.entry(id.as_str().into()).or_default().insert(vpc);
        }
    }
}
