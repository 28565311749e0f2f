# SPDX-License-Identifier: MIT
"""Two hosts with a virtual machine each, by vhost-user: DHCP, pings, TCP both ways for $IPERF_SECONDS, and a switch that is killed
under its machine."""

from __future__ import annotations

import json
import os
import re
import time

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

SECONDS = int(os.environ.get("IPERF_SECONDS", "2"))
PARTS = 60
"""In so many parts of that time, or in each second, something has to arrive."""
LOSS_SECONDS = float(os.environ.get("LOSS_SECONDS", "10"))
"""So long pings may be lost when a switch is killed and started again: too long on any machine. What it was is printed."""


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


def uptime(machine) -> float:
    """Seconds by its own clock."""
    return float(machine.run("cat /proc/uptime").split()[0])


def test_virtual_machines_of_two_hosts_talk_and_survive_their_switches(networks, switches, machines, capsys):
    underlay = Underlay(networks, mtu=1500)
    here, there = machines(HERE, THERE)
    hosts = []
    # One kernel leaves its TCP to be cut, the other does it itself.
    for guest, machine, peer, tso in ((HERE, here, THERE, 1), (THERE, there, HERE, 0)):
        switch = switches(
            [
                f"port attach net_af_packet0,iface={underlay.attach(guest.host)}",
                "port config 0 mtu 1500",
                f"port attach net_vhost0,iface={machine.plug},client=1,queues=1,tso={tso}",
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

    def iperf(seconds: int) -> list[list[float]]:
        """Megabits per second there and back at the same time, by parts of it. A part without any has a stuck queue."""
        there.run("iperf3 -s -1 -D")
        eventually("the server listens", lambda: ":5201" in there.run("netstat -ltn"), BOOT)
        status, said = here.execute(f"iperf3 -c {THERE.ip} -t {seconds} -i {max(1, seconds // PARTS)} --bidir -J", seconds + BOOT)
        assert status == 0, said
        parts = json.loads(said)["intervals"]
        rates = [[part[way]["bits_per_second"] / 1e6 for part in parts] for way in ("sum", "sum_bidir_reverse")]
        assert all(map(all, rates)), rates
        return rates

    def restart(switch, machine, peer) -> float:
        """Kills a switch and starts it again. Of how many seconds the pings of its machine were lost."""
        begun = uptime(machine)
        machine.run(f"ping -i 0.01 {peer.ip} > /tmp/pings 2>&1 &")
        time.sleep(1)
        kill(switch)
        switch.start()
        eventually("its machine is connected again", lambda: ping(machine, peer.ip), BOOT)
        said = machine.run("killall -INT ping; tail -n 2 /tmp/pings")
        sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) packets received", said).groups())
        return (uptime(machine) - begun) * (sent - received) / sent

    rates = [iperf(SECONDS)]
    kill(hosts[0])
    assert not ping(here, THERE.ip), "nobody carries it"
    hosts[0].start()
    eventually("its machine is connected again", lambda: ping(here, THERE.ip), BOOT)
    lost = restart(hosts[1], there, HERE)
    assert ping(here, THERE.ip) and ping(there, HERE.ip)
    rates.append(iperf(2))
    with capsys.disabled():
        for when, ways in zip(("", ", after both switches were killed and started again"), rates):
            print(f"\niperf3 between emulated machines{when}: " + " ".join(f"{name}_mbit_s={min(way):.0f}-{max(way):.0f}" for name, way in zip(("there", "back"), ways)))
        print(f"pings lost while a switch was killed and started again: {lost:.2f} s")
    assert lost <= LOSS_SECONDS
    for switch in hosts:
        counters = switch.counters()
        assert not {"spoofed_ip", "spoofed_mac", "bad_checksum", "no_lease"} & set(counters.drops[1]), counters.drops
        (row,) = switch.show("port stats 1")
        assert bool(row["segments_made"]) == (switch is hosts[0]), row
        switch.terminate()
