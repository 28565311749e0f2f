// SPDX-License-Identifier: MIT
//! What the switch starts with as to the outer header.

use vswitch::tables::Tunnel;

use super::super::command::{Setting, VxlanSetting};

/// Changes one thing of it.
pub(super) fn set(tunnel: &mut Tunnel, setting: VxlanSetting) {
    match setting {
        VxlanSetting::Port(port) => tunnel.udp_port = port,
        VxlanSetting::Dscp(dscp) => tunnel.dscp = dscp,
        VxlanSetting::Vlan(vlan) => tunnel.vlan = Some(vlan),
        VxlanSetting::Udp6Checksum(on) => tunnel.udp6_checksum = on,
    }
}

/// What makes it, defaults left out.
pub(super) fn settings(tunnel: &Tunnel) -> impl Iterator<Item = Setting> {
    let default = Tunnel::default();
    let all = [
        (tunnel.udp_port != default.udp_port).then_some(VxlanSetting::Port(tunnel.udp_port)),
        (tunnel.dscp != default.dscp).then_some(VxlanSetting::Dscp(tunnel.dscp)),
        tunnel.vlan.map(VxlanSetting::Vlan),
        (tunnel.udp6_checksum != default.udp6_checksum)
            .then_some(VxlanSetting::Udp6Checksum(tunnel.udp6_checksum)),
    ];
    all.into_iter().flatten().map(Setting::Vxlan)
}
