# SPDX-License-Identifier: MIT
"""A host: one `alkaid run`, programmed and asked by the same client commands that an operator uses."""

import json
import os
import re
import socket
import subprocess
import time

# Seconds. A busy machine is slow, not wrong.
PATIENCE = 60


class Failed(Exception):
    """The demo cannot go on; the text says why."""


def free_port():
    """A TCP port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Host:
    """Runs in `folder`, which has its configuration, its log and its ports' pcap files."""

    def __init__(self, binary, name, folder, scratch):
        self.binary, self.name, self.folder = binary, name, folder
        self.socket = scratch / f"{name}.sock"
        # DPDK makes a folder there and leaves it behind.
        self.environment = {**os.environ, "RUNTIME_DIRECTORY": str(scratch)}
        self.process = None

    def start(self, config):
        """Starts the switch with `config`, made unique in what two switches on one machine must not share."""
        for _ in range(3):
            self.southbound = f"127.0.0.1:{free_port()}"
            self._configure(config)
            log = self.folder / "alkaid.log"
            with log.open("w") as errors:
                self.process = subprocess.Popen(
                    [self.binary, "run", "alkaid.conf"],
                    cwd=self.folder,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                )
            if self._answers():
                return
            # Between the choice of the port and now, another program may have taken it.
            if "cannot be listened on" not in log.read_text(errors="replace"):
                break
        raise Failed(f"{self.name} did not start; the end of {log}:\n{tail(log)}")

    def _configure(self, config):
        core = min(os.sched_getaffinity(0))
        text = config.read_text()
        for pattern, line in [
            (r"-l 0 ", f"-l {core} "),
            (r"--file-prefix \S+", f"--file-prefix alkaid-demo-{self.name}-{os.getpid()}"),
            (r"set southbound listen .*", f"set southbound listen {self.southbound}"),
            (r"set control socket .*", f'set control socket "{self.socket}"'),
        ]:
            text, found = re.subn(pattern, line, text)
            if found != 1:
                raise Failed(f"{config} has {found} times `{pattern}`")
        (self.folder / "alkaid.conf").write_text(text)

    def _answers(self):
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            if self.socket.exists() and self._client("show", "ports").returncode == 0:
                return True
            time.sleep(0.05)
        self.end()
        return False

    def _client(self, *words):
        command = [self.binary, words[0], "--socket", self.socket, *words[1:]]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)

    def ask(self, *words):
        """What `alkaid WORDS` prints."""
        done = self._client(*words)
        if done.returncode != 0:
            raise Failed(f"{self.name}: `alkaid {' '.join(words)}` failed: {done.stderr.strip()}")
        return done.stdout

    def push(self, goal):
        """Sends a goal state over gRPC. Returns how many resources were programmed; all must be."""
        command = [self.binary, "push", goal, "--to", self.southbound, "--json"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        statuses = json.loads(done.stdout or "[]")
        if done.returncode != 0:
            missing = [f"\n  {row['type']} {row['id']} is {row['status']}" for row in statuses if row["status"] != "SUCCESS"]
            raise Failed(f"{self.name}: `alkaid push {goal}` failed: {done.stderr.strip()}{''.join(missing)}")
        return len(statuses)

    def stats(self):
        """A row per port: its counters, its role and which guest it is."""
        rows = json.loads(self.ask("show", "stats", "--json"))
        ports = json.loads(self.ask("show", "ports", "--json"))
        return [{**row, "role": port["role"], "guest": port["id"]} for row, port in zip(rows, ports)]

    def await_packets(self, expected):
        """Waits until `expected` packets have arrived and all of them have left or been dropped; the counters then."""
        last, since = None, time.monotonic()
        while True:
            rows = self.stats()
            arrived, forwarded, dropped, left = (
                sum(row[column] for row in rows) for column in ("rx_packets", "forwarded", "dropped", "tx_packets")
            )
            # Counters are read one after the other while packets move; these agree once all is done.
            if arrived >= expected and forwarded + dropped == arrived and left == forwarded:
                return rows
            if (arrived, forwarded, dropped, left) != last:
                last, since = (arrived, forwarded, dropped, left), time.monotonic()
            if self.process.poll() is not None or time.monotonic() - since > PATIENCE:
                raise Failed(f"{self.name}: of {expected} packets {arrived} arrived, {left} left, {dropped} were dropped")
            time.sleep(0.05)

    def quit(self):
        """Ends the switch in the regular way, after which all packets are in their files."""
        self.ask("exec", "quit")
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} does not end after `quit`") from None
        if code != 0:
            raise Failed(f"{self.name} ended with {code}; the end of its log:\n{tail(self.folder / 'alkaid.log')}")

    def end(self):
        """Ends the switch, whatever it is doing."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def tail(log):
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
