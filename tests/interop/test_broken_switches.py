# SPDX-License-Identifier: MIT
"""The guests' talk fails when the switch is broken: a relay on its link does to its tunnel's frames what a switch with one fault
would, and each fault must be noticed, and as what it is."""

from __future__ import annotations

import itertools

import pytest

from frames import OUTER
from kernel import exchange
from plan import A, B, VXLAN_PORT, Subnet
from relay import Mutation, Relay
from traffic import talk
from underlay import Underlay

NET = Subnet(5)
HERE, THERE = NET.guest(A), NET.guest(B)

PATIENCE = 1.0
"""Seconds until what does not arrive is given up."""

TYPE, IP, PROTOCOL, CHECKSUM, UDP_PORT, VNI = 12, 14, 23, 24, 36, 46
"""Where these are in a frame between hosts of IPv4. In one of IPv6 all behind its header is `LONGER` bytes later."""
LONGER, NEXT_HEADER = 20, IP + 6
INNER_TYPE, INNER_FRAGMENT, INNER_PROTOCOL = OUTER + TYPE, OUTER + 20, OUTER + PROTOCOL
TCP_CHECKSUM, UDP_CHECKSUM = OUTER + 50, OUTER + 40
IPV4, IPV6, TCP, UDP = b"\x08\x00", b"\x86\xdd", 6, 17


def put(frame: bytes, at: int, new: bytes) -> list[bytes]:
    return [frame[:at] + new + frame[at + len(new) :]]


def spoil(frame: bytes, at: int) -> list[bytes]:
    return put(frame, at, bytes([frame[at] ^ 0xFF]))


def is_later_fragment(frame: bytes) -> bool:
    return frame[INNER_TYPE : INNER_TYPE + 2] == IPV4 and int.from_bytes(frame[INNER_FRAGMENT : INNER_FRAGMENT + 2], "big") & 0x1FFF > 0


def begins(frame: bytes, protocol: int) -> bool:
    """It carries a header of this protocol."""
    return frame[INNER_TYPE : INNER_TYPE + 2] == IPV4 and frame[INNER_PROTOCOL] == protocol and not is_later_fragment(frame)


# --- what becomes of a frame


def has_another_vni(frame):
    return put(frame, VNI, (NET.vni + 1).to_bytes(3, "big"))


def goes_to_another_udp_port(frame):
    return put(frame, UDP_PORT, (VXLAN_PORT + 1).to_bytes(2, "big"))


def goes_to_another_mac(frame):
    return spoil(frame, 5)


def has_a_wrong_outer_checksum(frame):
    return spoil(frame, CHECKSUM)


def has_a_wrong_udp_checksum(frame):
    return spoil(frame, UDP_CHECKSUM) if begins(frame, UDP) else [frame]


def has_a_wrong_tcp_checksum(frame):
    return spoil(frame, TCP_CHECKSUM) if begins(frame, TCP) else [frame]


def lacks_its_last_byte(frame):
    return [frame[:-1]]


def is_lost_above_1000_bytes(frame):
    return [frame] if len(frame) <= 1000 else []


def is_lost_as_a_later_fragment(frame):
    return [] if is_later_fragment(frame) else [frame]


def comes_twice(frame):
    return [frame, frame]


def is_lost(frame):
    return []


REACH, LARGE, IN_FRAGMENTS = "the guests reach each other", "pings by 1472 bytes", "pings by 1473 bytes"
DATAGRAMS, STREAM = "sends datagrams and is answered", "gets back what it sends by TCP"
OUT, BACK = ("out",), ("back",)
FAULTS = [
    # What becomes of frames that the switch sends, or is to receive; how it is noticed; who the other host is, and what it is reached by
    # if not by a link of IPv4.
    (has_another_vni, OUT, REACH, "kernel"),
    (goes_to_another_udp_port, OUT, REACH, "kernel"),
    (goes_to_another_mac, OUT, REACH, "kernel"),
    (has_a_wrong_outer_checksum, OUT, REACH, "kernel"),
    (has_a_wrong_outer_checksum, OUT, REACH, "ovs"),
    (has_a_wrong_udp_checksum, OUT, DATAGRAMS, "kernel"),
    (has_a_wrong_tcp_checksum, OUT, STREAM, "kernel"),
    (lacks_its_last_byte, OUT, REACH, "kernel"),
    (is_lost_above_1000_bytes, OUT, LARGE, "kernel"),
    (is_lost_as_a_later_fragment, OUT, IN_FRAGMENTS, "kernel"),
    (is_lost_as_a_later_fragment, BACK, IN_FRAGMENTS, "kernel"),
    (comes_twice, OUT, DATAGRAMS, "kernel"),
    (is_lost, OUT + BACK, REACH, "kernel"),
    (has_another_vni, OUT, REACH, "kernel ipv6"),
    (goes_to_another_udp_port, OUT, REACH, "kernel ipv6"),
    (has_a_wrong_tcp_checksum, OUT, STREAM, "kernel ipv6"),
    (lacks_its_last_byte, OUT, REACH, "kernel ipv6"),
    (is_lost_as_a_later_fragment, BACK, IN_FRAGMENTS, "kernel ipv6"),
    (goes_to_another_mac, OUT, REACH, "kernel routed"),
    (goes_to_another_mac, OUT, REACH, "kernel routed ipv6"),
    (is_lost, BACK, REACH, "alkaid routed ipv6"),
]


def of_tunnels(mutation: Mutation) -> Mutation:
    """Does it to VXLAN and to nothing else."""

    def mutate(frame):
        # What IPv6 has more is set aside meanwhile, so that all is where IPv4 has it.
        of_ipv6 = frame[TYPE : TYPE + 2] == IPV6
        if not of_ipv6 and frame[TYPE : TYPE + 2] != IPV4:
            return [frame]
        protocol = frame[NEXT_HEADER if of_ipv6 else PROTOCOL]
        aside = frame[IP : IP + LONGER] if of_ipv6 else b""
        short = frame[:IP] + frame[IP + len(aside) :]
        if protocol != UDP or short[UDP_PORT : UDP_PORT + 2] != VXLAN_PORT.to_bytes(2, "big"):
            return [frame]
        return [each[:IP] + aside + each[IP:] for each in mutation(short)]

    return mutate


class Relayed(Underlay):
    """A relay between host A and its link."""

    def _connect(self, host: int, inner: str) -> None:
        if host == A:
            # What has another's address then does not answer for it, past the relay.
            self.middle.write(f"ipv4/conf/{inner}/arp_ignore", "1")
            self.relay = Relay(self.networks, self.middle, inner, self.mtu)
            inner = self.relay.device
        super()._connect(host, inner)


@pytest.fixture
def relayed(networks, hosts):
    """The relay, and two hosts that know each other."""

    def make(peer: str):
        kind, *of_underlay = peer.split()
        underlay = Relayed(networks, 6 if "ipv6" in of_underlay else 4, routed="routed" in of_underlay)
        here, there = hosts("alkaid", underlay, A, HERE, 1500), hosts(kind, underlay, B, THERE, 1500)
        there.make(here)
        here.make(there)
        return underlay.relay, here, there

    return make


@pytest.mark.parametrize("mutation, ways, noticed, peer", FAULTS, ids=[f"{peer.replace(' ', '-')}-{fault.__name__}-{'-'.join(ways)}" for fault, ways, _, peer in FAULTS])
def test_a_broken_switch_is_noticed(relayed, capsys, mutation, ways, noticed, peer):
    relay, here, there = relayed(peer)
    for way in ways:
        setattr(relay, way, of_tunnels(mutation))
    with pytest.raises(pytest.fail.Exception, match=noticed):
        talk(here, there, capsys, PATIENCE)
    assert relay.works()


def test_what_tcp_makes_up_for_is_noticed_too(relayed):
    relay, here, there = relayed("kernel")
    number = itertools.count(1)
    relay.out = of_tunnels(lambda frame: [frame] if next(number) % 50 else has_a_wrong_tcp_checksum(frame))
    exchange((here.guest, HERE.ip), (there.guest, THERE.ip))
    with pytest.raises(AssertionError, match=there.guest.name):
        there.check()
    assert relay.works()


@pytest.mark.parametrize("peer", ["kernel", "kernel ipv6", "kernel routed ipv6", "alkaid routed ipv6"])
def test_a_whole_switch_passes(relayed, capsys, peer):
    """The relay itself breaks nothing."""
    relay, here, there = relayed(peer)
    relay.out = relay.back = of_tunnels(lambda frame: [frame])
    talk(here, there, capsys)
    here.check()
    there.check()
    assert relay.works()
