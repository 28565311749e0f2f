# SPDX-License-Identifier: MIT
"""How long packets stand still when the switch is killed and started again: `make restart-time`.

A guest sends a frame every millisecond to the neighbor that was pushed last. The switch is ended by SIGKILL and started
again with what its store has; nothing else is told to it. Prints one line, with medians over the runs:

    restart: neighbors=100000 forwarding_s=0.81 store_s=0.33 runs=5

forwarding_s    from the start of the process until the first of these frames leaves in VXLAN
store_s         of that, reading the store and programming what it has, as the log says

Environment: ALKAID (the program), NEIGHBORS (default 100000), RUNS (default 5), LIMIT (in seconds: it fails when the median of
forwarding_s is beyond; by default, it asserts that frames are forwarded again and not how soon). Needs root, for veth devices.
Not collected with the tests.
"""

from __future__ import annotations

import os
import re
import statistics
import threading
import time

import goal
from frames import udp
from plan import A, B, Subnet, host_mac
from test_restart import kill

NEIGHBORS = int(os.environ.get("NEIGHBORS", "100000"))
RUNS = int(os.environ.get("RUNS", "5"))
LIMIT = float(os.environ.get("LIMIT", "inf"))
PER_MESSAGE = 5000
START = 60.0
"""Seconds after which it has failed to start."""

NET = Subnet(5)
HERE, THERE = NET.guest(A, 1), NET.guest(B, 1)


def neighbor(n: int):
    """One of its own MAC and address."""
    state = goal.neighbor(THERE, id=f"n-{n}")
    state.configuration.mac_address = mac(n)
    state.configuration.fixed_ips[0].ip_address = f"10.{100 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"
    return state


def mac(n: int) -> str:
    return f"02:00:01:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"


class Traffic(threading.Thread):
    """The guest."""

    def __init__(self, wire, frame: bytes):
        super().__init__(daemon=True)
        self.wire, self.frame, self.ended = wire, frame, threading.Event()

    def run(self):
        while not self.ended.wait(0.001):
            self.wire.send([self.frame])

    def end(self):
        self.ended.set()
        self.join()


def forwarded(wire) -> float:
    """When the next frame left."""
    wire.receive(1 << 30, 0)  # what left before
    assert wire.receive(1, START), "no frame is forwarded"
    return time.monotonic()


def test_restart_time(networks, switches, capsys):
    outside, guests = networks.namespace("out"), networks.namespace("in")
    devices = [
        networks.pair("u", outside, "u", mac=host_mac(B), outer_mac=host_mac(A)),
        networks.pair("g", guests, "g", mac=HERE.mac),
    ]
    uplink, guest = networks.wire(outside, "u"), networks.wire(guests, "g")
    ports = [f"port attach net_af_packet{n},iface={device}" for n, device in enumerate(devices)]
    switch = switches([*ports, f"port bind 1 {HERE.id}", "set vtep 192.0.2.1/24 port 0", "set store store", "start"], memory=256)
    switch.accept(goal.vpc(NET), goal.subnet(NET), goal.port(HERE))
    for first in range(0, NEIGHBORS, PER_MESSAGE):
        switch.accept(*map(neighbor, range(first, min(first + PER_MESSAGE, NEIGHBORS))))

    frame = udp(HERE, THERE, eth_dst=mac(NEIGHBORS - 1))
    traffic = Traffic(guest, frame)
    traffic.start()
    forwarding, store = [], []
    forwarded(uplink)
    for _ in range(RUNS):
        kill(switch)
        begun = time.monotonic()
        switch.spawn()
        forwarding.append(forwarded(uplink) - begun)
        said = re.search(r"what the store has kept is programmed.* seconds=([0-9.e-]+)", switch.log.read_text())
        store.append(float(said[1]))
    traffic.end()
    median = statistics.median(forwarding)
    with capsys.disabled():
        print(f"\nrestart: neighbors={NEIGHBORS} forwarding_s={median:.2f} store_s={statistics.median(store):.2f} runs={RUNS}")
    assert median <= LIMIT, f"packets stand still for {median:.2f} s, beyond {LIMIT} s: {[round(seconds, 2) for seconds in forwarding]}"
