# SPDX-License-Identifier: MIT
"""VXLAN over IPv6: recordings that scapy made; then the other host is a Linux kernel, found by neighbor discovery, and a third
host is reached over IPv4 at the same time."""

from __future__ import annotations

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

import goal
from frames import assert_encapsulated, assert_frames, read_pcap, udp, vxlan
from kernel import Namespace, ask_and_answer, exchange, quiet, run, vxlan_bridge
from plan import A, B, C, PCAP_UPLINK_MAC, VXLAN_PORT, Subnet, host_ip, host_mac
from program import Port, eventually, pcap_ports
from replays import UPLINK
from test_audit import dry_run
from test_restart import everything, kill
from test_underlay import Link

NET = Subnet(5)
HERE, THERE, ELSEWHERE = NET.guest(A), NET.guest(B), NET.guest(C)
VTEP = "set vtep 2001:db8:ff::1/64 port 0"


def host_ip6(host: int) -> str:
    """Host H of the underlay."""
    return f"2001:db8:ff::{host:x}"


def over_ipv6(guest, named: bool = True, host: int | None = None):
    """The neighbor, whose host is told of by its IPv6 address."""
    state = goal.neighbor(guest, host_mac_named=named, host=host)
    state.configuration.host_ip_address = host_ip6(guest.host if host is None else host)
    return state


STATES = [goal.vpc(NET), goal.subnet(NET), goal.port(HERE), over_ipv6(THERE), goal.neighbor(ELSEWHERE)]


def vxlan6(inner: bytes, *, src: int = B, dst: int = A, src_mac: str | None = None, dst_mac: str = PCAP_UPLINK_MAC, sport=50_000, label=0x12345, tc=0, checksum: int | None = 0, ip=None, between=None, **udp_fields) -> bytes:
    """`inner` in VXLAN of VNI 5. `checksum`: None for a right one."""
    header = IPv6(**({"src": host_ip6(src), "dst": host_ip6(dst), "hlim": 64, "fl": label, "tc": tc} | (ip or {})))
    if between is not None:
        header /= between
    datagram = UDP(**({"sport": sport, "dport": VXLAN_PORT} | ({} if checksum is None else {"chksum": checksum}) | udp_fields))
    return bytes(Ether(src=src_mac or host_mac(src), dst=dst_mac) / header / datagram / VXLAN(flags=8, vni=5) / Raw(inner))


def sent_by(frame: bytes, inner: bytes, *, checksum: int | None = 0, tc=0, dst: int = B) -> bytes:
    """What the switch must have sent: flow label and source port are its choice."""
    outer = Ether(frame)
    assert outer[IPv6].fl != 0 and outer[UDP].sport >= 49152
    return vxlan6(inner, src=A, dst=dst, src_mac=PCAP_UPLINK_MAC, dst_mac=host_mac(dst), sport=outer[UDP].sport, label=outer[IPv6].fl, tc=tc, checksum=checksum)


@pytest.mark.parametrize("checksum", ["off", "on"])
def test_guests_of_hosts_of_either_kind_are_reached_and_heard(replay, checksum):
    inner = [udp(HERE, THERE), udp(HERE, ELSEWHERE), udp(HERE, THERE, payload=b"odd"), udp(HERE, THERE, tos=0xB9)]
    back = [udp(THERE, HERE), udp(ELSEWHERE, HERE), udp(THERE, HERE, payload=b"odd")]
    arriving = [vxlan6(back[0]), vxlan(back[1], 5, src=C), vxlan6(back[2], checksum=None)]
    config = [VTEP, f"set vxlan udp6-checksum {checksum}"]
    done = replay(STATES, underlay=arriving, guests=[(HERE, inner)], config=config)
    assert_frames(done.sent[1], back)
    wanted = None if checksum == "on" else 0
    sent = done.sent[UPLINK]
    assert_encapsulated(sent[1:2], [(inner[1], 5, C)])
    over = [(sent[n], inner[n], tc) for n, tc in ((0, 0), (2, 0), (3, 0xB9))]
    assert_frames([frame for frame, _, _ in over], [sent_by(frame, inner, checksum=wanted, tc=tc) for frame, inner, tc in over])


def test_what_arrives_over_ipv6_and_is_not_sound_is_counted(replay):
    inner = udp(THERE, HERE)
    good = vxlan6(inner, checksum=None)
    destination = IPv6ExtHdrDestOpt(options=[])
    frames = {
        "bad_checksum": [vxlan6(inner, checksum=1), good[:100] + bytes([good[100] ^ 1]) + good[101:]],
        "outer_fragment": [vxlan6(inner, between=IPv6ExtHdrFragment(m=1, nh=17)), vxlan6(inner, between=IPv6ExtHdrFragment(nh=17))],
        "not_for_us": [
            vxlan6(inner, dport=8472),
            vxlan6(inner, ip={"dst": host_ip6(C)}),
            vxlan6(inner, between=destination),
            vxlan6(inner, between=IPv6ExtHdrFragment(offset=1, nh=17)),
            bytes(Ether(src=host_mac(B), dst=PCAP_UPLINK_MAC) / IPv6(src=host_ip6(B), dst=host_ip6(A)) / ICMPv6EchoRequest()),
        ],
        "truncated": [good[:length] for length in range(len(good))],
        "malformed": [vxlan6(inner, len=20), vxlan6(inner, ip={"version": 4})],
    }
    done = replay(STATES, underlay=[frame for each in frames.values() for frame in each], guests=[(HERE, [])], config=[VTEP])
    assert done.silent
    assert done.drops(UPLINK) == {reason: len(each) for reason, each in frames.items()}


def test_a_neighbor_waits_where_there_is_no_vtep_of_its_hosts_kind(replay, networks, switches):
    done = replay(STATES, guests=[(HERE, [udp(HERE, THERE), udp(HERE, ELSEWHERE)])])
    assert_encapsulated(done.sent[UPLINK], [(udp(HERE, ELSEWHERE), 5, C)])
    assert done.drops(1) == {"unknown_mac": 1}
    link = Link(networks, switches)
    reply = link.switch.push(over_ipv6(THERE))
    assert [status for _, _, status in goal.status_names(reply)] == ["PENDING"]
    (waits,) = link.switch.show("pending")
    assert waits["reason"] == f"{host_ip6(B)} is reached over IPv6, and this switch has no IPv6 VTEP"
    link.switch.terminate()


def solicitation(src: int, target: str, *, to: str | None = None) -> bytes:
    group = f"ff02::1:ff00:{int(target.split('::')[1] or '0', 16):x}"
    link = Ether(src=host_mac(src), dst=to or "33:33:ff:00:00:" + f"{int(target.split('::')[1], 16):02x}")
    return bytes(link / IPv6(src=host_ip6(src), dst=target if to else group, hlim=255) / ICMPv6ND_NS(tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=host_mac(src)))


def advertisement(src: int, dst: int, mac: str | None = None) -> bytes:
    mac = mac or host_mac(src)
    link = Ether(src=mac, dst=host_mac(dst))
    return bytes(link / IPv6(src=host_ip6(src), dst=host_ip6(dst), hlim=255) / ICMPv6ND_NA(R=0, S=1, O=1, tgt=host_ip6(src)) / ICMPv6NDOptDstLLAddr(lladdr=mac))


def test_hosts_are_asked_for_their_mac_by_neighbor_discovery_and_who_asks_is_answered(networks, switches):
    link = Link(networks, switches, VTEP)
    reply = link.switch.push(over_ipv6(THERE, named=False))
    assert [status for _, _, status in goal.status_names(reply)] == ["PENDING"]
    assert link.comes() == solicitation(A, host_ip6(B))
    assert link.switch.show("pending")[0]["reason"] == f"no underlay MAC for {host_ip6(B)}"
    link.uplink.send([advertisement(B, A)])
    link.ready()
    assert link.known() == {host_ip6(B): host_mac(B)}
    link.uplink.receive(99, 0.05)
    link.guest.send([udp(HERE, THERE)])
    outer = Ether(link.comes())
    assert (outer.src, outer.dst, outer[IPv6].src, outer[IPv6].dst) == (host_mac(A), host_mac(B), host_ip6(A), host_ip6(B))
    for to in (None, host_mac(A)):
        link.uplink.send([solicitation(B, host_ip6(A), to=to)])
        assert link.comes() == advertisement(A, B)
    probe = Ether(src=host_mac(C), dst="33:33:ff:00:00:01") / IPv6(src="::", dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt=host_ip6(A))
    link.uplink.send([bytes(probe)])
    told = Ether(link.comes())
    assert (told.dst, told[IPv6].dst, told[ICMPv6ND_NA].S, told[ICMPv6ND_NA].tgt) == ("33:33:00:00:00:01", "ff02::1", 0, host_ip6(A))
    # Asked for the address of another, or from afar, nobody answers; IPv4's is asked for by ARP as ever.
    link.uplink.send([solicitation(B, host_ip6(C)), bytes(Ether(solicitation(B, host_ip6(A))))[:21] + b"\x40" + solicitation(B, host_ip6(A))[22:]])
    counters = link.switch.settled(port0=6)
    counters.assert_balanced()
    assert counters.drops[0] == {"not_for_us": 2}
    # It has another network card now, and says so to all.
    other = "02:00:c0:00:02:77"
    everybody = Ether(src=other, dst="33:33:00:00:00:01") / IPv6(src=host_ip6(B), dst="ff02::1", hlim=255)
    link.uplink.send([bytes(everybody / ICMPv6ND_NA(R=0, S=0, O=1, tgt=host_ip6(B)) / ICMPv6NDOptDstLLAddr(lladdr=other))])
    eventually("it has another MAC", lambda: link.known() == {host_ip6(B): other})
    link.uplink.send([bytes(everybody / ICMPv6ND_NA(R=0, S=0, O=1, tgt=host_ip6(A)) / ICMPv6NDOptDstLLAddr(lladdr=other))])
    eventually("it is said", lambda: f"{other} says that it has this host's address {host_ip6(A)}" in link.switch.log.read_text())
    link.switch.terminate()


def test_a_link_local_router_leads_to_hosts_beyond_the_link(networks, switches):
    link = Link(networks, switches, VTEP, "set underlay gateway fe80::fe")
    state = over_ipv6(THERE)
    state.configuration.host_ip_address = "2001:db8:aa::9"
    reply = link.switch.push(state)
    assert [status for _, _, status in goal.status_names(reply)] == ["PENDING"], "its own MAC means nothing here"
    asked = Ether(link.comes())
    assert (asked[IPv6].src, asked[ICMPv6ND_NS].tgt) == (host_ip6(A), "fe80::fe")
    mac = "02:00:c0:00:02:fe"
    answer = Ether(src=mac, dst=host_mac(A)) / IPv6(src="fe80::fe", dst=host_ip6(A), hlim=255)
    link.uplink.send([bytes(answer / ICMPv6ND_NA(R=1, S=1, O=1, tgt="fe80::fe") / ICMPv6NDOptDstLLAddr(lladdr=mac))])
    link.ready()
    link.uplink.receive(99, 0.05)
    link.guest.send([udp(HERE, THERE)])
    outer = Ether(link.comes())
    assert (outer.dst, outer[IPv6].dst) == (mac, "2001:db8:aa::9")
    link.switch.terminate()


def test_explain_tells_of_the_outer_header(networks, switches):
    link = Link(networks, switches, VTEP, mtu=1500)
    link.switch.accept(over_ipv6(THERE))
    done = link.switch.client("explain", "--port", "1", "--packet", f"ip dst={THERE.ip} / udp dport=53")
    assert done.returncode == 0, done.stderr
    assert f"on host {host_ip6(B)}" in done.stdout and f"{host_ip6(A)} > {host_ip6(B)} hop limit 64" in done.stdout, done.stdout
    inner = f"eth src={THERE.mac} dst={HERE.mac} / ip src={THERE.ip} dst={HERE.ip}"
    outer = f"eth src={host_mac(B)} dst={host_mac(A)} / ip src={host_ip6(B)} dst={host_ip6(A)} / vxlan vni=5"
    done = link.switch.client("explain", "--port", "0", "--packet", f"{outer} / {inner}")
    assert done.returncode == 0, done.stderr
    assert "for this VTEP, VNI 5: outer header taken off" in done.stdout, done.stdout
    (row,) = [row for row in link.switch.show("neighbors") if row["address"] == THERE.ip]
    assert (row["host"], row["mtu"], row["state"]) == (host_ip6(B), 1430, "ready"), row
    assert link.switch.show("ports")[1]["mtu"] == 1430
    link.switch.terminate()


def test_hosts_of_ipv6_are_kept_across_a_crash_and_audited(switches, tmp_path):
    frames = [udp(HERE, THERE), udp(HERE, ELSEWHERE)]
    switch = switches([*pcap_ports(tmp_path, [Port(), Port(HERE.id, frames)]), VTEP, "set store store"])
    switch.accept(*STATES)
    before, goals = everything(switch), switch.show("goal-state")
    assert host_ip6(B) in str(goals)
    _, same = dry_run(switch, *STATES)
    assert (same["new"], same["changed"], same["not_programmed"]) == ([], [], []), same
    moved = over_ipv6(ELSEWHERE)
    moved.configuration.revision_number = 2
    _, moved = dry_run(switch, moved)
    assert host_ip6(C) in str(moved["changed"]) and moved["not_programmed"] == [], moved
    kill(switch)

    switch.start()
    assert (everything(switch), switch.show("goal-state")) == (before, goals)
    switch.execute("start")
    switch.settled(port1=2)
    switch.terminate()
    sent = read_pcap(tmp_path / "tx0.pcap")
    assert_frames(sent[:1], [sent_by(sent[0], frames[0])])
    assert_encapsulated(sent[1:], [(frames[1], 5, C)])


class Kernel:
    """A Linux host with a guest behind its bridge, on the link by these addresses."""

    def __init__(self, namespace: Namespace, guest: Namespace, machine, device: str, local: str, vxlan: str):
        self.namespace, self.guest, self.machine = namespace, guest, machine
        vxlan_bridge(namespace, guest, machine, f"local {local} dev {device} dstport {VXLAN_PORT} {vxlan}")
        guest.ip(f"address add {machine.ip}/16 dev eth0")
        guest.ip(f"neigh add {HERE.ip} lladdr {HERE.mac} dev eth0")

    def leads(self, remote: str) -> None:
        run("bridge", "-n", self.namespace.name, "fdb", "append", HERE.mac, "dev", "vx5", "dst", remote)


def awake(namespace: Namespace, device: str) -> None:
    """IPv6 on a device whose other end is there, without a wait for who else may have its addresses."""
    for knob, value in (("disable_ipv6", "0"), ("accept_dad", "0")):
        namespace.write(f"ipv6/conf/{device}/{knob}", value)


@pytest.mark.parametrize("checksum", ["off", "on"])
def test_guests_talk_to_guests_of_linux_hosts_over_ipv6_and_over_ipv4_at_once(networks, switches, checksum):
    """Host B is on the link by IPv6 alone, host C by IPv4 alone; a bridge between them and the switch is the network. Nobody is
    told anybody's MAC."""
    wire, guest = networks.namespace("w"), networks.namespace("ga")
    hosts, guests = [networks.namespace(f"h{n}") for n in "bc"], [networks.namespace(f"g{n}") for n in "bc"]
    uplink = networks.pair("u", wire, "u", mac="02:00:c0:00:02:f1", outer_mac=host_mac(A))
    tenant = networks.pair("g", guest, "eth0", mac=HERE.mac, mtu=1500)
    wire.ip("link add net mtu 1600 type bridge mcast_snooping 0")
    wire.ip("link set u master net")
    for host, number, name in zip(hosts, (B, C), ("tob", "toc")):
        wire.ip(f"link add {name} mtu 1600 type veth peer name u address {host_mac(number)} mtu 1600 netns {host.name}")
        wire.ip(f"link set {name} master net up")
        with wire.inside():
            quiet(name)
        with host.inside():
            quiet("u")
        host.ip("link set u up")
    wire.ip("link set net up")
    awake(hosts[0], "u")
    hosts[0].ip(f"address add {host_ip6(B)}/64 dev u nodad")
    hosts[1].ip(f"address add {host_ip(C)}/24 dev u")
    flags = "udp6zerocsumtx udp6zerocsumrx" if checksum == "off" else "noudp6zerocsumtx noudp6zerocsumrx"
    over6 = Kernel(hosts[0], guests[0], THERE, "u", host_ip6(B), flags)
    over4 = Kernel(hosts[1], guests[1], ELSEWHERE, "u", host_ip(C), "")
    over6.leads(host_ip6(A))
    over4.leads(host_ip(A))
    switch = switches(
        [
            f"port attach net_af_packet0,iface={uplink}",
            "port config 0 mtu 1600",
            f"port attach net_af_packet1,iface={tenant}",
            f"port bind 1 {HERE.id}",
            "set vtep 192.0.2.1/24 port 0",
            VTEP,
            f"set vxlan udp6-checksum {checksum}",
            "start",
        ]
    )
    guest.ip("link set eth0 up")
    guest.ip(f"address add {HERE.ip}/16 dev eth0")
    switch.push(goal.vpc(NET), goal.subnet(NET), goal.port(HERE), over_ipv6(THERE, named=False), goal.neighbor(ELSEWHERE, host_mac_named=False))
    eventually("both are found", lambda: switch.show("pending") == [])
    known = {row["address"]: row["mac"] for row in switch.show("underlay")}
    assert known == {host_ip6(B): host_mac(B), host_ip(C): host_mac(C)}
    for there in (over6, over4):
        ends = (guest, HERE.ip), (there.guest, there.machine.ip)
        for client, server in (ends, ends[::-1]):
            ask_and_answer(client, server, (0, 1, 17, 18, 19, 100, 1471, 1472))
            exchange(client, server)
    neighbors = hosts[0].ip("-6 neigh show dev u")
    assert f"{host_ip6(A)} lladdr {host_mac(A)}" in neighbors, "the kernel asked for the switch's MAC"
    with hosts[0].inside():
        with open("/proc/thread-self/net/snmp6") as file:
            counters = dict(line.split() for line in file)
    assert counters["Udp6InCsumErrors"] == counters["Udp6InErrors"] == "0"
    for namespace in (guest, *guests):
        of_it = namespace.counters()
        assert not any(of_it[protocol]["InCsumErrors"] for protocol in ("Tcp", "Udp")), namespace.name
    assert "bad_checksum" not in {row["reason"] for row in switch.show("drops")}
    switch.terminate()
