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
        let (strangers, counters) = (&mut self.strangers, &self.counters);
        if let Some(host_port) = underlay.host_port {
            for frame in strangers.iter() {
                let _ = tell(frame); // the host gets it too
            }
            self.limits
                .drop_longer(strangers, host_port, from, counters);
            self.host_gate
                .drop_excess(strangers, Instant::now(), |frame| {
                    counters.count_drop(from, DropReason::HostLimited, frame);
                });
            self.egress.send_all(strangers, host_port, from, counters);
            return;
        }
        let arrived = strangers.len();
        strangers.retain(|frame| tell(frame).is_none());
        let told = arrived - strangers.len();
        counters.port(from).add_answered(told);
        for frame in strangers.iter() {
            counters.count_drop(from, DropReason::NotForUs, frame);
        }
        T::Frame::free_all(strangers);
    }

    /// What the host itself sends goes out on the uplink as it is.
    pub(super) fn forward_from_host(&mut self, from: PortId, tables: &Tables) {
        match &tables.underlay {
            Some(underlay) => {
                let (frames, uplink) = (self.burst.frames_mut(), underlay.uplink);
                self.limits
                    .drop_longer(frames, uplink, from, &self.counters);
                self.egress.send_all(frames, uplink, from, &self.counters);
            }
            None => self.burst.drop_all(DropReason::NotForUs),
        }
    }
}
