# SPDX-License-Identifier: MIT
"""Looks every few seconds at what switches hold, from within and from without."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path

from plan import A, B
from switch import Switch

NAMES = {A: "A", B: "B"}


def sample(switch: Switch) -> dict[str, float]:
    """What a switch holds, by the kinds of `judge.SLACK`."""
    status = Path(f"/proc/{switch.process.pid}/status").read_text()

    def field(name: str) -> int:
        return int(re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)[1])

    memory = {row["table"]: row for row in switch.show("memory")}
    buffers = memory.pop("packet buffers")
    pinned = memory.pop("replaced snapshots")
    return {
        "packet buffers": buffers["entries"],
        "held packets": sum(row["held"] for row in switch.show("port stats all")),
        "anonymous memory, KiB": field("RssAnon"),
        "huge pages, KiB": field("HugetlbPages"),
        "table entries": sum(row["entries"] for row in memory.values()),
        "table bytes": sum(row["bytes"] for row in memory.values()),
        "pinned bytes": pinned["bytes"],
        "open files": len(os.listdir(f"/proc/{switch.process.pid}/fd")),
        "threads": field("Threads"),
        "files in its folder": len(os.listdir(switch.folder)),
    }


class Watch(threading.Thread):
    """Takes a sample of all switches every `seconds`, and sees that each of their workers moves meanwhile. $SAMPLES is a file to
    write samples to, a line of JSON each."""

    def __init__(self, hosts: dict[int, Switch], seconds: float):
        super().__init__(daemon=True)
        self.hosts, self.seconds, self.ended = hosts, seconds, threading.Event()
        self.file = open(os.environ["SAMPLES"], "a") if "SAMPLES" in os.environ else None
        self.samples: list[dict[str, float]] = []
        self.faults: list[str] = []
        self.start()

    def run(self) -> None:
        polls = {}
        while not self.ended.wait(self.seconds):
            taken = {}
            try:
                for host, switch in self.hosts.items():
                    taken |= {f"{NAMES[host]}: {kind}": value for kind, value in sample(switch).items()}
                    for row in switch.show("workers"):
                        worker = host, row["worker"]
                        if row["polls"] == polls.get(worker):
                            self.faults.append(f"{NAMES[host]}: worker {row['worker']} stood still for {self.seconds:.1f} s")
                        polls[worker] = row["polls"]
            except Exception as error:
                self.faults.append(f"no sample: {error!r}")
                return
            self.samples.append(taken)
            if self.file:
                print(json.dumps(taken), file=self.file, flush=True)

    def end(self) -> None:
        self.ended.set()
        self.join()
        if self.file:
            self.file.close()
