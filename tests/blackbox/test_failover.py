# SPDX-License-Identifier: MIT
"""A lost link is acted upon, and who asks for a VTEP answered, whatever else the switch is at."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import goal
from frames import udp
from plan import B
from program import DEADLINE, eventually
from test_uplinks import HERE, STATES, SUBNET, Taps, vxlans

AT_ONCE = 2.0
"""Seconds. A link is looked at ten times in one; the rest is for a machine that others use."""

MANY = 40_000
"""Neighbors of each goal state."""


def ready(networks, switches, *config: str) -> Taps:
    taps = Taps(networks, switches, *config)
    taps.switch.accept(*STATES)
    taps.until("ready", "ready")
    assert all(taps.flows(0, 1))
    return taps


def loses(taps: Taps, lost: int) -> None:
    """The link is down, and all flows go by the other at once; the other answers for both."""
    flows_leave(taps, lost)
    left = 1 - lost
    eventually("the other answers for it", lambda: taps.answers(left, lost) == [taps.MACS[left]], AT_ONCE)


def flows_leave(taps: Taps, lost: int) -> None:
    left = 1 - lost
    taps.set(lost, "down")
    begun = time.monotonic()
    flows = [udp(HERE, SUBNET.guest(B), sport=1000 + n) for n in range(64)]
    came: set[bytes] = set()
    while came != set(flows):
        assert time.monotonic() < begun + AT_ONCE, f"{len(came)} of {len(flows)} flows have moved"
        taps.wires[2].send(flows)
        came.update(frame[50:] for frame in vxlans(taps.wires[left].receive(len(flows), 0.05)))


def neighbors(version: int):
    """A goal state of many neighbors, whose MAC addresses are those of `version`."""
    state, message = goal.neighbor(SUBNET.guest(B)), goal.v1()
    for n in range(MANY):
        one = message.neighbor_states.add()
        one.CopyFrom(state)
        one.configuration.id = f"many-{n}"
        one.configuration.mac_address = f"02:{version:02x}:00:00:{n >> 8:02x}:{n & 255:02x}"
        one.configuration.fixed_ips[0].ip_address = f"10.16.{n >> 8}.{n & 255}"
    return message


class Pushes:
    """Several goal states at a time, each of which undoes what another did and follows its own answer: the control
    thread always has one to go on to."""

    def __init__(self, switch):
        self.controller, self.ended = switch.controller, threading.Event()
        self.answered = [0] * 3
        self.threads = [threading.Thread(target=self.push, args=(one,)) for one in range(len(self.answered))]

    def push(self, one: int) -> None:
        message = neighbors(one)
        while not self.ended.is_set():
            self.controller.PushNetworkResourceStates(message, timeout=10 * DEADLINE)
            self.answered[one] += 1

    def __enter__(self) -> Pushes:
        for thread in self.threads:
            thread.start()
        eventually("each is answered", lambda: all(self.answered), 10 * DEADLINE)
        return self

    def __exit__(self, *_) -> None:
        failed = [one for one, thread in enumerate(self.threads) if not thread.is_alive()]
        self.ended.set()
        for thread in self.threads:
            thread.join()
        assert not failed, f"refused or unanswered: {failed}"


def test_while_goal_states_are_applied(networks, switches):
    taps = ready(networks, switches)
    with Pushes(taps.switch) as pushes:
        before = sum(pushes.answered)
        flows_leave(taps, 0)
        eventually("others are answered", lambda: sum(pushes.answered) > before, 10 * DEADLINE)
    eventually("all is programmed", lambda: taps.switch.show("pending") == [])
    taps.switch.terminate()


def test_while_a_port_takes_its_time(networks, switches):
    taps = ready(networks, switches)
    path = taps.switch.folder / "late.sock"
    # DPDK waits for the virtual machine's side, and holds all that is done with ports.
    attaching = threading.Thread(target=taps.switch.client, args=("exec", f"port attach net_virtio_user0,path={path},server=1"))
    attaching.start()
    eventually("it waits", path.exists)
    loses(taps, 1)
    assert attaching.is_alive()
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as machine:
        machine.connect(str(path))
    attaching.join(DEADLINE)
    assert not attaching.is_alive()
    taps.switch.terminate()
