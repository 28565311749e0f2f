# SPDX-License-Identifier: MIT
"""`alkaid replay` over lists of frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import goal
import tshark
from frames import forwarded, read_pcap
from plan import A, Guest
from program import DEADLINE, Counters, Port, call, environment, parse, pcap_ports

UPLINK = 0


@dataclass
class Replayed:
    """What came of a replay."""

    sent: list[list[bytes]]
    """Frames that each port sent, by port number."""
    counters: Counters
    log: str

    def drops(self, port: int) -> dict[str, int]:
        return self.counters.drops[port]

    @property
    def silent(self) -> bool:
        """No port sent anything but to tell its guest of drops."""
        return not any(map(forwarded, self.sent))


class Replay:
    """Replays in one folder, each in a new one inside."""

    def __init__(self, alkaid: Path, folder: Path):
        self.alkaid, self.folder, self.count = alkaid, folder, 0

    def __call__(self, states, *, underlay: list[bytes] = (), guests: list[tuple[Guest | None, list[bytes]]] = (), config: list[str] = (), host: int = A) -> Replayed:
        """Port 0 is the uplink and gets `underlay`; the following are of `guests`, each with the frames that it
        sends. `states`: resources, or whole messages to be applied one after the other."""
        folder = self.folder / f"replay{self.count}"
        self.count += 1
        ports = [Port(frames=list(underlay))]
        ports += [Port(guest.id if guest else None, list(frames)) for guest, frames in guests]
        lines = [*pcap_ports(folder, ports, host=host), *config]
        (folder / "switch.conf").write_text("\n".join(lines) + "\n")
        messages = states if states and hasattr(states[0], "format_version") else [goal.v1(*states)]
        files = []
        for number, message in enumerate(messages):
            files.append(folder / f"goal{number}.json")
            files[-1].write_text(goal.to_json(message))
        done = call(self.alkaid, "replay", "--json", "--config", folder / "switch.conf", "--goal-state", *files, timeout=2 * DEADLINE, env=environment(folder))
        assert done.returncode == 0, f"status {done.returncode}\n{done.stderr}\n{done.stdout}"
        summary = parse(done.stdout)
        counters = Counters(summary["ports"], summary["drops"])
        counters.assert_balanced()
        for number, port in enumerate(ports):
            assert counters.rx(number) == len(port.frames), f"port {number}"
        sent = [read_pcap(folder / f"tx{number}.pcap") for number in range(len(ports))]
        for number, frames in enumerate(sent):
            row = counters.ports[number]
            assert (row["tx_packets"], row["tx_bytes"]) == (len(frames), sum(map(len, frames))), f"port {number}"
            assert row["rx_bytes"] == sum(map(len, ports[number].frames)), f"port {number}"
            tshark.remember(frames)
        return Replayed(sent, counters, done.stderr)
