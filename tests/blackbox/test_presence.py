# SPDX-License-Identifier: MIT
"""Devices that come late, vanish and come back, and ports that are attached and detached again and again."""

from __future__ import annotations

import pytest

import goal
from frames import udp
from guests import NET, NETWORK, Site, exists, tap_wire
from kernel import run
from plan import A
from program import call, eventually

GUEST, OTHER = NET.guest(A, 1), NET.guest(A, 2)


@pytest.fixture
def inside(networks):
    return networks.namespace("in")


def test_a_port_whose_interface_comes_late_is_ready_by_itself(networks, switches, inside):
    name = networks.device("late")
    site = Site(networks, switches, f"port attach net_af_packet1,iface={name} late", f"port bind 1 {GUEST.id}")
    switch = site.switch
    waits = f"waits for its device: there is no network interface `{name}`"
    assert goal.statuses(switch.push(*NETWORK, goal.port(GUEST)))[("PORT", GUEST.id)] == "PENDING"
    eventually("the reason is said", lambda: site.reason(GUEST.id) == waits)
    row = site.port(1)
    assert (row["state"], row["link"], row["lost"], row["device"]) == (waits, "absent", 0, "net_af_packet1")
    assert switch.show("port info all")[1]["link"] == "absent" and len(switch.show("port stats all")) == 2
    assert f"port attach net_af_packet1,iface={name} late" in switch.execute("show config")
    switch.execute("port config 1 rxd 256")
    for lost in (0, 1, 2):
        assert networks.pair("late", inside, "g", mac=GUEST.mac) == name
        site.ready()
        assert goal.statuses(switch.push(goal.port(GUEST))) == {("PORT", GUEST.id): "SUCCESS"}
        wire = networks.wire(inside, "g")
        site.reach(GUEST, wire)
        site.trade(GUEST, wire, 20)
        row = site.port(1)
        assert (row["state"], row["lost"]) == ("ready", lost) and row["link"] != "absent"
        run("ip", "link", "del", name)
        eventually("it is missed", lambda: site.reason(GUEST.id) == waits)
    assert site.port(1)["lost"] == 3
    assert switch.log.read_text().count("its device is gone") == 3
    switch.terminate()


def test_late_ports_are_attached_by_command_too_and_others_are_refused(networks, switches, inside):
    name = networks.device("late")
    site = Site(networks, switches)
    switch = site.switch
    refused = switch.client("exec", f"port attach net_af_packet1,iface={name}")
    assert refused.returncode == 1 and name in refused.stderr
    assert len(switch.show("ports")) == 1, "what failed has no number"
    said = switch.execute(f"port attach net_af_packet1,iface={name} late")
    assert said.startswith("port 1, stopped; its device is not there: ")
    refused = switch.client("exec", "port attach net_af_packet1,iface=lo")
    assert refused.returncode == 1 and "is port 1 already" in refused.stderr
    switch.execute("port start 1")
    switch.execute(f"port bind 1 {GUEST.id}")
    assert goal.statuses(switch.push(*NETWORK, goal.port(GUEST)))[("PORT", GUEST.id)] == "PENDING"
    networks.pair("late", inside, "g", mac=GUEST.mac)
    site.ready()
    wire = networks.wire(inside, "g")
    site.reach(GUEST, wire)
    site.trade(GUEST, wire)
    switch.execute("port detach 1")
    assert len(switch.show("ports")) == 1
    switch.terminate()


def test_an_uplink_cannot_be_late_and_stays(networks, switches, alkaid, tmp_path):
    site = Site(networks, switches)
    refused = site.switch.client("exec", "port detach 0")
    assert refused.returncode == 1 and "is an uplink or the host port" in refused.stderr
    unknown = site.switch.client("exec", "port detach 5")
    assert unknown.returncode == 1 and "there is no port 5" in unknown.stderr
    config = tmp_path / "late.conf"
    config.write_text("port attach net_null0 late\nset vtep 192.0.2.1/24 port 0\n")
    checked = call(alkaid, "check", config)
    assert checked.returncode != 0 and "its device cannot come late" in checked.stderr, checked.stderr


def test_a_tap_that_is_deleted_is_made_again(networks, switches):
    name = networks.device("tap")
    site = Site(networks, switches, f"port attach net_tap0,iface={name}", f"port bind 1 {GUEST.id}")
    switch = site.switch
    switch.accept(*NETWORK, goal.port(GUEST))
    for lost in range(3):
        wire = tap_wire(networks, name)
        site.reach(GUEST, wire)
        site.trade(GUEST, wire, 20)
        run("ip", "link", "del", name)
        eventually("it is missed", lambda: site.port(1)["lost"] == lost + 1)
        site.ready()
    switch.terminate()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_vanishes_under_traffic_harms_nobody(networks, switches, inside, workers):
    """Frames of one guest for another whose interface comes and goes, while a third trades with another host."""
    devices = [networks.pair(f"g{n}", inside, f"g{n}", mac=guest.mac) for n, guest in enumerate((GUEST, OTHER))]
    site = Site(
        networks,
        switches,
        *(f"port attach net_af_packet{n},iface={device} late" for n, device in enumerate(devices, 1)),
        f"port bind 1 {GUEST.id}",
        f"port bind 2 {OTHER.id}",
        f"set nbcore {workers}",
    )
    switch, wire = site.switch, networks.wire(inside, "g0")
    eventually("all is there", lambda: goal.statuses(switch.push(*NETWORK, goal.port(GUEST), goal.port(OTHER)))[("PORT", OTHER.id)] == "SUCCESS")
    site.reach(GUEST, wire)
    for n in range(4):
        wire.send([udp(GUEST, OTHER)] * 200)
        inside.ip("link del g1")
        wire.send([udp(GUEST, OTHER)] * 200)
        site.trade(GUEST, wire, 30)
        eventually("it is missed", lambda: site.port(2)["lost"] == n + 1)
        before = switch.counters().drops[1].get("tx_full", 0)
        wire.send([udp(GUEST, OTHER)] * 10)
        eventually("what is for it is dropped", lambda: switch.counters().drops[1].get("tx_full", 0) == before + 10)
        networks.pair("g1", inside, "g1", mac=OTHER.mac)
        site.ready()
        other = networks.wire(inside, "g1")
        local = udp(GUEST, OTHER, payload=b"back again %d" % n)

        def arrives():
            wire.send([local])
            return local in other.receive(1, seconds=0.2)

        eventually("the other is there again", arrives)
        other.close()
    switch.terminate()


def test_attached_and_detached_by_command_under_traffic_nothing_is_left_behind(networks, switches, inside):
    device = networks.pair("g0", inside, "g0", mac=GUEST.mac)
    pair = networks.pair("g1", inside, "g1", mac=OTHER.mac)
    site = Site(networks, switches, f"port attach net_af_packet1,iface={device}", f"port bind 1 {GUEST.id}")
    switch, wire, other = site.switch, networks.wire(inside, "g0"), networks.wire(inside, "g1")
    switch.accept(*NETWORK, goal.port(GUEST))
    assert goal.statuses(switch.push(goal.port(OTHER))) == {("PORT", OTHER.id): "PENDING"}
    kinds = [f"net_af_packet2,iface={pair}", f"net_tap2,iface={networks.device('tap')}", "net_ring2"]

    def round(kind: str) -> None:
        wire.send([udp(GUEST, OTHER)] * 20)
        assert switch.execute(f"port attach {kind}") == "port 2, stopped\n"
        switch.execute(f"port bind 2 {OTHER.id}")
        switch.execute("port start 2")
        wire.send([udp(GUEST, OTHER)] * 20)
        site.trade(GUEST, wire, 5)
        switch.execute("port detach 2")
        wire.send([udp(GUEST, OTHER)] * 20)

    for kind in kinds:
        round(kind)
    descriptors, buffers = site.descriptors(), site.buffers()
    for n in range(100):
        round(kinds[n % len(kinds)])
    # Before, a connection of the controller's may still have been there.
    eventually("nothing is left", lambda: site.descriptors() <= descriptors and site.buffers() == buffers)
    assert not exists(networks.tag + "tap")
    assert site.reason(OTHER.id) == f'no port of the switch is bound to "{OTHER.id}" yet'
    other.close()
    switch.terminate()


def test_config_of_a_switch_with_detached_ports_makes_the_others(networks, switches):
    site = Site(networks, switches, "port attach net_ring0", "port attach net_ring1", "port attach vlan7@2", f"port bind 2 {GUEST.id}")
    switch = site.switch
    refused = switch.client("exec", "port detach 2")
    assert refused.returncode == 1 and "`port detach 3` first" in refused.stderr
    switch.execute("port detach 1")
    config = [line for line in switch.execute("show config").splitlines() if line.startswith("port")]
    assert config[0].startswith("port attach net_af_packet0,") and config[1] == "port config 0 mtu 1600"
    assert config[2:] == ["port attach net_ring1", f"port bind 1 {GUEST.id}", "port attach vlan7@1"]
    assert switch.execute("port attach net_ring5") == "port 1, stopped\n"
    switch.terminate()
