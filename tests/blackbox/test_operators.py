# SPDX-License-Identifier: MIT
"""The operator's side: configuration files, commands on a running switch, its beginning and its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess

import pytest

import goal
from frames import udp, vxlan
from plan import A, B, PCAP_UPLINK_MAC, Subnet, host_ip
from program import DEADLINE, Port, call, eal, environment, eventually, parse, pcap_ports
from switch import Switch, free_port

NET = Subnet(5)
HERE, THERE = NET.guest(A), NET.guest(B)
STATES = [goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.neighbor(THERE)]

OK, FAILED, USAGE = 0, 1, 2
"""Exit statuses, as `alkaid --help` has them."""

SHOWN = [
    "ports",
    "stats",
    "port info all",
    "port info 0",
    "port stats all",
    "port stats 1",
    "vpcs",
    "subnets",
    "neighbors",
    "routes",
    "drops",
    "pending",
    "subscriptions",
    "memory",
    "workers",
    "health",
]


@pytest.fixture
def switch(switches, tmp_path):
    frames = [udp(HERE, THERE)] * 3 + [udp(HERE, NET.guest(B, 9))]
    return switches(pcap_ports(tmp_path / "switch0", [Port(), Port(HERE.id, frames)]))


# --- configuration files


def located(text: str, name: str) -> list[tuple[int, int]]:
    """Places in file `name` that an error report points at: line and column."""
    return [(int(line), int(column)) for line, column in re.findall(rf"{re.escape(name)}:(\d+):(\d+)", text)]


WRONG = [
    ("port atach net_null0", (1, 6), "attach"),
    ("frobnicate", (1, 1), ""),
    ("set burst 65", (1, 11), "1 to 64"),
    ("set burst", (1, 5), "1 to 64"),
    ("set vtep 192.0.2.1/33 port 0", (1, 10), ""),
    ("set underlay neighbor 192.0.2.2 02:00:zz:00:02:02", (1, 33), "MAC"),
    ("port attach net_null0 net_null1", (1, 23), ""),
    ('set control socket "unclosed', (1, 20), ""),
    ("\n\n   set mbufs many", (3, 14), "number"),
    ("port config 3 rxq 1", (1, 1), "port 3"),
    ("port attach net_null0\nport attach net_null0", (2, 1), "twice"),
    ("port attach net_null0\nset vtep 192.0.2.0/24 port 0", (2, 1), "192.0.2.0"),
    ("show ports", (1, 1), "running"),
]


@pytest.mark.parametrize("text, place, word", WRONG, ids=[text.strip().replace("\n", " / ") for text, _, _ in WRONG])
def test_a_wrong_line_is_refused_with_its_place(alkaid, tmp_path, text, place, word):
    file = tmp_path / "wrong.conf"
    file.write_text(text + "\n")
    goal_state = tmp_path / "goal.json"
    goal_state.write_text(goal.to_json(goal.v1(*STATES)))
    for command in (["run", file], ["check", file], ["replay", "--config", file, "--goal-state", goal_state]):
        done = call(alkaid, *command, cwd=tmp_path)
        assert done.returncode == USAGE, (command, done.stderr)
        assert done.stdout == ""
        assert place in located(done.stderr, "wrong.conf"), done.stderr
        assert word in done.stderr


def test_all_wrong_lines_are_reported_at_once_and_the_nearest_word_is_named(alkaid, tmp_path):
    file = tmp_path / "wrong.conf"
    file.write_text("port atach net_null0\nset brust 32\nset vtep nowhere port 0\n")
    done = call(alkaid, "run", "wrong.conf", cwd=tmp_path)
    assert done.returncode == USAGE
    assert [line for line, _ in located(done.stderr, "wrong.conf")] == [1, 2, 3]
    assert "attach" in done.stderr and "burst" in done.stderr


def test_a_wrong_line_of_a_loaded_file_is_placed_in_that_file(alkaid, tmp_path):
    (tmp_path / "inner.conf").write_text("# fine\nport bind x y\n")
    (tmp_path / "outer.conf").write_text("port attach net_null0\nload inner.conf\n")
    done = call(alkaid, "check", "outer.conf", cwd=tmp_path)
    assert done.returncode == USAGE and located(done.stderr, "inner.conf") == [(2, 11)], done.stderr


def test_a_file_that_is_not_there_is_refused(alkaid, tmp_path):
    for command in (["run", "none.conf"], ["check", "none.conf"], ["replay", "--config", "none.conf", "--goal-state", "none.json"]):
        done = call(alkaid, *command, cwd=tmp_path)
        assert done.returncode == USAGE and "none.conf" in done.stderr


def test_a_device_that_is_not_there_ends_the_switch_with_its_name(alkaid, tmp_path):
    file = tmp_path / "switch.conf"
    device = f"net_pcap0,rx_pcap={tmp_path}/none.pcap,tx_pcap={tmp_path}/out.pcap"
    file.write_text(f"{eal(f'alkaid-test-{os.getpid()}-none')}\nport attach {device}\nset vtep 192.0.2.1/24 port 0\nset southbound listen 127.0.0.1:{free_port()}\n")
    done = call(alkaid, "run", file, env=environment(tmp_path))
    assert done.returncode == FAILED and "net_pcap0" in done.stderr, done.stderr


def test_the_check_of_a_good_file_starts_nothing(alkaid, tmp_path):
    lines = pcap_ports(tmp_path / "files", [Port(), Port(HERE.id)])
    (tmp_path / "good.conf").write_text("\n".join(lines) + "\n")
    done = call(alkaid, "check", tmp_path / "good.conf")
    assert done.returncode == OK and "2 ports" in done.stdout
    assert not (tmp_path / "files" / "tx0.pcap").exists()


def test_the_doctor_says_what_is_wrong_with_this_machine(alkaid, tmp_path):
    file = tmp_path / "switch.conf"
    file.write_text("port attach net_af_packet0,iface=nowhere\nset vtep 192.0.2.1/24 port 0\n")
    done = call(alkaid, "doctor", file)
    assert done.returncode == FAILED and f"for {file}" in done.stdout
    assert re.search(r"^wrong +port 0: there is no interface nowhere\n +-> ip link show$", done.stdout, re.M), done.stdout
    done = call(alkaid, "doctor", "--json", file)
    rows = {row["about"]: row for row in json.loads(done.stdout)}
    assert done.returncode == FAILED and {"kernel", "dpdk"} <= set(rows)
    assert rows["kernel"] == {"about": "kernel", "verdict": "ok", "found": os.uname().release, "mend": None}
    assert rows["port 0"] == {"about": "port 0", "verdict": "wrong", "found": "there is no interface nowhere", "mend": "ip link show"}
    file.write_text("port attach\n")
    assert call(alkaid, "doctor", file).returncode == USAGE


# --- replay


def replay(alkaid, tmp_path, goal_state: str, ports=None, options=(), before=lambda: None):
    lines = pcap_ports(tmp_path / "files", ports or [Port(), Port(HERE.id, [udp(HERE, THERE)])])
    (tmp_path / "switch.conf").write_text("\n".join(lines) + "\n")
    (tmp_path / "goal.json").write_text(goal_state)
    before()
    command = ["replay", "--config", tmp_path / "switch.conf", "--goal-state", tmp_path / "goal.json"]
    return call(alkaid, *command, *options, env=environment(tmp_path))


def test_a_replay_with_a_refused_resource_forwards_the_rest_and_says_so(alkaid, tmp_path):
    wrong = goal.vpc(Subnet(9))
    wrong.configuration.tunnel_id = 1 << 24
    done = replay(alkaid, tmp_path, goal.to_json(goal.v1(*STATES, wrong)), options=["--json"])
    assert done.returncode == FAILED
    assert "vpc-9" in done.stderr and "INVALID_ARG" in done.stderr
    assert parse(done.stdout)["ports"][0]["tx_packets"] == 1


def test_a_replay_prints_a_table_for_people(alkaid, tmp_path):
    ports = [Port(), Port(HERE.id, [udp(HERE, THERE), udp(HERE, NET.guest(B, 9))])]
    done = replay(alkaid, tmp_path, goal.to_json(goal.v2(*STATES)), ports)
    assert done.returncode == OK
    assert "rx_packets" in done.stdout and "unknown_mac" in done.stdout


@pytest.mark.parametrize("text", ["", "{", "[]", '{"portStates": 7}', '{"noSuchField": []}', "\0" * 10])
def test_a_file_that_is_no_goal_state_is_refused(alkaid, tmp_path, text):
    done = replay(alkaid, tmp_path, text)
    assert done.returncode != OK and "goal.json" in done.stderr, done.stderr
    done = call(alkaid, "push", tmp_path / "goal.json", "--to", f"127.0.0.1:{free_port()}")
    assert done.returncode == USAGE and "goal.json" in done.stderr, done.stderr


def test_a_recording_that_is_none_is_refused(alkaid, tmp_path):
    def spoil():
        (tmp_path / "files" / "rx1.pcap").write_text("no pcap at all, but some text instead")

    done = replay(alkaid, tmp_path, goal.to_json(goal.v1(*STATES)), before=spoil)
    assert done.returncode != OK and "rx1.pcap" in done.stderr


# --- a running switch


def test_everything_there_is_to_see_is_shown_while_packets_flow(switch):
    switch.accept(*STATES)
    switch.execute("start")
    switch.settled(port1=4)
    for what in SHOWN:
        rows = switch.show(what)
        assert isinstance(rows, list) and all(isinstance(row, dict) for row in rows), what
        for client in (switch.client("show", *what.split()), switch.client("exec", f"show {what}"), switch.client("exec", "show", *what.split())):
            assert client.returncode == OK and client.stderr == "", what
            if rows:
                columns = client.stdout.splitlines()[0] + client.stdout
                assert all(column in columns for column in rows[0]), what
    by_port = {row["port"]: row for row in switch.show("ports")}
    assert (by_port[0]["role"], by_port[0]["mac"]) == ("uplink", PCAP_UPLINK_MAC)
    assert (by_port[1]["role"], by_port[1]["mac"], by_port[1]["id"], by_port[1]["state"]) == ("tenant", HERE.mac, HERE.id, "ready")
    assert switch.show("workers")[0]["rx_packets"] == 4
    config = switch.execute("show config")
    assert f"port bind 1 {HERE.id}" in config and f"set vtep {host_ip(A)}/24 port 0" in config


def test_what_show_config_prints_starts_the_same_switch(alkaid, switch, tmp_path):
    copy = tmp_path / "copy.conf"
    copy.write_text(switch.execute("show config"))
    done = call(alkaid, "check", copy)
    assert done.returncode == OK, done.stderr


def test_wrong_commands_are_refused_and_change_nothing(switch):
    before = switch.execute("show config")
    for command, word in (("show prots", "ports"), ("set burst 7", ""), ("port attach", ""), ("port bind 0 x", ""), ("port bind 9 x", ""), ("port config 0 anti-spoofing on", "no tenant port"), ("port config 9 anti-spoofing on", "9"), ("start now", "")):
        done = switch.client("exec", command)
        assert done.returncode in (FAILED, USAGE) and done.stdout == "" and done.stderr, command
        assert word in done.stderr
    assert switch.execute("show config") == before


def test_a_device_that_is_several_ports_is_refused_and_leaves_none(switch):
    before = switch.show("ports")
    refused = switch.client("exec", "port attach net_ring_two,nodeaction=two_a:0:CREATE,nodeaction=two_b:0:CREATE")
    assert refused.returncode != OK and "made 2 ports" in refused.stderr
    assert switch.show("ports") == before
    switch.execute("port attach net_ring_one,nodeaction=one:0:CREATE")


def test_commands_may_come_through_a_pipe(switch):
    script = "# what an operator's script does\nshow ports\n\nstart\nshow port stats all\nstop\n"
    done = switch.client("console", input=script)
    assert done.returncode == OK, done.stderr
    assert "uplink" in done.stdout and "rx_packets" in done.stdout
    done = switch.client("console", input="show ports\nshow prots\nshow workers\n")
    assert done.returncode == USAGE, "the worst counts"
    assert "uplink" in done.stdout and "idle_polls" in done.stdout, "and the rest is executed"
    assert "standard input:2:6" in done.stderr, done.stderr
    done = switch.client("console", input="show ports\nquit\nshow workers\n")
    assert done.returncode == OK and "idle_polls" not in done.stdout
    switch.assert_alive()


def test_commands_of_a_file_are_executed_together(switch, tmp_path):
    file = tmp_path / "commands"
    file.write_text("port unbind 1\nport bind 1 other\n")
    switch.execute(f"load {file}")
    assert switch.show("ports")[1]["id"] == "other"
    file.write_text("port unbind 1\nport bnid 1 third\n")
    done = switch.client("exec", f"load {file}")
    assert done.returncode == USAGE and located(done.stderr, "commands") == [(2, 6)]
    assert switch.show("ports")[1]["id"] == "other", "nothing of a wrong file is executed"


def test_help_needs_no_switch(alkaid, tmp_path):
    nobody = tmp_path / "nobody.sock"
    done = call(alkaid, "exec", "help", "--socket", nobody)
    assert done.returncode == OK and "port attach" in done.stdout
    assert call(alkaid, "--help").returncode == OK
    assert call(alkaid, "frobnicate").returncode == USAGE
    done = call(alkaid, "exec", "show ports", "--socket", nobody)
    assert done.returncode == USAGE and str(nobody) in done.stderr


def test_the_exit_status_of_push_says_whether_all_succeeded(alkaid, switch, tmp_path):
    file = tmp_path / "goal.json"

    def push(message, *options, to=switch.address):
        file.write_text(message if isinstance(message, str) else goal.to_json(message))
        return call(alkaid, "push", file, "--to", to, *options)

    for message in (goal.v1(*STATES), goal.v2(*STATES)):
        done = push(message)
        assert done.returncode == OK, done.stderr
        assert done.stdout.count("SUCCESS") >= len(STATES) and HERE.id in done.stdout
    rows = parse(push(goal.v2(*STATES), "--json").stdout)
    assert {row["id"] for row in rows} == {state.configuration.id for state in STATES}
    assert {row["status"] for row in rows} == {"SUCCESS"}
    assert push(goal.v1(*STATES), "--rpc", "v1").returncode == OK
    waits = push(goal.v1(goal.port(Subnet(77).guest(A))))
    assert waits.returncode == FAILED and "PENDING" in waits.stdout
    wrong = goal.vpc(Subnet(9), tunnel_id=1 << 24)
    assert push(goal.v2(*STATES, wrong)).returncode == FAILED
    assert push(goal.v1(*STATES), to=f"127.0.0.1:{free_port()}").returncode == USAGE
    assert push(goal.v1(*STATES), to="nowhere").returncode == USAGE
    assert push("{}x").returncode == USAGE
    piped = call(alkaid, "push", "-", "--to", switch.address, input=goal.to_json(goal.v1(*STATES)))
    assert piped.returncode == OK


def test_binding_on_a_running_switch(switch):
    switch.accept(goal.vpc(NET), goal.subnet(NET), goal.port(HERE))
    switch.execute("port unbind 1")
    assert switch.show("ports")[1]["state"] == "unbound"
    assert [row["id"] for row in switch.show("pending")] == [HERE.id]
    switch.execute(f"port bind 1 {HERE.id}")
    assert switch.show("pending") == []


def test_anti_spoofing_is_each_ports_own_before_and_after_it_is_bound(switches, tmp_path):
    switch = switches(pcap_ports(tmp_path / "switch0", [Port(), Port(HERE.id), Port()]))
    switch.accept(goal.vpc(NET), goal.subnet(NET), goal.port(HERE))

    def shown():
        return [row["anti_spoofing"] for row in switch.show("ports")]

    assert shown() == [None, "off", "off"]
    switch.execute("port config 2 anti-spoofing on")
    switch.execute("port unbind 1")
    switch.execute(f"port bind 2 {HERE.id}")
    assert shown() == [None, "off", "on"]
    switch.execute("port config all anti-spoofing on")
    assert shown() == [None, "on", "on"]
    config = switch.execute("show config")
    assert "port config 1 anti-spoofing on" in config and "port config 0 anti-spoofing" not in config
    switch.execute("port config all anti-spoofing default")
    assert shown() == [None, "off", "off"]
    assert "anti-spoofing" not in switch.execute("show config")


# --- the end


def folder_is_tidy(switch: Switch) -> bool:
    names = {path.name for path in switch.folder.iterdir()}
    # DPDK's own folder stays behind, empty: the name is the one that the configuration gave it.
    return all(re.fullmatch(r"(rx|tx)\d\.pcap|log|switch\.conf|dpdk", name) for name in names)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_the_switch_well(switch, number):
    switch.execute("start")
    switch.settled(port1=4)
    assert switch.socket.is_socket()
    switch.process.send_signal(number)
    assert switch.wait() == OK, switch.log.read_text()
    assert not switch.socket.exists() and folder_is_tidy(switch)


def test_quit_ends_the_switch(switch):
    switch.execute("quit")
    assert switch.wait() == OK
    assert not switch.socket.exists() and folder_is_tidy(switch)


def test_a_hangup_ends_no_switch_that_serves(alkaid, tmp_path):
    for count in range(5):
        folder = tmp_path / str(count)
        switch = Switch(alkaid, folder, pcap_ports(folder, [Port()]))
        try:
            switch.spawn()
            eventually("the switch serves operators", lambda: switch.assert_alive() or switch.socket.exists())
            switch.process.send_signal(signal.SIGHUP)
            switch.execute("show workers")
            switch.assert_alive()
        finally:
            switch.end()


def test_a_signal_while_it_starts_ends_it_too(alkaid, tmp_path):
    switch = Switch(alkaid, tmp_path / "early", pcap_ports(tmp_path / "early", [Port(), Port(HERE.id)]))
    try:
        switch.spawn()
        eventually("it runs", lambda: switch.log.exists())
        switch.process.terminate()
        switch.wait()
        assert not switch.socket.exists()
    finally:
        switch.end()


def test_a_second_switch_on_the_same_socket_is_refused(alkaid, switch, tmp_path):
    second = Switch(alkaid, tmp_path / "second", pcap_ports(tmp_path / "second", [Port(), Port(HERE.id)]))
    second.config.write_text(second.config.read_text().replace(str(second.socket), str(switch.socket)))
    try:
        second.spawn()
        assert second.wait() == FAILED
        log = second.log.read_text()
        assert str(switch.socket) in log and "another switch" in log, log
    finally:
        second.end()
    assert switch.show("ports"), "the first one is none the worse"
    switch.terminate()


def test_a_second_switch_on_the_same_southbound_address_is_refused(alkaid, switch, tmp_path):
    second = Switch(alkaid, tmp_path / "second", pcap_ports(tmp_path / "second", [Port(), Port(HERE.id)]), southbound=switch.southbound)
    try:
        second.spawn()
        assert second.wait() == FAILED
        assert switch.address in second.log.read_text(), second.log.read_text()
        assert not second.socket.exists()
    finally:
        second.end()
    switch.accept(*STATES)
    switch.terminate()


def test_the_southbound_address_may_be_one_that_the_host_gets_later(alkaid, networks, tmp_path):
    """Such as that of the host port, a device of the switch itself."""
    host = networks.namespace("h")
    switch = Switch(alkaid, tmp_path / "switch", ["port attach net_null0,no-rx=1", "set vtep 192.0.2.1/24 port 0"])
    later = f"192.0.2.77:{switch.southbound}"
    switch.config.write_text(switch.config.read_text().replace(switch.address, later))
    switch.command = host.command(*switch.command)
    (tmp_path / "goal.json").write_text(goal.to_json(goal.v1(*STATES[:2])))
    push = host.command(alkaid, "push", "--to", later, tmp_path / "goal.json")
    try:
        switch.spawn()
        eventually("the switch serves operators", switch.serves_operators)
        assert "no interface has the address 192.0.2.77 yet" in switch.log.read_text()
        assert call(*push).returncode != OK
        missing = lambda: next(row["reason"] for row in switch.show("health") if row["check"] == "southbound")
        assert "192.0.2.77" in missing()
        host.ip("address add 192.0.2.77/32 dev lo")
        assert missing() == ""
        done = call(*push)
        assert done.returncode == OK, done.stderr
    finally:
        switch.end()


def test_a_switch_that_was_killed_is_no_obstacle_to_the_next(switches, switch, tmp_path):
    switch.process.kill()
    switch.process.wait()
    assert switch.socket.exists()
    again = Switch(switch.alkaid, switch.folder, pcap_ports(switch.folder, [Port(), Port(HERE.id)]), southbound=switch.southbound)
    try:
        again.start()
        again.accept(*STATES)
        again.terminate()
        assert not again.socket.exists()
    finally:
        again.end()


def test_what_was_forwarded_is_in_the_files_when_the_switch_has_ended(switches, tmp_path):
    inner = udp(THERE, HERE)
    ports = [Port(frames=[vxlan(inner, 5, src=B)] * 100), Port(HERE.id)]
    switch = switches(pcap_ports(tmp_path / "switch0", ports))
    switch.accept(*STATES)
    switch.execute("start")
    switch.settled(port0=100)
    switch.terminate()
    assert switch.sent(1) == [inner] * 100


def test_the_socket_is_its_owners_alone(switch):
    assert switch.socket.stat().st_mode & 0o777 == 0o600


def test_a_reader_that_leaves_early_is_no_error(alkaid, switch):
    """`alkaid show ... | head`."""
    show = subprocess.Popen([alkaid, "show", "ports", "--socket", switch.socket], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    show.stdout.close()
    assert show.wait(DEADLINE) == OK and show.stderr.read() == b""
    show.stderr.close()
