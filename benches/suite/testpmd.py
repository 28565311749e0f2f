# SPDX-License-Identifier: MIT
"""The yardsticks that DPDK brings: testpmd's forwarding modes, on the same recordings."""

import os
import re
import subprocess
import sys
import time

from . import settings

# io forwards, 5tswap swaps MACs, addresses and ports, csum rewrites checksums. None looks anything up.
MODES = ("io", "5tswap", "csum")
PROMPT = b"testpmd> "


class Testpmd:
    def __init__(self, mode, played):
        self.played = played
        self.command = [
            settings.TESTPMD, "-l", f"{settings.MAIN_CORE},{settings.WORKER_CORE}", "--in-memory", "--no-pci", "--no-telemetry",
            f"--file-prefix=testpmd-bench-{os.getpid()}", "--log-level=error",
            f"--vdev={played.uplink()}", f"--vdev={played.guest()}", "--",
            "--interactive", f"--forward-mode={mode}", f"--burst={settings.BURST}", f"--total-num-mbufs={played.mbufs}",
            "--record-core-cycles", "--port-topology=paired", "--nb-cores=1"]

    def measure(self):
        """Its own count of the core's cycles per packet received."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
        try:
            out = b""
            while not out.endswith(PROMPT) and (more := os.read(process.stdout.fileno(), 65536)):
                out += more
            process.stdin.write(b"start\n")
            process.stdin.flush()
            time.sleep(settings.SECONDS)
            out = (out + process.communicate(b"stop\nquit\n", timeout=60)[0]).decode()
        finally:
            process.kill()
            process.wait()
        cycles = re.search(r"CPU cycles/packet=([\d.]+)", out)
        # The last lines of the kind are the sum over the ports.
        received, sent = (re.findall(rf"{way}-packets: (\d+)", out) for way in ("RX", "TX"))
        if not cycles:
            sys.exit(f"testpmd says nothing of cycles:\n{out}")
        assert received[-1] == sent[-1], f"testpmd: {received[-1]} received, {sent[-1]} sent"
        return float(cycles[1])
