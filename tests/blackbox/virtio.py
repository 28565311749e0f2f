# SPDX-License-Identifier: MIT
"""Virtual machines without a machine: testpmd has the guest's side of virtio, in another process, over vhost-user."""

from __future__ import annotations

import re
from pathlib import Path

from frames import read_pcap, write_pcap
from program import eventually
from testpmd import Testpmd

_FILES, _VIRTIO = 0, 1
"""testpmd's ports: recordings of what the guest sends and gets, and its network card."""


class Machine(Testpmd):
    """A guest behind a socket that a switch serves. What it sends are `frames`."""

    def __init__(self, folder: Path, socket: Path, frames: list[bytes] = (), *, mac: str, leaves: bool = False, segments: int = 0, takes: bool = False):
        """`leaves`: it leaves checksums to its card, and with `segments` it leaves TCP packets that are longer than so many bytes of payload
        to be cut. `takes`: it takes frames without checksums, and TCP that is to be cut."""
        self.got = socket.with_suffix(".got.pcap")
        sent = socket.with_suffix(".sent.pcap")
        write_pcap(sent, list(frames))
        # Only what comes back from the card is of interest to the engine that forwards bytes as they are.
        super().__init__(folder, f"net_pcap0,rx_pcap={sent},tx_pcap={self.got}", f"net_virtio_user0,path={socket},mac={mac}", options="-i --no-flush-rx", memory=192)
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
