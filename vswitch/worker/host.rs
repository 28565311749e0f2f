// SPDX-License-Identifier: MIT
//! What is the host's own: from the underlay to the host port, and from there to the underlay.

use std::time::Instant;

use super::Lane;
use crate::counters::DropReason;
use crate::io::{Frame, TxQueue};
use crate::stage::link::Heard;
use crate::stage::observe::Observer;
use crate::tables::{PortId, Tables};

impl<T: TxQueue, O: Observer<T::Frame>> Lane<T, O> {
    /// What came from the underlay and is not VXLAN for this VTEP is the host's. Without a host port, the control side
    /// stands in for it as far as ARP and neighbor discovery go.
    #[cold]
    pub(super) fn attend_to_strangers(&mut self, from: PortId, tables: &Tables) {
        let Some(underlay) = &tables.underlay else {
            return;
        };
        let tell = |frame: &T::Frame| {
            let heard = Heard::of(frame.head(), from, underlay)?;
            self.hearing.as_ref()?.push(heard).ok()
        };
        let told = self.strangers.iter().filter_map(tell).count();
        let (strangers, counters) = (&mut self.strangers, &self.counters);
        if let Some(host_port) = underlay.host_port {
            let longer = self.limits.drop_longer(strangers, host_port);
            counters.port(from).add_drops(DropReason::TooBig, longer);
            let excess = self.host_gate.drop_excess(strangers, Instant::now());
            let counted = counters.port(from);
            counted.add_drops(DropReason::HostLimited, excess);
            self.egress.send_all(strangers, host_port, from, counters);
            return;
        }
        let counters = counters.port(from);
        counters.add_answered(told);
        counters.add_drops(DropReason::NotForUs, strangers.len() - told);
        T::Frame::free_all(strangers);
    }

    /// What the host itself sends goes out on the uplink as it is.
    pub(super) fn forward_from_host(&mut self, from: PortId, tables: &Tables) {
        match &tables.underlay {
            Some(underlay) => {
                let (frames, uplink) = (self.burst.frames_mut(), underlay.uplink);
                let longer = self.limits.drop_longer(frames, uplink);
                let counters = self.counters.port(from);
                counters.add_drops(DropReason::TooBig, longer);
                self.egress.send_all(frames, uplink, from, &self.counters);
            }
            None => self.burst.drop_all(DropReason::NotForUs),
        }
    }
}
