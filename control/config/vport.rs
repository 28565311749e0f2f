// SPDX-License-Identifier: MIT
//! `set vport template`: the device of each port that the controller describes and no `port bind` names.

use std::fmt;
use std::str::FromStr;

use crate::southbound::field::Quote;

/// Longest path of a Unix socket: `sockaddr_un.sun_path` without its end (unix(7)).
const LONGEST_SOCKET: usize = 107;

/// Longest name of a network interface: IFNAMSIZ without its end (netdevice(7)).
const LONGEST_INTERFACE: usize = 15;

/// Longest name of a device: RTE_DEV_NAME_MAX_LEN without its end.
const LONGEST_DEVICE: usize = 63;

/// Arguments that are sockets, and drivers whose `iface` is one.
const SOCKETS: &[&str] = &["path", "socket"];
const SOCKET_DRIVERS: &[&str] = &["net_vhost"];

/// A device for a port that is still to come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template(String);

/// What is wrong with a template, or with a port's name in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum VportError {
    /// Something else in braces.
    #[error(
        "`{0}` is no place for anything: those are `{{n}}`, a free number, and `{{id}}` and `{{name}}`, the port's"
    )]
    NoPlace(String),
    /// All devices would have one name.
    #[error(
        "the device's name, before the first comma, needs `{{n}}`: DPDK tells devices apart by their names"
    )]
    NoNumber,
    /// A VLAN of another port.
    #[error("a subport is no device")]
    Subport,
    /// A name that cannot be part of a file's.
    #[error("its {what} {value} cannot be part of a file's name: {why}")]
    Unsafe {
        /// `name` or `id`.
        what: &'static str,
        /// It.
        value: String,
        /// Why not.
        why: &'static str,
    },
    /// Too long for what it is.
    #[error("{} is {} bytes long, and {what} has {most} at most", Quote(value), value.len())]
    TooLong {
        /// What it is.
        what: &'static str,
        /// It.
        value: String,
        /// Bytes that it may have.
        most: usize,
    },
    /// Two ports of one name, or of names that differ in nothing that a file's name may have.
    #[error(
        "port {port} of the switch has the same, `{arguments}`: give the controller's ports different names, or use `{{id}}`"
    )]
    SameArguments {
        /// Arguments of the device.
        arguments: String,
        /// The other port.
        port: u16,
    },
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Template {
    type Err = VportError;

    fn from_str(text: &str) -> Result<Self, VportError> {
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let place = rest[at..].split_inclusive('}').next().unwrap_or_default();
            if !["{n}", "{id}", "{name}"].contains(&place) {
                return Err(VportError::NoPlace(place.to_owned()));
            }
            rest = &rest[at + place.len()..];
        }
        if text.starts_with("vlan") {
            return Err(VportError::Subport);
        }
        let name = text.split(',').next().unwrap_or_default();
        match name.contains("{n}") {
            true => Ok(Self(text.to_owned())),
            false => Err(VportError::NoNumber),
        }
    }
}

impl Template {
    /// True if devices differ in more than their numbers.
    pub(crate) fn names_its_port(&self) -> bool {
        self.0.contains("{id}") || self.0.contains("{name}")
    }

    /// The device number `n`, for the controller's port `id`, which it calls `name`; without a name that is its id.
    ///
    /// # Errors
    /// What is said of the port has no place in the name of a file, or makes it too long.
    pub(crate) fn device(&self, n: usize, id: &str, name: &str) -> Result<String, VportError> {
        let mut device = self.0.replace("{n}", &n.to_string());
        let name = match name {
            "" => ("id", id),
            name => ("name", name),
        };
        for (place, (what, value)) in [("{id}", ("id", id)), ("{name}", name)] {
            if device.contains(place) {
                device = device.replace(place, &safe(what, value)?);
            }
        }
        check_lengths(&device)?;
        Ok(device)
    }
}

/// The same with `_` for what means something to DPDK or to a shell.
fn safe(what: &'static str, value: &str) -> Result<String, VportError> {
    let bad = |why| VportError::Unsafe {
        what,
        value: Quote(value).to_string(),
        why,
    };
    if value.contains('/') {
        return Err(bad("it has a `/`"));
    }
    if value.chars().any(char::is_control) {
        return Err(bad("it has a control character"));
    }
    if value.starts_with('.') {
        return Err(bad("it begins with a dot"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
    let safe = value.chars().map(|c| if plain(c) { c } else { '_' });
    Ok(safe.collect())
}

fn check_lengths(device: &str) -> Result<(), VportError> {
    let mut words = device.split(',');
    let name = words.next().unwrap_or_default();
    fits("the name of a device", name, LONGEST_DEVICE)?;
    let is_vhost = SOCKET_DRIVERS.iter().any(|driver| name.starts_with(driver));
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        if SOCKETS.contains(&key) || key == "iface" && is_vhost {
            fits("the path of a socket", value, LONGEST_SOCKET)?;
        } else if key == "iface" {
            fits("the name of an interface", value, LONGEST_INTERFACE)?;
        }
    }
    Ok(())
}

fn fits(what: &'static str, value: &str, most: usize) -> Result<(), VportError> {
    match value.len() > most {
        true => Err(VportError::TooLong {
            what,
            value: value.to_owned(),
            most,
        }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VHOST: &str = "net_vhost{n},iface=/run/{name}.sock,client=1";

    fn device(template: &str, id: &str, name: &str) -> Result<String, String> {
        let template: Template = template
            .parse()
            .map_err(|error: VportError| error.to_string())?;
        template
            .device(7, id, name)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn places_are_filled() {
        for (template, name, made) in [
            (
                VHOST,
                "web-1.a_b",
                "net_vhost7,iface=/run/web-1.a_b.sock,client=1",
            ),
            (
                VHOST,
                "web server,x=1",
                "net_vhost7,iface=/run/web_server_x_1.sock,client=1",
            ),
            (VHOST, "", "net_vhost7,iface=/run/the-id.sock,client=1"),
            ("net_tap{n},iface=tap{n}", "../x", "net_tap7,iface=tap7"),
            (
                "net_vhost{n},iface=/{id}/{n}",
                "/",
                "net_vhost7,iface=/the-id/7",
            ),
            ("net_null{n}", "n", "net_null7"),
        ] {
            assert_eq!(device(template, "the-id", name).as_deref(), Ok(made));
        }
    }

    #[test]
    fn a_template_without_a_number_or_with_unknown_places_is_none() {
        for (template, said) in [
            ("net_vhost0,iface=/run/{id}", "needs `{n}`"),
            ("net_vhost,iface=/run/{n}", "needs `{n}`"),
            ("net_vhost{n},iface=/run/{uuid}", "`{uuid}` is no place"),
            ("net_vhost{n},iface=/run/{id", "`{id` is no place"),
            ("net_vhost{n},iface=/run/id}", "`}` is no place"),
            ("net_vhost{n},iface={}", "`{}` is no place"),
            ("vlan{n}@1", "a subport is no device"),
            ("", "needs `{n}`"),
        ] {
            let error = device(template, "id", "name").unwrap_err();
            assert!(error.contains(said), "{template}: {error}");
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = "n".repeat(200);
        for (name, said) in [
            ("../../etc/passwd", "it has a `/`"),
            ("a/b", "it has a `/`"),
            ("..", "it begins with a dot"),
            (".hidden", "it begins with a dot"),
            ("a\0b", "it has a control character"),
            ("a\nb", "it has a control character"),
            (
                &long,
                "210 bytes long, and the path of a socket has 107 at most",
            ),
        ] {
            let error = device(VHOST, "id", name).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let error = device("net_tap{n},iface=t-{id}", &long, "").unwrap_err();
        assert!(error.contains("an interface has 15 at most"), "{error}");
        let error = device("net_ring{n}{id}", &long, "").unwrap_err();
        assert!(error.contains("a device has 63 at most"), "{error}");
        // 107 bytes are a path, 108 are none.
        for (length, right) in [(97, true), (98, false)] {
            assert_eq!(device(VHOST, "id", &"n".repeat(length)).is_ok(), right);
        }
    }
}
