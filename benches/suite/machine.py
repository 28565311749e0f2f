# SPDX-License-Identifier: MIT
"""What all programs under test share: hugepages, and the two ports that packets come from and go to."""

import contextlib
import os
import signal
import sys
from pathlib import Path

from . import settings
from .packets import write_pcap

RESERVED = Path("/proc/sys/vm/nr_hugepages")


class Unfit(Exception):
    """Nothing can be measured here, and why."""


def check_cores():
    missing = {int(settings.MAIN_CORE), int(settings.WORKER_CORE)} - os.sched_getaffinity(0)
    if missing:
        raise Unfit(f"no core {', '.join(map(str, missing))} here")


@contextlib.contextmanager
def hugepages(count):
    """Adds `count` huge pages of 2 MiB to those that the machine has, and takes as many away in the end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends as an exception does: cleaning up
    before, added = int(RESERVED.read_text()), 0
    try:
        try:
            RESERVED.write_text(str(before + count))
        except OSError as error:
            raise Unfit(f"cannot reserve huge pages: {error.strerror}") from None
        added = int(RESERVED.read_text()) - before
        if added < count:
            raise Unfit(f"the kernel does not find {2 * count} MiB of huge pages")
        yield
    finally:
        if added:
            RESERVED.write_text(str(int(RESERVED.read_text()) - added))


class Played:
    """A case's recordings in a folder, and the devices of the two ports. DPDK's net_pcap without `tx_pcap` throws away what
    is sent, as net_null does, so that a port that plays a recording can be the other direction's sink."""

    def __init__(self, case, flows, folder):
        self.case, self.flows, self.folder = case, flows, folder
        self.packets = {direction: list(case.frames(direction, flows)) for direction in case.directions}
        self.paths = {direction: folder / f"{direction}.pcap" for direction in case.directions}
        for direction, packets in self.packets.items():
            write_pcap(self.paths[direction], packets)
        # net_pcap loads what it plays again and again into mbufs; the rest is for queues, caches and the way through.
        self.mbufs = sum(map(len, self.packets.values())) + 65535

    def uplink(self, recorded=None, again=True):
        return self._device(0, self.paths.get("decap"), recorded, again)

    def guest(self, recorded=None, again=True):
        return self._device(1, self.paths.get("encap"), recorded, again)

    @staticmethod
    def _device(index, plays, recorded, again):
        """`recorded`: where to write what is sent, instead of throwing it away; `again`: plays it for ever."""
        if not plays and not recorded:
            return f"net_null{index},no-rx=1"
        settings = [f"net_pcap{index}"]
        settings += [f"rx_pcap={plays}"] if plays else []
        settings += ["infinite_rx=1"] if plays and again else []
        settings += [f"tx_pcap={recorded}"] if recorded else []
        return ",".join(settings)
