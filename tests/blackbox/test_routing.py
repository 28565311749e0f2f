# SPDX-License-Identifier: MIT
"""Between subnets: by route table, then by neighbor; on the way out as the host's router, on the way in as the gateway."""

from __future__ import annotations

import pytest
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

import goal
from frames import assert_encapsulated, assert_frames, is_error, tcp, to_gateway, udp, vxlan
from plan import A, B, C, DVR_MAC, Subnet
from replays import UPLINK

ONE = Subnet(5), Subnet(6, of_vpc="vpc-5")
"""Two subnets of one VPC, each with a VNI."""
SHARED = Subnet(7, half=0), Subnet(7, half=1)
"""Two subnets of one VPC that share its VNI, as Alcor makes them."""


def states(near: Subnet, far: Subnet, *more):
    """Router, both subnets, one guest of the first here, one of the second there."""
    return [
        goal.vpc(near),
        goal.subnet(near),
        goal.subnet(far),
        goal.router(near, far),
        goal.port(near.guest(A)),
        goal.neighbor(far.guest(B), kind="L3"),
        *more,
    ]


def routed(src, dst, **fields) -> bytes:
    """How a packet of TTL 64 looks between the hosts: from the host's router, to the guest, one hop older."""
    return udp(src, dst, **({"eth_src": DVR_MAC, "ttl": 63} | fields))


@pytest.mark.parametrize("near, far", [ONE, SHARED], ids=["a VNI each", "one VNI"])
def test_a_packet_to_the_gateway_is_routed_into_the_destinations_subnet(replay, near, far):
    here, there = near.guest(A), far.guest(B)
    frames = [to_gateway(here, there, sport=1000 + n, tos=n) for n in range(64)]
    done = replay(states(near, far), guests=[(here, frames)])
    expected = [routed(here, there, sport=1000 + n, tos=n) for n in range(64)]
    assert_encapsulated(done.sent[UPLINK], [(frame, far.vni, B) for frame in expected])


@pytest.mark.parametrize("near, far", [ONE, SHARED], ids=["a VNI each", "one VNI"])
def test_what_another_host_routed_comes_from_the_gateway(replay, near, far):
    here, there = near.guest(A), far.guest(B)
    underlay = [vxlan(routed(there, here, eth_src=mac), near.vni, src=B) for mac in (DVR_MAC, "fe:16:11:ab:cd:ef")]
    done = replay(states(near, far), underlay=underlay, guests=[(here, [])])
    restored = udp(there, here, eth_src=near.gateway_mac, ttl=63)
    assert_frames(done.sent[1], [restored, restored])


@pytest.mark.parametrize("near, far", [ONE, SHARED], ids=["a VNI each", "one VNI"])
def test_guests_of_two_subnets_on_one_host_are_routed_without_leaving_it(replay, near, far):
    one, two = near.guest(A), far.guest(A)
    all = [*states(near, far)[:5], goal.port(two)]
    done = replay(all, guests=[(one, [to_gateway(one, two)]), (two, [to_gateway(two, one, ttl=2)])])
    assert done.sent[UPLINK] == []
    assert_frames(done.sent[1], [udp(two, one, eth_src=near.gateway_mac, ttl=1)])
    assert_frames(done.sent[2], [udp(one, two, eth_src=far.gateway_mac, ttl=63)])


@pytest.mark.parametrize("near, far", [ONE, SHARED], ids=["a VNI each", "one VNI"])
def test_two_hosts_route_to_each_other_and_back(replay, near, far):
    here, there = near.guest(A), far.guest(B)
    at_b = [
        goal.vpc(near),
        goal.subnet(near),
        goal.subnet(far),
        goal.router(near, far),
        goal.port(there),
        goal.neighbor(here, kind="L3"),
    ]
    to = [to_gateway(here, there, sport=n) for n in range(1000, 1040)]
    back = [to_gateway(there, here, sport=n) for n in range(1000, 1040)]
    out = replay(states(near, far), guests=[(here, to)]).sent[UPLINK]
    b = replay(at_b, underlay=out, guests=[(there, back)], host=B)
    assert_frames(b.sent[1], [udp(here, there, sport=n, eth_src=far.gateway_mac, ttl=63) for n in range(1000, 1040)])
    a = replay(states(near, far), underlay=b.sent[UPLINK], guests=[(here, [])])
    assert_frames(a.sent[1], [udp(there, here, sport=n, eth_src=near.gateway_mac, ttl=63) for n in range(1000, 1040)])


def test_in_a_shared_vni_the_gateway_is_that_of_the_destinations_subnet(replay):
    """A port with addresses in both subnets: only the packet's destination says which gateway it came through."""
    lower, upper = SHARED
    here = lower.guest(A), upper.guest(A)
    other = Subnet(8, of_vpc="vpc-7")
    there = other.guest(B)
    all = [
        goal.vpc(lower),
        *(goal.subnet(each) for each in (lower, upper, other)),
        goal.router(lower, upper, other),
        goal.port(*here),
        goal.neighbor(there, kind="L3"),
    ]
    came = [routed(there, here[n], eth_dst=here[0].mac) for n in (0, 1)]
    done = replay(all, underlay=[vxlan(frame, 7, src=B) for frame in came], guests=[(here[0], [])])
    gateways = lower.gateway_mac, upper.gateway_mac
    assert_frames(done.sent[1], [udp(there, here[n], eth_src=gateways[n], eth_dst=here[0].mac, ttl=63) for n in (0, 1)])


def test_a_switched_frame_keeps_its_source(replay):
    """Restoring is for routers' addresses only."""
    near, far = ONE
    here, there = near.guest(A), near.guest(B)
    frames = [udp(there, here, eth_src=mac) for mac in (there.mac, "fe:16:10:00:00:00", "fe:16:12:00:00:00", "02:16:11:00:00:00")]
    done = replay(states(near, far), underlay=[vxlan(frame, 5, src=B) for frame in frames], guests=[(here, [])])
    assert_frames(done.sent[1], frames)


def test_a_used_up_time_to_live_ends_at_the_router(replay):
    near, far = ONE
    here, there, local = near.guest(A), far.guest(B), far.guest(A)
    frames = [to_gateway(here, to, ttl=ttl) for to in (there, local) for ttl in (0, 1)]
    lives = to_gateway(here, there, ttl=2)
    done = replay(states(near, far, goal.port(local)), guests=[(here, [*frames, lives]), (local, [])])
    assert done.drops(1) == {"ttl_expired": 4}
    assert_encapsulated(done.sent[UPLINK], [(routed(here, there, ttl=1), 6, B)])
    assert done.sent[2] == []
    assert len(done.sent[1]) == 4 and all(map(is_error, done.sent[1]))


def test_a_switched_packet_keeps_its_time_to_live(replay):
    near, far = ONE
    here, there = near.guest(A), near.guest(B)
    frames = [udp(here, there, ttl=ttl) for ttl in (0, 1, 255)]
    done = replay(states(near, far, goal.neighbor(there)), guests=[(here, frames)])
    assert_encapsulated(done.sent[UPLINK], [(frame, 5, B) for frame in frames])


def test_every_checksum_is_right_after_routing(replay):
    """The checksum is updated, not computed anew: wrap-arounds are where such code errs."""
    near, far = ONE
    here, there = near.guest(A), far.guest(B)
    fields = [{"ttl": ttl, "ip": {"id": id}} for ttl in (2, 3, 64, 128, 255) for id in (0, 1, *range(0x0100, 0xFFFF, 0x0FFF), 0xFFFF)]
    frames = [to_gateway(here, there, **each) for each in fields]
    done = replay(states(near, far), guests=[(here, frames)])
    expected = [routed(here, there, ttl=each["ttl"] - 1, ip=each["ip"]) for each in fields]
    assert_encapsulated(done.sent[UPLINK], [(frame, 6, B) for frame in expected])


def test_a_destination_in_a_subnet_that_nobody_told_us_about_has_no_neighbor(replay):
    near, far = ONE
    here = near.guest(A)
    done = replay(states(near, far), guests=[(here, [to_gateway(here, far.guest(B, 99))])])
    assert done.silent and done.drops(1) == {"unknown_neighbor": 1}


def test_a_destination_outside_of_the_router_has_no_route(replay):
    near, far = ONE
    here = near.guest(A)
    done = replay(states(near, far), guests=[(here, [to_gateway(here, Subnet(99).guest(B))])])
    assert done.silent and done.drops(1) == {"no_route": 1}


def test_without_a_router_nothing_is_routed(replay):
    near, far = ONE
    here = near.guest(A)
    all = [state for state in states(near, far) if type(state).__name__ != "RouterState"]
    done = replay(all, guests=[(here, [to_gateway(here, far.guest(B))])])
    assert done.silent and done.drops(1) == {"no_route": 1}


def test_subnets_of_two_routers_do_not_reach_each_other(replay):
    near, far = ONE
    here = near.guest(A)
    all = [state for state in states(near, far) if type(state).__name__ != "RouterState"]
    done = replay([*all, goal.router(near, id="r1"), goal.router(far, id="r2")], guests=[(here, [to_gateway(here, far.guest(B))])])
    assert done.silent and done.drops(1) == {"no_route": 1}


def test_what_is_no_ip_is_not_routed_and_an_ipv4_router_has_no_route_for_ipv6(replay):
    near, far = ONE
    here = near.guest(A)
    v6 = bytes(Ether(src=here.mac, dst=near.gateway_mac) / IPv6(src="fd00::1", dst="fd00::2"))
    other = bytes(Ether(src=here.mac, dst=near.gateway_mac, type=0x88B5) / b"experiment")
    done = replay(states(near, far), guests=[(here, [v6, other])])
    assert done.silent and done.drops(1) == {"no_route": 1, "not_routable": 1}


def test_through_the_gateway_one_reaches_ones_own_subnet(replay):
    """A router forwards where its routes lead, also back to where a packet came from (RFC 1812 section 5.2.7.2)."""
    near, far = ONE
    here, there = near.guest(A), near.guest(B)
    done = replay(states(near, far, goal.neighbor(there)), guests=[(here, [to_gateway(here, there)])])
    assert_encapsulated(done.sent[UPLINK], [(routed(here, there), 5, B)])


def test_a_rule_leads_to_its_next_hop_and_the_longest_prefix_counts(replay):
    near, far = ONE
    here, wide, narrow = near.guest(A), far.guest(B, 1), far.guest(C, 1)
    rules = [
        ("0.0.0.0/0", wide.ip, 100),
        ("172.16.0.0/12", narrow.ip, 100),
        ("172.16.5.0/24", wide.ip, 100),
        ("172.16.5.9", narrow.ip, 100),
    ]
    all = [*states(near, far), goal.neighbor(narrow, kind="L3"), goal.router(near, far, rules=rules)]

    def packet(to, **fields):
        return udp(here, wide, ip={"dst": to}, **fields)

    destinations = {"8.8.8.8": wide, "172.16.0.1": narrow, "172.31.255.255": narrow, "172.32.0.0": wide, "172.16.5.8": wide, "172.16.5.9": narrow}
    frames = [packet(to, eth_dst=near.gateway_mac) for to in destinations]
    done = replay(all, guests=[(here, frames)])
    expected = [packet(to, eth_src=DVR_MAC, eth_dst=hop.mac, ttl=63) for to, hop in destinations.items()]
    assert_encapsulated(done.sent[UPLINK], [(frame, 6, hop.host) for frame, hop in zip(expected, destinations.values())])


def test_of_two_rules_for_one_prefix_the_lower_number_counts(replay):
    near, far = ONE
    here, first, second = near.guest(A), far.guest(B), far.guest(C)
    rules = [("172.16.0.0/12", second.ip, 200), ("172.16.0.0/12", first.ip, 100)]
    all = [*states(near, far), goal.neighbor(second, kind="L3"), goal.router(near, far, rules=rules)]
    frame = udp(here, first, ip={"dst": "172.16.1.1"}, eth_dst=near.gateway_mac)
    done = replay(all, guests=[(here, [frame])])
    expected = udp(here, first, ip={"dst": "172.16.1.1"}, eth_src=DVR_MAC, ttl=63)
    assert_encapsulated(done.sent[UPLINK], [(expected, 6, B)])


def test_a_next_hop_that_nobody_told_us_about_is_waited_for(replay):
    near, far = ONE
    here, hop = near.guest(A), far.guest(C)
    frame = udp(here, hop, ip={"dst": "172.16.1.1"}, eth_dst=near.gateway_mac)
    rule = goal.router(near, far, rules=[("172.16.0.0/12", hop.ip, 100)])
    done = replay([*states(near, far), rule], guests=[(here, [frame])])
    assert done.silent and done.drops(1) == {"unknown_neighbor": 1}
    messages = [goal.v1(*states(near, far), rule), goal.v1(goal.neighbor(hop, kind="L3"))]
    done = replay(messages, guests=[(here, [frame])])
    assert_encapsulated(done.sent[UPLINK], [(udp(here, hop, ip={"dst": "172.16.1.1"}, eth_src=DVR_MAC, ttl=63), 6, C)])


def test_resources_may_come_in_any_order_and_in_any_number_of_messages(replay):
    near, far = ONE
    here, there = near.guest(A), far.guest(B)
    all = states(near, far)
    for order in (all[::-1], all[3:] + all[:3]):
        done = replay([goal.v2(state) for state in order], guests=[(here, [to_gateway(here, there)])])
        assert_encapsulated(done.sent[UPLINK], [(routed(here, there), 6, B)])


def test_a_flow_through_the_router_is_one_flow(replay):
    near, far = ONE
    here, there = near.guest(A), far.guest(B)
    frames = [tcp(here, there, eth_dst=near.gateway_mac, payload=bytes(n)) for n in range(30)]
    done = replay(states(near, far), guests=[(here, frames)])
    expected = [tcp(here, there, eth_src=DVR_MAC, ttl=63, payload=bytes(n)) for n in range(30)]
    ports = assert_encapsulated(done.sent[UPLINK], [(frame, 6, B) for frame in expected])
    assert len(set(ports)) == 1


def test_a_subnets_own_table_replaces_its_routers_default_one_and_gives_way_to_it_again(replay):
    near, far = ONE
    here, there = near.guest(A), far.guest(B)
    by_default, by_own = "203.0.113.5", "198.51.100.5"
    default = goal.router(near, far)
    default.configuration.subnet_routing_tables.add().routing_rules.add(
        operation_type=goal.CREATE, id="default", destination="203.0.113.0/24", next_hop_ip=there.ip
    )  # fmt: skip
    own = goal.router(near, rules=[("198.51.100.0/24", there.ip, 1)])
    deleted = goal.router(near, rules=[("198.51.100.0/24", there.ip, 1)])
    deleted.configuration.subnet_routing_tables[0].routing_rules[0].operation_type = goal.DELETE
    another = goal.router(near, rules=[("198.51.100.0/24", there.ip, 1)], id="another")
    start = [goal.v1(*states(near, far)), goal.v1(default)]
    for more, way in (
        ([], by_default),
        ([own], by_own),
        ([own, deleted], by_default),
        ([another], by_own),
        ([another, goal.delete(another)], by_default),
        ([own, goal.router(near, far, full=True)], None),
    ):
        messages = start + [goal.v1(each) for each in more]
        frames = [to_gateway(here, there, ip={"dst": to}) for to in (by_default, by_own)]
        done = replay(messages, guests=[(here, frames)])
        expected = [(routed(here, there, ip={"dst": way}), 6, B)] if way else []
        assert_encapsulated(done.sent[UPLINK], expected)
        assert done.drops(1) == {"no_route": 1 if way else 2}
