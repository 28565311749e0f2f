# SPDX-License-Identifier: MIT
"""A running switch: `alkaid run`, programmed by Google's gRPC client, watched by the program's own clients."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import grpc
import pytest

import goal
import tshark
from alcor.schema import goalstate_pb2, goalstateprovisioner_pb2_grpc
from frames import read_pcap, write_pcap
from program import DEADLINE, Counters, call, eal, environment, eventually, parse

_count = 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Switch:
    """One `alkaid run` in a folder of its own."""

    def __init__(self, alkaid: Path, folder: Path, config: list[str], *, southbound: int | None = None, memory: int = 128, arguments=()):
        global _count
        _count += 1
        self.alkaid, self.folder = alkaid, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.southbound = southbound or free_port()
        self.address = f"127.0.0.1:{self.southbound}"
        self.socket = folder / "alkaid.sock"
        self.log = folder / "log"
        self.config = folder / "switch.conf"
        lines = [
            eal(f"alkaid-test-{os.getpid()}-{_count}", memory),
            *config,
            f"set southbound listen {self.address}",
            f"set control socket {self.socket}",
        ]
        self.config.write_text("\n".join(lines) + "\n")
        self.command = [alkaid, "run", self.config, *arguments]
        self.process = self.channel = None

    # --- its life

    def start(self) -> None:
        """Starts it and waits until it serves controller and operators."""
        self.spawn()
        # First the socket: a channel that finds nobody waits a second before it looks again.
        eventually("the switch serves operators", self.serves_operators)
        self.channel = grpc.insecure_channel(self.address)
        ready = grpc.channel_ready_future(self.channel)
        eventually("the switch serves goal states", lambda: self.assert_alive() or ready.done())
        self.controller = goalstateprovisioner_pb2_grpc.GoalStateProvisionerStub(self.channel)

    def serves_operators(self) -> bool:
        # net_af_packet makes the number of a group of sockets of process id and device, which two switches may have in common.
        if self.process.poll() is not None and "could not set PACKET_FANOUT" in self.log.read_text():
            self.spawn()
        self.assert_alive()
        return self.socket.exists()

    def spawn(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, env=environment(self.folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def assert_alive(self) -> None:
        if self.process.poll() is not None:
            pytest.fail(f"the switch ended with {self.process.returncode}:\n{self.log.read_text()}")

    def wait(self) -> int:
        """Waits for its end; the exit status."""
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the switch does not end:\n{self.log.read_text()}")

    def terminate(self) -> None:
        """Ends it as systemd does. It must end well."""
        self.process.send_signal(signal.SIGTERM)
        assert self.wait() == 0, self.log.read_text()
        assert "panicked" not in self.log.read_text()
        self.close()

    def close(self) -> None:
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def end(self) -> None:
        """Whatever state it is in."""
        self.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    # --- its operators

    def client(self, *words, **named) -> subprocess.CompletedProcess:
        """One of the program's clients for this switch."""
        return call(self.alkaid, *words, "--socket", self.socket, **named)

    def execute(self, command: str) -> str:
        done = self.client("exec", command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def show(self, what: str) -> list[dict]:
        done = self.client("show", *what.split(), "--json")
        assert done.returncode == 0, done.stderr
        return parse(done.stdout)

    def counters(self) -> Counters:
        return Counters(self.show("port stats all"), self.show("drops"))

    def explain(self, port: int, *arguments) -> list[dict]:
        """What becomes of packets that arrive on a port."""
        done = self.client("explain", "--port", port, "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return [parse(line) for line in done.stdout.splitlines()]

    def explain_frame(self, port: int, frame: bytes) -> dict:
        write_pcap(self.folder / "explained.pcap", [frame])
        (explained,) = self.explain(port, "--pcap", self.folder / "explained.pcap")
        return explained

    def settled(self, **arrived: int) -> Counters:
        """Waits until so many packets have arrived on each port (`port0=5`), and what arrived has left or was
        dropped. The counters then balance."""

        def check():
            rows = {row["port"]: row for row in self.show("port stats all")}
            seen = {f"port{port}": row["rx_packets"] for port, row in rows.items()}
            through = all(row["rx_packets"] == row["forwarded"] + row["answered"] + row["dropped"] for row in rows.values())
            return through and all(seen[port] >= count for port, count in arrived.items())

        eventually(f"{arrived} packets arrived and were dealt with", check)
        counters = self.counters()
        counters.assert_balanced()
        came = {f"port{port}": row["rx_packets"] for port, row in counters.ports.items() if f"port{port}" in arrived}
        assert came == arrived, (came, counters.drops)
        return counters

    def sent(self, port: int) -> list[bytes]:
        """Frames that a port over pcap files sent. Files are complete when the switch has ended."""
        assert self.process.poll() is not None, "the switch still runs"
        frames = read_pcap(self.folder / f"tx{port}.pcap")
        tshark.remember(frames)
        return frames

    # --- its controller

    def push(self, *states):
        """PushNetworkResourceStates, as the data plane manager calls it."""
        return self.controller.PushNetworkResourceStates(goal.v1(*states), timeout=DEADLINE)

    def push_stream(self, *states):
        """PushGoalStatesStream, as the network configuration manager calls it: one message, then half-close."""
        replies = list(self.controller.PushGoalStatesStream(iter([goal.v2(*states)]), timeout=DEADLINE))
        assert replies, "the stream was not answered"
        merged = replies[0]
        for more in replies[1:]:
            merged.operation_statuses.extend(more.operation_statuses)
        return merged

    def accept(self, *states, rpc: str = "v1") -> None:
        """Pushes what must be SUCCESS."""
        reply = self.push(*states) if rpc == "v1" else self.push_stream(*states)
        found = goal.status_names(reply)
        assert len(found) == len(states) and all(status == "SUCCESS" for _, _, status in found), found


def empty_v2():
    """The warm-up that a controller opens each of its streams with."""
    return goalstate_pb2.GoalStateV2()
