# SPDX-License-Identifier: MIT
"""A Linux guest's IPv6: its kernel looks whether its address is free, asks for routers and neighbors, and talks to guests of
a Linux host, whose kernel has the VXLAN, the bridges and the router (see test_kernel_peer for how that is made)."""

from __future__ import annotations

import errno
import select
import shutil
import signal
import socket
import struct
import subprocess

import pytest

import goal
import senders
from kernel import Namespace, ask_and_answer, exchange, run, vxlan_bridge
from plan import A, B, DVR_MAC, VXLAN_PORT, Guest, Subnet, host_ip, host_mac, link_local
from program import DEADLINE, eventually

NEAR, FAR = Subnet(5, version=6), Subnet(6, of_vpc="vpc-5", version=6)
HERE, THERE, FAR_THERE = NEAR.guest(A), NEAR.guest(B), FAR.guest(B)
STATES = [
    goal.vpc(NEAR),
    goal.subnet(NEAR),
    goal.subnet(FAR),
    goal.router(NEAR, FAR),
    goal.port(HERE),
    goal.neighbor(THERE),
    goal.neighbor(FAR_THERE, kind="L3"),
]
_IPV6_RECVERR, _FROM_ICMPV6 = 25, 3


def awake(namespace: Namespace, device: str) -> None:
    """IPv6 on a device, which sends with whole checksums and no larger segments than its MTU."""
    with namespace.inside():
        run("ethtool", "-K", device, "tx", "off", "gso", "off", "gro", "off")
    for which in ("all", "default", device):
        namespace.write(f"ipv6/conf/{which}/disable_ipv6", "0")


class Hosts:
    """Guest A behind the switch on a tap device, host B's kernel with two guests."""

    def __init__(self, networks, switches, *, takes_mtu_of_router: bool = True, states=STATES, own_address: bool = True):
        self.guest = networks.namespace("ga")
        self.host = networks.namespace("hb")
        self.there, self.far_there = networks.namespace("gb5"), networks.namespace("gb6")
        uplink = networks.pair("u", self.host, "u", mac=host_mac(B), outer_mac=host_mac(A))
        tap = networks.tap("t")
        self.make_host_b()
        self.switch = switches(
            [
                f"port attach net_af_packet0,iface={uplink}",
                "port config 0 mtu 1500",
                f"port attach net_tap1,iface={tap},mac={HERE.mac}",
                f"port bind 1 {HERE.id}",
                "set vtep 192.0.2.1/24 port 0",
                "set anti-spoofing on",
                "start",
            ]
        )
        self.switch.accept(*states)
        self.guest.take(tap)
        awake(self.guest, "eth0")
        if not takes_mtu_of_router:
            self.guest.write("ipv6/conf/eth0/accept_ra_mtu", "0")
        self.guest.ip("link set eth0 up")
        if own_address:
            self.guest.ip(f"address add {HERE.ip}/64 dev eth0")
        eventually("its addresses are its own", lambda: "tentative" not in self.addresses() and link_local(HERE.mac) in self.addresses())
        assert "dadfailed" not in self.addresses()
        eventually("a router says who it is", lambda: "default via" in self.guest.ip("-6 route show"))

    def addresses(self) -> str:
        return self.guest.ip("-6 address show dev eth0")

    def make_host_b(self) -> None:
        host = self.host
        host.ip(f"address add {host_ip(B)}/24 dev u")
        host.ip(f"neigh add {host_ip(A)} lladdr {host_mac(A)} dev u")
        sides = ((NEAR, THERE, self.there, DVR_MAC), (FAR, FAR_THERE, self.far_there, FAR.gateway_mac))
        for subnet, guest, namespace, bridge_mac in sides:
            vxlan_bridge(host, namespace, guest, f"local {host_ip(B)} dstport {VXLAN_PORT}", mac=bridge_mac, mtu=1450)
            awake(host, f"br{subnet.vni}")
            namespace.write("ipv6/conf/eth0/accept_ra", "0")
            awake(namespace, "eth0")
            namespace.ip(f"address add {guest.ip}/64 dev eth0 nodad")
            namespace.ip(f"route add default via {subnet.gateway_ip} dev eth0")
            # Host B's bridge does not answer for a gateway that it is not.
            namespace.ip(f"neigh add {subnet.gateway_ip} lladdr {subnet.gateway_mac} dev eth0")
        run("bridge", "-n", host.name, "fdb", "append", HERE.mac, "dev", "vx5", "dst", host_ip(A))
        host.ip(f"address add {FAR.gateway_ip}/64 dev br6 nodad")
        host.ip(f"route add {NEAR.cidr} dev br5")
        host.ip(f"neigh add {HERE.ip} lladdr {HERE.mac} dev br5")
        host.ip(f"neigh add {FAR_THERE.ip} lladdr {FAR_THERE.mac} dev br6")
        host.write("ipv6/conf/all/forwarding", "1")
        self.there.ip(f"neigh add {HERE.ip} lladdr {HERE.mac} dev eth0")

    def of(self, guest: Guest) -> Namespace:
        return {HERE: self.guest, THERE: self.there, FAR_THERE: self.far_there}[guest]

    def errors(self) -> dict[str, dict[str, int]]:
        """What kernels found wrong with packets, by namespace."""
        wrong = {}
        for namespace in (self.guest, self.there, self.far_there, self.host):
            with namespace.inside(), open("/proc/thread-self/net/snmp6") as lines:
                counters = dict(line.split() for line in lines)
            names = ("Ip6InHdrErrors", "Ip6InTruncatedPkts", "Icmp6InErrors", "Icmp6InCsumErrors", "Udp6InCsumErrors")
            wrong[namespace.name] = {name: int(counters[name]) for name in names if int(counters[name])}
        return {name: found for name, found in wrong.items() if found}

    # --- what guests do

    def ping(self, client: Guest, to: str) -> int:
        """Hop limit of the answer."""
        with self.of(client).inside():
            raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        with raw:
            raw.settimeout(DEADLINE)
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            raw.sendto(struct.pack(">BBHHH", 128, 0, 0, 77, 1) + b"ping", (to, 0))
            while True:
                message, ancillary, _, source = raw.recvmsg(2048, 512)
                if message[0] == 129 and message[4:6] == struct.pack(">H", 77):
                    assert source[0] == to and message[8:] == b"ping"
                    ((_, _, hops),) = ancillary
                    return struct.unpack("=i", hops)[0]

    def udp(self, client: Guest, server: Guest, sizes) -> None:
        ask_and_answer((self.of(client), client.ip), (self.of(server), server.ip), sizes)

    def tcp(self, client: Guest, server: Guest) -> None:
        exchange((self.of(client), client.ip), (self.of(server), server.ip))

    def told(self, to: str, port: int, hops: int = 64) -> tuple[str, int, int, str]:
        """What becomes of a datagram of guest A: the error that it gets, and type, code and source of its ICMPv6 message."""
        with self.guest.inside():
            sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        with sender:
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hops)
            sender.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            sender.sendto(b"where does this end?", (to, port))
            ready = select.poll()
            ready.register(sender, select.POLLERR)
            assert ready.poll(DEADLINE * 1000), "nobody says"
            data, ancillary, _, _ = sender.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            assert data == b"where does this end?"
            ((level, kind, error),) = (entry for entry in ancillary if entry[1] == _IPV6_RECVERR)
            number, origin, icmp_type, icmp_code = struct.unpack_from("=IBBB", error)
            assert (level, kind, origin) == (socket.IPPROTO_IPV6, _IPV6_RECVERR, _FROM_ICMPV6)
            return errno.errorcode[number], icmp_type, icmp_code, socket.inet_ntop(socket.AF_INET6, error[24:40])


def test_a_linux_guest_finds_its_router_and_talks_to_guests_of_a_linux_host(networks, switches):
    hosts = Hosts(networks, switches)
    router = link_local(NEAR.gateway_mac)
    routes = hosts.guest.ip("-6 route show")
    assert f"default via {router} dev eth0 proto ra" in routes and "mtu 1450" in routes, routes
    assert hosts.ping(HERE, THERE.ip) == 64, "switched: no hop"
    assert hosts.ping(HERE, FAR_THERE.ip) == 63, "routed once on its way back, by host B"
    assert hosts.ping(THERE, HERE.ip) == 64
    assert hosts.ping(FAR_THERE, HERE.ip) == 63, "routed once on its way back, by the switch"
    for gateway in (NEAR.gateway_ip, FAR.gateway_ip):
        assert hosts.ping(HERE, gateway) == 64, "the switch itself"
    known = hosts.guest.ip("-6 neighbor show dev eth0")
    for ip, mac in ((router, NEAR.gateway_mac), (NEAR.gateway_ip, NEAR.gateway_mac), (THERE.ip, THERE.mac)):
        assert any(line.startswith(f"{ip} ") and f"lladdr {mac}" in line for line in known.splitlines()), known
    for to, hops, told in (
        (FAR_THERE.ip, 1, ("EHOSTUNREACH", 3, 0, NEAR.gateway_ip)),  # as traceroute does
        ("2001:db8:99::1", 64, ("ENETUNREACH", 1, 0, NEAR.gateway_ip)),
        (FAR.guest(B, 77).ip, 64, ("EHOSTUNREACH", 1, 3, NEAR.gateway_ip)),
        (NEAR.gateway_ip, 64, ("ECONNREFUSED", 1, 4, NEAR.gateway_ip)),
    ):
        assert hosts.told(to, 33434, hops) == told
    for client, server in ((HERE, THERE), (THERE, HERE), (HERE, FAR_THERE), (FAR_THERE, HERE)):
        hosts.udp(client, server, (0, 1, 17, 1402, 1403, 4000, 20_000))
        hosts.tcp(client, server)
    assert hosts.errors() == {}
    hosts.switch.terminate()


def test_a_linux_guest_does_not_take_an_address_that_somebody_has(networks, switches):
    hosts = Hosts(networks, switches)
    hosts.guest.write("ipv6/conf/eth0/dad_transmits", "2")
    hosts.guest.ip(f"address add {THERE.ip}/64 dev eth0")
    # Anti-spoofing would keep the question from being asked: the address is not the guest's.
    eventually("it is dropped as spoofed", lambda: {"spoofed_arp"} <= {row["reason"] for row in hosts.switch.show("drops") if row["port"] == 1})
    hosts.guest.ip(f"address del {THERE.ip}/64 dev eth0")
    hosts.switch.execute("port config 1 anti-spoofing off")
    hosts.guest.ip(f"address add {THERE.ip}/64 dev eth0")
    eventually("somebody has it", lambda: "dadfailed" in hosts.addresses())
    hosts.switch.terminate()


def test_a_linux_guest_learns_what_the_way_to_another_host_takes(networks, switches):
    """The router says what the underlay takes; a guest that does not listen is told by and by."""
    if shutil.which("tracepath") is None:
        pytest.skip("needs `tracepath`")
    hosts = Hosts(networks, switches, takes_mtu_of_router=False)
    for there, hops in ((THERE, 1), (FAR_THERE, 2)):
        assert "mtu 1450" not in hosts.guest.ip(f"route get {there.ip}")
        trace = run("ip", "netns", "exec", hosts.guest.name, "tracepath", "-6", "-n", "-m", 4, there.ip)
        assert "pmtu 1500" in trace and "pmtu 1450" in trace, trace
        assert f"Resume: pmtu 1450 hops {hops}" in trace, trace
        assert "mtu 1450" in hosts.guest.ip(f"route get {there.ip}")
        hosts.udp(HERE, there, (1402, 1403, 1452, 4000))
        hosts.tcp(HERE, there)
    assert hosts.errors() == {}
    hosts.switch.terminate()


SCRIPT = """#!/bin/sh
case $reason in
BOUND6 | RENEW6 | REBIND6) ip -6 address replace "$new_ip6_address/$new_ip6_prefixlen" dev "$interface" valid_lft "$new_max_life" preferred_lft "$new_preferred_life" ;;
RELEASE6 | STOP6 | EXPIRE6) ip -6 address del "$old_ip6_address/$old_ip6_prefixlen" dev "$interface" ;;
esac
echo "$reason $new_ip6_address dns $new_dhcp6_name_servers search $new_dhcp6_domain_search" >> "{log}"
"""
CONFIGURATION = "request dhcp6.name-servers, dhcp6.domain-search;\nsend fqdn.fqdn \"guest\";\n"


class Client:
    """ISC's DHCP client in the guest."""

    def __init__(self, guest: Namespace, folder):
        self.log, self.words, script = folder / "dhcp.log", folder / "dhcp.words", folder / "dhcp.sh"
        self.log.touch()
        script.write_text(SCRIPT.format(log=self.log))
        script.chmod(0o755)
        (folder / "dhcp.conf").write_text(CONFIGURATION)
        self.seen = 0
        # Where AppArmor is on, it keeps the installed program to the files of a Debian system.
        program = shutil.copy(shutil.which("dhclient"), folder / "dhclient")
        files = {"-sf": script, "-cf": folder / "dhcp.conf", "-lf": folder / "dhcp.leases", "-pf": folder / "dhcp.pid"}
        self.command = ["ip", "netns", "exec", guest.name, program, "-6", "-d", *(word for pair in files.items() for word in pair)]
        self.process = None

    def run(self, *options) -> None:
        command = list(map(str, [*self.command, *options, "eth0"]))
        with self.words.open("a") as words:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words)

    def event(self, *names: str) -> str:
        """What the client says with the first of these events since the last one that was asked for."""

        def found():
            lines = list(enumerate(self.log.read_text().splitlines(), 1))[self.seen :]
            return next((line for line in lines if line[1].split()[0] in names), None)

        self.seen, line = eventually(f"the client is {names}", found)
        return line

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(DEADLINE)


def test_a_linux_guest_gets_its_address_by_a_stock_client(networks, switches, tmp_path):
    if shutil.which("dhclient") is None:
        pytest.skip("needs `dhclient`")
    subnet = goal.subnet(NEAR)
    subnet.configuration.dns_entry_list.add(entry="2001:db8::53")
    subnet.configuration.extra_dhcp_options.add(name="option6:domain-search", value="example.com")
    states = [*(state for state in STATES if state != goal.subnet(NEAR)), subnet, senders.dhcp(HERE)]
    hosts = Hosts(networks, switches, states=states, own_address=False)
    assert HERE.ip not in hosts.addresses()
    client = Client(hosts.guest, tmp_path)

    def answered() -> int:
        return next(row["answered"] for row in hosts.switch.show("port stats all") if row["port"] == 1)

    try:
        client.run()
        assert client.event("BOUND6") == f"BOUND6 {HERE.ip} dns 2001:db8::53 search example.com."
        eventually("the address is its own", lambda: f"{HERE.ip}/128" in hosts.addresses() and "tentative" not in hosts.addresses())
        for there in (THERE, FAR_THERE):
            hosts.udp(HERE, there, (0, 17, 1402))
            hosts.tcp(HERE, there)
        assert hosts.ping(HERE, NEAR.gateway_ip) == 64
        # As after a link that was lost: it asks whether it may keep the address.
        client.end()
        before = answered()
        client.run()
        client.event("REBIND6", "BOUND6", "RENEW6")
        assert answered() > before and "XMT: Confirm on eth0" in client.words.read_text()
        client.end()
        client.run("-r")
        client.event("RELEASE6")
        client.process.wait(DEADLINE)
        eventually("the address is given back", lambda: HERE.ip not in hosts.addresses())
        drops = {row["reason"] for row in hosts.switch.show("drops")}
        assert not drops & {"bad_dhcp", "no_lease", "dhcp_quiet", "dhcp_declined", "spoofed_ip", "rogue_server"}, drops
        assert hosts.errors() == {}
    finally:
        client.end()
    hosts.switch.terminate()
