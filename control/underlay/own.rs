// SPDX-License-Identifier: MIT
//! What this host says of itself on a link by ARP and neighbor discovery: frames, byte by byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vswitch::stage::link::Heard;
use vswitch::wire::{ArpHdr, EthernetHdr, Icmpv6Hdr, Ipv6Hdr, Mac, ethernet, ipv6, nd};
use zerocopy::{FromBytes, IntoBytes};

use super::resolver::Ask;
use crate::core::Uplink;

/// Least bytes of a frame, without its checksum (IEEE 802.3 clause 3.2.8): not every device fills shorter ones up.
const LEAST: usize = 60;

/// This host on one link.
#[derive(Clone, Copy, Default)]
pub(super) struct Own {
    pub(super) mac: Mac,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Own {
    pub(super) fn of(uplink: &Uplink) -> Self {
        let mut own = Self {
            mac: uplink.mac,
            ..Self::default()
        };
        for vtep in uplink.vteps() {
            match vtep {
                IpAddr::V4(ip) => own.v4 = Some(ip),
                IpAddr::V6(ip) => own.v6 = Some(ip),
            }
        }
        own
    }

    pub(super) fn has(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.v4 == Some(ip),
            IpAddr::V6(ip) => self.v6 == Some(ip),
        }
    }

    /// The frame that asks; `None`: this host is not on the link in that version of IP.
    pub(super) fn question(&self, Ask { ip, at }: Ask) -> Option<Vec<u8>> {
        Some(match ip {
            IpAddr::V4(ip) => {
                let request = ArpHdr::request((self.mac, self.v4?), ip);
                self.arp(at.unwrap_or(Mac::BROADCAST), &request)
            }
            IpAddr::V6(ip) => {
                // Who is known is asked alone, everybody in the group (RFC 4861 section 7.2.2).
                let group = nd::solicited_node(ip);
                let (mac, to) = at.map_or((nd::group_mac(group), group), |mac| (mac, ip));
                let message = nd::Solicitation::new(ip, self.mac);
                self.discovery((mac, to), self.v6?, message.as_bytes())?
            }
        })
    }

    /// The frame that answers who asks for this VTEP. Who has no address yet is told with all others (RFC 4861 section 7.2.4).
    pub(super) fn answer(&self, Heard { mac, ip, .. }: Heard, vtep: IpAddr) -> Option<Vec<u8>> {
        Some(match (ip, vtep) {
            (IpAddr::V4(ip), IpAddr::V4(own)) => {
                self.arp(mac, &ArpHdr::reply((self.mac, own), (mac, ip)))
            }
            (IpAddr::V6(ip), IpAddr::V6(own)) => {
                let (all, probe) = (nd::ALL_NODES, ip.is_unspecified());
                let to = if probe {
                    (nd::group_mac(all), all)
                } else {
                    (mac, ip)
                };
                let message = nd::Advertisement::new(own, self.mac, false, !probe);
                self.discovery(to, own, message.as_bytes())?
            }
            _ => return None,
        })
    }

    /// The frame that says to all that this VTEP is here (RFC 5227 section 3, RFC 4861 section 7.2.6).
    pub(super) fn announcement(&self, vtep: IpAddr) -> Option<Vec<u8>> {
        Some(match vtep {
            IpAddr::V4(ip) => self.arp(Mac::BROADCAST, &ArpHdr::request((self.mac, ip), ip)),
            IpAddr::V6(ip) => {
                let (all, message) = (
                    nd::ALL_NODES,
                    nd::Advertisement::new(ip, self.mac, false, false),
                );
                self.discovery((nd::group_mac(all), all), ip, message.as_bytes())?
            }
        })
    }

    fn arp(&self, to: Mac, arp: &ArpHdr) -> Vec<u8> {
        let ethernet = EthernetHdr::new(to, self.mac, ethernet::ARP);
        let mut frame = [ethernet.as_bytes(), arp.as_bytes()].concat();
        frame.resize(LEAST, 0);
        frame
    }

    /// `message` lacks its checksum.
    fn discovery(
        &self,
        (mac, to): (Mac, Ipv6Addr),
        from: Ipv6Addr,
        message: &[u8],
    ) -> Option<Vec<u8>> {
        let (icmp, body) = Icmpv6Hdr::read_from_prefix(message).ok()?;
        let icmp = icmp.sealed((from, to), body);
        let len = u16::try_from(message.len()).ok()?;
        let ip = Ipv6Hdr::own(from, to, ipv6::ICMP, len, nd::HOP_LIMIT);
        let ethernet = EthernetHdr::new(mac, self.mac, ethernet::IPV6);
        Some([ethernet.as_bytes(), ip.as_bytes(), icmp.as_bytes(), body].concat())
    }
}

#[cfg(test)]
mod tests {
    use vswitch::stage::link::Weight;
    use vswitch::tables::PortId;

    use super::*;

    const MAC: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
    const PEER: Mac = Mac::new([2, 0, 0, 0, 0, 2]);

    fn own() -> Own {
        Own {
            mac: MAC,
            v4: Some([192, 0, 2, 1].into()),
            v6: "2001:db8::1".parse().ok(),
        }
    }

    /// MACs, addresses and message of a frame of neighbor discovery, which is sound.
    fn read(frame: &[u8]) -> (Mac, Mac, [String; 2], Vec<u8>) {
        let (ethernet, ip, message) = nd::sound(frame, 24).unwrap();
        let ips = [ip.src(), ip.dst()].map(|ip| ip.to_string());
        assert_eq!(frame.len(), 14 + 40 + message.len());
        let dst = Mac::new(*frame.first_chunk().unwrap());
        (ethernet.src(), dst, ips, message.to_vec())
    }

    #[test]
    fn who_is_not_known_is_asked_in_its_group_and_who_is_alone() {
        let ip = "2001:db8::ab:cdef".parse().unwrap();
        let frame = own().question(Ask { ip, at: None }).unwrap();
        let (src, dst, ips, message) = read(&frame);
        assert_eq!(
            (src, dst.bytes()),
            (MAC, [0x33, 0x33, 0xff, 0xab, 0xcd, 0xef])
        );
        assert_eq!(ips, ["2001:db8::1", "ff02::1:ffab:cdef"]);
        let IpAddr::V6(target) = ip else {
            unreachable!()
        };
        assert_eq!((message[0], &message[8..24]), (135, &target.octets()[..]));
        assert_eq!(message[24..], [1, 1, 2, 0, 0, 0, 0, 1]);
        let at = Some(PEER);
        let (_, dst, ips, _) = read(&own().question(Ask { ip, at }).unwrap());
        assert_eq!((dst, ips[1].as_str()), (PEER, "2001:db8::ab:cdef"));
        let four = Own { v6: None, ..own() };
        assert_eq!(four.question(Ask { ip, at }), None);
        let ip = [192, 0, 2, 9].into();
        assert_eq!(
            own().question(Ask { ip, at }).map(|frame| frame.len()),
            Some(LEAST)
        );
    }

    #[test]
    fn who_asks_is_answered_and_who_has_no_address_yet_with_all_others() {
        let vtep = "2001:db8::1".parse().unwrap();
        let asks = |ip: &str| Heard {
            uplink: PortId::new(0).unwrap(),
            ip: ip.parse().unwrap(),
            mac: PEER,
            asks: Some(vtep),
            weight: Weight::Overrides,
        };
        let (src, dst, ips, message) = read(&own().answer(asks("2001:db8::2"), vtep).unwrap());
        assert_eq!((src, dst), (MAC, PEER));
        assert_eq!(ips, ["2001:db8::1", "2001:db8::2"]);
        assert_eq!(message[..2], [136, 0]);
        assert_eq!(message[4], 0x60, "solicited, and overrides");
        assert_eq!(message[24..], [2, 1, 2, 0, 0, 0, 0, 1]);
        let (_, dst, ips, message) = read(&own().answer(asks("::"), vtep).unwrap());
        assert_eq!(
            (dst.bytes(), ips[1].as_str()),
            ([0x33, 0x33, 0, 0, 0, 1], "ff02::1")
        );
        assert_eq!(message[4], 0x20);
        assert!(own().has(asks("2001:db8::1").ip) && !own().has(asks("2001:db8::2").ip));
    }

    #[test]
    fn all_are_told_where_a_vtep_is() {
        let frame = own().announcement([192, 0, 2, 7].into()).unwrap();
        assert_eq!(frame[..12], [&[0xff; 6][..], &MAC.bytes()].concat());
        assert_eq!(frame[20..22], [0, 1]);
        assert_eq!(frame[22..32], [&MAC.bytes()[..], &[192, 0, 2, 7]].concat());
        assert_eq!(frame[38..42], [192, 0, 2, 7]);
        let ip = "2001:db8::7";
        let frame = own().announcement(ip.parse().unwrap()).unwrap();
        let (src, dst, ips, message) = read(&frame);
        assert_eq!((src, dst.bytes()), (MAC, [0x33, 0x33, 0, 0, 0, 1]));
        assert_eq!(ips, [ip, "ff02::1"]);
        assert_eq!((message[0], message[4]), (136, 0x20), "overrides");
    }
}
