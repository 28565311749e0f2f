# SPDX-License-Identifier: MIT
"""Two hosts with a virtual machine each, by vhost-user: DHCP, pings, TCP, and a switch that is killed under its machine."""

from __future__ import annotations

import json

import pytest

import goal
import senders
from plan import A, B, Subnet
from program import eventually
from qemu import BOOT, VirtualMachine, initial_files
from test_restart import kill
from underlay import Underlay

NET = Subnet(5)
HERE, THERE = NET.guest(A), NET.guest(B)


@pytest.fixture
def machines(tmp_path):
    """One for each of these guests."""
    files = initial_files(tmp_path)
    made = []

    def make(*guests):
        made.extend(VirtualMachine(tmp_path / f"vm{n}", files, guest) for n, guest in enumerate(guests))
        return made

    yield make
    for each in made:
        each.end()


def neighbor(guest, underlay):
    state = goal.neighbor(guest)
    state.configuration.host_ip_address = underlay.address(guest.host)
    return state


def test_virtual_machines_of_two_hosts_talk_and_survive_their_switches(networks, switches, machines, capsys):
    underlay = Underlay(networks, mtu=1500)
    here, there = machines(HERE, THERE)
    hosts = []
    for guest, machine, peer in ((HERE, here, THERE), (THERE, there, HERE)):
        switch = switches(
            [
                f"port attach net_af_packet0,iface={underlay.attach(guest.host)}",
                "port config 0 mtu 1500",
                f"port attach net_vhost0,iface={machine.plug},client=1,queues=1",
                f"port bind 1 {guest.id}",
                *underlay.config(guest.host),
                "set anti-spoofing on",
                "set store store",
                "start",
            ]
        )
        switch.accept(goal.vpc(NET), goal.subnet(NET), goal.port(guest), senders.dhcp(guest), neighbor(peer, underlay))
        hosts.append(switch)

    for guest, machine in ((HERE, here), (THERE, there)):
        machine.booted()
        machine.run("udhcpc -i eth0 -f -n -q -t 30 -T 1 -O mtu -s /bound.sh")
        shown = machine.run("ip address show dev eth0")
        assert f"inet {guest.ip}/16 " in shown and "mtu 1450 " in shown and guest.mac in shown, shown

    def ping(machine, to: str, size: int = 56) -> bool:
        return " 3 packets received" in machine.execute(f"ping -q -c 3 -i 0.1 -s {size} {to}")[1]

    for client, server in ((here, THERE), (there, HERE)):
        for to, size in ((NET.gateway_ip, 56), (server.ip, 56), (server.ip, 1422), (server.ip, 4000)):
            assert ping(client, to, size), f"{size} bytes to {to}: {client.run('ip neigh')}"

    def iperf() -> float:
        """Megabits per second that arrived."""
        there.run("iperf3 -s -1 -D")
        eventually("the server listens", lambda: ":5201" in there.run("netstat -ltn"), BOOT)
        end = json.loads(here.run(f"iperf3 -c {THERE.ip} -t 2 -J"))["end"]
        return end["sum_received"]["bits_per_second"] / 1e6

    rates = [iperf()]
    for switch, machine, peer in zip(hosts, (here, there), (THERE, HERE)):
        kill(switch)
        assert not ping(machine, peer.ip), "nobody carries it"
        switch.start()
        eventually("its machine is connected again", lambda: ping(machine, peer.ip), BOOT)
        assert ping(here, THERE.ip) and ping(there, HERE.ip)
    rates.append(iperf())
    with capsys.disabled():
        print(f"\niperf3 between emulated machines: mbit_s={rates[0]:.0f}, after both switches were killed and started again {rates[1]:.0f}")
    assert all(rates)
    for switch in hosts:
        counters = switch.counters()
        assert not {"spoofed_ip", "spoofed_mac", "bad_checksum", "no_lease"} & set(counters.drops[1]), counters.drops
        switch.terminate()
