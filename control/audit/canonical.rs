// SPDX-License-Identifier: MIT
//! Resources in canonical form: the same bytes for the same wish, whatever the order, split or revision it came in.
//!
//! That is protobuf's binary form of the configuration as the wanted state exports it, fields by number and defaults left
//! out, without what says nothing of what is wanted. [`crate::state::export`] has merged updates and put lists that have no
//! order of their own into one.

use prost::Message;
use sha2::{Digest, Sha256};
use vswitch::wire::Mac;

use crate::proto::schema::{
    DhcpConfiguration, GatewayConfiguration, GoalStateV2, NeighborConfiguration, NeighborType,
    PortConfiguration, ResourceType, RouterConfiguration, SecurityGroupConfiguration,
    SubnetConfiguration, VpcConfiguration,
};

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// A resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Which kind.
    pub(crate) kind: ResourceType,
    /// What tells it from others of its kind.
    pub(crate) key: String,
    /// The controller's id of it.
    pub(crate) id: String,
    /// The controller's revision of it.
    pub(crate) revision: u32,
    /// Its configuration in canonical form.
    pub(crate) bytes: Vec<u8>,
}

impl Entry {
    /// Of its kind's name, a zero byte and the configuration.
    pub(crate) fn hash(&self) -> Hash {
        let hash = Sha256::new().chain_update(self.kind.as_str_name());
        hash.chain_update([0])
            .chain_update(&self.bytes)
            .finalize()
            .into()
    }
}

/// The hash over all resources that have these: of the hashes one after the other, in ascending order.
pub(crate) fn hash_of_all(mut hashes: Vec<Hash>) -> Hash {
    hashes.sort_unstable();
    Sha256::digest(hashes.as_flattened()).into()
}

/// A configuration that has a canonical form.
trait Canonical {
    /// What tells it from others of its kind.
    fn key(&self) -> String;
    fn entry(self) -> Entry;
}

/// `$key` is its key; `$field`s say nothing of what is wanted, besides revision and request.
macro_rules! canonical {
    ($configuration:ident $kind:ident $key:expr, $($field:ident)*) => {
        impl Canonical for $configuration {
            fn key(&self) -> String {
                $key(self)
            }

            fn entry(mut self) -> Entry {
                let (key, id, revision) = (self.key(), self.id.clone(), self.revision_number);
                self.revision_number = 0;
                self.request_id.clear();
                $(self.$field = Default::default();)*
                let (kind, bytes) = (ResourceType::$kind, self.encode_to_vec());
                Entry {
                    kind,
                    key,
                    id,
                    revision,
                    bytes,
                }
            }
        }
    };
}

canonical!(VpcConfiguration Vpc |it: &Self| it.id.clone(), update_type);
canonical!(SubnetConfiguration Subnet |it: &Self| it.id.clone(), update_type);
canonical!(RouterConfiguration Router |it: &Self| it.id.clone(), update_type);
canonical!(PortConfiguration Port |it: &Self| it.id.clone(), update_type);
// A neighbor's VPC is that of its subnet, which may be told later.
canonical!(NeighborConfiguration Neighbor neighbor_key, update_type vpc_id);
canonical!(SecurityGroupConfiguration Securitygroup |it: &Self| it.id.clone(), update_type);
// Alcor makes up an id of DHCP for each push.
canonical!(DhcpConfiguration Dhcp dhcp_key, update_type id);
canonical!(GatewayConfiguration Gateway |it: &Self| it.id.clone(),);

/// Each address is a resource of its own.
fn neighbor_key(neighbor: &NeighborConfiguration) -> String {
    let address = neighbor.fixed_ips.first().cloned().unwrap_or_default();
    let kind = match address.neighbor_type() {
        NeighborType::L2 => "L2",
        NeighborType::L3 => "L3",
    };
    let (ip, subnet) = (address.ip_address, address.subnet_id);
    format!("{kind}/{ip}/{subnet}/{}", neighbor.id)
}

/// Whom it is for.
fn dhcp_key(dhcp: &DhcpConfiguration) -> String {
    let mac = dhcp.mac_address.parse::<Mac>();
    let mac = mac.map_or_else(|_| dhcp.mac_address.clone(), |mac| mac.to_string());
    format!("{}/{mac}", dhcp.subnet_id)
}

/// The resources of a goal state that the wanted state exported, in its order: by kind, each as listed. Its entries get the
/// resources' keys.
pub(crate) fn entries(goal: &mut GoalStateV2) -> Vec<Entry> {
    let mut all = Vec::new();
    macro_rules! each {
        ($($states:ident)+) => {$(
            for state in &mut goal.$states {
                let configuration = state.value.as_ref().and_then(|it| it.configuration.clone());
                if let Some(configuration) = configuration {
                    let entry = configuration.entry();
                    state.key.clone_from(&entry.key);
                    all.push(entry);
                }
            }
        )+};
    }
    each!(vpc_states subnet_states router_states port_states neighbor_states);
    each!(security_group_states dhcp_states gateway_states);
    all
}
