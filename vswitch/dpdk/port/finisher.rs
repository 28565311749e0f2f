// SPDX-License-Identifier: MIT
//! [`Finisher`]: what a port's device does of what a guest left undone.

use crate::dpdk::sys;
use crate::io::Finishes;

/// The driver behind which there are guests that say what they take.
const OF_GUESTS: &str = "net_vhost";

/// One port's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Finisher {
    /// The same at all times.
    Device(Finishes),
    /// Whatever the guest behind this port takes, if there is one.
    Guest(u16),
}

impl Default for Finisher {
    fn default() -> Self {
        Self::Device(Finishes::default())
    }
}

impl Finisher {
    /// What these offloads on send make of a port of this driver.
    pub(super) fn new(port: u16, driver: &str, tx_offloads: u64) -> Self {
        let checksums = tx_offloads & sys::ALKAID_TXO_L4_CKSUM != 0;
        if checksums && driver == OF_GUESTS {
            return Self::Guest(port);
        }
        let segments = tx_offloads & sys::ALKAID_TXO_TCP_TSO != 0;
        Self::Device(Finishes {
            checksums,
            segments_ipv4: segments,
            segments_ipv6: segments,
        })
    }

    /// Looks from now on at what guests say, who may be there already. Of a port that has just started.
    pub(super) fn watch(self) {
        if let Self::Guest(port) = self {
            // SAFETY: the port is ours and started; what is noted of it is a number.
            unsafe { sys::alkaid_guest_watch(port) };
        }
    }

    /// At this moment.
    pub(super) fn now(self) -> Finishes {
        match self {
            Self::Device(finishes) => finishes,
            Self::Guest(port) => {
                // SAFETY: reads a number of a port, of which there is one.
                let features = unsafe { sys::alkaid_guest_features(port) };
                let has = |feature: u64| features & feature != 0;
                let checksums = has(sys::ALKAID_GUEST_CSUM);
                Finishes {
                    checksums,
                    segments_ipv4: checksums && has(sys::ALKAID_GUEST_TSO4),
                    segments_ipv6: checksums && has(sys::ALKAID_GUEST_TSO6),
                }
            }
        }
    }
}
