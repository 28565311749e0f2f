# SPDX-License-Identifier: MIT
"""Head-end replication: broadcast and multicast go once to each receiver that the controller named, where the operator wants it."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

import goal
from frames import assert_encapsulated, assert_frames, udp, vxlan
from guests import VethSite
from plan import A, B, C, Subnet, host_ip, host_mac
from program import eventually
from replays import UPLINK

NET, OTHER = Subnet(5), Subnet(6, of_vpc="vpc-5")
HERE, ALSO_HERE, APART = NET.guest(A, 1), NET.guest(A, 2), OTHER.guest(A)
THERE = NET.guest(B)
D = 4
ALL = "ff:ff:ff:ff:ff:ff"
VRRP = "01:00:5e:00:00:12"

STATES = [
    goal.vpc(NET),
    goal.subnet(NET),
    goal.subnet(OTHER),
    goal.port(HERE),
    goal.port(ALSO_HERE),
    goal.port(APART),
    *(goal.neighbor(NET.guest(B, n)) for n in (1, 2, 3)),
    goal.neighbor(NET.guest(C)),
    goal.neighbor(OTHER.guest(D)),
]
ON = f"set replicate subnet {NET.id} on"


def flood(guest, dst: str = ALL, payload: bytes = b"for all", **fields) -> bytes:
    to = "255.255.255.255" if dst == ALL else "224.0.0.18"
    return bytes(Ether(src=guest.mac, dst=dst) / IP(src=guest.ip, dst=to, **fields) / UDP(sport=1000, dport=2000) / Raw(payload))


def arp(guest, op: int, target: str, source: str | None = None, mac: str | None = None) -> bytes:
    return bytes(Ether(src=guest.mac, dst=ALL) / ARP(op=op, hwsrc=mac or guest.mac, psrc=source or guest.ip, pdst=target))


def announcements(guest) -> list[bytes]:
    """What a guest tells all others unasked: by ARP, neighbor discovery, multicast listener discovery, VRRP's group."""
    six = Ether(src=guest.mac, dst="33:33:00:00:00:01") / IPv6(src=guest.link_local, dst="ff02::1", hlim=255)
    listens = Ether(src=guest.mac, dst="33:33:00:00:00:16") / IPv6(src=guest.link_local, dst="ff02::16", hlim=1)
    return [
        flood(guest),
        flood(guest, VRRP, ttl=1),
        arp(guest, 1, guest.ip),
        arp(guest, 2, guest.ip),
        bytes(six / ICMPv6ND_NA(tgt=guest.link_local, R=0, S=0) / ICMPv6NDOptDstLLAddr(lladdr=guest.mac)),
        bytes(listens / ICMPv6MLReport2()),
        bytes(Ether(src=guest.mac, dst=ALL, type=0x88B5) / Raw(bytes(50))),
    ]


def copies(frames: list[bytes], inner: list[bytes], hosts=(B, C), vni: int = 5) -> None:
    """One copy of each for each host, byte by byte: the copies of one frame together, the hosts in the order of addresses."""
    assert_encapsulated(frames, [(frame, vni, host) for frame in inner for host in hosts])


def test_each_guest_here_and_each_host_gets_one_copy(replay):
    frames = announcements(HERE)
    done = replay(STATES, guests=[(HERE, frames), (ALSO_HERE, []), (APART, [])], config=[ON])
    copies(done.sent[UPLINK], frames)
    assert_frames(done.sent[2], frames)
    assert done.sent[1] == done.sent[3] == [], "neither back nor to others"
    assert (done.counters.ports[1]["answered"], done.counters.ports[1]["to_replicas"]) == (len(frames), len(frames))
    assert [done.counters.ports[port]["tx_own"] for port in range(3)] == [2 * len(frames), 0, len(frames)]


@pytest.mark.parametrize("config", [[], [f"set replicate subnet {OTHER.id} on"], ["set replicate subnet all on", f"set replicate subnet {NET.id} off"]])
def test_off_is_off(replay, config):
    frames = announcements(HERE)
    underlay = [vxlan(frame, 5, src=B) for frame in announcements(THERE)]
    done = replay(STATES, underlay=underlay, guests=[(HERE, frames), (ALSO_HERE, []), (APART, [])], config=config)
    assert done.silent
    assert done.drops(1) == {"not_flooded": len(frames)}
    assert done.drops(UPLINK) == {"not_flooded": len(underlay)}


def test_what_another_host_sends_goes_to_guests_and_never_back(replay):
    frames = announcements(THERE) + [arp(THERE, 1, HERE.ip)]
    unknown = [vxlan(flood(THERE), 99, src=B)]
    underlay = [vxlan(frame, 5, src=B) for frame in frames] + unknown
    done = replay(STATES, underlay=underlay, guests=[(HERE, []), (ALSO_HERE, []), (APART, [])], config=[ON])
    assert_frames(done.sent[1], frames)
    assert_frames(done.sent[2], frames)
    assert done.sent[UPLINK] == done.sent[3] == []
    assert done.drops(UPLINK) == {"unknown_vni": 1}


def test_questions_are_answered_or_dropped(replay):
    frames = [arp(HERE, 1, ip) for ip in (THERE.ip, NET.gateway_ip, NET.guest(C, 77).ip)]
    six = Subnet(5, version=6, of_vpc="vpc-5")
    asks = Ether(src=HERE.mac, dst="33:33:ff:00:00:77") / IPv6(src=six.guest(A).ip, dst="ff02::1:ff00:77", hlim=255)
    frames.append(bytes(asks / ICMPv6ND_NS(tgt=six.cidr.replace("/64", "77"))))
    states = [*STATES, goal.subnet(six), goal.port(HERE, six.guest(A))]
    done = replay(states, guests=[(HERE, frames), (ALSO_HERE, [])], config=["set replicate subnet all on"])
    assert (len(done.sent[1]), done.sent[2], done.sent[UPLINK]) == (2, [], [])
    assert done.drops(1) == {"not_flooded": 2}


def test_a_guest_sends_so_many_a_second_and_others_are_not_held_up(replay):
    frames = [flood(HERE, payload=bytes([n])) for n in range(30)]
    others = [flood(ALSO_HERE, payload=bytes([n])) for n in range(5)]
    known = [udp(HERE, THERE)]
    done = replay(STATES, guests=[(HERE, frames + known), (ALSO_HERE, others)], config=[f"{ON} rate 5"])
    limited = done.drops(1)["replication_limited"]
    assert 20 <= limited <= 25, "some more in the time that it takes"
    passed = len(frames) - limited
    assert done.sent[2] == [frame for frame in frames if frame in done.sent[2]] and len(done.sent[2]) == passed
    assert_frames(done.sent[1], others)
    assert len(done.sent[UPLINK]) == 2 * (passed + len(others)) + 1


def test_anti_spoofing_holds_before(replay):
    forged = [
        flood(NET.guest(A, 9)),
        bytes(Ether(src=HERE.mac, dst=ALL) / IP(src=THERE.ip, dst="255.255.255.255") / UDP()),
        arp(HERE, 2, THERE.ip, source=THERE.ip),
    ]
    own = flood(HERE)
    done = replay(STATES, guests=[(HERE, [*forged, own]), (ALSO_HERE, [])], config=[ON, "set anti-spoofing on"])
    assert_frames(done.sent[2], [own])
    assert done.drops(1) == {"spoofed_mac": 1, "spoofed_ip": 1, "spoofed_arp": 1}


def test_nobody_to_get_it(replay):
    alone = [goal.vpc(NET), goal.subnet(NET), goal.port(HERE)]
    done = replay(alone, guests=[(HERE, [flood(HERE)])], config=[ON])
    assert done.silent and done.drops(1) == {"no_receivers": 1}


class Lab(VethSite):
    """With HERE and ALSO_HERE."""

    rounds = 0

    def expect(self, hosts, *, here: bool = True) -> None:
        """What HERE floods now goes to these hosts and, if `here`, to ALSO_HERE."""
        self.rounds += 1
        frame = flood(HERE, payload=b"%d" % self.rounds)
        self.wires[0].send([frame])
        out = self.uplink.receive(len(hosts))
        assert_encapsulated(out, [(frame, 5, host) for host in hosts], src_mac=host_mac(A))
        self.wires[1].expect([frame] if here else [])

    def receivers(self) -> tuple:
        (row,) = (row for row in self.switch.show("subnets") if row["id"] == NET.id)
        return row["replicate"], row["rate"], row["receivers"]


def test_hosts_and_ports_that_come_and_go(networks, switches):
    lab = Lab(networks, switches, (HERE, ALSO_HERE))
    switch = lab.switch
    switch.execute(f"{ON} rate 1000")
    assert f"{ON} rate 1000" in switch.execute("show config")
    switch.accept(goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.port(ALSO_HERE))
    lab.expect([])
    assert lab.receivers() == ("on", 1000, 2)
    switch.accept(goal.neighbor(NET.guest(C)), goal.neighbor(NET.guest(B, 2)))
    lab.expect([B, C])
    assert lab.receivers() == ("on", 1000, 4)
    switch.accept(goal.neighbor(NET.guest(B, 3)), rpc="v2")
    switch.accept(goal.delete(goal.neighbor(NET.guest(B, 2))))
    lab.expect([B, C])
    switch.accept(goal.delete(goal.neighbor(NET.guest(B, 3))))
    lab.expect([C])
    moved = goal.neighbor(NET.guest(C), host=D)
    switch.accept(moved)
    lab.expect([D])
    # A guest leaves for another host.
    switch.accept(goal.delete(goal.port(ALSO_HERE)), goal.neighbor(ALSO_HERE, host=B))
    lab.expect([B, D], here=False)
    switch.accept(goal.delete(goal.neighbor(ALSO_HERE, host=B)), goal.port(ALSO_HERE))
    lab.expect([D])
    # A receiver's port takes nothing: the others get theirs, and the sender's counters say nothing of it.
    switch.execute("port stop 2")
    assert switch.explain_frame(1, flood(HERE))["outcome"] == "copied"
    lab.expect([D], here=False)
    switch.execute("port start 2")
    lab.expect([D])
    counters = switch.counters()
    assert (counters.drops[1], counters.ports[2]["tx_unsent"]) == ({}, 1)
    # The operator changes his mind, also of what is not known yet.
    switch.execute(f"set replicate subnet {NET.id} off")
    switch.execute("set replicate subnet later on")
    assert lab.receivers() == ("off", None, None)
    before = switch.counters().drops[1].get("not_flooded", 0)
    lab.wires[0].send([flood(HERE)])
    eventually("it is dropped", lambda: switch.counters().drops[1].get("not_flooded", 0) == before + 1)
    switch.execute(f"set replicate subnet {NET.id} on")
    lab.expect([D])
    told = switch.explain_frame(1, flood(HERE))
    assert told["outcome"] == "copied"
    (step,) = (step for step in told["steps"] if step["stage"] == "route")
    assert step["text"] == "for everybody: copied to host 192.0.2.4, port 2"
    # What the other side floods.
    tunnel = f"eth src={host_mac(B)} dst={host_mac(A)} / ip src={host_ip(B)} dst={host_ip(A)} / vxlan vni=5"
    (told,) = switch.explain(0, "--packet", f"{tunnel} / eth src={THERE.mac} dst={VRRP} / ip src={THERE.ip} dst=224.0.0.18 / udp")
    assert told["outcome"] == "copied"
    (step,) = (step for step in told["steps"] if step["stage"] == "decap")
    assert step["text"] == "for everybody: copied to port 1, port 2"
    frame = flood(THERE)
    lab.uplink.send([vxlan(frame, 5, src=B, eth_dst=host_mac(A))])
    for wire in lab.wires:
        wire.expect([frame])
    lab.uplink.expect([])
    switch.counters().assert_balanced()
    switch.terminate()
