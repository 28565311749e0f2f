# SPDX-License-Identifier: MIT
"""A town for $MINUTES, ten unless said otherwise: its switches hold no more in the end than at first, drop only what they should,
and say nothing of errors. And one in which somebody takes and does not give back, as a proof that this would be noticed."""

from __future__ import annotations

import os
import random
import socket
import time
from collections import Counter

import pytest

from changes import CHANGES, neighbors_come_and_go
from controller import machine
from judge import alarming, grown, lost, unexpected
from plan import A, C
from program import eventually
from town import NEAR, PAUSE_SECONDS, TALK_SECONDS, Town
from watch import NAMES, Watch, sample

SECONDS = 60 * float(os.environ.get("MINUTES", "10"))
SAMPLES = 600
"""Of a long run; a short one has one a second."""
ENOUGH = 15
"""Samples of a short one at least, on a machine that has other work."""
SHORT_SECONDS = 20
CALM_SECONDS = 10


def balances(row: dict) -> bool:
    return row["rx_packets"] == row["forwarded"] + row["answered"] + row["held"] + row["dropped"]


@pytest.fixture
def town(networks, switches, tmp_path, monkeypatch):
    # The kernel makes huge pages of memory of which little is used, when it has time: what a switch holds could not be told from that.
    monkeypatch.setenv("MIMALLOC_ALLOW_THP", "0")
    towns = []

    def make(**named) -> Town:
        towns.append(Town(networks, switches, tmp_path, **named))
        return towns[-1]

    yield make
    for each in towns:
        each.end()


def buffers(town: Town) -> dict[str, int]:
    """In use when nothing waits."""
    eventually("no packet waits", lambda: not any(sample(switch)["held packets"] for switch in town.hosts.values()))
    return {NAMES[host]: sample(switch)["packet buffers"] for host, switch in town.hosts.items()}


def drops(town: Town) -> Counter:
    found = Counter()
    for switch in town.hosts.values():
        for row in switch.show("drops"):
            found[row["reason"]] += row["packets"]
    return found


def soak(town: Town, seconds: float, changes, after) -> tuple[list[dict[str, float]], list[str], Counter]:
    """Talk and changes for so long, in an order of chance, and something `after` each. The samples, what went wrong, and how often
    each change was made."""
    watch, made, chance = Watch(town.hosts, max(1, seconds / SAMPLES)), Counter(), random.Random(2)
    town.start_talk()
    begun = time.monotonic()
    while time.monotonic() < begun + seconds or len(watch.samples) < ENOUGH and not watch.faults:
        heard, since = dict(town.talk.received), time.monotonic()
        for change in chance.sample(changes, len(changes)):
            print(f"{time.monotonic() - begun:.0f} s: {change.__name__}")
            change(town)
            after()
            made[change.__name__] += 1
        silent = [ip for ip, count in town.talk.received.items() if count == heard[ip]]
        if silent and time.monotonic() > since + TALK_SECONDS + PAUSE_SECONDS:
            watch.faults.append(f"{time.monotonic() - begun:.0f} s: nothing came to {', '.join(silent)} any more")
    watch.end()
    return watch.samples, watch.faults, made


def calm(town: Town) -> list[str]:
    """What goes wrong while nothing is changed and each machine speaks to those that are there."""
    talk, seen = town.talk, []
    talk.calm.set()
    for pause in (CALM_SECONDS, 0):
        with talk.silence():
            seen.append((talk.sent, sum(talk.received.values()), drops(town)))
        time.sleep(pause)
    (sent, received, dropped), (sent_after, received_after, dropped_after) = seen
    return lost(sent_after - sent, received_after - received, dropped_after - dropped)


def test_a_town_leaves_nothing_behind(town, capsys):
    town = town()
    town.all_reach()
    before = buffers(town)
    samples, faults, made = soak(town, SECONDS, CHANGES, town.all_reach)
    faults += calm(town) + grown(samples)
    town.end_talk()
    eventually(f"all packet buffers are back: {before}", lambda: buffers(town) == before)
    found = drops(town)
    faults += unexpected(found)
    packets = 0
    for host, switch in town.hosts.items():
        eventually(f"the ports of {NAMES[host]} balance", lambda: all(balances(row) for row in switch.show("port stats all")))
        packets += sum(row["rx_packets"] for row in switch.show("port stats all"))
        faults += [f"{NAMES[host]}: {line}" for line in alarming(switch.log.read_text())]
        switch.terminate()
    with capsys.disabled():
        print(f"\nsoak: {SECONDS / 60:g} minutes, {sum(made.values())} changes, {packets} packets, {len(samples)} samples")
        print("changes: " + ", ".join(f"{name} {count}" for name, count in sorted(made.items())))
        print("drops: " + ", ".join(f"{reason} {count}" for reason, count in found.most_common()))
        for name in samples[0]:
            series = [each[name] for each in samples]
            print(f"{name:28} first {series[0]:>10g}  least {min(series):>10g}  most {max(series):>10g}  last {series[-1]:>10g}")
    assert faults == []


def test_what_is_not_given_back_is_noticed(town):
    """Connections that are opened and left, neighbors that are never deleted, packets that wait for an answer that does not come."""
    town = town(hold=60_000)
    town.all_reach()
    before = buffers(town)
    town.ncm.may_push.clear()
    # At a pace at which there are addresses to the end.
    kept, numbers = [], iter(range(101, 255))

    def leak() -> None:
        kept.extend(socket.create_connection(("127.0.0.1", town.hosts[A].southbound)) for _ in range(3))
        town.controller.create_port(*(machine(NEAR.guest(C, next(numbers))) for _ in range(2)))
        time.sleep(SHORT_SECONDS / 70)

    samples, faults, _ = soak(town, SHORT_SECONDS, [neighbors_come_and_go], leak)
    town.end_talk()
    held = sample(town.hosts[A])
    for each in kept:
        each.close()
    assert faults == []
    assert held["packet buffers"] > before["A"] and held["held packets"] > 0, held
    found = {line.rsplit(": ", 1)[0] for line in grown(samples)}
    assert {"A: open files", "A: table entries", "B: table entries"} <= found, found
