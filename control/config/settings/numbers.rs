// SPDX-License-Identifier: MIT
//! Settings of a switch some of whose ports were detached.

use vswitch::stage::trunk::Subport;
use vswitch::tables::PortId;

use super::{PortSettings, Settings};

impl Settings {
    /// The same with these ports. They get the numbers that a switch gives them which starts with that: `port attach` takes the
    /// lowest that is free.
    #[must_use]
    pub(crate) fn with_ports(mut self, ports: Vec<(PortId, PortSettings)>) -> Self {
        let ports = parents_first(ports);
        let before: Vec<_> = ports.iter().map(|(port, _)| *port).collect();
        let now = |port: PortId| {
            let at = before.iter().position(|it| *it == port);
            at.and_then(|at| PortId::new(u16::try_from(at).ok()?))
        };
        self.ports = ports.into_iter().map(|(_, settings)| settings).collect();
        for settings in &mut self.ports {
            if let Some(Subport { parent, vlan }) = settings.subport()
                && let Some(parent) = now(parent)
            {
                settings.device = Subport { parent, vlan }.to_string();
            }
        }
        // These are never detached.
        for vtep in &mut self.vteps {
            vtep.port = now(vtep.port).unwrap_or(vtep.port);
        }
        for gateway in &mut self.underlay_gateways {
            gateway.port = gateway.port.map(|port| now(port).unwrap_or(port));
        }
        self.host_port = self.host_port.and_then(now);
        if let Some(list) = &mut self.portlist {
            *list = list.iter().filter_map(|port| now(*port)).collect();
        }
        self
    }
}

/// A subport may have a lower number than its parent, which was free when it was attached. None can be attached before its parent.
fn parents_first(ports: Vec<(PortId, PortSettings)>) -> Vec<(PortId, PortSettings)> {
    let (mut ordered, mut early) = (Vec::with_capacity(ports.len()), Vec::new());
    for (port, settings) in ports {
        let parent = settings.subport().map(|subport| subport.parent);
        match parent.is_none_or(|parent| parent.index() < port.index()) {
            true => ordered.push((port, settings)),
            false => early.push((port, settings)),
        }
    }
    ordered.extend(early);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_text;

    fn settings(text: &str) -> Settings {
        Settings::from_commands(&parse_text("f", text).unwrap()).unwrap()
    }

    #[test]
    fn without_detached_ports_a_switch_starts_with_all_others_as_they_were() {
        let rest =
            "set host port 4\nset portlist 0,1,2,3,4\nset underlay gateway 192.0.2.254 port 2\n";
        let of = |ports: &str, rest: &str| {
            settings(&format!("{ports}set vtep 192.0.2.1/24 port 2\n{rest}"))
        };
        let before = of(
            "port attach net_null0\nport attach net_null1\nport attach net_null2\nport attach net_null3 late\n\
             port attach net_null4\nport attach vlan7@3\nport bind 5 x\n",
            rest,
        );
        let numbered = (0..).filter_map(PortId::new).zip(before.ports.clone());
        let left = numbered.filter(|(port, _)| port.get() != 1).collect();
        let after = settings(
            "port attach net_null0\nport attach net_null2\nport attach net_null3 late\nport attach net_null4\n\
             port attach vlan7@2\nport bind 4 x\nset vtep 192.0.2.1/24 port 1\nset host port 3\nset portlist 0,1,2,3\n\
             set underlay gateway 192.0.2.254 port 1\n",
        );
        assert_eq!(before.with_ports(left), after);
    }

    #[test]
    fn a_subport_with_a_lower_number_than_its_parent_comes_last() {
        let of = |ports: &str| settings(&format!("{ports}set vtep 192.0.2.1/24 port 0\n"));
        let before = of(
            "port attach net_null0\nport attach net_null1\nport attach net_null2\nport attach vlan7@2\n",
        );
        let [uplink, _, parent, subport] = [0, 1, 2, 3].map(|n| before.ports[n].clone());
        let numbered = (0..).filter_map(PortId::new);
        let now = numbered.zip([uplink, subport, parent]).collect();
        let after = of("port attach net_null0\nport attach net_null2\nport attach vlan7@1\n");
        assert_eq!(before.with_ports(now), after);
    }
}
