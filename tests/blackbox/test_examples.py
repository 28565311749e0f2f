# SPDX-License-Identifier: MIT
"""The files in configs/: all are right, and those that need no hardware do what their comments say."""

from __future__ import annotations

import shlex
import socket
import subprocess

import pytest

import goal
from frames import assert_encapsulated, read_pcap, udp, write_pcap
from kernel import quiet
from plan import A, B, Subnet, host_mac
from program import DEADLINE, ROOT, call, environment, eventually

NET = Subnet(5)
GUESTS = {"a": NET.guest(A), "b": NET.guest(B)}


@pytest.mark.parametrize("file", sorted(path.name for path in (ROOT / "configs").glob("*.conf")))
def test_every_example_is_free_of_errors(alkaid, file):
    done = call(alkaid, "check", ROOT / "configs" / file)
    assert done.returncode == 0, done.stderr


def test_the_pcap_lab_replays(alkaid, tmp_path):
    here, there = NET.guest(A), NET.guest(B)
    write_pcap(tmp_path / "underlay.pcap", [])
    write_pcap(tmp_path / "guest.pcap", [udp(here, there)])
    port = goal.port(here)
    port.configuration.id = "lab-port-1"
    states = [goal.vpc(NET), goal.subnet(NET), port, goal.neighbor(there, host_mac_named=False)]
    (tmp_path / "goal.json").write_text(goal.to_json(goal.v1(*states)))
    done = call(alkaid, "replay", "--config", ROOT / "configs" / "pcap-lab.conf", "--goal-state", "goal.json", cwd=tmp_path, env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    assert_encapsulated(read_pcap(tmp_path / "to-underlay.pcap"), [(udp(here, there), 5, B)])


@pytest.fixture
def two_hosts(alkaid, networks, tmp_path):
    """host-a.conf and host-b.conf, each in a namespace, as their comments tell to set them up."""
    spaces = {name: networks.namespace(f"host-{name}") for name in "ab"}
    a, b = spaces["a"], spaces["b"]
    a.ip(f"link add up-a mtu 1600 address {host_mac(A)} type veth peer name up-b netns {b.name} mtu 1600 address {host_mac(B)}")
    running = []
    try:
        for name, space in spaces.items():
            with space.inside():
                quiet(f"up-{name}")
            space.ip(f"link set up-{name} up")
            folder = tmp_path / name
            folder.mkdir()
            text = (ROOT / "configs" / f"host-{name}.conf").read_text()
            assert f"set control socket /run/alkaid-{name}.sock" in text
            (folder / "host.conf").write_text(text.replace("/run/alkaid-", f"{folder}/alkaid-"))
            log = (folder / "log").open("wb")
            command = shlex.split(f"ip netns exec {space.name} {alkaid} run {folder}/host.conf")
            running.append((subprocess.Popen(command, stdout=log, stderr=log, env=environment(folder)), log))
        for name in spaces:
            path = tmp_path / name / f"alkaid-{name}.sock"
            ended = lambda: any(process.poll() is not None for process, _ in running)
            eventually(f"host {name} serves operators or has ended", lambda: path.exists() or ended())
            assert path.exists(), (tmp_path / name / "log").read_text()
        yield spaces
    finally:
        for process, log in running:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()


def test_the_two_hosts_carry_their_guests_packets(alkaid, two_hosts, tmp_path):
    guests = GUESTS
    for name, other in (("a", "b"), ("b", "a")):
        space, here, there = two_hosts[name], guests[name], guests[other]
        port = goal.port(here)
        port.configuration.id = f"guest-{name}"
        states = [goal.vpc(NET), goal.subnet(NET), port, goal.neighbor(there, host_mac_named=False)]
        file = tmp_path / f"goal-{name}.json"
        file.write_text(goal.to_json(goal.v1(*states)))
        command = shlex.split(f"ip netns exec {space.name} {alkaid} push {file}")
        pushed = eventually("the controller is served", lambda: (done := subprocess.run(command, capture_output=True, text=True)).returncode != 2 and done)
        assert pushed.returncode == 0, pushed.stdout + pushed.stderr
        with space.inside():
            quiet(f"guest-{name}")
        space.ip(f"address add {here.ip}/16 dev guest-{name}")
        space.ip(f"link set guest-{name} up")
    sockets = {}
    for name, space in two_hosts.items():
        with space.inside():
            sockets[name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sockets[name].bind((guests[name].ip, 7000))
            sockets[name].settimeout(DEADLINE)
    with sockets["a"] as a, sockets["b"] as b:
        for size in (0, 100, 1472):
            a.sendto(bytes(size), (guests["b"].ip, 7000))
            assert b.recvfrom(2000) == (bytes(size), (guests["a"].ip, 7000))
            b.sendto(bytes(size), (guests["a"].ip, 7000))
            assert a.recvfrom(2000) == (bytes(size), (guests["b"].ip, 7000))
