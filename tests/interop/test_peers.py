# SPDX-License-Identifier: MIT
"""The other host is a Linux kernel, Open vSwitch, or another switch of this project; the network between them is a link of
IPv4 or IPv6, or two links and a router. Nobody is told the MAC of another host."""

from __future__ import annotations

import pytest

from plan import A, B, Subnet
from program import eventually
from traffic import talk
from underlay import Underlay

NET = Subnet(5)
HERE, THERE = NET.guest(A), NET.guest(B)


@pytest.mark.parametrize("routed", [False, True], ids=["link", "routed"])
@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("peer", ["kernel", "ovs", "alkaid"])
def test_guests_talk(networks, hosts, capsys, peer, version, routed):
    underlay = Underlay(networks, version, routed=routed)
    here = hosts("alkaid", underlay, A, HERE, 1500)
    there = hosts(peer, underlay, B, THERE, 1500)
    there.make(here)
    here.make(there)
    talk(here, there, capsys)
    here.check()
    there.check()


@pytest.mark.parametrize("peer", ["kernel", "ovs"])
def test_guests_of_another_vni_do_not(networks, hosts, peer):
    """They have the same addresses as those that would."""
    underlay = Underlay(networks)
    here = hosts("alkaid", underlay, A, HERE, 1500)
    there = hosts(peer, underlay, B, Subnet(6, numbers=5).guest(B), 1500)
    there.make(here)
    assert (there.machine.ip, there.machine.mac) == (THERE.ip, THERE.mac)
    there.machine = THERE
    here.make(there)

    def dropped() -> int:
        assert there.guest.ping(HERE.ip, 3) == here.guest.ping(THERE.ip, 3) == 0
        return sum(row["packets"] for row in here.switch.show("drops") if row["reason"] == "unknown_vni")

    eventually("its pings arrive and are dropped", lambda: dropped() >= 3)
    assert there.guest.counters()["Icmp"]["InEchos"] == here.guest.counters()["Icmp"]["InEchos"] == 0
