// SPDX-License-Identifier: MIT
//! What the switch starts with as to the outer header.

use vswitch::tables::Tunnel;

use super::super::command::{Setting, VxlanSetting};

/// Changes one thing of it.
pub(super) fn set(tunnel: &mut Tunnel, setting: VxlanSetting) {
    match setting {
        VxlanSetting::Port(port) => tunnel.udp_port = port,
    }
}

/// What makes it, defaults left out.
pub(super) fn settings(tunnel: &Tunnel) -> Option<Setting> {
    let default = Tunnel::default();
    (tunnel.udp_port != default.udp_port)
        .then_some(Setting::Vxlan(VxlanSetting::Port(tunnel.udp_port)))
}
