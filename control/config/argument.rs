// SPDX-License-Identifier: MIT
//! The arguments of commands: what they are called, what they may be, and how a word becomes a value.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use vswitch::tables::{MAX_PORTS, PortId};
use vswitch::wire::Mac;

use super::affinity::Affinity;
use super::command::Ports;
use super::log::Level;
use crate::southbound::field::is_link_local;

/// Highest CPU core number: what Linux's affinity mask of fixed size (CPU_SETSIZE) can name.
pub(crate) const MAX_CORE: u16 = 1023;

/// What an argument may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A port number.
    Port,
    /// A port number or `all`.
    Ports,
    /// Port numbers with commas between; `0-2` stands for all from 0 to 2.
    PortList,
    /// CPU cores with commas between; `2-5` stands for all from 2 to 5.
    CoreList,
    /// Queues with cores, and commas between.
    Affinity,
    /// A number in this range, in decimal or, after `0x`, in hexadecimal.
    Number(u32, u32),
    /// `on` or `off`.
    OnOff,
    /// One of the words of [`Level`].
    Level,
    /// An IPv4 address of one station.
    Address,
    /// Such an address with the length of its prefix.
    AddressPrefix,
    /// A MAC of one station.
    Mac,
    /// An address and a TCP port.
    Socket,
    /// An address and a TCP port, or the address alone and this port.
    Server(u16),
    /// An address of this host itself.
    OwnAddress,
    /// Names with commas between, each once.
    Names,
    /// A file.
    Path,
    /// Any one word.
    Text,
    /// One or more words, to the end of the line.
    Words,
    /// No, one or more words of a command, to the end of the line.
    Topic,
}

/// An argument's place in a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Argument {
    /// Its name, in capitals.
    pub(crate) name: &'static str,
    /// What it may be.
    pub(crate) kind: Kind,
    /// What it means, for help; with its default if it has one.
    pub(crate) about: &'static str,
}

/// An argument's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    /// [`Kind::Port`]
    Port(PortId),
    /// [`Kind::Ports`]
    Ports(Ports),
    /// [`Kind::PortList`]
    PortList(Vec<PortId>),
    /// [`Kind::CoreList`]
    CoreList(Vec<u16>),
    /// [`Kind::Affinity`]
    Affinity(Affinity),
    /// [`Kind::Number`]
    Number(u32),
    /// [`Kind::OnOff`]
    OnOff(bool),
    /// [`Kind::Level`]
    Level(Level),
    /// [`Kind::Address`]
    Address(IpAddr),
    /// [`Kind::AddressPrefix`]
    AddressPrefix(IpNet),
    /// [`Kind::Mac`]
    Mac(Mac),
    /// [`Kind::Socket`] and [`Kind::Server`]
    Socket(SocketAddr),
    /// [`Kind::OwnAddress`]
    OwnAddress(IpAddr),
    /// [`Kind::Names`]
    Names(Vec<String>),
    /// [`Kind::Path`] and [`Kind::Text`]
    Text(String),
    /// [`Kind::Words`] and [`Kind::Topic`]
    Words(Vec<String>),
}

impl fmt::Display for Kind {
    /// What is expected, as part of a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = MAX_PORTS - 1;
        match self {
            Self::Port => write!(f, "a port number (0 to {last})"),
            Self::Ports => write!(f, "a port number (0 to {last}) or `all`"),
            Self::PortList => {
                write!(
                    f,
                    "port numbers with commas between, each once (0 to {last}), as in `0,2` or `0-2`"
                )
            }
            Self::CoreList => {
                write!(
                    f,
                    "CPU cores with commas between, each once (0 to {MAX_CORE}), as in `2,4` or `2-5`"
                )
            }
            Self::Affinity => write!(
                f,
                "queues and cores (0 to {MAX_CORE}) with commas between, each queue once, as in `0:2,1:3`, or `none`"
            ),
            Self::Number(min, max) => write!(f, "a number from {min} to {max}"),
            Self::OnOff => f.write_str("`on` or `off`"),
            Self::Level => f.write_str("`error`, `warn`, `info`, `debug` or `trace`"),
            Self::Address => f.write_str("an address of one host, as in `192.0.2.9` or `2001:db8::9`"),
            Self::AddressPrefix => f.write_str(
                "an address of one host and a prefix length, as in `192.0.2.1/24` or `2001:db8::1/64`",
            ),
            Self::Mac => f.write_str("a MAC address of one station, as in `02:00:00:00:00:09`"),
            Self::Socket => {
                f.write_str("an address and a TCP port, as in `0.0.0.0:50001` or `[::]:50001`")
            }
            Self::Server(port) => write!(
                f,
                "an address, and a TCP port if it is not {port}, as in `192.0.2.9` or `192.0.2.9:{port}`"
            ),
            Self::OwnAddress => f.write_str("an address of this host, as in `192.0.2.1`"),
            Self::Names => {
                f.write_str("names with commas between, each once, as in `dpm.alcor,ncm.alcor`")
            }
            Self::Path => f.write_str("the path of a file (in quotes if it has spaces)"),
            Self::Text => f.write_str("one word (in quotes if it has spaces)"),
            Self::Words => f.write_str("one or more words"),
            Self::Topic => f.write_str("the first words of a command, or nothing"),
        }
    }
}

impl Kind {
    /// The words that are all an argument of this kind may be, or that it may be among others.
    pub(crate) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Ports => &["all"],
            Self::Affinity => &["none"],
            Self::OnOff => &["on", "off"],
            Self::Level => &["error", "warn", "info", "debug", "trace"],
            _ => &[],
        }
    }

    /// True if it takes all words to the end of the line.
    pub(crate) fn takes_the_rest(self) -> bool {
        matches!(self, Self::Words | Self::Topic)
    }

    /// `text` as a value of this kind. `None`: it is none, see `Display` for what would be.
    pub(crate) fn value(self, text: &str) -> Option<Value> {
        Some(match self {
            Self::Port => Value::Port(port(text)?),
            Self::Ports if text == "all" => Value::Ports(Ports::All),
            Self::Ports => Value::Ports(Ports::One(port(text)?)),
            Self::PortList => {
                let ports = list(text, MAX_PORTS as u16 - 1)?;
                Value::PortList(ports.into_iter().map(PortId::new).collect::<Option<_>>()?)
            }
            Self::CoreList => Value::CoreList(list(text, MAX_CORE)?),
            Self::Affinity => Value::Affinity(Affinity::of(text)?),
            Self::Number(min, max) => {
                Value::Number(number(text).filter(|n| (min..=max).contains(n))?)
            }
            Self::OnOff => Value::OnOff(match text {
                "on" => true,
                "off" => false,
                _ => return None,
            }),
            Self::Level => Value::Level(Level::ALL.into_iter().find(|level| level.word() == text)?),
            Self::Address => Value::Address(text.parse().ok().filter(is_host)?),
            Self::AddressPrefix => {
                let net: IpNet = text.parse().ok()?;
                let is_one = |net: &IpNet| is_host(&net.addr()) && !is_link_local(net.addr());
                Value::AddressPrefix(Some(net).filter(|net| is_one(net) && net.prefix_len() > 0)?)
            }
            Self::Mac => Value::Mac(
                text.parse()
                    .ok()
                    .filter(|mac: &Mac| !mac.is_multicast() && !mac.is_zero())?,
            ),
            Self::Socket => Value::Socket(
                text.parse()
                    .ok()
                    .filter(|socket: &SocketAddr| socket.port() != 0)?,
            ),
            Self::Server(port) => Value::Socket(server(text, port)?),
            Self::Names => Value::Names(names(text)?),
            Self::OwnAddress => Value::OwnAddress(text.parse().ok().filter(is_one_host)?),
            Self::Path | Self::Text => {
                Value::Text(Some(text.to_owned()).filter(|text| !text.is_empty())?)
            }
            Self::Words | Self::Topic => Value::Words(vec![text.to_owned()]),
        })
    }
}

/// A decimal number, or after `0x` a hexadecimal one. Digits only: no sign, no space.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // from_str_radix alone would take a sign.
    digits
        .starts_with(|c: char| c.is_digit(radix))
        .then(|| u32::from_str_radix(digits, radix).ok())?
}

fn port(text: &str) -> Option<PortId> {
    number(text)
        .and_then(|n| u16::try_from(n).ok())
        .and_then(PortId::new)
}

/// Numbers up to `max` with commas between, `a-b` for all from a to b. `None` also if one comes twice.
fn list(text: &str, max: u16) -> Option<Vec<u16>> {
    let one = |text: &str| {
        number(text)
            .and_then(|n| u16::try_from(n).ok())
            .filter(|&n| n <= max)
    };
    let mut all = Vec::new();
    for item in text.split(',') {
        let (first, last) = match item.split_once('-') {
            Some((first, last)) => (one(first)?, one(last)?),
            None => (one(item)?, one(item)?),
        };
        if first > last {
            return None;
        }
        for n in first..=last {
            if all.contains(&n) {
                return None;
            }
            all.push(n);
        }
    }
    Some(all)
}

/// An address, and `port` unless it says another.
fn server(text: &str, port: u16) -> Option<SocketAddr> {
    let address = |ip: IpAddr| SocketAddr::new(ip, port);
    let socket = text.parse().or_else(|_| text.parse().map(address)).ok()?;
    (socket.port() != 0 && is_one_host(&socket.ip())).then_some(socket)
}

/// Names with commas between. `None` also if one is empty or comes twice.
fn names(text: &str) -> Option<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    for name in text.split(',') {
        if name.is_empty() || all.iter().any(|other| other == name) {
            return None;
        }
        all.push(name.to_owned());
    }
    Some(all)
}

/// False for addresses that no single host can have, and for IPv4's in the clothes of IPv6.
fn is_host(address: &IpAddr) -> bool {
    is_one_host(address) && !address.is_loopback() && address.to_canonical() == *address
}

/// The same for either family, and a host may speak to itself.
fn is_one_host(address: &IpAddr) -> bool {
    let broadcast = IpAddr::V4(Ipv4Addr::BROADCAST);
    !address.is_unspecified() && !address.is_multicast() && *address != broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_hexadecimal_and_in_range() {
        let kind = Kind::Number(1, 64);
        for (text, value) in [("1", 1), ("64", 64), ("0x20", 32), ("0X3f", 63), ("007", 7)] {
            assert_eq!(kind.value(text), Some(Value::Number(value)), "{text}");
        }
        for text in [
            "0",
            "65",
            "0x41",
            "",
            "0x",
            "-1",
            "+1",
            "0x+1",
            "1.0",
            "1k",
            "99999999999999999999",
        ] {
            assert_eq!(kind.value(text), None, "{text}");
        }
    }

    #[test]
    fn lists_take_ranges_and_each_number_once() {
        assert_eq!(
            Kind::CoreList.value("1,4-6,0x10"),
            Some(Value::CoreList(vec![1, 4, 5, 6, 16]))
        );
        for text in [
            "", "1,", ",1", "1,1", "1-3,2", "3-1", "1-", "1024", "0-99999",
        ] {
            assert_eq!(Kind::CoreList.value(text), None, "{text}");
        }
        assert_eq!(Kind::PortList.value("0,1024"), None);
    }

    #[test]
    fn addresses_are_those_of_one_station() {
        for text in ["192.0.2.1/24", "2001:db8::1/64", "fd00::1/128"] {
            assert!(Kind::AddressPrefix.value(text).is_some(), "{text}");
        }
        assert!(Kind::Address.value("fe80::1").is_some());
        for text in [
            "192.0.2.1",
            "192.0.2.1/33",
            "192.0.2.1/0",
            "0.0.0.0/24",
            "224.0.0.1/4",
            "127.0.0.1/8",
            "2001:db8::1",
            "2001:db8::1/129",
            "2001:db8::1/0",
            "::/64",
            "::1/64",
            "ff02::1/64",
            "fe80::1/64",
            "::ffff:192.0.2.1/96",
        ] {
            assert_eq!(Kind::AddressPrefix.value(text), None, "{text}");
        }
        assert!(Kind::Mac.value("02:00:00:00:00:01").is_some());
        for text in [
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
            "01:00:5e:00:00:01",
            "02:00",
        ] {
            assert_eq!(Kind::Mac.value(text), None, "{text}");
        }
        assert!(Kind::Socket.value("[::]:50001").is_some());
        assert_eq!(Kind::Socket.value("0.0.0.0:0"), None);
        for (text, address) in [
            ("192.0.2.9", "192.0.2.9:7"),
            ("127.0.0.2:8", "127.0.0.2:8"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9"),
            ("2001:db8::1", "[2001:db8::1]:7"),
        ] {
            let expected = Value::Socket(address.parse().unwrap());
            assert_eq!(Kind::Server(7).value(text), Some(expected), "{text}");
        }
        for text in [
            "0.0.0.0",
            "0.0.0.0:7",
            "192.0.2.9:0",
            "224.0.0.1",
            "ncm",
            "255.255.255.255",
        ] {
            assert_eq!(Kind::Server(7).value(text), None, "{text}");
            assert_eq!(Kind::OwnAddress.value(text), None, "{text}");
        }
        assert!(Kind::OwnAddress.value("127.0.0.2").is_some());
    }

    #[test]
    fn a_server_has_a_port_without_being_given_one() {
        let kind = Kind::Server(9016);
        for (text, address) in [
            ("192.0.2.9", "192.0.2.9:9016"),
            ("192.0.2.9:80", "192.0.2.9:80"),
            ("2001:db8::9", "[2001:db8::9]:9016"),
            ("[2001:db8::9]:80", "[2001:db8::9]:80"),
        ] {
            let value = Some(Value::Socket(address.parse().unwrap()));
            assert_eq!(kind.value(text), value, "{text}");
        }
        for text in [
            "",
            "ncm",
            "192.0.2.9:",
            "192.0.2.9:0",
            "0.0.0.0",
            "224.0.0.1",
            "[::]:80",
        ] {
            assert_eq!(kind.value(text), None, "{text}");
        }
    }

    #[test]
    fn names_are_each_given_once() {
        assert_eq!(
            Kind::Names.value("a,b c"),
            Some(Value::Names(vec!["a".into(), "b c".into()]))
        );
        for text in ["", ",", "a,", "a,a"] {
            assert_eq!(Kind::Names.value(text), None, "{text}");
        }
    }

    #[test]
    fn ports_are_a_number_or_all() {
        assert_eq!(Kind::Ports.value("all"), Some(Value::Ports(Ports::All)));
        assert_eq!(
            Kind::Ports.value("1023"),
            PortId::new(1023).map(|port| Value::Ports(Ports::One(port)))
        );
        assert_eq!(Kind::Ports.value("1024"), None);
        assert_eq!(Kind::Port.value("all"), None);
    }
}
