// SPDX-License-Identifier: MIT
//! Route tables: a subnet's routers connect it to their other subnets, and add the rules written for it, or those of their
//! default tables if none are.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashSet;
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
    routes: Vec<Route>,
    /// Compiled. Stays the same object as long as the routes do.
    pub table: Arc<RouteTable>,
    /// Source MAC of routed frames that leave this host.
    pub dvr_mac: Mac,
    /// Addresses of the gateways of all subnets that its routers connect, in order; link-local ones only of its own.
    pub gateways: Arc<[IpAddr]>,
    /// There were more than a table takes; the rest is left out.
    cut: bool,
}

impl SubnetRoutes {
    /// The routes, as the controller's rules make them: also those that lose to an equal prefix.
    pub(crate) fn list(&self) -> &[Route] {
        &self.routes
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
        let hops = subnets().flat_map(move |(subnet, _)| {
            let rules = router.and_then(|router| wanted.rules(&router.value, *subnet));
            rules.map_or_else(Vec::new, |rules| self.missing_hops(*subnet, rules))
        });
        cut.chain(missing).chain(hops)
    }

    /// Next hops of these rules for the subnet that no port and no neighbor has.
    fn missing_hops(&self, subnet: SubnetIx, rules: &Rules) -> Vec<Obstacle> {
        let Some(routes) = self.routes.get(&subnet) else {
            return Vec::new();
        };
        let hops: HashSet<IpAddr> = rules
            .values()
            .filter_map(|rule| rule.next_hop.machine())
            .collect();
        let missing = routes.routes.iter().filter_map(|route| match route.target {
            Target::Via(vpc, hop) if hops.contains(&hop) => {
                let nobody = self.by_ip.winner((vpc, hop)).is_none();
                nobody.then_some(Obstacle::NoNextHop(subnet, hop))
            }
            _ => None,
        });
        let mut missing: Vec<_> = missing.collect();
        missing.dedup();
        missing
    }

    /// All machines that routes lead by way of.
    pub(crate) fn next_hops(&self) -> HashSet<(VpcId, IpAddr)> {
        let routes = self.routes.values().flat_map(|routes| &routes.routes);
        let machines = routes.filter_map(|route| match route.target {
            Target::Via(vpc, hop) => Some((vpc, hop)),
            Target::Connected(_) | Target::Blackhole => None,
        });
        machines.collect()
    }

    /// Works the subnet's routes out anew. True: ports in it have to know.
    pub(super) fn update_routes(&mut self, wanted: &Wanted, ix: SubnetIx) -> bool {
        let Some((mut routes, dvr_mac, gateways)) = self.routes_of(wanted, ix) else {
            return self.routes.remove(&ix).is_some();
        };
        let cut = routes.len() > MAX_ROUTES;
        routes.truncate(MAX_ROUTES);
        let old = self.routes.get(&ix);
        let table = match old.filter(|old| old.routes == routes) {
            Some(old) if (old.dvr_mac, old.cut) == (dvr_mac, cut) && *old.gateways == *gateways => {
                return false;
            }
            Some(old) => old.table.clone(),
            None => Arc::new(RouteTable::build(&mut routes.clone())),
        };
        self.routes.insert(
            ix,
            SubnetRoutes {
                routes,
                table,
                dvr_mac,
                gateways: gateways.into(),
                cut,
            },
        );
        true
    }

    /// Routes, host DVR MAC and gateways of a subnet. `None`: it is in no router, or no port needs them.
    fn routes_of(&self, wanted: &Wanted, ix: SubnetIx) -> Option<(Vec<Route>, Mac, Vec<IpAddr>)> {
        let slot = wanted.subnet(ix).filter(|slot| !slot.ports.is_empty())?;
        let here = self.resolved(ix).ok()?;
        let mut routers: Vec<_> = slot
            .routers
            .iter()
            .filter_map(|router| wanted.router(*router))
            .collect();
        routers.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let routers = routers
            .into_iter()
            .filter_map(|slot| Some(&slot.wanted.as_ref()?.value));
        let (mut routes, mut dvr_mac, mut gateways) = (Vec::new(), None, Vec::new());
        // The subnet's own first, whatever it is called.
        let mut vpcs = Vpcs::from([(here.vpc, "")]);
        for router in routers {
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
            let there = router.subnets.keys().filter_map(|subnet| {
                let gateway = self.resolved(*subnet).ok()?.gateway_ip?;
                (*subnet == ix || !is_link_local(gateway)).then_some(gateway)
            });
            gateways.extend(there);
            dvr_mac = dvr_mac.or(Some(router.dvr_mac.unwrap_or(DEFAULT_DVR_MAC)));
        }
        routes.sort_unstable_by_key(|route| order(route, &vpcs));
        routes.dedup();
        gateways.sort_unstable();
        gateways.dedup();
        keep_gateways(&gateways, here.vpc, &mut routes);
        Some((routes, dvr_mac?, gateways))
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
