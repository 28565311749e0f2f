// SPDX-License-Identifier: MIT
//! Routers: which subnets they connect, and the further routes of each.

use std::collections::BTreeMap;

use vswitch::tables::routes::MAX_ROUTES;
use vswitch::wire::Mac;

use super::network::SubnetIx;
use super::resource::{RouterUpdate, Rule, RuleKey, SubnetRules};
use super::slots::{Ix, Slot};
use super::{Refused, Revised, Subject, Wanted};
use crate::proto::schema::RouterConfiguration;

/// Most subnets of one router: as many as VNIs that this switch can tell apart.
pub(crate) const MAX_SUBNETS: usize = 1 << 16;

/// Number of a router's slot.
pub(crate) type RouterIx = Ix<RouterSlot>;

/// A router.
#[derive(Debug)]
pub(crate) struct RouterSlot {
    /// As the controller calls it.
    pub id: Box<str>,
    /// What the controller said of it, all updates merged.
    pub wanted: Option<Revised<Router, RouterConfiguration>>,
}

/// What is known of a router.
#[derive(Clone, Debug, Default)]
pub(crate) struct Router {
    /// Source MAC of routed frames that leave this host, if one was said.
    pub dvr_mac: Option<Mac>,
    /// The subnets it connects, each with its rules.
    pub subnets: BTreeMap<SubnetIx, Rules>,
    /// The rules of those that have none of their own.
    pub default: Rules,
}

/// A table of rules.
pub(crate) type Rules = BTreeMap<RuleKey, Rule>;

impl Slot for RouterSlot {
    fn new(id: Box<str>) -> Self {
        Self { id, wanted: None }
    }
    fn id(&self) -> &str {
        &self.id
    }
    fn in_use(&self) -> bool {
        self.wanted.is_some()
    }
}

impl Wanted {
    /// The router of this number.
    pub(crate) fn router(&self, ix: RouterIx) -> Option<&RouterSlot> {
        self.routers.get(ix)
    }

    /// All routers.
    pub(crate) fn routers(&self) -> impl Iterator<Item = (RouterIx, &RouterSlot)> {
        self.routers.iter()
    }

    /// The rules of a router that hold for a subnet: its own table there, or the router's default one if no router has a table
    /// of the subnet's own with a rule in it.
    pub(crate) fn rules<'a>(&'a self, router: &'a Router, subnet: SubnetIx) -> Option<&'a Rules> {
        let own = router.subnets.get(&subnet)?;
        Some(match self.has_own_rules(subnet) {
            true => own,
            false => &router.default,
        })
    }

    /// True if a router has a table of the subnet's own with a rule in it.
    pub(crate) fn has_own_rules(&self, subnet: SubnetIx) -> bool {
        let routers = self
            .subnet(subnet)
            .into_iter()
            .flat_map(|slot| &slot.routers);
        let mut routers = routers.filter_map(|ix| self.router(*ix)?.wanted.as_ref());
        let has_own = |router: &Revised<Router, _>| {
            let own = router.value.subnets.get(&subnet);
            own.is_some_and(|own| !own.is_empty())
        };
        routers.any(has_own)
    }

    pub(super) fn set_router(
        &mut self,
        id: &str,
        revision: u32,
        update: Option<RouterUpdate>,
    ) -> Result<Subject, Refused> {
        let Some(ix) = self.routers.slot_for(id, update.is_some())? else {
            return Ok(Subject::Nothing);
        };
        let Some(slot) = self.routers.get_mut(ix) else {
            return Ok(Subject::Nothing);
        };
        let revision = self.revisions.next(slot.wanted.as_ref(), revision)?;
        self.unused.routers.push(ix);
        if let Some(update) = &update {
            let (old, nothing) = (slot.wanted.as_ref(), Router::default());
            let old = old.filter(|_| !update.full).map(|old| &old.value);
            room(old.unwrap_or(&nothing), &update.subnets, |id| {
                self.subnets.find(id)
            })?;
        }
        let old = slot.wanted.take().map(|old| old.value).unwrap_or_default();
        self.touched.routed.extend(old.subnets.keys());
        let Some(update) = update else {
            self.disconnect(ix, old.subnets.keys());
            return Ok(Subject::Nothing);
        };
        let RouterUpdate {
            full,
            dvr_mac,
            subnets,
            said,
        } = update;
        let router = if full {
            self.replace_router(ix, &old, dvr_mac, subnets)
        } else {
            self.merge_router(ix, old, dvr_mac, subnets)
        };
        self.touched.routed.extend(router.subnets.keys());
        if let Some(slot) = self.routers.get_mut(ix) {
            slot.wanted = Some(Revised::new(revision, router, said));
        }
        Ok(Subject::Router(ix))
    }

    fn replace_router(
        &mut self,
        ix: RouterIx,
        old: &Router,
        dvr_mac: Option<Mac>,
        subnets: Vec<SubnetRules>,
    ) -> Router {
        let new = self.merge_router(ix, Router::default(), dvr_mac, subnets);
        self.disconnect(
            ix,
            old.subnets
                .keys()
                .filter(|subnet| !new.subnets.contains_key(subnet)),
        );
        new
    }

    fn merge_router(
        &mut self,
        ix: RouterIx,
        mut router: Router,
        dvr_mac: Option<Mac>,
        subnets: Vec<SubnetRules>,
    ) -> Router {
        router.dvr_mac = dvr_mac.or(router.dvr_mac);
        for SubnetRules { subnet, rules } in subnets {
            let known = match subnet {
                None => &mut router.default,
                Some(subnet) => {
                    let subnet = self.subnets.intern(&subnet);
                    if let Some(slot) = self.subnets.get_mut(subnet) {
                        slot.routers.insert(ix);
                    }
                    router.subnets.entry(subnet).or_default()
                }
            };
            for (key, rule) in rules {
                match rule {
                    Some(rule) => known.insert(key, rule),
                    None => known.remove(&key),
                };
            }
        }
        router
    }

    fn disconnect<'a>(&mut self, ix: RouterIx, subnets: impl Iterator<Item = &'a SubnetIx>) {
        for &subnet in subnets {
            self.unused.subnets.push(subnet);
            if let Some(slot) = self.subnets.get_mut(subnet) {
                slot.routers.remove(&ix);
            }
        }
    }
}

/// Whether a router may have what is to be merged into it: all of it, as one goal state says it (to the store, at last). What is
/// deleted at the same time makes no room.
fn room(
    old: &Router,
    update: &[SubnetRules],
    find: impl Fn(&str) -> Option<SubnetIx>,
) -> Result<(), Refused> {
    let mut tables: BTreeMap<Option<&str>, (bool, usize)> = BTreeMap::new();
    for SubnetRules { subnet, rules } in update {
        let known = match subnet {
            None => Some(&old.default),
            Some(id) => find(id).and_then(|ix| old.subnets.get(&ix)),
        };
        let is_new = |key: &RuleKey| known.is_none_or(|known| !known.contains_key(key));
        let added = rules
            .iter()
            .filter(|(key, rule)| rule.is_some() && is_new(key));
        let table = tables.entry(subnet.as_deref());
        let (_, count) = table.or_insert((known.is_none(), known.map_or(0, Rules::len)));
        *count += added.count();
        if *count > MAX_ROUTES {
            return Err(Refused::TooManyIn(MAX_ROUTES, "rules of a subnet"));
        }
    }
    let more = tables.values().filter(|(is_new, _)| *is_new).count();
    // A table too, as it is said.
    let default = tables.get(&None).map_or(old.default.len(), |it| it.1);
    match old.subnets.len() + more + usize::from(default > 0) > MAX_SUBNETS {
        true => Err(Refused::TooManyIn(MAX_SUBNETS, "subnets")),
        false => Ok(()),
    }
}
