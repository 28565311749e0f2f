# SPDX-License-Identifier: MIT
"""Goal states as Alcor's services write them, for the addresses of `plan`. Messages are those of Google's protoc."""

from __future__ import annotations

from google.protobuf import json_format

from alcor.schema import common_pb2, gateway_pb2, goalstate_pb2, neighbor_pb2, port_pb2, router_pb2, subnet_pb2, vpc_pb2
from plan import DVR_MAC, Guest, Subnet, host_ip, host_mac

INFO, CREATE, UPDATE, GET, DELETE = (
    common_pb2.INFO,
    common_pb2.CREATE,
    common_pb2.UPDATE,
    common_pb2.GET,
    common_pb2.DELETE,
)
FULL = common_pb2.FULL


def vpc(subnet: Subnet, tunnel_id: int | None = None, gateways=()):
    """The VPC that `subnet` is in. Its VNI is the subnet's unless said otherwise. `gateways`: ids."""
    state = vpc_pb2.VpcState(operation_type=INFO)
    conf = state.configuration
    conf.revision_number, conf.id, conf.name = 1, subnet.vpc, subnet.vpc
    conf.tunnel_id = subnet.vni if tunnel_id is None else tunnel_id
    conf.cidr = f"10.{subnet.v}.0.0/16"
    conf.gateway_ids.extend(gateways)
    return state


def subnet(subnet: Subnet, tunnel_id: int | None = None, gateway: bool = True):
    state = subnet_pb2.SubnetState(operation_type=INFO)
    conf = state.configuration
    conf.revision_number, conf.id, conf.name = 1, subnet.id, subnet.id
    conf.vpc_id, conf.cidr = subnet.vpc, subnet.cidr
    conf.tunnel_id = subnet.vni if tunnel_id is None else tunnel_id
    if gateway:
        conf.gateway.ip_address, conf.gateway.mac_address = subnet.gateway_ip, subnet.gateway_mac
    return state


def port(*guests: Guest, up: bool = True):
    """The port of a guest; of several addresses when several are given: the MAC is the first one's."""
    state = port_pb2.PortState(operation_type=CREATE)
    conf = state.configuration
    conf.revision_number, conf.update_type = 1, FULL
    conf.id, conf.name, conf.vpc_id = guests[0].id, guests[0].id, guests[0].subnet.vpc
    conf.mac_address, conf.admin_state_up = guests[0].mac, up
    for guest in guests:
        conf.fixed_ips.add(subnet_id=guest.subnet.id, ip_address=guest.ip)
    return state


def neighbor(guest: Guest, kind: str = "L2", host: int | None = None, host_mac_named: bool = True, id: str | None = None):
    """A guest as the switches of other hosts know it."""
    host = guest.host if host is None else host
    state = neighbor_pb2.NeighborState(operation_type=CREATE)
    conf = state.configuration
    conf.revision_number, conf.id, conf.vpc_id = 1, guest.id if id is None else id, guest.subnet.vpc
    conf.mac_address, conf.host_ip_address = guest.mac, host_ip(host)
    if host_mac_named:
        conf.host_mac_address = host_mac(host)
    conf.fixed_ips.add(neighbor_type=kind, subnet_id=guest.subnet.id, ip_address=guest.ip)
    return state


def router(*subnets: Subnet, id: str = "router", rules=(), full: bool = False):
    """A router of subnets. Operation and update type are left unset, as Alcor does. `rules`, of the first subnet:
    (destination, next hop, priority)."""
    state = router_pb2.RouterState()
    conf = state.configuration
    conf.revision_number, conf.id, conf.host_dvr_mac_address = 1, id, DVR_MAC
    if full:
        conf.update_type = FULL
    for each in subnets:
        conf.subnet_routing_tables.add(subnet_id=each.id)
    for destination, next_hop, priority in rules:
        conf.subnet_routing_tables[0].routing_rules.add(
            operation_type=CREATE,
            id=f"{destination}-{next_hop}",
            destination=destination,
            next_hop_ip=next_hop,
            priority=priority,
        )
    return state


def gateway(id: str, *hosts: int, kind: str = "ZETA"):
    """A gateway whose machines are these hosts."""
    state = gateway_pb2.GatewayState(operation_type=CREATE)
    conf = state.configuration
    conf.revision_number, conf.id, conf.gateway_type = 1, id, kind
    for host in hosts:
        conf.destinations.add(ip_address=host_ip(host), mac_address=host_mac(host))
    return state


def with_operation(state, operation):
    copy = type(state)()
    copy.CopyFrom(state)
    copy.operation_type = operation
    return copy


def delete(state):
    return with_operation(state, DELETE)


KINDS = {
    "VpcState": "vpc_states",
    "SubnetState": "subnet_states",
    "PortState": "port_states",
    "NeighborState": "neighbor_states",
    "RouterState": "router_states",
    "DHCPState": "dhcp_states",
    "SecurityGroupState": "security_group_states",
    "GatewayState": "gateway_states",
}


def v1(*states):
    """A GoalState, as the data plane manager's first version sends it."""
    message = goalstate_pb2.GoalState(format_version=101)
    for state in states:
        getattr(message, KINDS[type(state).__name__]).append(state)
    return message


def v2(*states):
    """A GoalStateV2, keyed as the data plane manager's second version does: neighbors by type and port id."""
    message = goalstate_pb2.GoalStateV2(format_version=102)
    for state in states:
        key = state.configuration.id
        if isinstance(state, neighbor_pb2.NeighborState) and state.configuration.fixed_ips:
            key = ("L3/" if state.configuration.fixed_ips[0].neighbor_type == neighbor_pb2.L3 else "L2/") + key
        getattr(message, KINDS[type(state).__name__])[key].CopyFrom(state)
    return message


def to_json(message) -> str:
    """Protobuf's own JSON."""
    return json_format.MessageToJson(message)


def status_names(reply) -> list[tuple[str, str, str]]:
    """(type, id, status) of each resource in a reply, sorted."""
    rows = (
        (
            common_pb2.ResourceType.Name(status.resource_type),
            status.resource_id,
            common_pb2.OperationStatus.Name(status.operation_status),
        )
        for status in reply.operation_statuses
    )
    return sorted(rows)


def statuses(reply) -> dict[tuple[str, str], str]:
    """Status by (type, id). Each resource has exactly one."""
    names = status_names(reply)
    found = {(kind, id): status for kind, id, status in names}
    assert len(found) == len(names), f"a resource has two statuses: {names}"
    return found
