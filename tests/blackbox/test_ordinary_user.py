# SPDX-License-Identifier: MIT
"""`alkaid replay` as anybody: no root, no huge pages, no devices."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import goal
from frames import assert_encapsulated, assert_frames, read_pcap, udp, vxlan
from plan import A, B, Subnet
from program import DEADLINE, Port, parse, pcap_ports

NET = Subnet(5)
HERE, THERE = NET.guest(A), NET.guest(B)
STATES = [goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.neighbor(THERE)]


@pytest.fixture
def nobody():
    """Who nobody is; skips where one cannot become it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else; without root the other tests show the same")
    if shutil.which("setpriv") is None:
        pytest.skip("needs `setpriv`")
    return pwd.getpwnam("nobody")


@pytest.fixture
def home(nobody):
    """A folder of nobody's. Not in tmp_path, whose parents are root's alone."""
    with tempfile.TemporaryDirectory(prefix="alkaid-nobody-") as folder:
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        yield Path(folder)


OUT, CAME = [udp(HERE, THERE, sport=n) for n in range(50)], [udp(THERE, HERE, sport=n) for n in range(60)]


def replay_as_nobody(alkaid, nobody, home):
    """With an empty environment and no capabilities, in a folder of its own."""
    program = shutil.copy(alkaid, home / "alkaid")
    ports = [Port(frames=[vxlan(frame, 5, src=B) for frame in CAME]), Port(HERE.id, OUT)]
    (home / "switch.conf").write_text("\n".join(pcap_ports(home / "files", ports)) + "\n")
    (home / "goal.json").write_text(goal.to_json(goal.v1(*STATES)))
    for path in [home, *home.rglob("*")]:
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    become = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    command = [program, "replay", "--config", "switch.conf", "--goal-state", "goal.json", "--json"]
    done = subprocess.run([*become, *command], cwd=home, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=2 * DEADLINE)
    assert done.returncode == 0, done.stderr
    return done


def test_a_replay_needs_no_privileges(alkaid, nobody, home, left_behind):
    done = replay_as_nobody(alkaid, nobody, home)
    assert [row["forwarded"] for row in parse(done.stdout)["ports"]] == [60, 50]
    assert_encapsulated(read_pcap(home / "files" / "tx0.pcap"), [(frame, 5, B) for frame in OUT])
    assert_frames(read_pcap(home / "files" / "tx1.pcap"), CAME)


def test_a_replay_leaves_nothing_behind(alkaid, nobody, home, left_behind):
    replay_as_nobody(alkaid, nobody, home)
    assert {path.name for path in home.iterdir()} == {"alkaid", "files", "goal.json", "switch.conf"}
    assert left_behind() == set()


@pytest.fixture
def left_behind(nobody):
    """What nobody has, where programs usually leave something, that it had not before. Removed in the end."""
    places = [Path(place) for place in ("/tmp", "/var/tmp", "/dev/shm", "/run", "/tmp/dpdk", "/dev/hugepages")]

    # DPDK's folder for all its programs may stay; what is in it is a program's own.
    shared = Path("/tmp/dpdk")

    def theirs() -> set[Path]:
        found = {path for place in places if place.is_dir() for path in place.iterdir() if path.lstat().st_uid == nobody.pw_uid}
        return {path for path in found if not path.name.startswith("alkaid-nobody-")}

    before = theirs()
    yield lambda: theirs() - before - {shared}
    for path in theirs() - before:
        shutil.rmtree(path, ignore_errors=True)
