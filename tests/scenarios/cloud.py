# SPDX-License-Identifier: MIT
"""A cloud in one kernel: two hosts with a switch each, on one link of the underlay; machines of tenants are namespaces, whose
kernels talk to each other by `ping` and by sockets. Nothing is told to a switch but by its controller."""

from __future__ import annotations

import time
from pathlib import Path

from controller import Controller, Machine
from kernel import Namespace, run
from plan import A, B, host_ip, host_mac
from program import eventually
from switch import Switch
from test_restart import kill


class Unreached(AssertionError):
    """Somebody who should be reached is not."""


class Leaked(AssertionError):
    """Somebody was reached who should not be."""


class Misrouted(AssertionError):
    """A packet took another way than it should."""


class Cloud:
    """`machines`: whose devices there are; the controller knows of none of them yet. Each has `eth0`, by its own host, and those
    in `moving` have `eth1` by the other host too. `taps`: devices are tap devices, which a switch that starts again does not find; else
    they are veth pairs, which it does. `mtu`: what switches are told of the underlay, which takes 1600. `config`: more lines of a
    host's configuration. `patience`: seconds until who does not answer is not there. `settle`: machines have their addresses
    from the beginning."""

    def __init__(self, networks, switches, *machines: Machine, moving=(), taps=True, mtu=1600, config=None, controller=Controller, patience=20.0, settle=True):
        self.patience, self.networks = patience, networks
        self.link = networks.namespace("net")
        self.link.ip("link add net mtu 1600 type bridge mcast_snooping 0")
        self.link.ip("link set net up")
        self.namespaces: dict[str, Namespace] = {}
        ports: dict[int, list[tuple[Machine, str, str]]] = {A: [], B: []}
        for n, each in enumerate(machines):
            namespace = self.namespaces[each.id] = networks.namespace(f"g{n}")
            for host in (each.host, *({A, B} - {each.host} if each in moving else ())):
                name = f"eth{int(host != each.host)}"
                if taps:
                    device = networks.tap(f"g{n}{host}")
                else:
                    device = networks.pair(f"g{n}{host}", namespace, name, mac=each.mac, mtu=1500)
                ports[host].append((each, device, name))
        self.hosts: dict[int, Switch] = {}
        for host in (A, B):
            uplink = networks.pair(f"u{host}", self.link, f"u{host}", mac=f"02:00:c0:00:fe:{host:02x}", outer_mac=host_mac(host))
            self.link.ip(f"link set u{host} master net")
            # A network that knows its stations, and takes nothing to others than to whom it is for.
            run("bridge", "-n", self.link.name, "fdb", "add", host_mac(host), "dev", f"u{host}", "master", "static")
            run("bridge", "-n", self.link.name, "link", "set", "dev", f"u{host}", "flood", "off")
            lines = [f"port attach net_af_packet0,iface={uplink}", f"port config 0 mtu {mtu}"]
            for n, (each, device, _) in enumerate(ports[host], 1):
                lines.append(f"port attach net_tap{n},iface={device},mac={each.mac}" if taps else f"port attach net_af_packet{n},iface={device}")
                lines.append(f"port bind {n} {each.id}")
            lines += [f"set vtep {host_ip(host)}/24 port 0", "set anti-spoofing on", *(config or {}).get(host, ()), "start"]
            self.hosts[host] = switches(lines)
        for each, device, name in (port for of_host in ports.values() for port in of_host):
            namespace = self.of(each)
            if taps:
                namespace.take(device, name)
            namespace.ip(f"link set {name} up")
            if settle and name == "eth0":
                self.settle(each)
        for namespace in self.namespaces.values():
            eventually("the guest's device is up", lambda: "LOWER_UP" in namespace.ip("link show eth0"))
        self.controller = controller(self.hosts)

    def settle(self, machine: Machine) -> None:
        """The machine has its addresses and its gateways."""
        namespace = self.of(machine)
        for guest in machine.addresses:
            length = guest.subnet.cidr.split("/")[1]
            if guest.subnet.version == 6:
                for knob, value in (("disable_ipv6", "0"), ("accept_dad", "0"), ("accept_ra", "0")):
                    namespace.write(f"ipv6/conf/eth0/{knob}", value)
            namespace.ip(f"address add {guest.ip}/{length} dev eth0" + (" nodad" if guest.subnet.version == 6 else ""))
            namespace.ip(f"-{guest.subnet.version} route add default via {guest.subnet.gateway_ip} dev eth0")

    # --- what machines do

    def ends(self, *machines: Machine) -> list[tuple[Namespace, str]]:
        """Where each is and its first address, for `kernel.exchange` and `kernel.ask_and_answer`."""
        return [(self.of(each), each.ip) for each in machines]

    def of(self, machine: Machine) -> Namespace:
        """Where it is."""
        return self.namespaces[machine.id]

    def reach(self, *ways: tuple[Machine, Machine | str]) -> None:
        """Each pings the other, until it is answered."""
        for client, server in ways:
            to = server.ip if isinstance(server, Machine) else server
            end = time.monotonic() + self.patience
            while not self.of(client).ping(to):
                if time.monotonic() > end:
                    raise Unreached(f"{client.id} does not reach {to}: {self.drops(client)}\n{self.known(client, server)}")

    def known(self, *ends: Machine | str) -> str:
        """What the kernels of machines, or of who has such an address, know of their ways; and what their switches drop."""

        def is_one(id: str, end: Machine | str) -> bool:
            return end.id == id if isinstance(end, Machine) else f" {end}/" in self.namespaces[id].ip("address")

        asked = ("address show dev eth0", "neigh", "-6 neigh", "route", "-6 route", "-s link show dev eth0")
        told = [f"{id}: ip {what}\n{space.ip(what)}" for id, space in self.namespaces.items() if any(is_one(id, end) for end in ends) for what in asked]
        return "\n".join([*told, *(f"host {host}: {switch.show('drops')}" for host, switch in self.hosts.items())])

    def deny(self, *ways: tuple[Machine, Machine]) -> None:
        """None gets an answer from the other, though it knows the other's MAC if that is in its own subnet: the switch of either
        host dropped what was sent."""
        before = self.dropped()
        known = [(self.of(client), server) for client, server in ways if client.cidr == server.cidr]
        for namespace, server in known:
            namespace.ip(f"neigh replace {server.ip} lladdr {server.mac} dev eth0 nud permanent")
        started = [self.of(client).pinging(server.ip, "-c", 3, "-i", 0.05, "-W", 1) for client, server in ways]
        answers = [each.answers() for each in started]
        for namespace, server in known:
            namespace.ip(f"neigh del {server.ip} dev eth0")
        leaks = [f"{client.id} to {server.id}" for (client, server), count in zip(ways, answers) if count]
        if leaks:
            raise Leaked(", ".join(leaks))
        eventually("what was sent is dropped", lambda: self.dropped() >= before + 3 * len(ways))

    def lease(self, machine: Machine, script: Path) -> None:
        """The machine gets its address by DHCP; `script` sets it."""
        client = ["busybox", "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", 3, "-T", 1, "-O", "mtu", "-s", script]
        try:
            run(*self.of(machine).command(*client))
        except RuntimeError as error:
            raise Unreached(f"{machine.id} gets no address: {error}") from error

    def echoes(self, machine: Machine) -> int:
        """How many pings it has got."""
        return self.of(machine).counters()["Icmp"]["InEchos"]

    # --- what hosts do

    def drops(self, machine: Machine) -> dict[str, int]:
        """Why frames were dropped on its host, by reason and port."""
        return {f"{row['reason']} of port {row['port']}": row["packets"] for row in self.hosts[machine.host].show("drops")}

    def dropped(self) -> int:
        """Frames that were dropped on all hosts."""
        return sum(row["packets"] for switch in self.hosts.values() for row in switch.show("drops"))

    def kill(self, host: int) -> None:
        """The switch ends by SIGKILL."""
        kill(self.hosts[host])
