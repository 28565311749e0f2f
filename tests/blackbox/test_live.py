# SPDX-License-Identifier: MIT
"""A switch that runs: its controller deletes and puts back, and the next packet sees it."""

from __future__ import annotations

import struct

import pytest

import goal
from frames import assert_encapsulated, to_gateway, udp, vxlan
from plan import A, B, DVR_MAC, Subnet, host_mac

NEAR, FAR = Subnet(5), Subnet(6, of_vpc="vpc-5")
HERE, ALSO_HERE, THERE, FAR_THERE = NEAR.guest(A, 1), NEAR.guest(A, 2), NEAR.guest(B), FAR.guest(B)

SUBNET, ROUTER = goal.subnet(NEAR), goal.router(NEAR, FAR)
PORT, ALSO_PORT = goal.port(HERE), goal.port(ALSO_HERE)
NEIGHBOR, FAR_NEIGHBOR = goal.neighbor(THERE), goal.neighbor(FAR_THERE, kind="L3")
EVERYTHING = [goal.vpc(NEAR), SUBNET, goal.subnet(FAR), ROUTER, PORT, ALSO_PORT, NEIGHBOR, FAR_NEIGHBOR]

UPLINK, HERE_PORT, ALSO_PORT_NUMBER = range(3)


class Lab:
    """A switch on three veth pairs, and a socket at the far end of each."""

    def __init__(self, networks, switches):
        outside, guests = networks.namespace("out"), networks.namespace("in")
        uplink = networks.pair("u", outside, "u", mac=host_mac(B), outer_mac=host_mac(A))
        ports = [networks.pair(f"g{n}", guests, f"g{n}", mac=guest.mac) for n, guest in enumerate((HERE, ALSO_HERE))]
        self.uplink = networks.wire(outside, "u")
        self.here, self.also_here = (networks.wire(guests, f"g{n}") for n in (0, 1))
        self.switch = switches(
            [
                *(f"port attach net_af_packet{n},iface={device}" for n, device in enumerate((uplink, *ports))),
                f"port bind 1 {HERE.id}",
                f"port bind 2 {ALSO_HERE.id}",
                "set vtep 192.0.2.1/24 port 0",
                "start",
            ]
        )
        self.rounds = 0

    def round(self, drops: dict[int, dict[str, int]], *, lost=()) -> None:
        """One packet of each kind. All arrive but those in `lost`, which are counted in `drops`, and nothing else
        is."""
        before = self.switch.counters()
        self.rounds += 1
        mark = {"payload": struct.pack(">I", self.rounds)}
        self.here.send([udp(HERE, THERE, **mark), to_gateway(HERE, FAR_THERE, **mark), udp(HERE, ALSO_HERE, **mark)])
        self.also_here.send([udp(ALSO_HERE, HERE, **mark)])
        self.uplink.send(
            [
                self.arriving(udp(THERE, HERE, **mark)),
                self.arriving(udp(FAR_THERE, HERE, eth_src=DVR_MAC, ttl=63, **mark)),
            ]
        )
        arrived = {UPLINK: 2, HERE_PORT: 3, ALSO_PORT_NUMBER: 1}
        after = self.switch.settled(**{f"port{port}": before.rx(port) + count for port, count in arrived.items()})
        for port in arrived:
            changed = {reason: count - before.drops[port].get(reason, 0) for reason, count in after.drops[port].items()}
            assert {reason: count for reason, count in changed.items() if count} == drops.get(port, {}), f"port {port}"
        sent = {
            "switched": (udp(HERE, THERE, **mark), 5, B),
            "routed": (udp(HERE, FAR_THERE, eth_src=DVR_MAC, ttl=63, **mark), 6, B),
        }
        expected = [frame for name, frame in sent.items() if name not in lost]
        assert_encapsulated(self.uplink.receive(len(expected)), expected, src_mac=host_mac(A))
        self.also_here.expect([udp(HERE, ALSO_HERE, **mark)] if "local" not in lost else [])
        delivered = {
            "from also here": udp(ALSO_HERE, HERE, **mark),
            "from there": udp(THERE, HERE, **mark),
            "from far": udp(FAR_THERE, HERE, eth_src=NEAR.gateway_mac, ttl=63, **mark),
        }
        expected = [frame for name, frame in delivered.items() if name not in lost]
        assert sorted(self.here.receive(len(expected))) == sorted(expected)

    @staticmethod
    def arriving(inner: bytes) -> bytes:
        return vxlan(inner, 5, src=B, eth_dst=host_mac(A))


@pytest.fixture
def lab(networks, switches):
    return Lab(networks, switches)


TO_HERE = {"from also here", "from there", "from far"}
FROM_HERE = {"switched", "routed", "local"}


@pytest.mark.parametrize("rpc", ["v1", "v2"])
def test_what_the_controller_deletes_is_gone_at_once_and_back_when_put_back(lab, rpc):
    def accept(*states):
        lab.switch.accept(*states, rpc=rpc)

    lab.round({UPLINK: {"unknown_vni": 2}, HERE_PORT: {"port_unbound": 3}, ALSO_PORT_NUMBER: {"port_unbound": 1}}, lost=FROM_HERE | TO_HERE)
    accept(*EVERYTHING)
    lab.round({})

    accept(goal.delete(NEIGHBOR))
    lab.round({HERE_PORT: {"unknown_mac": 1}}, lost={"switched"})
    accept(NEIGHBOR)
    lab.round({})

    accept(goal.delete(FAR_NEIGHBOR))
    lab.round({HERE_PORT: {"unknown_neighbor": 1}}, lost={"routed"})
    accept(FAR_NEIGHBOR)
    lab.round({})

    accept(goal.delete(ROUTER))
    lab.round({HERE_PORT: {"no_route": 1}}, lost={"routed"})
    accept(ROUTER)
    lab.round({})

    accept(goal.delete(PORT))
    # The other guest is in the same VNI, which so is known still.
    lab.round(
        {UPLINK: {"unknown_mac": 2}, HERE_PORT: {"port_unbound": 3}, ALSO_PORT_NUMBER: {"unknown_mac": 1}},
        lost=FROM_HERE | TO_HERE,
    )
    accept(PORT)
    lab.round({})

    accept(goal.delete(PORT), goal.delete(ALSO_PORT))
    lab.round({UPLINK: {"unknown_vni": 2}, HERE_PORT: {"port_unbound": 3}, ALSO_PORT_NUMBER: {"port_unbound": 1}}, lost=FROM_HERE | TO_HERE)
    accept(PORT, ALSO_PORT)
    lab.round({})

    accept(goal.delete(SUBNET))
    lab.round({UPLINK: {"unknown_vni": 2}, HERE_PORT: {"port_unbound": 3}, ALSO_PORT_NUMBER: {"port_unbound": 1}}, lost=FROM_HERE | TO_HERE)
    accept(SUBNET)
    lab.round({})

    accept(*map(goal.delete, reversed(EVERYTHING)))
    for what in ("vpcs", "subnets", "neighbors", "routes", "pending"):
        assert lab.switch.show(what) == [], what
    accept(*EVERYTHING)
    lab.round({})
    lab.switch.terminate()


def test_operators_take_ports_down_and_up(lab):
    switch = lab.switch
    switch.accept(*EVERYTHING)
    lab.round({})

    switch.accept(goal.port(HERE, up=False))
    lab.round({UPLINK: {"port_down": 2}, HERE_PORT: {"port_down": 3}, ALSO_PORT_NUMBER: {"port_down": 1}}, lost=FROM_HERE | TO_HERE)
    switch.accept(PORT)
    lab.round({})

    switch.execute("port unbind 1")
    lab.round(
        {UPLINK: {"unknown_mac": 2}, HERE_PORT: {"port_unbound": 3}, ALSO_PORT_NUMBER: {"unknown_mac": 1}},
        lost=FROM_HERE | TO_HERE,
    )
    switch.execute(f"port bind 1 {HERE.id}")
    lab.round({})

    switch.execute("clear port stats all")
    assert all(row["rx_packets"] == row["tx_packets"] == 0 for row in switch.show("port stats all"))
    assert switch.show("drops") == []
    lab.round({})

    switch.execute("stop")
    assert not any(row["forwarding"] for row in switch.show("workers"))
    switch.accept(goal.delete(NEIGHBOR), NEIGHBOR)
    switch.execute("start")
    lab.round({})


def test_a_neighbor_that_moves_is_followed(lab):
    lab.switch.accept(*EVERYTHING)
    moved = goal.neighbor(THERE, host=3)
    frame = udp(HERE, THERE)
    for state, host in ((moved, 3), (NEIGHBOR, B), (moved, 3)):
        lab.switch.accept(state)
        lab.here.send([frame])
        assert_encapsulated(lab.uplink.receive(1), [(frame, 5, host)], src_mac=host_mac(A))


def test_nothing_is_lost_and_nothing_goes_astray_while_the_controller_is_busy(lab):
    """Neighbors around it come, move and go by the thousand; one flow each way, switched and routed, goes on."""
    switch = lab.switch
    switch.accept(*EVERYTHING)
    others = [NEAR.guest(B, n) for n in range(2, 250)] + [FAR.guest(B, n) for n in range(2, 250)]
    before = switch.counters()
    rounds, sent = 12, 0
    expected = []
    for n in range(rounds):
        frames = [udp(HERE, THERE, sport=k, payload=bytes([n])) for k in range(1000, 1020)]
        routed = [to_gateway(HERE, FAR_THERE, sport=k, payload=bytes([n])) for k in range(1000, 1020)]
        expected += [(frame, 5, B) for frame in frames]
        expected += [(udp(HERE, FAR_THERE, sport=k, payload=bytes([n]), eth_src=DVR_MAC, ttl=63), 6, B) for k in range(1000, 1020)]
        lab.here.send(frames)
        call = switch.controller.PushGoalStatesStream(iter([goal.v2(*(goal.neighbor(guest, kind="L3", host=2 + n % 3) for guest in others))]))
        lab.here.send(routed)
        sent += 40
        for reply in call:
            assert all(status == "SUCCESS" for _, _, status in goal.status_names(reply))
        if n % 3 == 2:
            switch.accept(*(goal.delete(goal.neighbor(guest, kind="L3")) for guest in others), rpc="v2")
    after = switch.settled(port1=before.rx(HERE_PORT) + sent)
    assert after.drops == before.drops
    assert_encapsulated(lab.uplink.receive(len(expected)), expected, src_mac=host_mac(A))
