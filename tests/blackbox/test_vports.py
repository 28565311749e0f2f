# SPDX-License-Identifier: MIT
"""`set vport template`: the controller's ports get their devices as they are described, and lose them when deleted."""

from __future__ import annotations

import signal
import socket
import stat

import pytest

import goal
from plan import A
from program import eventually
from guests import NET, NETWORK, Site, exists, tap_wire

FIRST, SECOND = NET.guest(A, 1), NET.guest(A, 2)
UPLINK = [0]


def named(guest, name: str):
    state = goal.port(guest)
    state.configuration.name = name
    return state


def taps(networks, switches, *config: str) -> Site:
    return Site(networks, switches, f"set vport template net_tap{{n}},iface={networks.tag}{{name}}", *config)


def numbers(site) -> list[int]:
    return [row["port"] for row in site.switch.show("ports")]


def is_socket(path) -> bool:
    return path.exists() and stat.S_ISSOCK(path.stat().st_mode)


@pytest.mark.parametrize("rpc", ["v1", "v2"])
def test_a_port_gets_its_device_with_the_goal_state_and_loses_it_with_that(networks, switches, rpc):
    site = taps(networks, switches)
    switch = site.switch
    device = f"{networks.tag}a"
    push = switch.push if rpc == "v1" else switch.push_stream
    for _ in range(3):
        statuses = goal.statuses(push(*NETWORK, named(FIRST, "a")))
        assert statuses.pop(("PORT", FIRST.id)) in ("PENDING", "SUCCESS") and set(statuses.values()) == {"SUCCESS"}
        wire = tap_wire(networks, device)
        site.ready()
        assert goal.statuses(push(named(FIRST, "a"))) == {("PORT", FIRST.id): "SUCCESS"}
        site.reach(FIRST, wire)
        site.trade(FIRST, wire, 20)
        row = site.port(1)
        assert (row["id"], row["state"], row["role"]) == (FIRST.id, "ready", "tenant")
        assert row["vlan"] == "drop", "what was said of the number's last port is forgotten"
        switch.execute("port config 1 vlan pass")
        assert set(goal.statuses(push(goal.delete(named(FIRST, "a")))).values()) == {"SUCCESS"}
        eventually("the device goes", lambda: not exists(device) and numbers(site) == UPLINK)
    assert switch.show("pending") == []
    assert "vport template" in switch.execute("show config") and "net_tap" not in switch.execute("show config").split("template", 1)[1].split("\n", 1)[1]
    switch.terminate()


def test_the_counters_of_a_number_begin_anew_with_its_next_port(networks, switches):
    site = taps(networks, switches)
    for guest, name in ((FIRST, "a"), (SECOND, "b")):
        site.switch.push(*NETWORK, named(guest, name))
        wire = tap_wire(networks, networks.tag + name)
        site.ready()
        assert site.switch.counters().ports[1]["tx_packets"] == 0
        site.reach(guest, wire)
        site.trade(guest, wire, 5)
        assert site.switch.counters().ports[1]["tx_packets"] >= 5
        site.switch.push(goal.delete(named(guest, name)))
        eventually("the port goes", lambda: numbers(site) == UPLINK)


def test_what_an_operator_binds_gets_no_device(networks, switches):
    device = networks.device("own")
    site = taps(networks, switches, f"port attach net_tap9,iface={device}", f"port bind 1 {FIRST.id}")
    switch = site.switch
    switch.accept(*NETWORK, named(FIRST, "a"))
    assert numbers(site) == [0, 1] and not exists(f"{networks.tag}a")
    # Until it is unbound.
    switch.execute("port unbind 1")
    site.ready()
    assert site.port(2)["id"] == FIRST.id and exists(f"{networks.tag}a")
    for command in (f"port bind 2 {SECOND.id}", "port unbind 2", "port detach 2"):
        refused = switch.client("exec", command)
        assert refused.returncode == 1 and "set vport template" in refused.stderr, refused.stderr
    switch.terminate()
    assert not exists(f"{networks.tag}a")


def test_after_a_crash_the_devices_are_there_again_by_the_same_names(networks, switches, tmp_path):
    sockets = tmp_path / "run"
    sockets.mkdir()
    site = Site(
        networks,
        switches,
        f"set vport template net_vhost{{n}},iface={sockets}/{{name}}.sock,queues=2",
        f"set store {tmp_path}/store",
    )
    switch = site.switch
    switch.push(*NETWORK, named(FIRST, "web 1"), named(SECOND, ""))
    site.ready()
    names = {"web_1.sock", f"{SECOND.id}.sock"}
    assert {path.name for path in sockets.iterdir() if is_socket(path)} == names
    # Somebody else's socket of that name is not taken away.
    switch.process.send_signal(signal.SIGKILL)
    switch.process.wait()
    switch.close()
    switch.socket.unlink()
    assert {path.name for path in sockets.iterdir()} == names, "a crash leaves them"
    theirs = sockets / "web_1.sock"
    theirs.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(theirs))
        listener.listen()
        switch.start()
        eventually("its socket is taken", lambda: "web_1.sock cannot be opened: somebody listens on it" in site.reason(FIRST.id))
        eventually("the other port is ready", lambda: not site.reason(SECOND.id))
    theirs.unlink()
    site.ready()
    assert {path.name for path in sockets.iterdir() if is_socket(path)} == names
    switch.accept(goal.delete(named(FIRST, "web 1")))
    eventually("its socket goes", lambda: {path.name for path in sockets.iterdir()} == {f"{SECOND.id}.sock"})
    switch.terminate()
    assert list(sockets.iterdir()) == []


HOSTILE = {
    "../../../../tmp/x": "has a `/`",
    "..": "begins with a dot",
    ".hidden": "begins with a dot",
    "a\0b": "has a control character",
    "n" * 150: "the path of a socket has 107 at most",
}


def test_hostile_names_are_refused_and_harm_nobody_else(networks, switches, tmp_path):
    sockets = tmp_path / "s"
    sockets.mkdir()
    site = Site(networks, switches, f"set vport template net_vhost{{n}},iface={sockets}/{{name}}")
    guests = [NET.guest(A, n) for n in range(3, 3 + len(HOSTILE))]
    site.switch.push(*NETWORK, *(named(guest, name) for guest, name in zip(guests, HOSTILE)), named(FIRST, "good"))
    for guest, why in zip(guests, HOSTILE.values()):
        eventually(f"{why!r} is said", lambda: why in site.reason(guest.id))
        assert site.reason(guest.id).startswith("waits for its device: ")
    # The same name again, and one that differs in nothing that a file's name may have.
    site.switch.push(named(SECOND, "good"))
    eventually("the other's number is said", lambda: "port 1 of the switch has the same" in site.reason(SECOND.id))
    assert [path.name for path in sockets.iterdir()] == ["good"]
    assert [path.name for path in tmp_path.iterdir() if is_socket(path)] == []
    # With another name it is well at once.
    site.switch.push(goal.with_operation(named(guests[0], "now-good"), goal.INFO))
    eventually("it is ready", lambda: not site.reason(guests[0].id))
    site.switch.terminate()


def test_a_device_that_fails_is_tried_again_and_nothing_waits_for_it(networks, switches, tmp_path):
    sockets = tmp_path / "not-yet"
    site = Site(networks, switches, f"set vport template net_vhost{{n}},iface={sockets}/{{id}}")
    switch = site.switch
    assert goal.statuses(switch.push(*NETWORK, goal.port(FIRST)))[("PORT", FIRST.id)] == "PENDING"
    eventually("a reason is given", lambda: "No such file or directory" in site.reason(FIRST.id) or "net_vhost" in site.reason(FIRST.id))
    assert goal.statuses(switch.push(goal.port(FIRST)))[("PORT", FIRST.id)] == "PENDING"
    switch.accept(goal.delete(goal.neighbor(NET.guest(2))), rpc="v2")
    sockets.mkdir()
    site.ready()
    assert is_socket(sockets / FIRST.id)
    # One that is deleted while it waits is forgotten.
    (sockets / FIRST.id).unlink()
    switch.accept(goal.delete(goal.port(FIRST)))
    eventually("it is gone", lambda: numbers(site) == UPLINK)
    switch.terminate()


def test_more_ports_than_there_can_be_wait_for_one_that_goes(networks, switches):
    site = Site(networks, switches, "set vport template net_ring{n}")
    switch = site.switch
    guests = [NET.guest(A, n) for n in range(1, 36)]
    switch.push(*NETWORK, *map(goal.port, guests))
    eventually("all places are taken", lambda: len(switch.show("pending")) == 4)
    waiting = switch.show("pending")
    for row in waiting:
        assert "DPDK's limit for one process (RTE_MAX_ETHPORTS" in row["reason"], row
    refused = switch.client("exec", "port attach net_null0")
    assert refused.returncode == 1 and "DPDK's limit for one process" in refused.stderr
    ids = {row["id"] for row in waiting}
    gone = next(guest for guest in guests if guest.id not in ids)
    switch.accept(goal.delete(goal.port(gone)))
    eventually("another one has its place", lambda: len(switch.show("pending")) == 3)
    switch.accept(*(goal.delete(goal.port(guest)) for guest in guests))
    eventually("all are gone", lambda: numbers(site) == UPLINK)
    assert switch.show("pending") == []
    switch.terminate()


def test_hundreds_of_ports_that_come_and_go_leave_nothing_behind(networks, switches, tmp_path):
    device = networks.pair("g", site_namespace := networks.namespace("in"), "g", mac=FIRST.mac)
    sockets = tmp_path / "s"
    sockets.mkdir()
    site = Site(
        networks,
        switches,
        f"port attach net_af_packet1,iface={device}",
        f"port bind 1 {FIRST.id}",
        f"set vport template net_vhost{{n}},iface={sockets}/{{id}}",
    )
    switch, wire = site.switch, networks.wire(site_namespace, "g")
    others = [NET.guest(A, n) for n in range(2, 8)]
    switch.accept(*NETWORK, goal.port(FIRST))

    def come_and_go():
        switch.push(*map(goal.port, others))
        site.trade(FIRST, wire, 10)
        site.ready()
        switch.push(*(goal.delete(goal.port(guest)) for guest in others))
        site.trade(FIRST, wire, 10)
        eventually("they are gone", lambda: numbers(site) == [0, 1])

    come_and_go()
    descriptors, buffers = site.descriptors(), site.buffers()
    for _ in range(25):
        come_and_go()
    # Before, a connection of the controller's may still have been there.
    eventually("nothing is left", lambda: site.descriptors() <= descriptors and site.buffers() == buffers)
    assert list(sockets.iterdir()) == []
    switch.terminate()
