# SPDX-License-Identifier: MIT
"""Virtual machines: QEMU's, without KVM, with Debian's kernel for clouds and an initial file system that is made here of this
machine's programs. Their network device is vhost-user's, plugged into a switch as configs/host-nic.conf says."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from plan import Guest
from program import DEADLINE, ROOT

KERNEL = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "guest-kernel"
"""Where scripts/setup unpacks Debian's package of it."""
PROGRAMS = "busybox", "iperf3"
MODULES = "virtio_pci", "virtio_net"
BOOT = 120.0
"""Seconds to boot, and to do what it is told: all is emulated, on a machine that may have other work."""

UNDER_LOAD = "no_timer_check mitigations=off"
"""Emulated timers may come so late that the kernel takes them for broken, and gives up."""

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules); do insmod "/$module.ko"; done
ip link set lo up
ip link set eth0 up
stty -F /dev/ttyS1 raw -echo
exec < /dev/ttyS1 > /dev/ttyS1 2>&1
echo "=0="
while read -r line; do
    eval "$line"
    echo "=$?="
done
"""
BOUND = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
ip link set "$interface" mtu "$mtu"
ip route add default via "$router"
"""


def in_order(modules: dict[str, Path], names) -> list[str]:
    """These modules and all that they need, what is needed first. Those that are not there are parts of the kernel."""
    order = []
    for name in names:
        if name in modules:
            needed = re.search(rb"\0depends=([^\0]*)\0", modules[name].read_bytes())[1].decode()
            order += in_order(modules, filter(None, needed.split(","))) + [name]
    return list(dict.fromkeys(order))


def initial_files(folder: Path) -> Path:
    """The machines' only file system."""
    modules = {path.stem: path for path in KERNEL.glob("lib/modules/*/kernel/**/*.ko")}
    if not modules or not shutil.which("qemu-system-x86_64"):
        pytest.skip("needs QEMU and a kernel for its guests: scripts/setup interop")
    root = folder / "root"
    for name in ("bin", "proc", "sys", "dev", "tmp"):
        (root / name).mkdir(parents=True)
    order = in_order(modules, MODULES)
    for name in order:
        shutil.copy(modules[name], root / f"{name}.ko")
    for name in PROGRAMS:
        program = shutil.which(name)
        if program is None:
            pytest.skip(f"needs `{name}`")
        shutil.copy(program, root / "bin" / name)
        needed = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+)", needed):
            (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, root / library[1:])
    for name, text in (("init", INIT), ("bound.sh", BOUND), ("modules", "\n".join(order))):
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    names = "\n".join(str(path.relative_to(root)) for path in root.rglob("*"))
    packed = folder / "initrd"
    with packed.open("wb") as file:
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=names.encode(), stdout=file, stderr=subprocess.DEVNULL, check=True)
    return packed


class VirtualMachine:
    """One that boots, as soon as a switch has connected to `plug`."""

    def __init__(self, folder: Path, files: Path, machine: Guest):
        folder.mkdir()
        self.folder, self.plug = folder, folder / "plug.sock"
        (image,) = KERNEL.glob("boot/vmlinuz-*")
        self.process = subprocess.Popen(
            [
                *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
                *("-machine", "q35", "-accel", "tcg", "-smp", "1", "-m", "256"),
                *("-object", "memory-backend-memfd,id=mem,size=256M,share=on", "-numa", "node,memdev=mem"),
                *("-kernel", image, "-initrd", files, "-append", f"console=ttyS0 quiet panic=-1 {UNDER_LOAD}"),
                *("-serial", f"file:{folder}/console", "-serial", f"unix:{folder}/shell.sock,server=on,wait=off"),
                *("-chardev", f"socket,id=net0,path={self.plug},server=on", "-netdev", "type=vhost-user,id=net0,chardev=net0"),
                # Without MSI-X: with it and without KVM, QEMU 7.2 ends by a segmentation fault when the guest finds the device.
                *("-device", f"virtio-net-pci,netdev=net0,mac={machine.mac},romfile=,vectors=0"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=(folder / "qemu.log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        self.shell: socket.socket | None = None

    def booted(self) -> None:
        """Waits until it takes commands."""
        end = time.monotonic() + BOOT
        while True:
            shell = socket.socket(socket.AF_UNIX)
            try:
                shell.connect(str(self.folder / "shell.sock"))
                break
            except OSError:
                shell.close()
                assert self.process.poll() is None and time.monotonic() < end, self.said()
                time.sleep(0.05)
        self.shell = shell
        # What it said before somebody listened is lost, so it is asked.
        while self.execute("echo awake", 1.0)[1] != "awake\n":
            assert self.process.poll() is None and time.monotonic() < end, self.said()

    def execute(self, command: str, seconds: float = BOOT) -> tuple[int | None, str]:
        """What a command of its shell ends with, and says; no status if that takes longer."""
        self.shell.settimeout(seconds)
        said = ""
        try:
            self.shell.sendall(command.encode() + b"\n")
            while not (done := re.search(r"=(\d+)=\r?\n$", said)):
                said += self.shell.recv(1 << 16).decode(errors="replace")
        except TimeoutError:
            return None, said
        except ConnectionError:
            pytest.fail(f"the machine ended with {self.process.wait(DEADLINE)}:\n{said}{self.said()}")
        return int(done[1]), said[: done.start()]

    def run(self, command: str) -> str:
        status, said = self.execute(command)
        assert status == 0, f"{command}: {status}\n{said}{self.said()}"
        return said

    def said(self) -> str:
        """By QEMU and its kernel."""
        return "".join(path.read_text(errors="replace")[-3000:] for path in (self.folder / "qemu.log", self.folder / "console") if path.exists())

    def end(self) -> None:
        if self.shell is not None:
            self.shell.close()
        self.process.kill()
        self.process.wait(DEADLINE)
