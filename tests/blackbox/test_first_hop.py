# SPDX-License-Identifier: MIT
"""The first hop of a guest, from outside: ARP, ICMP, anti-spoofing. Frames and checksums are scapy's."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

import goal
from frames import assert_frames, is_error, to_gateway, udp
from plan import A, B, Subnet

NEAR, FAR = Subnet(5), Subnet(6, of_vpc="vpc-5")
HERE, THERE, FAR_THERE = NEAR.guest(A), NEAR.guest(B), FAR.guest(B)
ALSO_HERE = NEAR.guest(A, 2)
STATES = [
    goal.vpc(NEAR),
    goal.subnet(NEAR),
    goal.subnet(FAR),
    goal.router(NEAR, FAR),
    goal.port(HERE),
    goal.port(ALSO_HERE),
    goal.neighbor(THERE),
    goal.neighbor(FAR_THERE, kind="L3"),
]
UPLINK, HERE_PORT, ALSO_PORT = 0, 1, 2


def rebuilt(frame: bytes) -> bytes:
    """The same frame with lengths and checksums worked out anew."""
    packet = Ether(frame)
    for layer in (IP, ICMP):
        if layer in packet:
            del packet[layer].chksum
    if IP in packet:
        del packet[IP].len
    return bytes(packet)


def test_arp_is_answered_for_gateway_and_neighbors_and_nobody_else_hears_it(replay):
    request = Ether(src=HERE.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=HERE.mac, psrc=HERE.ip)
    known = [(NEAR.gateway_ip, NEAR.gateway_mac), (THERE.ip, THERE.mac), (ALSO_HERE.ip, ALSO_HERE.mac)]
    asked = [*(ip for ip, _ in known), NEAR.guest(B, 77).ip, FAR_THERE.ip, HERE.ip]
    requests = []
    for ip in asked:
        request[ARP].pdst = ip
        requests.append(bytes(request))
    done = replay(STATES, guests=[(HERE, requests), (ALSO_HERE, [])])
    replies = [Ether(src=mac, dst=HERE.mac) / ARP(op=2, hwsrc=mac, psrc=ip, hwdst=HERE.mac, pdst=HERE.ip) for ip, mac in known]
    assert_frames(done.sent[HERE_PORT], list(map(bytes, replies)))
    assert done.sent[UPLINK] == done.sent[ALSO_PORT] == []
    assert done.drops(HERE_PORT) == {"not_flooded": 3}
    row = done.counters.ports[HERE_PORT]
    assert (row["answered"], row["tx_own"], row["tx_unsent"]) == (3, 3, 0)


@pytest.mark.parametrize("size", [0, 1, 56, 1472])
def test_gateways_answer_echo_requests(replay, size):
    def echo(kind: str, source: str, to: str, **ethernet) -> bytes:
        return bytes(Ether(**ethernet) / IP(src=source, dst=to, id=7, ttl=64) / ICMP(type=kind, id=3, seq=4) / Raw((bytes(range(256)) * 6)[:size]))

    gateways = (NEAR.gateway_ip, FAR.gateway_ip)
    requests = [echo("echo-request", HERE.ip, to, src=HERE.mac, dst=NEAR.gateway_mac) for to in gateways]
    done = replay(STATES, guests=[(HERE, requests), (ALSO_HERE, [])])
    replies = [echo("echo-reply", to, HERE.ip, src=NEAR.gateway_mac, dst=HERE.mac) for to in gateways]
    assert_frames(done.sent[HERE_PORT], replies)


def test_what_goes_no_further_is_reported_to_its_sender(replay):
    stranger = FAR.guest(B, 77)
    sent = [
        (to_gateway(HERE, FAR_THERE, ttl=1), 11, 0),
        (bytes(Ether(src=HERE.mac, dst=NEAR.gateway_mac) / IP(src=HERE.ip, dst="198.51.100.9") / UDP(sport=1, dport=2) / Raw(b"x" * 1000)), 3, 0),
        (to_gateway(HERE, stranger), 3, 1),
        (bytes(Ether(src=HERE.mac, dst=NEAR.gateway_mac) / IP(src=HERE.ip, dst=NEAR.gateway_ip) / UDP(sport=1, dport=33434)), 3, 3),
    ]
    done = replay(STATES, guests=[(HERE, [frame for frame, _, _ in sent]), (ALSO_HERE, [])])
    assert done.drops(HERE_PORT) == {"ttl_expired": 1, "no_route": 1, "unknown_neighbor": 1, "for_gateway": 1}
    told = done.sent[HERE_PORT]
    assert len(told) == len(sent)
    for frame, (about, kind, code) in zip(told, sent, strict=True):
        packet = Ether(frame)
        assert (packet.src, packet.dst) == (NEAR.gateway_mac, HERE.mac)
        assert (packet[IP].src, packet[IP].dst, packet[IP].ttl) == (NEAR.gateway_ip, HERE.ip, 64)
        assert (packet[ICMP].type, packet[ICMP].code) == (kind, code)
        assert frame[42:] == about[14 : 14 + 548], "as much of the packet as fits into 576 bytes"
        assert len(frame) - 14 <= 576 and frame == rebuilt(frame), "lengths and checksums"
        assert is_error(frame)


def test_a_guest_that_lies_about_who_it_is_is_dropped_where_that_is_wanted(replay):
    lies = [
        udp(HERE, ALSO_HERE, eth_src=THERE.mac),
        bytes(Ether(src=HERE.mac, dst=ALSO_HERE.mac) / IP(src=THERE.ip, dst=ALSO_HERE.ip) / UDP(sport=1, dport=2)),
        bytes(Ether(src=HERE.mac, dst=ALSO_HERE.mac) / ARP(op=2, hwsrc=HERE.mac, psrc=THERE.ip, hwdst=ALSO_HERE.mac, pdst=ALSO_HERE.ip)),
        bytes(Ether(src=HERE.mac, dst=ALSO_HERE.mac) / IP(src=HERE.ip, dst=ALSO_HERE.ip) / UDP(sport=67, dport=68)),
    ]
    allowed = bytes(Ether(src="02:00:05:01:00:aa", dst=ALSO_HERE.mac) / IP(src="10.5.200.9", dst=ALSO_HERE.ip) / UDP(sport=1, dport=2))
    honest = udp(HERE, ALSO_HERE)
    port = goal.port(HERE)
    port.configuration.allow_address_pairs.add(ip_address="10.5.200.0/24", mac_address="02-00-05-01-00-aa")
    states = [port if state == goal.port(HERE) else state for state in STATES]
    frames = [*lies, allowed, honest]
    guests = [(HERE, frames), (ALSO_HERE, [])]
    done = replay(states, guests=guests, config=["set anti-spoofing on"])
    assert_frames(done.sent[ALSO_PORT], [allowed, honest])
    assert done.drops(HERE_PORT) == {"spoofed_mac": 1, "spoofed_ip": 1, "spoofed_arp": 1, "rogue_server": 1}
    # Not allowed any more, and everything else as it was; then without any of it.
    done = replay(STATES, guests=guests, config=["set anti-spoofing on"])
    assert_frames(done.sent[ALSO_PORT], [honest])
    assert done.drops(HERE_PORT)["spoofed_mac"] == 2
    done = replay(STATES, guests=guests)
    assert_frames(done.sent[ALSO_PORT], frames)
    # A port's own rule wins over what is said of all, either way.
    for everywhere, here, arrive in (("off", "on", [honest]), ("on", "off", frames), ("on", "default", [honest])):
        rules = [f"set anti-spoofing {everywhere}", f"port config 1 anti-spoofing {here}"]
        done = replay(STATES, guests=guests, config=rules)
        assert_frames(done.sent[ALSO_PORT], arrive)


def test_a_rule_that_leads_a_subnets_traffic_away_leaves_its_gateway_here(replay):
    appliance = NEAR.guest(B, 5)
    router = goal.router(NEAR, FAR, rules=[(FAR.cidr, appliance.ip, 1)])
    states = [state for state in STATES if not state == goal.router(NEAR, FAR)] + [router, goal.neighbor(appliance)]
    echo = Ether(src=HERE.mac, dst=NEAR.gateway_mac) / IP(src=HERE.ip, dst=FAR.gateway_ip) / ICMP(id=3, seq=4)
    done = replay(states, guests=[(HERE, [to_gateway(HERE, FAR_THERE), bytes(echo)]), (ALSO_HERE, [])])
    assert len(done.sent[UPLINK]) == 1 and done.drops(HERE_PORT) == {}
    (reply,) = map(Ether, done.sent[HERE_PORT])
    assert (reply[IP].src, reply[ICMP].type) == (FAR.gateway_ip, 0)
