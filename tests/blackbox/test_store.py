# SPDX-License-Identifier: MIT
"""A store whose disk is full, or cannot be written."""

from __future__ import annotations

import os
import subprocess

import pytest

import goal
from frames import assert_encapsulated, read_pcap, udp
from plan import B
from program import Port, eventually, pcap_ports
from switch import Switch
from test_restart import HERE, NET, STATES, everything, kill

RETRIED = 60.0
"""Seconds after which a store that can be written again has been; it is tried every ten."""


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "alkaid-test", folder], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount: {mounted.stderr}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def neighbor(id: str, n: int):
    """A neighbor of its own address."""
    state = goal.neighbor(NET.guest(B, 1), id=id)
    state.configuration.mac_address = f"02:00:01:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"
    state.configuration.fixed_ips[0].ip_address = f"10.5.{n >> 8 & 255}.{n & 255}"
    return state


def fill(file) -> None:
    """Until the file system has no room for another byte."""
    with file.open("wb", buffering=0) as filler:
        for size in (1 << 16, 1):
            while True:
                try:
                    filler.write(bytes(size))
                except OSError:
                    break


def statuses(reply) -> set[str]:
    return {status for _, _, status in goal.status_names(reply)}


def health(switch) -> str:
    """Whether goal states are kept."""
    (row,) = [row for row in switch.show("health") if row["check"] == "store"]
    return row["ok"]


def test_with_a_full_disk_it_forwards_and_says_pending_until_there_is_room(switches, disk, tmp_path):
    there = NET.guest(B, 1)
    frame = udp(HERE, there)
    ports = pcap_ports(tmp_path, [Port(), Port(HERE.id, [frame])])
    switch = switches([*ports, f"set store {disk / 'store'}"])
    switch.accept(*STATES)
    first, second, third = ([neighbor(f"n-{n}", n) for n in range(at, at + 500)] for at in (1000, 2000, 3000))
    switch.accept(*first)

    fill(disk / "filler")
    while (found := statuses(switch.push(*first))) == {"SUCCESS"}:
        pass  # there was room in the file
    assert found == {"PENDING"}
    assert "goal states are not kept, and replies say PENDING" in switch.log.read_text()
    assert statuses(switch.push(*second, goal.neighbor(there))) == {"PENDING"}
    assert health(switch) == "no"
    switch.execute("start")
    switch.settled(port1=1)

    (disk / "filler").unlink()
    eventually("all is kept again, and nobody had to ask", lambda: "goal states are kept again" in switch.log.read_text(), RETRIED)
    switch.accept(*third)
    assert health(switch) == "yes"
    before = everything(switch)
    assert len(before["neighbors"]) == 1501
    kill(switch)
    assert_encapsulated(read_pcap(tmp_path / "tx0.pcap"), [(frame, 5, B)])
    switch.start()
    assert everything(switch) == before


@pytest.mark.parametrize("state", ["read-only", "gone"])
def test_a_store_that_cannot_be_opened_is_named_at_the_start(alkaid, disk, tmp_path, state):
    ports = pcap_ports(tmp_path, [Port()])
    folder = disk if state == "read-only" else disk / "gone"
    if state == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    switch = Switch(alkaid, tmp_path / "switch", [*ports, f"set store {folder / 'store'}"])
    switch.spawn()
    assert switch.wait() != 0
    log = switch.log.read_text()
    assert f"the store {folder / 'store'}: " in log and "panicked" not in log, log
