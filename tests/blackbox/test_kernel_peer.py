# SPDX-License-Identifier: MIT
"""The other host is the Linux kernel: its VXLAN, its bridge, its router, its checksums. Guests are namespaces whose kernels
talk TCP, UDP and ICMP to each other.

Host B has a bridge and a VXLAN device for each subnet. Its bridge in guest A's subnet has the distributed router's
MAC, the one in the far subnet is that subnet's gateway: so it routes as a switch of this project on that host would.
"""

from __future__ import annotations

import errno
import os
import select
import shutil
import socket
import struct

import pytest
from scapy.layers.inet import ICMP
from scapy.packet import Raw

import goal
from kernel import Namespace, ask_and_answer, exchange, run, vxlan_bridge
from plan import A, B, DVR_MAC, VXLAN_PORT, Guest, Subnet, host_ip, host_mac
from program import DEADLINE, eventually

NEAR, FAR = Subnet(5), Subnet(6, of_vpc="vpc-5")
HERE, THERE, FAR_THERE = NEAR.guest(A), NEAR.guest(B), FAR.guest(B)
_IP_RECVERR, _FROM_ICMP = 11, 2
_IP_MTU_DISCOVER, _PMTUDISC_DONT = 10, 0
_TCP_MAXSEG = 2
WHOLE = 0, 1, 17, 18, 19, 100, 1471, 1472
FRAGMENTED = 1473, 4000, 20_000
"""Sizes of datagrams that come in fragments. DPDK's net_af_packet joins fragments before the switch sees them, and cuts
the result, so only a tap device is tried with them."""


class Hosts:
    """Guest A behind the switch, host B's kernel with two guests."""

    def __init__(self, networks, switches, device: str, *, mtu: int = 1600, config: tuple[str, ...] = (), named: bool = True, vxlan: str = f"dstport {VXLAN_PORT}"):
        """`mtu`: what the switch is told of the uplink, whose device takes 1600. `named`: host B is told host A's MAC.
        `vxlan`: options of host B's VXLAN devices."""
        self.guest = networks.namespace("ga")
        self.host = networks.namespace("hb")
        self.there, self.far_there = networks.namespace("gb5"), networks.namespace("gb6")
        uplink = networks.pair("u", self.host, "u", mac=host_mac(B), outer_mac=host_mac(A))
        if device == "net_af_packet":
            tenant = f"net_af_packet1,iface={networks.pair('g', self.guest, 'eth0', mac=HERE.mac, mtu=1500)}"
        else:
            tap = networks.tap("t")
            tenant = f"net_tap1,iface={tap},mac={HERE.mac}"
        self.make_host_b(named, vxlan)
        self.switch = switches(
            [
                f"port attach net_af_packet0,iface={uplink}",
                f"port config 0 mtu {mtu}",
                f"port attach {tenant}",
                f"port bind 1 {HERE.id}",
                "set vtep 192.0.2.1/24 port 0",
                *config,
                "start",
            ]
        )
        if device == "net_tap":
            self.guest.take(tap)
        self.settle(self.guest, HERE, "eth0")

    @staticmethod
    def settle(namespace: Namespace, guest: Guest, device: str) -> None:
        """Address and gateway."""
        namespace.ip(f"link set {device} up")
        namespace.ip(f"address add {guest.ip}/{guest.subnet.cidr.split('/')[1]} dev {device}")
        namespace.ip(f"route add default via {guest.subnet.gateway_ip}")

    def make_host_b(self, named: bool, vxlan: str) -> None:
        host = self.host
        host.ip(f"address add {host_ip(B)}/24 dev u")
        if named:
            host.ip(f"neigh add {host_ip(A)} lladdr {host_mac(A)} dev u")
        sides = ((NEAR, THERE, self.there, DVR_MAC), (FAR, FAR_THERE, self.far_there, FAR.gateway_mac))
        for subnet, guest, namespace, bridge_mac in sides:
            vxlan_bridge(host, namespace, guest, f"local {host_ip(B)} {vxlan}", mac=bridge_mac)
            self.settle(namespace, guest, "eth0")
            # Host B's bridge answers no ARP for a gateway that it is not.
            namespace.ip(f"neigh add {subnet.gateway_ip} lladdr {subnet.gateway_mac} dev eth0")
        run("bridge", "-n", host.name, "fdb", "append", HERE.mac, "dev", "vx5", "dst", host_ip(A))
        host.ip(f"address add {FAR.gateway_ip}/16 dev br6")
        host.ip(f"route add {NEAR.cidr} dev br5")
        host.ip(f"neigh add {HERE.ip} lladdr {HERE.mac} dev br5")
        host.ip(f"neigh add {FAR_THERE.ip} lladdr {FAR_THERE.mac} dev br6")
        host.write("ipv4/ip_forward", "1")
        for which in ("all", "br5", "br6"):
            host.write(f"ipv4/conf/{which}/rp_filter", "0")
        self.there.ip(f"neigh add {HERE.ip} lladdr {HERE.mac} dev eth0")

    def of(self, guest: Guest) -> Namespace:
        return {HERE: self.guest, THERE: self.there, FAR_THERE: self.far_there}[guest]

    def dropped(self) -> set[str]:
        """Why frames of guest A were dropped."""
        return {row["reason"] for row in self.switch.show("drops") if row["port"] == 1}

    # --- what guests do

    def tcp(self, client: Guest, server: Guest) -> None:
        exchange((self.of(client), client.ip), (self.of(server), server.ip))

    def udp(self, client: Guest, server: Guest, sizes) -> None:
        ask_and_answer((self.of(client), client.ip), (self.of(server), server.ip), sizes)

    def udp_unfit(self, client: Guest, server: Guest, size: int) -> None:
        """A datagram that is sent without asking what fits, and may be fragmented."""
        with self.of(server).inside():
            there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            there.bind((server.ip, 6002))
        with self.of(client).inside():
            here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with here, there:
            here.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)
            there.settimeout(DEADLINE)
            data = os.urandom(size)
            here.sendto(data, (server.ip, 6002))
            assert there.recv(1 << 16) == data

    def told(self, client: Guest, to: tuple[str, int], ttl: int = 64) -> tuple[str, int, int, str]:
        """What becomes of a datagram: the error that the sender gets, and type, code and source of its ICMP message."""
        with self.of(client).inside():
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
            sender.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            sender.sendto(b"where does this end?", to)
            ready = select.poll()
            ready.register(sender, select.POLLERR)
            assert ready.poll(DEADLINE * 1000), "nobody says"
            data, ancillary, _, _ = sender.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            assert data == b"where does this end?"
            ((level, kind, error),) = (entry for entry in ancillary if entry[1] == _IP_RECVERR)
            number, origin, icmp_type, icmp_code = struct.unpack_from("=IBBB", error)
            assert (level, kind, origin) == (socket.IPPROTO_IP, _IP_RECVERR, _FROM_ICMP)
            return errno.errorcode[number], icmp_type, icmp_code, socket.inet_ntoa(error[20:24])

    def ping(self, client: Guest, server: Guest | str) -> int:
        """TTL of the answer."""
        to = server if isinstance(server, str) else server.ip
        with self.of(client).inside():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        with raw:
            raw.settimeout(DEADLINE)
            raw.sendto(bytes(ICMP(id=77, seq=1) / Raw(b"ping")), (to, 0))
            while True:
                packet, (source, _) = raw.recvfrom(2048)
                answer = ICMP(packet[20:])
                if answer.type == 0 and answer.id == 77:
                    assert source == to and bytes(answer.payload) == b"ping"
                    return packet[8]


STATES = [
    goal.vpc(NEAR),
    goal.subnet(NEAR),
    goal.subnet(FAR),
    goal.router(NEAR, FAR),
    goal.port(HERE),
    goal.neighbor(THERE),
    goal.neighbor(FAR_THERE, kind="L3"),
]


@pytest.mark.parametrize(("device", "config"), [("net_af_packet", ()), ("net_tap", ()), ("net_tap", ("port config 1 tx-offload on",))])
def test_guests_talk_to_guests_of_a_linux_host(networks, switches, device, config):
    hosts = Hosts(networks, switches, device, config=config)
    switch = hosts.switch
    switch.accept(*STATES)
    eventually("the guest's device is up", lambda: "LOWER_UP" in hosts.guest.ip("link show eth0"))
    assert hosts.ping(HERE, THERE) == 64, "switched: no hop"
    assert hosts.ping(HERE, FAR_THERE) == 63, "routed once on its way back, by host B"
    assert hosts.ping(THERE, HERE) == 64
    assert hosts.ping(FAR_THERE, HERE) == 63, "routed once on its way back, by the switch"
    gateway = NEAR.gateway_ip
    assert hosts.ping(HERE, gateway) == 64 and hosts.ping(HERE, FAR.gateway_ip) == 64, "the switch itself"
    known = hosts.guest.ip("neighbor show dev eth0")
    for ip, mac in ((gateway, NEAR.gateway_mac), (THERE.ip, THERE.mac)):
        assert f"{ip} lladdr {mac}" in known, known
    for to, ttl, told in (
        (FAR_THERE.ip, 1, ("EHOSTUNREACH", 11, 0, gateway)),  # as traceroute does
        ("198.51.100.1", 64, ("ENETUNREACH", 3, 0, gateway)),
        (FAR.guest(B, 77).ip, 64, ("EHOSTUNREACH", 3, 1, gateway)),
        (gateway, 64, ("ECONNREFUSED", 3, 3, gateway)),
    ):
        assert hosts.told(HERE, (to, 33434), ttl) == told
    for client, server in ((HERE, THERE), (THERE, HERE), (HERE, FAR_THERE), (FAR_THERE, HERE)):
        hosts.udp(client, server, WHOLE if device == "net_af_packet" else WHOLE + FRAGMENTED)
        hosts.tcp(client, server)
    for namespace in (hosts.guest, hosts.there, hosts.far_there, hosts.host):
        counters = namespace.counters()
        wrong = {f"{protocol} {name}": counters[protocol][name] for protocol in ("Icmp", "Tcp", "Udp") for name in ("InCsumErrors",)}
        assert not any(wrong.values()), f"{namespace.name}: {wrong}"
        assert counters["Ip"]["InHdrErrors"] == 0, namespace.name
    switch.terminate()


def test_a_kernel_takes_another_port_and_dscp(networks, switches):
    config = "set vxlan port 8472", "set vxlan dscp 46"
    hosts = Hosts(networks, switches, "net_tap", config=config, vxlan="dstport 8472 tos 0x28")
    switch = hosts.switch
    switch.accept(*STATES)
    eventually("the guest's device is up", lambda: "LOWER_UP" in hosts.guest.ip("link show eth0"))
    assert (hosts.ping(HERE, THERE), hosts.ping(FAR_THERE, HERE)) == (64, 63)
    for client, server in ((HERE, THERE), (FAR_THERE, HERE)):
        hosts.udp(client, server, WHOLE)
        hosts.tcp(client, server)
    assert hosts.host.counters()["Ip"]["InHdrErrors"] == 0
    switch.terminate()


def test_a_guest_learns_what_the_way_to_another_host_takes(networks, switches):
    """The underlay takes 1500 bytes, as the guest's device does: VXLAN leaves 1450 of them."""
    if shutil.which("tracepath") is None:
        pytest.skip("needs `tracepath`")
    hosts = Hosts(networks, switches, "net_tap", mtu=1500)
    switch = hosts.switch
    switch.accept(*STATES)
    eventually("the guest's device is up", lambda: "LOWER_UP" in hosts.guest.ip("link show eth0"))
    for there, hops in ((THERE, 1), (FAR_THERE, 2)):
        assert "mtu 1450" not in hosts.guest.ip(f"route get {there.ip}")
        trace = run("ip", "netns", "exec", hosts.guest.name, "tracepath", "-n", "-m", 4, there.ip)
        assert "pmtu 1500" in trace and "pmtu 1450" in trace, trace
        assert f"Resume: pmtu 1450 hops {hops}" in trace, trace
        assert "mtu 1450" in hosts.guest.ip(f"route get {there.ip}")
    # The kernel heeds it: it fragments datagrams itself, and sends shorter segments.
    for there in (THERE, FAR_THERE):
        hosts.udp(HERE, there, (1422, 1423, 1472, 4000))
        hosts.tcp(HERE, there)
    assert hosts.guest.counters()["Icmp"]["InCsumErrors"] == 0
    assert hosts.dropped() >= {"too_big", "ttl_expired"}
    switch.terminate()


def test_what_a_guest_sends_too_long_arrives_where_the_switch_fragments_and_clamps(networks, switches):
    hosts = Hosts(networks, switches, "net_tap", mtu=1000, config=("set clamp-mss on",))
    switch = hosts.switch
    switch.accept(*STATES)
    eventually("the guest's device is up", lambda: "LOWER_UP" in hosts.guest.ip("link show eth0"))
    for there in (THERE, FAR_THERE):
        for size in (922, 923, 1472, 20_000):
            hosts.udp_unfit(HERE, there, size)
        assert "mtu" not in hosts.guest.ip(f"route get {there.ip}"), "nobody had to be told"
        with hosts.of(there).inside():
            listener = socket.create_server((there.ip, 5001))
        with hosts.guest.inside():
            connection = socket.create_connection((there.ip, 5001), DEADLINE)
        with listener, connection:
            accepted, _ = listener.accept()
            with accepted:
                # Less the 12 bytes of a time stamp in each segment.
                assert [end.getsockopt(socket.IPPROTO_TCP, _TCP_MAXSEG) for end in (connection, accepted)] == [950 - 40 - 12] * 2
        hosts.tcp(HERE, there)
    for namespace in (hosts.guest, hosts.there, hosts.far_there):
        counters = namespace.counters()
        assert not any(counters[protocol]["InCsumErrors"] for protocol in ("Icmp", "Tcp", "Udp")), namespace.name
        assert counters["Ip"]["InHdrErrors"] == counters["Ip"]["ReasmFails"] == 0, namespace.name
    assert "too_big" not in hosts.dropped() and "no_buffers" not in hosts.dropped()
    switch.terminate()
