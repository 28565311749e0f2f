// SPDX-License-Identifier: MIT
//! Why a packet goes where it goes: a [`Trace`] in words, with the entries of the tables that decided, and the controller's
//! resources that these come from.

mod copies;
mod dhcp;
mod route;
mod sender;

use std::net::{IpAddr, Ipv4Addr};

use vswitch::burst::{Meta, Payload};
use vswitch::counters::DropReason;
use vswitch::stage::observe::Stage;
use vswitch::stage::punt::Sought;
use vswitch::stage::trunk::Subport;
use vswitch::tables::{Hop, Neighbor, Neighbors, PortId, Role, TenantPort};
use vswitch::wire::nd::{self, NeighborHdr};
use vswitch::wire::{ArpHdr, Mac, ethernet};

use super::Program;
use crate::explain::packet::{PacketError, Sender, packet};
use crate::explain::{Explanation, Named, Outcome, Seen, Step, Trace, summary};
use crate::proto::schema::ResourceType;
use crate::state::Wanted;
use crate::state::neighbor::NeighborSlot;
use crate::state::network::SubnetIx;
use crate::state::port::PortIx;

/// Who asks the tables, while one packet is explained.
struct Explainer<'a> {
    program: &'a Program,
    wanted: &'a Wanted,
    from: PortId,
    subports: &'a [(PortId, Subport)],
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
        subports: &[(PortId, Subport)],
    ) -> Explanation {
        let explainer = Explainer {
            program: self,
            wanted,
            from,
            subports,
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
            subports: &[],
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
        let (port, what) = (self.place(self.from), summary(frame, self.vxlan_port()));
        let text = match self.program.writer.published().role(self.from) {
            Role::Tenant(guest) => format!("from the guest {} at port {port}: {what}", guest.mac),
            Role::Uplink => format!("from the underlay at port {port}: {what}"),
            Role::Host => format!("from the host itself at port {port}: {what}"),
            Role::Unbound => format!("at port {port}, where nobody is: {what}"),
        };
        step("port", text, self.port_at(self.from))
    }

    /// A port's number, and what it is a subport of.
    fn place(&self, port: PortId) -> String {
        let subport = self.subports.iter().find(|(it, _)| *it == port);
        let number = port.get();
        subport.map_or(number.to_string(), |(_, Subport { parent, vlan })| {
            format!("{number} (VLAN {vlan} of port {})", parent.get())
        })
    }

    /// A stage that let the packet pass, with what is known of it since, and its bytes; `before`: the one that it came from.
    fn step(&self, stage: Stage, before: Option<&Seen>, meta: &Meta, head: &[u8]) -> Step {
        match stage {
            Stage::Decap => {
                let (text, subnets) = self.opened(meta);
                step(name(stage), text, subnets)
            }
            Stage::Parse => step(name(stage), parsed(meta, head), None),
            Stage::Guard => {
                let text = "its source is the guest's own, or an allowed address pair's";
                step(name(stage), text.to_owned(), self.port_at(self.from))
            }
            Stage::Route => self.routed(meta, head),
            Stage::Neighbor => self.found(meta, head),
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
                let text = format!("leaves by port {}: {what}", self.place(to));
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

    /// What the neighbor tables have for the packet.
    fn found(&self, meta: &Meta, head: &[u8]) -> Step {
        let what = self.sought_words(meta, head);
        let Some(neighbor) = meta.neighbor.neighbor() else {
            return step(name(Stage::Neighbor), what, None);
        };
        if neighbor.mac.is_zero() {
            return self.left_to_gateway(meta, head, neighbor);
        }
        let (mac, vni) = (neighbor.mac, neighbor.vni.get());
        let (place, because) = match neighbor.hop {
            Hop::Local(port) => (format!("here, at port {}", port.get()), self.port_at(port)),
            Hop::Remote(_) => match self.claimant(meta, head, neighbor) {
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

    /// Of a packet that lacks a neighbor, the gateway that is to know it.
    fn left_to_gateway(&self, meta: &Meta, head: &[u8], neighbor: Neighbor) -> Step {
        let what = match asked(head).or_else(|| destination(meta, head)) {
            Some(ip) => ip.to_string(),
            None => Mac::from_word(meta.dst_mac).to_string(),
        };
        let Some((vpc, ip)) = self.program.gateway_at(neighbor) else {
            let text = format!("nobody told us of {what}: left to a gateway that changes just now");
            return step(name(Stage::Neighbor), text, None);
        };
        let mut gateways = Program::machines_of(self.wanted, vpc);
        let named = gateways.find(|(_, gateway)| gateway.value.iter().any(|(of, _)| *of == ip));
        let named = named.map(|(id, gateway)| Named {
            kind: ResourceType::Gateway,
            id: id.to_owned(),
            revision: gateway.revision,
        });
        let vni = neighbor.vni.get();
        let text = format!(
            "nobody told us of {what}: left to the gateway at {ip}, as it is and in VNI {vni}"
        );
        step(name(Stage::Neighbor), text, named)
    }

    /// The controller's neighbor that an entry of the tables comes from.
    fn claimant(&self, meta: &Meta, head: &[u8], neighbor: Neighbor) -> Option<&'a NeighborSlot> {
        let sought = self.sought(meta, head)?;
        self.program
            .claimant(self.wanted, sought, neighbor, destination(meta, head))
    }

    /// What is looked up for the packet.
    fn sought(&self, meta: &Meta, head: &[u8]) -> Option<Sought> {
        if meta.routed {
            let (vpc, ip) = self.next_hop(meta, head)?;
            return Some(Sought::Ip(vpc, ip));
        }
        let (domain, mac) = Neighbors::of_mac_key(meta.key)?;
        Some(Sought::Mac(domain, mac))
    }

    fn sought_words(&self, meta: &Meta, head: &[u8]) -> String {
        match self.sought(meta, head) {
            Some(Sought::Ip(_, ip)) => ip.to_string(),
            Some(Sought::Mac(_, mac)) => mac.to_string(),
            None => "nothing".to_owned(),
        }
    }

    /// The stage that the packet did not come out of; `before`: the one that it came from.
    fn end(&self, stage: Stage, before: Option<&Seen>, trace: &Trace) -> Step {
        let before = before.and_then(|seen| seen.packet.as_ref());
        if let Some((text, because)) = self.dhcp(before.map(|(meta, _)| meta), trace) {
            return step(name(stage), text, because);
        }
        let mut text = match (stage, trace.outcome) {
            (Stage::Encap, Outcome::Forwarded) => {
                format!("too long: leaves in {} fragments", trace.sent.len())
            }
            _ => self.fate(trace),
        };
        let mut because = Vec::new();
        if let Some((meta, head)) = before {
            match stage {
                Stage::Neighbor => text = format!("{}: {text}", self.sought_words(meta, head)),
                Stage::Route => {
                    let subnet = self.subnet_spoken_in(meta, head).map(|(_, ix)| ix);
                    because.extend(subnet.and_then(|ix| self.subnet(ix)));
                    if let Outcome::Dropped(DropReason::Blackhole) = trace.outcome
                        && let Some((rule, router)) = self.blackhole(subnet, meta, head)
                    {
                        text = format!("{rule}: {text}");
                        because.extend(router);
                    }
                }
                Stage::Guard => because.extend(self.port_at(self.from)),
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
            Outcome::Copied => self.copied(trace),
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

fn parsed(meta: &Meta, head: &[u8]) -> String {
    let (dscp, ecn) = (meta.tos >> 2, meta.tos & 3);
    match destination(meta, head) {
        Some(IpAddr::V4(to)) => format!(
            "IPv4 to {to}, time to live {}, DSCP {dscp}, ECN {ecn}",
            meta.ttl
        ),
        Some(IpAddr::V6(to)) => {
            format!(
                "IPv6 to {to}, hop limit {}, DSCP {dscp}, ECN {ecn}",
                meta.ttl
            )
        }
        None => "neither IPv4 nor IPv6, or behind a VLAN tag".to_owned(),
    }
}

/// The address that a frame asks for the MAC of, by ARP or a neighbor solicitation.
fn asked(head: &[u8]) -> Option<IpAddr> {
    if let Some(arp) = ArpHdr::in_frame(head) {
        return arp.is_request().then_some(arp.target_ip().into());
    }
    let (_, _, message) = nd::sound(head, NeighborHdr::LEN)?;
    let (message, _) = NeighborHdr::in_message(message)?;
    (message.kind() == nd::NEIGHBOR_SOLICITATION).then_some(message.target().into())
}

/// The packet's own destination, if it is IP.
fn destination(meta: &Meta, head: &[u8]) -> Option<IpAddr> {
    match meta.payload {
        Payload::Ipv4 => Some(Ipv4Addr::from(meta.dst_ip).into()),
        Payload::Ipv6 => Some(vswitch::stage::route::ipv6(head)?.dst().into()),
        Payload::Other => None,
    }
}
