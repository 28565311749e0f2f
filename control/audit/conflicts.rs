// SPDX-License-Identifier: MIT
//! What contradicts itself in a goal state: each resource may be programmed, and one of them is not what was meant.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::net::IpAddr;

use hashbrown::HashMap;
use ipnet::IpNet;
use smallvec::SmallVec;
use vswitch::wire::{Mac, Vni};

use crate::program::Program;
use crate::southbound::field::{Quote, is_link_local};
use crate::state::Wanted;
use crate::state::id::Id;
use crate::state::network::{SubnetIx, SubnetSlot, VpcIx};
use crate::state::resource::NextHop;
use crate::state::router::RouterIx;

/// What kind of contradiction it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// Two machines have one address of a VPC, or one MAC behind one VNI.
    DuplicateAddress,
    /// A gateway's address is another gateway's or a machine's.
    DuplicateGateway,
    /// Two VPCs have one VNI.
    DuplicateVni,
    /// A table leads to one destination by different next hops.
    OverlappingRoute,
    /// A rule's next hop is nobody's address.
    UnknownNextHop,
}

impl Kind {
    /// In words.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::DuplicateAddress => "duplicate address",
            Self::DuplicateGateway => "duplicate gateway",
            Self::DuplicateVni => "duplicate VNI",
            Self::OverlappingRoute => "overlapping route",
            Self::UnknownNextHop => "unknown next hop",
        }
    }
}

/// Contradictions: what kind and where, between whom.
pub(crate) type Conflicts = BTreeMap<(Kind, String), BTreeSet<String>>;

/// Who claims an address.
#[derive(Clone, PartialEq, Eq)]
struct Claim {
    what: What,
    /// The controller's id, possibly empty.
    id: Id,
    mac: Mac,
    /// The VTEP of the machine's host, if known.
    host: Option<IpAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Gateway,
    Port,
    Neighbor,
}

impl Claim {
    /// True if both may be of one machine. An id is that of its port; neighbors of old controllers have none.
    fn is_machine_of(&self, other: &Self) -> bool {
        let gateway = self.what == What::Gateway || other.what == What::Gateway;
        let named = !self.id.is_empty() && !other.id.is_empty();
        let same_host = self.host.is_none() || other.host.is_none() || self.host == other.host;
        !gateway
            && if named {
                self.id == other.id
            } else {
                same_host
            }
    }

    fn name(&self) -> String {
        let id = self.id.to_string();
        let (id, mac) = (Quote(&id), self.mac);
        match (self.what, self.host) {
            (What::Gateway, _) => format!("the gateway {mac} of subnet {id}"),
            (What::Port, _) => format!("port {id} {mac}"),
            (What::Neighbor, Some(host)) => format!("neighbor {id} {mac} on {host}"),
            (What::Neighbor, None) => format!("neighbor {id} {mac}"),
        }
    }
}

/// Most claims on a key that later ones are compared with: there are seldom three.
const MOST: usize = 32;

/// Who claims each key, equal claims once; and of the keys that two machines claim, all who do.
struct Claims<K> {
    claims: HashMap<K, SmallVec<[Claim; 1]>>,
    contested: HashMap<K, (bool, BTreeSet<String>)>,
}

impl<K: Hash + Eq + Copy> Claims<K> {
    fn new() -> Self {
        Self {
            claims: HashMap::new(),
            contested: HashMap::new(),
        }
    }

    /// `same` says whether two claims agree.
    fn add(&mut self, key: K, claim: Claim, same: impl Fn(&Claim, &Claim) -> bool) {
        let others = self.claims.entry(key).or_default();
        if others.contains(&claim) {
            return;
        }
        // With each of them: a neighbor without an id may agree with two that do not agree with each other.
        for other in others.iter().filter(|other| !same(other, &claim)) {
            let (gateway, between) = self.contested.entry(key).or_default();
            *gateway |= other.what == What::Gateway || claim.what == What::Gateway;
            between.extend([other.name(), claim.name()]);
        }
        if others.len() < MOST {
            others.push(claim);
        }
    }
}

/// All contradictions of what is wanted.
pub(crate) fn conflicts(wanted: &Wanted, program: &Program) -> Conflicts {
    let mut all = Conflicts::new();
    duplicate_addresses(wanted, program, &mut all);
    overlapping_routes(wanted, &mut all);
    for (router, subnet, hop) in program.unknown_next_hops(wanted) {
        let table = match subnet {
            Some(subnet) => Table::Own(subnet).name(wanted),
            None => format!("the default table of router {}", Quote(router)),
        };
        let place = format!("{hop} in {table}");
        let between = all.entry((Kind::UnknownNextHop, place)).or_default();
        between.insert(format!("router {}", Quote(router)));
    }
    for (subnet, vni, owner) in program.taken_vnis() {
        let between = all
            .entry((Kind::DuplicateVni, format!("VNI {vni}")))
            .or_default();
        let theirs = wanted.subnet(subnet).and_then(|slot| slot.vpc);
        between.extend(
            theirs
                .into_iter()
                .chain([owner])
                .map(|ix| vpc_name(wanted, ix)),
        );
    }
    all
}

fn duplicate_addresses(wanted: &Wanted, program: &Program, all: &mut Conflicts) {
    let mut ips = Claims::<(VpcIx, IpAddr)>::new();
    let mut macs = Claims::<(Vni, Mac)>::new();
    // A host of two addresses is one host.
    let own: Vec<_> = program.site().vteps().collect();
    let host = |ip| {
        if own.contains(&ip) {
            own.first().copied()
        } else {
            Some(ip)
        }
    };
    let same_ip = |a: &Claim, b: &Claim| a.is_machine_of(b) && a.mac == b.mac;
    let vpc_of = |subnet| wanted.subnet(subnet)?.vpc;
    for (ix, slot) in wanted.subnets() {
        let gateway = slot.wanted.as_ref().and_then(|it| it.value.gateway);
        if let Some(gateway) = gateway
            && let (Some(ip), Some(vpc)) = (gateway.ip, vpc_of(ix))
            && !is_link_local(ip)
        {
            let claim = Claim {
                what: What::Gateway,
                id: slot.id.as_ref().into(),
                mac: gateway.mac,
                host: None,
            };
            ips.add((vpc, ip), claim, same_ip);
        }
    }
    let mut add = |subnet: SubnetIx, ip: IpAddr, claim: &Claim| {
        if let Some(vpc) = vpc_of(subnet) {
            ips.add((vpc, ip), claim.clone(), same_ip);
        }
        if let Some(vni) = program.vni_of(subnet) {
            macs.add((vni, claim.mac), claim.clone(), Claim::is_machine_of);
        }
    };
    for (_, slot) in wanted.ports() {
        let Some(port) = &slot.wanted else { continue };
        let claim = Claim {
            what: What::Port,
            id: slot.id.as_ref().into(),
            mac: port.value.mac,
            host: own.first().copied(),
        };
        for (subnet, ip) in &port.value.fixed_ips {
            add(*subnet, *ip, &claim);
        }
    }
    for (_, slot) in wanted.neighbors() {
        let claim = Claim {
            what: What::Neighbor,
            id: slot.id.clone(),
            mac: slot.place.mac,
            host: host(slot.place.host),
        };
        add(slot.subnet, slot.ip, &claim);
    }
    for ((vpc, ip), (gateway, between)) in ips.contested {
        let kind = match gateway {
            true => Kind::DuplicateGateway,
            false => Kind::DuplicateAddress,
        };
        all.insert(
            (kind, format!("{ip} in {}", vpc_name(wanted, vpc))),
            between,
        );
    }
    for ((vni, mac), (_, between)) in macs.contested {
        let place = format!("{mac} behind VNI {vni}");
        all.insert((Kind::DuplicateAddress, place), between);
    }
}

/// The rules that hold for a subnet.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Table {
    /// Its own, of all its routers.
    Own(SubnetIx),
    /// The default ones of its routers, which other subnets may have, too.
    Default(Vec<RouterIx>),
}

impl Table {
    fn of(wanted: &Wanted, ix: SubnetIx, subnet: &SubnetSlot) -> Self {
        match wanted.has_own_rules(ix) {
            true => Self::Own(ix),
            false => Self::Default(subnet.routers.iter().copied().collect()),
        }
    }

    fn name(&self, wanted: &Wanted) -> String {
        match self {
            Self::Own(ix) => format!("the table of {}", subnet_name(wanted, *ix)),
            Self::Default(routers) => {
                let ids = routers.iter().filter_map(|ix| wanted.router(*ix));
                let mut ids: Vec<_> = ids.map(|slot| Quote(&slot.id).to_string()).collect();
                ids.sort_unstable();
                format!("the default table of router {}", ids.join(" and "))
            }
        }
    }
}

/// Rules for one destination of which some have no effect: those of another priority than the lowest, and those beside one
/// that leads to no machine. Machines of one priority share the flows.
fn overlapping_routes(wanted: &Wanted, all: &mut Conflicts) {
    type Ways = BTreeMap<NextHop, (u32, String)>;
    let share = |ways: &Ways| {
        let first = ways.values().next().map(|(priority, _)| *priority);
        let mut all = ways.iter();
        all.all(|(hop, (priority, _))| hop.machine().is_some() && Some(*priority) == first)
    };
    let overlap = |ways: &Ways| ways.len() > 1 && !share(ways);
    let mut tables = HashMap::new();
    for (ix, slot) in wanted.subnets() {
        tables
            .entry(Table::of(wanted, ix, slot))
            .or_insert((ix, slot));
    }
    for (table, (ix, slot)) in tables {
        let mut ways = HashMap::<IpNet, Ways>::new();
        let routers = slot.routers.iter().filter_map(|ix| wanted.router(*ix));
        let rules = routers.filter_map(|slot| {
            let rules = wanted.rules(&slot.wanted.as_ref()?.value, ix)?;
            Some(rules.values().map(move |rule| (slot, rule)))
        });
        for (slot, rule) in rules.flatten() {
            let hop = match rule.next_hop {
                NextHop::Link => "the link".to_owned(),
                NextHop::Via(machine) => machine.to_string(),
                NextHop::Blackhole => "nowhere".to_owned(),
            };
            let name = format!(
                "rule {} of router {} via {}, priority {}",
                Quote(&rule.said.id),
                Quote(&slot.id),
                hop,
                rule.priority
            );
            let ways = ways.entry(rule.destination.trunc()).or_default();
            // Of several rules with one next hop, the one that counts.
            let (priority, way) = (rule.priority, ways.entry(rule.next_hop));
            let way = way.or_insert_with(|| (priority, name.clone()));
            if priority < way.0 {
                *way = (priority, name);
            }
        }
        for (destination, ways) in ways.into_iter().filter(|(_, ways)| overlap(ways)) {
            let place = format!("{destination} in {}", table.name(wanted));
            all.insert(
                (Kind::OverlappingRoute, place),
                ways.into_values().map(|(_, name)| name).collect(),
            );
        }
    }
}

fn subnet_name(wanted: &Wanted, ix: SubnetIx) -> String {
    let id = wanted.subnet(ix).map_or("", |slot| &slot.id);
    format!("subnet {}", Quote(id))
}

fn vpc_name(wanted: &Wanted, ix: VpcIx) -> String {
    let id = wanted.vpc(ix).map_or("", |slot| &slot.id);
    format!("VPC {}", Quote(id))
}
