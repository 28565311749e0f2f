# SPDX-License-Identifier: MIT
"""The files in configs/: all are right, and those that need no hardware do what their comments say."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess

import pytest

import goal
from frames import assert_encapsulated, read_pcap, udp, write_pcap
from kernel import quiet
from plan import A, B, Subnet, host_mac
from program import DEADLINE, ROOT, call, eal, environment, eventually
from test_queues import two_cores

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


@contextlib.contextmanager
def running(alkaid, space, folder, text):
    """A switch of this configuration in a namespace, which serves operators by `folder`/alkaid.sock."""
    (folder / "host.conf").write_text(text)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(space.command(alkaid, "run", folder / "host.conf"), stdout=log, stderr=log, env=environment(folder))
    try:
        eventually("it serves operators or has ended", lambda: (folder / "alkaid.sock").exists() or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def two_hosts(alkaid, networks, tmp_path):
    """host-a.conf and host-b.conf, each in a namespace, as their comments tell to set them up."""
    spaces = {name: networks.namespace(f"host-{name}") for name in "ab"}
    a, b = spaces["a"], spaces["b"]
    a.ip(f"link add up-a mtu 1600 address {host_mac(A)} type veth peer name up-b netns {b.name} mtu 1600 address {host_mac(B)}")
    with contextlib.ExitStack() as all:
        for name, space in spaces.items():
            with space.inside():
                quiet(f"up-{name}")
            space.ip(f"link set up-{name} up")
            folder = tmp_path / name
            folder.mkdir()
            text = (ROOT / "configs" / f"host-{name}.conf").read_text()
            all.enter_context(running(alkaid, space, folder, instead(text, {f"/run/alkaid-{name}.sock": f"{folder}/alkaid.sock"})))
        yield spaces


def instead(text: str, others: dict[str, str]) -> str:
    """A configuration with other things than those in it."""
    for old, new in others.items():
        assert old in text
        text = text.replace(old, new)
    return text


def test_a_host_is_reached_by_the_nic_that_is_the_switchs(alkaid, networks, tmp_path):
    """host-nic.conf on other hardware: a veth device, cores 0 and 1, no huge pages."""
    two_cores()
    host, outside = networks.namespace("host"), networks.namespace("out")
    outside.ip(f"link add u mtu 1600 type veth peer name nic netns {host.name} mtu 1600 address 3c:fd:fe:00:00:01")
    for space, device in ((host, "nic"), (outside, "u")):
        with space.inside():
            quiet(device)
        space.ip(f"link set {device} up")
    outside.ip("address add 192.0.2.254/24 dev u")
    other = {
        "eal -l 1 --socket-mem 1024,0 --file-prefix alkaid": eal(f"alkaid-nic-{os.getpid()}", memory=512) + f"\nset control socket {tmp_path}/alkaid.sock",
        "port attach 0000:3b:00.0": "port attach net_af_packet0,iface=nic,qpairs=2",
        "set corelist 2,3": "set corelist 0,1",
        "=/run/alkaid/": f"={tmp_path}/",
        "/var/lib/alkaid/": f"{tmp_path}/",
    }
    goals = tmp_path / "goal.json"
    goals.write_text(goal.to_json(goal.v1(goal.vpc(NET), goal.subnet(NET))))
    with running(alkaid, host, tmp_path, instead((ROOT / "configs" / "host-nic.conf").read_text(), other)):
        host.ip("address add 192.0.2.1/24 dev underlay0")
        host.ip("link set underlay0 up")
        eventually("the host answers", lambda: outside.ping("192.0.2.1"))
        pushed = call(*outside.command(alkaid, "push", "--to", "192.0.2.1:50001", goals))
        assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert "the host port has the MAC" not in (tmp_path / "log").read_text()


def test_the_two_hosts_carry_their_guests_packets(alkaid, two_hosts, tmp_path):
    guests = GUESTS
    for name, other in (("a", "b"), ("b", "a")):
        space, here, there = two_hosts[name], guests[name], guests[other]
        port = goal.port(here)
        port.configuration.id = f"guest-{name}"
        states = [goal.vpc(NET), goal.subnet(NET), port, goal.neighbor(there, host_mac_named=False)]
        file = tmp_path / f"goal-{name}.json"
        file.write_text(goal.to_json(goal.v1(*states)))
        command = space.command(alkaid, "push", file)
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
