// SPDX-License-Identifier: MIT
//! [`Args`]: a vhost-user port as `port attach` names it, in the words of DPDK's net_vhost driver.

use std::ffi::CString;

use crate::dpdk::port::PortError;
use crate::dpdk::sys;

/// What such a port's name begins with.
const PREFIX: &str = "net_vhost";

/// Longest path of a Unix socket: `sun_path` with its NUL has 108 bytes.
const LONGEST_PATH: usize = 107;

/// Most pairs of queues that a guest may have (VHOST_MAX_QUEUE_PAIRS).
const MAX_QUEUES: u16 = 128;

/// Switches that are flags of `rte_vhost_driver_register`, and the value for which they are.
const FLAGS: &[(&str, &str, u64)] = &[
    ("client", "1", sys::ALKAID_VHOST_CLIENT),
    ("iommu-support", "1", sys::ALKAID_VHOST_IOMMU),
    ("postcopy-support", "1", sys::ALKAID_VHOST_POSTCOPY),
    ("linear-buffer", "1", sys::ALKAID_VHOST_LINEARBUF),
    // As on receive, unless the old way is asked for: flags as on send.
    ("legacy-ol-flags", "0", sys::ALKAID_VHOST_COMPLIANT_OL_FLAGS),
];

/// `net_vhost0,iface=/run/vm.sock,queues=2,client=1,tso=1`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Args {
    pub(super) name: String,
    /// The socket's path.
    pub(super) path: CString,
    /// Pairs of queues that are served.
    pub(super) queues: u16,
    /// Of `rte_vhost_driver_register`.
    pub(super) flags: u64,
    /// Features that guests are not offered (virtio 1.1 section 5.1.3).
    pub(super) withheld: u64,
}

/// Whether `devargs` are of such a port.
pub(in crate::dpdk) fn names_vhost(devargs: &str) -> bool {
    devargs.starts_with(PREFIX)
}

impl Args {
    /// # Errors
    /// Names the argument that is wrong.
    pub(super) fn parse(devargs: &str) -> Result<Self, PortError> {
        let mut words = devargs.split(',');
        let name = words.next().unwrap_or_default().to_owned();
        let wrong = |why: String| PortError::Argument {
            device: name.clone(),
            why,
        };
        let (mut path, mut queues, mut tso) = (None, 1, false);
        let mut flags = sys::ALKAID_VHOST_COMPLIANT_OL_FLAGS;
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "iface" => path = Some(value),
                "queues" => {
                    let count = value.parse().ok();
                    let count = count.filter(|count| (1..=MAX_QUEUES).contains(count));
                    let out = || wrong(format!("queues={value}: it takes 1 to {MAX_QUEUES}"));
                    queues = count.ok_or_else(out)?;
                }
                "tso" => tso = is_one(value).ok_or_else(|| wrong(not_bool(word)))?,
                _ => {
                    let flag = FLAGS.iter().find(|(flag, ..)| *flag == key);
                    let &(_, on, flag) = flag.ok_or_else(|| wrong(unknown(key)))?;
                    is_one(value).ok_or_else(|| wrong(not_bool(word)))?;
                    flags = if value == on {
                        flags | flag
                    } else {
                        flags & !flag
                    };
                }
            }
        }
        let path = path.filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| wrong("it needs iface=, its socket's path".to_owned()))?;
        if path.len() > LONGEST_PATH {
            let bytes = path.len();
            return Err(wrong(format!(
                "its socket's path has {bytes} bytes, and may have {LONGEST_PATH}"
            )));
        }
        let path = CString::new(path).map_err(|_| PortError::Nul(devargs.to_owned()))?;
        let unless = |is: bool, features: u64| if is { 0 } else { features };
        // Nothing here cuts UDP. A guest that is offered several queues may send by any, whatever there is.
        let withheld = sys::ALKAID_HOST_UFO
            | unless(tso, sys::ALKAID_HOST_TSO)
            | unless(queues > 1, sys::ALKAID_MQ);
        Ok(Self {
            name,
            path,
            queues,
            flags,
            withheld,
        })
    }

    /// The switch connects to the guest's socket, instead of the other way round.
    pub(super) fn is_client(&self) -> bool {
        self.flags & sys::ALKAID_VHOST_CLIENT != 0
    }

    /// The number at the name's end.
    pub(super) fn number(&self) -> u16 {
        let digits = self
            .name
            .trim_start_matches(|it: char| !it.is_ascii_digit());
        digits.parse().unwrap_or(0)
    }
}

fn is_one(value: &str) -> Option<bool> {
    match value {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn not_bool(word: &str) -> String {
    format!("{word}: it takes 0 or 1")
}

fn unknown(key: &str) -> String {
    let flags: Vec<_> = FLAGS.iter().map(|(flag, ..)| *flag).collect();
    format!(
        "it has no argument `{key}`: iface, queues, tso, {}",
        flags.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_of_dpdks_driver() {
        let args = |devargs: &str| Args::parse(devargs).unwrap();
        let plain = args("net_vhost7,iface=/run/a.sock");
        assert_eq!((plain.name.as_str(), plain.number()), ("net_vhost7", 7));
        assert_eq!(
            (plain.path.to_bytes(), plain.queues),
            (&b"/run/a.sock"[..], 1)
        );
        assert_eq!(plain.flags, sys::ALKAID_VHOST_COMPLIANT_OL_FLAGS);
        assert_eq!(
            plain.withheld,
            sys::ALKAID_HOST_UFO | sys::ALKAID_HOST_TSO | sys::ALKAID_MQ
        );
        assert!(!plain.is_client());
        let all = args("net_vhost,client=1,iface=/s,queues=128,tso=1,legacy-ol-flags=1");
        assert_eq!((all.number(), all.queues), (0, 128));
        assert_eq!(all.flags, sys::ALKAID_VHOST_CLIENT);
        assert_eq!(all.withheld, sys::ALKAID_HOST_UFO);
        assert!(all.is_client());
    }

    #[test]
    fn a_wrong_argument_is_named() {
        let long = format!("net_vhost0,iface=/{}", "x".repeat(LONGEST_PATH));
        for (devargs, said) in [
            ("net_vhost0", "it needs iface="),
            ("net_vhost0,iface=", "it needs iface="),
            (
                "net_vhost0,iface=/s,queues=0",
                "queues=0: it takes 1 to 128",
            ),
            ("net_vhost0,iface=/s,queues=129", "it takes 1 to 128"),
            ("net_vhost0,iface=/s,queues", "queues=: it takes"),
            (
                "net_vhost0,iface=/s,client=yes",
                "client=yes: it takes 0 or 1",
            ),
            ("net_vhost0,iface=/s,tso=2", "tso=2: it takes 0 or 1"),
            (
                "net_vhost0,iface=/s,mac=1",
                "no argument `mac`: iface, queues, tso, client",
            ),
            ("net_vhost0,iface=/s\0", "NUL"),
            (&long, "has 108 bytes, and may have 107"),
        ] {
            let error = Args::parse(devargs).unwrap_err().to_string();
            assert!(error.contains(said), "{devargs}: {error}");
        }
    }
}
