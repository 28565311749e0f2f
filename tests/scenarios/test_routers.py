# SPDX-License-Identifier: MIT
"""Two subnets of a VPC, which share its VNI as Alcor's do, and a router between them: before there are ports, and after."""

from __future__ import annotations

from cloud import Misrouted
from controller import FirstVersion, machine
from kernel import exchange, run
from plan import A, B, Subnet

NEAR, FAR = Subnet(5, half=0), Subnet(5, half=1)
HERE, THERE = machine(NEAR.guest(A)), machine(NEAR.guest(B))
FAR_HERE, FAR_THERE = machine(FAR.guest(A)), machine(FAR.guest(B))
EVERYBODY = HERE, THERE, FAR_HERE, FAR_THERE
ROUTED = (HERE, FAR_HERE), (HERE, FAR_THERE), (FAR_THERE, HERE), (THERE, FAR_THERE), (FAR_HERE, THERE)


def test_a_router_that_is_there_before_its_ports(clouds):
    cloud = clouds(*EVERYBODY)
    cloud.controller.create_router("router", NEAR, FAR)
    for each in EVERYBODY:
        cloud.controller.create_port(each)
    cloud.reach((HERE, THERE), *ROUTED)
    for pair in ROUTED:
        exchange(*cloud.ends(*pair))


def test_a_controller_of_the_first_version_has_its_way_too(clouds):
    test_a_router_that_is_there_before_its_ports(lambda *machines, **named: clouds(*machines, **named, controller=FirstVersion))


def test_a_router_that_comes_after_its_ports_and_goes_before_them(clouds):
    cloud = clouds(*EVERYBODY)
    cloud.controller.create_port(*EVERYBODY)
    cloud.reach((HERE, THERE), (FAR_HERE, FAR_THERE))
    cloud.deny(*ROUTED)
    cloud.controller.create_router("router", NEAR, FAR)
    cloud.reach(*ROUTED)
    cloud.controller.delete_router("router")
    cloud.deny(*ROUTED)
    cloud.reach((HERE, THERE), (FAR_HERE, FAR_THERE))


def test_a_packet_is_routed_once_where_it_starts(clouds):
    cloud = clouds(*EVERYBODY)
    cloud.controller.create_router("router", NEAR, FAR)
    cloud.controller.create_port(*EVERYBODY)
    cloud.reach(*ROUTED)
    for client, server in ROUTED:
        namespace, to = cloud.of(client), server.ip
        traced = run(*namespace.command("tracepath", "-n", "-m", 4, to))
        gateway = client.addresses[0].subnet.gateway_ip
        if gateway not in traced or "hops 2 back 2" not in traced:
            raise Misrouted(traced)
