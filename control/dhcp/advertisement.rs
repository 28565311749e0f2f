// SPDX-License-Identifier: MIT
//! What guests of an IPv6 subnet are told by its gateway's advertisements (RFC 4861), of the fields that leases are made of.
//!
//! Whether guests are sent to DHCPv6 is not said here: they are if it serves them. The DNS servers are the IPv6 ones of
//! `dns_entry_list`; the MTU is the network's, or the subnet's own (`mtu` in `extra_dhcp_options`) if that is less.

use std::net::IpAddr;

use vswitch::tables::{Advertisement, MAX_DNS};

use super::told::MTU;
use super::{names, option};
use crate::proto::schema::SubnetConfiguration;
use crate::southbound::field::{Field, FieldError};

/// Smallest MTU of a link with IPv6, in bytes (RFC 8200 section 5).
const MIN_MTU: u16 = 1280;

/// Most DNS servers of a subnet, of either version of IP, that are looked at: it is done for each of its ports.
const MAX_ENTRIES: usize = 64;

/// What the gateway of this subnet says, where IP packets may be `mtu` bytes long; and what the controller says wrong of it,
/// and is left out.
pub(crate) fn advertisement(
    id: &str,
    subnet: &SubnetConfiguration,
    mtu: u16,
) -> (Advertisement, Vec<FieldError>) {
    let at = Field::entry("subnet_states", id);
    let at = at.field("configuration");
    let mut problems = Vec::new();
    let mut said = Advertisement {
        mtu: Some(mtu),
        dns: Vec::new(),
    };
    for (i, dns) in subnet.dns_entry_list.iter().enumerate() {
        let at = at.item("dns_entry_list", i);
        if i == MAX_ENTRIES {
            problems.push(at.error(format_args!("is not looked at: {MAX_ENTRIES} are")));
            break;
        }
        match at.link_host(dns.entry.trim()) {
            Ok(IpAddr::V6(server)) if said.dns.len() < MAX_DNS => said.dns.push(server),
            Ok(IpAddr::V6(_)) => {
                problems.push(at.error(format_args!("is one too many: {MAX_DNS} are told")))
            }
            Ok(IpAddr::V4(_)) => {} // DHCP tells it, in a subnet of IPv4
            Err(problem) => problems.push(problem),
        }
    }
    let extra = subnet.extra_dhcp_options.iter().enumerate();
    for (i, extra) in extra.filter(|(_, it)| names::code(it.name.trim()) == Some(MTU)) {
        let at = at.item("extra_dhcp_options", i);
        match option::number(extra.value.trim()) {
            Ok(own) if (MIN_MTU..=mtu).contains(&own) => said.mtu = Some(own),
            Ok(own) => problems.push(at.error(format_args!(
                "an MTU of {own} is not within {MIN_MTU} and {mtu}, which the network carries"
            ))),
            Err(problem) => problems.push(at.error(problem)),
        }
    }
    (said, problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::schema::subnet_configuration::{DnsEntry, ExtraDhcpOption};

    fn subnet(dns: &[&str], options: &[(&str, &str)]) -> SubnetConfiguration {
        let dns = dns.iter().map(|entry| DnsEntry {
            entry: (*entry).into(),
        });
        let options = options.iter().map(|(name, value)| ExtraDhcpOption {
            name: (*name).into(),
            value: (*value).into(),
        });
        SubnetConfiguration {
            dhcp_enable: true,
            dns_entry_list: dns.collect(),
            extra_dhcp_options: options.collect(),
            ..SubnetConfiguration::default()
        }
    }

    #[test]
    fn a_gateway_tells_of_ipv6_servers_and_of_an_mtu_that_the_network_carries() {
        let servers = ["2001:db8::53", "192.0.2.53", " fe80::53 "];
        let (said, problems) = advertisement("azure", &subnet(&servers, &[]), 1450);
        assert_eq!(problems, []);
        let expected = Advertisement {
            mtu: Some(1450),
            dns: vec!["2001:db8::53".parse().unwrap(), "fe80::53".parse().unwrap()],
        };
        assert_eq!(said, expected);
        for own in [("mtu", "1280"), ("26", "1280")] {
            let (said, problems) = advertisement("azure", &subnet(&[], &[own]), 1450);
            assert_eq!((said.mtu, problems.len()), (Some(1280), 0));
        }
    }

    #[test]
    fn what_is_said_wrong_is_left_out_and_named() {
        let wrong = subnet(
            &["x", "::", "2001:db8::53"],
            &[("mtu", "1279"), ("mtu", "a")],
        );
        let (said, problems) = advertisement("azure", &wrong, 1450);
        assert_eq!((said.mtu, said.dns.len()), (Some(1450), 1));
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let at = "subnet_states[\"azure\"].configuration";
        assert_eq!(problems.len(), 4);
        assert_eq!(
            problems[0],
            format!("{at}.dns_entry_list[0]: \"x\" is not an IP address")
        );
        assert_eq!(
            problems[2],
            format!(
                "{at}.extra_dhcp_options[0]: an MTU of 1279 is not within 1280 and 1450, which the network carries"
            )
        );
    }
}
