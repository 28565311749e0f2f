# SPDX-License-Identifier: MIT
"""Ports of each kind that the README names, with live traffic: what is behind them is `dpdk-testpmd`, the kernel, or another switch."""

from __future__ import annotations

import threading

import pytest

import goal
from frames import udp
from guests import NET, NETWORK, THERE, Forwarder, Site, VethSite, exists, tap_wire
from plan import A
from program import eventually

GUEST, OTHER = NET.guest(A, 1), NET.guest(A, 2)


@pytest.fixture
def testpmds(networks, tmp_path):
    """Starts testpmds, and ends them all."""
    started = []

    def start(device: str, guest=GUEST, **named) -> Forwarder:
        started.append(Forwarder(networks, tmp_path, device, guest=guest, **named))
        return started[-1]

    yield start
    for testpmd in started:
        testpmd.kill()


def virtio(path, *arguments: str) -> str:
    return ",".join([f"net_virtio_user0,path={path},mac={GUEST.mac},queue_size=256", *arguments])


def socket_of(tmp_path):
    """A short path: sockets' have 107 bytes at most."""
    folder = tmp_path / "s"
    folder.mkdir(exist_ok=True)
    return folder / "vm"


def open_site(networks, switches, device: str, *config: str) -> Site:
    site = Site(networks, switches, f"port attach {device}", f"port bind 1 {GUEST.id}", *config)
    site.switch.accept(*NETWORK, goal.port(GUEST))
    return site


def trade_long(site: Site, guest, wire) -> None:
    """Frames up to the longest, which takes several buffers of a guest that merges them."""
    for length in (8, 200, 1000, 1472):
        site.trade(guest, wire, 8, length)


@pytest.mark.parametrize(("queues", "workers"), [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("merged", ["mrg_rxbuf=0", "mrg_rxbuf=1"])
def test_a_guest_at_a_vhost_socket_of_the_switch(networks, switches, testpmds, tmp_path, queues, workers, merged):
    """With one worker, too, all of its queues are polled."""
    path = socket_of(tmp_path)
    site = open_site(networks, switches, f"net_vhost0,iface={path},queues={queues}", f"set nbcore {workers}")
    switch = site.switch
    assert site.port(1)["link"] == "down"
    for lost in range(2):
        guest = testpmds(virtio(path, f"queues={queues}", merged), queues=queues)
        eventually("it is connected", lambda: guest.assert_alive() or site.port(1)["link"] == "up")
        site.reach(GUEST, guest.wire)
        for sport in range(2000, 2010):
            site.trade(GUEST, guest.wire, 10, sport=sport)
        trade_long(site, GUEST, guest.wire)
        (guest.end if lost == 0 else guest.kill)()
        eventually("it is missed", lambda: (site.port(1)["link"], site.port(1)["lost"]) == ("down", lost + 1))
        # Nobody takes what is for it.
        site.switch.accept(goal.port(GUEST))
    assert switch.log.read_text().count("its link is down") == 2
    switch.terminate()
    assert not path.exists()


def test_a_guest_with_more_queues_than_its_port_has_is_told_of(networks, switches, testpmds, tmp_path):
    path = socket_of(tmp_path)
    site = open_site(networks, switches, f"net_vhost0,iface={path},queues=2")
    testpmds(virtio(path, "queues=3"), queues=3)
    said = f"the guest at {path} has enabled more than the 2 pairs of queues"
    eventually("the log says so", lambda: site.switch.log.read_text().count(said) == 1)


def test_a_vhost_client_connects_again_when_its_guest_is_back(networks, switches, testpmds, tmp_path):
    path = socket_of(tmp_path)
    site = open_site(networks, switches, f"net_vhost0,iface={path},client=1")
    for lost in range(2):
        path.unlink(missing_ok=True)
        guest = testpmds(virtio(path, "server=1"))
        eventually("the switch connects", lambda: guest.assert_alive() or site.port(1)["link"] == "up")
        site.reach(GUEST, guest.wire)
        site.trade(GUEST, guest.wire, 20)
        guest.kill()
        eventually("it is missed", lambda: site.port(1)["lost"] == lost + 1)
    site.switch.terminate()


def test_a_guests_socket_comes_and_goes_with_its_port(networks, switches, testpmds, tmp_path):
    path = socket_of(tmp_path)
    site = Site(networks, switches, f"set vport template net_vhost{{n}},iface={path.parent}/{{name}},queues=1")
    switch = site.switch
    state = goal.port(GUEST)
    state.configuration.name = path.name
    buffers = site.buffers()
    for _ in range(3):
        switch.push(*NETWORK, state)
        site.ready()
        guest = testpmds(virtio(path))
        eventually("it is connected", lambda: guest.assert_alive() or site.port(1)["link"] == "up")
        site.reach(GUEST, guest.wire)
        site.trade(GUEST, guest.wire, 20)
        guest.wire.send([udp(GUEST, OTHER)] * 500)
        switch.accept(goal.delete(state))  # in the midst of its traffic
        eventually("its socket goes", lambda: not path.exists() and len(switch.show("ports")) == 1)
        guest.kill()
    eventually("all buffers are back", lambda: site.buffers() == buffers)
    switch.terminate()


def test_a_guest_at_a_tap(networks, switches):
    name = networks.device("tap")
    site = open_site(networks, switches, f"net_tap0,iface={name}")
    wire = tap_wire(networks, name)
    site.reach(GUEST, wire)
    trade_long(site, GUEST, wire)
    site.switch.terminate()
    assert not exists(name)


def test_a_guest_behind_a_veth_by_af_packet(networks, switches):
    site = VethSite(networks, switches, [GUEST])
    site.switch.accept(*NETWORK, goal.port(GUEST))
    trade_long(site, GUEST, *site.wires)
    site.switch.terminate()


@pytest.mark.parametrize(("ring", "mtu"), [("", 1968), (",framesz=2080,blocksz=266240", 2000)])
def test_a_port_by_af_packet_has_no_mtu_that_its_ring_cuts(networks, switches, ring, mtu):
    inside, guests = networks.namespace("in"), (GUEST, OTHER)
    ports = []
    for number, guest in enumerate(guests, 1):
        device = networks.pair(f"g{number}", inside, f"g{number}", mac=guest.mac, mtu=9000)
        ports += [f"port attach net_af_packet{number},iface={device}{ring}", f"port config {number} mtu {mtu}", f"port bind {number} {guest.id}"]
    here, there = (networks.wire(inside, f"g{number}") for number in (1, 2))
    switch = Site(networks, switches, *ports).switch
    switch.accept(*NETWORK, *map(goal.port, guests))
    payload = (bytes(range(251)) * 8)[: mtu - 28]
    away, back = udp(GUEST, OTHER, payload=payload), udp(OTHER, GUEST, payload=payload)
    for _ in range(30):  # more than the ring has slots
        here.send([away] * 20)
        there.expect([away] * 20)
        there.send([back] * 20)
        here.expect([back] * 20)
    switch.execute("port stop 1")
    switch.execute(f"port config 1 mtu {mtu + 1}")
    refused = switch.client("exec", "port start 1")
    assert refused.returncode == 1 and f"mtu {mtu + 1} is out of range, it takes 46 to {mtu}: " in refused.stderr, refused.stderr
    assert "framesz=2080,blocksz=266240" in refused.stderr
    switch.terminate()


def test_a_port_by_af_packet_hears_no_other_interface(networks, switches):
    """DPDK's sockets hear all of them until they are bound to their own: the longer, the larger the ring."""
    site = Site(networks, switches)
    switch = site.switch
    inside = networks.namespace("in")
    device, _ = (networks.pair(name, inside, name, mac=guest.mac) for name, guest in (("g", GUEST), ("o", OTHER)))
    wire, noise, ended = networks.wire(inside, "g"), networks.wire(inside, "o"), threading.Event()

    frames = [udp(OTHER, THERE)] * 100

    def talk() -> None:
        while not ended.is_set():
            noise.send(frames)

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        for _ in range(5):
            switch.execute(f"port attach net_af_packet1,iface={device},framecnt=16384")
            switch.execute(f"port bind 1 {GUEST.id}")
            switch.accept(*NETWORK, goal.port(GUEST))
            switch.execute("port start 1")
            before = switch.counters().rx(1)
            site.trade(GUEST, wire)
            assert (before, switch.counters().rx(1)) == (0, 1)
            switch.execute("port detach 1")
    finally:
        ended.set()
        talker.join()
    switch.terminate()


def test_a_guest_behind_a_veth_by_af_xdp(networks, switches):
    namespace = networks.namespace("in")
    device = networks.pair("g", namespace, "g", mac=GUEST.mac)
    site = Site(networks, switches)
    switch = site.switch
    attached = switch.client("exec", f"port attach net_af_xdp0,iface={device}")
    if attached.returncode != 0:
        pytest.skip(f"AF_XDP does not work here: {attached.stderr.strip()}")
    started = switch.client("exec", "port start 1")
    if started.returncode != 0:
        pytest.skip(f"AF_XDP does not work here: {started.stderr.strip()}")
    switch.execute(f"port bind 1 {GUEST.id}")
    switch.accept(*NETWORK, goal.port(GUEST))
    wire = networks.wire(namespace, "g")
    site.reach(GUEST, wire)
    site.trade(GUEST, wire, 20)
    switch.execute("port detach 1")
    assert len(switch.show("ports")) == 1
    switch.terminate()


@pytest.mark.parametrize("workers", [1, 2])
def test_guests_of_another_program_by_memif(networks, switches, testpmds, tmp_path, workers):
    path = socket_of(tmp_path)
    memif = f"socket={path},socket-abstract=no"
    site = open_site(networks, switches, f"net_memif0,role=server,{memif}", f"set nbcore {workers}")
    for _ in range(2):
        guest = testpmds(f"net_memif0,role=client,{memif},mac={GUEST.mac}")
        eventually("it is connected", lambda: guest.assert_alive() or site.port(1)["link"] == "up")
        site.reach(GUEST, guest.wire)
        site.trade(GUEST, guest.wire, 20)
        # DPDK takes a peer's memory away from under the workers: the switch says so.
        site.switch.execute("port stop 1")
        guest.kill()
        site.switch.execute("port start 1")
    assert "`port stop` before that" in site.switch.log.read_text()
    site.switch.terminate()


def test_the_switch_as_the_guest_of_another_by_virtio_user(networks, switches, testpmds, tmp_path):
    path = socket_of(tmp_path)
    host = testpmds(f"net_vhost0,iface={path}")
    eventually("its socket is there", lambda: host.assert_alive() or path.exists())
    site = open_site(networks, switches, f"net_virtio_user0,path={path},mac={GUEST.mac} late")
    site.ready()
    site.reach(GUEST, host.wire)
    site.trade(GUEST, host.wire, 20)
    site.switch.terminate()
