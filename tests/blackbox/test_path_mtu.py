# SPDX-License-Identifier: MIT
"""Packets that are too long for their way, from outside: what senders are told, fragments, and TCP that is told before.
Frames, fragments and checksums are scapy's; tshark verifies what the switch made or changed."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

import goal
from frames import assert_encapsulated, assert_frames, packet, udp, vxlan
from plan import A, B, DVR_MAC, Subnet
from program import Port, pcap_ports
from tshark import assert_sound

NEAR, FAR = Subnet(5), Subnet(6, of_vpc="vpc-5")
HERE, ALSO_HERE, THERE, FAR_THERE = NEAR.guest(A), NEAR.guest(A, 2), NEAR.guest(B), FAR.guest(B)
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
HEADERS = 20 + 8
"""Of IPv4 and UDP."""


def to(guest, size: int, df: bool, ttl: int = 64, **fields) -> bytes:
    """A UDP packet of so many bytes of guest HERE; through the gateway if it has to."""
    if guest.subnet != NEAR:
        fields["eth_dst"] = NEAR.gateway_mac
    return udp(HERE, guest, ttl=ttl, dport=40_000, ip={"id": 99, "flags": "DF" if df else 0}, payload=bytes(i * 7 % 256 for i in range(size - HEADERS)), **fields)


def delivered(frame: bytes, guest) -> bytes:
    """The inner frame that leaves for another host."""
    if guest.subnet == NEAR:
        return frame
    routed = Ether(frame)
    routed.src, routed.dst = DVR_MAC, guest.mac
    routed[IP].ttl -= 1
    del routed[IP].chksum
    return bytes(routed)


def told(about: bytes, mtu: int) -> bytes:
    """ "Fragmentation needed" of the gateway about a frame of HERE."""
    head = Ether(src=Ether(about).dst, dst=HERE.mac) / IP(src=NEAR.gateway_ip, dst=HERE.ip, id=0, flags="DF", tos=0xC0, ttl=64)
    return bytes(head / ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(about[14 : 14 + 548]))


def guests(frames: list[bytes]):
    return [(HERE, frames), (ALSO_HERE, [])]


@pytest.mark.parametrize("mtu", [None, 1600, 9000])
def test_what_just_fits_the_underlay_passes_and_a_byte_more_is_reported(replay, tmp_path, mtu):
    config = ["set fragment off"] + ([f"port config 0 mtu {mtu}", "port config 1 mtu 9000"] if mtu else [])
    fits = (mtu or 1500) - 50
    frames, expected, errors = [], [], []
    for guest in (THERE, FAR_THERE):
        for df in (True, False):
            frames += [to(guest, fits, df), to(guest, fits + 1, df), to(guest, fits + 1000, df)]
            expected.append((delivered(frames[-3], guest), guest.subnet.vni, B))
            errors += [told(frame, fits) for frame in frames[-2:]]
    done = replay(STATES, guests=guests(frames), config=config)
    assert_encapsulated(done.sent[UPLINK], expected)
    assert all(len(frame) == 14 + (mtu or 1500) for frame in done.sent[UPLINK])
    assert_frames(done.sent[HERE_PORT], errors)
    assert done.drops(HERE_PORT) == {"too_big": 8}
    # The header that is quoted, too, and of what was not changed the guest's UDP.
    assert_sound(tmp_path, done.sent[HERE_PORT], ip=8 * 2, icmp=8)
    assert_sound(tmp_path, done.sent[UPLINK], ip=4 * 2, udp=4)


def test_the_way_to_a_guest_of_this_host_takes_what_its_port_does(replay):
    frames = [to(ALSO_HERE, size, True) for size in (1400, 1401)]
    done = replay(STATES, guests=guests(frames), config=["port config 2 mtu 1400"])
    assert_frames(done.sent[ALSO_PORT], frames[:1])
    assert_frames(done.sent[HERE_PORT], [told(frames[1], 1400)])
    assert done.drops(HERE_PORT) == {"too_big": 1}
    jumbo = [to(ALSO_HERE, size, True) for size in (9000, 9001)]
    done = replay(STATES, guests=guests(jumbo), config=["port config all mtu 9000"])
    assert_frames(done.sent[ALSO_PORT], jumbo[:1])
    assert_frames(done.sent[HERE_PORT], [told(jumbo[1], 9000)])


def test_what_comes_for_a_guest_whose_port_takes_less_is_dropped_there(replay):
    frames = [udp(THERE, HERE, payload=bytes(size - HEADERS)) for size in (1400, 1401)]
    done = replay(STATES, underlay=[vxlan(frame, 5, src=B) for frame in frames], guests=guests([]), config=["port config 1 mtu 1400"])
    assert_frames(done.sent[HERE_PORT], frames[:1])
    assert done.drops(UPLINK) == {"too_big": 1}


def test_bytes_behind_a_packet_that_fits_are_cut_off(replay):
    frame = to(THERE, 1450, True)
    done = replay(STATES, guests=guests([frame + b"behind"]))
    assert_encapsulated(done.sent[UPLINK], [(frame, 5, B)])


def test_what_icmp_is_not_for_is_dropped_in_silence(replay):
    long = to(THERE, 3000, True)
    first, later = fragment(IP(src=HERE.ip, dst=THERE.ip, id=3) / UDP() / Raw(bytes(4000)), fragsize=1600)[:2]
    damaged = long[:24] + b"\0\0" + long[26:]
    error = packet(HERE, THERE)[IP]
    frames = [
        bytes(Ether(src=HERE.mac, dst=THERE.mac) / later),
        bytes(Ether(src=HERE.mac, dst=THERE.mac) / IP(src=HERE.ip, dst=THERE.ip, flags="DF") / ICMP(type=3) / error / Raw(bytes(1500))),
        damaged,
        bytes(Ether(src=HERE.mac, dst=THERE.mac, type=0x88B5) / Raw(bytes(1451))),
        to(THERE, 1451, True, eth_dst="ff:ff:ff:ff:ff:ff"),
        bytes(Ether(src=HERE.mac, dst=THERE.mac) / Dot1Q(vlan=5) / Ether(long).payload),
    ]
    done = replay(STATES, guests=guests(frames), config=["set fragment off"])
    assert done.sent == [[], [], []]
    assert done.drops(HERE_PORT) == {"too_big": 4, "not_flooded": 1, "vlan_tagged": 1}
    first_alone = bytes(Ether(src=HERE.mac, dst=THERE.mac) / first)
    done = replay(STATES, guests=guests([first_alone]), config=["set fragment off"])
    assert_frames(done.sent[HERE_PORT], [told(first_alone, 1450)])


@pytest.mark.parametrize("mtu", [576, 1500, 4000])
@pytest.mark.parametrize("size", [1451, 3000, 20_000, 65_535])
def test_what_may_be_fragmented_is(replay, tmp_path, mtu, size):
    frames = [to(THERE, size, False), to(FAR_THERE, size, False), to(THERE, 100, False)]
    config = [f"port config 0 mtu {mtu}"]
    done = replay(STATES, guests=guests(frames), config=config)
    expected = []
    for frame, guest in zip(frames[:2], (THERE, FAR_THERE)):
        whole = Ether(delivered(frame, guest))
        pieces = fragment(whole[IP], fragsize=(mtu - 50 - 20) & ~7) if len(whole[IP]) > mtu - 50 else [whole[IP]]
        expected.append([(bytes(Ether(src=whole.src, dst=whole.dst) / piece), guest.subnet.vni, B) for piece in pieces])
    # What is cut leaves behind the rest of its burst.
    plain = [pieces[0] for pieces in expected if len(pieces) == 1] + [(frames[2], 5, B)]
    cut = [pieces for pieces in expected if len(pieces) > 1]
    sent = done.sent[UPLINK]
    assert_frames([frame[50:] for frame in sent], [inner for inner, _, _ in plain + sum(cut, [])])
    at = len(plain)
    assert_encapsulated(sent[:at], plain)
    for pieces in cut:
        ours = sent[at : at + len(pieces)]
        at += len(pieces)
        for frame, piece in zip(ours, pieces):
            assert_encapsulated([frame], [piece])
        assert len({frame[34:36] for frame in ours}) == 1, "one flow, one source port"
    assert done.drops(HERE_PORT) == {}
    extra = sum(len(pieces) - 1 for pieces in cut)
    assert (done.counters.ports[HERE_PORT]["forwarded"], done.counters.ports[UPLINK]["tx_own"]) == (3, extra)
    # tshark puts the fragments together; then the whole datagram's checksum is right too.
    assert_sound(tmp_path, sent, ip=2 * len(sent), udp=3)


def test_fragments_are_made_of_what_a_guest_may_have_cut_only(replay):
    frames = [to(THERE, 3000, True), to(ALSO_HERE, 3000, False)]
    done = replay(STATES, guests=guests(frames))
    assert done.sent[UPLINK] == []
    assert_frames(done.sent[HERE_PORT], [told(frames[0], 1450)])
    whole = Ether(frames[1])
    assert_frames(done.sent[ALSO_PORT], [bytes(Ether(src=whole.src, dst=whole.dst) / piece) for piece in fragment(whole[IP], fragsize=1480)])
    assert done.counters.ports[ALSO_PORT]["tx_own"] == 2


@pytest.mark.parametrize("on", [True, False])
def test_tcp_agrees_on_segments_that_fit_where_that_is_wanted(replay, tmp_path, on):
    def segment(src, dst, flags: str, mss: int | None, nops: int, **fields) -> bytes:
        options = [("NOP", None)] * nops + ([("MSS", mss)] if mss is not None else []) + [("Timestamp", (1, 2))]
        return bytes(packet(src, dst, layer=TCP, udp={"flags": flags, "options": options}, payload=b"", **fields))

    cases = [(flags, mss, nops) for flags in ("S", "SA", "A") for mss in (None, 536, 1410, 1411, 8960) for nops in (0, 1, 2)]
    out, expected, back, expected_back = [], [], [], []
    for flags, mss, nops in cases:
        less = min(mss, 1410) if on and mss is not None and "S" in flags else mss
        for guest in (THERE, FAR_THERE):
            way = {} if guest.subnet == NEAR else {"eth_dst": NEAR.gateway_mac}
            out.append(segment(HERE, guest, flags, mss, nops, **way))
            expected.append((delivered(segment(HERE, guest, flags, less, nops, **way), guest), guest.subnet.vni, B))
        back.append(vxlan(segment(THERE, HERE, flags, mss, nops), 5, src=B))
        expected_back.append(segment(THERE, HERE, flags, less, nops))
        routed = {"ttl": 63}
        back.append(vxlan(segment(FAR_THERE, HERE, flags, mss, nops, eth_src=DVR_MAC, **routed), 5, src=B))
        expected_back.append(segment(FAR_THERE, HERE, flags, less, nops, eth_src=NEAR.gateway_mac, **routed))
    done = replay(STATES, underlay=back, guests=guests(out), config=["set clamp-mss on"] if on else [])
    assert_encapsulated(done.sent[UPLINK], expected)
    assert_frames(done.sent[HERE_PORT], expected_back)
    assert_sound(tmp_path, done.sent[UPLINK], ip=2 * len(out), tcp=len(out))
    assert_sound(tmp_path, done.sent[HERE_PORT], ip=len(back), tcp=len(back))


def test_fragments_of_the_underlay_are_dropped_and_counted(replay):
    whole = Ether(vxlan(udp(THERE, HERE, payload=bytes(1400)), 5, src=B, ip={"flags": 0, "id": 4}))
    pieces = [bytes(Ether(src=whole.src, dst=whole.dst) / piece) for piece in fragment(whole[IP], fragsize=800)]
    done = replay(STATES, underlay=pieces, guests=guests([]))
    # Only the first one has ports: the other may be anything of the host's.
    assert done.silent and done.drops(UPLINK) == {"outer_fragment": 1, "not_for_us": 1}


def test_operators_see_what_fits_and_cannot_change_it_under_way(switches, tmp_path):
    ports = pcap_ports(tmp_path / "switch0", [Port(), Port(HERE.id), Port(ALSO_HERE.id)])
    switch = switches([*ports, "port config 0 mtu 1600", "set fragment off", "set clamp-mss on"])
    switch.accept(*STATES)
    assert [row["mtu"] for row in switch.show("ports")] == [1600, 1500, 1500], "no more than their own ports take"
    assert {row["mtu"] for row in switch.show("neighbors")} == {1550}
    assert [row["mtu"] for row in switch.show("port info all")] == [1600, 1500, 1500]
    config = switch.execute("show config")
    assert "set fragment off" in config and "set clamp-mss on" in config
    for command, refusal in (("port config 0 mtu 1500", "fixed at start"), ("port config 1 mtu 1400", "is started")):
        done = switch.client("exec", command)
        assert done.returncode != 0 and refusal in done.stderr, done.stderr
    switch.execute("port stop 1")
    switch.execute("port config 1 mtu 1400")
    switch.execute("port start 1")
    assert switch.show("port info all")[1]["mtu"] == 1400
    assert [row["mtu"] for row in switch.show("ports")] == [1600, 1400, 1500]
    switch.terminate()
