// SPDX-License-Identifier: MIT
//! What the switch reads of a device's arguments: DPDK does not say which interface of the kernel's, or which socket, a
//! device is over.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::net::if_::if_nametoindex;

use super::DeviceError;
use crate::listener;

/// A device and its arguments, as `port attach` takes them: `net_af_packet0,iface=veth0`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Devargs<'a>(pub(super) &'a str);

/// Drivers over an interface that the kernel has, by the beginning of their devices' names.
const OVER_AN_INTERFACE: &[&str] = &["net_af_packet", "net_af_xdp"];

/// The driver of shared memory between two programs.
pub(super) const MEMIF: &str = "net_memif";

/// Drivers that make an interface.
const MAKE_AN_INTERFACE: &[&str] = &["net_tap"];

impl<'a> Devargs<'a> {
    /// The device's name.
    pub(super) fn name(self) -> &'a str {
        self.0.split(',').next().unwrap_or(self.0)
    }

    /// What is behind the name.
    pub(super) fn arguments(self) -> &'a str {
        self.0
            .split_once(',')
            .map_or("", |(_, arguments)| arguments)
    }

    /// The value of an argument.
    pub(super) fn argument(self, key: &str) -> Option<&'a str> {
        let mut arguments = self.arguments().split(',');
        arguments.find_map(|argument| argument.strip_prefix(key)?.strip_prefix('='))
    }

    fn is_of(self, drivers: &[&str]) -> bool {
        drivers.iter().any(|driver| self.name().starts_with(driver))
    }

    /// The interface of the kernel's that it is over, as far as it is named.
    pub(super) fn interface(self) -> Option<&'a str> {
        let known = self.is_of(OVER_AN_INTERFACE) || self.makes_its_interface();
        self.argument("iface").filter(|_| known)
    }

    /// True if that is there as long as the device is.
    pub(super) fn makes_its_interface(self) -> bool {
        self.is_of(MAKE_AN_INTERFACE)
    }

    /// The socket that it opens for a guest to connect to.
    fn own_socket(self) -> Option<&'a Path> {
        let client = self.argument("client").is_some_and(|value| value != "0");
        let opens = self.is_of(&["net_vhost"]) && !client;
        self.argument("iface").filter(|_| opens).map(Path::new)
    }

    /// Makes sure that nothing is in the place of the socket that it opens: DPDK would fail, and then remove what is there,
    /// whosever it is. A socket that nobody listens on is removed: a process that did not end in order has left it.
    pub(super) fn clear_socket(self) -> Result<(), DeviceError> {
        let Some(path) = self.own_socket() else {
            return Ok(());
        };
        let Ok(found) = std::fs::symlink_metadata(path) else {
            return Ok(());
        };
        let why = match found.file_type().is_socket() {
            false => "it is there and is no socket",
            true if listener::is_there(path).unwrap_or(true) => "somebody listens on it",
            true => {
                tracing::info!("removing {}: nobody listens on it", path.display());
                let removed = std::fs::remove_file(path);
                return removed.map_err(|error| DeviceError::Socket {
                    path: path.to_owned(),
                    why: error.to_string(),
                });
            }
        };
        let (path, why) = (path.to_owned(), why.to_owned());
        Err(DeviceError::Socket { path, why })
    }
}

impl Devargs<'_> {
    /// Says what an operator should know of its driver.
    pub(super) fn warn(self) {
        if self.is_of(&[MEMIF]) {
            tracing::warn!(
                "{}: DPDK unmaps the memory of a memif peer that goes away while workers may read it, which can end this \
                 process: `port stop` before that",
                self.name()
            );
        }
    }
}

/// What shows that an interface is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sign {
    /// The kernel's number of it, in this network namespace.
    Index(u32),
    /// A file of this process that it was made by (tun): in another namespace it may have another name, and numbers mean nothing.
    File(u32),
}

impl Sign {
    /// That of a device which has just been attached; `None`: it has no interface, or its arguments do not name it.
    pub(super) fn of(devargs: Devargs<'_>) -> Option<Self> {
        let name = devargs.interface()?;
        match devargs.makes_its_interface() {
            true => maker(name).map(Self::File),
            false => interface_index(name).map(Self::Index),
        }
    }

    /// True while that interface is there.
    pub(super) fn holds(self, name: Option<&str>) -> bool {
        match self {
            Self::Index(index) => name.and_then(interface_index) == Some(index),
            Self::File(file) => made_by(file).is_some(),
        }
    }
}

/// The file of this process that made an interface.
fn maker(name: &str) -> Option<u32> {
    let files = std::fs::read_dir("/proc/self/fdinfo").ok()?.flatten();
    let mut files = files.filter_map(|file| file.file_name().to_str()?.parse().ok());
    files.find(|file| made_by(*file).is_some_and(|made| made == name))
}

/// The interface that a file has made, by its present name; `None`: none, or it is gone.
fn made_by(file: u32) -> Option<String> {
    let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{file}")).ok()?;
    let name = about.lines().find_map(|line| line.strip_prefix("iff:"))?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// The kernel's number of an interface; another one of the same name has another.
pub(super) fn interface_index(name: &str) -> Option<u32> {
    if_nametoindex(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_those_of_drivers_that_have_one() {
        for (device, interface, makes) in [
            ("net_af_packet0,iface=veth0", Some("veth0"), false),
            (
                "net_af_xdp1,start_queue=0,iface=veth0",
                Some("veth0"),
                false,
            ),
            ("net_tap0,iface=tap0", Some("tap0"), true),
            ("net_tap0", None, true),
            ("net_vhost0,iface=/run/s", None, false),
            ("0000:3b:00.0,iface=x", None, false),
            ("net_af_packet0,qpairs=1", None, false),
            ("", None, false),
        ] {
            let devargs = Devargs(device);
            let found = (devargs.interface(), devargs.makes_its_interface());
            assert_eq!(found, (interface, makes), "{device}");
        }
        assert!(interface_index("lo").is_some());
        assert_eq!(interface_index("no such one"), None);
    }

    #[test]
    fn only_a_socket_that_nobody_listens_on_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let device = format!("net_vhost0,iface={}", path.display());
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = |device: &str| Devargs(device).clear_socket().unwrap_err().to_string();
        assert!(error(&device).contains("somebody listens on it"));
        drop(listener);
        Devargs(&format!("{device},client=1"))
            .clear_socket()
            .unwrap();
        assert!(path.exists(), "the guest's own");
        Devargs(&device).clear_socket().unwrap();
        assert!(!path.exists());
        Devargs(&device).clear_socket().unwrap();
        std::fs::write(&path, "a file").unwrap();
        assert!(error(&device).contains("is no socket") && path.exists());
    }
}
