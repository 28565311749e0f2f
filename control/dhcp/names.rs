// SPDX-License-Identifier: MIT
//! DHCP options by name, and what their values are (RFC 2132 and later; IANA's registry "BOOTP Vendor Extensions and DHCP
//! Options"). The names are those of dnsmasq, which Neutron's users write, and Alcor's, which has its API from there.

/// What a value is, and so how the controller writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An IPv4 address.
    Address,
    /// IPv4 addresses, separated by commas or blanks.
    Addresses,
    /// Pairs of such.
    Pairs,
    /// A text, without an end mark.
    Text,
    /// A number of one byte.
    U8,
    /// Of two.
    U16,
    /// Of four.
    U32,
    /// Of four, may be negative.
    I32,
    /// 0 or 1, true or false.
    Flag,
    /// `PREFIX,NEXT HOP` pairs (RFC 3442).
    Routes,
    /// Domain names (RFC 3397).
    Domains,
    /// Bytes; a text, if it does not look like `01:02:ff` or `0x0102ff`.
    Bytes,
    /// Nothing that a controller may say: it is the protocol's own, or follows from other things.
    Own,
}

use Kind::*;

/// Code, name and kind. Those without a name can be said by number alone.
const OPTIONS: &[(u8, &str, Kind)] = &[
    (0, "", Own),
    (1, "netmask", Own),
    (2, "time-offset", I32),
    (3, "router", Addresses),
    (4, "time-server", Addresses),
    (6, "dns-server", Addresses),
    (7, "log-server", Addresses),
    (9, "lpr-server", Addresses),
    (12, "hostname", Text),
    (13, "boot-file-size", U16),
    (15, "domain-name", Text),
    (16, "swap-server", Address),
    (17, "root-path", Text),
    (18, "extension-path", Text),
    (19, "ip-forward-enable", Flag),
    (20, "non-local-source-routing", Flag),
    (21, "policy-filter", Pairs),
    (22, "max-datagram-reassembly", U16),
    (23, "default-ttl", U8),
    (26, "mtu", U16),
    (27, "all-subnets-local", Flag),
    (28, "broadcast", Address),
    (31, "router-discovery", Flag),
    (32, "router-solicitation", Address),
    (33, "static-route", Pairs),
    (34, "trailer-encapsulation", Flag),
    (35, "arp-timeout", U32),
    (36, "ethernet-encap", Flag),
    (37, "tcp-ttl", U8),
    (38, "tcp-keepalive", U32),
    (40, "nis-domain", Text),
    (41, "nis-server", Addresses),
    (42, "ntp-server", Addresses),
    (43, "vendor-encap", Bytes),
    (44, "netbios-ns", Addresses),
    (45, "netbios-dd", Addresses),
    (46, "netbios-nodetype", U8),
    (47, "netbios-scope", Text),
    (48, "x-windows-fs", Addresses),
    (49, "x-windows-dm", Addresses),
    (50, "", Own),
    (51, "lease-time", U32),
    (52, "option-overload", Own),
    (53, "", Own),
    (54, "", Own),
    (55, "", Own),
    (56, "", Own),
    (57, "", Own),
    (58, "t1", Own),
    (59, "t2", Own),
    (60, "vendor-class", Text),
    (61, "", Own),
    (64, "nis+-domain", Text),
    (65, "nis+-server", Addresses),
    (66, "tftp-server", Text),
    (67, "bootfile-name", Text),
    (68, "mobile-ip-home", Addresses),
    (69, "smtp-server", Addresses),
    (70, "pop3-server", Addresses),
    (71, "nntp-server", Addresses),
    (74, "irc-server", Addresses),
    (80, "rapid-commit", Own),
    (81, "fqdn", Own),
    (82, "agent-id", Own),
    (100, "posix-timezone", Text),
    (101, "tzdb-timezone", Text),
    (108, "ipv6-only", U32),
    (114, "captive-portal", Text),
    (118, "subnet-select", Own),
    (119, "domain-search", Domains),
    (120, "sip-server", Bytes),
    (121, "classless-static-route", Routes),
    (125, "vendor-id-encap", Bytes),
    (150, "tftp-server-address", Addresses),
    (209, "config-file", Text),
    (210, "path-prefix", Text),
    (211, "reboot-time", U32),
    (249, "ms-classless-static-route", Routes),
    (252, "wpad", Text),
    (255, "", Own),
];

/// The code of an option that is called `name`: its number, or its name with or without `option:` before it.
pub(super) fn code(name: &str) -> Option<u8> {
    let name = name.trim().to_ascii_lowercase();
    let name = name.strip_prefix("option:").unwrap_or(&name);
    let by_name = || OPTIONS.iter().find(|option| option.1 == name);
    match name.parse() {
        Ok(code) => Some(code),
        Err(_) if name.is_empty() => None,
        Err(_) => by_name().map(|option| option.0),
    }
}

/// What the value of an option is; one that is not listed has bytes.
pub(super) fn kind(code: u8) -> Kind {
    let listed = OPTIONS.iter().find(|option| option.0 == code);
    listed.map_or(Bytes, |option| option.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_found_by_number_and_by_name() {
        for name in ["26", "mtu", "MTU", " option:mtu ", "option:26"] {
            assert_eq!(code(name), Some(26), "{name:?}");
        }
        for name in ["", "option:", "256", "-1", "mtus", "option6:dns-server"] {
            assert_eq!(code(name), None, "{name:?}");
        }
    }

    #[test]
    fn the_list_is_in_order_and_no_name_is_there_twice() {
        assert!(OPTIONS.is_sorted_by(|a, b| a.0 < b.0));
        for (number, name, _) in OPTIONS.iter().filter(|option| !option.1.is_empty()) {
            assert_eq!(code(name), Some(*number), "{name}");
        }
    }
}
