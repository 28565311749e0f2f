// SPDX-License-Identifier: MIT
//! Headers as they are on the wire, one file each: views in place, no copies, sizes asserted at compile time.
//! Knows no table, port or stage.

pub mod addr;
pub mod arp;
pub mod dhcp;
pub mod dhcp6;
pub mod ethernet;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod nd;
pub mod tcp;
pub mod udp;
pub mod vxlan;

pub use addr::{Mac, Vni};
pub use arp::ArpHdr;
pub use dhcp::DhcpHdr;
pub use ethernet::EthernetHdr;
pub use icmp::IcmpHdr;
pub use icmpv6::Icmpv6Hdr;
pub use ipv4::Ipv4Hdr;
pub use ipv6::Ipv6Hdr;
pub use udp::UdpHdr;
pub use vxlan::VxlanHdr;
