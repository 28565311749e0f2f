# SPDX-License-Identifier: MIT
"""Two uplinks with a VTEP each: flows are spread over them, and go by the other when one's link is lost. Frames are built by
scapy; links are those of tap devices."""

from __future__ import annotations

from scapy.layers.l2 import ARP, Ether

import goal
from frames import assert_encapsulated, assert_frames, source_port, udp, vxlan
from guests import Here
from kernel import run
from plan import A, B, Subnet, host_ip, host_mac
from program import eventually

SUBNET = Subnet(5)
HERE, THERE = SUBNET.guest(A), SUBNET.guest(B)
STATES = [goal.vpc(SUBNET), goal.subnet(SUBNET), goal.port(HERE), goal.neighbor(THERE)]
FLOWS = [udp(HERE, THERE, sport=1000 + n) for n in range(64)]
BACK = udp(THERE, HERE)
OTHER_VTEP, ROUTER = "198.51.100.1", "02:00:c6:33:64:fe"
PCAP_MACS = [f"02:70:63:61:70:0{n}" for n in range(3)]
"""What DPDK's net_pcap gives its ports."""


def by_the_other(inner: bytes, sent: bytes, src: str, src_mac: str, dst_mac: str) -> bytes:
    """What the second uplink sends of a guest's frame; of `sent` only the source port is taken."""
    return vxlan(inner, 5, src=A, dst=B, sport=source_port(sent), eth_src=src_mac, eth_dst=dst_mac, ip={"src": src})


def spread(first: list[bytes], other: list[bytes], **second: str) -> tuple[list[bytes], list[bytes]]:
    """All flows have left by one of both, in order, and are the guest's frames in outer headers of that uplink; by which."""
    inners = [frame[50:] for frame in first], [frame[50:] for frame in other]
    assert sorted(inners[0] + inners[1]) == sorted(FLOWS)
    for inner in inners:
        assert inner == [frame for frame in FLOWS if frame in inner]
    assert_encapsulated(first, [(inner, 5, B) for inner in inners[0]], src_mac=second.pop("first_mac"))
    assert_frames(other, [by_the_other(inner, sent, **second) for inner, sent in zip(inners[1], other)])
    return inners


def test_flows_are_spread_and_what_comes_by_either_uplink_for_either_vtep_is_delivered(replay):
    config = ["set vtep 198.51.100.1/24 port 2", f"set underlay gateway 198.51.100.254 {ROUTER}"]
    to = [host_ip(A), OTHER_VTEP]
    came = [vxlan(BACK, 5, src=B, ip={"dst": vtep}) for vtep in to] + [vxlan(BACK, 5, src=B, ip={"dst": "198.51.100.2"})]
    done = replay(STATES, underlay=came, guests=[(HERE, FLOWS), (None, came)], config=config)
    by = spread(done.sent[0], done.sent[2], first_mac=PCAP_MACS[0], src=OTHER_VTEP, src_mac=PCAP_MACS[2], dst_mac=ROUTER)
    assert all(len(frames) > 16 for frames in by)
    assert_frames(done.sent[1], [BACK] * 4)
    assert done.drops(0) == done.drops(2) == {"not_for_us": 1}


def test_the_least_mtu_of_both_counts_on_each(replay):
    config = ["set vtep 198.51.100.1/24 port 2", f"set underlay gateway 198.51.100.254 {ROUTER}", "port config 0 mtu 1550", "port config 2 mtu 1300", "set fragment off"]
    fits, longer = ([udp(HERE, THERE, sport=1000 + n, payload=bytes(length)) for n in range(32)] for length in (1222, 1223))
    done = replay(STATES, guests=[(HERE, fits + longer), (None, [])], config=config)
    assert len(done.sent[0]) > 4 and len(done.sent[2]) > 4
    assert sorted(frame[50:] for frame in done.sent[0] + done.sent[2]) == sorted(fits)
    assert done.drops(1) == {"too_big": 32}


def test_a_host_on_one_link_only_is_reached_by_that_uplink(replay):
    done = replay(STATES, guests=[(HERE, FLOWS), (None, [])], config=["set vtep 198.51.100.1/24 port 2"])
    assert_encapsulated(done.sent[0], [(frame, 5, B) for frame in FLOWS])
    assert done.sent[2] == []


class Taps:
    """The switch's uplinks and its guest are tap devices: ports 0, 2 and 1. The uplinks are on one link of the underlay, as
    192.0.2.1 and 192.0.2.101."""

    MACS = [host_mac(A), host_mac(101)]
    VTEPS = [host_ip(A), host_ip(101)]

    def __init__(self, networks, switches, *config: str):
        self.networks, self.taps = networks, [networks.tap(name) for name in ("u0", "u1", "g")]
        lines = [f"net_tap{n},iface={tap},mac={mac}" for n, tap, mac in zip((0, 1, 2), [self.taps[0], self.taps[2], self.taps[1]], [self.MACS[0], HERE.mac, self.MACS[1]])]
        self.switch = switches(
            [
                *(f"port attach {line}" for line in lines),
                f"port bind 1 {HERE.id}",
                *(f"set vtep {vtep}/24 port {port}" for vtep, port in zip(self.VTEPS, (0, 2))),
                *config,
                "start",
            ]
        )
        for tap in self.taps:
            run("ip", "link", "set", tap, "arp", "off", "up")  # the kernel would answer for its own addresses
        self.wires = [networks.wire(Here, tap) for tap in self.taps]

    def set(self, uplink: int, state: str) -> None:
        run("ip", "link", "set", self.taps[uplink], state)
        if state == "up":
            self.listen(uplink)

    def listen(self, uplink: int) -> None:
        """Anew: who listens on a device that goes down gets an error."""
        self.wires[uplink] = self.networks.wire(Here, self.taps[uplink])

    def states(self) -> list[str]:
        return [row["state"] for row in self.switch.show("ports") if row["role"] == "uplink"]

    def until(self, *states: str) -> None:
        eventually(f"uplinks are {states}", lambda: self.states() == list(states))

    def flows(self, *uplinks: int) -> tuple[list[bytes], list[bytes]]:
        """All flows leave by these uplinks; which by which."""
        self.clear(*uplinks)
        self.wires[2].send(FLOWS)
        sent: list[list[bytes]] = [[], []]
        eventually("all flows have left", lambda: [sent[n].extend(vxlans(self.wires[n].receive(1, 0.05))) for n in uplinks] and sum(map(len, sent)) >= len(FLOWS))
        return spread(*sent, first_mac=self.MACS[0], src=self.VTEPS[1], src_mac=self.MACS[1], dst_mac=host_mac(B))

    def clear(self, *uplinks: int) -> None:
        for uplink in uplinks:
            self.wires[uplink].receive(1000, 0.01)

    def gets(self, uplink: int, vtep: int) -> None:
        """What comes for a VTEP by an uplink gets to the guest."""
        self.wires[2].receive(1000, 0.01)
        self.wires[uplink].send([vxlan(BACK, 5, src=B, eth_dst=self.MACS[uplink], ip={"dst": self.VTEPS[vtep]})])
        self.wires[2].expect([BACK])

    def answers(self, uplink: int, vtep: int) -> list[str]:
        """Who says on an uplink's link that it has a VTEP, when asked."""
        self.clear(uplink)
        question = ARP(op=1, hwsrc=host_mac(B), psrc=host_ip(B), hwdst="00:00:00:00:00:00", pdst=self.VTEPS[vtep])
        self.wires[uplink].send([bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=host_mac(B)) / question).ljust(60, b"\0")])
        # Announcements may come first.
        came = [Ether(frame)[ARP] for frame in self.wires[uplink].receive(1000, 0.5) if ARP in Ether(frame)]
        return [answer.hwsrc for answer in came if (answer.op, answer.psrc) == (2, self.VTEPS[vtep])]


def vxlans(frames: list[bytes]) -> list[bytes]:
    return [frame for frame in frames if frame[12:14] == b"\x08\x00" and frame[36:38] == b"\x12\xb5"]


def announced(frames: list[bytes]) -> set[tuple[str, str]]:
    """Who says unasked that it has which address."""
    said = [Ether(frame)[ARP] for frame in frames if ARP in Ether(frame)]
    return {(arp.psrc, arp.hwsrc) for arp in said if arp.psrc == arp.pdst}


def test_when_a_link_is_lost_all_flows_go_by_the_other_and_they_come_back(networks, switches):
    taps = Taps(networks, switches)
    taps.switch.accept(*STATES)
    taps.until("ready", "ready")
    before = taps.flows(0, 1)
    assert all(len(frames) > 16 for frames in before)
    assert taps.answers(0, 0) == [taps.MACS[0]] and taps.answers(0, 1) == [], "each on its own link"
    for lost, left in ((0, 1), (1, 0)):
        taps.clear(left)
        taps.set(lost, "down")
        taps.until(*("ready" if n == left else "not used: no link" for n in (0, 1)))
        said = set()
        eventually("it is told to all", lambda: said.update(announced(taps.wires[left].receive(1, 0.05))) or (taps.VTEPS[lost], taps.MACS[left]) in said)
        eventually("and again, for who missed it", lambda: (taps.VTEPS[lost], taps.MACS[left]) in announced(taps.wires[left].receive(1, 0.05)))
        assert taps.flows(left)[left] == FLOWS
        for vtep in (0, 1):
            taps.gets(left, vtep)
            assert taps.answers(left, vtep) == [taps.MACS[left]]
        taps.set(lost, "up")
        taps.until("ready", "ready")
        assert taps.flows(0, 1) == before
        taps.gets(lost, left)
    log = taps.switch.log.read_text()
    for port in (0, 2):
        assert log.count(f"an uplink has no link: its flows go by the other port={port}") == 1
        assert log.count(f"an uplink is used again port={port}") == 1
    assert "says that it has this host's address" not in log
    taps.switch.counters().assert_balanced()
    taps.switch.terminate()


def test_an_operator_takes_an_uplink_out_by_stopping_its_port(networks, switches):
    taps = Taps(networks, switches)
    taps.switch.accept(*STATES)
    taps.until("ready", "ready")
    before = taps.flows(0, 1)
    taps.switch.execute("port stop 2")
    taps.until("ready", "not used: no link")
    assert taps.flows(0)[0] == FLOWS
    taps.switch.execute("port start 2")
    taps.until("ready", "ready")
    taps.listen(1)
    assert taps.flows(0, 1) == before
    taps.switch.terminate()


def test_hosts_are_asked_for_their_macs_on_each_uplinks_own_link(networks, switches):
    taps = Taps(networks, switches)
    taps.until("ready", "ready")
    reply = taps.switch.push(*STATES[:3], goal.neighbor(THERE, host_mac_named=False))
    assert "PENDING" in [status for _, _, status in goal.status_names(reply)]

    def asked(uplink: int) -> bool:
        came = [Ether(frame)[ARP] for frame in taps.wires[uplink].receive(1, 0.3) if ARP in Ether(frame)]
        return any((arp.op, arp.psrc, arp.hwsrc, arp.pdst) == (1, taps.VTEPS[uplink], taps.MACS[uplink], host_ip(B)) for arp in came)

    def is_at(uplink: int, mac: str) -> None:
        answer = ARP(op=2, hwsrc=mac, psrc=host_ip(B), hwdst=taps.MACS[uplink], pdst=taps.VTEPS[uplink])
        taps.wires[uplink].send([bytes(Ether(dst=taps.MACS[uplink], src=mac) / answer).ljust(60, b"\0")])

    for uplink in (0, 1):
        eventually(f"uplink {uplink} asks", lambda: asked(uplink))
    is_at(1, host_mac(B))
    eventually("nothing waits", lambda: taps.switch.show("pending") == [])
    assert taps.flows(1)[1] == FLOWS, "nobody knows it on the first link"
    is_at(0, host_mac(B))
    known = [{"uplink": port, "address": host_ip(B), "mac": host_mac(B)} for port in (0, 2)]
    eventually("it is known on both", lambda: [{key: row[key] for key in known[0]} for row in taps.switch.show("underlay")] == known)
    eventually("both are used", lambda: all(taps.flows(0, 1)))
    taps.switch.terminate()
