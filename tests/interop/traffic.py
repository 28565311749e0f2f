# SPDX-License-Identifier: MIT
"""What two guests say to each other."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess

import pytest

from hosts import Host
from kernel import ask_and_answer, exchange
from program import DEADLINE, eventually

IPERF_PORT = 5201
HEADERS = 28
"""IPv4's and UDP's, or ICMP's."""


def talk(here: Host, there: Host, capsys, patience: float = DEADLINE) -> None:
    """Pings, datagrams, TCP, both ways, of all sizes that fit and, where they may, of some that come in fragments. `patience`: seconds
    until what does not arrive is given up."""
    eventually("the guests reach each other", lambda: here.guest.ping(there.machine.ip), patience)
    for client, server in ((here, there), (there, here)):
        largest = client.mtu - HEADERS
        in_fragments = (largest + 1, 8000, 20_000) if client.fragments and server.fragments else ()
        for size in (0, 56, largest, *in_fragments):
            eventually(f"{client.machine.id} pings by {size} bytes", lambda: client.guest.ping(server.machine.ip, 3, size=size) == 3, patience)
        ends = [(each.guest, each.machine.ip) for each in (client, server)]
        with told(f"{client.machine.id} sends datagrams and is answered"):
            ask_and_answer(*ends, (0, 1, 17, 100, largest - 1, largest, *in_fragments), patience)
        with told(f"{client.machine.id} gets back what it sends by TCP"):
            exchange(*ends, patience=patience)
    rates = {"tcp": iperf(here, there), "tcp back": iperf(here, there, "-R"), "udp": iperf(here, there, "-u", "-b", "20M")}
    with capsys.disabled():
        print("\niperf3: " + " ".join(f"{name.replace(' ', '_')}_mbit_s={rate / 1e6:.0f}" for name, rate in rates.items()))
    assert all(rates.values()), rates


@contextlib.contextmanager
def told(what: str):
    """Fails with what was expected."""
    try:
        yield
    except (OSError, AssertionError) as error:
        pytest.fail(f"failed: {what}: {error!r}")


def iperf(client: Host, server: Host, *options: str) -> float:
    """Bits per second that arrived, in a second."""
    if shutil.which("iperf3") is None:
        pytest.skip("needs `iperf3`")
    listening = ["iperf3", "-s", "-1", "-p", IPERF_PORT, "-B", server.machine.ip]
    serves = subprocess.Popen(server.guest.command(*listening), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually("the server listens", lambda: f":{IPERF_PORT} " in _sockets(server))
        asking = ["iperf3", "-c", server.machine.ip, "-p", IPERF_PORT, "-t", 1, "-J", *options]
        done = subprocess.run(client.guest.command(*asking), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3 * DEADLINE)
        assert done.returncode == 0, done.stdout + done.stderr
        assert serves.wait(DEADLINE) == 0
    finally:
        if serves.poll() is None:
            serves.kill()
            serves.wait()
    end = json.loads(done.stdout)["end"]
    if "-u" in options:
        total = end["sum"]
        return total["bits_per_second"] * (total["packets"] - total["lost_packets"]) / total["packets"]
    return end["sum_received"]["bits_per_second"]


def _sockets(host: Host) -> str:
    return subprocess.run(host.guest.command("ss", "-ltn"), capture_output=True, text=True).stdout
