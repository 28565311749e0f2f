// SPDX-License-Identifier: MIT
//! The options of a DHCPv6 lease, and how long that is: from the fields of a subnet and a DHCP state.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use vswitch::tables::Lease6;
use vswitch::wire::dhcp6::{DUID_LEN, HEADER_LEN, IA_ADDRESS_LEN, IA_LEN, OPTION_HEADER_LEN};
use vswitch::wire::ipv6::LEAST_MTU;

use super::option::{self, BadValue};
use super::option6::{self, Named};
use super::told::{SECONDS, is_host_name};
use crate::proto::schema::{DhcpConfiguration, SubnetConfiguration};
use crate::southbound::field::{Field, FieldError, Quote};

/// Bytes that a message has for one option's value, whatever else it says: all but its headers, the names of client and
/// server, preference, and an association with all addresses.
const ROOM: usize = LEAST_MTU as usize
    - (40 + 8 + HEADER_LEN)
    - (OPTION_HEADER_LEN + *DUID_LEN.end())
    - (OPTION_HEADER_LEN + 10)
    - (OPTION_HEADER_LEN + 1)
    - (OPTION_HEADER_LEN + IA_LEN)
    - (OPTION_HEADER_LEN + IA_ADDRESS_LEN) * Lease6::MAX_ADDRESSES
    - OPTION_HEADER_LEN;

/// Options that are looked at here.
const DNS: u16 = 23;
const REFRESH_TIME: u16 = 32;
const FQDN: u16 = 39;

/// What clients take for how long an answer without a lease is good, at least, in seconds (RFC 8415 section 7.6).
const LEAST_REFRESH_TIME: u32 = 600;

/// Flags of a domain name that the server tells: it does not itself enter it in the DNS (N, RFC 4704 section 4.1).
const NO_UPDATE: u8 = 1 << 2;

/// Options in the making.
pub(super) struct Told6<'a> {
    problems: &'a mut Vec<FieldError>,
    seconds: u32,
    /// Values by code.
    options: BTreeMap<u16, Vec<u8>>,
}

impl<'a> Told6<'a> {
    /// Nothing is told yet; a lease is so long if nobody says otherwise.
    pub(super) fn new(problems: &'a mut Vec<FieldError>, seconds: u32) -> Self {
        Self {
            problems,
            seconds,
            options: BTreeMap::new(),
        }
    }

    /// How long a lease is, and the options' values by code.
    pub(super) fn into_parts(self) -> (u32, BTreeMap<u16, Vec<u8>>) {
        (self.seconds, self.options)
    }

    /// All that the subnet, which stands `at`, and the DHCP state say.
    pub(super) fn all(
        &mut self,
        at: &Field<'_>,
        subnet: &SubnetConfiguration,
        state: Option<&DhcpConfiguration>,
    ) {
        self.dns(at, subnet);
        for (i, extra) in subnet.extra_dhcp_options.iter().enumerate() {
            let at = at.item("extra_dhcp_options", i);
            self.extra_option(&at, extra.name.trim(), extra.value.trim());
        }
        let seconds = self.seconds.max(LEAST_REFRESH_TIME);
        let refresh = self.options.entry(REFRESH_TIME);
        refresh.or_insert_with(|| seconds.to_be_bytes().to_vec());
        if let Some(state) = state.filter(|state| !state.port_host_name.is_empty()) {
            self.host_name(state);
        }
    }

    /// Adds an option, in place of what was there of it; or says why not.
    fn put(&mut self, at: &Field<'_>, code: u16, value: Result<Vec<u8>, BadValue>) {
        // One is left for each option that is there without being said.
        let full = self.options.len() + 2 >= Lease6::MAX_OPTIONS;
        match value {
            Err(error) => self.problems.push(at.error(error)),
            Ok(value) if value.len() > ROOM => self.problems.push(at.error(format_args!(
                "takes {} bytes, of which a message has {ROOM}",
                value.len()
            ))),
            Ok(_) if full && !self.options.contains_key(&code) => {
                self.problems.push(at.error("is one option too many"));
            }
            Ok(value) => {
                self.options.insert(code, value);
            }
        }
    }

    /// What is wrong with the list is the subnet's problem already: its gateway tells it too.
    fn dns(&mut self, at: &Field<'_>, subnet: &SubnetConfiguration) {
        let entries = subnet.dns_entry_list.iter();
        let servers = entries.filter_map(|dns| match at.link_host(dns.entry.trim()) {
            Ok(IpAddr::V6(server)) => Some(server),
            _ => None,
        });
        let servers: Vec<_> = servers
            .flat_map(|server: Ipv6Addr| server.octets())
            .collect();
        if !servers.is_empty() {
            self.put(&at.field("dns_entry_list"), DNS, Ok(servers));
        }
    }

    /// What the controller says in the words of options.
    fn extra_option(&mut self, at: &Field<'_>, name: &str, text: &str) {
        match option6::named(name) {
            Some(Named::Option(code)) => self.put(at, code, option6::read(code, text)),
            Some(Named::LeaseTime) => match option::number(text) {
                Ok(seconds) if SECONDS.contains(&seconds) => self.seconds = seconds,
                Ok(seconds) => self.problems.push(at.error(format_args!(
                    "{seconds} is no lease time: {} to {} seconds are",
                    SECONDS.start(),
                    SECONDS.end()
                ))),
                Err(error) => self.problems.push(at.error(error)),
            },
            Some(Named::Elsewhere) => {}
            None => {
                let unknown = format_args!("{} is no DHCPv6 option", Quote(name));
                self.problems.push(at.error(unknown));
            }
        }
    }

    /// A name of several labels is a whole one, and has the root's, which is empty, for its last.
    fn host_name(&mut self, state: &DhcpConfiguration) {
        let at = Field::entry("dhcp_states", &state.id);
        let at = at.field("configuration");
        let at = at.field("port_host_name");
        let name = &state.port_host_name;
        if !is_host_name(name) {
            let wrong = format_args!("{} is no host name", Quote(name));
            self.problems.push(at.error(wrong));
            return;
        }
        let mut value = vec![NO_UPDATE];
        value.extend(option6::labels(name.split('.').map(str::as_bytes)));
        if name.contains('.') {
            value.push(0);
        }
        self.options.insert(FQDN, value);
    }
}
