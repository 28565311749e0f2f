# SPDX-License-Identifier: MIT
"""Frames of guests with VLAN tags, from outside: dropped, or carried as they are. Tags are scapy's."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

import goal
from frames import assert_frames, packet, source_port, tagged, udp, vxlan
from plan import A, B, PCAP_UPLINK_MAC, Subnet, host_mac
from program import Port, call, pcap_ports
from replays import UPLINK

NET = Subnet(5)
HERE, ALSO_HERE, THERE = NET.guest(A), NET.guest(A, 2), NET.guest(B)
STATES = [goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.port(ALSO_HERE), goal.neighbor(THERE)]
PASS = ["port config 1 vlan pass", "port config 2 vlan pass"]


def in_vlans(src, dst) -> list[bytes]:
    """All kinds of tags."""
    inner = packet(src, dst)
    ether, ip = Ether(src=src.mac, dst=dst.mac), inner[IP]
    tags = [Dot1Q(vlan=vlan, prio=prio) for vlan, prio in ((1, 0), (100, 7), (4094, 3), (0, 5))]
    return [bytes(ether / tag / ip) for tag in [*tags, Dot1AD(vlan=100), Dot1AD(vlan=7) / Dot1Q(vlan=8)]]


def test_tags_are_dropped_unless_a_port_passes_them(replay):
    frames = in_vlans(HERE, THERE) + in_vlans(HERE, ALSO_HERE)
    arriving = [vxlan(frame, 5, src=B) for frame in in_vlans(THERE, HERE)]
    for config in ([], ["port config all vlan drop"], ["port config all vlan pass", "port config 1 vlan drop"]):
        done = replay(STATES, underlay=arriving, guests=[(HERE, [*frames, udp(HERE, ALSO_HERE)]), (ALSO_HERE, [])], config=config)
        assert done.sent == [[], [], [udp(HERE, ALSO_HERE)]]
        assert done.drops(1) == {"vlan_tagged": len(frames)} and done.drops(UPLINK) == {"vlan_tagged": len(arriving)}


def test_tags_travel_in_vxlan_as_they_are(replay):
    out, back = in_vlans(HERE, THERE), in_vlans(THERE, HERE)
    done = replay(STATES, underlay=[vxlan(frame, 5, src=B) for frame in back], guests=[(HERE, out), (ALSO_HERE, [])], config=PASS)
    assert_frames(done.sent[1], back)
    outer = dict(src=A, dst=B, eth_src=PCAP_UPLINK_MAC, eth_dst=host_mac(B))
    assert_frames(done.sent[UPLINK], [vxlan(frame, 5, sport=source_port(sent), **outer) for frame, sent in zip(out, done.sent[UPLINK])])
    assert done.drops(1) == done.drops(UPLINK) == {}


def test_a_receiver_on_the_same_host_decides_for_itself(replay):
    frames = in_vlans(HERE, ALSO_HERE)
    guests = [(HERE, frames), (ALSO_HERE, [])]
    done = replay(STATES, guests=guests, config=PASS)
    assert_frames(done.sent[2], frames)
    done = replay(STATES, guests=guests, config=["port config 1 vlan pass"])
    assert done.sent[2] == [] and done.drops(1) == {"vlan_tagged": len(frames)}


def test_anti_spoofing_holds_behind_a_tag(replay):
    def arp(ip):
        return bytes(Ether(src=HERE.mac, dst=ALSO_HERE.mac) / ARP(op=2, hwsrc=HERE.mac, psrc=ip, hwdst=ALSO_HERE.mac, pdst=ALSO_HERE.ip))

    def datagram(**fields):
        return bytes(Ether(src=HERE.mac, dst=ALSO_HERE.mac) / IP(src=HERE.ip, dst=ALSO_HERE.ip) / UDP(**fields) / Raw(b"x"))

    honest = [udp(HERE, ALSO_HERE), arp(HERE.ip), datagram(sport=68, dport=67)]
    lies = [udp(HERE, ALSO_HERE, eth_src=THERE.mac), udp(HERE, ALSO_HERE, ip={"src": THERE.ip}), arp(THERE.ip), datagram(sport=67, dport=68), datagram(sport=9, dport=68)]
    frames = [tagged(frame, 100) for frame in [*lies, *honest]] + [tagged(tagged(honest[0], 100), 7)]
    done = replay(STATES, guests=[(HERE, frames), (ALSO_HERE, [])], config=[*PASS, "port config 1 anti-spoofing on"])
    assert_frames(done.sent[2], [tagged(frame, 100) for frame in honest])
    assert done.drops(1) == {"spoofed_mac": 1, "spoofed_ip": 1, "spoofed_arp": 1, "rogue_server": 2, "vlan_tagged": 1}


def test_nothing_is_answered_behind_a_tag(replay):
    who_has = Ether(src=HERE.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=HERE.mac, psrc=HERE.ip, pdst=NET.gateway_ip)
    routed = udp(HERE, THERE, eth_dst=NET.gateway_mac)
    long = udp(HERE, ALSO_HERE, payload=bytes(1473 - 4))
    fits = udp(HERE, ALSO_HERE, payload=bytes(1472 - 4))
    frames = [tagged(frame, 100) for frame in (bytes(who_has), routed, long, fits)]
    done = replay(STATES, guests=[(HERE, frames), (ALSO_HERE, [])], config=[*PASS, "port config 2 mtu 1500"])
    assert done.sent == [[], [], [tagged(fits, 100)]]
    assert done.drops(1) == {"not_flooded": 1, "not_routable": 1, "too_big": 1}


def test_a_running_switch_is_told_and_shows_it(switches, tmp_path):
    switch = switches(pcap_ports(tmp_path / "switch0", [Port(), Port(HERE.id, in_vlans(HERE, ALSO_HERE)), Port(ALSO_HERE.id)]))
    switch.accept(*STATES)
    assert [row["vlan"] for row in switch.show("ports")] == [None, "drop", "drop"]
    switch.execute("port config all vlan pass")
    assert [row["vlan"] for row in switch.show("ports")] == [None, "pass", "pass"]
    assert "port config 1 vlan pass" in switch.execute("show config")
    switch.execute("start")
    switch.settled(port1=6)
    switch.terminate()
    assert_frames(switch.sent(2), in_vlans(HERE, ALSO_HERE))


@pytest.mark.parametrize("line, expected", [("port config 0 vlan pass", "no guest"), ("port config 1 vlan", "pass"), ("port config 1 vlan pas", "pass"), ("port config 1 vlan pass\nport config 1 vlan drop", "twice")])
def test_what_is_no_rule_is_refused(alkaid, tmp_path, line, expected):
    file = tmp_path / "switch.conf"
    file.write_text(f"port attach net_null0\nport attach net_null1\nset vtep 192.0.2.1/24 port 0\n{line}\n")
    done = call(alkaid, "check", file)
    assert done.returncode != 0 and expected in done.stderr, done.stderr
