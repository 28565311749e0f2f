# SPDX-License-Identifier: MIT
"""Tenants' IPv6, from outside: switched, routed, the first hop's neighbor discovery, what senders are told, who may send.
Frames and checksums are scapy's; tshark verifies what the switch made or changed."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_RS
from scapy.layers.inet6 import ICMPv6NDOptDstLLAddr, ICMPv6NDOptMTU, ICMPv6NDOptPrefixInfo, ICMPv6NDOptRDNSS, ICMPv6NDOptSrcLLAddr
from scapy.layers.inet6 import ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import goal
from frames import assert_encapsulated, assert_frames, is_error, tcp, to_gateway, udp, vxlan
from plan import A, B, C, DVR_MAC, Subnet, link_local
from program import Port, pcap_ports
from tshark import assert_sound

FOUR = Subnet(5)
NEAR, FAR = Subnet(5, version=6), Subnet(6, of_vpc="vpc-5", version=6)
HERE, ALSO_HERE, THERE, FAR_THERE = NEAR.guest(A), NEAR.guest(A, 2), NEAR.guest(B), FAR.guest(B)
STATES = [
    goal.vpc(NEAR),
    goal.subnet(FOUR),
    goal.subnet(NEAR),
    goal.subnet(FAR),
    goal.router(NEAR, FAR),
    goal.port(FOUR.guest(A), HERE),
    goal.port(ALSO_HERE),
    goal.neighbor(THERE),
    goal.neighbor(FAR_THERE, kind="L3"),
]
UPLINK, HERE_PORT, ALSO_PORT = 0, 1, 2
PORT = 40_000
"""Of nothing that tshark knows."""
ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"


def guests(frames: list[bytes], also: list[bytes] = ()):
    return [(HERE, frames), (ALSO_HERE, list(also))]


def routed(src, dst, **fields) -> bytes:
    """How a packet of hop limit 64 looks between the hosts."""
    return udp(src, dst, **({"eth_src": DVR_MAC, "ttl": 63} | fields))


def solicitation(target: str, src: str, mac: str = HERE.mac) -> bytes:
    """Who has this address? Without an own one it is to find out whether it is free."""
    group = IPv6Address(target).packed[-3:]
    to = f"ff02::1:ff{group[0]:02x}:{group[1]:02x}{group[2]:02x}"
    message = IPv6(src=src, dst=to, hlim=255) / ICMPv6ND_NS(tgt=target)
    if src != "::":
        message = message / ICMPv6NDOptSrcLLAddr(lladdr=mac)
    return bytes(Ether(src=mac, dst=f"33:33:ff:{group[0]:02x}:{group[1]:02x}:{group[2]:02x}") / message)


def test_guests_of_one_subnet_reach_each_other_by_mac(replay, tmp_path):
    frames = [frame for to in (THERE, ALSO_HERE) for frame in (udp(HERE, to, tos=0xB9, dport=PORT), tcp(HERE, to, dport=PORT))]
    back = [udp(THERE, HERE), tcp(THERE, HERE, ttl=1)]
    done = replay(STATES, underlay=[vxlan(frame, NEAR.vni, src=B) for frame in back], guests=guests(frames))
    assert_encapsulated(done.sent[UPLINK], [(frame, NEAR.vni, B) for frame in frames[:2]])
    assert_frames(done.sent[ALSO_PORT], frames[2:])
    assert_frames(done.sent[HERE_PORT], back)
    assert_sound(tmp_path, done.sent[UPLINK], udp=1, tcp=1)


def test_what_is_for_another_subnet_is_routed_there_and_back(replay, tmp_path):
    frames = [to_gateway(HERE, FAR_THERE, sport=1000 + n, tos=n, dport=PORT) for n in range(40)]
    came = vxlan(routed(FAR_THERE, HERE, eth_dst=HERE.mac), NEAR.vni, src=B)
    done = replay(STATES, underlay=[came], guests=guests(frames))
    expected = [routed(HERE, FAR_THERE, sport=1000 + n, tos=n, dport=PORT) for n in range(40)]
    assert_encapsulated(done.sent[UPLINK], [(frame, FAR.vni, B) for frame in expected])
    assert_frames(done.sent[HERE_PORT], [udp(FAR_THERE, HERE, eth_src=NEAR.gateway_mac, ttl=63)])
    assert_sound(tmp_path, done.sent[UPLINK], udp=40)


def test_guests_of_two_subnets_on_one_host_are_routed_without_leaving_it(replay):
    near, far = NEAR.guest(A), FAR.guest(A)
    states = [*STATES[:5], goal.port(near), goal.port(far)]
    done = replay(states, guests=[(near, [to_gateway(near, far)]), (far, [to_gateway(far, near, ttl=2)])])
    assert done.sent[UPLINK] == []
    assert_frames(done.sent[1], [udp(far, near, eth_src=NEAR.gateway_mac, ttl=1)])
    assert_frames(done.sent[2], [udp(near, far, eth_src=FAR.gateway_mac, ttl=63)])


def test_a_rule_leads_to_its_next_hop_and_the_longest_prefix_counts(replay):
    wide, narrow = FAR.guest(B, 1), FAR.guest(C, 1)
    rules = [
        ("::/0", wide.ip, 100),
        ("2001:db8:a000::/36", narrow.ip, 100),
        ("2001:db8:a500::/40", wide.ip, 100),
        ("2001:db8:a500::9", narrow.ip, 100),
        ("2001:db8:a500::9", wide.ip, 200),
    ]
    states = [*STATES, goal.neighbor(narrow, kind="L3"), goal.router(NEAR, FAR, rules=rules)]
    destinations = {"2001:4860::8": wide, "2001:db8:a000::1": narrow, "2001:db8:afff::1": narrow, "2001:db8:b000::": wide, "2001:db8:a500::8": wide, "2001:db8:a500::9": narrow}

    def packet(to, **fields):
        return udp(HERE, wide, ip={"dst": to}, **fields)

    frames = [packet(to, eth_dst=NEAR.gateway_mac) for to in destinations]
    done = replay(states, guests=guests(frames))
    expected = [packet(to, eth_src=DVR_MAC, eth_dst=hop.mac, ttl=63) for to, hop in destinations.items()]
    assert_encapsulated(done.sent[UPLINK], [(frame, FAR.vni, hop.host) for frame, hop in zip(expected, destinations.values())])


def test_resources_may_come_in_any_order_and_in_any_number_of_messages(replay):
    for order in (STATES[::-1], STATES[5:] + STATES[:5]):
        done = replay([goal.v2(state) for state in order], guests=guests([to_gateway(HERE, FAR_THERE)]))
        assert_encapsulated(done.sent[UPLINK], [(routed(HERE, FAR_THERE), FAR.vni, B)])


def test_solicitations_are_answered_for_gateway_and_neighbors_and_nobody_else_hears_them(replay, tmp_path):
    known = [
        (NEAR.gateway_ip, NEAR.gateway_mac, 1),
        (link_local(NEAR.gateway_mac), NEAR.gateway_mac, 1),
        (THERE.ip, THERE.mac, 0),
        (ALSO_HERE.ip, ALSO_HERE.mac, 0),
    ]
    unknown = [NEAR.guest(B, 77).ip, FAR_THERE.ip, HERE.ip]
    frames = [solicitation(ip, HERE.ip) for ip in [*(ip for ip, _, _ in known), *unknown]]
    done = replay(STATES, guests=guests(frames))
    assert done.sent[UPLINK] == done.sent[ALSO_PORT] == []
    sent = list(map(Ether, done.sent[HERE_PORT]))
    answers = [frame for frame in sent if ICMPv6ND_NA in frame]
    # Who asks for the gateway is told of it again, once in a while.
    assert len(answers) == len(known) and len([frame for frame in sent if ICMPv6ND_RA in frame]) == len(sent) - len(answers) == 1
    for answer, (ip, mac, router) in zip(answers, known):
        assert (answer.src, answer.dst) == (mac, HERE.mac)
        assert (answer[IPv6].src, answer[IPv6].dst, answer[IPv6].hlim) == (ip, HERE.ip, 255)
        assert (answer[ICMPv6ND_NA].tgt, answer[ICMPv6ND_NA].R, answer[ICMPv6ND_NA].S) == (ip, router, 1)
        assert answer[ICMPv6NDOptDstLLAddr].lladdr == mac
    assert_sound(tmp_path, done.sent[HERE_PORT], icmpv6=len(sent))


def test_a_guest_finds_out_whether_an_address_is_free(replay, tmp_path):
    """Duplicate address detection (RFC 4862 section 5.4): others' addresses are defended, its own is free."""
    own = [HERE.ip, HERE.link_local]
    frames = [solicitation(ip, "::") for ip in (THERE.ip, NEAR.gateway_ip, *own)]
    done = replay(STATES, guests=guests(frames))
    answers = [Ether(frame) for frame in done.sent[HERE_PORT]]
    assert [answer[ICMPv6ND_NA].tgt for answer in answers] == [THERE.ip, NEAR.gateway_ip]
    for answer in answers:
        assert (answer.dst, answer[IPv6].dst, answer[ICMPv6ND_NA].S) == ("33:33:00:00:00:01", ALL_NODES, 0)
    assert done.sent[ALSO_PORT] == done.sent[UPLINK] == []
    assert_sound(tmp_path, done.sent[HERE_PORT], icmpv6=2)
    # To ask for an address is to claim it: sent to who has it, the question would make that one give it up.
    done = replay(STATES, guests=guests(frames), config=["set anti-spoofing on"])
    assert done.sent == [[], [], []]
    assert done.drops(HERE_PORT) == {"spoofed_arp": 2, "not_flooded": 2}


def test_a_router_says_who_it_is_and_what_the_subnet_says(replay, tmp_path):
    subnet = goal.subnet(NEAR)
    for server in ("2001:db8::53", "192.0.2.53", "2001:db8::54"):
        subnet.configuration.dns_entry_list.add(entry=server)
    states = [subnet if state == goal.subnet(NEAR) else state for state in STATES]
    asked = bytes(Ether(src=HERE.mac, dst="33:33:00:00:00:02") / IPv6(src=HERE.link_local, dst=ALL_ROUTERS, hlim=255) / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=HERE.mac))
    done = replay(states, guests=guests([asked]))
    (frame,) = done.sent[HERE_PORT]
    said = Ether(frame)
    assert (said.src, said[IPv6].src, said[IPv6].hlim) == (NEAR.gateway_mac, link_local(NEAR.gateway_mac), 255)
    assert (said[ICMPv6ND_RA].M, said[ICMPv6ND_RA].O) == (0, 0) and said[ICMPv6ND_RA].routerlifetime > 0
    assert (said[ICMPv6NDOptPrefixInfo].prefix, said[ICMPv6NDOptPrefixInfo].prefixlen, said[ICMPv6NDOptPrefixInfo].L) == ("2001:db8:5::", 64, 1)
    assert said[ICMPv6NDOptMTU].mtu == 1450
    assert said[ICMPv6NDOptRDNSS].dns == ["2001:db8::53", "2001:db8::54"]
    assert said[ICMPv6NDOptSrcLLAddr].lladdr == NEAR.gateway_mac
    assert_sound(tmp_path, done.sent[HERE_PORT], icmpv6=1)


def test_a_guest_that_sends_by_its_router_without_a_pause_is_told_of_it_unasked(replay, tmp_path):
    done = replay(STATES, guests=guests([to_gateway(HERE, FAR_THERE)] * 3000), config=["set burst 1"])
    assert len(done.sent[UPLINK]) == 3000
    (frame,) = done.sent[HERE_PORT]
    said = Ether(frame)
    assert (said.dst, said[IPv6].src, said[IPv6].dst) == ("33:33:00:00:00:01", link_local(NEAR.gateway_mac), ALL_NODES)
    assert said[ICMPv6ND_RA].routerlifetime == 65535 and said[ICMPv6NDOptPrefixInfo].prefix == "2001:db8:5::"
    assert_sound(tmp_path, done.sent[HERE_PORT], icmpv6=1)


@pytest.mark.parametrize("size", [0, 1, 56, 1402])
def test_gateways_answer_echo_requests(replay, size):
    def echo(layer, source: str, to: str, **ethernet) -> bytes:
        return bytes(Ether(**ethernet) / IPv6(src=source, dst=to, hlim=64) / layer(id=3, seq=4, data=(bytes(range(256)) * 6)[:size]))

    gateways = (NEAR.gateway_ip, FAR.gateway_ip)
    requests = [echo(ICMPv6EchoRequest, HERE.ip, to, src=HERE.mac, dst=NEAR.gateway_mac) for to in gateways]
    done = replay(STATES, guests=guests(requests))
    assert_frames(done.sent[HERE_PORT], [echo(ICMPv6EchoReply, to, HERE.ip, src=NEAR.gateway_mac, dst=HERE.mac) for to in gateways])


def test_what_goes_no_further_is_reported_to_its_sender(replay, tmp_path):
    stranger = FAR.guest(B, 77)
    sent = [
        (to_gateway(HERE, FAR_THERE, ttl=1), ICMPv6TimeExceeded, 0),
        (bytes(Ether(src=HERE.mac, dst=NEAR.gateway_mac) / IPv6(src=HERE.ip, dst="2001:db8:ffff::9") / UDP(sport=1, dport=2) / Raw(b"x" * 1300)), ICMPv6DestUnreach, 0),
        (to_gateway(HERE, stranger), ICMPv6DestUnreach, 3),
        (bytes(Ether(src=HERE.mac, dst=THERE.mac) / IPv6(src=HERE.ip, dst=THERE.ip) / UDP(sport=1, dport=2) / Raw(b"x" * 1403)), ICMPv6PacketTooBig, 0),
        (to_gateway(HERE, FAR_THERE, payload=b"x" * 1403), ICMPv6PacketTooBig, 0),
    ]
    done = replay(STATES, guests=guests([frame for frame, _, _ in sent]))
    assert done.drops(HERE_PORT) == {"ttl_expired": 1, "no_route": 1, "unknown_neighbor": 1, "too_big": 2}
    told = done.sent[HERE_PORT]
    assert len(told) == len(sent) and all(map(is_error, told))
    for frame, (about, layer, code) in zip(told, sent, strict=True):
        packet = Ether(frame)
        assert packet.dst == HERE.mac and packet[IPv6].dst == HERE.ip
        assert packet[layer].code == code
        if layer == ICMPv6PacketTooBig:
            assert packet[layer].mtu == 1450
        assert frame[62:] == about[14 : 14 + len(frame) - 62], "as much of the packet as fits"
        assert len(frame) - 14 <= 1280
    assert_sound(tmp_path, told, icmpv6=len(told))


def test_what_just_fits_the_underlay_passes_and_a_byte_more_is_never_cut(replay):
    fits = udp(HERE, THERE, payload=b"x" * 1402)
    done = replay(STATES, guests=guests([fits, udp(HERE, THERE, payload=b"x" * 1403)]), config=["set fragment on"])
    assert_encapsulated(done.sent[UPLINK], [(fits, NEAR.vni, B)])
    assert done.drops(HERE_PORT) == {"too_big": 1}


def test_a_guest_that_lies_about_who_it_is_is_dropped_where_that_is_wanted(replay):
    lies = [
        udp(HERE, ALSO_HERE, eth_src=THERE.mac),
        udp(HERE, ALSO_HERE, ip={"src": THERE.ip}),
        udp(HERE, ALSO_HERE, ip={"src": THERE.link_local}),
    ]
    honest = [udp(HERE, ALSO_HERE), udp(HERE, ALSO_HERE, ip={"src": HERE.link_local}), udp(HERE, ALSO_HERE, ip={"src": "2001:db8:5:9::7"})]
    port = goal.port(FOUR.guest(A), HERE)
    port.configuration.allow_address_pairs.add(ip_address="2001:db8:5:9::/64")
    states = [port if state == goal.port(FOUR.guest(A), HERE) else state for state in STATES]
    done = replay(states, guests=guests([*lies, *honest]), config=["set anti-spoofing on"])
    assert_frames(done.sent[ALSO_PORT], honest)
    assert done.drops(HERE_PORT) == {"spoofed_mac": 1, "spoofed_ip": 2}
    done = replay(states, guests=guests([*lies, *honest]))
    assert_frames(done.sent[ALSO_PORT], [*lies, *honest])


def test_versions_that_contradict_each_other_are_refused_and_the_rest_serves(switches, tmp_path):
    switch = switches(pcap_ports(tmp_path / "switch0", [Port(), Port(HERE.id)]))
    wrong = goal.neighbor(THERE)
    wrong.configuration.fixed_ips[0].ip_address = FOUR.guest(B).ip
    mixed = goal.subnet(FAR)
    mixed.configuration.gateway.ip_address = "10.5.0.254"
    overlay = goal.neighbor(FAR_THERE, kind="L3")
    overlay.configuration.host_ip_address = "2001:db8:c000::2"
    reply = switch.push(goal.vpc(NEAR), goal.subnet(FOUR), goal.subnet(NEAR), mixed, goal.port(FOUR.guest(A), HERE), wrong, overlay)
    statuses = goal.statuses(reply)
    assert statuses.pop(("NEIGHBOR", THERE.id)) == statuses.pop(("SUBNET", FAR.id)) == "INVALID_ARG"
    assert statuses.pop(("NEIGHBOR", FAR_THERE.id)) == "PENDING", "no VTEP leads to its host"
    assert set(statuses.values()) == {"SUCCESS"}
    (row,) = [row for row in switch.show("ports") if row["id"] == HERE.id]
    assert row["addresses"] == f"{FOUR.guest(A).ip}, {HERE.ip}"
