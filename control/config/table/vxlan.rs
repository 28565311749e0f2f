// SPDX-License-Identifier: MIT
//! Rows for what outer headers have besides addresses.

use super::super::argument::{Kind, Value};
use super::super::command::{Command, Setting, VxlanSetting};
use super::Part::Is;
use super::{Spec, When, arg};

/// Six bits (RFC 2474).
const MAX_DSCP: u32 = 63;

/// 0 and 4095 name none (IEEE 802.1Q table 9-2).
const MAX_VLAN: u32 = 4094;

pub(super) const ROWS: &[Spec] = &[
    Spec {
        parts: &[
            Is("set"),
            Is("vxlan"),
            Is("port"),
            arg(
                "PORT",
                Kind::Number(1, u16::MAX as u32),
                "UDP destination port; default 4789, IANA's (RFC 7348)",
            ),
        ],
        when: When::Start,
        summary: "Sets the UDP port of VXLAN",
        details: "\
Of what is sent, and of what is taken from the underlay: all hosts must agree. VXLAN to another port is treated as what is \
not VXLAN. Linux without `dstport` has 8472.",
        build: make!([Value::Number(n)] => Command::Set(Setting::Vxlan(VxlanSetting::Port(u16::try_from(*n).ok()?)))),
    },
    Spec {
        parts: &[Is("set"), Is("vxlan"), Is("dscp"), Is("copy")],
        when: When::Start,
        summary: "Gives outer headers the DSCP of the packets inside (the default)",
        details: "\
The underlay then treats packets as guests ask (RFC 2983, uniform model). What is not IP has 0. On the way in the guest's own \
DSCP stays, whatever the underlay made of the outer one.",
        build: make!([] => Command::Set(Setting::Vxlan(VxlanSetting::Dscp(None)))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("vxlan"),
            Is("dscp"),
            arg(
                "DSCP",
                Kind::Number(0, MAX_DSCP),
                "DSCP of all outer headers, as in 46 for expedited forwarding; default: copy",
            ),
        ],
        when: When::Start,
        summary: "Gives outer headers this DSCP, whatever guests ask for",
        details: "\
The guests' own is carried inside and stays as it is (RFC 2983, pipe model). ECN is not part of it: the underlay's \
congestion is told to guests in any case (RFC 6040).",
        build: make!([Value::Number(n)] => Command::Set(Setting::Vxlan(VxlanSetting::Dscp(Some(u8::try_from(*n).ok()?))))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("vxlan"),
            Is("udp6-checksum"),
            arg("on|off", Kind::OnOff, "default: off"),
        ],
        when: When::Start,
        summary: "Gives outer headers of IPv6 a UDP checksum",
        details: "\
Of what is sent to hosts with an IPv6 VTEP. It takes time for each byte, and tunnels may do without (RFC 6935); Linux drops what \
has none unless its device has `udp6zerocsumrx`. Over IPv4 there never is one. What arrives may have one, which must then be \
right, or none.",
        build: make!([Value::OnOff(on)] => Command::Set(Setting::Vxlan(VxlanSetting::Udp6Checksum(*on)))),
    },
    Spec {
        parts: &[
            Is("set"),
            Is("vxlan"),
            Is("vlan"),
            arg(
                "VLAN",
                Kind::Number(1, MAX_VLAN),
                "the underlay's VLAN; default: none, frames have no tag",
            ),
        ],
        when: When::Start,
        summary: "Sends and takes frames on the uplink with the 802.1Q tag of this VLAN",
        details: "\
All of them: VXLAN, the switch's own ARP and neighbor discovery, and what the host sends by `set host port`, which gets and sends them without the \
tag. The host's frames of other VLANs have theirs in both directions. What arrives without a tag is dropped as `untagged`. An \
MTU does not count the tag. A NIC's virtual function may have to be allowed the VLAN.",
        build: make!([Value::Number(n)] => Command::Set(Setting::Vxlan(VxlanSetting::Vlan(u16::try_from(*n).ok()?)))),
    },
];
