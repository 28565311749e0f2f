// SPDX-License-Identifier: MIT
//! DHCPv6 options by name, what their values are (RFC 8415 and later; IANA's registry "Dynamic Host Configuration Protocol
//! for IPv6"), and how these stand in a message. The names are those of dnsmasq, which Neutron's users write.

use std::net::{IpAddr, Ipv6Addr};

use dhcproto::Name;

use super::names;
use super::option::{BadValue, bad, bytes, number, plain_text, words};
use super::told::{LEASE_TIME, MTU};
use crate::southbound::field::Quote;

/// What a value is, and so how the controller writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// IPv6 addresses, separated by commas or blanks.
    Addresses,
    /// Domain names, likewise.
    Domains,
    /// One.
    Domain,
    /// Time servers: addresses, groups and names (RFC 5908).
    TimeServers,
    /// A text, without an end mark.
    Text,
    /// Texts, separated by commas (RFC 5970 section 3.2).
    Texts,
    /// A number of four bytes.
    U32,
    /// Bytes; IPv6 addresses or a text, if it does not look like `01:02:ff` or `0x0102ff`.
    Bytes,
    /// Nothing that a controller may say: it is the protocol's own, or follows from other things.
    Own,
}

use Kind::*;

/// Code, name and kind. Those without a name can be said by number alone.
const OPTIONS: &[(u16, &str, Kind)] = &[
    (0, "", Own),
    (1, "client-id", Own),
    (2, "server-id", Own),
    (3, "ia-na", Own),
    (4, "ia-ta", Own),
    (5, "iaaddr", Own),
    (6, "oro", Own),
    (7, "preference", Own),
    (8, "", Own),
    (9, "", Own),
    (11, "", Own),
    (12, "unicast", Own),
    (13, "status", Own),
    (14, "rapid-commit", Own),
    (15, "user-class", Own),
    (16, "vendor-class", Own),
    (17, "vendor-opts", Bytes),
    (18, "", Own),
    (19, "", Own),
    (20, "", Own),
    (21, "sip-server-domain", Domains),
    (22, "sip-server", Addresses),
    (23, "dns-server", Addresses),
    (24, "domain-search", Domains),
    (25, "", Own),
    (26, "", Own),
    (27, "nis-server", Addresses),
    (28, "nis+-server", Addresses),
    (29, "nis-domain", Domain),
    (30, "nis+-domain", Domain),
    (31, "sntp-server", Addresses),
    (32, "information-refresh-time", U32),
    (39, "fqdn", Own),
    (41, "posix-timezone", Text),
    (42, "tzdb-timezone", Text),
    (56, "ntp-server", TimeServers),
    (59, "bootfile-url", Text),
    (60, "bootfile-param", Texts),
];

/// What the name of an option in an IPv6 subnet means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// DHCPv6's option of this code.
    Option(u16),
    /// How long a lease is.
    LeaseTime,
    /// It is for others: for DHCPv4, or the MTU, which the gateway tells.
    Elsewhere,
}

/// What `name` means: with `option6:` before it, the number or name of an option of DHCPv6; without, that or the lease time
/// and the MTU, for which DHCPv6 has no option, by what DHCPv4 calls them. `None`: nothing.
pub(super) fn named(name: &str) -> Option<Named> {
    let name = name.trim().to_ascii_lowercase();
    let by_name = |name: &str| match name.parse() {
        Ok(code) => Some(code),
        Err(_) if name.is_empty() => None,
        Err(_) => {
            let mut all = OPTIONS.iter();
            all.find(|option| option.1 == name).map(|option| option.0)
        }
    };
    if let Some(name) = name.strip_prefix("option6:") {
        return by_name(name).map(Named::Option);
    }
    let of_v4 = names::code(&name);
    match (of_v4, by_name(&name)) {
        (Some(MTU), _) => Some(Named::Elsewhere),
        (Some(LEASE_TIME), None) => Some(Named::LeaseTime),
        (_, Some(code)) => Some(Named::Option(code)),
        (Some(_), None) if name.starts_with("option:") => Some(Named::Elsewhere),
        _ => None,
    }
}

/// Reads the value of an option; one that is not listed has bytes.
pub(super) fn read(code: u16, text: &str) -> Result<Vec<u8>, BadValue> {
    let listed = OPTIONS.iter().find(|option| option.0 == code);
    let value = match listed.map_or(Bytes, |option| option.2) {
        Own => return bad("is not the controller's to say: it follows from other fields"),
        Addresses => addresses(text)?,
        Domains => domains(text)?,
        Domain => match words(text).count() {
            1 => domains(text)?,
            _ => return bad(format_args!("{} is not one domain name", Quote(text))),
        },
        TimeServers => time_servers(text)?,
        Text => plain_text(text)?,
        Texts => texts(text)?,
        U32 => number::<u32>(text)?.to_be_bytes().to_vec(),
        Bytes => bytes(text, addresses)?,
    };
    if value.is_empty() {
        return bad("has no value");
    }
    Ok(value)
}

fn addresses(text: &str) -> Result<Vec<u8>, BadValue> {
    let mut value = Vec::new();
    for word in words(text) {
        let wrong = |_| BadValue(format!("{} is not an IPv6 address", Quote(word)));
        value.extend(word.parse::<Ipv6Addr>().map_err(wrong)?.octets());
    }
    Ok(value)
}

/// A domain name, not compressed (RFC 8415 section 10).
fn domain(word: &str) -> Result<Vec<u8>, BadValue> {
    let wrong = |error| BadValue(format!("{}: {error}", Quote(word)));
    let name = Name::from_ascii(word).map_err(wrong)?;
    let mut value = labels(name.iter());
    if value.is_empty() {
        return bad(format_args!("{} is no domain name", Quote(word)));
    }
    value.push(0);
    Ok(value)
}

/// Labels of a domain name, of 1 to 63 bytes each, without an end mark.
pub(super) fn labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let one = |label: &'a [u8]| [&[label.len() as u8], label].concat();
    labels.flat_map(one).collect()
}

fn domains(text: &str) -> Result<Vec<u8>, BadValue> {
    let all = words(text).map(domain).collect::<Result<Vec<_>, _>>()?;
    Ok(all.concat())
}

/// Each in a suboption of its own.
fn time_servers(text: &str) -> Result<Vec<u8>, BadValue> {
    let mut value = Vec::new();
    for word in words(text) {
        let (code, server): (u16, _) = match word.parse() {
            Ok(IpAddr::V6(group)) if group.is_multicast() => (2, group.octets().to_vec()),
            Ok(IpAddr::V6(server)) => (1, server.octets().to_vec()),
            Ok(IpAddr::V4(_)) => return bad(format_args!("{word} is not an IPv6 address")),
            Err(_) => (3, domain(word)?),
        };
        value.extend(code.to_be_bytes());
        value.extend((server.len() as u16).to_be_bytes());
        value.extend(server);
    }
    Ok(value)
}

fn texts(text: &str) -> Result<Vec<u8>, BadValue> {
    let mut value = Vec::new();
    for part in text.split(',').map(str::trim) {
        let part = plain_text(part)?;
        let Ok(len) = u16::try_from(part.len()) else {
            return bad("is too long");
        };
        value.extend(len.to_be_bytes());
        value.extend(part);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_found_by_number_and_by_name() {
        for name in [
            "option6:dns-server",
            "dns-server",
            "option6:23",
            "23",
            " DNS-Server ",
        ] {
            assert_eq!(named(name), Some(Named::Option(23)), "{name:?}");
        }
        for name in ["mtu", "26", "option:mtu", "option:dns-server"] {
            assert_eq!(named(name), Some(Named::Elsewhere), "{name:?}");
        }
        for name in ["lease-time", "option:lease-time", "option:51"] {
            assert_eq!(named(name), Some(Named::LeaseTime), "{name:?}");
        }
        for name in [
            "",
            "option6:",
            "option6:65536",
            "option6:mtu",
            "router",
            "no-such",
        ] {
            assert_eq!(named(name), None, "{name:?}");
        }
        assert_eq!(named("51"), Some(Named::Option(51)));
    }

    #[test]
    fn the_list_is_in_order_and_no_name_is_there_twice() {
        assert!(OPTIONS.is_sorted_by(|a, b| a.0 < b.0));
        for (number, name, _) in OPTIONS.iter().filter(|option| !option.1.is_empty()) {
            let name = format!("option6:{name}");
            assert_eq!(named(&name), Some(Named::Option(*number)), "{name}");
        }
    }
}
