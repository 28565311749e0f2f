# SPDX-License-Identifier: MIT
"""DHCP, from outside: frames and checksums are scapy's, and a Linux guest gets its lease by a stock client."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import mac2str

import goal
import senders
from frames import assert_frames
from kernel import run
from plan import A, Subnet
from program import DEADLINE, eventually
from tshark import assert_sound

NEAR = Subnet(5)
HERE, OTHER = NEAR.guest(A), NEAR.guest(A, 2)
HERE_PORT, OTHER_PORT = 1, 2
ALL = "ff:ff:ff:ff:ff:ff"
MTU = 1450
"""Of an underlay's 1500 bytes VXLAN takes 50."""
ASKED = [1, 121, 3, 6, 26, 12, 15, 42, 33]
XID = 0x1234ABCD


def subnet(**extra: str):
    """With what Neutron's users say."""
    state = goal.subnet(NEAR)
    for entry in ("10.5.0.53", "10.5.0.54", "2001:db8::53"):
        state.configuration.dns_entry_list.add(entry=entry)
    for name, value in {"domain-name": "example.com", "42": "10.5.0.123", **extra}.items():
        state.configuration.extra_dhcp_options.add(name=name, value=value)
    return state


def client(host_name: str = "web-1"):
    state = senders.dhcp(HERE)
    state.configuration.port_host_name = host_name
    return state


STATES = [goal.vpc(NEAR), subnet(), goal.port(HERE), goal.port(OTHER), client()]


def says(kind: str, *options, to=(ALL, "255.255.255.255"), source: str = "0.0.0.0", sport: int = 68, guest=HERE, **bootp) -> bytes:
    """What a guest asks."""
    bootp = {"chaddr": mac2str(guest.mac) + bytes(10), "xid": XID, "secs": 3, **bootp}
    ethernet, ip = Ether(src=guest.mac, dst=to[0]), IP(src=source, dst=to[1])
    return bytes(ethernet / ip / UDP(sport=sport, dport=67) / BOOTP(**bootp) / DHCP(options=[("message-type", kind), *options, "end"]))


def answer(kind: str, *options, to=(HERE.mac, HERE.ip), **bootp) -> bytes:
    """What the switch says, as long as BOOTP's messages at least."""
    bootp = {"op": 2, "chaddr": mac2str(HERE.mac) + bytes(10), "xid": XID, **bootp}
    dhcp = DHCP(options=[("message-type", kind), ("server_id", NEAR.gateway_ip), *options, "end"])
    message = bytes(BOOTP(**bootp) / dhcp).ljust(300, b"\0")
    ip = IP(src=NEAR.gateway_ip, dst=to[1], tos=0xC0, id=0, flags="DF", ttl=64)
    return bytes(Ether(src=NEAR.gateway_mac, dst=to[0]) / ip / UDP(sport=67, dport=68) / Raw(message))


TIMES = [("lease_time", 86400), ("renewal_time", 43200), ("rebinding_time", 75600)]
MASK = ("subnet_mask", "255.255.0.0")
TOLD_MTU = ("interface-mtu", MTU)
TOLD = [
    TOLD_MTU,
    ("router", NEAR.gateway_ip),
    ("name_server", "10.5.0.53", "10.5.0.54"),
    ("hostname", b"web-1"),
    ("domain", b"example.com"),
    ("NTP_server", "10.5.0.123"),
]
REFUSAL = ("error_message", b"that is not the address of this port")
CLIENT_ID = ("client_id", b"\x01" + mac2str(HERE.mac))
EVERYBODY = (ALL, "255.255.255.255")
GATEWAY = (NEAR.gateway_mac, NEAR.gateway_ip)


def test_each_question_of_a_client_has_its_answer(replay, tmp_path):
    asked = ("param_req_list", ASKED)
    server, own, wrong = ("server_id", NEAR.gateway_ip), ("requested_addr", HERE.ip), ("requested_addr", OTHER.ip)
    lease = {"yiaddr": HERE.ip}
    known = {"ciaddr": HERE.ip}
    cases = [
        (says("discover", CLIENT_ID, asked), answer("offer", *TIMES, MASK, CLIENT_ID, *TOLD, **lease)),
        (says("discover", asked, flags=0x8000), answer("offer", *TIMES, MASK, *TOLD, to=EVERYBODY, flags=0x8000, **lease)),
        (says("request", server, own, asked), answer("ack", *TIMES, MASK, *TOLD, **lease)),
        (says("request", own, ("param_req_list", [3])), answer("ack", *TIMES, MASK, TOLD_MTU, ("router", NEAR.gateway_ip), **lease)),
        (says("request", asked, source=HERE.ip, **known), answer("ack", *TIMES, MASK, *TOLD, **known, **lease)),
        (says("request", wrong, asked), answer("nak", REFUSAL, to=EVERYBODY)),
        (says("request", server, wrong, CLIENT_ID), answer("nak", REFUSAL, CLIENT_ID, to=EVERYBODY)),
        (says("inform", asked, source=HERE.ip, **known), answer("ack", MASK, *TOLD, **known)),
        # Last, since what is for the gateway is looked at after what is for everybody.
        (says("request", asked, to=GATEWAY, source=HERE.ip, **known), answer("ack", *TIMES, MASK, *TOLD, **known, **lease)),
    ]
    for rule in ("off", "on"):
        done = replay(STATES, guests=[(HERE, [frame for frame, _ in cases]), (OTHER, [])], config=[f"set anti-spoofing {rule}"])
        assert_frames(done.sent[HERE_PORT], [expected for _, expected in cases])
        assert done.drops(HERE_PORT) == {} and done.sent[0] == done.sent[OTHER_PORT] == []
        row = done.counters.ports[HERE_PORT]
        assert (row["answered"], row["tx_own"]) == (len(cases), len(cases))
    assert_sound(tmp_path, done.sent[HERE_PORT], ip=len(cases), udp=len(cases))


def test_what_takes_no_answer_is_counted_by_reason(replay):
    elsewhere = ("server_id", OTHER.ip)
    frames = [
        says("request", elsewhere, ("requested_addr", HERE.ip)),
        says("release", to=GATEWAY, source=HERE.ip, ciaddr=HERE.ip),
        says("decline", ("server_id", NEAR.gateway_ip), ("requested_addr", HERE.ip)),
        says("discover", giaddr=OTHER.ip, sport=67),
        says("discover", ("relay_agent_information", b"\x01\x01x")),
        says("discover", chaddr=mac2str(OTHER.mac) + bytes(10)),
        says("offer"),
        says("discover")[:-20],
    ]
    done = replay(STATES, guests=[(HERE, frames), (OTHER, [says("discover", guest=OTHER)])])
    assert done.silent
    # The last one ends before its IP packet does.
    assert done.drops(HERE_PORT) == {"dhcp_quiet": 2, "dhcp_declined": 1, "bad_dhcp": 4, "truncated": 1}
    assert done.drops(OTHER_PORT) == {"no_lease": 1}


def test_who_takes_little_gets_the_important_and_whole_options_only(replay, tmp_path):
    route = "10.6.0.0/16,10.5.1.9"
    text = "p" * 200
    states = [subnet(**{"121": route, "210": text, "209": text, "tftp-server": "10.5.0.7", "67": "pxelinux.0"}) if state == subnet() else state for state in STATES]
    sizes = (None, 576, 700, 1500)
    frames = [says("discover", *([("max_dhcp_size", size)] if size else [])) for size in sizes]
    done = replay(states, guests=[(HERE, frames), (OTHER, [])])
    codes = []
    for frame, size in zip(done.sent[HERE_PORT], sizes, strict=True):
        packet = Ether(frame)
        assert len(packet[IP]) <= (size or 576)
        assert (packet[BOOTP].siaddr, packet[BOOTP].file.rstrip(b"\0")) == ("10.5.0.7", b"pxelinux.0")
        at, found = bytes(packet[UDP].payload)[240:], []
        while at[0] != 255:
            found.append(at[0])
            at = at[2 + at[1] :]
        codes.append(found)
    important = [53, 54, 51, 58, 59, 1, 26, 121, 3, 6, 249, 12, 15, 42, 28, 66, 67]
    assert [found[: len(important)] for found in codes] == [important] * 4
    assert [found[len(important) :] for found in codes] == [[], [], [209], [209, 210]]
    assert_sound(tmp_path, done.sent[HERE_PORT], ip=4, udp=4)


@pytest.mark.parametrize(("port", "uplink", "mtu"), [(1400, None, 1400), (9000, None, MTU), (9000, 9000, 8950), (1500, 9000, 1500)])
def test_a_guest_is_told_what_both_its_port_and_the_underlay_take(replay, tmp_path, port, uplink, mtu):
    config = [f"port config 1 mtu {port}"] + ([f"port config 0 mtu {uplink}"] if uplink else [])
    done = replay(STATES, guests=[(HERE, [says("discover", ("param_req_list", [26, 3]))]), (OTHER, [])], config=config)
    told = [*TIMES, MASK, ("interface-mtu", mtu), ("router", NEAR.gateway_ip)]
    assert_frames(done.sent[HERE_PORT], [answer("offer", *told, yiaddr=HERE.ip)])
    assert_sound(tmp_path, done.sent[HERE_PORT], ip=1, udp=1)


def test_what_is_said_and_whose_word_it_is_can_be_explained(switches):
    lines = ["set mbufs 1024", "port attach net_null0", "port attach net_null1", f"port bind 1 {HERE.id}", "set vtep 192.0.2.1/24 port 0", "start"]
    switch = switches(lines)
    switch.accept(*(state for state in STATES if state != goal.port(OTHER)))
    explained = switch.explain_frame(1, says("discover", ("param_req_list", ASKED)))
    assert explained["outcome"] == "answered"
    assert [(row["port"], bytes.fromhex(row["frame"])) for row in explained["sent"]] == [(1, answer("offer", *TIMES, MASK, *TOLD, yiaddr=HERE.ip))]
    last = explained["steps"][-1]
    assert last["text"].endswith(f"which answers: DHCP OFFER of {HERE.ip}, MTU {MTU}")
    because = [(named["kind"], named["id"], named["revision"]) for named in last["because"]]
    assert because == [("DHCP", STATES[-1].configuration.id, 1), ("PORT", HERE.id, 1), ("SUBNET", NEAR.id, 1)]


def test_statuses_say_whether_a_guest_is_served(switches):
    switch = switches(["set mbufs 1024", "port attach net_null0", "port attach net_null1", f"port bind 1 {HERE.id}", "set vtep 192.0.2.1/24 port 0"])
    state = client()
    assert goal.status_names(switch.push(state)) == [("DHCP", state.configuration.id, "PENDING")]
    assert "no port of the switch is bound to" in switch.show("pending")[0]["reason"]
    for rpc in ("v1", "v2"):
        switch.accept(goal.vpc(NEAR), goal.subnet(NEAR), goal.port(HERE), state, rpc=rpc)
    (row,) = switch.show("dhcp")
    assert (row["state"], row["told"]) == ("ready", f"{HERE.ip}/16 by {NEAR.gateway_ip} for 86400 s, options 26, 3, 12, 28")
    switch.accept(subnet())
    assert switch.show("dhcp")[0]["told"].endswith("options 26, 3, 6, 12, 15, 42, 28")
    assert goal.status_names(switch.push(client(host_name="a b")))[0][2] == "INVALID_ARG"
    assert "port_host_name" in switch.show("dhcp")[0]["state"]
    switch.accept(goal.delete(goal.port(HERE)))
    assert "no port of the switch is bound to" in switch.show("dhcp")[0]["state"]
    switch.terminate()


SCRIPT = """#!/bin/sh
case $1 in
bound)
    ip address add "$ip/$mask" dev "$interface" && ip link set "$interface" mtu "$mtu"
    ip route add default via "$router" ;;
esac
echo "$1 $ip/$mask by $serverid router $router dns $dns mtu $mtu name $hostname" >> "{log}"
"""


class Client:
    """busybox's DHCP client in a namespace."""

    def __init__(self, namespace, folder):
        self.log, script = folder / "dhcp.log", folder / "dhcp.sh"
        self.log.touch()
        script.write_text(SCRIPT.format(log=self.log))
        script.chmod(0o755)
        options = [word for name in ("mtu", "hostname") for word in ("-O", name)]
        command = ["ip", "netns", "exec", namespace.name, "busybox", "udhcpc", "-f", "-i", "eth0", "-s", script, "-t", "20", "-T", "1", *options]
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def event(self, name: str) -> str:
        """What the client says with its first such event."""

        def found():
            lines = [line for line in self.log.read_text().splitlines() if line.startswith(f"{name} ")]
            return lines[0] if lines else None

        return eventually(f"the client is {name}", found)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(DEADLINE)


@pytest.mark.parametrize("device", ["net_af_packet", "net_tap"])
def test_a_linux_guest_gets_its_lease_by_a_stock_client_and_pings_its_gateway(networks, switches, tmp_path, device):
    if shutil.which("busybox") is None:
        pytest.skip("needs `busybox`")
    guest = networks.namespace("g")
    if device == "net_af_packet":
        attach = f"net_af_packet1,iface={networks.pair('g', guest, 'eth0', mac=HERE.mac, mtu=1500)}"
    else:
        tap = networks.tap("t")
        attach = f"net_tap1,iface={tap},mac={HERE.mac}"
    lines = ["port attach net_null0", f"port attach {attach}", f"port bind 1 {HERE.id}", "set vtep 192.0.2.1/24 port 0", "set anti-spoofing on", "start"]
    switch = switches(lines)
    if device == "net_tap":
        guest.take(tap)
    guest.ip("link set eth0 up")
    switch.accept(goal.vpc(NEAR), subnet(), goal.port(HERE), client())
    eventually("the guest's device is up", lambda: "LOWER_UP" in guest.ip("link show eth0"))
    dhcp = Client(guest, tmp_path)
    try:
        told = f"{HERE.ip}/16 by {NEAR.gateway_ip} router {NEAR.gateway_ip} dns 10.5.0.53 10.5.0.54 mtu {MTU} name web-1"
        assert dhcp.event("bound") == f"bound {told}"
        assert f"mtu {MTU}" in guest.ip("link show eth0")
        ping = ["ip", "netns", "exec", guest.name, "busybox", "ping", "-c", "1", "-W", int(DEADLINE), NEAR.gateway_ip]
        assert re.search(r"1 packets received", run(*ping))
        dhcp.process.send_signal(signal.SIGUSR1)  # by unicast, to the gateway
        assert dhcp.event("renew") == f"renew {told}"
        dhcp.process.send_signal(signal.SIGUSR2)
        eventually("the lease is released", lambda: any(row["reason"] == "dhcp_quiet" for row in switch.show("drops")))
        drops = {row["reason"] for row in switch.show("drops")}
        assert not drops & {"bad_dhcp", "no_lease", "dhcp_declined", "spoofed_ip"}, drops
        assert guest.counters()["Udp"]["InCsumErrors"] == 0
    finally:
        dhcp.end()
    switch.terminate()
