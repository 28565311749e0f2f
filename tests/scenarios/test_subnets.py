# SPDX-License-Identifier: MIT
"""Ports and neighbors of one subnet come, and go."""

from __future__ import annotations

from cloud import Unreached
from controller import machine
from kernel import ask_and_answer, exchange
from plan import A, B, Subnet

NET = Subnet(5)
HERE, BESIDE, THERE = (machine(NET.guest(host, n)) for host, n in ((A, 1), (A, 2), (B, 1)))
PAIRS = (HERE, BESIDE), (HERE, THERE), (THERE, HERE), (BESIDE, THERE)


def test_machines_of_a_subnet_reach_each_other_once_their_ports_are_created(clouds):
    cloud = clouds(HERE, BESIDE, THERE)
    cloud.deny((HERE, THERE), (HERE, BESIDE))
    cloud.controller.create_port(HERE)
    cloud.deny((HERE, THERE), (HERE, BESIDE), (THERE, HERE))
    cloud.controller.create_port(BESIDE)
    cloud.reach((HERE, BESIDE), (BESIDE, HERE))
    cloud.deny((HERE, THERE), (THERE, HERE))
    cloud.controller.create_port(THERE)
    cloud.reach(*PAIRS)
    for pair in ((HERE, THERE), (HERE, BESIDE)):
        client, server = cloud.ends(*pair)
        ask_and_answer(client, server, (0, 1, 1000, 1472))
        exchange(client, server)


def test_a_port_that_is_deleted_is_reached_no_more_and_reaches_nobody(clouds):
    cloud = clouds(HERE, BESIDE, THERE)
    cloud.controller.create_port(HERE, BESIDE, THERE)
    cloud.reach(*PAIRS)
    cloud.controller.delete_port(THERE)
    cloud.deny((HERE, THERE), (THERE, HERE))
    cloud.reach((HERE, BESIDE))
    cloud.controller.create_port(THERE)
    cloud.reach(*PAIRS)
    cloud.controller.delete_port(HERE)
    cloud.deny((HERE, THERE), (HERE, BESIDE), (BESIDE, HERE), (THERE, HERE))
    cloud.reach((BESIDE, THERE))
    cloud.controller.delete_port(BESIDE, THERE)
    for host in (A, B):
        assert cloud.controller.goal_of(host) == {}
        for what in ("vpcs", "subnets", "neighbors", "routes", "pending"):
            assert cloud.hosts[host].show(what) == [], what


def test_a_neighbor_that_is_deleted_is_not_reached(clouds):
    cloud = clouds(HERE, BESIDE, THERE)
    cloud.controller.create_port(HERE, BESIDE, THERE)
    cloud.reach((HERE, THERE), (BESIDE, THERE))
    cloud.controller.delete_neighbor(A, THERE)
    cloud.deny((HERE, THERE), (BESIDE, THERE))
    cloud.reach((HERE, BESIDE))
    cloud.controller.create_neighbor(A, THERE)
    cloud.reach((HERE, THERE), (BESIDE, THERE))


def test_the_same_goal_state_again_whole_or_in_any_order_disturbs_nobody(clouds):
    cloud = clouds(HERE, BESIDE, THERE)
    cloud.controller.create_port(HERE, BESIDE, THERE)
    cloud.reach(*PAIRS)
    dropped = cloud.dropped()
    pings = [cloud.of(client).pinging(server.ip, "-c", 300, "-i", 0.01, "-W", 1) for client, server in PAIRS]
    for round in range(5):
        for host in (A, B):
            cloud.controller.tell_all_again(host)
            cloud.controller.tell_all_again(host, seed=round)
    assert any(ping.goes_on() for ping in pings), "they went on meanwhile"
    answers = [ping.answers() for ping in pings]
    if answers != [300] * len(PAIRS):
        raise Unreached(f"of 300 pings each {answers} were answered: {cloud.drops(HERE)}")
    assert cloud.dropped() == dropped
