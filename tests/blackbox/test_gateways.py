# SPDX-License-Identifier: MIT
"""Gateways of type ZETA: what lacks a neighbor goes to one of them, as the guest sent it."""

from __future__ import annotations

from collections import defaultdict

import pytest
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

import goal
from frames import encapsulated, flow, to_gateway, udp, vxlan
from kernel import ask_and_answer, exchange, vxlan_bridge
from plan import A, B, C, VXLAN_PORT, Subnet, host_ip, host_mac
from program import eventually
from replays import UPLINK

NET, FAR, APART = Subnet(5), Subnet(6, of_vpc="vpc-5"), Subnet(8)
HERE, THERE, FAR_THERE = NET.guest(A), NET.guest(B), FAR.guest(B)
GATEWAYS = 50, 51, 52


def states(*more, gateways=("zeta",)):
    """A guest here, in a VPC with gateways, and whom it is told of: one guest on host C."""
    return [
        goal.vpc(NET, gateways=gateways),
        goal.subnet(NET),
        goal.subnet(FAR),
        goal.router(NET, FAR, rules=[("203.0.113.0/24", NET.guest(C, 9).ip, 1)]),
        goal.port(HERE),
        goal.neighbor(NET.guest(C)),
        *more,
    ]


def who_has(ip: str, source: str = HERE.ip) -> bytes:
    return bytes(Ether(src=HERE.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=HERE.mac, psrc=source, pdst=ip))


def by_gateway(frames: list[bytes], inner: list[bytes], vni: int = 5) -> dict[int, list[bytes]]:
    """The inner frames that went to each gateway. Checks all bytes; what went is all of `inner`, in order."""
    went = defaultdict(list)
    assert len(frames) == len(inner)
    for frame, expected in zip(frames, inner):
        assert frame == encapsulated(frame, expected, vni, frame[33])
        went[frame[33]].append(expected)
    return went


def test_what_lacks_a_neighbor_goes_to_a_gateway_each_flow_to_one(replay):
    frames = [udp(HERE, THERE, sport=1000 + n // 2) for n in range(200)]
    frames += [to_gateway(HERE, FAR_THERE, sport=n, ttl=2) for n in range(100)]
    frames += [who_has(THERE.ip), who_has(NET.guest(B, 2).ip)]
    known = [udp(HERE, NET.guest(C)) for _ in range(3)]
    done = replay(states(goal.gateway("zeta", *GATEWAYS)), guests=[(HERE, frames + known)])
    sent = done.sent[UPLINK]
    went = by_gateway(sent[: len(frames)], frames)
    assert set(went) == set(GATEWAYS)
    assert all(len(inner) > 50 for inner in went.values()), {gateway: len(inner) for gateway, inner in went.items()}
    flows = [set(map(flow, inner)) for inner in went.values()]
    assert sum(map(len, flows)) == len(set().union(*flows)), "a flow goes to several gateways"
    assert sent[len(frames) :] == [encapsulated(frame, known[0], 5, C) for frame in sent[len(frames) :]]
    assert done.counters.ports[1]["to_gateway"] == len(frames)

    # One of them leaves: its flows move, and no others.
    fewer = replay(states(goal.gateway("zeta", *GATEWAYS[1:])), guests=[(HERE, frames)])
    now = by_gateway(fewer.sent[UPLINK], frames)
    assert set(now) == set(GATEWAYS[1:])
    for gateway in GATEWAYS[1:]:
        assert set(went[gateway]) <= set(now[gateway])


@pytest.mark.parametrize("first", ["gateway", "vpc"])
def test_gateways_come_before_or_after_their_vpc(replay, first):
    zeta = goal.gateway("zeta", 50)
    messages = [goal.v2(zeta), goal.v1(*states())]
    if first == "vpc":
        messages.reverse()
    frame = udp(HERE, THERE)
    done = replay(messages, guests=[(HERE, [frame])])
    assert set(by_gateway(done.sent[UPLINK], [frame])) == {50}


def test_ipv6_goes_to_a_gateway_likewise(replay):
    six = Subnet(5, version=6, of_vpc="vpc-5")
    here, there = six.guest(A), six.guest(B)
    asks = Ether(src=here.mac, dst="33:33:ff:02:00:01") / IPv6(src=here.ip, dst="ff02::1:ff02:1", hlim=255)
    asks /= ICMPv6ND_NS(tgt=there.ip) / ICMPv6NDOptSrcLLAddr(lladdr=here.mac)
    frames = [udp(here, there), bytes(asks)]
    all = [goal.vpc(NET, gateways=["zeta"]), goal.subnet(six), goal.port(here), goal.gateway("zeta", 50)]
    done = replay(all, guests=[(here, frames)])
    assert set(by_gateway(done.sent[UPLINK], frames)) == {50}


def test_what_no_gateway_knows_is_dropped(replay):
    unknown = Subnet(99).guest(B)
    denied = {
        "not_flooded": [
            udp(HERE, THERE, eth_dst="ff:ff:ff:ff:ff:ff"),
            udp(HERE, THERE, eth_dst="01:00:5e:00:00:01"),
            who_has(THERE.ip, "0.0.0.0"),
            who_has(HERE.ip),
            who_has(unknown.ip),
        ],
        "no_route": [to_gateway(HERE, unknown)],
        "unknown_neighbor": [to_gateway(HERE, unknown, ip={"dst": "203.0.113.5"})],
        "ttl_expired": [to_gateway(HERE, FAR_THERE, ttl=1)],
    }
    frames = [frame for frames in denied.values() for frame in frames]
    underlay = [vxlan(udp(NET.guest(C), THERE), 5, src=C)]
    done = replay(states(goal.gateway("zeta", *GATEWAYS)), underlay=underlay, guests=[(HERE, frames)])
    assert done.sent[UPLINK] == []
    assert done.drops(1) == {reason: len(frames) for reason, frames in denied.items()}
    assert done.drops(UPLINK) == {"unknown_mac": 1}
    assert done.counters.ports[1]["to_gateway"] == 0


def test_a_vpc_without_gateways_does_not_use_anothers(replay):
    other = APART.guest(A)
    more = goal.vpc(APART), goal.subnet(APART), goal.port(other), goal.gateway("zeta", 50)
    frame = udp(other, APART.guest(B))
    done = replay(states(*more), guests=[(HERE, [udp(HERE, THERE)]), (other, [frame])])
    assert set(by_gateway(done.sent[UPLINK], [udp(HERE, THERE)])) == {50}
    assert done.drops(2) == {"unknown_mac": 1}


def test_what_a_gateway_sends_reaches_the_guest(replay):
    back = udp(THERE, HERE)
    done = replay(states(goal.gateway("zeta", 50)), underlay=[vxlan(back, 5, src=50)], guests=[(HERE, [])])
    assert done.sent[1] == [back]


@pytest.mark.parametrize("rpc", ["push", "push_stream"])
def test_what_gateways_and_their_vpcs_are_answered_and_shown(switches, rpc):
    config = [
        "set mbufs 1024",
        "port attach net_null0",
        "port attach net_null1",
        f"port bind 1 {HERE.id}",
        "set vtep 192.0.2.1/24 port 0",
    ]
    switch = switches(config)
    push = getattr(switch, rpc)

    def answer(*pushed) -> list[str]:
        return [status for _, _, status in goal.status_names(push(*pushed))]

    def state(id: str) -> str:
        return next(row["state"] for row in switch.show("gateways") if row["id"] == id)

    assert answer(goal.gateway("zeta", 50)) == ["PENDING"]
    assert state("zeta") == "waiting: no VPC names it yet"
    vpc = goal.vpc(NET, gateways=["zeta", "later"])
    assert answer(vpc, goal.subnet(NET), goal.port(HERE)) == ["SUCCESS", "SUCCESS", "PENDING"]
    assert {"kind": "vpc", "id": "vpc-5", "reason": 'its gateway "later" is not known yet'} in switch.show("pending")
    assert state("zeta") == "ready"
    assert answer(goal.gateway("later", 51), goal.gateway("zeta", 50, 52), vpc) == ["SUCCESS"] * 3
    assert switch.show("pending") == []
    (row,) = (row for row in switch.show("gateways") if row["id"] == "zeta")
    assert (row["type"], row["vpcs"]) == ("ZETA", "vpc-5")
    assert row["destinations"] == ", ".join(f"{host_ip(host)} {host_mac(host)}" for host in (50, 52))
    for kind in ("DEFAULT", "TGW", "IGW", "NGW", "ARION"):
        assert answer(goal.gateway("other", 53, kind=kind)) == ["INVALID_ARG"], kind
        assert state("other").startswith("kept, but "), kind

    (told,) = switch.explain(1, "--packet", f"eth dst={THERE.mac} / ip dst={THERE.ip} / udp dport=53")
    assert told["outcome"] == "forwarded"
    (step,) = (step for step in told["steps"] if step["stage"] == "neighbor")
    assert step["text"].startswith(f"nobody told us of {THERE.ip}: left to the gateway at 192.0.2.5"), step
    ((kind, id),) = {(named["kind"].lower(), named["id"]) for named in step["because"]}
    assert kind == "gateway" and id in ("zeta", "later")

    old = goal.gateway("zeta", 54)
    newer = goal.gateway("zeta", 50)
    newer.configuration.revision_number = 3
    assert answer(newer) == ["SUCCESS"] and answer(old) == ["OUT_OF_ORDER"]
    later = goal.delete(goal.gateway("later"))
    assert answer(later) == answer(later) == ["SUCCESS"], "again, too"
    assert answer(vpc) == ["PENDING"]
    switch.terminate()


def test_a_kernel_behind_a_gateway_is_found_and_talks(networks, switches):
    """Nobody is told of but the gateway, which is a Linux host with a bridge: guests find each other through it."""
    guest, host, there = (networks.namespace(name) for name in ("ga", "hb", "gb"))
    uplink = networks.pair("u", host, "u", mac=host_mac(B), outer_mac=host_mac(A))
    tap = networks.tap("t")
    host.ip(f"address add {host_ip(B)}/24 dev u")
    host.ip(f"neigh add {host_ip(A)} lladdr {host_mac(A)} dev u")
    vxlan_bridge(host, there, THERE, f"local {host_ip(B)} remote {host_ip(A)} dstport {VXLAN_PORT}")
    switch = switches(
        [
            f"port attach net_af_packet0,iface={uplink}",
            "port config 0 mtu 1600",
            f"port attach net_tap1,iface={tap},mac={HERE.mac}",
            f"port bind 1 {HERE.id}",
            "set vtep 192.0.2.1/24 port 0",
            "start",
        ]
    )
    guest.take(tap)
    for namespace, machine in ((guest, HERE), (there, THERE)):
        namespace.ip("link set eth0 up")
        namespace.ip(f"address add {machine.ip}/16 dev eth0")
    switch.accept(goal.vpc(NET, gateways=["zeta"]), goal.subnet(NET), goal.port(HERE), goal.gateway("zeta", B))
    eventually("the guest's device is up", lambda: "LOWER_UP" in guest.ip("link show eth0"))
    ask_and_answer((guest, HERE.ip), (there, THERE.ip), (0, 1, 1000, 1472))
    assert f"{THERE.ip} lladdr {THERE.mac}" in guest.ip("neighbor show dev eth0"), "by ARP, through the gateway"
    exchange((guest, HERE.ip), (there, THERE.ip))
    exchange((there, THERE.ip), (guest, HERE.ip))
    assert switch.show("port stats all")[1]["to_gateway"] > 1000
    switch.terminate()
