// SPDX-License-Identifier: MIT
//! Values of options: from the controller's words to the bytes of a message.

use std::net::Ipv4Addr;

use dhcproto::Name;
use dhcproto::v4::{DhcpOption, Encodable, OptionCode, UnknownOption};
use ipnet::Ipv4Net;

use super::names::Kind;
use crate::southbound::field::Quote;

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadValue(pub(super) String);

pub(super) fn bad<T>(problem: impl ToString) -> Result<T, BadValue> {
    Err(BadValue(problem.to_string()))
}

/// An option as it stands in a message: code, length and value; several times with parts of the value if that is longer
/// than 255 bytes (RFC 3396).
pub(super) fn wire(option: &DhcpOption) -> Result<Vec<u8>, BadValue> {
    option.to_vec().or_else(bad)
}

/// The option of this code and value, which must not be empty.
pub(super) fn raw(code: u8, value: Vec<u8>) -> Result<DhcpOption, BadValue> {
    if value.is_empty() {
        return bad("has no value");
    }
    let code = OptionCode::from(code);
    Ok(DhcpOption::Unknown(UnknownOption::new(code, value)))
}

/// Reads a value of this kind.
pub(super) fn read(code: u8, kind: Kind, text: &str) -> Result<DhcpOption, BadValue> {
    let text = text.trim();
    let value = match kind {
        Kind::Own => return bad("is not the controller's to say: it follows from other fields"),
        Kind::Domains => return domains(text),
        Kind::Address => address(text)?.octets().to_vec(),
        Kind::Addresses => addresses(text)?,
        Kind::Pairs => match addresses(text)? {
            pairs if pairs.len().is_multiple_of(8) => pairs,
            _ => return bad(format_args!("{}: addresses come in pairs", Quote(text))),
        },
        Kind::Routes => routes_value(&routes(text)?),
        Kind::Text => plain_text(text)?,
        Kind::U8 => number::<u8>(text)?.to_be_bytes().to_vec(),
        Kind::U16 => number::<u16>(text)?.to_be_bytes().to_vec(),
        Kind::U32 => number::<u32>(text)?.to_be_bytes().to_vec(),
        Kind::I32 => number::<i32>(text)?.to_be_bytes().to_vec(),
        Kind::Flag => match text {
            "0" | "false" => vec![0],
            "1" | "true" => vec![1],
            _ => return bad(format_args!("{} is not 0 or 1", Quote(text))),
        },
        Kind::Bytes => bytes(text, addresses)?,
    };
    raw(code, value)
}

/// A number that fits, in decimal digits.
pub(super) fn number<N: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
) -> Result<N, BadValue> {
    let wrong = |error| BadValue(format!("{}: {error}", Quote(text)));
    text.parse().map_err(wrong)
}

/// One IPv4 address.
pub(super) fn address(text: &str) -> Result<Ipv4Addr, BadValue> {
    let wrong = |_| BadValue(format!("{} is not an IPv4 address", Quote(text)));
    text.parse().map_err(wrong)
}

/// The words of a list.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace());
    words.filter(|word| !word.is_empty())
}

fn addresses(text: &str) -> Result<Vec<u8>, BadValue> {
    let mut value = Vec::new();
    for word in words(text) {
        value.extend(address(word)?.octets());
    }
    Ok(value)
}

/// Routes by prefix, each with its next hop; a next hop of 0.0.0.0 means the link itself.
pub(super) fn routes(text: &str) -> Result<Vec<(Ipv4Net, Ipv4Addr)>, BadValue> {
    let (mut routes, mut words) = (Vec::new(), words(text));
    while let Some(prefix) = words.next() {
        let Ok(to) = prefix.parse::<Ipv4Net>() else {
            return bad(format_args!("{} is not an IPv4 prefix", Quote(prefix)));
        };
        let Some(via) = words.next() else {
            return bad(format_args!("{to} has no next hop"));
        };
        routes.push((to.trunc(), address(via)?));
    }
    Ok(routes)
}

/// The value of options 121 and 249 (RFC 3442): of each prefix its length and as many bytes as that covers.
pub(super) fn routes_value(routes: &[(Ipv4Net, Ipv4Addr)]) -> Vec<u8> {
    let mut value = Vec::new();
    for (to, via) in routes {
        let significant = to.prefix_len().div_ceil(8).into();
        value.push(to.prefix_len());
        value.extend(to.network().octets().iter().take(significant));
        value.extend(via.octets());
    }
    value
}

fn domains(text: &str) -> Result<DhcpOption, BadValue> {
    let name = |word| {
        let wrong = |error| BadValue(format!("{}: {error}", Quote(word)));
        Name::from_ascii(word).map_err(wrong)
    };
    match words(text).map(name).collect::<Result<Vec<_>, _>>()? {
        none if none.is_empty() => bad("has no value"),
        names => Ok(DhcpOption::DomainSearch(names)),
    }
}

/// A text that clients may put into files and command lines.
pub(super) fn plain_text(text: &str) -> Result<Vec<u8>, BadValue> {
    if text.chars().any(char::is_control) {
        return bad(format_args!("{} has control characters", Quote(text)));
    }
    Ok(text.as_bytes().to_vec())
}

/// The value of an option of which nothing is known: `01:02:ff`, `0x0102ff`, `addresses`, or else a text. A bare
/// number is none of these, since nobody says of how many bytes it is.
pub(super) fn bytes(
    text: &str,
    addresses: fn(&str) -> Result<Vec<u8>, BadValue>,
) -> Result<Vec<u8>, BadValue> {
    let digits = match text.strip_prefix("0x") {
        Some(digits) => Some(digits.to_owned()),
        None if text.contains(':') && text.split(':').all(is_byte) => Some(text.replace(':', "")),
        None => None,
    };
    if let Some(digits) = digits {
        let Some(bytes) = from_hex(&digits) else {
            return bad(format_args!("{} are not bytes", Quote(text)));
        };
        return Ok(bytes);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return bad(format_args!(
            "{text}: of how many bytes is it? Write them, as 0x.."
        ));
    }
    addresses(text).or_else(|_| plain_text(text))
}

fn is_byte(part: &str) -> bool {
    part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let part = str::from_utf8(pair).ok().filter(|part| is_byte(part))?;
        u8::from_str_radix(part, 16).ok()
    };
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}
