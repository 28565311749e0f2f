# SPDX-License-Identifier: MIT
"""Alcor's contract as its clients use it: their messages, their streams, their oddities. Statuses, tables, packets."""

from __future__ import annotations

import queue
import random
import uuid
from pathlib import Path

import grpc
import pytest

import goal
import senders
from alcor.schema import goalstate_pb2, goalstateprovisioner_pb2_grpc
from frames import assert_encapsulated, assert_frames, to_gateway, udp, vxlan
from plan import A, B, DVR_MAC, Subnet
from program import DEADLINE, Port, eventually, pcap_ports

# All subnets of one of Alcor's VPCs share its VNI.
NEAR, FAR = Subnet(5, half=0), Subnet(5, half=1)
HERE, THERE, FAR_THERE = NEAR.guest(A), NEAR.guest(B), FAR.guest(B)
NEIGHBORS = [(THERE, "L2"), (THERE, "L3"), (FAR_THERE, "L3")]
SENDER = senders.DataPlaneManager(HERE, NEIGHBORS, [NEAR, FAR])
OUT = [udp(HERE, THERE), to_gateway(HERE, FAR_THERE)]
CAME = [udp(THERE, HERE), udp(FAR_THERE, HERE, eth_src=DVR_MAC, ttl=63)]
CLIENT_LIMIT = 4 << 20
"""Bytes of a reply that Alcor's clients take."""


@pytest.fixture
def switch(switches, tmp_path):
    """A switch with an uplink and one guest's port over pcap files, which waits with forwarding."""
    ports = [Port(frames=[vxlan(frame, 5, src=B) for frame in CAME]), Port(HERE.id, OUT)]
    return switches(pcap_ports(tmp_path / "switch0", ports))


def assert_forwards(switch) -> None:
    """Starts it, and all its packets go where they belong."""
    assert switch.show("pending") == []
    switch.execute("start")
    counters = switch.settled(port0=2, port1=2)
    assert counters.drops == {0: {}, 1: {}}
    switch.terminate()
    assert_encapsulated(switch.sent(0), [(OUT[0], 5, B), (udp(HERE, FAR_THERE, eth_src=DVR_MAC, ttl=63), 5, B)])
    assert_frames(switch.sent(1), [CAME[0], udp(FAR_THERE, HERE, eth_src=NEAR.gateway_mac, ttl=63)])


def push(switch, message):
    """By the call that the message is for; a stream is half-closed after it, and ends when it is answered."""
    if isinstance(message, goalstate_pb2.GoalState):
        return [switch.controller.PushNetworkResourceStates(message, timeout=DEADLINE)]
    return list(switch.controller.PushGoalStatesStream(iter([message]), timeout=DEADLINE))


def answers(replies) -> list[tuple[str, str, str]]:
    return sorted(row for reply in replies for row in goal.status_names(reply))


def assert_success(replies, count: int) -> None:
    found = answers(replies)
    assert len(found) == count and {row[2] for row in found} == {"SUCCESS"}, found


def states_of(message):
    return [state for kind in goal.KINDS.values() for state in getattr(message, kind).values()]


class Open:
    """A stream that is never half-closed, on a connection of its own."""

    def __init__(self, address: str):
        # Or gRPC would share a connection among channels that look alike.
        self.channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self.outbox = queue.Queue()
        stub = goalstateprovisioner_pb2_grpc.GoalStateProvisionerStub(self.channel)
        self.replies = stub.PushGoalStatesStream(iter(self.outbox.get, None), timeout=4 * DEADLINE)

    def ask(self, message):
        self.outbox.put(message)
        return next(self.replies)

    def close(self):
        self.outbox.put(None)
        self.channel.close()


def connections(switch) -> int:
    """How many TCP connections the switch's southbound server has; those of clients may be IPv6 sockets."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local, established = f"0100007F:{switch.southbound:04X}", "01"
    return sum((row[1], row[3]) == (local, established) for row in rows)


@pytest.fixture
def warm(switch):
    """The network configuration manager's ten channels, each with the stream that warmed it up."""
    before = connections(switch)
    streams = [Open(switch.address) for _ in range(10)]
    for stream in streams:
        assert not stream.ask(goalstate_pb2.GoalStateV2()).operation_statuses
    assert connections(switch) == before + 10
    yield streams
    for stream in streams:
        stream.close()


# --- the senders


def test_the_data_plane_manager_s_first_form(switch):
    # The VPC of its messages has no VNI; the subnets have it.
    message = SENDER.first()
    assert_success(push(switch, message), 8)
    rows = switch.show("neighbors")
    assert {(row["id"], row["type"], row["host"], row["state"]) for row in rows} == {
        (guest.id, kind, "192.0.2.2", "ready") for guest, kind in NEIGHBORS
    }
    assert {row["destination"] for row in switch.show("routes")} == {NEAR.cidr, FAR.cidr}
    assert_forwards(switch)


def test_the_data_plane_manager_s_second_form_past_ten_streams_that_stay_open(switch, warm):
    message = SENDER.second()
    assert {"L2/" + THERE.id, "L3/" + THERE.id} <= set(message.neighbor_states)
    for _ in range(2):
        replies = push(switch, message)
        assert_success(replies, 8)
    # Those that are open still answer, and some other message may come by one of them.
    assert not warm[3].ask(goalstate_pb2.GoalStateV2()).operation_statuses
    assert_success([warm[7].ask(message)], 8)
    assert len(switch.show("neighbors")) == 3
    assert_forwards(switch)


def test_metadata_for_tracing_is_taken_and_changes_nothing(switch):
    """Alcor's services trace their calls, each in the headers of its library."""
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    metadata = [
        ("uber-trace-id", f"{trace}:{span}:0:1"),
        ("traceparent", f"00-{trace}-{span}-01"),
        ("tracestate", "alcor=1"),
        ("b3", f"{trace}-{span}-1"),
    ]
    traced = {"timeout": DEADLINE, "metadata": metadata}
    assert_success([switch.controller.PushNetworkResourceStates(SENDER.first(), **traced)], 8)
    assert_success(switch.controller.PushGoalStatesStream(iter([SENDER.second()]), **traced), 8)
    assert_forwards(switch)


def test_the_test_controller_before_and_after_the_data_plane_manager(switch):
    assert_success(push(switch, SENDER.first()), 8)
    one_each = [(THERE, "L2"), (FAR_THERE, "L3")]
    assert_success(push(switch, senders.test_controller(HERE, one_each, [NEAR, FAR])), 7)
    assert {row["id"] for row in switch.show("neighbors")} >= {f"{THERE.id}_n", f"{FAR_THERE.id}_n"}
    found = dict((row[:2], row[2]) for row in answers(push(switch, SENDER.first())))
    late = {key for key, status in found.items() if status == "OUT_OF_ORDER"}
    assert late == {("VPC", NEAR.vpc), ("SUBNET", NEAR.id), ("SUBNET", FAR.id), ("ROUTER", "router"), ("PORT", HERE.id)}
    switch.execute("set revisions ignore")
    assert "set revisions ignore" in switch.execute("show config")
    assert_success(push(switch, SENDER.first()), 8)
    assert_forwards(switch)


def test_each_resource_in_a_message_of_its_own_on_one_stream_in_any_order(switch):
    seed = random.randrange(1 << 32)
    order = random.Random(seed)
    states = SENDER.states()
    order.shuffle(states)
    stream = Open(switch.address)
    replies = [stream.ask(goal.v2(state)) for state in states]
    stream.close()
    assert [len(reply.operation_statuses) for reply in replies] == [1] * len(states)
    found = {row[2] for row in answers(replies)}
    assert found <= {"SUCCESS", "PENDING"}, (seed, found)
    assert_success(push(switch, SENDER.second()), 8)
    assert_forwards(switch)


# --- the oddities: each of these is the same network


def each(kind: str, change):
    def changed(message):
        for state in getattr(message, kind).values():
            change(state)

    return changed


def respell(spell):
    def changed(message):
        for state in states_of(message):
            conf = state.configuration
            for name in ("mac_address", "host_mac_address", "host_dvr_mac_address"):
                if hasattr(conf, name):
                    setattr(conf, name, spell(getattr(conf, name)))
            if hasattr(conf, "gateway"):
                conf.gateway.mac_address = spell(conf.gateway.mac_address)

    return changed


def vni_of_the_vpc_only(message):
    for state in message.vpc_states.values():
        state.configuration.tunnel_id = 5
    for state in message.subnet_states.values():
        state.configuration.tunnel_id = senders.UNKNOWN_TUNNEL_ID


def forget_neighbor_ids(message):
    for state in message.neighbor_states.values():
        state.configuration.id = ""


ODDITIES = {
    "MACs with dashes and capitals": respell(lambda mac: mac.upper().replace(":", "-")),
    "MACs of single digits": respell(lambda mac: ":".join(f"{int(byte, 16):x}" for byte in mac.split(":"))),
    "Long.MAX_VALUE": vni_of_the_vpc_only,
    "a VPC of other addresses": each("vpc_states", lambda state: setattr(state.configuration, "cidr", "172.16.0.0/16")),
    "neighbors without ids": forget_neighbor_ids,
    "GET on neighbors": each("neighbor_states", lambda state: setattr(state, "operation_type", goal.GET)),
    "INFO on everything": lambda message: [setattr(state, "operation_type", goal.INFO) for state in states_of(message)],
    "no revisions": lambda message: [setattr(state.configuration, "revision_number", 0) for state in states_of(message)],
    "UPDATE of a port with a device": each(
        "port_states",
        lambda state: (setattr(state, "operation_type", goal.UPDATE), setattr(state.configuration, "device_id", "vm")),
    ),
}


@pytest.mark.parametrize("oddity", ODDITIES)
def test_an_oddity_of_alcor_s_is_understood(switch, oddity):
    message = SENDER.second()
    ODDITIES[oddity](message)
    assert_success(push(switch, message), 8)
    assert_forwards(switch)


def test_a_gateway_of_0_0_0_0_is_none(switch):
    message = SENDER.second()
    for state in message.subnet_states.values():
        state.configuration.gateway.ip_address = "0.0.0.0"
    assert_success(push(switch, message), 8)
    assert {(row["gateway"], row["gateway_mac"]) for row in switch.show("subnets")} == {(None, None)}


def test_a_port_is_detached_by_an_update_with_nothing_and_attached_again(switch):
    assert_success(push(switch, SENDER.first()), 8)
    detached = goal.with_operation(goal.port(HERE), goal.UPDATE)
    attached = goal.with_operation(goal.port(HERE), goal.UPDATE)
    attached.configuration.device_id, attached.configuration.device_owner = "vm", "compute:nova"
    for _ in range(2):
        switch.accept(detached)
        row = next(row for row in switch.show("ports") if row["id"] == HERE.id)
        assert row["mac"] is None and "not described" in row["state"]
    switch.accept(attached)
    assert_forwards(switch)


def test_a_neighbor_by_old_numbers_is_refused_by_name_and_nothing_else_is(switch):
    raw = {"request_serializer": bytes, "response_deserializer": bytes}
    unary = switch.channel.unary_unary("/alcor.schema.GoalStateProvisioner/PushNetworkResourceStates", **raw)
    message = SENDER.first().SerializeToString() + senders.old_neighbor_message(NEAR.guest(B, 9))
    reply = senders.goalstate_reply(unary(message, timeout=DEADLINE))
    wrong = [row for row in goal.status_names(reply) if row[2] != "SUCCESS"]
    assert wrong == [("NEIGHBOR", NEAR.guest(B, 9).id, "INVALID_ARG")]
    eventually("the cause is in the log", lambda: "before August 2022" in switch.log.read_text())
    assert_forwards(switch)


# --- what is kept


def test_security_groups_and_gateways_are_kept_shown_and_pending_and_dhcp_is_served(switch):
    first = [
        senders.security_group("group", NEAR.vpc, ssh=22, web=80),
        senders.dhcp(HERE),
        senders.gateway("zeta", "ZETA"),
        senders.gateway("nat", "NGW"),
    ]
    then = [senders.security_group("group", web=443, dns=53), senders.dhcp(HERE), *first[2:]]
    replaced = [senders.security_group("group", full=True, dns=53), *then[1:]]
    for states, rules in ((first, 2), (then, 3), (replaced, 1)):
        for message in (goal.v1(*SENDER.states(), *states), goal.v2(*SENDER.states(), *states)):
            wrong = {row[:2]: row[2] for row in answers(push(switch, message)) if row[2] != "SUCCESS"}
            dhcp_id = states[1].configuration.id
            assert wrong == {
                ("SECURITYGROUP", "group"): "PENDING",
                ("GATEWAY", "zeta"): "PENDING",
                ("GATEWAY", "nat"): "INVALID_ARG",
            }
            groups, dhcp, gateways = (switch.show(what) for what in ("security-groups", "dhcp", "gateways"))
            assert [(row["id"], row["name"], row["ingress_rules"]) for row in groups] == [("group", "group", rules)]
            assert [(row["mac"], row["subnet"], row["ipv4"], row["id"], row["state"]) for row in dhcp] == [(HERE.mac, NEAR.id, HERE.ip, dhcp_id, "ready")]
            assert [(row["id"], row["type"], row["oam_port"]) for row in gateways] == [("nat", "NGW", None), ("zeta", "ZETA", 8300)]
            pending = {(row["kind"], row["id"]): row["reason"] for row in switch.show("pending")}
            assert set(pending) == {("security-group", "group"), ("gateway", "zeta"), ("gateway", "nat")}
            assert pending.pop(("gateway", "zeta")) == "no VPC names it yet"
            assert all(reason.startswith("kept") for reason in pending.values()) and "NGW" in pending["gateway", "nat"]
    # By any id: it is the MAC and the subnet that count.
    switch.accept(*map(goal.delete, [*first[:1], senders.dhcp(HERE), *first[2:]]))
    assert_forwards(switch)


def test_what_waits_says_for_what_and_is_gone_from_the_list_when_that_comes(switch):
    states = SENDER.states()
    subnets = [state for state in states if type(state).__name__ == "SubnetState"]
    others = [state for state in states if state not in subnets]
    rule = goal.router(NEAR, rules=[("198.51.100.0/24", NEAR.guest(B, 77).ip, 1)])
    switch.push(*others)
    switch.push(rule)
    reasons = {(row["kind"], row["id"]): row["reason"] for row in switch.show("pending")}
    assert reasons["port", HERE.id] == f'its subnet "{NEAR.id}" is not known yet'
    assert reasons["neighbor", FAR_THERE.id] == f'its subnet "{FAR.id}" is not known yet'
    switch.push(*subnets)
    assert [(row["kind"], row["id"]) for row in switch.show("pending")] == [("router", "router")]
    assert NEAR.guest(B, 77).ip in switch.show("pending")[0]["reason"]
    switch.accept(goal.neighbor(NEAR.guest(B, 77)))
    assert_forwards(switch)


# --- whatever comes


def scalars(message, path=()):
    """Every field that is no message, of a message that has them all."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None:
            yield (*path, field.name), field
        elif field.message_type.name != "Head":
            yield from scalars(field.message_type._concrete_class(), (*path, field.name))


def set_at(message, path, value):
    """Sets the field; makes what it is in. False if it does not take the value."""
    for name in path[:-1]:
        inner = getattr(message, name)
        message = (inner[0] if len(inner) else inner.add()) if hasattr(inner, "add") else inner
        if hasattr(message, "SetInParent"):
            message.SetInParent()
    try:
        target = getattr(message, path[-1])
        if hasattr(target, "append"):
            target.append(value)
        else:
            setattr(message, path[-1], value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


GARBAGE = ["", "\0", "ß" * 200, "x" * 100_000, "0.0.0.0/0", "255.255.255.255", "::", "ff:ff:ff:ff:ff:ff", -1, 99, 2**31 - 1, 2**32 - 1, 2**64 - 1, True]


def test_nothing_that_a_field_may_hold_is_an_error_of_the_call(switch):
    whole = [*SENDER.states(), senders.security_group(ssh=22), senders.dhcp(HERE), senders.gateway("zeta", "ZETA")]
    wrong = []
    for state in {type(state).__name__: state for state in whole}.values():
        for path, _ in scalars(state):
            for value in GARBAGE:
                for operation in (goal.CREATE, goal.DELETE):
                    copy = goal.with_operation(state, operation)
                    if set_at(copy, path, value):
                        wrong.append(copy)
    assert len(wrong) > 500
    random.shuffle(wrong)
    for states in (wrong[: len(wrong) // 2], wrong[len(wrong) // 2 :]):
        reply = switch.push(*states)
        assert len(reply.operation_statuses) == len(states)
        stream = Open(switch.address)
        parts = [stream.ask(goal.v2(state)) for state in states[:100]]
        assert all(len(part.operation_statuses) == 1 for part in parts)
        stream.close()
    found = {row[2] for row in goal.status_names(reply)}
    assert found <= {"SUCCESS", "PENDING", "INVALID_ARG", "OUT_OF_ORDER"} and "INVALID_ARG" in found, found
    switch.terminate()


def test_a_reply_of_ninety_thousand_statuses_comes_in_parts_that_alcor_s_clients_take(switch):
    assert_success(push(switch, SENDER.first()), 8)
    message = goalstate_pb2.GoalStateV2()
    count = 90_000
    for n in range(count):
        id = str(uuid.UUID(int=n))
        state = message.neighbor_states[f"L2/{id}"]
        state.operation_type = goal.CREATE
        conf = state.configuration
        conf.revision_number, conf.id, conf.vpc_id = 1, id, NEAR.vpc
        conf.mac_address, conf.host_ip_address, conf.host_mac_address = f"02:01:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}", "192.0.2.2", "02:00:c0:00:02:02"
        conf.fixed_ips.add(subnet_id=NEAR.id, ip_address=f"10.{64 + (n >> 16)}.{n >> 8 & 255}.{n & 255}")
    replies = list(switch.controller.PushGoalStatesStream(iter([message]), timeout=4 * DEADLINE))
    assert len(replies) > 1 and all(reply.ByteSize() < CLIENT_LIMIT for reply in replies)
    ids = [status.resource_id for reply in replies for status in reply.operation_statuses if status.operation_status == 0]
    assert len(ids) == len(set(ids)) == count
    assert_forwards(switch)
