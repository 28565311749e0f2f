# SPDX-License-Identifier: MIT
"""What Alcor expects of a host besides goal states over gRPC: subscriptions, the agent's command line, its log lines; and
goal states from files."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest

import goal
from alcor.schema import common_pb2, subscribeinfoprovisioner_pb2, subscribeinfoprovisioner_pb2_grpc
from plan import A, B, Subnet
from program import DEADLINE, Port, call, eventually, pcap_ports
from switch import Switch, free_port

NET = Subnet(5)
HERE, THERE, AFTER = NET.guest(A), NET.guest(B), NET.guest(B, 9)
FIRST = [goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.neighbor(THERE)]

SUBSCRIBE, UNSUBSCRIBE = subscribeinfoprovisioner_pb2.Subscribe, subscribeinfoprovisioner_pb2.Unsubscribe

METRICS = [
    *(f"Elapsed time for {what} operation took: (\\d+) microseconds or (\\d+) milliseconds" for what in ("message total", "router", "port", "neighbor", "dhcp")),
    "Goal state message size is: (\\d+) bytes",
]
"""What Alcor's scripts look for after `[METRICS] `."""


def ports(folder: Path) -> list[str]:
    return pcap_ports(folder, [Port(), Port(HERE.id)])


# --- subscriptions


@pytest.fixture
def subscribed(switches, tmp_path):
    """A switch that takes subscriptions, and how to send one."""
    port = free_port()
    switch = switches([*ports(tmp_path / "switch0"), f"set subscribe listen 127.0.0.1:{port}"])
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = subscribeinfoprovisioner_pb2_grpc.SubscribeInfoProvisionerStub(channel)

        def push(operation: int, topic: str, key: str = "") -> str:
            info = subscribeinfoprovisioner_pb2.NodeSubscribeInfo(subscribe_operation=operation, topic=topic, key=key)
            reply = stub.PushNodeSubscribeInfo(info, timeout=DEADLINE)
            return common_pb2.OperationStatus.Name(reply.operationStatus)

        yield switch, push


def subscriptions(switch) -> list[tuple[str, str]]:
    return [(row["topic"], row["key"]) for row in switch.show("subscriptions")]


def test_subscriptions_are_answered_and_shown_until_they_are_taken_back(subscribed):
    switch, push = subscribed
    assert push(SUBSCRIBE, "vpc-1", "host-a") == push(SUBSCRIBE, "vpc-1", "host-a") == push(SUBSCRIBE, "vpc-2") == "SUCCESS"
    assert subscriptions(switch) == [("vpc-1", "host-a"), ("vpc-2", "")]
    row = switch.show("subscriptions")[0]
    assert row["from"].startswith("127.0.0.1:") and row["operation"] == "Subscribe" and 0 <= row["seconds_ago"] < 60
    assert push(UNSUBSCRIBE, "vpc-1", "host-a") == push(UNSUBSCRIBE, "vpc-3") == "SUCCESS"
    assert subscriptions(switch) == [("vpc-2", "")]
    assert "vpc-2" in switch.client("show", "subscriptions").stdout


def test_subscriptions_that_make_no_sense_are_refused_by_status(subscribed):
    switch, push = subscribed
    assert push(SUBSCRIBE, "") == push(SUBSCRIBE, "x" * 1025) == push(SUBSCRIBE, "x", "y" * 1025) == push(7, "x") == "INVALID_ARG"
    assert subscriptions(switch) == []
    assert push(SUBSCRIBE, "x" * 1024, "é" * 512) == "SUCCESS"


def test_nobody_listens_for_subscriptions_unless_told_to(switches, tmp_path):
    switch = switches(ports(tmp_path / "switch0"))
    assert "serving subscriptions" not in switch.log.read_text()
    assert subscriptions(switch) == []


# --- the agent's command line


@pytest.fixture
def agent(alkaid, tmp_path, monkeypatch):
    """A switch that is started as the agent is: by its name, with its flags, and nothing else."""
    switch = Switch(alkaid, tmp_path / "agent", [*ports(tmp_path / "agent"), f"set subscribe listen 127.0.0.1:{free_port()}"])
    link = tmp_path / "AlcorControlAgent"
    link.symlink_to(alkaid)
    switch.command = [link, "-d", "-a", "192.0.2.77", "-p", "9017", "-m", "-b", "pulsar://localhost:6650"]
    monkeypatch.setenv("ALKAID_CONFIG", str(switch.config))
    monkeypatch.delenv("RUST_LOG", raising=False)
    yield switch
    switch.end()


def test_started_in_the_agents_place_it_serves_what_the_agent_serves(agent):
    agent.start()
    agent.accept(*FIRST)
    config = agent.execute("show config").splitlines()
    assert "set ncm 192.0.2.77:9017" in config and "set log debug" in config and "set metrics-log on" in config
    log = agent.log.read_text()
    assert "serving subscriptions on 127.0.0.1:" in log
    assert "h2::" not in log  # a frame a line
    assert log.count("-b has no effect here") == log.count("-m has no effect here") == 1
    agent.terminate()


def test_each_goal_state_writes_the_lines_that_alcors_scripts_parse(agent):
    agent.start()
    agent.accept(*FIRST)
    agent.accept(goal.neighbor(AFTER), rpc="v2")
    agent.terminate()
    log = agent.log.read_text()
    for pattern in METRICS:
        found = re.findall(rf"\[METRICS\] {pattern}$", log, re.MULTILINE)
        assert len(found) == 2, f"{pattern}:\n{log}"
    sizes = [int(size) for size in re.findall(r"message size is: (\d+) bytes", log)]
    assert sizes == [goal.v1(*FIRST).ByteSize(), goal.v2(goal.neighbor(AFTER)).ByteSize()]
    times = {what: [int(us) for us in re.findall(rf"time for {what} operation took: (\d+) micro", log)] for what in ("message total", "port", "neighbor", "router")}
    assert all(0 < part <= total for what in ("port", "neighbor") for part, total in zip(times[what], times["message total"]) if part)
    assert times["port"][0] > 0 and times["port"][1] == 0 and min(times["neighbor"]) > 0 and times["router"] == [0, 0]


def test_without_the_agents_flags_there_are_no_such_lines(switches, tmp_path, monkeypatch):
    monkeypatch.delenv("RUST_LOG", raising=False)
    for number, (lines, there) in enumerate([([], False), (["set metrics-log on", "set log warn"], True)]):
        switch = switches([*ports(tmp_path / f"switch{number}"), *lines])
        switch.accept(*FIRST)
        switch.terminate()
        assert ("[METRICS]" in switch.log.read_text()) == there


def test_flags_beside_a_file_win_over_it(switches, tmp_path):
    lines = ["set ncm 192.0.2.66", f"set subscribe listen 127.0.0.1:{free_port()}"]
    switch = switches([*ports(tmp_path / "switch0"), *lines], arguments=["-a", "192.0.2.67"])
    assert "set ncm 192.0.2.67:9016" in switch.execute("show config").splitlines()


@pytest.mark.parametrize("arguments, word", [(["-p", "9016"], "-a"), (["-a", "ncm"], "IP address"), (["-s", "50002"], "50002"), (["-x"], "-x")])
def test_flags_that_make_no_sense_are_refused(alkaid, tmp_path, arguments, word):
    file = tmp_path / "switch.conf"
    file.write_text("port attach net_null0\nset vtep 192.0.2.1/24 port 0\n")
    done = call(alkaid, "run", file, *arguments)
    assert done.returncode == 2 and word in done.stderr, done.stderr


# --- goal states from files


def put(path: Path, text: str | bytes) -> None:
    """Writes a file elsewhere and moves it in place."""
    hidden = path.with_name("." + path.name)
    hidden.write_bytes(text if isinstance(text, bytes) else text.encode())
    hidden.rename(path)


def neighbors(switch) -> set[str]:
    return {row["address"] for row in switch.show("neighbors")}


def eventually_neighbors(switch, *guests) -> None:
    wanted = {guest.ip for guest in guests}
    eventually(f"{wanted} are there", lambda: switch.assert_alive() or neighbors(switch) == wanted)


def test_a_folder_of_goal_states_is_applied_at_start_and_when_it_changes(switches, tmp_path):
    folder = tmp_path / "goals"
    folder.mkdir()
    (folder / "20.json").write_text(goal.to_json(goal.v1(goal.delete(goal.neighbor(AFTER)), goal.neighbor(THERE))))
    (folder / "10.pb").write_bytes(goal.v2(*FIRST[:3], goal.neighbor(AFTER)).SerializeToString())
    (folder / ".30.json").write_text("not to be read")
    switch = switches([*ports(tmp_path / "switch0"), f"set goal-state watch {folder}"])
    # In the order of names: 20 takes back what 10 said.
    eventually_neighbors(switch, THERE)
    put(folder / "15.pb", goal.v1(goal.neighbor(AFTER)).SerializeToString())
    eventually_neighbors(switch, THERE, AFTER)
    put(folder / "15.pb", goal.v1(goal.delete(goal.neighbor(AFTER))).SerializeToString())
    eventually_neighbors(switch, THERE)
    # What a file said stays when it goes.
    (folder / "20.json").unlink()
    put(folder / "40.json", goal.to_json(goal.v2(goal.neighbor(AFTER))))
    eventually_neighbors(switch, THERE, AFTER)
    assert "not to be read" not in switch.log.read_text()


def test_a_file_that_cannot_be_read_is_logged_and_read_when_it_changes(switches, tmp_path):
    file = tmp_path / "goal.json"
    switch = switches([*ports(tmp_path / "switch0"), f"set goal-state watch {file}"])
    eventually("its absence is logged", lambda: str(file) in switch.log.read_text() and "No such file" in switch.log.read_text())
    whole = goal.to_json(goal.v1(*FIRST))
    with file.open("w") as half:
        half.write(whole[: len(whole) // 2])
        half.flush()
        eventually("half a file is refused", lambda: "it is read again when it changes" in switch.log.read_text())
        assert neighbors(switch) == set()
        half.write(whole[len(whole) // 2 :])
    eventually_neighbors(switch, THERE)
    assert switch.log.read_text().count("it is read again when it changes") == 1


def test_statuses_of_a_file_are_logged_as_those_of_grpc(switches, tmp_path):
    file = tmp_path / "goal.json"
    bad = goal.subnet(NET)
    bad.configuration.cidr = "10.5.0.0/99"
    file.write_text(goal.to_json(goal.v1(bad)))
    switch = switches([*ports(tmp_path / "switch0"), f"set goal-state watch {file}"])
    expected = rf"kind=SUBNET id=.*{NET.id}.* source={re.escape(str(file))} status=INVALID_ARG"
    eventually("the status is logged", lambda: re.search(expected, switch.log.read_text()))
