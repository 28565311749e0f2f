# SPDX-License-Identifier: MIT
"""Is this host equal to the goal, and what would a push change? Hashes are computed here once more, from docs/audit.md."""

from __future__ import annotations

import copy
import hashlib
import json
import random

import pytest
from google.protobuf import json_format

import goal
from alcor.schema import dhcp_pb2, gateway_pb2, goalstate_pb2, securitygroup_pb2
from plan import A, B, C, Subnet

NET, FAR = Subnet(5), Subnet(6, of_vpc="vpc-5")
HERE, UNPLUGGED, THERE, FAR_THERE = NET.guest(A, 1), NET.guest(A, 2), NET.guest(B, 1), FAR.guest(B, 1)
CONFIG = ["set mbufs 1024", "port attach net_null0", "port attach net_null1", f"port bind 1 {HERE.id}", "set vtep 192.0.2.1/24 port 0"]


def security_group():
    state = securitygroup_pb2.SecurityGroupState(operation_type=goal.CREATE)
    state.configuration.id, state.configuration.vpc_id, state.configuration.revision_number = "group", "vpc-5", 1
    for id in ("b", "a"):
        state.configuration.security_group_rules.add(id=id, remote_ip_prefix="10.0.0.0/8", port_range_min=22, port_range_max=23)
    return state


def dhcp():
    state = dhcp_pb2.DHCPState(operation_type=goal.CREATE)
    conf = state.configuration
    conf.id, conf.subnet_id, conf.mac_address, conf.ipv4_address = "made-up", NET.id, HERE.mac, HERE.ip
    return state


def gateway():
    state = gateway_pb2.GatewayState(operation_type=goal.CREATE)
    state.configuration.id, state.configuration.gateway_type = "zeta", gateway_pb2.ZETA
    state.configuration.destinations.add(ip_address="192.0.2.200", mac_address="02:00:c0:00:02:c8")
    return state


def everything() -> list:
    """Two of which are not programmed, besides what no version acts on: the port that is not plugged in, and the neighbor
    that comes later."""
    rules = [("203.0.113.0/24", FAR_THERE.ip, 9), ("198.51.100.0/24", THERE.ip, 9)]
    return [
        goal.vpc(NET), goal.subnet(NET), goal.subnet(FAR), goal.router(NET, FAR, rules=rules), goal.port(HERE), goal.port(UNPLUGGED),
        goal.neighbor(THERE), goal.neighbor(THERE, kind="L3"), goal.neighbor(FAR_THERE, kind="L3"),
        security_group(), dhcp(), gateway(),
    ]  # fmt: skip


def at_revision(state, revision: int):
    state = copy.deepcopy(state)
    state.configuration.revision_number = revision
    return state


def audit(switch) -> dict:
    done = switch.client("show", "goal-state", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows(found: dict) -> dict[tuple[str, str], dict]:
    by_key = {(row["kind"], row["key"]): row for row in found["resources"]}
    assert len(by_key) == len(found["resources"])
    return by_key


def hash_of(kind: str, configuration) -> bytes:
    """As docs/audit.md says, of a configuration whose lists are in order."""
    conf = copy.deepcopy(configuration)
    for field in ("revision_number", "request_id", "update_type"):
        if field in conf.DESCRIPTOR.fields_by_name:
            conf.ClearField(field)
    if kind == "DHCP":
        conf.ClearField("id")
    if kind == "NEIGHBOR":
        conf.ClearField("vpc_id")
    if kind == "ROUTER":
        conf.subnet_routing_tables.sort(key=lambda table: table.subnet_id)
        for table in conf.subnet_routing_tables:
            table.routing_rules.sort(key=lambda rule: rule.id)
            for rule in table.routing_rules:
                rule.ClearField("operation_type")
    if kind == "SECURITYGROUP":
        conf.security_group_rules.sort(key=lambda rule: rule.id)
    return hashlib.sha256(kind.encode() + b"\0" + conf.SerializeToString(deterministic=True)).digest()



def expected_hashes(states) -> list[bytes]:
    return sorted(hash_of(type(state).__name__.removesuffix("State").upper(), state.configuration) for state in states)


def over(hashes) -> str:
    return hashlib.sha256(b"".join(sorted(hashes))).hexdigest()


def test_a_controller_computes_the_same_hashes(switches):
    switch = switches(CONFIG)
    switch.push(*everything())
    found = audit(switch)
    expected = expected_hashes(everything())
    assert sorted(bytes.fromhex(row["hash"]) for row in found["resources"]) == expected
    assert found["hash"] == over(expected)
    programmed = [bytes.fromhex(row["programmed"]) for row in found["resources"] if row["programmed"]]
    assert found["programmed"] == over(programmed)
    assert all(row["programmed"] in (None, row["hash"]) for row in found["resources"])


def test_two_switches_told_the_same_have_the_same_hashes_and_one_field_more_is_seen(switches):
    one, other = switches(CONFIG), switches(CONFIG)
    one.push(*everything())
    shuffled = everything()
    random.Random(5).shuffle(shuffled)
    for n, state in enumerate(shuffled):
        state = at_revision(state, 7)
        other.push(state) if n % 2 else other.push_stream(state)
    first, second = audit(one), audit(other)
    assert (first["hash"], first["programmed"]) == (second["hash"], second["programmed"])
    assert {name: row["hash"] for name, row in rows(first).items()} == {name: row["hash"] for name, row in rows(second).items()}
    assert {row["revision"] for row in second["resources"] if row["kind"] != "DHCP"} == {7}

    moved = at_revision(goal.neighbor(THERE, host=C), 8)
    other.accept(moved)
    third = audit(other)
    differ = {name for name, row in rows(third).items() if row["hash"] != rows(second)[name]["hash"]}
    assert differ == {("NEIGHBOR", f"L2/{THERE.ip}/{NET.id}/{THERE.id}")}
    assert third["hash"] != second["hash"] and third["programmed"] != second["programmed"]


def test_what_is_wanted_and_not_programmed_says_why(switches):
    switch = switches(CONFIG)
    switch.push(*everything())
    late = goal.neighbor(Subnet(9).guest(B, 1))
    switch.push(late)
    waiting = {name: row for name, row in rows(audit(switch)).items() if row["programmed"] is None}
    conf = late.configuration
    key = f"L2/{conf.fixed_ips[0].ip_address}/{conf.fixed_ips[0].subnet_id}/{conf.id}"
    kept = {("SECURITYGROUP", "group"), ("GATEWAY", "zeta")}
    assert waiting.keys() == kept | {("PORT", UNPLUGGED.id), ("NEIGHBOR", key)}
    assert all(row["status"] == "PENDING" and row["reason"] for row in waiting.values())
    assert "is not known yet" in waiting["NEIGHBOR", key]["reason"]
    switch.execute("port unbind 1")
    after = rows(audit(switch))
    assert after["PORT", HERE.id]["programmed"] is None and after["PORT", HERE.id]["hash"]
    switch.execute(f"port bind 1 {HERE.id}")
    assert rows(audit(switch))["PORT", HERE.id]["status"] == "SUCCESS"


def test_the_goal_state_can_be_pushed_to_another_switch(switches, tmp_path):
    one, other = switches(CONFIG), switches(CONFIG)
    one.push(*everything())
    found = audit(one)
    message = json_format.ParseDict(found["goal_state"], goalstate_pb2.GoalStateV2())
    assert len(message.neighbor_states) == 3
    file = tmp_path / "goal.json"
    file.write_text(json.dumps(found["goal_state"]))
    push(other, file)
    assert audit(other) | {"resources": 0, "goal_state": 0} == found | {"resources": 0, "goal_state": 0}


def test_people_see_a_table(switches):
    switch = switches(CONFIG)
    empty = switch.client("show", "goal-state").stdout
    assert empty.startswith("0 resources wanted") and hashlib.sha256().hexdigest() in empty
    switch.push(*everything())
    text = switch.client("show", "goal-state").stdout
    found = audit(switch)
    assert found["hash"] in text and found["programmed"] in text
    [row] = [line for line in text.splitlines() if line.startswith("PORT") and UNPLUGGED.id in line]
    assert "PENDING: no port of the switch is bound" in row
    assert switch.execute("show goal-state") == text
    console = switch.client("console", input="show goal-state\n")
    assert (console.returncode, console.stdout) == (0, text)
    file = switch.folder / "load.conf"
    file.write_text("show goal-state\n")
    assert switch.client("exec", f"load {file}").returncode == 1


def test_many_resources_come_in_parts(switches):
    """More than a part has of one kind."""
    switch = switches(CONFIG)
    switch.accept(goal.vpc(NET), goal.subnet(NET))
    states = []
    for n in range(10_001):
        state = goal.neighbor(THERE, id=f"n-{n}")
        state.configuration.mac_address = f"02:00:01:00:{n >> 8:02x}:{n & 255:02x}"
        state.configuration.fixed_ips[0].ip_address = f"10.5.{n >> 8}.{n & 255}"
        states.append(state)
    states[0].configuration.fixed_ips[0].ip_address = "10.5.255.1"
    switch.accept(*states)
    found = audit(switch)
    assert len(found["goal_state"]["neighborStates"]) == 10_001
    assert found["programmed"] == found["hash"] == over(expected_hashes([goal.vpc(NET), goal.subnet(NET), *states]))
    assert "\n... and 3 more\n" in switch.client("show", "goal-state").stdout


# --- dry runs


def push(switch, file):
    from program import call

    return call(switch.alkaid, "push", file, "--to", switch.address)


def dry_run(switch, *states, json_too: bool = True):
    """What would become of the states: exit status, and the report. Nothing may change."""
    file = switch.folder / "dry.json"
    file.write_text(goal.to_json(goal.v1(*states)))
    before = audit(switch), [row for row in switch.show("memory")]
    done = switch.client("push", "--dry-run", file, "--json")
    text = switch.client("push", "--dry-run", file)
    assert (audit(switch), [row for row in switch.show("memory")]) == before
    assert done.returncode == text.returncode, text.stderr
    report = json.loads(done.stdout)
    for conflict in report["conflicts"]:
        assert f"conflict: {conflict['kind']} {conflict['place']}: " in text.stdout
    return done.returncode, report


@pytest.fixture
def programmed(switches):
    switch = switches([*CONFIG, "set store store"])
    switch.push(*everything())
    return switch


def test_a_dry_run_shows_the_difference_and_changes_nothing(programmed):
    store = (programmed.folder / "store").read_bytes()
    moved = goal.neighbor(FAR_THERE, kind="L3", host=C)
    code, report = dry_run(programmed, moved, goal.vpc(Subnet(8)), goal.delete(goal.port(UNPLUGGED)), goal.subnet(NET))
    assert code == 0
    assert report["new"] == [{"kind": "VPC", "key": "vpc-8"}]
    assert report["deleted"] == [{"kind": "PORT", "key": UNPLUGGED.id}]
    [changed] = report["changed"]
    assert changed["key"] == f"L3/{FAR_THERE.ip}/{FAR.id}/{FAR_THERE.id}"
    assert changed["fields"] == {
        "hostIpAddress": {"old": "192.0.2.2", "new": "192.0.2.3"},
        "hostMacAddress": {"old": "02:00:c0:00:02:02", "new": "02:00:c0:00:02:03"},
    }
    assert report["unchanged"] == len(everything()) - 2
    assert not report["refused"] and not report["conflicts"] and not report["not_programmed"]
    assert (programmed.folder / "store").read_bytes() == store
    # And what it said comes true.
    programmed.push(moved, goal.vpc(Subnet(8)), goal.delete(goal.port(UNPLUGGED)), goal.subnet(NET))
    code, report = dry_run(programmed, moved, goal.vpc(Subnet(8)))
    assert (code, report["new"], report["changed"], report["deleted"]) == (0, [], [], [])


def test_a_dry_run_says_what_would_wait_and_what_is_refused(programmed):
    late = goal.neighbor(Subnet(9).guest(B, 1))
    code, report = dry_run(programmed, late)
    assert code == 0
    [waits] = report["not_programmed"]
    assert (waits["kind"], waits["status"]) == ("NEIGHBOR", "PENDING") and "is not known yet" in waits["reason"]
    wrong = goal.port(HERE)
    wrong.configuration.mac_address = "nonsense"
    code, report = dry_run(programmed, wrong)
    [refused] = report["refused"]
    assert (code, refused["id"], refused["status"]) == (1, HERE.id, "INVALID_ARG")
    assert "mac_address" in refused["reason"] and "nonsense" in refused["reason"]
    old = at_revision(goal.vpc(NET), 3)
    programmed.accept(old)
    code, report = dry_run(programmed, at_revision(old, 2))
    assert (code, report["refused"][0]["status"]) == (1, "OUT_OF_ORDER")


def twin(guest, **named):
    state = goal.neighbor(guest, id="twin", host=C)
    for field, value in named.items():
        setattr(state.configuration, field, value)
    return state


def gateways_address():
    state = twin(THERE, mac_address="02:00:05:02:00:77")
    state.configuration.fixed_ips[0].ip_address = NET.gateway_ip
    return state


def same_mac():
    state = twin(THERE)
    state.configuration.fixed_ips[0].ip_address = "10.5.2.77"
    return state


THIEF = Subnet(5, numbers=7, of_vpc="thief")


@pytest.mark.parametrize(
    "kind, place, states",
    [
        ("duplicate address", f'{THERE.ip} in VPC "vpc-5"', [twin(THERE, mac_address="02:00:05:02:00:77")]),
        ("duplicate address", f"{THERE.mac} behind VNI 5", [same_mac()]),
        ("duplicate gateway", f'{NET.gateway_ip} in VPC "vpc-5"', [gateways_address()]),
        ("duplicate VNI", "VNI 5", [goal.vpc(THIEF), goal.subnet(THIEF)]),
        ("overlapping route", f'203.0.113.0/24 in the table of subnet "{NET.id}"', [goal.router(NET, rules=[("203.0.113.0/24", THERE.ip, 3)])]),
        ("unknown next hop", f'10.5.9.9 in the table of subnet "{NET.id}"', [goal.router(NET, rules=[("192.0.2.0/30", "10.5.9.9", 3)])]),
    ],
)  # fmt: skip
def test_conflicts_are_found_before_they_are_made(programmed, kind, place, states):
    code, report = dry_run(programmed, *states)
    assert code == 1
    assert [(conflict["kind"], conflict["place"]) for conflict in report["conflicts"]] == [(kind, place)], report
    assert report["former_conflicts"] == 0
    # Made all the same, it is no new one.
    programmed.push(*states)
    code, report = dry_run(programmed, goal.vpc(Subnet(8)))
    assert (code, report["conflicts"], report["former_conflicts"]) == (0, [], 1)


def test_a_dry_run_that_cannot_be_tried_says_so(switches, tmp_path):
    switch = switches(CONFIG)
    assert switch.client("push", "--dry-run", tmp_path / "none.json").returncode == 2
    file = tmp_path / "goal.json"
    file.write_text("{}")
    assert switch.client("push", "--dry-run", file).returncode == 0
    assert switch.client("push", "--dry-run", file, file).returncode == 0
    assert switch.client("push", "--dry-run", file, "--to", "127.0.0.1:1").returncode == 2
    switch.terminate()
    gone = switch.client("push", "--dry-run", file)
    assert gone.returncode == 2 and "no switch is running" in gone.stderr
