# SPDX-License-Identifier: MIT
"""The controller's side: Google's gRPC client against a running switch, and what becomes of what it says."""

from __future__ import annotations

import queue
import random
import threading
import time

import grpc
import pytest

import goal
from alcor.schema import goalstateprovisioner_pb2, router_pb2, subnet_pb2
from frames import assert_encapsulated, assert_frames, to_gateway, udp, vxlan
from plan import A, B, C, DVR_MAC, Subnet
from program import DEADLINE, Port, eventually, pcap_ports
from switch import empty_v2

NEAR, FAR = Subnet(5), Subnet(6, of_vpc="vpc-5")
HERE, THERE, FAR_THERE = NEAR.guest(A), NEAR.guest(B), FAR.guest(B)
EVERYTHING = [
    goal.vpc(NEAR),
    goal.subnet(NEAR),
    goal.subnet(FAR),
    goal.router(NEAR, FAR),
    goal.port(HERE),
    goal.neighbor(THERE),
    goal.neighbor(FAR_THERE, kind="L3"),
]
OUT = [udp(HERE, THERE), to_gateway(HERE, FAR_THERE)]
CAME = [udp(THERE, HERE), udp(FAR_THERE, HERE, eth_src=DVR_MAC, ttl=63)]
ARP_TYPE = b"\x08\x06"
VIEWS = ("ports", "vpcs", "subnets", "neighbors", "routes", "pending")


@pytest.fixture
def switch(switches, tmp_path):
    """A switch with an uplink and one guest's port over pcap files, which waits with forwarding."""
    ports = [Port(frames=[vxlan(frame, 5, src=B) for frame in CAME]), Port(HERE.id, OUT)]
    return switches(pcap_ports(tmp_path / "switch0", ports))


def views(switch) -> dict[str, list]:
    """Everything there is to see of a goal state. The order of rows means nothing."""
    return {what: sorted(switch.show(what), key=str) for what in VIEWS}


def assert_forwards(switch) -> None:
    """Starts it, and all its packets go where they belong."""
    switch.execute("start")
    counters = switch.settled(port0=2, port1=2)
    assert counters.drops == {0: {}, 1: {}}
    switch.terminate()
    sent = [frame for frame in switch.sent(0) if frame[12:14] != ARP_TYPE]  # hosts that were named and have no MAC
    assert_encapsulated(sent, [(OUT[0], 5, B), (udp(HERE, FAR_THERE, eth_src=DVR_MAC, ttl=63), 6, B)])
    assert_frames(switch.sent(1), [CAME[0], udp(FAR_THERE, HERE, eth_src=NEAR.gateway_mac, ttl=63)])


class Stream:
    """A stream that is held open, as controllers hold theirs."""

    def __init__(self, switch):
        self.outbox = queue.Queue()
        self.call = switch.controller.PushGoalStatesStream(iter(self.outbox.get, None))

    def ask(self, message):
        """Sends a message, does not half-close, and gets the answer."""
        self.outbox.put(message)
        answers = queue.Queue()

        def take():
            try:
                answers.put(next(self.call))
            except Exception as error:
                answers.put(error)

        threading.Thread(target=take, daemon=True).start()
        try:
            answer = answers.get(timeout=DEADLINE)
        except queue.Empty:
            pytest.fail("a message on an open stream is not answered before half-close")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.outbox.put(None)
        return list(self.call)


@pytest.mark.parametrize("rpc", ["v1", "v2"])
def test_each_call_programs_the_switch(switch, rpc):
    switch.accept(*EVERYTHING, rpc=rpc)
    assert_forwards(switch)


def test_both_calls_make_the_same_tables(switches, tmp_path):
    seen = []
    for n, rpc in enumerate(("v1", "v2")):
        switch = switches(pcap_ports(tmp_path / f"switch{n}", [Port(), Port(HERE.id)]))
        switch.accept(*EVERYTHING, rpc=rpc)
        seen.append(views(switch))
        switch.terminate()
    assert seen[0] == seen[1]
    first = seen[0]
    assert [row["id"] for row in first["subnets"]] == [NEAR.id, FAR.id] and first["pending"] == []
    assert {(row["address"], row["mac"], row["vni"], row["host"], row["type"]) for row in first["neighbors"]} == {
        (THERE.ip, THERE.mac, 5, "192.0.2.2", "L2"),
        (FAR_THERE.ip, FAR_THERE.mac, 6, "192.0.2.2", "L3"),
    }
    assert {row["destination"] for row in first["routes"]} == {NEAR.cidr, FAR.cidr}
    assert first["ports"][1]["mac"] == HERE.mac and first["ports"][1]["state"] == "ready"


def test_every_resource_has_one_status(switch):
    for push in (switch.push, switch.push_stream):
        found = goal.statuses(push(*EVERYTHING))
        ids = {
            ("VPC", NEAR.vpc),
            ("SUBNET", NEAR.id),
            ("SUBNET", FAR.id),
            ("ROUTER", "router"),
            ("PORT", HERE.id),
            ("NEIGHBOR", THERE.id),
            ("NEIGHBOR", FAR_THERE.id),
        }
        assert set(found) == ids and set(found.values()) == {"SUCCESS"}


def test_a_status_repeats_the_operation_and_the_time_it_took(switch):
    reply = switch.push(goal.vpc(NEAR), goal.subnet(NEAR), goal.with_operation(goal.port(HERE), goal.UPDATE))
    operations = {status.resource_id: status.operation_type for status in reply.operation_statuses}
    assert operations == {NEAR.vpc: goal.INFO, NEAR.id: goal.INFO, HERE.id: goal.UPDATE}
    assert all(status.state_elapse_time <= reply.message_total_operation_time for status in reply.operation_statuses)
    assert reply.message_total_operation_time > 0


def test_the_same_message_twice_changes_nothing(switch):
    switch.accept(*EVERYTHING)
    before = views(switch)
    for rpc in ("v1", "v2"):
        switch.accept(*EVERYTHING, rpc=rpc)
    assert views(switch) == before
    assert_forwards(switch)


def test_a_warm_up_without_half_close_is_answered_and_so_is_what_follows(switch):
    """The network configuration manager opens ten such streams per host, and waits."""
    idle = [Stream(switch) for _ in range(10)]
    for stream in idle:
        reply = stream.ask(empty_v2())
        assert list(reply.operation_statuses) == []
    for state in EVERYTHING[:3]:
        assert goal.status_names(idle[0].ask(goal.v2(state)))[0][2] == "SUCCESS"
    switch.accept(*EVERYTHING, rpc="v2")
    assert list(idle[1].ask(empty_v2()).operation_statuses) == []
    assert idle[0].close() == []
    # The others stay open: they must not keep the switch from ending.
    begun = time.monotonic()
    switch.terminate()
    assert time.monotonic() - begun < 10


def test_a_unary_call_with_nothing_in_it_is_answered(switch):
    assert list(switch.push().operation_statuses) == []


def test_a_port_waits_for_its_subnet_and_forwards_once_that_is_there(switch):
    subnet = EVERYTHING[1]
    found = goal.statuses(switch.push(*(state for state in EVERYTHING if state is not subnet)))
    assert found["PORT", HERE.id] == "PENDING" and found["NEIGHBOR", THERE.id] == "PENDING"
    assert found["VPC", NEAR.vpc] == found["SUBNET", FAR.id] == found["NEIGHBOR", FAR_THERE.id] == "SUCCESS"
    assert found["ROUTER", "router"] == "PENDING"
    assert {(row["kind"], row["id"]) for row in switch.show("pending")} >= {("port", HERE.id), ("neighbor", THERE.id)}
    switch.accept(subnet)
    assert switch.show("pending") == []
    assert_forwards(switch)


def test_a_subnet_waits_for_the_vni_of_its_vpc(switch):
    unset = goal.subnet(NEAR, tunnel_id=2**63 - 1)
    assert goal.statuses(switch.push(unset, goal.port(HERE))) == {
        ("SUBNET", NEAR.id): "PENDING",
        ("PORT", HERE.id): "PENDING",
    }
    switch.accept(goal.vpc(NEAR))
    assert switch.show("pending") == []
    switch.accept(*(state for state in EVERYTHING if not isinstance(state, subnet_pb2.SubnetState)), goal.subnet(FAR))
    assert_forwards(switch)


def test_a_port_waits_for_its_device(switch):
    other = goal.port(NEAR.guest(A, 9))
    found = goal.statuses(switch.push(*EVERYTHING, other))
    assert found.pop(("PORT", NEAR.guest(A, 9).id)) == "PENDING"
    assert set(found.values()) == {"SUCCESS"}
    switch.execute("port unbind 1")
    switch.execute(f"port bind 1 {NEAR.guest(A, 9).id}")
    switch.accept(other)
    assert [row["id"] for row in switch.show("pending")] == [HERE.id]


def test_a_neighbor_waits_for_the_mac_of_its_host(switch):
    unnamed = goal.neighbor(NEAR.guest(C), host_mac_named=False)
    found = goal.statuses(switch.push(*EVERYTHING, unnamed))
    assert found["NEIGHBOR", NEAR.guest(C).id] == "PENDING"
    reasons = [row["reason"] for row in switch.show("pending")]
    assert len(reasons) == 1 and "192.0.2.3" in reasons[0]
    switch.accept(goal.neighbor(NEAR.guest(C)))
    assert switch.show("pending") == []


def broken(state, change):
    copy = type(state)()
    copy.CopyFrom(state)
    change(copy.configuration)
    return copy


def set_field(name, value):
    return lambda conf: setattr(conf, name, value)


def first_fixed_ip(name, value):
    return lambda conf: setattr(conf.fixed_ips[0], name, value)


INVALID = [
    (goal.vpc(NEAR), set_field("id", ""), "id"),
    (goal.vpc(NEAR), set_field("tunnel_id", 1 << 24), "tunnel_id"),
    (goal.vpc(NEAR), set_field("cidr", "10.0.0.0/33"), "cidr"),
    (goal.subnet(NEAR), set_field("cidr", "10.5.0.0"), "cidr"),
    (goal.subnet(NEAR), set_field("tunnel_id", 1 << 24), "tunnel_id"),
    (goal.subnet(NEAR), set_field("tunnel_id", (1 << 32) + 5), "tunnel_id"),
    (goal.subnet(NEAR), set_field("network_type", 1), "network_type"),
    (goal.subnet(NEAR), lambda conf: setattr(conf.gateway, "mac_address", "02:00:05"), "gateway.mac_address"),
    (goal.port(HERE), set_field("mac_address", "ff:ff:ff:ff:ff:ff"), "mac_address"),
    (goal.port(HERE), set_field("id", "x" * 256), "id"),
    (goal.port(HERE), lambda conf: conf.ClearField("fixed_ips"), "fixed_ips"),
    (goal.port(HERE), first_fixed_ip("ip_address", "10.5.1"), "fixed_ips[0].ip_address"),
    (goal.port(HERE), first_fixed_ip("ip_address", "fd00::1"), "fixed_ips[0].ip_address"),
    (goal.neighbor(THERE), set_field("host_ip_address", ""), "host_ip_address"),
    (goal.neighbor(THERE), set_field("mac_address", "not a mac"), "mac_address"),
    (goal.neighbor(THERE), first_fixed_ip("neighbor_type", 7), "fixed_ips[0].neighbor_type"),
    (goal.router(NEAR, FAR), set_field("host_dvr_mac_address", "01:00:00:00:00:00"), "host_dvr_mac_address"),
    (
        goal.router(NEAR, FAR, rules=[("172.16.0.0/99", "10.5.1.1", 1)]),
        lambda conf: None,
        "subnet_routing_tables[0].routing_rules[0].destination",
    ),
]


def test_a_wrong_field_is_invalid_and_named_and_all_else_is_applied(switch):
    switch.accept(*EVERYTHING)
    before = views(switch)
    for state, change, field in INVALID:
        wrong = broken(state, change)
        for push in (switch.push, switch.push_stream):
            others = [other for other in EVERYTHING if other.configuration.id != state.configuration.id]
            reply = push(*others, wrong)
            found = goal.status_names(reply)
            bad = [row for row in found if row[2] != "SUCCESS"]
            assert len(found) == len(others) + 1 and bad[0][2] == "INVALID_ARG" and len(bad) == 1, (field, found)
            named = f"configuration.{field}"
            eventually(f"{named} is in the log", lambda: named in switch.log.read_text())
    assert views(switch) == before, "what is wrong changes nothing"
    assert_forwards(switch)


def test_an_operation_that_is_none_is_invalid(switch):
    found = goal.statuses(switch.push(goal.with_operation(goal.vpc(NEAR), 17)))
    assert found == {("VPC", NEAR.vpc): "INVALID_ARG"}


def test_get_asks_for_nothing_but_of_a_neighbor_it_means_here_is_one(switch):
    for state in EVERYTHING[:5]:
        switch.accept(goal.with_operation(state, goal.GET))
    assert all(switch.show(what) == [] for what in ("vpcs", "subnets", "routes", "pending"))
    switch.accept(*EVERYTHING[:5], *(goal.with_operation(state, goal.GET) for state in EVERYTHING[5:]))
    assert_forwards(switch)


def with_revision(state, revision):
    return broken(state, set_field("revision_number", revision))


def test_an_older_revision_is_out_of_order_and_an_equal_one_is_not(switch):
    switch.accept(*(with_revision(state, 5) for state in EVERYTHING))
    before = views(switch)
    old = [with_revision(goal.neighbor(THERE, host=C), 4), with_revision(goal.port(HERE, up=False), 4)]
    assert set(goal.statuses(switch.push(*old)).values()) == {"OUT_OF_ORDER"}
    assert views(switch) == before
    for revision in (5, 0, 6):
        switch.accept(with_revision(goal.neighbor(THERE, host=C), revision))
        assert [row["host"] for row in switch.show("neighbors") if row["address"] == THERE.ip] == ["192.0.2.3"]
        switch.accept(with_revision(goal.neighbor(THERE), revision))
    assert_forwards(switch)


def test_deleting_what_is_not_there_is_a_success(switch):
    for rpc in ("v1", "v2"):
        switch.accept(*map(goal.delete, EVERYTHING), rpc=rpc)
    switch.accept(*EVERYTHING)
    assert_forwards(switch)


def test_a_full_router_update_replaces_and_a_delta_adds(switch):
    switch.accept(*EVERYTHING)

    def destinations():
        return {row["destination"] for row in switch.show("routes") if row["subnet"] == NEAR.id}

    rule, other = ("172.16.0.0/12", FAR_THERE.ip, 100), ("172.16.5.0/24", FAR_THERE.ip, 100)
    switch.accept(goal.router(NEAR, FAR, rules=[rule]))
    switch.accept(goal.router(NEAR, rules=[other]))
    assert destinations() == {NEAR.cidr, FAR.cidr, rule[0], other[0]}
    gone = router_pb2.RouterState()
    gone.CopyFrom(goal.router(NEAR, rules=[rule]))
    gone.configuration.subnet_routing_tables[0].routing_rules[0].operation_type = goal.DELETE
    switch.accept(gone)
    assert destinations() == {NEAR.cidr, FAR.cidr, other[0]}
    switch.accept(goal.router(NEAR, full=True))
    assert destinations() == {NEAR.cidr}
    switch.accept(goal.router(NEAR, FAR, full=True))
    assert_forwards(switch)


def test_macs_may_come_with_dashes_and_capitals(switch):

    def shout(conf):
        if hasattr(conf, "mac_address"):
            conf.mac_address = conf.mac_address.upper().replace(":", "-")

    switch.accept(*(broken(state, shout) for state in EVERYTHING))
    assert_forwards(switch)


def test_a_neighbor_that_is_l2_and_l3_at_once_is_held_by_either(switch):
    """The data plane manager names both in one message, by one id."""
    switch.accept(*EVERYTHING, goal.neighbor(THERE, kind="L3"), rpc="v2")
    switch.accept(goal.delete(goal.neighbor(THERE, kind="L3")), rpc="v2")
    assert_forwards(switch)


def many(count: int):
    """Neighbors of hosts 2 and 3, several thousand to a host."""
    guests = (NEAR.guest(host, n) for host in range(2, 255) for n in range(1, 254))
    return [goal.neighbor(guest, kind="L3", host=2 + n % 2) for n, guest in zip(range(count), guests)]


def test_thousands_of_neighbors_in_one_message_each_have_a_status_and_no_reply_is_too_long(switch):
    """Google's client takes 4 MiB per message unless told otherwise, as the controller's does."""
    switch.accept(*EVERYTHING)
    states = many(60_000)
    long = [broken(state, lambda conf: setattr(conf, "id", f"{conf.id:>60}")) for state in states[1:]]
    replies = list(switch.controller.PushGoalStatesStream(iter([goal.v2(*long)]), timeout=2 * DEADLINE))
    assert len(replies) > 1, "about 5 MB of statuses"
    names = [row for reply in replies for row in goal.status_names(reply)]
    assert len(names) == len(long) == len({row[1] for row in names})
    assert {row[2] for row in names} == {"SUCCESS"}
    # In a unary reply the successes that do not fit are left out: nothing but them.
    unary = goal.status_names(switch.push(*long[:40_000], goal.vpc(FAR, tunnel_id=1 << 24)))
    assert sum(row[2] != "SUCCESS" for row in unary) == 1
    rows = {row["table"]: row for row in switch.show("memory")}
    assert max(row["entries"] for row in rows.values()) >= 59_999
    assert_forwards(switch)


def test_what_a_switch_does_not_serve_is_unimplemented(switch):
    with pytest.raises(grpc.RpcError) as refused:
        switch.controller.RequestGoalStates(goalstateprovisioner_pb2.HostRequest(), timeout=DEADLINE)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as refused:
        switch.controller.PushGoalstates(goalstateprovisioner_pb2.NeighborRulesRequest(), timeout=DEADLINE)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_message_are_an_error_of_that_call_only(switch):
    service = "/alcor.schema.GoalStateProvisioner/"
    raw = {"request_serializer": bytes, "response_deserializer": bytes}
    unary = switch.channel.unary_unary(service + "PushNetworkResourceStates", **raw)
    stream = switch.channel.stream_stream(service + "PushGoalStatesStream", **raw)
    for garbage in (b"\xff" * 100, b"\x12\xff\xff\xff\xff\x0f", goal.v1(*EVERYTHING).SerializeToString()[:-3]):
        with pytest.raises(grpc.RpcError):
            unary(garbage, timeout=DEADLINE)
        with pytest.raises(grpc.RpcError):
            list(stream(iter([garbage]), timeout=DEADLINE))
    switch.accept(*EVERYTHING)
    assert_forwards(switch)


def test_two_controllers_at_once_are_both_served(switch):
    """Calls and streams overlap; each gets its own resources' statuses."""
    switch.accept(*EVERYTHING)
    groups = [[goal.neighbor(NEAR.guest(host, n), kind="L3") for n in range(1, 200)] for host in range(10, 26)]
    calls = [switch.controller.PushNetworkResourceStates.future(goal.v1(*group), timeout=DEADLINE) for group in groups[:8]]
    streams = [switch.controller.PushGoalStatesStream(iter([goal.v2(*group)]), timeout=DEADLINE) for group in groups[8:]]
    for group, replies in zip(groups, [[call.result()] for call in calls] + [list(stream) for stream in streams]):
        ids = {row[1] for reply in replies for row in goal.status_names(reply) if row[2] == "SUCCESS"}
        assert ids == {state.configuration.id for state in group}
    assert len(switch.show("neighbors")) == 16 * 199 + 2
    assert_forwards(switch)


def big_world():
    """Resources of three VPCs of two subnets each, without two that claim the same."""
    all = []
    for vni in (5, 50, 90):
        near, far = Subnet(vni), Subnet(vni + 1, of_vpc=f"vpc-{vni}")
        hop = far.guest(B, 1)
        all += [goal.vpc(near), goal.subnet(near, tunnel_id=0), goal.subnet(far)]
        all += [goal.router(near, far, id=f"router-{vni}", rules=[("172.16.0.0/12", hop.ip, 7)])]
        all += [goal.port(near.guest(A)), goal.port(far.guest(A), far.guest(A, 2))]
        all += [goal.neighbor(subnet.guest(host, n), kind=kind) for subnet, kind in ((near, "L2"), (far, "L3")) for host in (B, C) for n in (1, 2, 3)]
    return all


def test_the_order_of_resources_never_matters(switch):
    """Random orders, cut into random messages, of either call: always the same tables. Seen through everything that is
    shown, and each time after all was deleted in a random order too."""
    dice = random.Random(7)
    world = big_world()
    seen = []
    for _ in range(8):
        order = dice.sample(world, len(world))
        while order:
            cut = dice.randint(1, 12)
            chunk, order = order[:cut], order[cut:]
            found = goal.status_names(dice.choice((switch.push, switch.push_stream))(*chunk))
            assert len(found) == len(chunk) and {status for _, _, status in found} <= {"SUCCESS", "PENDING"}
        seen.append(views(switch))
        assert seen[-1] == seen[0]
        for state in dice.sample(world, len(world)):
            switch.accept(goal.delete(state), rpc=dice.choice(("v1", "v2")))
        assert_empty(switch)
    assert len(seen[0]["neighbors"]) == 36 and len(seen[0]["subnets"]) == 6
    switch.accept(*EVERYTHING)
    assert_forwards(switch)


def assert_empty(switch) -> None:
    assert all(switch.show(what) == [] for what in VIEWS if what != "ports")
    tables = (row for row in switch.show("memory") if row["table"] != "packet buffers")
    entries = {row["table"]: row["entries"] for row in tables}
    assert not any(entries.values()), entries


def test_nonsense_is_survived_and_leaves_nothing_behind_once_deleted(switch):
    """Random resources with few ids, so that they collide: wrong fields, moves between subnets and VPCs, the same
    address claimed twice, deletes of what others need."""
    dice = random.Random(11)
    macs = [HERE.mac, THERE.mac, "02:00:05:00:00:fe", "", "ff:ff:ff:ff:ff:ff", "fe:16:11:00:00:00", "zz"]
    ips = [HERE.ip, THERE.ip, FAR_THERE.ip, "10.5.0.254", "0.0.0.0", "", "10.5.1", "255.255.255.255"]
    hosts = [*("192.0.2.%d" % n for n in (1, 2, 3, 9)), "198.51.100.1", "", "x"]
    subnets = [f"s{n}" for n in range(4)] + [""]
    vnis = [0, 5, 5, 6, 7, (1 << 24) - 1, 1 << 24, (1 << 63) - 1]
    cidrs = ["10.5.0.0/16", "10.5.1.0/24", "0.0.0.0/0", "10.5.1.1/32", "10.6.0.0/16", "bad", ""]
    bound = HERE.id
    pick = dice.choice

    def vpc():
        state = goal.vpc(NEAR, tunnel_id=pick([vni for vni in vnis if vni < 1 << 32]))
        state.configuration.id = pick(["v0", "v1"])
        return state

    def subnet():
        state = goal.subnet(NEAR, tunnel_id=pick(vnis), gateway=pick((True, False)))
        conf = state.configuration
        conf.id, conf.vpc_id, conf.cidr = pick(subnets), pick(["v0", "v1", ""]), pick(cidrs)
        return state

    def port():
        state = goal.port(*[HERE] * pick((1, 1, 2, 5)), up=pick((True, False)))
        conf = state.configuration
        conf.id, conf.mac_address = pick([bound, bound, "p1"]), pick(macs)
        for fixed_ip in conf.fixed_ips:
            fixed_ip.subnet_id, fixed_ip.ip_address = pick(subnets), pick(ips)
        return state

    def neighbor():
        state = goal.neighbor(THERE, kind=pick(("L2", "L3")), host_mac_named=pick((True, False)))
        conf = state.configuration
        conf.id, conf.mac_address, conf.host_ip_address = pick(["n0", "n1", "n2", ""]), pick(macs), pick(hosts)
        conf.fixed_ips[0].subnet_id, conf.fixed_ips[0].ip_address = pick(subnets), pick(ips)
        return state

    def router():
        state = goal.router(NEAR, FAR, id=pick(["r0", "r1"]), full=pick((True, False)), rules=[(pick(cidrs), pick(ips), pick((0, 1, 2**32 - 1)))])
        for table in state.configuration.subnet_routing_tables:
            table.subnet_id = pick(subnets)
        return state

    said = {}
    for _ in range(300):
        states = [goal.with_operation(pick((vpc, subnet, port, neighbor, neighbor, router))(), pick((0, 1, 2, 3, 4, 4))) for _ in range(dice.randint(1, 10))]
        for state in states:
            fixed_ips = getattr(state.configuration, "fixed_ips", [])
            key = type(state).__name__, state.configuration.id
            if key[0] == "NeighborState":
                key += tuple((each.neighbor_type, each.subnet_id, each.ip_address) for each in fixed_ips)
            said[key] = state
        found = goal.status_names(switch.push(*states))
        assert len(found) == len(states)
        switch.show(pick(VIEWS))
    for state in dice.sample(list(said.values()), len(said)):
        status = goal.status_names(switch.push(goal.delete(state)))[0][2]
        assert status in ("SUCCESS", "INVALID_ARG")
    assert_empty(switch)
    switch.accept(*EVERYTHING)
    assert_forwards(switch)
