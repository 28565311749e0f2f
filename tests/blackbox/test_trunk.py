# SPDX-License-Identifier: MIT
"""Subports, from outside: VLANs of a guest's port that are ports of their own. Tags are scapy's, and the kernel's."""

from __future__ import annotations


import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.utils import mac2str

import goal
import senders
import tshark
from frames import assert_encapsulated, assert_frames, read_pcap, tagged, udp, vxlan, write_pcap
from kernel import ask_and_answer, exchange, quiet
from plan import A, B, PCAP_UPLINK_MAC, Subnet
from program import DEADLINE, Counters, Port, call, environment, eventually, parse, pcap_ports

BLUE, RED, GREEN = Subnet(5), Subnet(6), Subnet(7)
"""Each a VPC of its own."""
TRUNK, OTHER = BLUE.guest(A), BLUE.guest(A, 2)
IN_RED, IN_GREEN, ALSO_RED = RED.guest(A), GREEN.guest(A), RED.guest(A, 2)
BLUE_THERE, RED_THERE, GREEN_THERE = (subnet.guest(B) for subnet in (BLUE, RED, GREEN))
HERE = (TRUNK, OTHER, IN_RED, IN_GREEN, ALSO_RED)
NETWORKS = [
    *(state(subnet) for subnet in (BLUE, RED, GREEN) for state in (goal.vpc, goal.subnet)),
    *map(goal.neighbor, (BLUE_THERE, RED_THERE, GREEN_THERE)),
]  # fmt: skip
STATES = [*NETWORKS, *map(goal.port, HERE)]
THREE = [*NETWORKS, *map(goal.port, (TRUNK, IN_RED, ALSO_RED))]
NUMBERS = {TRUNK: 1, IN_RED: 2, IN_GREEN: 3, ALSO_RED: 4, OTHER: 5}
"""Subports 2 and 3 are before devices, whose numbers are others than DPDK's."""


def config(folder, frames=(), underlay=(), also_red=(), other=(), more=()) -> list[str]:
    """Port 0 is the uplink. Port 1 is a guest whose VLANs 101 and 202 are ports 2 and 3; ports 4 and 5 are guests."""
    arrivals = {0: underlay, 1: frames, 4: also_red, 5: other}
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(6):
        if number in (2, 3):
            lines.append(f"port attach vlan{(101, 202)[number - 2]}@1")
            continue
        received, sent = folder / f"rx{number}.pcap", folder / f"tx{number}.pcap"
        write_pcap(received, list(arrivals[number]))
        lines.append(f"port attach net_pcap{number},rx_pcap={received},tx_pcap={sent}")
    lines += [f"port bind {number} {guest.id}" for guest, number in NUMBERS.items()]
    return [*lines, "set vtep 192.0.2.1/24 port 0", *more]


@pytest.fixture
def trunk(alkaid, tmp_path):
    """Replays; what each port sent, and the counters."""

    def replay(states=STATES, **arrivals):
        file, state = tmp_path / "switch.conf", tmp_path / "goal.json"
        file.write_text("\n".join(config(tmp_path, **arrivals)) + "\n")
        state.write_text(goal.to_json(goal.v1(*states)))
        done = call(alkaid, "replay", "--json", "--config", file, "--goal-state", state, timeout=2 * DEADLINE, env=environment(tmp_path))
        assert done.returncode == 0, done.stderr + done.stdout
        summary = parse(done.stdout)
        counters = Counters(summary["ports"], summary["drops"])
        counters.assert_balanced()
        sent = {number: read_pcap(tmp_path / f"tx{number}.pcap") for number in (0, 1, 4, 5)}
        for frames in sent.values():
            tshark.remember(frames)
        rows = counters.ports
        on_wire = len(sent[1]), sum(map(len, sent[1]))
        assert tuple(sum(rows[port][f"tx_{what}"] for port in (1, 2, 3)) for what in ("packets", "bytes")) == on_wire
        return sent, counters

    return replay


def test_networks_of_one_device_travel_in_vxlan_apart(trunk):
    out = [udp(TRUNK, BLUE_THERE), udp(IN_RED, RED_THERE), udp(IN_GREEN, GREEN_THERE)]
    back = [udp(BLUE_THERE, TRUNK), udp(RED_THERE, IN_RED), udp(GREEN_THERE, IN_GREEN)]

    def on_wire(frames):
        return [frames[0], tagged(frames[1], 101), tagged(frames[2], 202)]

    arriving = [vxlan(frame, vni, src=B) for frame, vni in zip(back, (5, 6, 7))]
    sent, counters = trunk(frames=on_wire(out), underlay=arriving)
    assert_encapsulated(sent[0], [(frame, vni, B) for frame, vni in zip(out, (5, 6, 7))], src_mac=PCAP_UPLINK_MAC)
    assert_frames(sorted(sent[1]), sorted(on_wire(back)))
    for port, bytes_ in ((1, len(out[0])), (2, len(out[1]) + 4), (3, len(out[2]) + 4)):
        row = counters.ports[port]
        assert [row[key] for key in ("rx_packets", "rx_bytes", "forwarded", "tx_packets", "tx_bytes")] == [1, bytes_, 1, 1, len(on_wire(back)[port - 1])]
        assert counters.drops[port] == {}


def test_a_vlan_is_its_own_network_and_others_are_dropped_as_ever(trunk):
    frames = [
        tagged(udp(IN_RED, ALSO_RED), 101, priority=5),
        tagged(udp(IN_RED, OTHER), 101),  # nobody in that network
        tagged(udp(IN_RED, ALSO_RED), 102),
        tagged(udp(TRUNK, OTHER), 0),
        udp(IN_RED, ALSO_RED),
        udp(TRUNK, OTHER),
    ]
    sent, counters = trunk(frames=frames, also_red=[udp(ALSO_RED, IN_RED)], other=[udp(OTHER, TRUNK), tagged(udp(OTHER, TRUNK), 101)], more=["port config 1 vlan pass", "port config 5 vlan pass"])
    assert_frames(sent[4], [udp(IN_RED, ALSO_RED)])
    assert_frames(sent[5], [tagged(udp(TRUNK, OTHER), 0), udp(TRUNK, OTHER)])
    assert_frames(sorted(sent[1]), sorted([tagged(udp(ALSO_RED, IN_RED), 101), udp(OTHER, TRUNK)]))
    assert counters.drops[1] == {"unknown_mac": 2} and counters.drops[2] == {"unknown_mac": 1} and counters.drops[5] == {"vlan_tagged": 1}


def test_a_subport_is_guarded_for_itself(trunk):
    lie = udp(IN_RED, ALSO_RED, ip={"src": RED_THERE.ip})
    sent, counters = trunk(frames=[tagged(lie, 101), tagged(udp(IN_RED, ALSO_RED), 101), udp(TRUNK, OTHER, ip={"src": BLUE_THERE.ip})], more=["port config 2 anti-spoofing on"])
    assert_frames(sent[4], [udp(IN_RED, ALSO_RED)])
    assert counters.drops[2] == {"spoofed_ip": 1} and len(sent[5]) == 1 and counters.drops[1] == {}


def test_what_the_switch_answers_leaves_tagged(trunk):
    everybody = "ff:ff:ff:ff:ff:ff"
    who_has = Ether(src=IN_RED.mac, dst=everybody) / Dot1Q(vlan=101) / ARP(hwsrc=IN_RED.mac, psrc=IN_RED.ip, pdst=RED.gateway_ip)
    discover = Ether(src=IN_RED.mac, dst=everybody) / Dot1Q(vlan=101) / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)
    discover /= BOOTP(chaddr=mac2str(IN_RED.mac) + bytes(10), xid=7) / DHCP(options=[("message-type", "discover"), "end"])
    echo = Ether(src=IN_RED.mac, dst=RED.gateway_mac) / Dot1Q(vlan=101) / IP(src=IN_RED.ip, dst=RED.gateway_ip) / ICMP(id=7)
    states = [*STATES, goal.router(RED), senders.dhcp(IN_RED)]
    sent, counters = trunk(states, frames=[bytes(who_has), bytes(discover), bytes(echo)])
    told = [Ether(frame) for frame in sent[1]]
    assert [frame[Dot1Q].vlan for frame in told] == [101] * 3 and counters.ports[2]["answered"] == 3
    by = {layer: frame for frame in told for layer in (ARP, BOOTP, ICMP) if layer in frame}
    assert (by[ARP].op, by[ARP].hwsrc, by[ARP].psrc) == (2, RED.gateway_mac, RED.gateway_ip)
    assert by[BOOTP].yiaddr == IN_RED.ip and by[ICMP][ICMP].type == 0


def test_polling_is_by_device(trunk):
    frames = [tagged(udp(IN_RED, ALSO_RED), 101)]
    sent, _ = trunk(frames=frames, more=["set portlist 0,1,4,5"])
    assert_frames(sent[4], [udp(IN_RED, ALSO_RED)])


def test_a_running_switch_shows_and_explains_them(switches, tmp_path):
    switch = switches(config(tmp_path / "ports"))
    switch.accept(*STATES)
    rows = {row["port"]: row for row in switch.show("ports")}
    assert [rows[port]["device"] for port in (2, 3)] == ["vlan101@1", "vlan202@1"] and rows[5]["device"] == "net_pcap5"
    assert (rows[2]["role"], rows[2]["mac"], rows[2]["state"], rows[2]["id"]) == ("tenant", IN_RED.mac, "ready", IN_RED.id)
    assert [row["port"] for row in switch.show("port info all")] == list(range(6))
    assert switch.show("port info 2")[0]["rxq"] is None and switch.show("port info 2")[0]["mtu"] == switch.show("port info 1")[0]["mtu"]
    assert "port attach vlan101@1\n" in switch.execute("show config")
    # Said to arrive there, or with its tag at its parent: it is the same.
    frame = udp(IN_RED, ALSO_RED)
    as_its_own, at_its_parent = switch.explain_frame(2, frame), switch.explain_frame(1, tagged(frame, 101))
    assert as_its_own == at_its_parent and as_its_own["outcome"] == "forwarded"
    assert "port 2 (VLAN 101 of port 1)" in as_its_own["steps"][0]["text"]
    assert [(sent["port"], sent["frame"]) for sent in as_its_own["sent"]] == [(4, frame.hex())]
    back = switch.explain_frame(4, udp(ALSO_RED, IN_RED))
    assert [(sent["port"], sent["frame"]) for sent in back["sent"]] == [(1, tagged(udp(ALSO_RED, IN_RED), 101).hex())]
    assert "port 2 (VLAN 101 of port 1)" in back["steps"][-1]["text"]
    assert switch.explain_frame(1, tagged(frame, 102))["reason"] == "vlan_tagged"
    # What has no device is not set up as one.
    for command in ("port config 2 rxq 1", "port config 2 mtu 1400", "set promisc 2 on"):
        done = switch.client("exec", command)
        assert done.returncode != 0 and "no device" in done.stderr, done.stderr
    switch.execute("set promisc all on")
    switch.execute("port stop 2")
    assert switch.explain_frame(1, tagged(frame, 101))["reason"] == "vlan_tagged"
    assert switch.explain_frame(4, udp(ALSO_RED, IN_RED))["reason"] == "tx_full"
    switch.execute("port stop 1")
    switch.execute("port start all")
    assert switch.explain_frame(1, tagged(frame, 101))["outcome"] == "forwarded"


def test_they_are_added_while_the_switch_runs(switches, tmp_path):
    ports = [Port(), Port(TRUNK.id, [tagged(udp(IN_RED, ALSO_RED), 101)]), Port(ALSO_RED.id, [udp(ALSO_RED, IN_RED)])]
    switch = switches(pcap_ports(tmp_path / "switch0", ports))
    switch.push(*THREE)
    for device, why in (("vlan101@0", "uplink"), ("vlan101@3", "no port 3"), ("vlan4095@1", "vlanN@PORT")):
        done = switch.client("exec", f"port attach {device}")
        assert done.returncode != 0 and why in done.stderr, done.stderr
    assert "port 3" in switch.execute("port attach vlan101@1")
    for device, why in (("vlan101@1", "port 3 already"), ("vlan7@3", "subport itself")):
        done = switch.client("exec", f"port attach {device}")
        assert done.returncode != 0 and why in done.stderr, done.stderr
    assert "port 4" in switch.execute("port attach net_null0")
    switch.execute("port start all")
    switch.execute(f"port bind 3 {IN_RED.id}")
    switch.accept(*THREE)
    switch.execute("start")
    eventually("the frames arrived", lambda: switch.show("port stats 3")[0]["tx_packets"] == switch.show("port stats 2")[0]["tx_packets"] == 1)
    assert switch.show("port stats 3")[0]["rx_packets"] == 1 and switch.show("port stats 1")[0]["rx_packets"] == 0
    switch.execute("clear port stats 3")
    assert switch.show("port stats 3")[0]["rx_packets"] == 0
    switch.terminate()
    assert_frames(switch.sent(2), [udp(IN_RED, ALSO_RED)])
    assert_frames(switch.sent(1), [tagged(udp(ALSO_RED, IN_RED), 101)])


@pytest.mark.parametrize(
    "lines, expected",
    [
        ("port attach vlan101", "vlanN@PORT"),
        ("port attach vlan0@1", "vlanN@PORT"),
        ("port attach vlan101@2", "no port 2"),
        ("port attach vlan101@0", "uplink"),
        ("port attach vlan1@1\nport attach vlan1@1", "port 2 already"),
        ("port attach vlan1@1\nport attach vlan2@2", "subport itself"),
        ("port attach vlan1@1\nset host port 2", "subport"),
        ("port attach vlan1@1\nset host port 1", "host port"),
        ("port attach vlan1@1\nport config 2 txd 64", "no device"),
        ("port attach vlan1@1\nset promisc 2 off", "no device"),
        ("port attach vlan1@1\nset portlist 0,1,2", "no device"),
    ],
)
def test_what_cannot_be_is_refused(alkaid, tmp_path, lines, expected):
    file = tmp_path / "switch.conf"
    file.write_text(f"port attach net_null0\nport attach net_null1\nset vtep 192.0.2.1/24 port 0\n{lines}\n")
    done = call(alkaid, "check", file)
    assert done.returncode != 0 and expected in done.stderr, done.stderr


def kernel_trunk(networks, switches, device):
    """A trunk of this kind of device, port 1, with VLAN 101 as port 2, in one namespace; a guest of that network, port 3, in
    another."""
    trunk, other = networks.namespace("ga"), networks.namespace("gb")
    peer = networks.pair("p", other, "eth0", mac=ALSO_RED.mac, mtu=1500)
    if device == "net_af_packet":
        tenant = f"net_af_packet1,iface={networks.pair('g', trunk, 'eth0', mac=TRUNK.mac, mtu=1500)}"
    else:
        tap = networks.tap("t")
        tenant = f"net_tap1,iface={tap},mac={TRUNK.mac}"
    switch = switches(
        [
            "port attach net_null0,no-rx=1", f"port attach {tenant}", "port attach vlan101@1", f"port attach net_af_packet2,iface={peer}",
            f"port bind 1 {TRUNK.id}", f"port bind 2 {IN_RED.id}", f"port bind 3 {ALSO_RED.id}", "set vtep 192.0.2.1/24 port 0",
            "start",
        ]
    )  # fmt: skip
    switch.accept(*THREE)
    if device == "net_tap":
        trunk.take(tap)
    trunk.ip("link set eth0 up")
    other.ip("link set eth0 up")
    eventually("the devices are up", lambda: all("LOWER_UP" in namespace.ip("link show eth0") for namespace in (trunk, other)))
    return switch, trunk, other


@pytest.mark.parametrize("device", ["net_af_packet", "net_tap"])
def test_tags_pass_real_devices(networks, switches, device):
    switch, trunk, other = kernel_trunk(networks, switches, device)
    of_trunk, of_other = networks.wire(trunk, "eth0"), networks.wire(other, "eth0")
    out, back = udp(IN_RED, ALSO_RED, payload=bytes(1472)), udp(ALSO_RED, IN_RED, payload=bytes(1472))
    of_trunk.send([tagged(out, 101), tagged(out, 102), out])
    of_other.expect([out])
    of_other.send([back])
    of_trunk.expect([tagged(back, 101)])
    counters = switch.settled(port1=2, port2=1, port3=1)
    assert counters.drops[1] == {"vlan_tagged": 1, "unknown_mac": 1} and counters.drops[2] == counters.drops[3] == {}


@pytest.mark.parametrize("device", ["net_af_packet", "net_tap"])
def test_a_kernels_vlan_device_is_a_port(networks, switches, device):
    """Its ARP, UDP and TCP go through eth0.101 to a guest at another port, and nothing through eth0."""
    switch, trunk, other = kernel_trunk(networks, switches, device)
    try:
        trunk.ip(f"link add link eth0 name eth0.101 address {IN_RED.mac} type vlan id 101")
    except RuntimeError as error:
        pytest.skip(f"needs the kernel's VLAN devices: {error}")
    with trunk.inside():
        quiet("eth0.101")
    for namespace, guest, name in ((trunk, IN_RED, "eth0.101"), (other, ALSO_RED, "eth0")):
        namespace.ip(f"link set {name} up")
        namespace.ip(f"address add {guest.ip}/16 dev {name}")
    ask_and_answer((trunk, IN_RED.ip), (other, ALSO_RED.ip), (0, 1, 100, 1472))
    exchange((trunk, IN_RED.ip), (other, ALSO_RED.ip))
    ask_and_answer((other, ALSO_RED.ip), (trunk, IN_RED.ip), (0, 1472))
    assert switch.show("port stats 1")[0]["tx_packets"] == 0 and switch.show("port stats 2")[0]["forwarded"] > 1000
