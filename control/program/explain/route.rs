// SPDX-License-Identifier: MIT
//! Which subnet a guest spoke in, and by which route its packet goes on.

use std::net::IpAddr;

use vswitch::burst::{Meta, Payload};
use vswitch::stage::observe::Stage;
use vswitch::stage::route;
use vswitch::tables::routes::{Route, Target};
use vswitch::tables::{Attachment, Neighbors, VpcId};

use super::super::routes::priority;
use super::{Explainer, destination, name, step};
use crate::explain::{Named, Step};
use crate::proto::schema::ResourceType;
use crate::state::network::SubnetIx;
use crate::state::resource::{NextHop, Rule};

impl<'a> Explainer<'a> {
    pub(super) fn routed(&self, meta: &Meta, head: &[u8]) -> Step {
        let subnet = self.subnet_spoken_in(meta, head);
        let names = subnet.and_then(|(_, ix)| self.subnet(ix));
        if !meta.routed {
            let cidr = subnet.map(|(attachment, _)| attachment.cidr.to_string());
            let cidr = cidr.unwrap_or_default();
            let text = format!("not to its gateway: switched in {cidr} by its MAC");
            return step(name(Stage::Route), text, names);
        }
        let route = subnet.and_then(|(_, ix)| Some((ix, self.route(ix, meta, head)?)));
        let (Some(to), Some((ix, route))) = (destination(meta, head), route) else {
            let text = "to its gateway: routed by an entry that changes just now".to_owned();
            return step(name(Stage::Route), text, names);
        };
        let (rule, router) = self.rule(ix, &route);
        let text = match (route.target, rule) {
            (Target::Via(_, hop), Some(rule)) => {
                format!(
                    "to its gateway: {to} is in {} via {hop}, {rule}",
                    route.prefix
                )
            }
            (_, Some(rule)) => format!("to its gateway: {to} is in {}, {rule}", route.prefix),
            (_, None) => format!("to its gateway: {to} is in {}, connected", route.prefix),
        };
        step(name(Stage::Route), text, names.into_iter().chain(router))
    }

    /// The subnet that the guest speaks in.
    pub(super) fn subnet_spoken_in(
        &self,
        meta: &Meta,
        head: &[u8],
    ) -> Option<(&'a Attachment, SubnetIx)> {
        let attachment = route::subnet(self.guest()?, head, meta)?;
        let slot = self.wanted.port(self.port_ix(self.from)?)?;
        let fixed_ips = &slot.wanted.as_ref()?.value.fixed_ips;
        let is_it = |ix: &SubnetIx| {
            let here = self.program.resolved(*ix).ok();
            here.is_some_and(|here| {
                (here.cidr, here.domain) == (attachment.cidr, attachment.domain)
            })
        };
        let ix = fixed_ips.iter().map(|(ix, _)| *ix).find(is_it)?;
        Some((attachment, ix))
    }

    /// The route that led to the packet's next hop.
    fn route(&self, subnet: SubnetIx, meta: &Meta, head: &[u8]) -> Option<Route> {
        let to = destination(meta, head)?;
        let next_hop = self.next_hop(meta, head)?;
        let leads_there = |route: &Route| match route.target {
            Target::Connected(vpc) => (vpc, to) == next_hop,
            Target::Via(vpc, hop) => (vpc, hop) == next_hop,
            Target::Blackhole => false,
        };
        let routes = self.program.routes.get(&subnet)?.list().iter();
        let best = routes
            .filter(|route| route.prefix.contains(&to) && leads_there(route))
            .max_by_key(|route| (route.prefix.prefix_len(), !route.priority))?;
        Some(*best)
    }

    /// The rule that leads a packet nowhere, and its router.
    pub(super) fn blackhole(
        &self,
        subnet: Option<SubnetIx>,
        meta: &Meta,
        head: &[u8],
    ) -> Option<(String, Vec<Named>)> {
        let (subnet, to) = (subnet?, destination(meta, head)?);
        let routes = self.program.routes.get(&subnet)?.list().iter();
        let nowhere = routes
            .filter(|route| route.target == Target::Blackhole && route.prefix.contains(&to))
            .max_by_key(|route| (route.prefix.prefix_len(), !route.priority))?;
        let (rule, router) = self.rule(subnet, nowhere);
        let text = format!("to its gateway: {to} is in {}, {}", nowhere.prefix, rule?);
        Some((text, router))
    }

    /// Where a routed packet goes next.
    pub(super) fn next_hop(&self, meta: &Meta, head: &[u8]) -> Option<(VpcId, IpAddr)> {
        if meta.payload == Payload::Ipv6 {
            let (vpc, ip) = route::next_hop(self.guest()?, head, meta)?;
            return Some((vpc, ip.into()));
        }
        let (vpc, ip) = Neighbors::of_ip_key(meta.key)?;
        Some((vpc, ip.into()))
    }

    /// The rule that makes a route of the subnet, and the router that it, or the connection, is of.
    fn rule(&self, subnet: SubnetIx, route: &Route) -> (Option<String>, Vec<Named>) {
        let slot = self.wanted.subnet(subnet);
        let routers = slot.into_iter().flat_map(|slot| &slot.routers);
        let mut connected = Vec::new();
        for slot in routers.filter_map(|ix| self.wanted.router(*ix)) {
            let Some(router) = &slot.wanted else { continue };
            let named = Named {
                kind: ResourceType::Router,
                id: slot.id.to_string(),
                revision: router.revision,
            };
            let rules = self
                .wanted
                .rules(&router.value, subnet)
                .into_iter()
                .flatten();
            let mut rules = rules.filter(|(_, rule)| is_of(route, rule));
            if let Some((_, rule)) = rules.next() {
                let id = Some(&rule.said.id).filter(|id| !id.is_empty());
                let id = id.map_or("without id", String::as_str);
                let text = format!("rule {id}, priority {}", rule.priority);
                return (Some(text), vec![named]);
            }
            let holds = |ix: &SubnetIx| {
                let there = self.program.resolved(*ix).ok();
                there.is_some_and(|there| there.cidr.contains(&route.prefix))
            };
            if router.value.subnets.keys().any(holds) {
                connected.push(named);
            }
        }
        connected.truncate(1);
        (None, connected)
    }
}

/// True if the rule makes this route.
fn is_of(route: &Route, rule: &Rule) -> bool {
    let hop = match route.target {
        Target::Connected(_) => NextHop::Link,
        Target::Via(_, hop) => NextHop::Via(hop),
        Target::Blackhole => NextHop::Blackhole,
    };
    (rule.destination, priority(rule), rule.next_hop) == (route.prefix, route.priority, hop)
}
