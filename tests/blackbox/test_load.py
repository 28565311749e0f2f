# SPDX-License-Identifier: MIT
"""Frames of several buffers, many packets, several workers: nothing is lost, and flows keep their order."""

from __future__ import annotations

import struct
from collections import defaultdict

import pytest

import goal
from frames import assert_encapsulated, assert_frames, forwarded, packet, to_gateway, udp, vxlan
from plan import A, B, DVR_MAC, Subnet
from replays import UPLINK

NET, FAR = Subnet(5), Subnet(6, of_vpc="vpc-5")
HERE, ALSO_HERE, THERE = NET.guest(A, 1), NET.guest(A, 2), NET.guest(B, 1)
FAR_THERE = FAR.guest(B)
STATES = [
    goal.vpc(NET),
    goal.subnet(NET),
    goal.subnet(FAR),
    goal.router(NET, FAR),
    goal.port(HERE),
    goal.port(ALSO_HERE),
    goal.neighbor(THERE),
    goal.neighbor(FAR_THERE, kind="L3"),
]
TWO_WORKERS = ["set nbcore 2", "set corelist 0,1"]

BUFFER = 1920
"""Bytes of a frame that fit the first buffer."""
LARGEST = 16_128 - 50
"""DPDK's net_pcap writes no more of a frame of several buffers than 16128 bytes, of which the outer header takes 50."""
SIZES = [60, 1514, BUFFER - 1, BUFFER, BUFFER + 1, 1970, 2 * BUFFER, 4096, 9014, LARGEST]


def sized(size: int, src, dst, **fields) -> bytes:
    """A UDP frame of `size` bytes whose payload says where each byte belongs."""
    pattern = b"".join(struct.pack(">I", n) for n in range(size // 4 + 1))
    return udp(src, dst, payload=pattern[: size - 42], **fields)


def test_frames_of_several_buffers_are_switched_routed_and_delivered_whole(replay):
    out = [sized(size, HERE, THERE) for size in SIZES]
    routed = [sized(size, HERE, FAR_THERE, eth_dst=NET.gateway_mac) for size in SIZES]
    local = [sized(size, ALSO_HERE, HERE) for size in SIZES]
    came = [sized(size, THERE, ALSO_HERE) for size in SIZES]
    done = replay(
        STATES,
        underlay=[vxlan(frame, 5, src=B) for frame in came],
        guests=[(HERE, out + routed), (ALSO_HERE, local)],
        config=["port config all mtu 20000"],
    )
    assert_frames(done.sent[1], local)
    assert_frames(done.sent[2], came)
    expected = [(frame, 5, B) for frame in out] + [(sized(size, HERE, FAR_THERE, eth_src=DVR_MAC, ttl=63), 6, B) for size in SIZES]
    assert_encapsulated(done.sent[UPLINK], expected)


def test_a_frame_of_several_buffers_cut_short_is_truncated(replay):
    whole = vxlan(sized(9014, THERE, HERE), 5, src=B)
    done = replay(STATES, underlay=[whole[:-1], whole[:5000], whole, whole + bytes(7)], guests=[(HERE, [])], config=["port config 1 mtu 9000"])
    assert done.drops(UPLINK) == {"truncated": 2}
    assert_frames(done.sent[1], [sized(9014, THERE, HERE)] * 2)


def test_a_frame_that_no_outer_packet_can_hold_is_too_big(replay):
    """The outer IPv4 packet has at most 65535 bytes, of which 36 are not the frame's."""
    largest = 0xFFFF - 36
    frame = udp(HERE, THERE, payload=bytes(largest + 1 - 42))
    done = replay(STATES, guests=[(HERE, [frame])], config=["port config all mtu 65535", "set fragment off"])
    assert done.silent and done.drops(1) == {"too_big": 1}


def numbered(count: int, flows: int, src, dst) -> list[bytes]:
    """Frames of several flows, each with its number inside. Without UDP checksums, so that one frame of a flow, made
    by scapy, makes all of it."""
    heads = [bytes(packet(src, dst, sport=1000 + n, payload=bytes(4), udp={"chksum": 0}))[:-4] for n in range(flows)]
    return [heads[n % flows] + struct.pack(">I", n) for n in range(count)]


def wrapped(frames: list[bytes]) -> list[bytes]:
    """Frames of one length in VXLAN from host B."""
    head = vxlan(frames[0], 5, src=B)[: -len(frames[0])]
    return [head + frame for frame in frames]


def assert_flows(got: list[bytes], expected: list[bytes]) -> None:
    """The same frames, each flow in its order. Flows are told apart by the guest's source port."""

    def by_flow(frames):
        flows = defaultdict(list)
        for frame in frames:
            flows[frame[34:36]].append(frame)
        return flows

    got, expected = by_flow(got), by_flow(expected)
    assert got.keys() == expected.keys()
    for key, frames in expected.items():
        assert_frames(got[key], frames)


@pytest.mark.parametrize("burst", [1, 32, 64])
def test_one_worker_keeps_the_order_of_everything(replay, burst):
    out, came = numbered(2000, 7, HERE, THERE), numbered(2000, 7, THERE, HERE)
    done = replay(
        STATES,
        underlay=wrapped(came),
        guests=[(HERE, out)],
        config=[f"set burst {burst}"],
    )
    assert_frames(done.sent[1], came)
    assert_encapsulated(done.sent[UPLINK], [(frame, 5, B) for frame in out])


def test_two_workers_on_ports_with_one_queue_lose_nothing_and_keep_each_flows_order(replay):
    """A pcap port has one send queue, so one worker hands its frames to the other. No more of them than fit between
    the two: how fast the other takes them is the machine's affair here."""
    count = 1000
    out, came = numbered(count, 9, HERE, THERE), numbered(count, 9, THERE, ALSO_HERE)
    done = replay(
        STATES,
        underlay=wrapped(came),
        guests=[(HERE, out), (ALSO_HERE, [])],
        config=TWO_WORKERS,
    )
    assert all(not done.drops(port) for port in range(3)), done.counters.drops
    assert_flows(done.sent[2], came)
    assert_flows([frame[50:] for frame in done.sent[UPLINK]], out)
    assert_encapsulated(sorted(done.sent[UPLINK], key=lambda f: f[50:]), [(frame, 5, B) for frame in sorted(out)])


def test_two_workers_that_cannot_keep_up_count_what_they_lose(replay):
    """Many more frames than fit between two workers. What was lost is counted, what was not is whole and in order."""
    count = 20_000
    out = numbered(count, 9, HERE, THERE)
    back = numbered(count, 9, ALSO_HERE, THERE)
    done = replay(STATES, guests=[(HERE, out), (ALSO_HERE, back)], config=TWO_WORKERS)
    lost = 0
    for port in (1, 2):
        assert set(done.drops(port)) <= {"tx_full"}
        lost += done.drops(port).get("tx_full", 0)
    inner = [frame[50:] for frame in done.sent[UPLINK]]
    assert len(inner) + lost == 2 * count
    for sent, source in ((out, HERE), (back, ALSO_HERE)):
        mine = [frame for frame in inner if frame[26:30] == bytes(map(int, source.ip.split(".")))]
        flows = defaultdict(list)
        for frame in mine:
            flows[frame[34:36]].append(int.from_bytes(frame[42:46], "big"))
        assert all(numbers == sorted(set(numbers)) for numbers in flows.values())
        assert set(mine) <= set(sent)


def test_the_packet_pool_is_whole_after_many_drops_of_every_kind(replay):
    """Few buffers, many drops: one leaked buffer in thirty would end this."""
    good, long = udp(HERE, THERE), sized(9014, HERE, THERE)
    bad = [udp(HERE, NET.guest(B, 9)), good[:20], to_gateway(HERE, FAR.guest(B, 9)), long[:100], sized(9014, HERE, NET.guest(B, 9))]
    came = vxlan(udp(THERE, HERE), 5, src=B)
    frames = [frame for _ in range(2000) for frame in (good, *bad)]
    done = replay(STATES, underlay=[came, came[:50], vxlan(came, 9, src=B)] * 2000, guests=[(HERE, frames)], config=["set mbufs 1024"])
    assert done.drops(1) == {"unknown_mac": 4000, "truncated": 4000, "unknown_neighbor": 2000}
    assert done.drops(UPLINK) == {"truncated": 2000, "unknown_vni": 2000}
    assert_frames(forwarded(done.sent[1]), [udp(THERE, HERE)] * 2000)
    assert len(done.sent[UPLINK]) == 2000
