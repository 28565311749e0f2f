# SPDX-License-Identifier: MIT
"""Guests of one subnet: on one host, on two, and where nobody is."""

from __future__ import annotations

import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

import goal
from frames import assert_encapsulated, assert_frames, packet, tcp, udp, vxlan
from plan import A, B, C, Subnet, host_mac
from replays import UPLINK

NET = Subnet(5)
HERE, ALSO_HERE, THERE = NET.guest(A, 1), NET.guest(A, 2), NET.guest(B, 1)
STATES = [goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.port(ALSO_HERE), goal.neighbor(THERE)]


def test_guests_of_one_host_reach_each_other_with_frames_untouched(replay):
    to, back = udp(HERE, ALSO_HERE, ttl=1, tos=0xBB), tcp(ALSO_HERE, HERE)
    done = replay(STATES, guests=[(HERE, [to]), (ALSO_HERE, [back])])
    assert done.sent == [[], [back], [to]]


def test_a_guest_of_another_host_gets_the_frame_in_vxlan(replay):
    frames = [udp(HERE, THERE, sport=1000 + n, payload=bytes(n)) for n in range(200)]
    done = replay(STATES, guests=[(HERE, frames)])
    ports = assert_encapsulated(done.sent[UPLINK], [(frame, 5, B) for frame in frames])
    assert len(set(ports)) > 150, "flows spread over the source ports"


def test_one_flow_keeps_its_source_port_whatever_its_packets_are(replay):
    sizes = [udp(HERE, THERE, payload=bytes(n), ttl=n % 200 + 1, tos=n % 256) for n in range(100)]
    other = [tcp(HERE, THERE, payload=bytes(n)) for n in range(100)]
    mixed = [frame for pair in zip(sizes, other) for frame in pair]
    done = replay(STATES, guests=[(HERE, mixed)])
    ports = assert_encapsulated(done.sent[UPLINK], [(frame, 5, B) for frame in mixed])
    assert len(set(ports)) == 2, "two flows"


def test_vxlan_for_a_guest_here_is_decapsulated(replay):
    frames = [udp(THERE, HERE, payload=bytes(n)) for n in range(100)]
    done = replay(STATES, underlay=[vxlan(frame, 5, src=B) for frame in frames], guests=[(HERE, [])])
    assert_frames(done.sent[1], frames)
    assert done.sent[UPLINK] == []


def test_what_one_host_sends_another_delivers_unchanged(replay):
    frames = [udp(HERE, THERE, sport=1000 + n % 10, payload=bytes([n] * n)) for n in range(100)]
    sent = replay(STATES, guests=[(HERE, frames)]).sent[UPLINK]
    at_b = [goal.vpc(NET), goal.subnet(NET), goal.port(THERE), goal.neighbor(HERE)]
    answers = [udp(THERE, HERE, sport=n) for n in range(50)]
    done = replay(at_b, underlay=sent, guests=[(THERE, answers)], host=B)
    assert_frames(done.sent[1], frames)
    assert_encapsulated(done.sent[UPLINK], [(frame, 5, A) for frame in answers], src=B)
    back = replay(STATES, underlay=done.sent[UPLINK], guests=[(HERE, [])])
    assert_frames(back.sent[1], answers)


def test_a_vni_has_24_bits(replay):
    net = Subnet(0xABCDEF)
    here, there = net.guest(A), net.guest(B)
    to, back = udp(here, there), udp(there, here)
    states = [goal.vpc(net), goal.subnet(net), goal.port(here), goal.neighbor(there)]
    done = replay(states, underlay=[vxlan(back, 0xABCDEF, src=B)], guests=[(here, [to])])
    assert_encapsulated(done.sent[UPLINK], [(to, 0xABCDEF, B)])
    assert done.sent[1] == [back]


def test_a_subnet_without_a_vni_has_that_of_its_vpc(replay):
    to = udp(HERE, THERE)
    for unset in (0, 2**63 - 1, 2**64 - 1):
        states = [goal.vpc(NET), goal.subnet(NET, tunnel_id=unset), goal.port(HERE), goal.neighbor(THERE)]
        done = replay(states, guests=[(HERE, [to])])
        assert_encapsulated(done.sent[UPLINK], [(to, 5, B)])


def test_a_subnets_own_vni_comes_before_that_of_its_vpc(replay):
    to = udp(HERE, THERE)
    states = [goal.vpc(NET, tunnel_id=77), goal.subnet(NET), goal.port(HERE), goal.neighbor(THERE)]
    done = replay(states, guests=[(HERE, [to])])
    assert_encapsulated(done.sent[UPLINK], [(to, 5, B)])


def test_the_configuration_names_the_mac_of_a_host_that_the_controller_does_not(replay):
    to, far = udp(HERE, THERE), NET.guest(C)
    states = [
        *STATES[:3],
        goal.neighbor(THERE, host_mac_named=False),
        goal.neighbor(far, host_mac_named=False),
    ]
    config = [f"set underlay neighbor 192.0.2.2 {host_mac(B)}", "set underlay gateway 192.0.2.254 02:00:c0:00:02:fe"]
    done = replay(states, guests=[(HERE, [to, udp(HERE, far)])], config=config[:1] + config[1:])
    assert_encapsulated(done.sent[UPLINK][:1], [(to, 5, B)])
    assert_encapsulated(done.sent[UPLINK][1:], [(udp(HERE, far), 5, C)], dst_mac="02:00:c0:00:02:fe")


def test_a_neighbor_that_moved_is_reached_on_its_new_host(replay):
    to = udp(HERE, THERE)
    messages = [goal.v1(*STATES), goal.v1(goal.neighbor(THERE, host=C))]
    done = replay(messages, guests=[(HERE, [to])])
    assert_encapsulated(done.sent[UPLINK], [(to, 5, C)])


def test_l3_neighbors_are_switched_to_as_well(replay):
    to = udp(HERE, THERE)
    states = [*STATES[:3], goal.neighbor(THERE, kind="L3")]
    done = replay(states, guests=[(HERE, [to])])
    assert_encapsulated(done.sent[UPLINK], [(to, 5, B)])


def test_a_mac_that_nobody_told_us_about_is_unknown(replay):
    done = replay(STATES, guests=[(HERE, [udp(HERE, NET.guest(B, 99))])])
    assert done.silent and done.drops(1) == {"unknown_mac": 1}


def test_broadcast_and_multicast_are_never_flooded(replay):
    arp = bytes(Ether(src=HERE.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=HERE.mac, psrc=HERE.ip, pdst=NET.guest(B, 77).ip))
    multicast = udp(HERE, THERE, eth_dst="01:00:5e:00:00:fb")
    from_there = bytes(Ether(src=THERE.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=THERE.mac, psrc=THERE.ip, pdst=HERE.ip))
    v6 = bytes(Ether(src=THERE.mac, dst="33:33:00:00:00:01") / IPv6(src="fe80::1", dst="ff02::1") / UDP())
    done = replay(
        STATES,
        underlay=[vxlan(from_there, 5, src=B), vxlan(v6, 5, src=B)],
        guests=[(HERE, [arp, multicast]), (ALSO_HERE, [])],
    )
    assert done.silent
    assert done.drops(1) == {"not_flooded": 2} and done.drops(UPLINK) == {"not_flooded": 2}


def test_vlan_tags_are_not_carried(replay):
    tagged = bytes(Ether(src=HERE.mac, dst=THERE.mac) / Dot1Q(vlan=5) / packet(HERE, THERE).payload)
    double = bytes(Ether(src=HERE.mac, dst=THERE.mac, type=0x88A8) / Dot1Q(vlan=5, type=0x8100) / Dot1Q(vlan=6) / packet(HERE, THERE).payload)
    from_there = bytes(Ether(src=THERE.mac, dst=HERE.mac) / Dot1Q(vlan=5) / packet(THERE, HERE).payload)
    done = replay(STATES, underlay=[vxlan(from_there, 5, src=B)], guests=[(HERE, [tagged, double])])
    assert done.silent
    assert done.drops(1) == {"vlan_tagged": 2} and done.drops(UPLINK) == {"vlan_tagged": 1}


@pytest.mark.parametrize("source", ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "03:00:05:01:00:01"])
def test_a_source_that_is_no_station_is_refused(replay, source):
    bad = udp(HERE, THERE, eth_src=source)
    back = udp(THERE, HERE, eth_src=source)
    done = replay(STATES, underlay=[vxlan(back, 5, src=B)], guests=[(HERE, [bad])])
    assert done.silent
    assert done.drops(1) == {"bad_source_mac": 1} and done.drops(UPLINK) == {"bad_source_mac": 1}


def test_a_frame_for_its_own_sender_does_not_come_back(replay):
    done = replay(STATES, guests=[(HERE, [udp(HERE, HERE)])])
    assert done.silent and done.drops(1) == {"same_port": 1}


def test_what_is_not_ip_is_switched_like_anything(replay):
    arp = bytes(Ether(src=HERE.mac, dst=THERE.mac) / ARP(hwsrc=HERE.mac, psrc=HERE.ip, pdst=THERE.ip, op=2))
    odd = bytes(Ether(src=HERE.mac, dst=THERE.mac, type=0x88B5) / Raw(b"experiment"))
    v6 = bytes(Ether(src=HERE.mac, dst=THERE.mac) / IPv6(src="fd00::1", dst="fd00::2", tc=0xB9) / TCP())
    frames = [arp, odd, v6]
    done = replay(STATES, guests=[(HERE, frames)])
    assert_encapsulated(done.sent[UPLINK], [(frame, 5, B) for frame in frames])
    back = [bytes(Ether(src=THERE.mac, dst=HERE.mac, type=0x88B5) / Raw(b"experiment"))]
    done = replay(STATES, underlay=[vxlan(frame, 5, src=B) for frame in back], guests=[(HERE, [])])
    assert_frames(done.sent[1], back)


def test_padding_of_a_short_frame_is_carried_with_it(replay):
    padded = udp(HERE, THERE, payload=b"x").ljust(60, b"\0")
    done = replay(STATES, guests=[(HERE, [padded])])
    assert_encapsulated(done.sent[UPLINK], [(padded, 5, B)])


def test_a_port_that_is_down_neither_sends_nor_receives(replay):
    states = [*STATES[:2], goal.port(HERE, up=False), goal.port(ALSO_HERE), goal.neighbor(THERE)]
    done = replay(
        states,
        underlay=[vxlan(udp(THERE, HERE), 5, src=B)],
        guests=[(HERE, [udp(HERE, THERE)]), (ALSO_HERE, [udp(ALSO_HERE, HERE)])],
    )
    assert done.silent
    assert [done.drops(port) for port in (0, 1, 2)] == [{"port_down": 1}] * 3


def test_a_port_that_nothing_is_bound_to_is_unbound(replay):
    done = replay(STATES, guests=[(None, [udp(HERE, THERE)]), (ALSO_HERE, [udp(ALSO_HERE, HERE)])])
    assert done.silent
    assert done.drops(1) == {"port_unbound": 1}
    # The controller described HERE, and no port is it.
    assert done.drops(2) == {"unknown_mac": 1}


def test_a_port_that_the_controller_never_described_is_unbound(replay):
    done = replay(STATES, guests=[(NET.guest(A, 50), [udp(HERE, THERE)])])
    assert done.silent and done.drops(1) == {"port_unbound": 1}


def test_a_local_port_wins_over_a_neighbor_with_its_addresses(replay):
    to = udp(ALSO_HERE, HERE)
    states = [*STATES, goal.neighbor(HERE, host=B, id="stale")]
    done = replay(states, guests=[(HERE, []), (ALSO_HERE, [to])])
    assert done.sent == [[], [to], []]
