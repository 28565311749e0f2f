# SPDX-License-Identifier: MIT
"""The scenarios fail when the cloud is broken: each of these controllers, configurations and links has one fault, and each must
be noticed by the scenarios that are named with it: as somebody who is not reached, as somebody who should not be, or as a packet
that took another way."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from scapy.layers.inet import IP

import goal
import test_machines as machines
import test_operations as operations
import test_routers as routers
import test_subnets as subnets
import test_tenants as tenants
from cloud import Cloud, Leaked, Misrouted, Unreached
from controller import Controller
from frames import OUTER
from kernel import run
from plan import B
from relay import Relay

PATIENCE = 2.0
"""Seconds until who is not reached is given up."""


class TellsOneHostAnotherVni(Controller):
    def subnet(self, host, subnet):
        return goal.subnet(subnet, tunnel_id=subnet.vni + 1 if host == B else None)


class MixesUpTenants(Controller):
    """On one host alone, so that what goes out to one tenant there comes back as if from the right one."""

    def subnet(self, host, subnet):
        first, second, _ = tenants.NETS
        other = {first: second, second: first}.get(subnet, subnet)
        return goal.subnet(subnet, tunnel_id=other.vni if host == B else None)


class TellsAnotherHostMac(Controller):
    def neighbor(self, host, kind, other):
        state = super().neighbor(host, kind, other)
        state.configuration.host_mac_address = "02:00:c0:00:02:77"
        return state


class TellsAnotherHostIp(Controller):
    def neighbor(self, host, kind, other):
        state = super().neighbor(host, kind, other)
        state.configuration.host_ip_address = "192.0.2.77"
        return state


class TellsPeersNothingOfMoves(Controller):
    def neighbor(self, host, kind, other):
        state = super().neighbor(host, kind, other)
        before = goal.neighbor(other.addresses[0], kind).configuration
        state.configuration.host_ip_address, state.configuration.host_mac_address = before.host_ip_address, before.host_mac_address
        return state


class CreatesPortsUnasked(Controller):
    """Of a machine beside that which is asked for."""

    def create_port(self, *machines, dhcp=False):
        beside = {subnets.HERE: [subnets.BESIDE]}
        super().create_port(*machines, *(more for each in machines for more in beside.get(each, ())), dhcp=dhcp)


class NeverDeletes(Controller):
    def push(self, host, states):
        super().push(host, {key: state for key, state in states.items() if state.operation_type != goal.DELETE})


class DeletesBeforeItTellsAgain(Controller):
    def tell_all_again(self, host, seed=None):
        self.push(host, {key: goal.delete(state) for key, state in self.goal_of(host).items() if key[0] == "neighbor"})
        super().tell_all_again(host, seed)


class _Forgets(Controller):
    kind: str

    def goal_of(self, host):
        return {key: state for key, state in super().goal_of(host).items() if key[0] != self.kind}


class ForgetsRouters(_Forgets):
    kind, accepted = "router", {"SUCCESS", "PENDING"}


class ForgetsDhcp(_Forgets):
    kind = "dhcp"


class ForgetsNeighbors(_Forgets):
    kind = "neighbor"


class KnowsNoIpv6(Controller):
    def neighbor(self, host, kind, other):
        state = super().neighbor(host, kind, other)
        del state.configuration.fixed_ips[1:]
        return state


def keeps_hosts_apart(cloud: Cloud) -> None:
    """Its ports talk to no other port."""
    for host in cloud.hosts:
        run("bridge", "-n", cloud.link.name, "link", "set", "dev", f"u{host}", "isolated", "on")


def takes_back_a_hop(cloud: Cloud) -> None:
    """Packets of the other host arrive as if nobody had routed them."""

    def mutate(frame):
        if frame[12:14] != b"\x08\x00" or frame[OUTER + 12 : OUTER + 14] != b"\x08\x00":
            return [frame]
        packet = IP(frame[OUTER + 14 :])
        packet.ttl += 1
        del packet.chksum
        return [frame[: OUTER + 14] + bytes(packet)]

    relay = Relay(cloud.networks, cloud.link, f"u{B}")
    relay.out = mutate
    cloud.link.ip(f"link set u{B} nomaster")
    cloud.link.ip(f"link set {relay.device} master net")


@dataclass
class Broken:
    """A fault: of the controller, of a host's configuration, or of the link."""

    controller: type[Controller] = Controller
    config: dict[int, list[str]] | None = None
    """If given, instead of the scenario's own."""
    link: Callable[[Cloud], None] | None = None

    def __str__(self) -> str:
        if self.link:
            return f"link {self.link.__name__}"
        if self.config is not None:
            return f"hosts {self.config}"
        return self.controller.__name__

    def clouds(self, clouds):
        def make(*machines, controller=Controller, **named):
            if self.config is not None:
                named["config"] = self.config
            if self.controller is not Controller:
                # With the manners of the scenario's own.
                controller = type(str(self), (self.controller, controller), {})
            cloud = clouds(*machines, **named, controller=controller, patience=PATIENCE)
            if self.link:
                self.link(cloud)
            return cloud

        return make


PING = subnets.test_a_neighbor_that_is_deleted_is_not_reached
CREATED = subnets.test_machines_of_a_subnet_reach_each_other_once_their_ports_are_created
MUTATIONS = [
    (Broken(TellsOneHostAnotherVni), Unreached, [PING, CREATED]),
    (Broken(TellsAnotherHostMac), Unreached, [PING]),
    (Broken(TellsAnotherHostIp), Unreached, [PING]),
    (Broken(config={B: ["set vxlan port 4790"]}), Unreached, [PING]),
    (Broken(link=keeps_hosts_apart), Unreached, [PING, routers.test_a_router_that_is_there_before_its_ports]),
    (Broken(MixesUpTenants), Leaked, [tenants.test_tenants_of_the_same_addresses_reach_their_own_machines_only]),
    (
        Broken(NeverDeletes),
        Leaked,
        [
            subnets.test_a_port_that_is_deleted_is_reached_no_more_and_reaches_nobody,
            PING,
            routers.test_a_router_that_comes_after_its_ports_and_goes_before_them,
            operations.test_what_changes_while_a_switch_is_down_counts_once_it_is_told,
        ],
    ),
    (Broken(DeletesBeforeItTellsAgain), Unreached, [subnets.test_the_same_goal_state_again_whole_or_in_any_order_disturbs_nobody]),
    (Broken(TellsPeersNothingOfMoves), Unreached, [operations.test_a_port_moves_to_the_other_host_and_its_peers_follow]),
    (Broken(CreatesPortsUnasked), Leaked, [CREATED]),
    (
        Broken(ForgetsRouters),
        Unreached,
        [routers.test_a_router_that_comes_after_its_ports_and_goes_before_them, routers.test_a_controller_of_the_first_version_has_its_way_too],
    ),
    (Broken(link=takes_back_a_hop), Misrouted, [routers.test_a_packet_is_routed_once_where_it_starts]),
    (Broken(ForgetsNeighbors), Unreached, [machines.test_machines_of_both_versions_of_ip]),
    (Broken(ForgetsDhcp), Unreached, [machines.test_a_machine_gets_its_address_by_dhcp_and_is_reached_by_it]),
    (Broken(KnowsNoIpv6), Unreached, [machines.test_machines_of_both_versions_of_ip]),
    # Its switch keeps nothing.
    (Broken(config={}), Unreached, [operations.test_a_switch_that_crashes_goes_on_with_its_machines_before_its_controller_says_a_word]),
]
CASES = [(broken, error, scenario) for broken, error, scenarios in MUTATIONS for scenario in scenarios]


@pytest.mark.parametrize("broken, error, scenario", CASES, ids=lambda each: getattr(each, "__name__", str(each)))
def test_a_broken_cloud_is_noticed(clouds, tmp_path, capsys, broken, error, scenario):
    fixtures = {"clouds": broken.clouds(clouds), "tmp_path": tmp_path, "capsys": capsys}
    with pytest.raises(error):
        scenario(**{name: fixtures[name] for name in inspect.signature(scenario).parameters})
