# SPDX-License-Identifier: MIT
"""Checksums, and TCP segments, that guests leave to whoever needs them (virtio): between guests by recordings, by the kernel's
tap and by vhost-user, of one host and of two, with offloads and without. Whole frames are scapy's, and so are all that come
out, byte by byte, but for those that go without a checksum to a guest that said it takes such."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest
from scapy.layers.dhcp import DHCP
from scapy.layers.dhcp6 import DHCP6_Advertise, DHCP6_Solicit, DHCP6OptIA_NA
from scapy.layers.inet import ICMP, IP, TCP, UDP, in4_pseudoheader
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_RS
from scapy.layers.inet6 import ICMPv6NDOptSrcLLAddr, IPv6, in6_pseudoheader
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import checksum

import goal
import senders
import test_dhcp
import test_dhcpv6
from frames import OUTER, assert_encapsulated, assert_frames, packet, tcp, to_gateway, udp, vxlan, write_pcap
from plan import A, B, Subnet
from program import eventually
from tshark import assert_sound, remember
from virtio import Machine

V4, V6 = Subnet(5), Subnet(5, version=6)
SENDERS, RECEIVERS, OTHERS = (tuple(subnet.guest(host, n) for subnet in (V4, V6)) for host, n in ((A, 1), (A, 2), (B, 1)))
STATES = [goal.vpc(V4), goal.subnet(V4), goal.subnet(V6), goal.router(V4, V6), goal.port(*SENDERS), goal.port(*RECEIVERS)]
STATES += [goal.neighbor(other) for other in OTHERS]
UPLINK, SENDER, RECEIVER = 0, 1, 2
PORT = 40_000
"""Of nothing that tshark knows."""
BUILDERS = tcp, udp
PAYLOADS = b"", b"odd", bytes(range(256)) * 4


def between(sources, destinations, payloads=PAYLOADS) -> list[bytes]:
    """TCP and UDP by IPv4 and IPv6."""
    pairs = zip(sources, destinations)
    return [build(src, dst, dport=PORT, payload=payload) for (src, dst), build, payload in product(pairs, BUILDERS, payloads)]


def undone(frame: bytes) -> bytes:
    """The frame with the sum of its pseudo header in place of its checksum, as virtio has it."""
    ether = Ether(frame)
    network = ether.payload
    layer = network.payload
    protocol = 6 if TCP in ether else 17
    length = len(bytes(layer))
    pseudo = in6_pseudoheader(protocol, network, length) if IPv6 in ether else in4_pseudoheader(protocol, network, length)
    layer.chksum = ~checksum(bytes(pseudo)) & 0xFFFF
    return bytes(ether)


@dataclass
class Side:
    """A guest's port."""

    kind: str
    lines: list[str]
    """Of the configuration."""
    device: str = ""
    machine: Machine | None = None
    wire: object = None


class Bench:
    """A switch with an uplink of recordings and two guests of these kinds. Guest 1 sends `frames`, the underlay `underlay`."""

    def __init__(self, networks, switches, tmp_path, kinds, frames, *, underlay=(), config=(), segments=0, devargs="", **machines):
        self.folder = tmp_path / "switch0"
        self.folder.mkdir()
        self.networks, self.frames = networks, list(frames)
        write_pcap(self.folder / "rx0.pcap", list(underlay))
        write_pcap(self.folder / "rx1.pcap", self.frames if kinds[0] == "pcap" else [])
        write_pcap(self.folder / "rx2.pcap", [])
        self.sides = {number: self.side(number, kind, f"tso={int(bool(segments))}{devargs}") for number, kind in zip((SENDER, RECEIVER), kinds)}
        self.switch = switches(
            [
                f"port attach net_pcap0,rx_pcap={self.folder}/rx0.pcap,tx_pcap={self.folder}/tx0.pcap",
                *[line for side in self.sides.values() for line in side.lines],
                "set vtep 192.0.2.1/24 port 0",
                *config,
            ]
        )
        self.switch.accept(*STATES)
        for number, guests in ((SENDER, SENDERS), (RECEIVER, RECEIVERS)):
            self.settle(self.sides[number], guests[0].mac, number, segments, **machines)
        machines = [number for number, side in self.sides.items() if side.machine]
        eventually("the machines' links are up", lambda: all(row["link"] == "up" for row in self.switch.show("ports") if row["port"] in machines))

    def side(self, number: int, kind: str, devargs: str) -> Side:
        bind = f"port bind {number} {(SENDERS if number == SENDER else RECEIVERS)[0].id}"
        if kind == "pcap":
            device = f"net_pcap{number},rx_pcap={self.folder}/rx{number}.pcap,tx_pcap={self.folder}/tx{number}.pcap"
        elif kind == "tap":
            name = self.networks.tap(f"t{number}")
            return Side(kind, [f"port attach net_tap{number},iface={name}", bind], name)
        else:
            device = f"net_vhost{number},iface={self.folder}/{number}.sock,{devargs}"
        return Side(kind, [f"port attach {device}", bind])

    def settle(self, side: Side, mac: str, number: int, segments: int, leaves=False, takes=False) -> None:
        if side.kind == "tap":
            namespace = self.networks.namespace(f"g{number}")
            namespace.take(side.device)
            namespace.ip("link set eth0 up")
            eventually("the tap is up", lambda: "LOWER_UP" in namespace.ip("link show eth0"))
            side.wire = self.networks.wire(namespace, "eth0")
        elif side.kind == "vhost":
            frames = self.frames if number == SENDER else []
            names = {"leaves": leaves and number == SENDER, "segments": segments * (number == SENDER), "takes": takes}
            side.machine = Machine(self.folder, self.folder / f"{number}.sock", frames, mac=mac, **names)
            if number == RECEIVER:
                side.machine.start()

    def forward(self, underlay: int = 0):
        """All frames set out, and so many from the underlay; the counters when they are dealt with."""
        sender = self.sides[SENDER]
        self.switch.execute("start")
        if sender.wire:
            sender.wire.send(self.frames)
        elif sender.machine:
            sender.machine.start()

        def dealt_with() -> bool:
            rows = self.switch.show("port stats all")
            through = all(row["rx_packets"] == row["forwarded"] + row["answered"] + row["dropped"] for row in rows)
            return through and rows[SENDER]["rx_packets"] >= len(self.frames) and rows[UPLINK]["rx_packets"] >= underlay

        eventually("all frames are dealt with", dealt_with)
        counters = self.switch.counters()
        counters.assert_balanced()
        return counters

    def received(self, number: int, count: int) -> list[bytes]:
        """What came to a guest, so many frames; and the end of all."""
        side, came = self.sides[number], None
        if side.machine:
            came = side.machine.received(count)
        elif side.wire:
            came = side.wire.receive(count)
        self.end()
        self.switch.terminate()
        return self.switch.sent(number) if came is None else came

    def end(self) -> None:
        for side in self.sides.values():
            if side.machine:
                side.machine.end()


@pytest.fixture
def bench(networks, switches, tmp_path):
    made = []

    def make(*arguments, **named) -> Bench:
        made.append(Bench(networks, switches, tmp_path, *arguments, **named))
        return made[-1]

    yield make
    for bench in made:
        bench.end()


MODES = {"on": (True, True, "on"), "off": (False, False, "off"), "sender": (True, False, "off"), "untaken": (True, False, "on")}
"""Whether the sender leaves checksums undone, whether the receiver takes such, and what the switch is told of its port."""
WAYS = [way for way in product(("pcap", "tap", "vhost"), ("pcap", "tap", "vhost"), MODES) if way[0] == "vhost" or way[2] in ("on", "off")]


@pytest.mark.parametrize(("sender", "receiver", "mode"), WAYS)
def test_whatever_is_left_undone_all_checksums_are_right(bench, tmp_path, sender, receiver, mode):
    leaves, takes, offload = MODES[mode]
    local, out, came = between(SENDERS, RECEIVERS), between(SENDERS, OTHERS), between(OTHERS, RECEIVERS)
    config = [] if receiver == "pcap" else [f"port config {RECEIVER} tx-offload {offload}"]
    underlay = [vxlan(frame, V4.vni, src=B) for frame in came]
    hosts = bench((sender, receiver), [*local, *out], underlay=underlay, config=config, leaves=leaves, takes=takes)
    counters = hosts.forward(len(came))
    got = hosts.received(RECEIVER, len(local) + len(came))
    # Whoever takes frames without checksums gets those of another guest as they were sent.
    as_sent = takes and (sender, receiver) == ("vhost", "vhost")
    of_others = bytes.fromhex(OTHERS[0].mac.replace(":", ""))
    from_here = [frame for frame in got if frame[6:12] != of_others]
    from_there = [frame for frame in got if frame[6:12] == of_others]
    assert_frames(from_here, [undone(frame) for frame in local] if as_sent else local)
    assert_frames(from_there, came)
    sent = hosts.switch.sent(UPLINK)
    assert_encapsulated(sent, [(frame, V4.vni, B) for frame in out])
    whole = [*sent, *from_there, *([] if as_sent else from_here)]
    remember(whole)
    assert_sound(tmp_path, whole, tcp=2 * len(PAYLOADS) * (2 if as_sent else 3))
    by_switch = len(out) + len(local) * (receiver == "pcap" or offload == "off" or (receiver, takes) == ("vhost", False))
    row = counters.ports[SENDER]
    assert row["checksums_finished"] == by_switch * (leaves and sender == "vhost")


def test_tcp_that_a_guest_left_to_be_cut_goes_whole_to_a_guest_that_takes_it(bench):
    payload = bytes(range(250)) * 40
    frames = [tcp(src, dst, dport=PORT, payload=payload) for src, dst in zip(SENDERS, RECEIVERS)]
    hosts = bench(("vhost", "vhost"), frames, leaves=True, takes=True, segments=1000)
    assert "left to be cut" in hosts.switch.show(f"port info {RECEIVER}")[0]["offloads"]
    counters = hosts.forward()
    got = hosts.received(RECEIVER, 2)
    for frame, sent in zip(got, frames, strict=True):
        at = 50 if IP in Ether(sent) else 70
        assert (frame[:at], frame[at + 2 :]) == (sent[:at], sent[at + 2 :]), "all but the checksum"
    row = counters.ports[SENDER]
    assert (row["checksums_finished"], row["segments_made"], row["forwarded"]) == (0, 0, 2)


@pytest.mark.parametrize(("receiver", "devargs"), [("pcap", ""), ("tap", ""), ("vhost", ""), ("pcap", ",legacy-ol-flags=1")])
def test_tcp_that_a_guest_left_to_be_cut_arrives_in_segments(bench, tmp_path, receiver, devargs):
    size, payload = 1000, bytes(range(250)) * 40
    local, out = ([tcp(src, dst, dport=PORT, payload=payload) for src, dst in zip(SENDERS, to)] for to in (RECEIVERS, OTHERS))
    behind = [udp(src, dst, dport=PORT) for to in (RECEIVERS, OTHERS) for src, dst in zip(SENDERS, to)]
    hosts = bench(("vhost", receiver), [*local, *out, *behind], leaves=True, segments=size, devargs=devargs)
    counters = hosts.forward()
    each = len(payload) // size
    got = hosts.received(RECEIVER, 2 * each + 2)
    sent = hosts.switch.sent(UPLINK)
    for frames in (got, [frame[OUTER:] for frame in sent]):
        for version in (IP, IPv6):
            mine = [Ether(frame) for frame in frames if version in Ether(frame)]
            segments, (last,) = mine[:-1], mine[-1:]
            assert UDP in last, "what is behind does not overtake"
            assert b"".join(bytes(segment[TCP].payload) for segment in segments) == payload
            assert [len(segment[TCP].payload) for segment in segments] == [size] * each
    remember(got)
    assert_sound(tmp_path, [*got, *sent], tcp=4 * each, udp=4)
    row = counters.ports[SENDER]
    assert (row["segments_made"], row["forwarded"]) == (4 * each, 8)


@pytest.mark.parametrize("leaves", [True, False])
def test_what_a_guest_is_told_has_right_checksums_whatever_it_leaves_undone(bench, leaves):
    """What becomes a message of the switch's own had no checksum when it came."""
    src = SENDERS[0]
    to_nobody = V4.guest(B, 77)
    sent = [
        to_gateway(src, OTHERS[0], ttl=1),
        bytes(Ether(src=src.mac, dst=V4.gateway_mac) / IP(src=src.ip, dst="198.51.100.9") / UDP(sport=1, dport=2) / Raw(b"x" * 1000)),
        to_gateway(src, to_nobody),
        bytes(Ether(src=src.mac, dst=V4.gateway_mac) / IP(src=src.ip, dst=V4.gateway_ip) / UDP(sport=1, dport=33434)),
        bytes(packet(src, OTHERS[0], layer=TCP, payload=bytes(1500), ip={"flags": "DF"})),
    ]
    hosts = bench(("vhost", "pcap"), sent, config=["port config 0 mtu 1500"], leaves=leaves, takes=True)
    hosts.forward()
    told = hosts.received(SENDER, len(sent))
    assert [(Ether(frame)[ICMP].type, Ether(frame)[ICMP].code) for frame in told] == [(11, 0), (3, 0), (3, 1), (3, 3), (3, 4)]
    for frame in told:
        again = Ether(frame)
        for layer in (IP, ICMP):
            del again[layer].chksum
        assert bytes(again) == frame, "whatever the packet that it quotes had"


@pytest.mark.parametrize("leaves", [True, False])
def test_what_a_guest_asks_its_first_hop_is_answered_with_right_checksums_whatever_it_leaves_undone(bench, leaves):
    four, six = SENDERS
    multicast = Ether(src=six.mac, dst="33:33:ff:00:00:fe")
    solicited = IPv6(src=six.link_local, dst="ff02::1:ff00:fe", hlim=255)
    routers = Ether(src=six.mac, dst="33:33:00:00:00:02") / IPv6(src=six.link_local, dst="ff02::2", hlim=255)
    gateway = Ether(src=six.mac, dst=V6.gateway_mac) / IPv6(src=six.ip, dst=V6.gateway_ip)
    sent = [
        test_dhcp.says("discover", guest=four),
        test_dhcpv6.says(DHCP6_Solicit(), test_dhcpv6.CLIENT_ID, DHCP6OptIA_NA(), source=six.link_local, mac=six.mac),
        bytes(multicast / solicited / ICMPv6ND_NS(tgt=V6.gateway_ip) / ICMPv6NDOptSrcLLAddr(lladdr=six.mac)),
        bytes(routers / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=six.mac)),
        bytes(gateway / ICMPv6EchoRequest(data=b"odd")),
        bytes(gateway / UDP(sport=1, dport=33434) / Raw(b"odd")),
    ]
    hosts = bench(("vhost", "pcap"), sent, leaves=leaves, takes=True)
    hosts.switch.accept(senders.dhcp(four), senders.dhcp(six))
    counters = hosts.forward()
    answers = DHCP, DHCP6_Advertise, ICMPv6ND_NA, ICMPv6ND_RA, ICMPv6EchoReply, ICMPv6DestUnreach
    told = [Ether(frame) for frame in hosts.received(SENDER, len(sent))]
    assert [counters.ports[SENDER][key] for key in ("answered", "dropped")] == [5, 1]
    sums = {IP: "chksum", UDP: "chksum", **dict.fromkeys(answers[2:], "cksum")}
    for frame in told:  # the last one, an advertisement, comes unasked to who sends by its router
        again = frame.copy()
        for layer, name in sums.items():
            if layer in again:
                again[layer].delfieldval(name)
        assert bytes(again) == bytes(frame)
    assert all(answer in frame for answer, frame in zip(answers, told, strict=False))


def test_offloads_are_shown_and_changed_while_a_port_is_stopped(networks, switches, tmp_path):
    tap = networks.tap("t")
    devices = "net_null0", f"net_vhost1,iface={tmp_path}/1.sock", f"net_tap2,iface={tap}"
    switch = switches([*[f"port attach {device}" for device in devices], "set vtep 192.0.2.1/24 port 0"])

    def told(port: int) -> str:
        (row,) = switch.show(f"port info {port}")
        return row["offloads"]

    takes = "takes frames whose TCP and UDP checksums another guest left undone"
    assert takes not in told(1), "there is no guest yet"
    machine = Machine(tmp_path, tmp_path / "1.sock", mac=SENDERS[0].mac, takes=True)
    eventually("the guest says that it takes them", lambda: takes in told(1))
    assert takes not in told(2)
    refused = switch.client("exec", "port config 2 tx-offload on")
    assert refused.returncode != 0 and "port stop" in refused.stderr
    for port, on in ((1, "off"), (2, "on")):
        for command in (f"port stop {port}", f"port config {port} tx-offload {on}", f"port start {port}"):
            switch.execute(command)
    assert takes not in told(1) and takes in told(2)
    assert "port config 1 tx-offload off" in switch.execute("show config")
    machine.end()
    switch.terminate()
