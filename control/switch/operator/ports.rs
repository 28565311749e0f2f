// SPDX-License-Identifier: MIT
//! What operators see of ports, and how they attach and detach them.

use serde_json::{Value, json};
use tokio::task::block_in_place;
use vswitch::tables::PortId;

use super::{Operator, done, holds};
use crate::config::{PortSettings, Ports};
use crate::core::{self, Gone, NotDone, PortRules};
use crate::northbound::{ExecError, Output};
use crate::switch::{DeviceError, report};

impl Operator {
    pub(super) async fn attach(&self, device: String, late: bool) -> Result<Output, ExecError> {
        let settings = PortSettings {
            device,
            late,
            ..PortSettings::default()
        };
        let port = block_in_place(|| self.devices.attach(settings))?;
        // Before anything is bound to it.
        let told = self.devices.tell_absent(&self.core).await;
        told.map_err(|Gone| ExecError::ShuttingDown)?;
        let waits = match block_in_place(|| self.devices.absent()).get(&port) {
            Some(why) => format!("; its device is not there: {why}"),
            None => String::new(),
        };
        let port = port.get();
        Ok(Output::Text(format!("port {port}, stopped{waits}\n")))
    }

    /// Unbinds a port, and forgets what holds for its guest, before its device goes.
    pub(super) async fn detach(&self, port: PortId) -> Result<Output, ExecError> {
        block_in_place(|| self.devices.check_detachable(port))?;
        let settings = block_in_place(|| self.devices.port_settings(port))?;
        if settings.id.is_some() {
            let unbound = self.core.unbind(port).await;
            self.note_binding(port, None, unbound)?;
        }
        if settings.rules != PortRules::default() {
            let ruled = self.core.set_rules(port, PortRules::default()).await;
            if holds(&ruled) {
                block_in_place(|| self.devices.note_rules(port, PortRules::default()))?;
            }
            done(ruled)?;
        }
        block_in_place(|| self.devices.detach(port))?;
        Ok(Output::Done)
    }

    /// Notes what the control thread was told a port is bound to, if that holds.
    pub(super) fn note_binding(
        &self,
        port: PortId,
        id: Option<String>,
        said: Result<Result<(), NotDone>, Gone>,
    ) -> Result<(), ExecError> {
        if holds(&said) {
            block_in_place(|| self.devices.note_binding(port, id))?;
        }
        done(said)
    }

    /// A port's device, with the MTU that counts.
    pub(super) fn info(&self, port: PortId) -> Result<Value, DeviceError> {
        let mtu = self.devices.mtu(port)?;
        let subport = self.devices.subport(port)?;
        let read = (self.devices).read(port, |device| report::info(port, device, mtu));
        let mut row = match read {
            Err(DeviceError::Absent { .. }) => {
                let device = self.devices.port_settings(port)?.device;
                report::absent(port, &device, mtu)
            }
            read => read?,
        };
        if let Some(subport) = subport {
            report::make_subport(&mut row, subport, self.devices.is_started(port)?);
        }
        Ok(row)
    }

    pub(super) async fn show_ports(&self) -> Result<Value, ExecError> {
        let goal_state = self.goal_state(core::Show::Ports).await?;
        let described = |key: &Value| {
            goal_state
                .as_array()
                .into_iter()
                .flatten()
                .find(|row| row["port"] == *key)
        };
        let absent = block_in_place(|| self.devices.absent());
        let rows = self.each(Ports::All, |port| {
            let info = self.info(port)?;
            let row = described(&info["port"]).unwrap_or(&Value::Null);
            let role = self.settings.role(port);
            let guest = role == "tenant";
            let out = self.underlay.as_ref().is_some_and(|it| it.is_out(port));
            let other = if out { "not used: no link" } else { "ready" };
            let rules = self.devices.rules(port)?;
            let guarded = rules.anti_spoofing.unwrap_or(self.settings.anti_spoofing);
            let state = match (absent.get(&port), row.get("state")) {
                (Some(why), _) => format!("waits for its device: {why}").into(),
                (None, Some(state)) if guest => state.clone(),
                (None, _) if guest => "unbound".into(),
                (None, _) => other.into(),
            };
            Ok(json!({
                "port": info["port"],
                "device": info["device"],
                "link": info["link"],
                "lost": self.devices.lost(port)?,
                "role": role,
                "mac": if guest { &row["mac"] } else { &info["mac"] },
                "mtu": if guest { report::least(&row["mtu"], &info["mtu"]) } else { &info["mtu"] },
                "addresses": row["addresses"],
                "id": row["id"],
                "vlan": guest.then_some(if rules.takes_tags { "pass" } else { "drop" }),
                "anti_spoofing": guest.then_some(if guarded { "on" } else { "off" }),
                "state": state,
                "dhcp": row["dhcp"],
                "dhcpv6": row["dhcpv6"],
            }))
        });
        Ok(rows?)
    }
}
