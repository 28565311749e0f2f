# SPDX-License-Identifier: MIT
"""The program under test: where it is, how its clients are called, what its configuration looks like."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from frames import write_pcap
from plan import A, host_ip

DEADLINE = float(os.environ.get("DEADLINE", "20"))
"""Seconds after which something that should happen has failed to; more on a machine that has other work."""


ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""


def find() -> Path:
    """$ALKAID, else the newest build, else a build made now."""
    if named := os.environ.get("ALKAID"):
        return Path(named).resolve(strict=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [path for profile in ("release", "debug") if (path := target / profile / "alkaid").is_file()]
    if not built:
        subprocess.run(["cargo", "build", "--release", "--bin", "alkaid"], cwd=ROOT, check=True)
        built = [target / "release" / "alkaid"]
    return max(built, key=lambda path: path.stat().st_mtime)


def eventually(what: str, check, deadline: float = DEADLINE):
    """Polls until `check()` is true, and returns what it returned."""
    end = time.monotonic() + deadline
    while True:
        if found := check():
            return found
        if time.monotonic() > end:
            pytest.fail(f"{deadline:.0f} s passed, and still not: {what}")
        time.sleep(0.005)


@dataclass
class Port:
    """A port of a switch over pcap files."""

    id: str | None = None
    """The controller's port that it is bound to; None for the uplink and for a port without."""
    frames: list[bytes] = field(default_factory=list)
    """What arrives on it."""


def pcap_ports(folder: Path, ports: list[Port], *, host: int = A) -> list[str]:
    """Configuration of ports over pcap files in `folder`: port 0 is the uplink. Writes the files that they read."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, port in enumerate(ports):
        received, sent = folder / f"rx{number}.pcap", folder / f"tx{number}.pcap"
        write_pcap(received, port.frames)
        lines.append(f"port attach net_pcap{number},rx_pcap={received},tx_pcap={sent}")
    lines += [f"port bind {number} {port.id}" for number, port in enumerate(ports) if port.id]
    return [*lines, f"set vtep {host_ip(host)}/24 port 0"]


def eal(prefix: str, memory: int = 128) -> str:
    """DPDK without huge pages, hardware, and files that it would leave behind."""
    return f"eal -l 0 --no-huge -m {memory} --no-pci --no-shconf --no-telemetry --log-level=warning --file-prefix {prefix}"


def environment(folder: Path) -> dict[str, str]:
    """With DPDK's own files in `folder`."""
    return os.environ | {"RUNTIME_DIRECTORY": str(folder)}


def call(program: Path, *arguments, input: str | None = None, timeout: float = DEADLINE, **named) -> subprocess.CompletedProcess:
    """Runs the program to its end."""
    return subprocess.run([program, *map(str, arguments)], input=input, capture_output=True, text=True, timeout=timeout, **named)


class Counters:
    """`show port stats all` and `show drops` at one moment, or the summary of a replay."""

    def __init__(self, ports: list[dict], drops: list[dict]):
        self.ports = {row["port"]: row for row in ports}
        self.drops = {port: {} for port in self.ports}
        for row in drops:
            assert row["packets"] > 0 and row["explanation"]
            self.drops[row["port"]][row["reason"]] = row["packets"]

    def assert_balanced(self) -> None:
        """Every packet left, or is counted under one reason; what left was sent; nothing was lost in a device."""
        for port, row in self.ports.items():
            dropped = sum(self.drops[port].values())
            assert row["dropped"] == dropped, f"port {port}: {row} but {self.drops[port]}"
            assert row["rx_packets"] == row["forwarded"] + row["answered"] + dropped, f"port {port}: {row}, {self.drops[port]}"
            lost = {key: row[key] for key in ("rx_missed", "rx_errors", "rx_nombuf", "tx_errors")}
            assert not any(lost.values()), f"port {port}: {lost}"
        assert sum(row["forwarded"] + row["tx_own"] for row in self.ports.values()) == sum(row["tx_packets"] for row in self.ports.values())

    def rx(self, port: int) -> int:
        return self.ports[port]["rx_packets"]


def parse(text: str):
    return json.loads(text)
