# SPDX-License-Identifier: MIT
"""`alkaid explain` of a running switch: what it says would leave is what leaves, and why is said with the controller's names."""

from __future__ import annotations

import struct

import goal
from frames import assert_frames, encapsulated, tagged, to_gateway, udp, vxlan, write_pcap
from plan import A, B, Subnet

NET, FAR = Subnet(5), Subnet(6, of_vpc="vpc-5")
HERE, THERE, FAR_THERE = NET.guest(A, 1), NET.guest(B, 1), FAR.guest(B, 1)
NOBODY, NOWHERE = NET.guest(B, 9), Subnet(77).guest(B, 1)

FROM_GUEST = [udp(HERE, THERE), to_gateway(HERE, FAR_THERE), udp(HERE, NOBODY), to_gateway(HERE, NOWHERE)]
FROM_UNDERLAY = [vxlan(udp(THERE, HERE), 5, src=B), vxlan(udp(THERE, HERE), 99, src=B)]


def sent(answers: list[dict], port: int) -> list[bytes]:
    return [bytes.fromhex(frame["frame"]) for answer in answers for frame in answer["sent"] if frame["port"] == port]


def start(switches, tmp_path, *settings):
    guest, underlay = tmp_path / "guest.pcap", tmp_path / "underlay.pcap"
    write_pcap(guest, FROM_GUEST)
    write_pcap(underlay, FROM_UNDERLAY)
    config = [
        "set mbufs 1024",
        f"port attach net_pcap0,rx_pcap={underlay},tx_pcap=tx0.pcap",
        f"port attach net_pcap1,rx_pcap={guest},tx_pcap=tx1.pcap",
        f"port bind 1 {HERE.id}",
        "set vtep 192.0.2.1/24 port 0",
        *settings,
    ]
    switch = switches(config)
    switch.accept(
        goal.vpc(NET), goal.subnet(NET), goal.subnet(FAR), goal.router(NET, FAR), goal.port(HERE),
        goal.neighbor(THERE), goal.neighbor(FAR_THERE, kind="L3"),
    )  # fmt: skip
    return switch, guest, underlay


def test_what_is_explained_is_what_leaves_and_nothing_does_meanwhile(switches, tmp_path):
    switch, guest, underlay = start(switches, tmp_path)
    answers = switch.explain(1, "--pcap", guest) + switch.explain(0, "--pcap", underlay)
    fates = [(answer["outcome"], answer["reason"]) for answer in answers]
    assert fates == [
        ("forwarded", None), ("forwarded", None), ("dropped", "unknown_mac"), ("dropped", "no_route"),
        ("forwarded", None), ("dropped", "unknown_vni"),
    ]  # fmt: skip
    (first,) = sent(answers[:1], 0)
    assert_frames([first], [encapsulated(first, FROM_GUEST[0], 5, B)])
    before = switch.counters()
    assert all(row["rx_packets"] == row["tx_packets"] == 0 for row in before.ports.values())

    switch.execute("start")
    counters = switch.settled(port0=2, port1=4)
    drops = {(row["port"], row["reason"]): row["packets"] for row in switch.show("drops")}
    assert drops == {(1, "unknown_mac"): 1, (1, "no_route"): 1, (0, "unknown_vni"): 1}, counters
    switch.terminate()
    for port in (0, 1):
        # Guests and underlay are served in turns.
        assert_frames(sorted(switch.sent(port)), sorted(sent(answers, port)))


def test_each_decision_is_told_with_the_resource_and_its_revision(switches, tmp_path):
    switch, _, _ = start(switches, tmp_path)
    (answer,) = switch.explain(1, "--packet", f"ip dst={FAR_THERE.ip} ttl=9 / udp dport=53 / len=10")
    assert [step["stage"] for step in answer["steps"]] == ["port", "parse", "route", "neighbor", "encap"]
    because = [(named["kind"], named["id"], named["revision"]) for step in answer["steps"] for named in step["because"]]
    assert because == [
        ("PORT", HERE.id, 1), ("SUBNET", NET.id, 1), ("ROUTER", "router", 1), ("NEIGHBOR", FAR_THERE.id, 1),
    ]  # fmt: skip
    assert f"192.0.2.1 > 192.0.2.{B} ttl 64, UDP " in answer["sent"][0]["summary"]
    assert f"VNI 6 [{'fe:16:11:00:00:00'} > {FAR_THERE.mac}, {HERE.ip} > {FAR_THERE.ip} ttl 8, UDP 50000 > 53" in answer["sent"][0]["summary"]

    words = switch.client("explain", "--port", 1, "--packet", f"arp dst={NET.gateway_ip}")
    assert words.returncode == 0, words.stderr
    assert "result    answered" in words.stdout and f"- SUBNET {NET.id}, revision 1" in words.stdout


def test_what_cannot_be_explained_says_why(switches, tmp_path):
    switch, guest, _ = start(switches, tmp_path)

    def error(port, *arguments) -> str:
        done = switch.client("explain", "--port", port, *arguments)
        assert done.returncode == 2 and done.stdout == "", (done.stdout, done.stderr)
        return done.stderr

    assert "`sctp` cannot stand there" in error(1, "--packet", f"ip dst={THERE.ip} / sctp")
    assert "there is no port 99" in error(99, "--pcap", guest)
    assert "there is no port 2\n" in error(2, "--pcap", guest)
    assert "no-such.pcap" in error(1, "--pcap", tmp_path / "no-such.pcap")
    # Little-endian pcap files: of Linux "cooked" frames, and of a packet that was cut when it was recorded.
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 113)
    (tmp_path / "cooked.pcap").write_bytes(header)
    assert "not of Ethernet's" in error(1, "--pcap", tmp_path / "cooked.pcap")
    cut = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1) + struct.pack("<IIII", 0, 0, 20, 90) + bytes(20)
    (tmp_path / "cut.pcap").write_bytes(cut)
    assert "has 20 of its 90 bytes" in error(1, "--pcap", tmp_path / "cut.pcap")
    switch.execute("port stop 1")
    assert "port 1 is not started" in error(1, "--packet", "ip dst=10.5.2.1")
    assert "--packet" in error(1)


def test_the_outer_header_is_as_it_was_set(switches, tmp_path):
    switch, guest, underlay = start(switches, tmp_path, "set vxlan port 8472", "set vxlan dscp 46", "set vxlan vlan 100")
    answers = switch.explain(1, "--pcap", guest)
    (frame,) = sent(answers[:1], 0)
    bare = frame[:12] + frame[16:]
    assert_frames([frame], [tagged(encapsulated(bare, FROM_GUEST[0], 5, B, dport=8472, dscp=46), 100)])
    summary = answers[0]["sent"][0]["summary"]
    assert ", VLAN 100, " in summary and "> 8472, VNI 5 [" in summary
    (answer,) = switch.explain(0, "--pcap", underlay)[:1]
    assert answer["reason"] == "untagged"
    # What is made of words is in that VLAN, and goes to that port.
    inner = f"eth src={THERE.mac} dst={HERE.mac} / ip src={THERE.ip} dst={HERE.ip} / udp"
    outer = f"eth src=02:00:00:00:00:09 dst=02:00:00:00:00:08 / ip src=192.0.2.2 dst=192.0.2.1 / vxlan vni=5 / {inner}"
    (answer,) = switch.explain(0, "--packet", outer)
    assert answer["outcome"] == "forwarded" and len(sent([answer], 1)) == 1
    shown = switch.execute("show config")
    assert "set vxlan port 8472" in shown and "set vxlan dscp 46" in shown and "set vxlan vlan 100" in shown
