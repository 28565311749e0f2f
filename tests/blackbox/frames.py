# SPDX-License-Identifier: MIT
"""Frames, all built by scapy: what tests send, and byte by byte what must come out."""

from __future__ import annotations

import struct
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from plan import A, PCAP_UPLINK_MAC, VXLAN_PORT, Guest, host_ip, host_mac

OUTER = 50
"""Bytes in front of an inner frame: Ethernet, IPv4, UDP, VXLAN."""


def packet(src: Guest, dst: Guest, *, eth_src=None, eth_dst=None, ttl=64, tos=0, sport=1000, dport=53, payload=b"alkaid", layer=UDP, ip=None, udp=None, **eth):
    """A packet between two guests as scapy's layers. Ethernet is switched unless addresses are given."""
    head = Ether(src=eth_src or src.mac, dst=eth_dst or dst.mac, **eth)
    if src.subnet.version == 6:
        network = IPv6(**{"src": src.ip, "dst": dst.ip, "hlim": ttl, "tc": tos} | (ip or {}))
    else:
        network = IP(**{"src": src.ip, "dst": dst.ip, "ttl": ttl, "tos": tos} | (ip or {}))
    return head / network / layer(sport=sport, dport=dport, **(udp or {})) / Raw(payload)


def udp(src: Guest, dst: Guest, **fields) -> bytes:
    """A UDP packet between two guests."""
    return bytes(packet(src, dst, **fields))


def tcp(src: Guest, dst: Guest, **fields) -> bytes:
    return bytes(packet(src, dst, layer=TCP, **fields))


def to_gateway(src: Guest, dst: Guest, **fields) -> bytes:
    """A UDP packet that has to be routed."""
    return udp(src, dst, eth_dst=src.subnet.gateway_mac, **fields)


def vxlan(inner: bytes, vni: int, *, src: int, dst: int = A, sport=50_000, eth_src=None, eth_dst=None, tos=0, flags=0x08, udp_fields=None, ip=None, **header) -> bytes:
    """`inner` in VXLAN from one host to another."""
    outer_ip = {"src": host_ip(src), "dst": host_ip(dst), "tos": tos, "id": 0, "flags": "DF", "ttl": 64} | (ip or {})
    outer_udp = {"sport": sport, "dport": VXLAN_PORT, "chksum": 0} | (udp_fields or {})
    link = Ether(src=eth_src or host_mac(src), dst=eth_dst or (PCAP_UPLINK_MAC if dst == A else host_mac(dst)))
    return bytes(link / IP(**outer_ip) / UDP(**outer_udp) / VXLAN(flags=flags, vni=vni, **header) / Raw(inner))


def tagged(frame: bytes, vlan: int, priority: int = 0) -> bytes:
    """`frame` in a VLAN."""
    ether = Ether(frame)
    return bytes(Ether(src=ether.src, dst=ether.dst, type=0x8100) / Dot1Q(vlan=vlan, prio=priority, type=ether.type) / Raw(frame[14:]))


def source_port(frame: bytes) -> int:
    """Outer UDP source port of a frame that the switch sent."""
    return struct.unpack_from(">H", frame, 34)[0]


def encapsulated(frame: bytes, inner: bytes, vni: int, to: int, *, src: int = A, src_mac: str = PCAP_UPLINK_MAC, dst_mac: str | None = None, dport: int = VXLAN_PORT, dscp: int | None = None) -> bytes:
    """What the switch must have sent for `inner`. Of `frame`, what it did send, only the source port is taken."""
    assert len(frame) >= OUTER, f"{len(frame)} bytes are no VXLAN packet"
    tos = 0
    if inner[12:14] == b"\x08\x00":
        tos = inner[15]
    elif inner[12:14] == b"\x86\xdd":
        tos = (inner[14] & 0xF) << 4 | inner[15] >> 4
    if dscp is not None:
        tos = dscp << 2 | tos & 3
    return _outer(len(inner), vni, src, to, source_port(frame), src_mac, dst_mac or host_mac(to), tos, dport) + inner


@lru_cache(maxsize=100_000)
def _outer(length: int, vni: int, src: int, dst: int, sport: int, src_mac: str, dst_mac: str, tos: int, dport: int) -> bytes:
    """The outer header in front of so many bytes. It depends on nothing else, and scapy takes its time."""
    return vxlan(bytes(length), vni, src=src, dst=dst, sport=sport, eth_src=src_mac, eth_dst=dst_mac, tos=tos, udp_fields={"dport": dport})[:OUTER]


def assert_frames(actual: list[bytes], expected: list[bytes]) -> None:
    """Equal, byte by byte and in order."""
    for number, (got, want) in enumerate(zip(actual, expected)):
        if got != want:
            raise AssertionError(f"frame {number} differs\n{differences(got, want)}")
    assert len(actual) == len(expected), f"{len(actual)} frames came out, {len(expected)} were expected"


def assert_encapsulated(actual: list[bytes], expected: list[tuple[bytes, int, int]], **outer) -> list[int]:
    """Each of `expected` is (inner frame, VNI, host). Checks whole frames; source ports are in the dynamic range.
    Returns the source ports."""
    assert_frames(actual, [encapsulated(got, *want, **outer) for got, want in zip(actual, expected)])
    assert len(actual) == len(expected), f"{len(actual)} frames came out, {len(expected)} were expected"
    ports = [source_port(frame) for frame in actual]
    assert all(49152 <= port <= 65535 for port in ports), f"source ports {sorted(set(ports))}"
    flows = defaultdict(set)
    for (inner, _, _), port in zip(expected, ports):
        flows[flow(inner)].add(port)
    assert all(len(ports) == 1 for ports in flows.values()), f"a flow has several source ports: {flows}"
    return ports


def flow(inner: bytes) -> bytes:
    """What makes packets one flow: IP addresses, protocol and ports; else the Ethernet header."""
    if inner[12:14] == b"\x86\xdd" and inner[20] in (6, 17):
        return inner[20:21] + inner[22:58]
    if inner[12:15] == b"\x08\x00\x45" and not int.from_bytes(inner[20:22], "big") & 0x3FFF:
        return inner[23:24] + inner[26:38]
    return inner[:14]


def differences(got: bytes, want: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    return (
        f"  at byte {at}; {len(got)} bytes came, {len(want)} expected\n"
        f"  came     {Ether(got).summary()}\n           {got.hex()}\n"
        f"  expected {Ether(want).summary()}\n           {want.hex()}"
    )


_FILE = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")


def write_pcap(path: Path, frames: list[bytes]) -> None:
    with path.open("wb") as file:
        file.write(_FILE.pack(0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1))
        for number, frame in enumerate(frames):
            file.write(_RECORD.pack(number // 1_000_000, number % 1_000_000, len(frame), len(frame)) + frame)


def read_pcap(path: Path) -> list[bytes]:
    data = path.read_bytes()
    magic, *_, link = _FILE.unpack_from(data)
    assert magic in (0xA1B2C3D4, 0xA1B23C4D) and link == 1, f"{path} is no Ethernet pcap"
    frames, at = [], _FILE.size
    while at < len(data):
        _, _, kept, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        assert kept == length, f"a frame of {length} bytes was cut to {kept}"
        frames.append(data[at : at + kept])
        at += kept
    return frames


def forwarded(frames: list[bytes]) -> list[bytes]:
    """Those that are no word of the switch's own to a guest about what became of a packet: ICMP errors."""
    return [frame for frame in frames if not is_error(frame)]


def is_error(frame: bytes) -> bool:
    """Whether it is ICMP of either version that reports an error."""
    if frame[12:14] == b"\x86\xdd":
        return frame[20] == 58 and frame[54] < 128
    return frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34] in (3, 11)
