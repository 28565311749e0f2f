# SPDX-License-Identifier: MIT
"""What comes from the underlay: sound VXLAN is taken, everything else is counted under its reason, nothing is fatal."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, IPOption_NOP, IPOption_Timestamp, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

import goal
from frames import assert_encapsulated, assert_frames, tagged, udp, vxlan
from plan import A, B, PCAP_UPLINK_MAC, Subnet, host_ip, host_mac
from program import call
from replays import UPLINK

NET = Subnet(5)
HERE, THERE = NET.guest(A), NET.guest(B)
STATES = [goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.neighbor(THERE)]
INNER = udp(THERE, HERE, payload=b"some payload")
GOOD = vxlan(INNER, 5, src=B)
LINK = Ether(src=host_mac(B), dst=PCAP_UPLINK_MAC)


@pytest.fixture
def arrive(replay):
    """Lets frames arrive from the underlay; what the guest got, and drops by reason."""

    def run(frames, **named):
        done = replay(STATES, underlay=frames, guests=[(HERE, [])], **named)
        assert done.sent[UPLINK] == []
        return done.sent[1], done.drops(UPLINK)

    return run


def changed(offset: int, *values: int, frame: bytes = GOOD) -> bytes:
    return frame[:offset] + bytes(values) + frame[offset + len(values) :]


def with_ip_checksum(frame: bytes) -> bytes:
    """With the outer IPv4 checksum computed anew."""
    parsed = Ether(frame)
    header = parsed[IP].ihl * 4 if parsed[IP].ihl >= 5 else 20
    bare = frame[:24] + b"\0\0" + frame[26:]
    total = sum(int.from_bytes(bare[14 + n : 16 + n], "big") for n in range(0, header, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return frame[:24] + (0xFFFF - total).to_bytes(2, "big") + frame[26:]


def test_the_reference_packet_arrives(arrive):
    assert arrive([GOOD]) == ([INNER], {})


def test_a_vni_that_nobody_here_is_in_is_unknown(arrive):
    got, drops = arrive([vxlan(INNER, vni, src=B) for vni in (0, 4, 6, 5 << 8, 5 << 16, 0xFFFFFF)])
    assert (got, drops) == ([], {"unknown_vni": 6})


def test_a_clear_i_flag_means_that_there_is_no_vni(arrive):
    got, drops = arrive([vxlan(INNER, 5, src=B, flags=flags) for flags in (0x00, 0xF7, 0x01)])
    assert (got, drops) == ([], {"no_vni": 3})


def test_reserved_bits_are_ignored(arrive):
    at = 42
    frames = [changed(at, 0xFF), changed(at, 0x0C), changed(at + 1, 0xFF, 0xFF, 0xFF), changed(at + 7, 0xFF), changed(at, 0x88, 1, 2, 3, 0, 0, 5, 9)]
    got, drops = arrive(frames)
    assert_frames(got, [INNER] * len(frames))
    assert drops == {}


def test_the_source_of_the_underlay_packet_does_not_matter(arrive):
    """Ports and addresses of senders are theirs to choose; a checksum may be there (RFC 7348 section 5)."""
    frames = [
        vxlan(INNER, 5, src=B, sport=1),
        vxlan(INNER, 5, src=B, sport=4789),
        vxlan(INNER, 5, src=77),
        vxlan(INNER, 5, src=B, udp_fields={"chksum": None}),
        vxlan(INNER, 5, src=B, ip={"id": 7, "flags": 0, "ttl": 1}),
    ]
    got, drops = arrive(frames)
    assert_frames(got, [INNER] * len(frames))
    assert drops == {}


@pytest.mark.parametrize("nops", [1, 4, 40])
def test_outer_options_are_skipped(arrive, nops):
    options = [IPOption_NOP()] * nops
    assert arrive([vxlan(INNER, 5, src=B, ip={"options": options})] * 2) == ([INNER] * 2, {})
    assert arrive([vxlan(INNER, 5, src=B, ip={"options": [IPOption_Timestamp()]})]) == ([INNER], {})


def test_ethernet_padding_is_not_the_guests(arrive):
    short = udp(THERE, HERE, payload=b"")
    frames = [vxlan(short, 5, src=B) + bytes(n) for n in (1, 18, 300)]
    options = vxlan(short, 5, src=B, ip={"options": [IPOption_NOP()] * 4}) + bytes(46)
    got, drops = arrive([*frames, options])
    assert_frames(got, [short] * 4)
    assert drops == {}


def test_a_frame_cut_anywhere_is_truncated(arrive):
    """At every byte, so at every header's boundary too. Less than a header that says for whom it is counts too."""
    got, drops = arrive([GOOD[:length] for length in range(len(GOOD))])
    assert (got, drops) == ([], {"truncated": len(GOOD)})


def test_a_frame_with_options_cut_anywhere_is_truncated(arrive):
    whole = vxlan(INNER, 5, src=B, ip={"options": [IPOption_NOP()] * 40})
    got, drops = arrive([whole[:length] for length in range(len(whole))])
    assert (got, drops) == ([], {"truncated": len(whole)})


def test_an_inner_frame_cut_in_its_headers_is_truncated(arrive):
    """Here the outer lengths agree with what is there: a tenant of another host sent it so."""
    headers = 14 + 20 + 8
    got, drops = arrive([vxlan(INNER[:length], 5, src=B) for length in range(14, len(INNER))])
    assert (got, drops) == ([], {"truncated": len(INNER) - 14})
    got, drops = arrive([vxlan(INNER[:length], 5, src=B) for length in range(0, 14)])
    assert got == [] and sum(drops.values()) == 14 and set(drops) <= {"truncated", "malformed"}
    assert headers < len(INNER)


def test_a_guests_frame_cut_in_its_headers_is_truncated(replay):
    whole = udp(HERE, THERE, payload=b"")
    done = replay(STATES, guests=[(HERE, [whole[:length] for length in range(len(whole))])])
    assert done.silent and done.drops(1) == {"truncated": len(whole)}


@pytest.mark.parametrize(
    "what, frame",
    [
        ("outer version 6", changed(14, 0x65)),
        ("outer header of 16 bytes", changed(14, 0x44)),
        ("outer total length too small for UDP", with_ip_checksum(changed(16, 0, 27))),
        ("UDP length below its header", changed(38, 0, 7)),
        ("UDP length beyond the IP packet", changed(38, 1, 0)),
        ("UDP length short of the IP packet", changed(38, 0, 40)),
    ],
)
def test_a_length_or_version_that_contradicts_the_frame_is_malformed(arrive, what, frame):
    assert arrive([frame]) == ([], {"malformed": 1}), what


def test_an_inner_contradiction_is_malformed(arrive):
    frames = [changed(64, 0x65), changed(64, 0x44), changed(66, 0, 19)]
    assert arrive(frames) == ([], {"malformed": 3})


def test_a_wrong_outer_checksum_is_not_trusted(arrive):
    frames = [changed(24, 0xDE, 0xAD), changed(22, 63), vxlan(INNER, 5, src=B, ip={"options": [IPOption_NOP()] * 4, "chksum": 1})]
    assert arrive(frames) == ([], {"bad_checksum": 3})


def test_outer_fragments_are_not_reassembled(arrive):
    first = with_ip_checksum(changed(20, 0x20, 0))
    assert arrive([first]) == ([], {"outer_fragment": 1})


def test_what_is_not_vxlan_for_us_has_nowhere_to_go(arrive):
    assert arrive(STRANGERS) == ([], {"not_for_us": len(STRANGERS)})


STRANGERS = [
    vxlan(INNER, 5, src=B, dst=3, eth_dst=PCAP_UPLINK_MAC),
    vxlan(INNER, 5, src=B, udp_fields={"dport": 4788}),
    vxlan(INNER, 5, src=B, ip={"proto": 6}),
    bytes(LINK / ARP(psrc=host_ip(B), pdst=host_ip(A))),
    bytes(LINK / IP(src=host_ip(B), dst=host_ip(A)) / ICMP()),
    bytes(LINK / IP(src=host_ip(B), dst=host_ip(A)) / UDP(dport=53) / Raw(b"query")),
    bytes(LINK / IPv6(src="fe80::2", dst="fe80::1") / UDP(dport=4789) / Raw(GOOD[42:])),
    bytes(LINK / Dot1Q(vlan=9) / IP(GOOD[14:])),
    with_ip_checksum(changed(20, 0, 9)),
]


def test_with_a_host_port_it_goes_to_the_host_and_the_host_sends_as_it_likes(replay):
    own = [bytes(Ether(src=PCAP_UPLINK_MAC, dst=host_mac(B)) / IP(src=host_ip(A), dst=host_ip(B)) / UDP() / Raw(bytes(n))) for n in range(50)]
    mixed = [frame for stranger in STRANGERS for frame in (GOOD, stranger)]
    done = replay(STATES, underlay=mixed, guests=[(HERE, []), (None, own)], config=["set host port 2"])
    assert_frames(done.sent[1], [INNER] * len(STRANGERS))
    assert_frames(done.sent[2], STRANGERS)
    assert_frames(done.sent[UPLINK], own)


def ecn_cases():
    """Inner field, outer field, what the guest gets: RFC 6040 section 4.2, figure 4. None: dropped."""
    not_ect, ect1, ect0, ce = range(4)
    table = {
        not_ect: {not_ect: not_ect, ect0: not_ect, ect1: not_ect, ce: None},
        ect0: {not_ect: ect0, ect0: ect0, ect1: ect1, ce: ce},
        ect1: {not_ect: ect1, ect0: ect1, ect1: ect1, ce: ce},
        ce: {not_ect: ce, ect0: ce, ect1: ce, ce: ce},
    }
    return [(inner, outer, result) for inner, row in table.items() for outer, result in row.items()]


def test_congestion_on_the_way_is_told_to_the_guest(arrive):
    """The inner DSCP stays the sender's, whatever the underlay made of the outer one (RFC 2983, pipe model)."""
    dscp = [0, 0x2E << 2, 0x3F << 2]
    cases = [(case, inner, outer) for case in ecn_cases() for inner in dscp for outer in dscp]
    underlay = [vxlan(udp(THERE, HERE, tos=inner | case[0]), 5, src=B, tos=outer | case[1]) for case, inner, outer in cases]
    got, drops = arrive(underlay)
    expected = [udp(THERE, HERE, tos=inner | case[2]) for case, inner, outer in cases if case[2] is not None]
    assert_frames(got, expected)
    assert drops == {"ecn_illegal": 9}


def test_congestion_on_the_way_is_told_to_ipv6_guests_too(arrive):
    def frame(tc):
        return bytes(Ether(src=THERE.mac, dst=HERE.mac) / IPv6(src="fd00::2", dst="fd00::1", tc=tc, fl=0xABCDE) / UDP() / Raw(b"six"))

    cases = ecn_cases()
    got, drops = arrive([vxlan(frame(0xB8 | inner), 5, src=B, tos=outer) for inner, outer, _ in cases])
    assert_frames(got, [frame(0xB8 | result) for _, _, result in cases if result is not None])
    assert drops == {"ecn_illegal": 1}


def test_dscp_and_ecn_of_the_guest_are_copied_out(replay):
    frames = [udp(HERE, THERE, tos=tos) for tos in range(256)]
    done = replay(STATES, guests=[(HERE, frames)])
    assert [frame[15] for frame in done.sent[UPLINK]] == list(range(256))
    assert_encapsulated(done.sent[UPLINK], [(frame, 5, B) for frame in frames])


@pytest.mark.parametrize("port", [1, 8472, 65535])
def test_vxlan_goes_to_the_udp_port_that_is_set_and_comes_to_no_other(replay, port):
    there = {"udp_fields": {"dport": port}}
    short = udp(THERE, HERE, payload=b"")
    arriving = [
        vxlan(INNER, 5, src=B, **there),
        vxlan(short, 5, src=B, ip={"options": [IPOption_NOP()] * 4}, **there) + bytes(20),
        GOOD,
        vxlan(INNER, 5, src=B, udp_fields={"dport": port ^ 1}),
    ]
    frame = udp(HERE, THERE, tos=0xB9)
    done = replay(STATES, underlay=arriving, guests=[(HERE, [frame])], config=[f"set vxlan port {port}"])
    assert_frames(done.sent[1], [INNER, short])
    assert done.drops(UPLINK) == {"not_for_us": 2}
    assert_encapsulated(done.sent[UPLINK], [(frame, 5, B)], dport=port)


@pytest.mark.parametrize("dscp", [0, 46, 63])
def test_a_dscp_that_is_set_is_that_of_all_outer_headers(replay, dscp):
    frames = [udp(HERE, THERE, tos=tos) for tos in range(256)]
    six = [bytes(Ether(src=HERE.mac, dst=THERE.mac) / IPv6(src="fd00::1", dst="fd00::2", tc=tos) / UDP() / Raw(b"six")) for tos in (0xB9, 0xFF)]
    other = bytes(Ether(src=HERE.mac, dst=THERE.mac, type=0x88B5) / Raw(bytes(50)))
    arriving = [vxlan(udp(THERE, HERE, tos=inner), 5, src=B, tos=outer) for inner, outer in ((0xB8, 0), (0, 0xFC), (0x29, dscp << 2))]
    done = replay(STATES, underlay=arriving, guests=[(HERE, [*frames, *six, other])], config=[f"set vxlan dscp {dscp}"])
    assert_encapsulated(done.sent[UPLINK], [(frame, 5, B) for frame in [*frames, *six, other]], dscp=dscp)
    assert_frames(done.sent[1], [udp(THERE, HERE, tos=inner) for inner in (0xB8, 0, 0x29)])


@pytest.mark.parametrize("vlan", [1, 100, 4094])
def test_an_underlay_in_a_vlan_has_its_tag_on_all_that_leaves_and_on_all_that_is_taken(replay, vlan):
    own = [bytes(Ether(src=PCAP_UPLINK_MAC, dst=host_mac(B)) / IP(src=host_ip(A), dst=host_ip(B)) / UDP() / Raw(bytes(n))) for n in range(3)]
    own.append(tagged(own[0], 7))
    to_host = [frame for frame in STRANGERS if frame[12:14] != b"\x81\x00"]
    elsewhere = [tagged(GOOD, vlan ^ 2), tagged(GOOD, 0, priority=3), tagged(to_host[3], vlan ^ 2)]
    arriving = [tagged(GOOD, vlan), tagged(GOOD, vlan, priority=7), *elsewhere, GOOD, to_host[3]] + [tagged(frame, vlan) for frame in to_host]
    frames = [udp(HERE, THERE, tos=0xB9), udp(HERE, THERE, payload=bytes(1400))]
    done = replay(STATES, underlay=arriving, guests=[(HERE, frames), (None, own)], config=["set host port 2", f"set vxlan vlan {vlan}"])
    assert_frames(done.sent[1], [INNER, INNER])
    assert_frames(done.sent[2], elsewhere + to_host)
    assert done.drops(UPLINK) == {"untagged": 2}
    # Guests and host are served in turns.
    left = done.sent[UPLINK]
    assert all(frame[12:14] == b"\x81\x00" for frame in left)
    carried = [frame[:12] + frame[16:] for frame in left if frame[16:18] == b"\x08\x00" and frame[40:42] == b"\x12\xb5"]
    assert_encapsulated(carried, [(frame, 5, B) for frame in frames])
    assert_frames([frame for frame in left if frame[40:42] != b"\x12\xb5"], [tagged(frame, vlan) for frame in own[:3]] + own[3:])
    assert all(frame[14:16] == vlan.to_bytes(2, "big") for frame in left if frame != own[3])


@pytest.mark.parametrize(
    "line, expected",
    [
        ("set vxlan port 0", "a number from 1 to 65535"),
        ("set vxlan port 65536", "a number from 1 to 65535"),
        ("set vxlan port", "a number from 1 to 65535"),
        ("set vxlan dscp 64", "`copy` or a number from 0 to 63"),
        ("set vxlan dscp cpy", "copy"),
        ("set vxlan dscp -1", "a number from 0 to 63"),
        ("set vxlan vlan 0", "a number from 1 to 4094"),
        ("set vxlan vlan 4095", "a number from 1 to 4094"),
        ("set vxlan vlan 9\nset vxlan vlan 9", "twice"),
        ("set vxlan prt 1", "`port`"),
        ("set vxlan port 1\nset vxlan port 2", "twice"),
    ],
)
def test_what_is_no_outer_header_is_refused(alkaid, tmp_path, line, expected):
    file = tmp_path / "switch.conf"
    file.write_text(f"port attach net_null0\nset vtep 192.0.2.1/24 port 0\n{line}\n")
    done = call(alkaid, "check", file)
    assert done.returncode != 0 and expected in done.stderr, done.stderr


def test_vxlan_in_vxlan_is_payload(replay):
    """A guest may run VXLAN itself, even towards the host's own address."""
    nested = vxlan(INNER, 5, src=B, eth_src=HERE.mac, eth_dst=THERE.mac)
    done = replay(STATES, guests=[(HERE, [nested])])
    assert_encapsulated(done.sent[UPLINK], [(nested, 5, B)])
    back = vxlan(INNER, 5, src=B, eth_src=THERE.mac, eth_dst=HERE.mac)
    done = replay(STATES, underlay=[vxlan(back, 5, src=B)], guests=[(HERE, [])])
    assert done.sent[1] == [back]


def test_fragments_of_a_guest_are_one_flow(replay):
    first = udp(HERE, THERE, payload=bytes(32), ip={"flags": "MF", "id": 9})
    rest = bytes(Ether(src=HERE.mac, dst=THERE.mac) / IP(src=HERE.ip, dst=THERE.ip, id=9, frag=5, proto=17) / Raw(b"\1\2\3\4 the rest"))
    done = replay(STATES, guests=[(HERE, [first, rest])])
    assert len({frame[34:36] for frame in done.sent[UPLINK]}) == 1
    assert [frame[50:] for frame in done.sent[UPLINK]] == [first, rest]


def test_random_noise_is_counted_and_harmless(replay):
    """From both sides, between good packets, which all get through."""
    import random

    noise = random.Random(20)
    good = udp(HERE, THERE)
    underlay, guest = [], []
    for _ in range(1500):
        flipped = bytearray(GOOD)
        for _ in range(noise.randint(1, 4)):
            flipped[noise.randrange(14, 64)] ^= 1 << noise.randrange(8)
        underlay += [GOOD, bytes(flipped), noise.randbytes(noise.randint(1, 200))]
        guest += [good, noise.randbytes(noise.randint(1, 200))]
    done = replay(STATES, underlay=underlay, guests=[(HERE, guest)])
    assert sum(frame == INNER for frame in done.sent[1]) >= 1500
    assert sum(frame[50:] == good for frame in done.sent[UPLINK]) >= 1500


