# SPDX-License-Identifier: MIT
"""A second opinion on frames: tshark's, of lengths and checksums, inside of VXLAN too."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from frames import write_pcap
from program import DEADLINE

FIELDS = ("ip.checksum.status", "icmp.checksum.status", "icmpv6.checksum.status", "udp.checksum.status", "tcp.checksum.status", "_ws.malformed")
WRONG, RIGHT = "0", "1"

_sent: dict[bytes, str] = {}


def remember(frames: list[bytes]) -> None:
    """Has the checksums of frames that a switch sent looked at when all tests are done."""
    test = os.environ["PYTEST_CURRENT_TEST"]
    for frame in frames:
        _sent.setdefault(frame, test)


def assert_no_wrong_checksum(folder: Path) -> None:
    """tshark finds none in what was remembered. Tests send right ones, so wrong ones would be the switch's."""
    if not _sent or shutil.which("tshark") is None:
        return
    rows = _dissect(folder, list(_sent), "ip.defragment:FALSE")
    wrong = {test for row, test in zip(rows, _sent.values()) if any(WRONG in values for values in row.statuses.values())}
    assert not wrong, f"wrong checksums were sent in {sorted(wrong)}"


def assert_sound(folder: Path, frames: list[bytes], **wanted: int) -> None:
    """tshark finds no wrong checksum or length in any frame. `wanted` says how many right ones it finds of each protocol, so
    that it did look: `ip=2`."""
    if shutil.which("tshark") is None:
        pytest.skip("needs `tshark`")
    right = dict.fromkeys(wanted, 0)
    for number, row in enumerate(_dissect(folder, frames, "ip.defragment:TRUE")):
        assert not any(WRONG in values for values in row.statuses.values()) and not row.malformed, f"frame {number}: {row}"
        for protocol in wanted:
            right[protocol] += row.statuses[f"{protocol}.checksum.status"].count(RIGHT)
    assert right == wanted


@dataclass
class _Row:
    """What tshark says of a frame."""

    statuses: dict[str, list[str]]
    """Of the checksums of each protocol, the outer one first."""
    malformed: str


def _dissect(folder: Path, frames: list[bytes], fragments: str) -> list[_Row]:
    file = folder / "sound.pcap"
    write_pcap(file, frames)
    options = ["-n", "-d", "udp.port==4789,vxlan", "-o", fragments]
    for protocol in ("ip", "udp", "tcp"):
        options += ["-o", f"{protocol}.check_checksum:TRUE"]
    columns = [word for field in FIELDS for word in ("-e", field)]
    command = ["tshark", "-r", file, *options, "-T", "fields", "-E", "separator=/t", "-E", "aggregator=,", *columns]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=6 * DEADLINE)
    assert done.returncode == 0, done.stderr
    rows = [dict(zip(FIELDS, line.split("\t"))) for line in done.stdout.splitlines()]
    assert len(rows) == len(frames)
    return [_Row({field: row[field].split(",") for field in FIELDS if field.endswith("status")}, row["_ws.malformed"]) for row in rows]
