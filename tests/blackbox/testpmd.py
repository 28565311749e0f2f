# SPDX-License-Identifier: MIT
"""`dpdk-testpmd`, which is what is behind ports of kinds that need another program there."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from program import DEADLINE, environment

_count = itertools.count(1)


class Testpmd:
    """One with two devices, its ports 0 and 1."""

    __test__ = False

    def __init__(self, folder: Path, *devices: str, options: str, memory: int = 128):
        """`devices`, `options`: of DPDK and of the program. `memory`: in MiB."""
        if shutil.which("dpdk-testpmd") is None:
            pytest.skip("needs `dpdk-testpmd`")
        number = next(_count)
        self.folder, self.log = folder, folder / f"testpmd{number}.log"
        cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        # As a program without privileges: what it may share with the switch is one file in memory. On whichever core is free.
        eal = f"--lcores=0@({cores}),1@({cores}) --no-huge -m {memory} --no-pci --no-telemetry --no-shconf --log-level=warning"
        prefix = f"--file-prefix=alkaid-guest-{os.getpid()}-{number}"
        vdevs = [word for device in devices for word in ("--vdev", device)]
        self.command = ["stdbuf", "-oL", "dpdk-testpmd", *eal.split(), prefix, *vdevs, "--", "--total-num-mbufs=8192", *options.split()]
        self.boot()

    def boot(self) -> None:
        """For the first time, or again after its end."""
        with self.log.open("wb") as log:
            pipes = {"stdin": subprocess.PIPE, "stdout": log, "stderr": log}
            self.process = subprocess.Popen(self.command, **pipes, text=True, cwd=self.folder, env=environment(self.folder))

    def assert_alive(self) -> None:
        if self.process.poll() is not None:
            pytest.fail(f"testpmd ended with {self.process.returncode}:\n{self.log.read_text()}")

    def end(self) -> None:
        """As if the guest were shut down."""
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """As if its hypervisor crashed."""
        self.process.kill()
        self.process.wait()
