# SPDX-License-Identifier: MIT
"""What happens to clouds that are in use: a machine moves to the other host, a switch crashes under its machines."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from scapy.layers.inet import ICMP
from scapy.packet import Raw

from cloud import Unreached
from controller import machine
from kernel import exchange
from plan import A, B, Subnet

NET = Subnet(5)
HERE, BESIDE, THERE = (machine(NET.guest(host, n)) for host, n in ((A, 1), (A, 2), (B, 1)))
GENEROUS = 10.0
"""Seconds without an answer that are too many on any machine. What they are is printed."""


class Watch(threading.Thread):
    """Pings a machine each 5 ms, and keeps when it was answered."""

    def __init__(self, cloud, client, server):
        super().__init__(daemon=True)
        self.cloud, self.ended = cloud, threading.Event()
        self.name = f"{client.id} to {server.id}"
        self.times: list[float] = []
        with cloud.of(client).inside():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.socket.settimeout(0.005)
        self.to = server.ip
        self.start()

    def run(self):
        ping = bytes(ICMP(id=78, seq=1) / Raw(b"ping"))
        with self.socket:
            while not self.ended.is_set():
                with contextlib.suppress(OSError):
                    self.socket.sendto(ping, (self.to, 0))
                end = time.monotonic() + 0.005
                with contextlib.suppress(OSError):
                    while time.monotonic() < end:
                        packet, (source, _) = self.socket.recvfrom(2048)
                        if source == self.to and packet[20] == 0:
                            self.times.append(time.monotonic())

    def answered(self, after: float) -> None:
        """Waits for an answer after this time."""
        end = time.monotonic() + self.cloud.patience
        while not any(each > after for each in self.times[-3:]):
            if time.monotonic() > end:
                raise Unreached(f"{self.name}: no answer any more")
            time.sleep(0.01)

    def gap(self, since: float) -> float:
        """The longest time without an answer, in seconds."""
        times = [since, *(each for each in self.times if each > since)]
        return max(after - before for before, after in zip(times, times[1:]))

    def end(self) -> None:
        self.ended.set()
        self.join()


def test_a_port_moves_to_the_other_host_and_its_peers_follow(clouds, capsys):
    """As in a live migration its device there is plugged in already, and its kernel takes along whose MACs it knows."""
    moving = BESIDE
    cloud = clouds(HERE, BESIDE, THERE, moving=[moving], taps=False)
    cloud.controller.create_port(HERE, BESIDE, THERE)
    cloud.reach((HERE, moving), (THERE, moving))
    watches = [Watch(cloud, client, moving) for client in (HERE, THERE)]
    for to, (old, new) in ((B, ("eth0", "eth1")), (A, ("eth1", "eth0"))):
        begun = time.monotonic()
        for watch in watches:
            watch.answered(begun)
        begun = time.monotonic()
        namespace = cloud.of(moving)
        namespace.ip(f"address del {moving.ip}/16 dev {old}")
        namespace.ip(f"address add {moving.ip}/16 dev {new}")
        for peer in (HERE, THERE):
            namespace.ip(f"neigh replace {peer.ip} lladdr {peer.mac} dev {new}")
        cloud.controller.move_port(cloud.controller.machines[moving.id], to)
        told = time.monotonic()
        for watch in watches:
            watch.answered(told)
        gaps = {watch.name: watch.gap(begun) for watch in watches}
        with capsys.disabled():
            print(f"\nmove to host {to}: told_s={told - begun:.3f} " + " ".join(f"black_out_s={gap:.3f} ({name})" for name, gap in gaps.items()))
        assert all(gap < GENEROUS for gap in gaps.values()), gaps
    for watch in watches:
        watch.end()


def test_a_switch_that_crashes_goes_on_with_its_machines_before_its_controller_says_a_word(clouds, capsys):
    cloud = clouds(HERE, BESIDE, THERE, taps=False, config={A: ["set store store"]})
    cloud.controller.create_port(HERE, THERE)
    cloud.reach((HERE, THERE), (THERE, HERE))
    cloud.deny((HERE, BESIDE))
    watch = Watch(cloud, THERE, HERE)
    begun = time.monotonic()
    watch.answered(begun)
    cloud.kill(A)
    killed = time.monotonic()
    cloud.hosts[A].start()
    watch.answered(time.monotonic())
    with capsys.disabled():
        print(f"\nkilled and started again: black_out_s={watch.gap(killed):.3f}")
    watch.end()
    cloud.reach((HERE, THERE))
    cloud.deny((HERE, BESIDE))
    exchange(*cloud.ends(HERE, THERE))
    # Its controller goes on where it was: what is new, and all of it again.
    cloud.controller.create_port(BESIDE)
    cloud.reach((HERE, BESIDE), (THERE, BESIDE))
    cloud.controller.tell_all_again(A)
    cloud.controller.delete_port(THERE)
    cloud.deny((HERE, THERE), (BESIDE, THERE))


def test_what_changes_while_a_switch_is_down_counts_once_it_is_told(clouds):
    cloud = clouds(HERE, BESIDE, THERE, taps=False, config={A: ["set store store"]})
    cloud.controller.create_port(HERE, THERE)
    cloud.reach((HERE, THERE))
    cloud.kill(A)
    del cloud.controller.machines[THERE.id]
    cloud.controller.machines[BESIDE.id] = BESIDE
    cloud.controller.tell(B)
    cloud.hosts[A].start()
    cloud.controller.tell(A)
    cloud.reach((HERE, BESIDE))
    cloud.deny((HERE, THERE))
