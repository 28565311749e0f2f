# SPDX-License-Identifier: MIT
"""A switch that runs: its controller deletes and puts back, and the next packet sees it."""

from __future__ import annotations

import struct

import pytest

import goal
from frames import assert_encapsulated, forwarded, is_error, to_gateway, udp, vxlan
from guests import VethSite
from kernel import run
from plan import A, B, DVR_MAC, Subnet, host_mac
from program import eventually

NEAR, FAR = Subnet(5), Subnet(6, of_vpc="vpc-5")
HERE, ALSO_HERE, THERE, FAR_THERE = NEAR.guest(A, 1), NEAR.guest(A, 2), NEAR.guest(B), FAR.guest(B)

SUBNET, ROUTER = goal.subnet(NEAR), goal.router(NEAR, FAR)
PORT, ALSO_PORT = goal.port(HERE), goal.port(ALSO_HERE)
NEIGHBOR, FAR_NEIGHBOR = goal.neighbor(THERE), goal.neighbor(FAR_THERE, kind="L3")
EVERYTHING = [goal.vpc(NEAR), SUBNET, goal.subnet(FAR), ROUTER, PORT, ALSO_PORT, NEIGHBOR, FAR_NEIGHBOR]

UPLINK, HERE_PORT, ALSO_PORT_NUMBER = range(3)


class Lab(VethSite):
    """With two guests."""

    def __init__(self, networks, switches, *config: str):
        super().__init__(networks, switches, (HERE, ALSO_HERE), *config)
        self.here, self.also_here = self.wires
        self.rounds = 0

    def round(self, drops: dict[int, dict[str, int]], *, lost=(), deaf: bool = False) -> None:
        """One packet of each kind. All arrive but those in `lost`, which are counted in `drops`, and nothing else
        is. `deaf`: nobody listens to what ALSO_HERE sends."""
        before = self.switch.counters()
        self.rounds += 1
        mark = {"payload": struct.pack(">I", self.rounds)}
        self.here.send([udp(HERE, THERE, **mark), to_gateway(HERE, FAR_THERE, **mark), udp(HERE, ALSO_HERE, **mark)])
        if not deaf:
            self.also_here.send([udp(ALSO_HERE, HERE, **mark)])
        self.uplink.send(
            [
                self.arriving(udp(THERE, HERE, **mark)),
                self.arriving(udp(FAR_THERE, HERE, eth_src=DVR_MAC, ttl=63, **mark)),
            ]
        )
        arrived = {UPLINK: 2, HERE_PORT: 3, ALSO_PORT_NUMBER: 0 if deaf else 1}
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
        told = sum(drops.get(HERE_PORT, {}).get(reason, 0) for reason in ("no_route", "unknown_neighbor", "ttl_expired"))
        came = self.here.receive(len(expected) + told)
        assert sorted(forwarded(came)) == sorted(expected)
        assert sum(map(is_error, came)) == told

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


def changed(state, **fields):
    """The state with other values; `a__b` is field b of a."""
    copy = type(state)()
    copy.CopyFrom(state)
    for name, value in fields.items():
        *path, last = name.split("__")
        message = copy.configuration
        for step in path:
            message = message[int(step)] if step.isdigit() else getattr(message, step)
        setattr(message, last, value)
    return goal.with_operation(copy, goal.UPDATE)


@pytest.mark.parametrize("rpc", ["v1", "v2"])
def test_what_the_controller_changes_counts_from_the_next_packet_on(lab, rpc):
    switch, here, uplink = lab.switch, lab.here, lab.uplink

    def accept(*states):
        switch.accept(*states, rpc=rpc)

    def sends(frame: bytes, inner: bytes, vni: int) -> None:
        here.send([frame])
        assert_encapsulated(uplink.receive(1), [(inner, vni, B)], src_mac=host_mac(A))

    def gets(inner: bytes, vni: int, delivered: bytes | None) -> None:
        before = switch.counters().rx(UPLINK)
        uplink.send([vxlan(inner, vni, src=B, eth_dst=host_mac(A))])
        switch.settled(port0=before + 1)
        here.expect([delivered] if delivered else [])

    switched, back = udp(HERE, THERE), udp(THERE, HERE)
    routed, came = to_gateway(HERE, FAR_THERE), udp(FAR_THERE, HERE, eth_src=DVR_MAC, ttl=63)

    def leaves(source: str = DVR_MAC) -> bytes:
        return udp(HERE, FAR_THERE, eth_src=source, ttl=63)

    accept(*EVERYTHING)
    sends(switched, switched, 5)
    sends(routed, leaves(), 6)

    # The VNI of a subnet: for its guests here, for its neighbors, for what comes.
    accept(changed(SUBNET, tunnel_id=1005), changed(goal.subnet(FAR), tunnel_id=1006))
    sends(switched, switched, 1005)
    sends(routed, leaves(), 1006)
    gets(back, 5, None)
    gets(back, 1005, back)
    accept(SUBNET, goal.subnet(FAR))
    gets(back, 1005, None)
    gets(back, 5, back)

    # The MAC of a subnet's gateway.
    other = "02:00:05:00:00:fd"
    accept(changed(SUBNET, gateway__mac_address=other))
    sends(udp(HERE, FAR_THERE, eth_dst=other), leaves(), 6)
    gets(came, 5, udp(FAR_THERE, HERE, eth_src=other, ttl=63))
    accept(SUBNET)
    sends(routed, leaves(), 6)
    gets(came, 5, udp(FAR_THERE, HERE, eth_src=NEAR.gateway_mac, ttl=63))

    # The router's own MAC.
    accept(changed(ROUTER, host_dvr_mac_address="fe:16:11:00:00:07"))
    sends(routed, leaves("fe:16:11:00:00:07"), 6)
    accept(ROUTER)
    sends(routed, leaves(), 6)

    # A neighbor's MAC and its address.
    fresh = "02:00:06:02:00:77"
    accept(changed(FAR_NEIGHBOR, mac_address=fresh))
    sends(routed, udp(HERE, FAR_THERE, eth_src=DVR_MAC, eth_dst=fresh, ttl=63), 6)
    accept(FAR_NEIGHBOR)
    sends(routed, leaves(), 6)

    # The MAC of a guest here.
    accept(changed(PORT, mac_address=fresh, device_id="vm"))
    gets(back, 5, None)
    renamed = udp(THERE, HERE, eth_dst=fresh)
    gets(renamed, 5, renamed)
    accept(PORT)
    gets(renamed, 5, None)
    gets(back, 5, back)

    # A subnet that grows smaller, and so is no more routed to as a whole.
    accept(changed(goal.subnet(FAR), cidr="10.6.128.0/17"))
    before = switch.counters()
    here.send([routed])
    after = switch.settled(port1=before.rx(HERE_PORT) + 1)
    assert after.drops[HERE_PORT] == before.drops[HERE_PORT] | {"no_route": 1}
    assert list(map(is_error, here.receive(1))) == [True]
    accept(goal.subnet(FAR))
    sends(routed, leaves(), 6)
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


def test_two_workers_forward_as_one_does(networks, switches):
    """Each device has one queue each way: workers hand frames over to each other."""
    lab = Lab(networks, switches, "set nbcore 2")
    lab.switch.accept(*EVERYTHING)
    for _ in range(5):
        lab.round({})
    lab.switch.accept(goal.delete(NEIGHBOR))
    lab.round({HERE_PORT: {"unknown_mac": 1}}, lost={"switched"})
    workers = lab.switch.show("workers")
    assert len(workers) == 2 and all(row["rx_packets"] > 0 for row in workers), workers
    lab.switch.terminate()


def test_a_port_can_be_added_stopped_and_started_while_packets_flow(lab):
    switch = lab.switch
    third = NEAR.guest(A, 3)
    device = lab.networks.pair("g3", lab.inside, "g3", mac=third.mac)
    wire = lab.networks.wire(lab.inside, "g3")
    switch.accept(*EVERYTHING)
    lab.round({})
    switch.execute(f"port attach net_af_packet3,iface={device}")
    assert goal.statuses(switch.push(goal.port(third))) == {("PORT", third.id): "PENDING"}
    switch.execute(f"port bind 3 {third.id}")
    switch.execute("port start 3")
    assert switch.show("pending") == []
    for n in range(3):
        lab.round({})
        to, back = udp(HERE, third, payload=bytes([n])), udp(third, HERE, payload=bytes([n]))
        lab.here.send([to])
        wire.expect([to])
        wire.send([back])
        lab.here.expect([back])
        switch.execute("port stop 3")
        dropped = switch.counters().drops[HERE_PORT].get("tx_full", 0)
        lab.here.send([to])
        eventually("what is for a stopped port is dropped", lambda: switch.counters().drops[HERE_PORT].get("tx_full", 0) == dropped + 1)
        switch.execute("port config 3 rxd 256")
        switch.execute("port start 3")
    refused = switch.client("exec", "port config 3 rxd 512")
    assert refused.returncode == 1 and "port stop 3" in refused.stderr
    lab.round({})
    switch.terminate()


def test_a_guests_device_that_vanishes_harms_nobody_else(lab):
    switch = lab.switch
    switch.accept(*EVERYTHING)
    lab.round({})
    lab.inside.ip("link del g2")
    frames = [udp(HERE, THERE, sport=n) for n in range(1000, 1100)]
    lab.here.send([frame for each in frames for frame in (each, udp(HERE, ALSO_HERE))])
    assert_encapsulated(lab.uplink.receive(len(frames)), [(frame, 5, B) for frame in frames], src_mac=host_mac(A))
    assert [row["tx_errors"] for row in switch.show("port stats all")][:2] == [0, 0]
    # What the device took and did not send, until the switch missed it; then there was no device.
    lost = lambda: switch.show("port stats all")[2]["tx_errors"] + switch.counters().drops[HERE_PORT].get("tx_full", 0)  # noqa: E731
    eventually("all that was for it is counted", lambda: lost() == len(frames))
    switch.accept(goal.delete(ALSO_PORT))
    lab.here.send(frames)
    assert_encapsulated(lab.uplink.receive(len(frames)), [(frame, 5, B) for frame in frames], src_mac=host_mac(A))
    switch.terminate()


def test_without_its_controller_the_switch_goes_on_with_what_it_knows(lab):
    switch = lab.switch
    stream = switch.controller.PushGoalStatesStream(iter([goal.v2(*EVERYTHING)]))
    assert goal.status_names(next(stream))
    switch.channel.close()
    lab.round({})
    lab.round({})


def test_a_frame_too_long_for_the_underlay_is_reported_and_lost_alone(lab):
    """A guest may send frames that fit its own device and, with the outer header, do not fit the uplink's."""
    switch = lab.switch
    switch.accept(*EVERYTHING)
    lab.round({})
    long = udp(HERE, THERE, ip={"flags": "DF"}, payload=bytes(1600 - 28))
    lab.here.send([long] * 20)
    fits = udp(HERE, THERE, payload=b"fits")
    lab.here.send([fits])
    assert_encapsulated(lab.uplink.receive(1), [(fits, 5, B)], src_mac=host_mac(A))
    told = lab.here.receive(20)
    assert len(told) == 20 and all(map(is_error, told))
    assert switch.counters().drops[HERE_PORT] == {"too_big": 20}
    lab.round({})
    switch.terminate()


def test_an_uplink_that_is_down_for_a_while_stops_nothing_else(lab):
    switch = lab.switch
    switch.accept(*EVERYTHING)
    lab.round({})
    run("ip", "link", "set", lab.uplink_device, "down")
    for _ in range(40):
        lab.here.send([udp(HERE, THERE)] * 50)
        local = udp(HERE, ALSO_HERE, payload=struct.pack(">I", 7))
        lab.here.send([local])
        lab.also_here.expect([local])
    switch.accept(goal.delete(NEIGHBOR), NEIGHBOR)
    run("ip", "link", "set", lab.uplink_device, "up")
    marker = udp(HERE, THERE, payload=b"up again")

    def comes_through():
        lab.here.send([marker])
        return any(frame.endswith(b"up again") for frame in lab.uplink.receive(1, seconds=0.2))

    eventually("packets leave again", comes_through)
    switch.terminate()
