# SPDX-License-Identifier: MIT
"""The switch under test."""

import json
import os
import socket
import subprocess
import sys
import time

from . import settings
from .cases import PEER, PEER_MAC, VTEP
from .packets import packets_of

FIRST_SOURCE_PORT = 49152


class Daemon:
    """A running switch, programmed by nobody yet."""

    def __init__(self, folder, uplink, guest, mbufs, more=""):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.southbound = f"127.0.0.1:{probe.getsockname()[1]}"
        self.folder = folder
        self.socket = folder / "alkaid.sock"
        (folder / "alkaid.conf").write_text(f"""
eal -l {settings.MAIN_CORE} --in-memory --no-pci --no-telemetry --file-prefix alkaid-bench-{os.getpid()} --log-level=warning
set nbcore 1
set corelist {settings.WORKER_CORE}
set burst {settings.BURST}
set mbufs {mbufs}
set neighbors capacity 1048576
port attach {uplink}
port attach {guest}
set vtep {VTEP}/24 port 0
set underlay neighbor {PEER} {PEER_MAC}
port bind 1 guest
set southbound listen {self.southbound}
set control socket {self.socket}
set log warn
{more}
""")

    def __enter__(self):
        self.log = open(self.folder / "alkaid.log", "w+")
        self.process = subprocess.Popen([settings.ALKAID, "run", self.folder / "alkaid.conf"], stderr=self.log, stdout=self.log)
        deadline = time.monotonic() + 60
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                self.log.seek(0)
                sys.exit(f"the switch does not start:\n{self.log.read()}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()

    def rows(self, *words):
        command = [settings.ALKAID, "exec", "--json", "--socket", self.socket, *words]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return json.loads(out) if out.strip() else None

    def push(self, goal):
        command = [settings.ALKAID, "push", "--quiet", "--to", self.southbound, goal]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"the goal state is refused:\n{done.stdout}{done.stderr}")

    def packets(self):
        """Received and sent, over both ports."""
        ports = self.rows("show", "port", "stats", "all")
        return tuple(sum(port[key] for port in ports) for key in ("rx_packets", "tx_packets"))


class Alkaid:
    def __init__(self, played):
        self.played, self.folder = played, played.folder
        self.goal = self.folder / "goal.json"
        self.goal.write_text(json.dumps(played.case.goal_state(played.flows)))

    def prove(self):
        """Forwards the recordings once into others and checks every byte of them: the timed runs do this work."""
        played, out = self.played, {"encap": self.folder / "out-uplink.pcap", "decap": self.folder / "out-guest.pcap"}
        uplink, guest = played.uplink(out["encap"], again=False), played.guest(out["decap"], again=False)
        packets = sum(map(len, played.packets.values()))
        with Daemon(self.folder, uplink, guest, played.mbufs) as switch:
            switch.push(self.goal)
            switch.rows("start")
            deadline = time.monotonic() + 60
            while switch.packets()[1] < packets:
                assert time.monotonic() < deadline, switch.rows("show", "drops")
                time.sleep(0.05)
        for direction, sent in played.packets.items():
            played.case.check(direction, sent, packets_of(out[direction]), FIRST_SOURCE_PORT)
            out[direction].unlink()

    def measure(self):
        """TSC cycles per packet of the worker's core."""
        with Daemon(self.folder, self.played.uplink(), self.played.guest(), self.played.mbufs) as switch:
            switch.push(self.goal)
            switch.rows("start")
            time.sleep(0.3)
            (first,) = switch.rows("show", "workers")
            time.sleep(settings.SECONDS)
            (last,) = switch.rows("show", "workers")
            switch.rows("stop")
            time.sleep(0.05)
            received, sent = switch.packets()
        assert received == sent > 0, f"{self.played.case.name}: {received} received, {sent} sent"
        packets = last["rx_packets"] - first["rx_packets"]
        assert packets > 0, f"{self.played.case.name}: the worker stood still between {first} and {last}"
        self.tsc_hz = last["tsc_hz"]
        return (last["tsc"] - first["tsc"]) / packets
