// SPDX-License-Identifier: MIT
//! How much of what arrives on the uplink goes to the host port. A frame to the host costs a system call with most devices, and who
//! sends many takes the worker's time from the guests.
//!
//! Reads the frames' heads.
//! Drops `HostLimited`.
//!
//! What the host cannot do without is not held up by the rest: of the tokens that there may be at once, a quarter is for ARP and
//! neighbor discovery alone, and another for these and TCP, by which controllers and routing daemons speak. So whatever floods the
//! host leaves these as much of the rate as they need, and all together do not exceed it.

use std::time::{Duration, Instant};

use zerocopy::FromBytes;

use crate::io::{Frame, Frames};
use crate::stage::edge::Bucket;
use crate::wire::{Icmpv6Hdr, Ipv4Hdr, Ipv6Hdr, ethernet, ipv4, ipv6, nd};

/// Tokens at once are those of a hundredth of a second, and so many at least.
const LEAST_AT_ONCE: u32 = 16;

/// Hop limit of neighbor discovery, which no router has passed on (RFC 4861 section 6.1).
const ON_LINK: u8 = 255;

/// What a frame is to the host, and which quarter of the tokens is the last that it may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// ARP, or neighbor discovery from the link itself: without, nothing arrives any more.
    Neighbors = 4,
    /// TCP: it gives way by itself.
    Connections = 3,
    /// Anything else.
    Rest = 2,
}

/// One worker's limit. Without one, all passes.
#[derive(Default)]
pub struct HostGate {
    /// Frames per second; 0: any number.
    rate: u32,
    bucket: Bucket,
}

impl HostGate {
    /// Lets so many frames per second pass; 0: any number.
    pub fn set_rate(&mut self, rate: u32) {
        self.rate = rate;
        self.bucket = Bucket::default();
    }

    /// Drops the frames that are too many, and tells `dropped` of each. Never blocks, allocates or logs.
    pub fn drop_excess<F: Frame>(
        &mut self,
        frames: &mut Frames<F>,
        now: Instant,
        mut dropped: impl FnMut(&F),
    ) {
        if self.rate == 0 {
            return;
        }
        let interval = Duration::from_secs(1) / self.rate;
        let quarter = (self.rate / 100).max(LEAST_AT_ONCE) / 4;
        frames.retain(|frame| {
            let most = quarter * need(frame.head()) as u32;
            let passes = self.bucket.take(now, interval, most);
            if !passes {
                dropped(frame);
            }
            passes
        });
    }
}

/// What a frame is, by its headers in the first buffer. What cannot be told is the rest.
fn need(head: &[u8]) -> Need {
    let Some((at, ethertype)) = ethernet::payload(head) else {
        return Need::Rest;
    };
    let packet = &head[at..];
    match ethertype {
        ethernet::ARP => Need::Neighbors,
        ethernet::IPV4 => match Ipv4Hdr::ref_from_prefix(packet) {
            Ok((ip, _)) if ip.protocol() == ipv4::TCP => Need::Connections,
            _ => Need::Rest,
        },
        ethernet::IPV6 => match Ipv6Hdr::ref_from_prefix(packet) {
            Ok((ip, _)) if ip.next_header() == ipv4::TCP => Need::Connections,
            Ok((ip, message)) if is_discovery(ip, message) => Need::Neighbors,
            _ => Need::Rest,
        },
        _ => Need::Rest,
    }
}

fn is_discovery(ip: &Ipv6Hdr, message: &[u8]) -> bool {
    let kind = Icmpv6Hdr::ref_from_prefix(message).map(|(icmp, _)| icmp.kind());
    ip.next_header() == ipv6::ICMP
        && ip.hop_limit() == ON_LINK
        && kind.is_ok_and(|kind| (nd::ROUTER_SOLICITATION..=nd::REDIRECT).contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::memory::MemoryFrame;
    use etherparse::PacketBuilder;

    const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

    fn built(step: etherparse::PacketBuilderStep<etherparse::UdpHeader>) -> Vec<u8> {
        let mut frame = Vec::new();
        step.write(&mut frame, &[0; 8]).unwrap();
        frame
    }

    fn udp() -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(MACS[0], MACS[1]);
        built(ethernet.ipv4([192, 0, 2, 2], [192, 0, 2, 1], 64).udp(1, 53))
    }

    fn arp() -> Vec<u8> {
        [&MACS.concat()[..], &[8, 6], &[0; 46]].concat()
    }

    fn tcp(over_ipv6: bool) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(MACS[0], MACS[1]);
        let tcp = match over_ipv6 {
            false => ethernet.ipv4([192, 0, 2, 2], [192, 0, 2, 1], 64),
            true => ethernet.ipv6([0xfd; 16], [0xfc; 16], 64),
        };
        let mut frame = Vec::new();
        tcp.tcp(1, 179, 0, 100).write(&mut frame, &[]).unwrap();
        frame
    }

    fn icmpv6(hop_limit: u8, kind: u8) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(MACS[0], MACS[1]);
        let icmp = ethernet.ipv6([0xfd; 16], [0xfc; 16], hop_limit);
        let mut frame = Vec::new();
        icmp.icmpv6_raw(kind, 0, [0; 4])
            .write(&mut frame, &[0; 16])
            .unwrap();
        frame
    }

    #[test]
    fn arp_discovery_and_tcp_are_told_from_the_rest_behind_tags_too() {
        let mut cases = vec![
            (arp(), Need::Neighbors),
            (tcp(false), Need::Connections),
            (tcp(true), Need::Connections),
            (icmpv6(ON_LINK, nd::NEIGHBOR_SOLICITATION), Need::Neighbors),
            (icmpv6(ON_LINK, nd::REDIRECT), Need::Neighbors),
            (icmpv6(254, nd::NEIGHBOR_SOLICITATION), Need::Rest),
            (icmpv6(ON_LINK, 128), Need::Rest),
            (udp(), Need::Rest),
            (vec![0; 11], Need::Rest),
        ];
        cases.push((arp()[..13].to_vec(), Need::Rest));
        for (frame, expected) in cases {
            assert_eq!(need(&frame), expected, "{frame:x?}");
            if frame.len() < 14 {
                continue;
            }
            let mut tagged = frame.clone();
            tagged.splice(12..12, [0x81, 0, 0, 7]);
            assert_eq!(need(&tagged), expected, "tagged {frame:x?}");
            tagged.splice(12..12, [0x88, 0xa8, 0, 8]);
            assert_eq!(need(&tagged), expected, "twice tagged {frame:x?}");
            tagged.splice(12..12, [0x81, 0, 0, 9]);
            assert_eq!(need(&tagged), Need::Rest, "three tags {frame:x?}");
        }
    }

    /// How many of `count` frames pass at a time in milliseconds.
    fn passing(gate: &mut HostGate, at: Instant, frame: &[u8], count: usize) -> usize {
        let mut passed = 0;
        for _ in 0..count {
            let mut burst = Frames::new();
            burst.push(MemoryFrame::new(frame));
            let mut dropped = 0;
            gate.drop_excess(&mut burst, at, |_| dropped += 1);
            assert_eq!(dropped, 1 - burst.len());
            passed += burst.len();
        }
        passed
    }

    #[test]
    fn a_flood_leaves_the_rate_to_what_the_host_needs_and_is_held_to_it_else() {
        let mut gate = HostGate::default();
        let begun = Instant::now();
        assert_eq!(passing(&mut gate, begun, &udp(), 5000), 5000, "no limit");
        gate.set_rate(1000);
        // 16 at once: half of them for all, the others as they are needed.
        assert_eq!(passing(&mut gate, begun, &udp(), 100), 8);
        assert_eq!(passing(&mut gate, begun, &tcp(false), 100), 4);
        assert_eq!(passing(&mut gate, begun, &arp(), 100), 4);
        let (mut rest, mut needed) = (0, 0);
        for ms in 100..1100 {
            let now = begun + Duration::from_millis(ms);
            rest += passing(&mut gate, now, &udp(), 50);
            needed += match ms % 2 {
                0 => passing(&mut gate, now, &arp(), 1),
                _ => 0,
            };
        }
        assert_eq!(needed, 500, "not one was dropped");
        assert!((490..=520).contains(&rest), "{rest}");
    }

    #[test]
    fn of_a_burst_those_in_excess_are_dropped_and_the_others_keep_their_order() {
        let mut gate = HostGate::default();
        gate.set_rate(1);
        let mut frames: Frames<_> = (0..20u8)
            .map(|n| MemoryFrame::new(&[&udp()[..], &[n]].concat()))
            .collect();
        gate.drop_excess(&mut frames, Instant::now(), |_| {});
        let last = |frame: &MemoryFrame| *frame.head().last().unwrap();
        assert!(frames.iter().map(last).eq(0..8));
    }
}
