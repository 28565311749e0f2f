# SPDX-License-Identifier: MIT
"""Network namespaces and veth pairs: the kernel as guests, as wires, and as another host."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from frames import assert_frames
from plan import Guest
from program import DEADLINE

_NEW_NET = 0x40000000
_SOL_PACKET, _IGNORE_OUTGOING, _AUXDATA = 263, 23, 8
_AUXILIARY, _VLAN_VALID = struct.Struct("=IIIHHHH"), 1 << 4
"""`struct tpacket_auxdata` and TP_STATUS_VLAN_VALID."""
_libc = ctypes.CDLL(None, use_errno=True)
_TCP_BYTES = 3_000_000


def run(*words) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def quiet(device: str) -> None:
    """Lets a device send nothing by itself, and compute the checksums of what others send: a veth leaves them to
    hardware that there is not. In the present namespace."""
    _without_ipv6(device)
    run("ethtool", "-K", device, "tx", "off", "gso", "off", "gro", "off")


def _without_ipv6(device: str) -> None:
    knob = Path(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6")
    if knob.exists():
        knob.write_text("1")


class Namespace:
    """A network namespace without IPv6."""

    def __init__(self, name: str):
        self.name = name
        run("ip", "netns", "add", name)
        with self.inside():
            for which in ("all", "default"):
                _without_ipv6(which)
        self.ip("link set lo up")

    def ip(self, command: str) -> str:
        return run("ip", "-n", self.name, *command.split())

    def take(self, device: str, name: str = "eth0") -> None:
        """A device that is not in a namespace goes into this one, under this name, and is down."""
        run("ip", "link", "set", device, "netns", self.name)
        self.ip(f"link set {device} name {name}")

    @contextlib.contextmanager
    def inside(self):
        """This thread is in the namespace. Sockets opened meanwhile stay there."""
        home, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            _enter(there)
            try:
                yield
            finally:
                _enter(home)
        finally:
            os.close(home)
            os.close(there)

    def command(self, *words) -> list[str]:
        """A command line that runs there."""
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def pinging(self, to: str, *options) -> "Pinging":
        return Pinging(self.command("busybox", "ping", "-q", *options, to))

    def ping(self, to: str, count: int = 1, interval: float = 0.01, size: int = 56) -> int:
        """How many answers to so many pings of so many bytes there are; the last may take a second."""
        return self.pinging(to, "-c", count, "-i", interval, "-W", 1, "-s", size).answers()

    def write(self, path: str, text: str) -> None:
        """Sets something under /proc/sys/net."""
        with self.inside():
            Path("/proc/sys/net", path).write_text(text)

    def counters(self) -> dict[str, dict[str, int]]:
        """/proc/net/snmp of the namespace, by protocol."""
        with self.inside():
            lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
        table = {}
        for names, values in zip(lines[::2], lines[1::2]):
            protocol, *names = names.split()
            table[protocol.rstrip(":")] = dict(zip(names, map(int, values.split()[1:])))
        return table


class Pinging:
    """A `ping` that has begun."""

    def __init__(self, command: list[str]):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def goes_on(self) -> bool:
        return self.process.poll() is None

    def answers(self) -> int:
        """How many it has got when it has ended."""
        said, _ = self.process.communicate(timeout=6 * DEADLINE)
        found = re.search(r"(\d+) packets received", said)
        return int(found[1]) if found else 0


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _NEW_NET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def exchange(client: tuple[Namespace, str], server: tuple[Namespace, str], size: int = _TCP_BYTES, patience: float = DEADLINE) -> None:
    """So many bytes by TCP, there and back again, between these addresses. `patience`: seconds until nothing more is awaited."""
    data = os.urandom(size)
    family = _family(server[1])
    with server[0].inside():
        listener = socket.create_server((server[1], 5000), family=family)
    with client[0].inside():
        connection = socket.socket(family)
    listener.settimeout(patience)
    connection.settimeout(patience)

    def echo():
        # Who does not get everything back says so.
        with contextlib.suppress(OSError):
            accepted, _ = listener.accept()
            with accepted:
                accepted.settimeout(patience)
                while chunk := accepted.recv(1 << 16):
                    accepted.sendall(chunk)

    with listener, connection:
        thread = threading.Thread(target=echo, daemon=True)
        thread.start()
        connection.bind((client[1], 0))
        connection.connect((server[1], 5000))
        sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)), daemon=True)
        sender.start()
        came = bytearray()
        while chunk := connection.recv(1 << 16):
            came += chunk
        sender.join(patience)
        thread.join(patience)
    assert hashlib.sha256(came).digest() == hashlib.sha256(data).digest(), f"{len(came)} of {len(data)} bytes"


def ask_and_answer(client: tuple[Namespace, str], server: tuple[Namespace, str], sizes, patience: float = DEADLINE) -> None:
    """Datagrams of these sizes, there and back, one by one, between these addresses. `patience`: seconds that each is awaited."""
    family = _family(server[1])
    with server[0].inside():
        there = socket.socket(family, socket.SOCK_DGRAM)
        there.bind((server[1], 6000))
    with client[0].inside():
        here = socket.socket(family, socket.SOCK_DGRAM)
        here.bind((client[1], 6001))
    with here, there:
        here.settimeout(patience)
        there.settimeout(patience)
        for size in sizes:
            data = os.urandom(size)
            here.sendto(data, (server[1], 6000))
            came, source = there.recvfrom(1 << 16)
            assert (came, source[:2]) == (data, (client[1], 6001))
            there.sendto(came[::-1], source)
            assert here.recv(1 << 16) == data[::-1]


def vxlan_bridge(host: Namespace, guest: Namespace, machine: Guest, vxlan: str, *, mac: str = "", mtu: int = 1500) -> None:
    """A host's bridge for a subnet, as it is named by VNI: `br5` with `vx5`, which learns nothing, and `g5`, whose other end is `eth0`
    of the guest. `vxlan`: how `vx5` is reached. `mac`: the bridge's. `mtu`: the guest's."""
    vni = machine.subnet.vni
    own = f"address {mac}" if mac else ""
    host.ip(f"link add br{vni} {own} type bridge mcast_snooping 0")
    try:
        host.ip(f"link add vx{vni} mtu {mtu} type vxlan id {vni} nolearning {vxlan}")
    except RuntimeError as error:
        pytest.skip(f"needs the kernel's VXLAN: {error}")
    host.ip(f"link add g{vni} mtu {mtu} type veth peer name eth0 address {machine.mac} mtu {mtu} netns {guest.name}")
    for port in (f"vx{vni}", f"g{vni}"):
        host.ip(f"link set {port} master br{vni}")
    for namespace, devices in ((host, (f"vx{vni}", f"g{vni}", f"br{vni}")), (guest, ("eth0",))):
        for device in devices:
            with namespace.inside():
                quiet(device)
            namespace.ip(f"link set {device} up")


class Networks:
    """What a test makes of the kernel's network, under names of its own."""

    def __init__(self):
        if os.geteuid() != 0:
            pytest.skip("needs root: it makes network namespaces")
        for tool in ("ip", "ethtool"):
            if shutil.which(tool) is None:
                pytest.skip(f"needs `{tool}`")
        self.tag = f"ak{os.getpid() % 1_000_000}"
        self.namespaces, self.devices, self.wires = [], [], []

    def namespace(self, name: str) -> Namespace:
        try:
            namespace = Namespace(self.tag + name)
        except (RuntimeError, OSError) as error:
            pytest.skip(f"needs network namespaces: {error}")
        self.namespaces.append(namespace)
        return namespace

    def device(self, name: str) -> str:
        """The full name of a device of the test that is not in a namespace; removed in the end."""
        self.devices.append(self.tag + name)
        return self.devices[-1]

    def tap(self, name: str) -> str:
        """A tap device for a switch to open. One that the switch makes is up before its kernel can be told to say nothing."""
        tap = self.device(name)
        run("ip", "tuntap", "add", tap, "mode", "tap", "multi_queue")
        quiet(tap)
        return tap

    def pair(self, name: str, namespace: Namespace, inside: str, *, mac: str, outer_mac: str | None = None, mtu: int = 1600) -> str:
        """A veth pair: the end here has the name that is returned, the one in the namespace `inside` and `mac`."""
        here = self.device(name)
        try:
            outer = ["address", outer_mac] if outer_mac else []
            run("ip", "link", "add", here, *outer, "mtu", mtu, "type", "veth", "peer", "name", inside, "address", mac, "mtu", mtu, "netns", namespace.name)
        except RuntimeError as error:
            pytest.skip(f"needs veth devices: {error}")
        quiet(here)
        with namespace.inside():
            quiet(inside)
        run("ip", "link", "set", here, "up")
        namespace.ip(f"link set {inside} up")
        return here

    def wire(self, namespace: Namespace, device: str) -> "Wire":
        wire = Wire(namespace, device)
        self.wires.append(wire)
        return wire

    def remove(self) -> None:
        for wire in self.wires:
            wire.close()
        for namespace in self.namespaces:
            subprocess.run(["ip", "netns", "del", namespace.name], capture_output=True)
        for device in self.devices:
            subprocess.run(["ip", "link", "del", device], capture_output=True)


class Wire:
    """Sends and receives whole frames on a device in a namespace."""

    def __init__(self, namespace: Namespace, device: str):
        with namespace.inside():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            self.socket.setsockopt(_SOL_PACKET, _AUXDATA, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            self.socket.bind((device, 0))
        self.socket.setblocking(False)

    def send(self, frames: list[bytes]) -> None:
        for frame in frames:
            while True:
                try:
                    self.socket.send(frame)
                    break
                except BlockingIOError:
                    select.select([], [self.socket], [], DEADLINE)

    def receive(self, count: int, seconds: float = DEADLINE) -> list[bytes]:
        """So many frames, and whatever else is there by then."""
        frames, end = [], time.monotonic() + seconds
        while True:
            try:
                frames.append(self._receive_one())
                continue
            except BlockingIOError:
                pass
            left = end - time.monotonic()
            if len(frames) >= count or left <= 0:
                return frames
            select.select([self.socket], [], [], left)

    def _receive_one(self) -> bytes:
        """The kernel takes a VLAN tag off and tells it beside the frame (packet(7))."""
        frame, told, _, _ = self.socket.recvmsg(1 << 16, socket.CMSG_SPACE(_AUXILIARY.size))
        for level, kind, data in told:
            if (level, kind) == (_SOL_PACKET, _AUXDATA):
                status, *_, tag, ethertype = _AUXILIARY.unpack(data)
                if status & _VLAN_VALID:
                    return frame[:12] + struct.pack(">HH", ethertype, tag) + frame[12:]
        return frame

    def expect(self, frames: list[bytes]) -> None:
        """Exactly these frames have come or will."""
        assert_frames(self.receive(len(frames)), frames)

    def close(self) -> None:
        self.socket.close()
