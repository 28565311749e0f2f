# SPDX-License-Identifier: MIT
"""A second opinion on frames: tshark's, of lengths and checksums, inside of VXLAN too."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from frames import write_pcap
from program import DEADLINE

FIELDS = ("ip.checksum.status", "icmp.checksum.status", "icmpv6.checksum.status", "udp.checksum.status", "tcp.checksum.status", "_ws.malformed")
WRONG, RIGHT = "0", "1"


def assert_sound(folder: Path, frames: list[bytes], **wanted: int) -> None:
    """tshark finds no wrong checksum or length in any frame. `wanted` says how many right ones it finds of each protocol, so
    that it did look: `ip=2`."""
    if shutil.which("tshark") is None:
        pytest.skip("needs `tshark`")
    file = folder / "sound.pcap"
    write_pcap(file, frames)
    options = ["-n", "-d", "udp.port==4789,vxlan", "-o", "ip.defragment:TRUE"]
    for protocol in ("ip", "udp", "tcp"):
        options += ["-o", f"{protocol}.check_checksum:TRUE"]
    columns = [word for field in FIELDS for word in ("-e", field)]
    command = ["tshark", "-r", file, *options, "-T", "fields", "-E", "separator=/t", "-E", "aggregator=,", *columns]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3 * DEADLINE)
    assert done.returncode == 0, done.stderr
    rows = [dict(zip(FIELDS, line.split("\t"))) for line in done.stdout.splitlines()]
    assert len(rows) == len(frames)
    right = dict.fromkeys(wanted, 0)
    for number, row in enumerate(rows):
        statuses = {field: row[field].split(",") for field in FIELDS if field.endswith("status")}
        assert not any(WRONG in values for values in statuses.values()) and not row["_ws.malformed"], f"frame {number}: {row}"
        for protocol in wanted:
            right[protocol] += statuses[f"{protocol}.checksum.status"].count(RIGHT)
    assert right == wanted
