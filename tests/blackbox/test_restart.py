# SPDX-License-Identifier: MIT
"""What was answered SUCCESS survives the end of the process, however it ends."""

from __future__ import annotations

import functools
import os
import random
import signal
import threading
import time

import grpc

import goal
import senders
from alcor.schema import neighbor_pb2
from frames import assert_encapsulated, read_pcap, to_gateway, udp
from plan import A, B, C, DVR_MAC, Subnet
from program import DEADLINE, Port, eventually, pcap_ports
from test_audit import audit, hash_of, rows

NET, FAR = Subnet(5), Subnet(6, of_vpc="vpc-5")
HERE, THERE, FAR_THERE = NET.guest(A, 1), NET.guest(B, 1), FAR.guest(B, 1)
STATES = [goal.vpc(NET), goal.subnet(NET), goal.subnet(FAR), goal.router(NET, FAR), goal.port(HERE)]
NEIGHBORS = [goal.neighbor(THERE), goal.neighbor(FAR_THERE, kind="L3")]
KILLS = int(os.environ.get("KILLS", "200"))

# No packet buffers to speak of: starting takes a moment, and there are many starts.
NO_TRAFFIC = ["set mbufs 1024", "port attach net_null0", "set vtep 192.0.2.1/24 port 0", "set store store"]


def kill(switch) -> None:
    switch.process.send_signal(signal.SIGKILL)
    switch.process.wait()
    switch.close()
    switch.socket.unlink()


def everything(switch) -> dict:
    return {what: switch.show(what) for what in ("vpcs", "subnets", "ports", "neighbors", "routes", "pending")}


def test_after_a_crash_everything_is_as_it_was_and_packets_go_on(switches, tmp_path):
    frame, routed = udp(HERE, THERE), to_gateway(HERE, FAR_THERE)
    ports = pcap_ports(tmp_path, [Port(), Port(HERE.id, [frame, routed])])
    switch = switches([*ports, "set store store"])
    switch.accept(*STATES, *NEIGHBORS)
    switch.accept(goal.delete(goal.neighbor(THERE)), rpc="v2")
    switch.accept(goal.neighbor(THERE), rpc="v2")
    before = everything(switch)
    kill(switch)

    switch.start()
    assert everything(switch) == before
    switch.execute("start")
    switch.settled(port1=2)
    switch.terminate()
    assert_encapsulated(read_pcap(tmp_path / "tx0.pcap"), [(frame, 5, B), (udp(HERE, FAR_THERE, eth_src=DVR_MAC, ttl=63), 6, B)])


def test_a_deleted_resource_stays_deleted(switches):
    switch = switches(NO_TRAFFIC)
    switch.accept(*STATES[:4], *NEIGHBORS)
    switch.accept(*[goal.delete(state) for state in [*NEIGHBORS, *STATES[:4]]])
    kill(switch)
    switch.start()
    found = everything(switch)
    assert [port["role"] for port in found.pop("ports")] == ["uplink"]
    assert not any(found.values()), found


# --- under load


NEIGHBORS_EACH = 10
UNPROGRAMMED = {"PORT", "DHCP", "SECURITYGROUP"}
"""What of a network is kept and nothing more: no port of the switch is bound to its port."""


def network(n: int, updated: bool = False) -> list:
    """A VPC, one of each kind of resource in it, and neighbors. When it is updated, nothing of it is as it was."""
    net = Subnet(1000 + n)
    here, hop = net.guest(A), net.guest(B, 1).ip
    rules = {"ssh": 22, "web": 80} if updated else {"ssh": 22}
    states = [
        goal.vpc(net, gateways=[f"zeta-{n}"]),
        goal.subnet(net, gateway=not updated),
        goal.port(here, up=not updated),
        goal.router(net, id=f"router-{n}", rules=[("203.0.113.0/24", hop, 1), ("198.51.100.0/24", hop, 1)][: 1 + updated]),
        senders.security_group(f"group-{n}", net.vpc, **rules),
        senders.dhcp(here, id=f"dhcp-{n}"),
        goal.gateway(f"zeta-{n}", *[B, C][: 1 + updated]),
        *(goal.neighbor(net.guest(B, each), host=C if updated else B) for each in range(NEIGHBORS_EACH)),
    ]
    if updated:
        conf = {kind(state): state.configuration for state in states}
        conf["VPC"].name = conf["DHCP"].port_host_name = "renamed"
        # Without a device, it would be detached.
        conf["PORT"].device_id, conf["PORT"].device_owner = "vm", "compute:nova"
    for state in states:
        state.configuration.revision_number = 1 + updated
    return states


def update(n: int) -> list:
    """Makes a network an updated one. Of router and security group, it says no more than what is new."""
    states = [goal.with_operation(state, goal.UPDATE) for state in network(n, updated=True)]
    conf = {kind(state): state.configuration for state in states}
    del conf["ROUTER"].subnet_routing_tables[0].routing_rules[0]
    del conf["SECURITYGROUP"].security_group_rules[0]
    return states


def kind(state) -> str:
    return type(state).__name__.removesuffix("State").upper()


def key(state) -> str:
    """As docs/audit.md says."""
    conf = state.configuration
    if kind(state) == "DHCP":
        return f"{conf.subnet_id}/{conf.mac_address}"
    if kind(state) == "NEIGHBOR":
        (fixed,) = conf.fixed_ips
        return f"{neighbor_pb2.NeighborType.Name(fixed.neighbor_type)}/{fixed.ip_address}/{fixed.subnet_id}/{conf.id}"
    return conf.id


def wanted(switch) -> dict:
    """Of each resource by kind and key, its revision, and the hashes of what is wanted and of what is programmed."""
    return {name: (row["revision"], row["hash"], row["programmed"]) for name, row in rows(audit(switch)).items()}


@functools.cache
def wanted_of(n: int, updated: bool) -> dict:
    """What `wanted` says of a network."""

    def row(state):
        hash = hash_of(kind(state), state.configuration).hex()
        return state.configuration.revision_number, hash, None if kind(state) in UNPROGRAMMED else hash

    return {(kind(state), key(state)): row(state) for state in network(n, updated)}


def wanted_of_all(networks: dict[int, bool]) -> dict:
    return {name: row for each in networks.items() for name, row in wanted_of(*each).items()}


class Controller(threading.Thread):
    """Creates, updates and deletes networks, one message after the other, until the switch is gone. Knows what was answered."""

    MOST = 10
    """Networks, beyond which the first one goes."""

    def __init__(self, switch, there: dict[int, bool], first: int):
        super().__init__()
        self.switch, self.next = switch, first
        self.there = there
        """Networks by number, and whether each is updated."""
        self.after = there
        """Those that are there if the message that is not answered has come through."""
        self.answered = 0
        self.killed = threading.Event()
        self.failure: Exception | None = None

    def run(self):
        try:
            while True:
                self.change()
        except Exception as error:
            # A call is broken off, or there is no channel any more.
            if not (self.killed.is_set() and isinstance(error, (grpc.RpcError, ValueError))):
                self.failure = error

    def change(self):
        n, self.next = self.next, self.next + 1
        old = [each for each, updated in self.there.items() if not updated][:1]
        gone = [min(self.there)] if len(self.there) > self.MOST else []
        states = [*network(n), *(state for each in old for state in update(each))]
        states += [goal.delete(state) for each in gone for state in network(each, self.there[each])]
        self.after = {each: updated or each in old for each, updated in self.there.items() if each not in gone} | {n: False}
        reply = self.switch.push(*states) if n % 3 else self.switch.push_stream(*states)
        found = goal.status_names(reply)
        wrong = [row for row in found if row[2] != "SUCCESS" and (row[0] not in UNPROGRAMMED or row[2] != "PENDING")]
        assert len(found) == len(states) and not wrong, wrong
        self.there = self.after
        self.answered += 1

    def end(self):
        """Kills the switch. Whatever went wrong before is raised here."""
        self.killed.set()
        kill(self.switch)
        self.join()
        if self.failure is not None:
            raise self.failure


def test_whenever_it_is_killed_all_that_was_acknowledged_is_there_again(switches):
    """SIGKILL at random moments under load. Of the message that was not answered, all or nothing is there."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    switch = switches([*NO_TRAFFIC, "set log debug"])
    there, first, answered, replaced = {}, 1, 0, 0
    for round in range(KILLS):
        controller = Controller(switch, there, first)
        controller.start()
        time.sleep(chance.uniform(0, 0.08))
        controller.end()
        replaced += switch.log.read_text().count("the journal was replaced")
        switch.start()
        found = wanted(switch)
        there = next((known for known in (controller.there, controller.after) if wanted_of_all(known) == found), None)
        differ = {name for name, _ in found.items() ^ wanted_of_all(controller.there).items()}
        assert there is not None, f"after kill {round}, seed {seed}, not as acknowledged: {sorted(differ)[:5]}"
        first = controller.next
        answered += controller.answered
    assert answered >= KILLS, f"{answered} messages were answered, between {KILLS} kills"
    assert replaced >= KILLS / 10, f"the store's journal was replaced {replaced} times"


# --- a controller that sends everything again


WINDOW = round(DEADLINE / 6)
"""Seconds of `set resync`: enough for what is to be done before they are over."""
DELETED = "what the controller has not sent again is deleted"


def stale_name(state) -> tuple[str, str]:
    """A row of `show stale`."""
    conf = state.configuration
    return kind(state).lower(), f"{conf.fixed_ips[0].ip_address} ({conf.id})" if kind(state) == "NEIGHBOR" else conf.id


def names(states) -> set:
    return {(kind(state), key(state)) for state in states}


def test_what_is_not_sent_again_in_the_window_after_a_crash_is_deleted_for_good(switches, tmp_path):
    gone = NET.guest(B, 2)
    frames = [udp(HERE, THERE), udp(HERE, gone)]
    ports = pcap_ports(tmp_path, [Port(), Port(HERE.id, frames)])
    switch = switches([*ports, "set store store", f"set resync {WINDOW}"])
    again = [goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.neighbor(THERE), *network(1)]
    others = [goal.neighbor(gone), goal.subnet(FAR), goal.router(NET, FAR), goal.neighbor(FAR_THERE, kind="L3"), *network(2)]
    stale = lambda: {(row["kind"], row["id"]) for row in switch.show("stale")}
    deleted = lambda: DELETED in switch.log.read_text()
    outcomes = lambda: [switch.explain_frame(1, frame)["outcome"] for frame in frames]
    switch.push(*again, *others)
    eventually("the first window is over", deleted)
    assert stale() == set() and set(wanted(switch)) == names([*again, *others])

    kill(switch)
    switch.start()
    assert stale() == set(map(stale_name, [*again, *others]))
    switch.push(*again[:8])
    switch.push_stream(*again[8:])
    assert stale() == set(map(stale_name, others))
    # They forward like everything else.
    assert outcomes() == ["forwarded", "forwarded"]
    assert set(wanted(switch)) == names([*again, *others]) and not deleted(), "all that was in the window"
    eventually("the window is over", deleted)
    assert stale() == set()
    assert set(wanted(switch)) == names(again)
    assert {row["id"] for row in switch.show("neighbors")} == {state.configuration.id for state in again if kind(state) == "NEIGHBOR"}
    assert outcomes() == ["forwarded", "dropped"]

    kill(switch)
    switch.start()
    assert stale() == set(map(stale_name, again))
    assert set(wanted(switch)) == names(again)
    switch.push(*again)
    assert stale() == set()
    eventually("the third window is over", deleted)
    assert set(wanted(switch)) == names(again)
    switch.execute("start")
    assert switch.settled(port1=2).drops[1] == {"unknown_mac": 1}
    switch.terminate()
    assert_encapsulated(read_pcap(tmp_path / "tx0.pcap"), [(frames[0], 5, B)])
