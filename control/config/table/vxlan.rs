// SPDX-License-Identifier: MIT
//! Rows for what outer headers have besides addresses.

use super::super::argument::{Kind, Value};
use super::super::command::{Command, Setting, VxlanSetting};
use super::Part::Is;
use super::{Spec, When, arg};

pub(super) const ROWS: &[Spec] = &[Spec {
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
}];
