# SPDX-License-Identifier: MIT
"""With two uplinks, of one version of IP or of both: what is explained is what leaves, a dry run says what a push does, and a
crash changes nothing. Ports are pcap files."""

from __future__ import annotations

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

import goal
from frames import assert_encapsulated, assert_frames, read_pcap, udp, vxlan
from plan import A, B, C, host_mac
from program import Port, eventually, pcap_ports
from test_audit import dry_run
from test_over_ipv6 import over_ipv6, vxlan6
from test_restart import everything, kill
from test_uplinks import BACK, FLOWS, HERE, OTHER_VTEP, PCAP_MACS, ROUTER, STATES, SUBNET, spread

SECOND = {
    4: [f"set vtep {OTHER_VTEP}/24 port 2", f"set underlay gateway 198.51.100.254 {ROUTER} port 2"],
    6: ["set vtep 2001:db8:ff::1/64 port 2"],
}
"""The second uplink with its VTEP of IPv4, by which all hosts are reached, or of IPv6, by which only those are that have one."""

ELSEWHERE = SUBNET.guest(C)
TO_SIX = [udp(HERE, ELSEWHERE, sport=2000 + n) for n in range(16)]
"""To a host of IPv6, if there is a VTEP."""

FRAMES = FLOWS + TO_SIX


@pytest.fixture(params=[4, 6])
def second(request) -> int:
    """What the second uplink is of."""
    return request.param


def start(switches, tmp_path, second: int):
    arriving = [vxlan(BACK, 5, src=B), vxlan(BACK, 5, src=B, ip={"dst": OTHER_VTEP}), vxlan6(BACK)]
    ports = pcap_ports(tmp_path, [Port(frames=arriving), Port(HERE.id, FRAMES), Port(frames=arriving)])
    switch = switches([*ports, *SECOND[second], "set store store"])
    switch.accept(*STATES)
    if second == 6:
        switch.accept(over_ipv6(ELSEWHERE))
    return switch


def tunnelled(path) -> list[bytes]:
    """What a port has sent, but for the switch's own ARP and neighbor discovery: after a link was lost it announces its VTEPs."""
    frames = read_pcap(path)
    return [frame for frame in frames if frame[12:14] == b"\x08\x00" or (frame[12:14], frame[20]) == (b"\x86\xdd", 17)]


def by(answers: list[dict], port: int) -> list[bytes]:
    return [bytes.fromhex(frame["frame"]) for answer in answers for frame in answer["sent"] if frame["port"] == port]


def assert_sent(second: int, first: list[bytes], other: list[bytes]) -> None:
    """All flows have left as they have to."""
    if second == 4:
        spread(first, other, first_mac=PCAP_MACS[0], src=OTHER_VTEP, src_mac=PCAP_MACS[2], dst_mac=ROUTER)
        assert first and other
        return
    assert_encapsulated(first, [(frame, 5, B) for frame in FLOWS])
    outers = [Ether(frame) for frame in other]
    fields = [{"sport": outer[UDP].sport, "label": outer[IPv6].fl} for outer in outers]
    assert_frames(other, [vxlan6(frame, src=A, dst=C, src_mac=PCAP_MACS[2], dst_mac=host_mac(C), **each) for frame, each in zip(TO_SIX, fields)])


def states(switch) -> list[str]:
    return [row["state"] for row in switch.show("ports") if row["role"] == "uplink"]


def test_what_is_explained_is_what_leaves_by_each_uplink(switches, tmp_path, second):
    switch = start(switches, tmp_path, second)
    eventually("both are used", lambda: states(switch) == ["ready"] * 2)

    def explained() -> list[dict]:
        return [answer for port in range(3) for answer in switch.explain(port, "--pcap", tmp_path / f"rx{port}.pcap")]

    before = explained()
    assert_sent(second, by(before, 0), by(before, 2))
    # What is for the VTEP of either is taken from both.
    assert by(before, 1) == [BACK] * 4
    outcomes = [answer["reason"] for answer in before if answer["outcome"] != "forwarded"]
    assert sorted(outcomes) == ["not_for_us"] * 2 + (["unknown_mac"] * 16 if second == 4 else [])

    switch.execute("port stop 2")
    eventually("one is used", lambda: states(switch) == ["ready", "not used: no link"])
    lost = [answer for answer in switch.explain(1, "--pcap", tmp_path / "rx1.pcap")]
    if second == 4:
        assert_encapsulated(by(lost, 0), [(frame, 5, B) for frame in FLOWS])
    else:
        # Nobody else leads to that host.
        assert by(lost, 0) == by(before, 0)
        assert [answer["reason"] for answer in lost[len(FLOWS) :]] == ["tx_full"] * len(TO_SIX)
    switch.execute("port start 2")
    eventually("both are used again", lambda: states(switch) == ["ready"] * 2)
    assert explained() == before

    switch.execute("start")
    switch.settled(port0=3, port1=len(FRAMES), port2=3)
    switch.terminate()
    for port in range(3):
        assert_frames(sorted(tunnelled(tmp_path / f"tx{port}.pcap")), sorted(by(before, port)))


def test_a_dry_run_says_what_a_push_does(switches, tmp_path, second):
    switch = start(switches, tmp_path, second)
    _, same = dry_run(switch, *STATES)
    assert (same["new"], same["changed"], same["not_programmed"]) == ([], [], []), same
    new = [goal.neighbor(SUBNET.guest(B, 7)), over_ipv6(SUBNET.guest(C, 7))]
    far = goal.neighbor(SUBNET.guest(B, 8))
    far.configuration.host_ip_address = "203.0.113.9"
    code, report = dry_run(switch, *new, far)
    assert code == 0 and len(report["new"]) == 3
    waits = {each["key"].rsplit("/", 1)[1]: each["reason"] for each in report["not_programmed"]}
    reply = goal.statuses(switch.push(*new, far))
    pushed = {id for (_, id), status in reply.items() if status == "PENDING"}
    assert set(waits) == pushed, (waits, reply)
    if second == 4:
        assert pushed == {new[1].configuration.id} and "this switch has no IPv6 VTEP" in waits[new[1].configuration.id]
    else:
        assert pushed == set()


def test_after_a_crash_flows_go_as_before(switches, tmp_path, second):
    switch = start(switches, tmp_path, second)
    eventually("both are used", lambda: states(switch) == ["ready"] * 2)
    before, explained = everything(switch), switch.explain(1, "--pcap", tmp_path / "rx1.pcap")
    kill(switch)
    switch.start()
    eventually("both are used", lambda: states(switch) == ["ready"] * 2)
    assert everything(switch) == before
    switch.execute("start")
    switch.settled(port0=3, port1=len(FRAMES), port2=3)
    switch.terminate()
    first, other = (tunnelled(tmp_path / f"tx{port}.pcap") for port in (0, 2))
    assert_sent(second, first, other)
    assert (first, other) == (by(explained, 0), by(explained, 2))
