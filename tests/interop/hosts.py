# SPDX-License-Identifier: MIT
"""Hosts of different makes with a guest each, in the same underlay: this switch, the Linux kernel's VXLAN device, Open vSwitch's
VXLAN port on its userspace datapath."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import goal
from kernel import Namespace, Networks, quiet, run, vxlan_bridge
from plan import VXLAN_PORT, Guest, host_mac
from program import DEADLINE, eventually
from underlay import Underlay


class Host:
    """A host and its guest, whose kernel has all of the namespace `guest`. `make` finishes it when its peer is known."""

    fragments = True
    """Whether its guest may send fragments."""

    def __init__(self, networks: Networks, underlay: Underlay, number: int, machine: Guest, mtu: int):
        """`mtu`: of the guest's device."""
        self.networks, self.underlay, self.number, self.machine, self.mtu = networks, underlay, number, machine, mtu
        self.guest = networks.namespace(f"g{number}")
        self.address = underlay.address(number)

    def settle(self) -> None:
        """The guest's `eth0` is there, and gets its address."""
        with self.guest.inside():
            quiet("eth0")
        self.guest.ip(f"link set eth0 mtu {self.mtu} up")
        self.guest.ip(f"address add {self.machine.ip}/{self.machine.subnet.cidr.split('/')[1]} dev eth0")

    def plug(self, namespace: Namespace) -> str:
        """A veth from a namespace to the guest; the end in the namespace."""
        namespace.ip(f"link add g mtu {self.mtu} type veth peer name eth0 address {self.machine.mac} mtu {self.mtu} netns {self.guest.name}")
        with namespace.inside():
            quiet("g")
        namespace.ip("link set g up")
        return "g"

    def knows(self, peer: "Host") -> None:
        """The guest of a host that answers no ARP for others."""
        self.guest.ip(f"neigh add {peer.machine.ip} lladdr {peer.machine.mac} dev eth0")

    def check(self) -> None:
        """Nothing went wrong here."""
        counters = self.guest.counters()
        assert not any(counters[protocol]["InCsumErrors"] for protocol in ("Icmp", "Tcp", "Udp")), self.guest.name
        assert counters["Ip"]["InHdrErrors"] == 0, self.guest.name


class Alkaid(Host):
    """`uplink`: DPDK's driver for it, of a veth device or, if it is `net_tap`, of a device of its own; or all of the device. Its
    guest has a tap device, or a veth for more than the 1500 bytes that a tap device takes; there net_af_packet joins fragments
    before the switch sees them, so none are sent."""

    def __init__(self, switches, networks, underlay, number, machine, mtu, *, uplink: str = "net_af_packet"):
        super().__init__(networks, underlay, number, machine, mtu)
        self.fragments = mtu <= 1500
        if self.fragments:
            tap = networks.tap(f"t{number}")
            tenant = f"net_tap1,iface={tap},mac={machine.mac}"
        else:
            tenant = f"net_af_packet1,iface={networks.pair(f'g{number}', self.guest, 'eth0', mac=machine.mac, mtu=mtu)}"
        if uplink == "net_tap":
            uplink_tap = networks.tap(f"u{number}")
            uplink = f"net_tap0,iface={uplink_tap},mac={host_mac(number)}"
        elif "," not in uplink:
            uplink = f"{uplink}0,iface={underlay.attach(number)}"
        self.switch = switches(
            [
                f"port attach {uplink}",
                f"port config 0 mtu {underlay.mtu}",
                f"port attach {tenant}",
                f"port config 1 mtu {mtu}",
                f"port bind 1 {machine.id}",
                *underlay.config(number),
                "start",
            ]
        )
        if uplink.startswith("net_tap"):
            underlay.adopt(number, uplink_tap)
        if self.fragments:
            self.guest.take(tap)
        self.settle()

    def make(self, peer: Host) -> None:
        neighbor = goal.neighbor(peer.machine, host_mac_named=False)
        neighbor.configuration.host_ip_address = peer.address
        net = self.machine.subnet
        self.switch.push(goal.vpc(net), goal.subnet(net), goal.port(self.machine), neighbor)
        eventually("the other host is found", lambda: self.switch.show("pending") == [])

    def check(self) -> None:
        super().check()
        reasons = {row["reason"] for row in self.switch.show("drops")}
        assert not reasons & {"bad_checksum", "malformed", "truncated", "unknown_vni", "no_buffers"}, reasons
        self.switch.terminate()


class Kernel(Host):
    """A bridge with the guest and a VXLAN device that learns nothing."""

    def __init__(self, networks, underlay, number, machine, mtu):
        super().__init__(networks, underlay, number, machine, mtu)
        self.namespace = networks.namespace(f"h{number}")
        underlay.settle(number, self.namespace, underlay.attach(number, self.namespace))
        checksum = "udp6zerocsumrx" if underlay.version == 6 else ""
        vxlan_bridge(self.namespace, self.guest, machine, f"local {self.address} dstport {VXLAN_PORT} {checksum}", mtu=mtu)
        self.settle()

    def make(self, peer: Host) -> None:
        run("bridge", "-n", self.namespace.name, "fdb", "append", peer.machine.mac, "dev", f"vx{self.machine.subnet.vni}", "dst", peer.address)
        self.knows(peer)


class OpenVSwitch(Host):
    """Debian's, with the datapath that is its own process, since a kernel may lack the other: two bridges, of which the one with
    the network device has the host's address, since that datapath finds its way out by it. Learns."""

    PROGRAMS = "ovsdb-tool", "ovsdb-server", "ovs-vsctl", "ovs-vswitchd", "ovs-appctl"

    def __init__(self, networks, underlay, number, machine, mtu, *, folder: Path):
        for program in self.PROGRAMS:
            if shutil.which(program) is None:
                pytest.skip(f"needs `{program}`")
        super().__init__(networks, underlay, number, machine, mtu)
        self.folder = folder
        folder.mkdir()
        self.namespace = networks.namespace(f"h{number}")
        self.device, self.guest_device = underlay.attach(number, self.namespace), self.plug(self.namespace)
        self.environment = os.environ | {f"OVS_{name}DIR": str(folder) for name in ("RUN", "LOG", "DB", "SYSCONF")}
        self.daemons: list[subprocess.Popen] = []

    def _daemon(self, *command) -> None:
        with (self.folder / "log").open("ab") as log:
            words = self.namespace.command("setpriv", "--pdeathsig", "KILL", *command)
            self.daemons.append(subprocess.Popen(words, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def _run(self, *command) -> str:
        done = subprocess.run(list(map(str, command)), env=self.environment, capture_output=True, text=True, timeout=6 * DEADLINE)
        assert done.returncode == 0, f"{command}: {done.stderr}{(self.folder / 'log').read_text()[-2000:]}"
        return done.stdout

    def _vsctl(self, *words) -> str:
        return self._run("ovs-vsctl", f"--db=unix:{self.folder}/db.sock", "--timeout=60", *words)

    def _appctl(self, *words) -> str:
        return self._run("ovs-appctl", "-t", self.folder / "vswitchd.ctl", *words)

    def make(self, peer: Host) -> None:
        folder = self.folder
        self._run("ovsdb-tool", "create", folder / "conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
        self._daemon("ovsdb-server", folder / "conf.db", f"--remote=punix:{folder}/db.sock", f"--unixctl={folder}/ovsdb.ctl")
        eventually("the database serves", (folder / "db.sock").exists)
        self._vsctl("--no-wait", "init")
        self._daemon("ovs-vswitchd", f"unix:{folder}/db.sock", f"--unixctl={folder}/vswitchd.ctl")
        eventually("Open vSwitch serves", (folder / "vswitchd.ctl").exists)
        for bridge, device in (("brphy", self.device), ("brint", self.guest_device)):
            hwaddr = ["--", "set", "bridge", bridge, f'other_config:hwaddr="{host_mac(self.number)}"'] if bridge == "brphy" else []
            self._vsctl("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev", *hwaddr, "--", "add-port", bridge, device)
        tunnel = [f'options:remote_ip="{peer.address}"', f'options:local_ip="{self.address}"', f"options:key={self.machine.subnet.vni}"]
        self._vsctl("add-port", "brint", "vx", "--", "set", "interface", "vx", "type=vxlan", *tunnel)
        self.namespace.ip(f"link set brphy mtu {self.underlay.mtu} up")
        with self.namespace.inside():
            quiet("brphy")
        self.underlay.settle(self.number, self.namespace, "brphy")
        eventually("it knows the way", lambda: self.address in self._appctl("ovs/route/show"))
        assert self._vsctl("--columns=name,error", "--bare", "find", "interface", "error!=[]").strip() == ""
        self.settle()
        self.knows(peer)

    def check(self) -> None:
        super().check()
        self.end()

    def end(self) -> None:
        for daemon in self.daemons:
            daemon.kill()
            daemon.wait()
        self.daemons.clear()
