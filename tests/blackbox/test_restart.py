# SPDX-License-Identifier: MIT
"""What was answered SUCCESS survives the end of the process, however it ends."""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import grpc

import goal
from frames import assert_encapsulated, read_pcap, to_gateway, udp
from plan import A, B, DVR_MAC, Subnet
from program import Port, pcap_ports

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


class Controller(threading.Thread):
    """Creates and deletes neighbors, one message after the other, until the switch is gone. Knows what was answered."""

    PER_MESSAGE = 20

    def __init__(self, switch, first: int):
        super().__init__()
        self.switch, self.next = switch, first
        self.there, self.unsure = set(), set()

    def run(self):
        while True:
            new = {NET.guest(B, 1 + n % 250).id + f"-{n}": n for n in range(self.next, self.next + self.PER_MESSAGE)}
            self.next += self.PER_MESSAGE
            # The oldest go, so that what was deleted is tested too, and `show` has room for all.
            old = dict(sorted(self.there, key=lambda pair: pair[1])[: self.PER_MESSAGE]) if len(self.there) > 1000 else {}
            states = [neighbor(id, n) for id, n in new.items()] + [goal.delete(neighbor(id, n)) for id, n in old.items()]
            changed = set(new.items()) | set(old.items())
            self.unsure |= changed
            try:
                reply = self.switch.push(*states) if self.next % 3 else self.switch.push_stream(*states)
            except (grpc.RpcError, ValueError):
                return
            assert {status for _, _, status in goal.status_names(reply)} == {"SUCCESS"}, reply
            self.unsure -= changed
            self.there = (self.there | set(new.items())) - set(old.items())


def neighbor(id: str, n: int):
    """A neighbor of its own address."""
    state = goal.neighbor(NET.guest(B, 1), id=id)
    state.configuration.mac_address = f"02:00:01:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"
    state.configuration.fixed_ips[0].ip_address = f"10.5.{n >> 8 & 255}.{n & 255}"
    return state


def test_whenever_it_is_killed_all_that_was_acknowledged_is_there_again(switches):
    """SIGKILL at random moments under load. Of messages that were not answered, all or nothing is there."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    switch = switches(NO_TRAFFIC)
    switch.accept(*STATES[:3])
    there, first = set(), 300
    for round in range(KILLS):
        controller = Controller(switch, first)
        controller.there = there
        controller.start()
        time.sleep(chance.uniform(0, 0.08))
        kill(switch)
        controller.join()
        switch.start()
        found = {row["id"] for row in switch.show("neighbors")}
        sure = {id for id, _ in controller.there - controller.unsure}
        unsure = {id for id, _ in controller.unsure}
        assert sure <= found, f"lost after kill {round}, seed {seed}: {sorted(sure - found)[:5]}"
        assert found <= sure | unsure, f"there again after kill {round}, seed {seed}: {sorted(found - sure - unsure)[:5]}"
        first = controller.next
        there = {(id, int(id.rsplit("-", 1)[1])) for id in found}
