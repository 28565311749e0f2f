// SPDX-License-Identifier: MIT
//! Why a packet goes where it goes: a [`Trace`] in words, with the entries of the tables that decided, and the controller's
//! resources that these come from.

mod dhcp;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vswitch::burst::{Meta, Payload};
use vswitch::stage::observe::Stage;
use vswitch::stage::punt::Sought;
use vswitch::stage::route;
use vswitch::tables::routes::{Route, Target};
use vswitch::tables::{Attachment, Hop, Neighbor, Neighbors, PortId, Role, TenantPort};
use vswitch::wire::{Mac, ethernet};

use super::Program;
use crate::explain::packet::{PacketError, Sender, packet};
use crate::explain::{Explanation, Named, Outcome, Seen, Step, Trace, summary};
use crate::proto::schema::ResourceType;
use crate::state::Wanted;
use crate::state::neighbor::NeighborSlot;
use crate::state::network::SubnetIx;
use crate::state::port::PortIx;
use crate::state::resource::Rule;

/// Who asks the tables, while one packet is explained.
struct Explainer<'a> {
    program: &'a Program,
    wanted: &'a Wanted,
    from: PortId,
}

impl Program {
    /// Says in words why what came of a packet that arrived on `from` came of it. Linear in the neighbors of
    /// the subnet that it goes to.
    pub(crate) fn explain(
        &self,
        wanted: &Wanted,
        from: PortId,
        frame: &[u8],
        trace: Trace,
    ) -> Explanation {
        let explainer = Explainer {
            program: self,
            wanted,
            from,
        };
        let mut steps = vec![explainer.arrival(frame)];
        let mut before = None;
        for seen in &trace.seen {
            steps.push(match &seen.packet {
                Some((meta, head)) => explainer.step(seen.stage, before, meta, head),
                None => explainer.end(seen.stage, before, &trace),
            });
            before = Some(seen);
        }
        if trace.seen.is_empty() {
            steps.push(explainer.end_of_port(&trace));
        }
        Explanation {
            steps,
            outcome: trace.outcome,
            sent: trace.sent,
            vxlan_port: explainer.vxlan_port(),
        }
    }
}

impl Program {
    /// The bytes of a packet that the machine at port `from` is to send, in [words](crate::explain::packet).
    pub(crate) fn packet(
        &self,
        wanted: &Wanted,
        from: PortId,
        text: &str,
    ) -> Result<Vec<u8>, PacketError> {
        let sender = Explainer {
            program: self,
            wanted,
            from,
        };
        let mut frame = packet(text, &sender)?;
        let tables = self.writer.published();
        if let (Role::Uplink, Some(vlan)) = (tables.role(from), tables.tunnel().vlan) {
            let behind = ethernet::ADDRESSES..ethernet::ADDRESSES;
            frame.splice(behind, ethernet::vlan_tag(vlan));
        }
        Ok(frame)
    }
}

impl<'a> Explainer<'a> {
    /// The guest at the port, as workers see it.
    fn guest(&self) -> Option<&'a TenantPort> {
        match self.program.writer.published().role(self.from) {
            Role::Tenant(guest) => Some(guest),
            _ => None,
        }
    }

    fn arrival(&self, frame: &[u8]) -> Step {
        let (port, what) = (self.from.get(), summary(frame, self.vxlan_port()));
        let text = match self.program.writer.published().role(self.from) {
            Role::Tenant(guest) => format!("from the guest {} at port {port}: {what}", guest.mac),
            Role::Uplink => format!("from the underlay at port {port}: {what}"),
            Role::Host => format!("from the host itself at port {port}: {what}"),
            Role::Unbound => format!("at port {port}, where nobody is: {what}"),
        };
        step("port", text, self.port_at(self.from))
    }

    /// A stage that let the packet pass, with what is known of it since, and its bytes; `before`: the one that it came from.
    fn step(&self, stage: Stage, before: Option<&Seen>, meta: &Meta, head: &[u8]) -> Step {
        match stage {
            Stage::Decap => {
                let (text, subnets) = self.opened(meta);
                step(name(stage), text, subnets)
            }
            Stage::Parse => step(name(stage), parsed(meta), None),
            Stage::Guard => {
                let text = "its source is the guest's own, or an allowed address pair's";
                step(name(stage), text.to_owned(), self.port_at(self.from))
            }
            Stage::Route => self.routed(meta, head),
            Stage::Neighbor => self.found(meta),
            Stage::Mss => {
                let same = |seen: &Seen| seen.packet.as_ref().is_some_and(|(_, it)| it == head);
                let text = match before.is_some_and(same) {
                    true => "no TCP connection that begins with segments that are too long",
                    false => "TCP is told to send shorter segments",
                };
                step(name(stage), text.to_owned(), None)
            }
            Stage::Encap | Stage::Deliver => {
                let to = meta.out;
                let what = summary(head, self.vxlan_port());
                let text = format!("leaves by port {}: {what}", to.get());
                step(name(stage), text, self.port_at(to))
            }
        }
    }

    /// What decapsulation found.
    fn opened(&self, meta: &Meta) -> (String, Vec<Named>) {
        let domain = meta.key >> 48;
        let subnets = self.wanted.subnets().filter_map(|(ix, _)| {
            let here = self.program.resolved(ix).ok()?;
            (u64::from(here.domain.0.get()) == domain).then_some((ix, here.vni))
        });
        let subnets: Vec<_> = subnets.collect();
        let vni = subnets.first().map_or(0, |(_, vni)| vni.get());
        let names = subnets.iter().filter_map(|(ix, _)| self.subnet(*ix));
        let text = format!("for this VTEP, VNI {vni}: outer header taken off");
        (text, names.collect())
    }

    fn routed(&self, meta: &Meta, head: &[u8]) -> Step {
        let subnet = self.subnet_spoken_in(meta, head);
        let names = subnet.and_then(|(_, ix)| self.subnet(ix));
        if !meta.routed {
            let cidr = subnet.map(|(attachment, _)| attachment.cidr.to_string());
            let cidr = cidr.unwrap_or_default();
            let text = format!("not to its gateway: switched in {cidr} by its MAC");
            return step(name(Stage::Route), text, names);
        }
        let to = Ipv4Addr::from(meta.dst_ip);
        let route = subnet.and_then(|(_, ix)| Some((ix, self.route(ix, meta)?)));
        let Some((ix, route)) = route else {
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
    fn subnet_spoken_in(&self, meta: &Meta, head: &[u8]) -> Option<(&'a Attachment, SubnetIx)> {
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

    /// The route that led to the packet's key.
    fn route(&self, subnet: SubnetIx, meta: &Meta) -> Option<Route> {
        let to = Ipv4Addr::from(meta.dst_ip);
        let key = |route: &Route| match route.target {
            Target::Connected(vpc) => Neighbors::ip_key(vpc, meta.dst_ip),
            Target::Via(vpc, hop) => Neighbors::ip_key(vpc, u32::from(hop)),
        };
        let routes = self.program.routes.get(&subnet)?.list().iter();
        let best = routes
            .filter(|route| route.prefix.contains(&to) && key(route) == meta.key)
            .max_by_key(|route| (route.prefix.prefix_len(), !route.priority))?;
        Some(*best)
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
            let rules = router.value.subnets.get(&subnet).into_iter().flatten();
            let mut rules = rules.filter(|(_, rule)| is_of(route, rule));
            if let Some((_, rule)) = rules.next() {
                let id = Some(&rule.said.id).filter(|id| !id.is_empty());
                let id = id.map_or("without id", String::as_str);
                let text = format!("rule {id}, priority {}", rule.priority);
                return (Some(text), vec![named]);
            }
            let holds = |ix: &SubnetIx| {
                let there = self.program.resolved(*ix).ok();
                there.is_some_and(|there| Ipv4Net::contains(&there.cidr, &route.prefix))
            };
            if router.value.subnets.keys().any(holds) {
                connected.push(named);
            }
        }
        connected.truncate(1);
        (None, connected)
    }

    /// What the neighbor tables have for the packet.
    fn found(&self, meta: &Meta) -> Step {
        let what = self.sought(meta);
        let Some(neighbor) = meta.neighbor.neighbor() else {
            return step(name(Stage::Neighbor), what, None);
        };
        let (mac, vni) = (neighbor.mac, neighbor.vni.get());
        let (place, because) = match neighbor.hop {
            Hop::Local(port) => (format!("here, at port {}", port.get()), self.port_at(port)),
            Hop::Remote(_) => match self.claimant(meta, neighbor) {
                Some(slot) => {
                    let named = Named {
                        kind: ResourceType::Neighbor,
                        id: slot.id.to_string(),
                        revision: slot.revision,
                    };
                    (format!("on host {}", slot.place.host), Some(named))
                }
                None => ("on another host".to_owned(), None),
            },
        };
        let text = format!("{what} is {mac} in VNI {vni}, {place}");
        step(name(Stage::Neighbor), text, because)
    }

    /// The controller's neighbor that an entry of the tables comes from.
    fn claimant(&self, meta: &Meta, neighbor: Neighbor) -> Option<&'a NeighborSlot> {
        let to = Ipv4Addr::from(meta.dst_ip);
        self.program
            .claimant(self.wanted, sought(meta)?, neighbor, to)
    }

    /// What is looked up for the packet.
    fn sought(&self, meta: &Meta) -> String {
        match sought(meta) {
            Some(Sought::Ip(_, ip)) => ip.to_string(),
            Some(Sought::Mac(_, mac)) => mac.to_string(),
            None => "nothing".to_owned(),
        }
    }

    /// The stage that the packet did not come out of; `before`: the one that it came from.
    fn end(&self, stage: Stage, before: Option<&Seen>, trace: &Trace) -> Step {
        if let Some((text, because)) = self.dhcp(trace) {
            return step(name(stage), text, because);
        }
        let before = before.and_then(|seen| seen.packet.as_ref());
        let mut text = match (stage, trace.outcome) {
            (Stage::Encap, Outcome::Forwarded) => {
                format!("too long: leaves in {} fragments", trace.sent.len())
            }
            _ => self.fate(trace),
        };
        let mut because = None;
        if let Some((meta, head)) = before {
            match stage {
                Stage::Neighbor => text = format!("{}: {text}", self.sought(meta)),
                Stage::Route => {
                    let subnet = self.subnet_spoken_in(meta, head);
                    because = subnet.and_then(|(_, ix)| self.subnet(ix));
                }
                Stage::Guard => because = self.port_at(self.from),
                _ => {}
            }
        }
        step(name(stage), text, because)
    }

    /// The port that the packet did not get past.
    fn end_of_port(&self, trace: &Trace) -> Step {
        step("port", self.fate(trace), self.port_at(self.from))
    }

    fn fate(&self, trace: &Trace) -> String {
        match trace.outcome {
            Outcome::Forwarded => "the host's own traffic: passed on as it is".to_owned(),
            Outcome::Answered => "for the switch itself, which answers".to_owned(),
            Outcome::Held(to) => format!(
                "held, and the controller asked for {} in VNI {}",
                to.ip,
                to.vni.get()
            ),
            Outcome::Dropped(reason) => {
                let told = match trace.sent.is_empty() {
                    true => "",
                    false => " Its sender is told.",
                };
                format!(
                    "dropped as {}: {}{told}",
                    reason.name(),
                    reason.explanation()
                )
            }
        }
    }

    fn port_ix(&self, port: PortId) -> Option<PortIx> {
        let mut ports = self.wanted.ports();
        ports.find_map(|(ix, slot)| (slot.bound == Some(port)).then_some(ix))
    }

    fn port_at(&self, port: PortId) -> Option<Named> {
        let slot = self.wanted.port(self.port_ix(port)?)?;
        Some(Named {
            kind: ResourceType::Port,
            id: slot.id.to_string(),
            revision: slot.wanted.as_ref()?.revision,
        })
    }

    fn subnet(&self, ix: SubnetIx) -> Option<Named> {
        let slot = self.wanted.subnet(ix)?;
        Some(Named {
            kind: ResourceType::Subnet,
            id: slot.id.to_string(),
            revision: slot.wanted.as_ref()?.revision,
        })
    }
}

/// A packet without words for it is what the machine at the port would send.
impl Sender for Explainer<'_> {
    fn mac(&self) -> Option<Mac> {
        self.guest().map(|guest| guest.mac)
    }

    fn address(&self) -> Option<Ipv4Addr> {
        let slot = self.wanted.port(self.port_ix(self.from)?)?;
        let (_, ip) = slot.wanted.as_ref()?.value.fixed_ips.first()?;
        Some(*ip)
    }

    fn resolve(&self, to: Ipv4Addr) -> Option<Mac> {
        let (guest, tables) = (self.guest()?, self.program.writer.published());
        let near = guest.attachments.iter().find(|it| it.cidr.contains(&to));
        match near {
            Some(subnet) if subnet.gateway_ip == Some(to) => subnet.gateway_mac,
            Some(subnet) => Some(tables.neighbors.find_ip(subnet.vpc, to)?.mac),
            None => guest.attachments.first()?.gateway_mac,
        }
    }

    fn vxlan_port(&self) -> u16 {
        self.program.writer.published().tunnel().udp_port
    }
}

fn step(stage: &'static str, text: String, because: impl IntoIterator<Item = Named>) -> Step {
    Step {
        stage,
        text,
        because: because.into_iter().collect(),
    }
}

const fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Decap => "decap",
        Stage::Parse => "parse",
        Stage::Guard => "guard",
        Stage::Route => "route",
        Stage::Neighbor => "neighbor",
        Stage::Mss => "mss",
        Stage::Encap => "encap",
        Stage::Deliver => "deliver",
    }
}

fn parsed(meta: &Meta) -> String {
    let (dscp, ecn) = (meta.tos >> 2, meta.tos & 3);
    match meta.payload {
        Payload::Ipv4 => format!(
            "IPv4 to {}, time to live {}, DSCP {dscp}, ECN {ecn}",
            Ipv4Addr::from(meta.dst_ip),
            meta.ttl
        ),
        Payload::Ipv6 => format!("IPv6, DSCP {dscp}, ECN {ecn}"),
        Payload::Other => "neither IPv4 nor IPv6, or behind a VLAN tag".to_owned(),
    }
}

/// What a packet is looked up by.
fn sought(meta: &Meta) -> Option<Sought> {
    if meta.routed {
        let (vpc, ip) = Neighbors::of_ip_key(meta.key)?;
        return Some(Sought::Ip(vpc, ip));
    }
    let (domain, mac) = Neighbors::of_mac_key(meta.key)?;
    Some(Sought::Mac(domain, mac))
}

/// True if the rule makes this route.
fn is_of(route: &Route, rule: &Rule) -> bool {
    let hop = match route.target {
        Target::Connected(_) => None,
        Target::Via(_, hop) => Some(hop),
    };
    (rule.destination, rule.priority, rule.next_hop) == (route.prefix, route.priority, hop)
}
