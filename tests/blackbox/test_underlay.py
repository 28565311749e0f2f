# SPDX-License-Identifier: MIT
"""The underlay's ARP: nobody names the MACs of other hosts, so the switch asks for them; and without a host port it answers
for its VTEP. Frames are built by scapy; then the other hosts are Linux kernels, one of them behind a router."""

from __future__ import annotations

from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether

import goal
from frames import assert_encapsulated, tagged, udp, vxlan
from guests import VethSite
from plan import A, B, C, Subnet, host_ip, host_mac
from program import eventually
from test_kernel_peer import Hosts
from test_kernel_peer import HERE as GUEST
from test_kernel_peer import NEAR as NETWORK
from test_kernel_peer import THERE as PEER

SUBNET = Subnet(5)
HERE, THERE, ELSEWHERE = SUBNET.guest(A), SUBNET.guest(B), SUBNET.guest(C)
BROADCAST, ZERO = "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"


def arp(op: int, src: tuple[str, str], target: tuple[str, str], to: str) -> bytes:
    message = ARP(op=op, hwsrc=src[0], psrc=src[1], hwdst=target[0], pdst=target[1])
    return bytes(Ether(dst=to, src=src[0]) / message).ljust(60, b"\0")


def who_has(host: int, ip: str, to: str = BROADCAST) -> bytes:
    return arp(1, (host_mac(host), host_ip(host)), (ZERO, ip), to)


def is_at(mac: str, ip: str, asker: int) -> bytes:
    return arp(2, (mac, ip), (host_mac(asker), host_ip(asker)), host_mac(asker))


class Link(VethSite):
    """With one guest. Nobody has the other ends but this test."""

    def __init__(self, networks, switches, *config: str, **named):
        super().__init__(networks, switches, [HERE], *config, **named)
        [self.guest] = self.wires
        self.switch.accept(goal.vpc(SUBNET), goal.subnet(SUBNET), goal.port(HERE))

    def names(self, *guests) -> list[str]:
        """The controller names neighbors without their hosts' MACs; their statuses."""
        reply = self.switch.push(*(goal.neighbor(guest, host_mac_named=False) for guest in guests))
        return [status for _, _, status in goal.status_names(reply)]

    def known(self) -> dict[str, str | None]:
        return {row["address"]: row["mac"] for row in self.switch.show("underlay")}

    def comes(self) -> bytes:
        return self.uplink.receive(1)[0]


def test_hosts_without_a_mac_are_asked_for_it_and_their_neighbors_wait_until_then(networks, switches):
    link = Link(networks, switches)
    assert link.names(THERE) == ["PENDING"]
    assert link.comes() == who_has(A, host_ip(B))
    assert link.switch.show("pending")[0]["reason"] == f"no underlay MAC for {host_ip(B)}"
    link.guest.send([udp(HERE, THERE)])
    link.switch.settled(port1=1)
    # What others say of themselves is of no interest, nor is a group a host.
    link.uplink.send([is_at(host_mac(C), host_ip(C), A), is_at("03:00:00:00:00:01", host_ip(B), A)])
    assert link.comes() == who_has(A, host_ip(B)), "asked again"
    assert link.known() == {host_ip(B): None}
    link.uplink.send([is_at(host_mac(B), host_ip(B), A)])
    link.ready()
    assert link.known() == {host_ip(B): host_mac(B)}
    link.uplink.receive(99, 0.05)
    link.guest.send([udp(HERE, THERE)])
    assert_encapsulated([link.comes()], [(udp(HERE, THERE), 5, B)], src_mac=host_mac(A))
    # It has another MAC now, and says so.
    link.uplink.send([arp(1, (host_mac(C), host_ip(B)), (ZERO, host_ip(B)), BROADCAST)])
    eventually("it has another MAC", lambda: link.known() == {host_ip(B): host_mac(C)})
    eventually("no one is left", lambda: sends_to(link) == host_mac(C))
    counters = link.switch.counters()
    counters.assert_balanced()
    assert counters.drops[0] == {}, "ARP is read, not dropped"
    link.switch.terminate()


def sends_to(link: Link) -> str:
    """The MAC that a packet for guest B is sent to."""
    link.guest.send([udp(HERE, THERE)])
    return Ether(link.comes()).dst


def test_a_router_is_asked_for_its_mac_once_for_all_hosts_behind_it(networks, switches):
    link = Link(networks, switches, "set underlay gateway 192.0.2.254")
    states = [goal.neighbor(guest) for guest in (THERE, ELSEWHERE)]
    for number, state in enumerate(states):
        state.configuration.host_ip_address = f"198.51.100.{number + 1}"
    reply = link.switch.push(*states)
    assert {status for _, _, status in goal.status_names(reply)} == {"PENDING"}, "their own MACs mean nothing here"
    router = ("02:00:c0:00:02:fe", "192.0.2.254")
    assert link.comes() == who_has(A, router[1])
    link.uplink.send([is_at(*router, A)])
    link.ready()
    assert link.known() == {router[1]: router[0]}
    assert sends_to(link) == router[0]
    link.switch.terminate()


def test_who_asks_for_the_vtep_is_answered(networks, switches):
    link = Link(networks, switches)
    probe = arp(1, (host_mac(B), "0.0.0.0"), (ZERO, host_ip(A)), BROADCAST)
    asked = [
        (who_has(B, host_ip(A)), is_at(host_mac(A), host_ip(A), B)),
        (who_has(B, host_ip(A), to=host_mac(A)), is_at(host_mac(A), host_ip(A), B)),
        (probe, arp(2, (host_mac(A), host_ip(A)), (host_mac(B), "0.0.0.0"), host_mac(B))),
    ]
    for question, answer in asked:
        link.uplink.send([question])
        assert link.comes() == answer
    strange = bytes(Ether(dst=host_mac(A), src=host_mac(B)) / IP(src=host_ip(B), dst=host_ip(A)) / ICMP())
    link.uplink.send([who_has(B, host_ip(C)), who_has(A, host_ip(A)), strange])
    counters = link.switch.settled(port0=6)
    assert counters.drops[0] == {"not_for_us": 2}
    assert counters.ports[0]["answered"] == 4
    assert "says that it has this host's address" not in link.switch.log.read_text()
    link.uplink.send([arp(1, (host_mac(B), host_ip(A)), (ZERO, host_ip(A)), BROADCAST)])
    eventually("it is said", lambda: f"{host_mac(B)} says that it has this host's address" in link.switch.log.read_text())
    link.switch.terminate()


def test_in_a_vlan_the_switch_asks_answers_and_sends_with_its_tag(networks, switches):
    link = Link(networks, switches, "set vxlan vlan 100")
    question, answer = who_has(B, host_ip(A)), is_at(host_mac(A), host_ip(A), B)
    link.uplink.send([tagged(question, 101), question, tagged(question, 100)])
    assert link.comes() == tagged(answer, 100)
    assert link.names(THERE) == ["PENDING"]
    assert link.comes() == tagged(who_has(A, host_ip(B)), 100)
    link.uplink.send([tagged(is_at(host_mac(B), host_ip(B), A), 100)])
    link.ready()
    link.uplink.receive(99, 0.05)
    link.guest.send([udp(HERE, THERE)])
    frame = link.comes()
    assert frame[12:16] == b"\x81\0\0\x64"
    assert_encapsulated([frame[:12] + frame[16:]], [(udp(HERE, THERE), 5, B)], src_mac=host_mac(A))
    back = vxlan(udp(THERE, HERE), 5, src=B, eth_dst=host_mac(A))
    link.uplink.send([tagged(back, 100, priority=5), tagged(back, 101), back])
    assert link.guest.receive(1) == [udp(THERE, HERE)]
    counters = link.switch.settled(port0=7)
    counters.assert_balanced()
    assert counters.drops[0] == {"not_for_us": 2, "untagged": 2}
    link.switch.terminate()


def test_a_host_port_answers_for_itself(networks, switches):
    """The kernel behind it has the VTEP's address; the switch asks, and answers nothing."""
    tap, kernel = networks.tap("h"), networks.namespace("k")
    link = Link(networks, switches, f"port attach net_tap2,iface={tap},mac={host_mac(A)}", "set host port 2")
    kernel.take(tap, "u")
    kernel.ip("link set u up")
    kernel.ip(f"address add {host_ip(A)}/24 dev u")
    link.uplink.receive(99, 0.2)
    link.uplink.send([who_has(B, host_ip(A))])
    answers = [frame for frame in link.uplink.receive(2, 0.5) if Ether(frame).type == 0x806]
    assert [Ether(frame)[ARP].hwsrc for frame in answers] == [host_mac(A)], "one of them"
    assert link.names(THERE) == ["PENDING"]
    link.uplink.send([is_at(host_mac(B), host_ip(B), A)])
    link.ready()
    link.switch.terminate()


def test_the_switch_and_linux_hosts_find_each_other(networks, switches):
    """Guest B is behind a kernel on the same link, which asks for the switch as the switch asks for it."""
    hosts = Hosts(networks, switches, "net_tap", named=False)
    hosts.switch.push(goal.vpc(NETWORK), goal.subnet(NETWORK), goal.port(GUEST), goal.neighbor(PEER, host_mac_named=False))
    eventually("nothing waits", lambda: hosts.switch.show("pending") == [])
    assert hosts.ping(GUEST, PEER) == 64
    assert f"{host_ip(A)} lladdr {host_mac(A)}" in hosts.host.ip("neigh show dev u")
    known = {row["address"]: row["mac"] for row in hosts.switch.show("underlay")}
    assert known == {host_ip(B): host_mac(B)}
    # Host B gets another network card, and announces it.
    hosts.host.write("ipv4/conf/u/arp_notify", "1")
    hosts.host.ip("link set u down")
    hosts.host.ip(f"link set u address {host_mac(C)}")
    hosts.host.ip("link set u up")
    eventually("it is known", lambda: hosts.switch.show("underlay")[0]["mac"] == host_mac(C))
    eventually("it answers", lambda: hosts.ping(GUEST, PEER) == 64)
    hosts.switch.terminate()
