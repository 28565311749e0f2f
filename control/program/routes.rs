// SPDX-License-Identifier: MIT
//! Route tables: a subnet's routers connect it to their other subnets, and add the rules written for it, or those of their
//! default tables if none are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;
pub(crate) use vswitch::tables::routes::MAX_ROUTES;
use vswitch::tables::routes::{Route, Target};
use vswitch::tables::{RouteTable, VpcId};
use vswitch::wire::Mac;

use super::{Obstacle, Program};
use crate::southbound::field::is_link_local;
use crate::state::Wanted;
use crate::state::network::SubnetIx;
use crate::state::resource::{NextHop, Rule};
use crate::state::router::{Router, RouterIx, Rules};

/// Priority of the route to a connected subnet: a rule for exactly the same prefix wins, so that a
/// controller can lead a subnet's traffic through a machine of its own.
const CONNECTED: u32 = u32::MAX;

/// What the controller uses as host DVR MAC everywhere, for routers that do not say.
const DEFAULT_DVR_MAC: Mac = Mac::new([0xfe, 0x16, 0x11, 0, 0, 0]);

/// The routes of a subnet that ports of this host are in.
#[derive(Clone, Debug)]
pub(crate) struct SubnetRoutes {
    /// In a fixed order, to compare with.
    routes: Arc<[Route]>,
    /// Compiled. Stays the same object as long as the routes do, and so do these: subnets of a router with equal ones share both.
    pub table: Arc<RouteTable>,
    /// Source MAC of routed frames that leave this host.
    pub dvr_mac: Mac,
    /// Addresses of the gateways of all subnets that its routers connect, in order; link-local ones only of its own.
    pub gateways: Arc<[IpAddr]>,
    /// There were more than a table takes; the rest is left out.
    cut: bool,
}

/// Subnets whose routes were just worked out, by what makes others' the same: their routers and their VPC. Those with rules of
/// their own are not here.
pub(super) type Worked = HashMap<(BTreeSet<RouterIx>, VpcId), SubnetIx>;

impl SubnetRoutes {
    /// The routes, as the controller's rules make them: also those that lose to an equal prefix.
    pub(crate) fn list(&self) -> &[Route] {
        &self.routes
    }

    /// True if ports need not know which of the two it is.
    fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
            && (self.dvr_mac, self.cut) == (other.dvr_mac, other.cut)
            && self.gateways == other.gateways
    }
}

impl Program {
    /// What the router lacks, the worst first: room for its routes, subnets, next hops of rules that this host needs.
    pub(super) fn router_obstacles<'a>(
        &'a self,
        wanted: &'a Wanted,
        ix: RouterIx,
    ) -> impl Iterator<Item = Obstacle> + 'a {
        let router = wanted.router(ix).and_then(|slot| slot.wanted.as_ref());
        let subnets = move || router.into_iter().flat_map(|router| &router.value.subnets);
        let is_cut = |subnet| self.routes.get(subnet).is_some_and(|routes| routes.cut);
        let cut = subnets()
            .filter(move |(subnet, _)| is_cut(*subnet))
            .map(|(subnet, _)| Obstacle::TooManyRoutes(*subnet));
        let missing = subnets().filter_map(|(subnet, _)| self.resolved(*subnet).err());
        let hops = self.missing_hops(wanted, ix);
        let hops = hops.map(|(_, subnet, hop)| Obstacle::NoNextHop(subnet, hop));
        cut.chain(missing).chain(hops)
    }

    /// Next hops of the router's rules that no port and no neighbor has, with the first subnet here whose table leads to them, and
    /// whether that is the router's default one. The default rules of subnets that share their routes are looked at once.
    pub(super) fn missing_hops<'a>(
        &'a self,
        wanted: &'a Wanted,
        ix: RouterIx,
    ) -> impl Iterator<Item = (bool, SubnetIx, IpAddr)> + 'a {
        let router = wanted.router(ix).and_then(|slot| slot.wanted.as_ref());
        let router = router.map(|router| &router.value);
        let subnets = router.into_iter().flat_map(|router| router.subnets.keys());
        let (mut default_hops, mut seen) = (None, HashSet::new());
        subnets.flat_map(move |subnet| {
            let rules = router.and_then(|router| wanted.rules(router, *subnet));
            let (Some(routes), Some(rules)) = (self.routes.get(subnet), rules) else {
                return Vec::new();
            };
            if wanted.has_own_rules(*subnet) {
                let hops = self.missing_of(routes, &machines(rules));
                return hops.into_iter().map(|hop| (false, *subnet, hop)).collect();
            }
            if !seen.insert(Arc::as_ptr(&routes.table)) {
                return Vec::new();
            }
            let hops = default_hops.get_or_insert_with(|| machines(rules));
            let hops = self.missing_of(routes, hops);
            hops.into_iter().map(|hop| (true, *subnet, hop)).collect()
        })
    }

    /// Those of `hops` that these routes lead to, and nobody has.
    fn missing_of(&self, routes: &SubnetRoutes, hops: &HashSet<IpAddr>) -> Vec<IpAddr> {
        let missing = routes.routes.iter().filter_map(|route| match route.target {
            Target::Via(vpc, hop) if hops.contains(&hop) => {
                let nobody = self.by_ip.winner((vpc, hop)).is_none();
                nobody.then_some(hop)
            }
            _ => None,
        });
        let mut missing: Vec<_> = missing.collect();
        missing.dedup();
        missing
    }

    /// All machines that routes lead by way of.
    pub(crate) fn next_hops(&self) -> HashSet<(VpcId, IpAddr)> {
        let routes = self.routes.values().flat_map(|routes| routes.list());
        let machines = routes.filter_map(|route| match route.target {
            Target::Via(vpc, hop) => Some((vpc, hop)),
            Target::Connected(_) | Target::Blackhole => None,
        });
        machines.collect()
    }

    /// Works the subnet's routes out anew. True: ports in it have to know.
    pub(super) fn update_routes(
        &mut self,
        wanted: &Wanted,
        ix: SubnetIx,
        worked: &mut Worked,
    ) -> bool {
        let Some(new) = self.routes_of(wanted, ix, worked) else {
            return self.routes.remove(&ix).is_some();
        };
        let old = self.routes.get(&ix);
        if old.is_some_and(|old| old.is_like(&new)) {
            return false;
        }
        self.routes.insert(ix, new);
        true
    }

    /// Routes, host DVR MAC and gateways of a subnet. `None`: it is in no router, or no port needs them.
    fn routes_of(
        &self,
        wanted: &Wanted,
        ix: SubnetIx,
        worked: &mut Worked,
    ) -> Option<SubnetRoutes> {
        let slot = wanted.subnet(ix).filter(|slot| !slot.ports.is_empty())?;
        let here = self.resolved(ix).ok()?;
        let routers = slot.routers.iter().filter_map(|ix| wanted.router(*ix));
        let routers = routers.filter_map(|slot| Some((&slot.id, &slot.wanted.as_ref()?.value)));
        let mut routers: Vec<_> = routers.collect();
        routers.sort_unstable_by_key(|(id, _)| *id);
        let routers: Vec<_> = routers.into_iter().map(|(_, router)| router).collect();
        let dvr_mac = routers.first()?.dvr_mac.unwrap_or(DEFAULT_DVR_MAC);
        let gateways = self.gateways_of(&routers, ix);
        let alike = (!wanted.has_own_rules(ix)).then(|| (slot.routers.clone(), here.vpc));
        let twin = alike.as_ref().and_then(|alike| worked.get(alike));
        if let Some(twin) = twin.and_then(|twin| self.routes.get(twin)) {
            return Some(SubnetRoutes {
                gateways: gateways.into(),
                ..twin.clone()
            });
        }
        worked.extend(alike.map(|alike| (alike, ix)));
        // The subnet's own first, whatever it is called.
        let mut vpcs = Vpcs::from([(here.vpc, "")]);
        let mut routes = Vec::new();
        for router in &routers {
            for subnet in router.subnets.keys() {
                if let Ok(there) = self.resolved(*subnet)
                    && let Some(vpc) = wanted
                        .subnet(*subnet)
                        .and_then(|slot| wanted.vpc(slot.vpc?))
                {
                    vpcs.entry(there.vpc).or_insert(&vpc.id);
                }
            }
            let rules = wanted.rules(router, ix);
            self.add_routes(router, rules, here.vpc, &vpcs, &mut routes);
        }
        routes.sort_unstable_by_key(|route| order(route, &vpcs));
        routes.dedup();
        keep_gateways(&gateways, here.vpc, &mut routes);
        let cut = routes.len() > MAX_ROUTES;
        routes.truncate(MAX_ROUTES);
        let (routes, table) = self.compiled(ix, &routers, routes);
        Some(SubnetRoutes {
            routes,
            table,
            dvr_mac,
            gateways: gateways.into(),
            cut,
        })
    }

    /// The routes and their table: what the subnet has already, or another one of its routers, if they are the same.
    fn compiled(
        &self,
        ix: SubnetIx,
        routers: &[&Router],
        mut routes: Vec<Route>,
    ) -> (Arc<[Route]>, Arc<RouteTable>) {
        let others = routers.iter().flat_map(|router| router.subnets.keys());
        let mut all = std::iter::once(&ix).chain(others);
        let same = all.find_map(|ix| self.routes.get(ix).filter(|it| *it.routes == *routes));
        if let Some(same) = same {
            return (same.routes.clone(), same.table.clone());
        }
        let list = routes.as_slice().into();
        (list, Arc::new(RouteTable::build(&mut routes)))
    }

    /// Addresses of the gateways that a subnet's routers connect it to, its own among them.
    fn gateways_of(&self, routers: &[&Router], ix: SubnetIx) -> Vec<IpAddr> {
        let subnets = routers.iter().flat_map(|router| router.subnets.keys());
        let gateways = subnets.filter_map(|subnet| {
            let gateway = self.resolved(*subnet).ok()?.gateway_ip?;
            (*subnet == ix || !is_link_local(gateway)).then_some(gateway)
        });
        let mut gateways: Vec<_> = gateways.collect();
        gateways.sort_unstable();
        gateways.dedup();
        gateways
    }

    /// Adds the subnets that `router` connects, and `rules` for one of them, which is in `vpc`.
    fn add_routes(
        &self,
        router: &Router,
        rules: Option<&Rules>,
        vpc: VpcId,
        vpcs: &Vpcs<'_>,
        routes: &mut Vec<Route>,
    ) {
        let subnets = router
            .subnets
            .keys()
            .filter_map(|subnet| self.resolved(*subnet).ok());
        let connected = subnets.map(|s| Route {
            prefix: s.cidr,
            priority: CONNECTED,
            target: Target::Connected(s.vpc),
        });
        let mut connected: Vec<Route> = connected.collect();
        connected.sort_unstable_by_key(|route| order(route, vpcs));
        routes.extend_from_slice(&connected);
        // A next hop may be in a subnet of another VPC that the router connects.
        let table = RouteTable::build(&mut connected);
        let vpc_of = |hop: IpAddr| match table.lookup(hop).first() {
            Some(Target::Connected(there)) => *there,
            _ => vpc,
        };
        let rules = rules.into_iter().flat_map(|rules| rules.values());
        routes.extend(rules.map(|rule| {
            let target = match rule.next_hop {
                NextHop::Link => Target::Connected(vpc),
                NextHop::Via(hop) => Target::Via(vpc_of(hop), hop),
                NextHop::Blackhole => Target::Blackhole,
            };
            Route {
                prefix: rule.destination,
                priority: priority(rule),
                target,
            }
        }));
    }
}

/// The machines that rules lead by way of.
fn machines(rules: &Rules) -> HashSet<IpAddr> {
    let hops = rules.values().filter_map(|rule| rule.next_hop.machine());
    hops.collect()
}

/// Sees to it that no rule leads away what is for a gateway itself, which this switch answers: then its address is routed
/// as one of the subnet's. A rule for exactly the gateway's address is the controller's wish.
fn keep_gateways(gateways: &[IpAddr], vpc: VpcId, routes: &mut Vec<Route>) {
    for &gateway in gateways.iter().filter(|gateway| !is_link_local(**gateway)) {
        let covering = routes
            .iter()
            .filter(|route| route.prefix.contains(&gateway));
        // Of equal ones the first, as in the table.
        let best =
            covering.min_by_key(|route| (Reverse(route.prefix.prefix_len()), route.priority));
        let led_away = best.is_some_and(|route| !matches!(route.target, Target::Connected(_)));
        if led_away {
            routes.push(Route {
                prefix: gateway.into(),
                priority: CONNECTED,
                target: Target::Connected(vpc),
            });
        }
    }
}

/// A rule's priority in the table, where the last one is that of connected subnets.
pub(super) fn priority(rule: &Rule) -> u32 {
    rule.priority.min(CONNECTED - 1)
}

/// The controller's ids of VPCs.
type Vpcs<'a> = BTreeMap<VpcId, &'a str>;

/// A total order by what was said: it makes equal tables of equal routes, in whatever order they were learned and numbers
/// were given to VPCs.
fn order<'a>(route: &Route, vpcs: &Vpcs<'a>) -> (IpNet, u32, Option<&'a str>, Option<IpAddr>) {
    let (vpc, hop) = match route.target {
        Target::Blackhole => (None, None),
        Target::Connected(vpc) => (Some(vpc), None),
        Target::Via(vpc, hop) => (Some(vpc), Some(hop)),
    };
    let vpc = vpc.and_then(|vpc| vpcs.get(&vpc).copied());
    (route.prefix, route.priority, vpc, hop)
}
