# SPDX-License-Identifier: MIT
"""Virtual machines without a machine: DPDK's testpmd has the guest's side of virtio, in another process, over vhost-user."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from frames import read_pcap, write_pcap
from program import DEADLINE, eventually

_FILES, _VIRTIO = 0, 1
"""testpmd's ports: recordings of what the guest sends and gets, and its network card."""

_count = 0


class Machine:
    """A guest behind a socket that a switch serves. What it sends are `frames`."""

    def __init__(self, folder: Path, socket: Path, frames: list[bytes] = (), *, mac: str, leaves: bool = False, segments: int = 0, takes: bool = False):
        """`leaves`: it leaves checksums to its card, and with `segments` it leaves TCP packets that are longer than so many bytes of payload
        to be cut. `takes`: it takes frames without checksums, and TCP that is to be cut."""
        global _count
        _count += 1
        if shutil.which("dpdk-testpmd") is None:
            pytest.skip("needs `dpdk-testpmd`")
        self.sent, self.got, self.log = folder / f"sent{_count}.pcap", folder / f"got{_count}.pcap", folder / f"testpmd{_count}.log"
        write_pcap(self.sent, list(frames))
        cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        files = f"net_pcap0,rx_pcap={self.sent},tx_pcap={self.got}"
        # As a program without privileges: what it shares with the switch is one file in memory.
        eal = f"--lcores=0@({cores}),1@({cores}) --no-huge -m 192 --no-pci --no-telemetry --no-shconf --log-level=warning"
        prefix = f"--file-prefix=alkaid-guest-{os.getpid()}-{_count}"
        command = ["stdbuf", "-oL", "dpdk-testpmd", *eal.split(), prefix, "--vdev", files, "--vdev", f"net_virtio_user0,path={socket},mac={mac}"]
        with self.log.open("wb") as log:
            # Only what comes back from the card is of interest to the engine that forwards bytes as they are.
            self.process = subprocess.Popen([*command, "--", "-i", "--total-num-mbufs=8192", "--no-flush-rx"], stdin=subprocess.PIPE, stdout=log, stderr=log, text=True)
        setup = ["port stop all"]
        if leaves:
            setup += [f"csum set {layer} hw {_VIRTIO}" for layer in ("tcp", "udp")]
        if segments:
            setup += [f"port config {_VIRTIO} tx_offload tcp_tso on", f"tso set {segments} {_VIRTIO}"]
        if takes:
            setup += [f"port config {_VIRTIO} rx_offload {what} on" for what in ("tcp_cksum", "udp_cksum", "tcp_lro")]
        setup += [f"csum mac-swap off {port}" for port in (_FILES, _VIRTIO)]  # all bytes stay as they are
        engine = "csum" if leaves else "io"
        self.say(*setup, "port start all", f"set fwd {engine}")
        eventually("the guest has set up its card", lambda: self.assert_alive() or f"Set {engine} packet forwarding mode" in self.text())

    def text(self) -> str:
        return self.log.read_text()

    def assert_alive(self) -> None:
        if self.process.poll() is not None:
            pytest.fail(f"the guest ended with {self.process.returncode}:\n{self.text()}")

    def say(self, *commands: str) -> None:
        for command in commands:
            self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def start(self) -> None:
        """Sends all frames, and takes what comes from now on."""
        self.say("start")

    def received(self, count: int) -> list[bytes]:
        """What came, which are so many frames at least; the guest ends."""

        def came() -> bool:
            self.assert_alive()
            self.say(f"show port stats {_VIRTIO}")
            return any(int(number) >= count for number in re.findall(r"RX-packets: (\d+)", self.text()))

        eventually(f"{count} frames came to the guest", came)
        self.end()
        return read_pcap(self.got)

    def end(self) -> None:
        if self.process.poll() is None:
            self.say("quit")
            self.process.stdin.close()
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
