# SPDX-License-Identifier: MIT
"""Goal states exactly as Alcor's senders shape them: what each sets, what each leaves unset, which keys each makes up."""

from __future__ import annotations

import uuid

import goal
from alcor.schema import dhcp_pb2, gateway_pb2, goalstate_pb2, goalstateprovisioner_pb2, neighbor_pb2, securitygroup_pb2

UNKNOWN_TUNNEL_ID = 2**63 - 1
"""Java's Long.MAX_VALUE, which stands for a tunnel id that the data plane manager does not know."""


def security_group(id: str = "group", vpc_id: str = "", full: bool = False, **rules: int):
    """A group with a rule per port. Rules have no operation, as the data plane manager leaves them."""
    state = securitygroup_pb2.SecurityGroupState(operation_type=goal.CREATE)
    conf = state.configuration
    conf.revision_number, conf.id, conf.name, conf.vpc_id = 1, id, id, vpc_id
    if full:
        conf.update_type = goal.FULL
    for rule, port in rules.items():
        conf.security_group_rules.add(
            id=rule, security_group_id=id, direction=1, port_range_min=port, port_range_max=port, remote_ip_prefix="0.0.0.0/0"
        )
    return state


def dhcp(guest, id: str | None = None):
    """Under a new id every time."""
    state = dhcp_pb2.DHCPState(operation_type=goal.CREATE)
    conf = state.configuration
    conf.revision_number, conf.id = 1, id or str(uuid.uuid4())
    conf.subnet_id, conf.mac_address = guest.subnet.id, guest.mac
    if guest.subnet.version == 6:
        conf.ipv6_address = guest.ip
    else:
        conf.ipv4_address = guest.ip
    return state


def gateway(id: str, kind: str):
    state = gateway_pb2.GatewayState(operation_type=goal.CREATE)
    conf = state.configuration
    conf.revision_number, conf.id, conf.gateway_type = 1, id, kind
    conf.destinations.add(ip_address="192.0.2.200", mac_address="02:00:c0:00:02:c8")
    if kind == "ZETA":
        conf.zeta_info.port_inband_operation = 8300
    return state


class DataPlaneManager:
    """Revision 1 always; VPCs and subnets INFO, the VPC without a tunnel id and its subnets with the VPC's; routers
    without operation and update type; neighbors' keys say L2 or L3, their ids do not."""

    def __init__(self, here, neighbors, subnets):
        self.here, self.neighbors, self.subnets = here, neighbors, subnets

    def states(self):
        near = self.here.subnet
        return [
            goal.vpc(near, tunnel_id=0),
            *(goal.subnet(each) for each in self.subnets),
            goal.router(*self.subnets),
            goal.port(self.here),
            *(goal.neighbor(guest, kind) for guest, kind in self.neighbors),
        ]

    def first(self):
        return goal.v1(*self.states())

    def second(self):
        """By way of the network configuration manager, which leaves only this host's resources in the message."""
        message = goal.v2(*self.states())
        host = message.host_resources["192.0.2.1"].resources
        host.add(type="PORT", id=self.here.id)
        for guest, kind in self.neighbors:
            host.add(type="NEIGHBOR", id=f"{kind}/{guest.id}")
        return message


def test_controller(here, neighbors, subnets, revision: int = 2):
    """Revision 2; everything CREATE; the VPC has its tunnel id; a neighbor is known by `<port>_n`, in key and id."""
    message = goalstate_pb2.GoalStateV2()
    states = [goal.vpc(here.subnet), *(goal.subnet(each) for each in subnets), goal.router(*subnets), goal.port(here)]
    for state in states:
        state.configuration.revision_number = revision
        kind = goal.KINDS[type(state).__name__]
        getattr(message, kind)[state.configuration.id].CopyFrom(goal.with_operation(state, goal.CREATE))
    for guest, kind in neighbors:
        state = goal.neighbor(guest, kind, id=f"{guest.id}_n")
        state.configuration.revision_number = revision
        message.neighbor_states[f"{guest.id}_n"].CopyFrom(state)
    return message


test_controller.__test__ = False  # a sender, not a test


def _field(number: int, value: bytes | str) -> bytes:
    """A length-delimited field of less than 128 bytes."""
    value = value.encode() if isinstance(value, str) else value
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


def old_neighbor_message(guest) -> bytes:
    """A GoalState with a neighbor by the numbers of before August 2022: host_ip_address 8, fixed_ips 9. The tunnel id
    makes bytes of the latter that are no text."""
    fixed_ip = neighbor_pb2.NeighborConfiguration.FixedIp(subnet_id=guest.subnet.id, ip_address=guest.ip, tunnel_id=200)
    conf = _field(3, guest.id) + _field(7, guest.mac) + _field(8, "192.0.2.2") + _field(9, fixed_ip.SerializeToString())
    return _field(5, bytes([8, goal.CREATE]) + _field(2, conf))


def goalstate_reply(raw: bytes):
    """What a call that is made of bytes is answered."""
    return goalstateprovisioner_pb2.GoalStateOperationReply.FromString(raw)
