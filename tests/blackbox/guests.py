# SPDX-License-Identifier: MIT
"""A host: a switch with an uplink, and guests by devices of any kind."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

import goal
from frames import assert_encapsulated, udp, vxlan
from kernel import quiet, run
from plan import A, B, Subnet, host_mac
from program import eventually
from testpmd import Testpmd

NET = Subnet(5)
THERE = NET.guest(B)
NETWORK = [goal.vpc(NET), goal.subnet(NET), goal.neighbor(THERE)]
_marks = itertools.count(1)


class Here:
    """The namespace that tests and switches run in, as `kernel.Namespace` is another."""

    name = ""

    @staticmethod
    def inside():
        return contextlib.nullcontext()


class Site:
    """A switch whose port 0, the uplink, is one end of a veth. `uplink` is the other."""

    def __init__(self, networks, switches, *config: str, mtu: int = 1600, **named):
        self.networks = networks
        self.outside = networks.namespace("out")
        self.uplink_device = networks.pair("u", self.outside, "u", mac=host_mac(B), outer_mac=host_mac(A))
        self.uplink = networks.wire(self.outside, "u")
        self.switch = switches(
            [f"port attach net_af_packet0,iface={self.uplink_device}", f"port config 0 mtu {mtu}", "set vtep 192.0.2.1/24 port 0", *config, "start"],
            **named,
        )

    def trade(self, guest, wire, count: int = 1, length: int = 8, **fields) -> None:
        """So many frames with so many bytes of data from the guest to another host, and back. Nothing else may come."""
        frames = [udp(guest, THERE, payload=f"{next(_marks):08}".encode().ljust(length, b"."), **fields) for _ in range(count)]
        wire.send(frames)
        assert_encapsulated(self.uplink.receive(count), [(frame, 5, B) for frame in frames], src_mac=host_mac(A))
        back = [udp(THERE, guest, payload=f"{next(_marks):08}".encode().ljust(length, b"."), **fields) for _ in range(count)]
        self.uplink.send([vxlan(frame, 5, src=B, eth_dst=host_mac(A)) for frame in back])
        wire.expect(back)

    def reach(self, guest, wire) -> None:
        """Waits until frames pass both ways, and what was sent too early has come or is lost."""
        mark = f"reach-{next(_marks):06}".encode()

        def out():
            wire.send([udp(guest, THERE, payload=mark)])
            return any(mark in frame for frame in self.uplink.receive(1, seconds=0.2))

        def back():
            self.uplink.send([vxlan(udp(THERE, guest, payload=mark), 5, src=B, eth_dst=host_mac(A))])
            return any(mark in frame for frame in wire.receive(1, seconds=0.2))

        eventually(f"frames of {guest.id} leave", out)
        eventually(f"frames for {guest.id} arrive", back)
        while self.uplink.receive(1, seconds=0.3) or wire.receive(1, seconds=0.3):
            pass

    def port(self, number: int) -> dict:
        (row,) = [row for row in self.switch.show("ports") if row["port"] == number]
        return row

    def ready(self) -> None:
        eventually("nothing waits", lambda: self.switch.show("pending") == [])

    def reason(self, id: str) -> str:
        """Why a port is pending; empty if it is not."""
        return next((row["reason"] for row in self.switch.show("pending") if row["id"] == id), "")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.switch.process.pid}/fd"))

    def buffers(self) -> int:
        """Packet buffers in use."""
        return next(row["entries"] for row in self.switch.show("memory") if row["table"] == "packet buffers")


class VethSite(Site):
    """A site with guests behind veth pairs: ports 1, 2, ..., of which `wires` are the other ends, `g1`, `g2`, ... in `inside`."""

    def __init__(self, networks, switches, guests, *config: str, **named):
        self.inside = networks.namespace("in")
        ports = []
        for number, guest in enumerate(guests, 1):
            device = networks.pair(f"g{number}", self.inside, f"g{number}", mac=guest.mac)
            ports += [f"port attach net_af_packet{number},iface={device}", f"port bind {number} {guest.id}"]
        self.wires = [networks.wire(self.inside, f"g{number}") for number, _ in enumerate(guests, 1)]
        super().__init__(networks, switches, *ports, *config, **named)


def exists(device: str) -> bool:
    return Path(f"/sys/class/net/{device}").exists()


def tap_wire(networks, device: str):
    """A wire on a tap device that a switch has made."""
    eventually(f"{device} is there", lambda: exists(device))
    quiet(device)
    run("ip", "link", "set", device, "up")
    return networks.wire(Here, device)


class Forwarder(Testpmd):
    """Forwards between a device and a veth, whose other end is `wire`."""

    def __init__(self, networks, folder: Path, device: str, *, guest, queues: int = 1):
        number = next(_marks)
        self.namespace = networks.namespace(f"t{number}")
        veth = networks.pair(f"t{number}", self.namespace, "g", mac=guest.mac)
        self.wire = networks.wire(self.namespace, "g")
        options = f"--forward-mode=io --auto-start --disable-link-check --no-mlockall --rxq={queues} --txq={queues}"
        super().__init__(folder, device, f"net_af_packet0,iface={veth},qpairs={queues}", options=options)
