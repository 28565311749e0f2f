# SPDX-License-Identifier: MIT
"""What happens in a town while its machines talk: each change is taken back, so that a town is the same after any number of them."""

from __future__ import annotations

import itertools
import time

from guests import exists
from kernel import exchange
from plan import A, B
from program import eventually
from town import ELSEWHERE, EXTRA, FAR, FAR6, HERE, MOVING, NEAR, NEAR6, ROUTED, ROUTER, SOCKETS, THERE, VIRTIO, Town, flap

WHILE = 0.3
"""Seconds that something is otherwise."""
TCP_BYTES = 300_000


def neighbors_come_and_go(town: Town) -> None:
    town.controller.create_port(*ELSEWHERE)
    town.controller.delete_port(*ELSEWHERE)


def a_neighbor_is_not_told_of(town: Town) -> None:
    town.controller.delete_neighbor(A, THERE)
    town.controller.create_neighbor(A, THERE)


def ports_are_deleted_and_created(town: Town) -> None:
    for each in (HERE, ROUTED, VIRTIO):
        town.controller.delete_port(each)
        time.sleep(WHILE)
        town.controller.create_port(each)


def a_router_is_deleted_and_created(town: Town) -> None:
    town.controller.delete_router(ROUTER)
    time.sleep(WHILE)
    town.controller.create_router(ROUTER, NEAR, FAR, NEAR6, FAR6)


def a_machine_moves(town: Town) -> None:
    """To the other host, and back, with what its kernel knows of its peers."""
    namespace = town.cloud.of(MOVING)
    for to, old, new in ((B, "eth0", "eth1"), (A, "eth1", "eth0")):
        namespace.ip(f"address del {MOVING.ip}/16 dev {old}")
        namespace.ip(f"address add {MOVING.ip}/16 dev {new}")
        namespace.ip(f"-4 route replace default via {NEAR.gateway_ip} dev {new}")
        town.controller.move_port(town.controller.machines[MOVING.id], to)
        town.cloud.reach((THERE, MOVING), (HERE, MOVING))


def all_is_told_again(town: Town) -> None:
    for host in town.hosts:
        town.controller.tell_all_again(host)
        town.controller.tell_all_again(host, seed=host)


def links_are_lost(town: Town) -> None:
    for each in (HERE, THERE):
        flap(town.device(each), WHILE)


def a_guest_is_killed(town: Town) -> None:
    town.virtio.kill()
    time.sleep(WHILE)
    town.virtio.boot()


def a_guest_is_shut_down(town: Town) -> None:
    town.virtio.end()
    town.virtio.boot()


def sockets_come_and_go(town: Town) -> None:
    """By the template of ports."""
    town.controller.create_port(*SOCKETS)
    paths = [town.hosts[A].folder / f"{each.id}.sock" for each in SOCKETS]
    eventually("sockets are there", lambda: all(path.exists() for path in paths))
    town.controller.delete_port(*SOCKETS)
    eventually("sockets are gone", lambda: not any(path.exists() for path in paths))


_tap = itertools.count(1)


def devices_are_attached_and_detached(town: Town) -> None:
    switch, tap = town.hosts[A], f"{town.networks.tag}x"
    for device in (f"net_tap{next(_tap) % 8 + 10},iface={tap}", "net_ring9"):
        said = switch.execute(f"port attach {device}")
        number = said.split(",")[0].removeprefix("port ")
        switch.execute(f"port bind {number} {EXTRA.id}")
        switch.execute(f"port start {number}")
        town.controller.create_port(EXTRA)
        time.sleep(WHILE)
        town.controller.delete_port(EXTRA)
        switch.execute(f"port detach {number}")
    eventually("the tap device is gone", lambda: not exists(tap))


def ports_are_stopped(town: Town) -> None:
    for which in (HERE, VIRTIO):
        town.hosts[A].execute(f"port stop {town.number(which)}")
        time.sleep(WHILE)
        town.hosts[A].execute(f"port start {town.number(which)}")


def ports_are_bound_again(town: Town) -> None:
    """On the host without a template, which would make other devices for them."""
    for which in (THERE, ROUTED):
        town.hosts[B].execute(f"port unbind {town.number(which)}")
        time.sleep(WHILE)
        town.hosts[B].execute(f"port bind {town.number(which)} {which.id}")


def replication_is_off_for_a_moment(town: Town) -> None:
    for switch in town.hosts.values():
        switch.execute("set replicate subnet all off")
        time.sleep(WHILE)
        switch.execute("set replicate subnet all on")


def the_manager_is_away(town: Town) -> None:
    town.ncm.end()
    time.sleep(WHILE)
    town.ncm_is_there()


def operators_look(town: Town) -> None:
    for switch in town.hosts.values():
        for what in ("neighbors", "routes", "pending", "health", "dhcp", "underlay", "subnets", "port info all", "on-demand"):
            switch.show(what)
        switch.execute("show config")


def machines_speak_tcp(town: Town) -> None:
    for pair in ((HERE, THERE), (VIRTIO, HERE), (THERE, ROUTED)):
        exchange(*town.cloud.ends(*pair), TCP_BYTES)


CHANGES = [
    neighbors_come_and_go,
    a_neighbor_is_not_told_of,
    ports_are_deleted_and_created,
    a_router_is_deleted_and_created,
    a_machine_moves,
    all_is_told_again,
    links_are_lost,
    a_guest_is_killed,
    a_guest_is_shut_down,
    sockets_come_and_go,
    devices_are_attached_and_detached,
    ports_are_stopped,
    ports_are_bound_again,
    replication_is_off_for_a_moment,
    the_manager_is_away,
    operators_look,
    machines_speak_tcp,
]
