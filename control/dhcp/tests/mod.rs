// SPDX-License-Identifier: MIT
//! Goal states in, leases out. What workers make of these, `tests/packet_path` knows.

mod hostile;
mod lease;
mod lease6;

use std::net::Ipv4Addr;

use vswitch::tables::{Lease, Lease6};
use vswitch::wire::Mac;

use super::offer::{NoLease, Offer};
use crate::proto::schema::subnet_configuration::{DnsEntry, ExtraDhcpOption, Gateway};
use crate::proto::schema::{
    DhcpConfiguration, PortConfiguration, SubnetConfiguration, port_configuration::FixedIp,
};
use crate::southbound::decode::Wish;
use crate::southbound::field::{Field, FieldError};
use crate::southbound::{dhcp, port, subnet};
use crate::state::port::PortIx;
use crate::state::resource::Change;
use crate::state::{Subject, Wanted};

const GUEST: Mac = Mac::new([2, 0, 0, 0, 0, 10]);
const GATEWAY: Mac = Mac::new([0, 0, 0x5e, 0, 1, 1]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 7, 1, 10);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 7, 1, 1);
const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const MTU: u16 = 1450;

/// What the controller says: of the subnet "blue" with its gateway 10.7.1.1, and of one guest in it.
struct Said {
    subnet: SubnetConfiguration,
    port: PortConfiguration,
    dhcp: Option<DhcpConfiguration>,
    mtu: u16,
}

impl Said {
    /// `dhcp_enable` is on, no DHCP state.
    fn new() -> Self {
        Self {
            subnet: SubnetConfiguration {
                vpc_id: "vpc".into(),
                cidr: "10.7.1.0/24".into(),
                gateway: Some(Gateway {
                    ip_address: SERVER.to_string(),
                    mac_address: GATEWAY.to_string(),
                }),
                dhcp_enable: true,
                ..Default::default()
            },
            port: PortConfiguration {
                mac_address: GUEST.to_string(),
                admin_state_up: true,
                fixed_ips: vec![fixed_ip("blue", "10.7.1.10")],
                ..Default::default()
            },
            dhcp: None,
            mtu: MTU,
        }
    }

    /// With these extra options.
    fn extra(mut self, options: &[(&str, &str)]) -> Self {
        let options = options.iter().map(|(name, value)| ExtraDhcpOption {
            name: name.to_string(),
            value: value.to_string(),
        });
        self.subnet.extra_dhcp_options.extend(options);
        self
    }

    /// With these DNS servers.
    fn dns(mut self, entries: &[&str]) -> Self {
        let entries = entries.iter().map(|entry| DnsEntry {
            entry: entry.to_string(),
        });
        self.subnet.dns_entry_list.extend(entries);
        self
    }

    /// With a DHCP state.
    fn state(mut self, address: &str, host_name: &str) -> Self {
        self.dhcp = Some(DhcpConfiguration {
            subnet_id: "blue".into(),
            mac_address: GUEST.to_string(),
            ipv4_address: address.into(),
            port_host_name: host_name.into(),
            ..Default::default()
        });
        self
    }

    /// What the guest is told, and what is wrong.
    fn read(self) -> Result<(Lease, Vec<String>), NoLease> {
        let mtu = self.mtu;
        let (wanted, port) = self.wanted();
        let offer = Offer::<Lease>::of_port(&wanted, port, mtu)?;
        let problems = offer.problems.iter().map(ToString::to_string).collect();
        Ok((offer.lease.as_ref().clone(), problems))
    }

    /// The same by DHCPv6.
    fn read6(self) -> Result<(Lease6, Vec<String>), NoLease> {
        let (wanted, port) = self.wanted();
        let offer = Offer::<Lease6>::of_port(&wanted, port)?;
        let problems = offer.problems.iter().map(ToString::to_string).collect();
        Ok((offer.lease.as_ref().clone(), problems))
    }

    fn wanted(self) -> (Wanted, PortIx) {
        let mut wanted = Wanted::default();
        let at = Field::element("states", 0);
        let mut put =
            |id, change: Result<Change, FieldError>| wanted.apply(id, 1, change.unwrap()).0;
        put("blue", subnet::read(&at, Wish::Present, self.subnet));
        if let Some(state) = self.dhcp {
            put("uuid", dhcp::read(&at, Wish::Present, state));
        }
        let port = put("port", port::read(&at, Wish::Present, self.port));
        let Subject::Port(port) = port else {
            unreachable!()
        };
        (wanted, port)
    }

    /// What the guest is told if nothing is wrong.
    #[track_caller]
    fn lease(self) -> Lease {
        let (lease, problems) = self.read().unwrap();
        assert_eq!(problems, [""; 0]);
        lease
    }
}

fn fixed_ip(subnet: &str, address: &str) -> FixedIp {
    FixedIp {
        subnet_id: subnet.into(),
        ip_address: address.into(),
    }
}

/// The value of an option, its parts put together.
fn value_of(lease: &Lease, code: u8) -> Option<Vec<u8>> {
    let (mut rest, mut value) = (lease.options.get(code)?, Vec::new());
    while let [part, len, more @ ..] = rest {
        assert_eq!(*part, code);
        let (part, more) = more.split_at(usize::from(*len));
        value.extend(part);
        rest = more;
    }
    Some(value)
}
