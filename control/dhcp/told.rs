// SPDX-License-Identifier: MIT
//! The options of a lease: from the fields of a subnet and a DHCP state.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use dhcproto::v4::{DhcpOption, OptionCode};
use ipnet::Ipv4Net;

use super::lease::{MIN_MTU, Terms};
use super::names::{self, Kind};
use super::option::{self, BadValue};
use crate::proto::schema::{DhcpConfiguration, SubnetConfiguration};
use crate::southbound::field::{Field, FieldError, Quote};

/// What a lease time may be, in seconds. The number above it means for ever, which clients do not expect.
pub(super) const SECONDS: RangeInclusive<u32> = 60..=u32::MAX - 1;

/// Most bytes of an answer that are not for the subnet's options: an IPv4 and UDP header, a message up to its options, and
/// those options that are in every answer, but for a client identifier.
const OVERHEAD: usize = 28 + 240 + 40;

/// Longest IP packet that answers are.
const MAX_PACKET: u16 = 1500;

/// The longest texts that fit into a message's `sname` and `file` with their end mark, in bytes.
const MAX_SNAME: usize = 63;
const MAX_FILE: usize = 127;

/// Options that are looked at here.
const ROUTER: u8 = 3;
const HOST_NAME: u8 = 12;
pub(super) const MTU: u8 = 26;
pub(super) const LEASE_TIME: u8 = 51;
const TFTP_SERVER: u8 = 66;
const BOOT_FILE: u8 = 67;
const ROUTES: u8 = 121;
const TFTP_ADDRESSES: u8 = 150;
const MICROSOFT_ROUTES: u8 = 249;

/// Name of what is no option but a field of the header: from where to boot.
const NEXT_SERVER: &str = "server-ip-address";

/// A lease in the making.
pub(super) struct Told<'a> {
    lease: &'a mut Terms,
    problems: &'a mut Vec<FieldError>,
    /// Options 121 and 249 with their places in the list, for they depend on what the others say.
    routes: BTreeMap<u8, (usize, Vec<(Ipv4Net, Ipv4Addr)>)>,
}

impl<'a> Told<'a> {
    /// Nothing is told yet.
    pub(super) fn new(lease: &'a mut Terms, problems: &'a mut Vec<FieldError>) -> Self {
        Self {
            lease,
            problems,
            routes: BTreeMap::new(),
        }
    }

    /// All that the subnet, which stands `at`, and the DHCP state say.
    pub(super) fn all(
        &mut self,
        at: &Field<'_>,
        subnet: &SubnetConfiguration,
        gateway: Option<Ipv4Addr>,
        state: Option<&DhcpConfiguration>,
    ) {
        self.what_follows(at, subnet, gateway);
        for (i, extra) in subnet.extra_dhcp_options.iter().enumerate() {
            self.extra_option(at, i, extra.name.trim(), extra.value.trim());
        }
        self.static_routes(at);
        self.boot();
        if let Some(state) = state.filter(|state| !state.port_host_name.is_empty()) {
            self.host_name(state);
        }
    }

    /// Adds an option, in place of what was there of it; or says why not.
    fn put(&mut self, at: &Field<'_>, option: Result<DhcpOption, BadValue>) {
        let room = usize::from(self.lease.mtu.min(MAX_PACKET)).saturating_sub(OVERHEAD);
        let wire =
            option.and_then(|option| Ok((OptionCode::from(&option), option::wire(&option)?)));
        match wire {
            Err(error) => self.problems.push(at.error(error)),
            Ok((_, wire)) if wire.len() > room => self.problems.push(at.error(format_args!(
                "takes {} bytes, of which a message to this guest has {room}",
                wire.len()
            ))),
            Ok((code, wire)) => {
                self.lease.options.insert(code.into(), wire);
            }
        }
    }

    /// The value of an option that is there, and not in parts.
    fn value(&self, code: u8) -> Option<&[u8]> {
        match self.lease.options.get(&code)?.as_slice() {
            [_, len, value @ ..] if value.len() == usize::from(*len) => Some(value),
            _ => None,
        }
    }

    /// The first address in such a value.
    fn address(&self, code: u8) -> Option<Ipv4Addr> {
        let octets = self.value(code)?.first_chunk::<4>()?;
        Some((*octets).into())
    }

    /// What the subnet's other fields mean in options.
    fn what_follows(
        &mut self,
        at: &Field<'_>,
        subnet: &SubnetConfiguration,
        gateway: Option<Ipv4Addr>,
    ) {
        let (mtu, network) = (self.lease.mtu, self.lease.address);
        self.put(at, Ok(DhcpOption::InterfaceMtu(mtu)));
        if network.prefix_len() <= 30 {
            self.put(at, Ok(DhcpOption::BroadcastAddr(network.broadcast())));
        }
        if let Some(gateway) = gateway {
            self.put(at, Ok(DhcpOption::Router(vec![gateway])));
        }
        let mut servers = Vec::new();
        for (i, dns) in subnet.dns_entry_list.iter().enumerate() {
            match option::address(dns.entry.trim()) {
                Ok(server) => servers.push(server),
                Err(_) if dns.entry.trim().parse::<Ipv6Addr>().is_ok() => {} // the gateway tells it
                Err(error) => self
                    .problems
                    .push(at.item("dns_entry_list", i).error(error)),
            }
        }
        if !servers.is_empty() {
            let servers = DhcpOption::DomainNameServer(servers);
            self.put(&at.field("dns_entry_list"), Ok(servers));
        }
    }

    /// What the controller says in the words of options. Those of DHCPv6 are for its server.
    fn extra_option(&mut self, at: &Field<'_>, i: usize, name: &str, text: &str) {
        let at = at.item("extra_dhcp_options", i);
        if name == NEXT_SERVER {
            match option::address(text) {
                Ok(address) => self.lease.boot_address = address,
                Err(error) => self.problems.push(at.error(error)),
            }
            return;
        }
        let Some(code) = names::code(name) else {
            if !name.starts_with("option6:") {
                let unknown = format_args!("{} is no DHCP option", Quote(name));
                self.problems.push(at.error(unknown));
            }
            return;
        };
        let problem = match code {
            LEASE_TIME => match option::number(text) {
                Ok(seconds) if SECONDS.contains(&seconds) => {
                    self.lease.seconds = seconds;
                    return;
                }
                Ok(seconds) => at.error(format_args!(
                    "{seconds} is no lease time: {} to {} seconds are",
                    SECONDS.start(),
                    SECONDS.end()
                )),
                Err(error) => at.error(error),
            },
            MTU => match option::number::<u16>(text) {
                Ok(mtu) if (MIN_MTU..=self.lease.mtu).contains(&mtu) => {
                    self.put(&at, Ok(DhcpOption::InterfaceMtu(mtu)));
                    return;
                }
                Ok(mtu) => at.error(format_args!(
                    "an MTU of {mtu} is not within {MIN_MTU} and {}, which the network carries",
                    self.lease.mtu
                )),
                Err(error) => at.error(error),
            },
            ROUTES | MICROSOFT_ROUTES => match option::routes(text) {
                Ok(routes) => {
                    self.routes.insert(code, (i, routes));
                    return;
                }
                Err(error) => at.error(error),
            },
            _ => return self.put(&at, option::read(code, names::kind(code), text)),
        };
        self.problems.push(problem);
    }

    /// Options 121 and 249, each with a default route.
    fn static_routes(&mut self, at: &Field<'_>) {
        let routes = std::mem::take(&mut self.routes);
        for code in [ROUTES, MICROSOFT_ROUTES] {
            let Some((i, said)) = routes.get(&code).or_else(|| routes.get(&ROUTES)) else {
                continue;
            };
            let mut all = said.clone();
            let has_default = all.iter().any(|(to, _)| to.prefix_len() == 0);
            if let Some(router) = self.address(ROUTER).filter(|_| !has_default) {
                all.push((Ipv4Net::default(), router));
            }
            let value = option::routes_value(&all);
            self.put(&at.item("extra_dhcp_options", *i), option::raw(code, value));
        }
    }

    /// The header's fields for booting follow from the options: TFTP servers, and the file.
    fn boot(&mut self) {
        let server = self.value(TFTP_SERVER).unwrap_or_default().to_vec();
        let file = self.value(BOOT_FILE).unwrap_or_default().to_vec();
        if self.lease.boot_address.is_unspecified() {
            let text = str::from_utf8(&server).unwrap_or_default();
            let address = text.parse().ok().or_else(|| self.address(TFTP_ADDRESSES));
            self.lease.boot_address = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
        }
        let fits = |text: Vec<u8>, limit| Some(text).filter(|text| text.len() <= limit);
        self.lease.boot_server = fits(server, MAX_SNAME).unwrap_or_default();
        self.lease.boot_file = fits(file, MAX_FILE).unwrap_or_default();
    }

    fn host_name(&mut self, state: &DhcpConfiguration) {
        let at = Field::entry("dhcp_states", &state.id);
        let at = at.field("configuration");
        let at = at.field("port_host_name");
        let name = &state.port_host_name;
        if is_host_name(name) {
            self.put(&at, option::read(HOST_NAME, Kind::Text, name));
        } else {
            self.problems
                .push(at.error(format_args!("{} is no host name", Quote(name))));
        }
    }
}

/// Labels of letters, digits and inner hyphens, at most 63 of them each (RFC 1123 section 2.1).
pub(super) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        let letters = label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let ends = label.starts_with('-') || label.ends_with('-');
        (1..=63).contains(&label.len()) && letters && !ends
    };
    name.len() <= 253 && name.split('.').all(label)
}
