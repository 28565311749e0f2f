// SPDX-License-Identifier: MIT
//! Where in a goal state something is, and reading of single fields: every error names its field.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use prost::Message;
use vswitch::wire::Mac;

use super::decode::lossy;

/// Longest id, name or key that is kept, in bytes. Alcor's ids are UUIDs of 36, sometimes with a prefix.
pub(crate) const MAX_ID: usize = 255;

/// Most bytes of a configuration that is kept as it was said. A port of a thousand addresses takes a quarter.
const MAX_SAID: usize = 256 << 10;

/// Most characters of a refused value that an error repeats.
const MAX_QUOTE: usize = 64;

/// A field's place: `neighbor_states[3].configuration.fixed_ips[0].ip_address`. Costs nothing until it is
/// written out.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    outer: Option<&'a Field<'a>>,
    name: &'static str,
    at: At<'a>,
}

#[derive(Clone, Copy)]
enum At<'a> {
    Whole,
    Index(usize),
    Key(&'a [u8]),
}

/// What is wrong with a field. One word, since all that is read of a million neighbors is a result that could be this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .0.field, .0.problem)]
pub(crate) struct FieldError(Box<Wrong>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wrong {
    field: String,
    problem: String,
}

impl<'a> Field<'a> {
    /// Element `index` of one of the goal state's lists.
    pub(crate) fn element(list: &'static str, index: usize) -> Self {
        Self {
            outer: None,
            name: list,
            at: At::Index(index),
        }
    }

    /// The value of `key`, a text that may be damaged, in one of the goal state's maps.
    pub(crate) fn entry(map: &'static str, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            outer: None,
            name: map,
            at: At::Key(key.as_ref()),
        }
    }

    /// A field of this message.
    pub(crate) fn field(&'a self, name: &'static str) -> Self {
        Self {
            outer: Some(self),
            name,
            at: At::Whole,
        }
    }

    /// An element of a list in this message.
    pub(crate) fn item(&'a self, name: &'static str, index: usize) -> Self {
        Self {
            outer: Some(self),
            name,
            at: At::Index(index),
        }
    }

    /// An error about this field.
    pub(crate) fn error(&self, problem: impl fmt::Display) -> FieldError {
        FieldError(Box::new(Wrong {
            field: self.to_string(),
            problem: problem.to_string(),
        }))
    }

    /// A text that must be there: an id.
    pub(crate) fn id(&self, text: &str) -> Result<(), FieldError> {
        if text.is_empty() {
            return Err(self.error("is empty"));
        }
        self.text(text)
    }

    /// A text that may be empty: a name.
    pub(crate) fn text(&self, text: &str) -> Result<(), FieldError> {
        if text.len() > MAX_ID {
            return Err(self.error(format_args!("is longer than {MAX_ID} bytes")));
        }
        Ok(())
    }

    /// A configuration that is kept as it was said, whatever is in it.
    pub(crate) fn bounded(&self, said: &impl Message) -> Result<(), FieldError> {
        let len = said.encoded_len();
        if len > MAX_SAID {
            return Err(self.error(format_args!("has {len} bytes, at most {MAX_SAID} are kept")));
        }
        Ok(())
    }

    /// A value of an enumeration, which is called `what` in the error.
    pub(crate) fn one_of<E: TryFrom<i32>>(&self, value: i32, what: &str) -> Result<E, FieldError> {
        E::try_from(value).map_err(|_| self.error(format_args!("{value} is no {what}")))
    }

    /// A list that must not be longer than `limit`.
    pub(crate) fn at_most(&self, count: usize, limit: usize) -> Result<(), FieldError> {
        if count > limit {
            return Err(self.error(format_args!(
                "has {count} entries, at most {limit} are served"
            )));
        }
        Ok(())
    }

    /// An address that one machine of a tenant has, and that its VPC knows it by. A link-local one of IPv6 it has
    /// besides: each machine makes its own, and another machine may have the same on another link (RFC 4291 section 2.5.6).
    pub(crate) fn host(&self, text: &str) -> Result<IpAddr, FieldError> {
        let address = self.link_host(text)?;
        if is_link_local(address) {
            return Err(self.error(format_args!(
                "{address} is link-local: it means nothing without a link, and every machine makes its own"
            )));
        }
        Ok(address)
    }

    /// The same, or one that a machine has on one link only: of IPv6's gateways, many have no other.
    pub(crate) fn link_host(&self, text: &str) -> Result<IpAddr, FieldError> {
        let address = self.ip(text)?;
        self.fit(address)
    }

    fn fit<A: Copy + Into<IpAddr>>(&self, address: A) -> Result<A, FieldError> {
        let ip = address.into();
        match no_machines(ip) {
            Some(why) => Err(self.error(format_args!("{ip} {why}"))),
            None => Ok(address),
        }
    }

    /// An IPv4 address that one machine has.
    pub(crate) fn ipv4_host(&self, text: &str) -> Result<Ipv4Addr, FieldError> {
        let address: Ipv4Addr = text
            .parse()
            .map_err(|_| self.error(format_args!("{} is not an IPv4 address", Quote(text))))?;
        self.fit(address)
    }

    /// An IPv6 address that one machine has.
    pub(crate) fn ipv6_host(&self, text: &str) -> Result<Ipv6Addr, FieldError> {
        let address: Ipv6Addr = text
            .parse()
            .map_err(|_| self.error(format_args!("{} is not an IPv6 address", Quote(text))))?;
        self.fit(address)
    }

    /// Any address, of IPv4 or IPv6.
    pub(crate) fn ip(&self, text: &str) -> Result<IpAddr, FieldError> {
        text.parse()
            .map_err(|_| self.error(format_args!("{} is not an IP address", Quote(text))))
    }

    /// This address is of the same version of IP as another field's, `what`.
    pub(crate) fn like(&self, ip: IpAddr, what: &str, other: IpNet) -> Result<(), FieldError> {
        if ip.is_ipv4() == other.addr().is_ipv4() {
            return Ok(());
        }
        Err(self.error(format_args!(
            "{ip} is an {} address, and {what} {other} is {}",
            version(ip),
            version(other.addr())
        )))
    }

    /// A prefix or one address, of IPv4 or IPv6.
    pub(crate) fn any_prefix(&self, text: &str) -> Result<IpNet, FieldError> {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| address()).map_err(|_| {
            self.error(format_args!(
                "{} is neither an IP address nor a prefix",
                Quote(text)
            ))
        })
    }

    /// A TCP or UDP port, 0 to 65535.
    pub(crate) fn l4_port(&self, value: u32) -> Result<u16, FieldError> {
        u16::try_from(value).map_err(|_| self.error(format_args!("{value} is no port number")))
    }

    /// A prefix of addresses that machines of a VPC may have; bits beyond its length are ignored.
    pub(crate) fn prefix(&self, text: &str) -> Result<IpNet, FieldError> {
        let prefix: IpNet = text
            .parse()
            .map_err(|_| self.error(format_args!("{} is not an IP prefix", Quote(text))))?;
        self.reachable(prefix.trunc())
    }

    /// The same, or one address.
    pub(crate) fn destination(&self, text: &str) -> Result<IpNet, FieldError> {
        match text.parse::<IpAddr>() {
            Ok(address) => self.reachable(address.into()),
            Err(_) => self.prefix(text),
        }
    }

    fn reachable(&self, prefix: IpNet) -> Result<IpNet, FieldError> {
        let why = match prefix {
            _ if is_link_local(prefix.addr()) => Some("is link-local, and routed nowhere"),
            IpNet::V6(net) if net.addr().is_multicast() || net.prefix_len() >= MAPPED_LEN => {
                no_machines(net.addr().into())
            }
            _ => None,
        };
        match why {
            Some(why) => Err(self.error(format_args!("{prefix} {why}"))),
            None => Ok(prefix),
        }
    }

    /// A station's MAC: neither zero nor a group address.
    pub(crate) fn mac(&self, text: &str) -> Result<Mac, FieldError> {
        let mac: Mac = text
            .parse()
            .map_err(|_| self.error(format_args!("{} is not a MAC address", Quote(text))))?;
        if mac.is_zero() || mac.is_multicast() {
            return Err(self.error(format_args!("{mac} is no station's MAC")));
        }
        Ok(mac)
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outer) = self.outer {
            write!(f, "{outer}.")?;
        }
        f.write_str(self.name)?;
        match self.at {
            At::Whole => Ok(()),
            At::Index(index) => write!(f, "[{index}]"),
            At::Key(key) => write!(f, "[{}]", Quote(&lossy(key))),
        }
    }
}

/// Bits that say that an IPv6 address is one of IPv4 (RFC 4291 section 2.5.5.2).
const MAPPED_LEN: u8 = 96;

/// Why no single machine can have an address on a network; `None` if one can.
fn no_machines(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            Some("is an IPv4 address in IPv6's form: no packet has it")
        }
        _ if address.is_loopback() => Some("is a loopback address: every machine has it"),
        IpAddr::V4(ip) if ip.is_broadcast() => Some(NO_MACHINE),
        _ if address.is_unspecified() || address.is_multicast() => Some(NO_MACHINE),
        _ => None,
    }
}

/// True for an address that is not routed: each link has its own, which others may have too (RFC 4291 section 2.5.6).
/// Those of IPv4 are an exception there, and treated as any other.
pub(crate) const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

const NO_MACHINE: &str = "is no machine's address";

/// The version of IP that an address is of, in words.
pub(crate) const fn version(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}

/// A value from outside as an error shows it: quoted, escaped, not too long.
pub(crate) struct Quote<'a>(pub &'a str);

impl fmt::Display for Quote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_QUOTE) {
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_field_and_repeats_the_value() {
        let state = Field::element("neighbor_states", 3);
        let configuration = state.field("configuration");
        let fixed_ip = configuration.item("fixed_ips", 0);
        let error = fixed_ip.field("ip_address").host("10.0.0").unwrap_err();
        let expected = "neighbor_states[3].configuration.fixed_ips[0].ip_address: \"10.0.0\" is not an IP address";
        assert_eq!(error.to_string(), expected);
        let error = Field::entry("port_states", "a\n\"b")
            .field("configuration")
            .error("is missing");
        assert_eq!(
            error.to_string(),
            "port_states[\"a\\n\\\"b\"].configuration: is missing"
        );
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        let error = Field::entry("port_states", &"ß".repeat(500))
            .error("is missing")
            .to_string();
        assert_eq!(error.chars().filter(|c| *c == 'ß').count(), MAX_QUOTE);
    }

    #[test]
    fn addresses_that_no_machine_has_are_refused() {
        let field = Field::element("x", 0);
        for bad in [
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "10.0.0.256",
            "::1",
            "",
            " 10.0.0.1",
        ] {
            assert!(field.host(bad).is_err(), "{bad}");
        }
        for bad in [
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "02:00",
        ] {
            assert!(field.mac(bad).is_err(), "{bad}");
        }
        assert_eq!(
            field.prefix("10.1.2.3/16").unwrap().to_string(),
            "10.1.0.0/16"
        );
        for bad in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "/8"] {
            assert!(field.prefix(bad).is_err(), "{bad}");
        }
    }
}
