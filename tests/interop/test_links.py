# SPDX-License-Identifier: MIT
"""Links of other kinds: large packets, and uplinks of the drivers that need no hardware."""

from __future__ import annotations

import pytest

from plan import A, B, Subnet, host_mac
from traffic import talk
from underlay import Underlay

NET = Subnet(5)
HERE, THERE = NET.guest(A), NET.guest(B)


@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("peer", ["kernel", "ovs", "alkaid"])
def test_guests_talk_in_large_packets(networks, hosts, capsys, peer, version):
    """Not as large as elsewhere: net_af_packet's ring has frames of 2048 bytes, which the kernel takes some of for itself."""
    underlay = Underlay(networks, version, mtu=1900)
    mtu = 1900 - (50 if version == 4 else 70)
    here = hosts("alkaid", underlay, A, HERE, mtu)
    there = hosts(peer, underlay, B, THERE, mtu)
    there.make(here)
    here.make(there)
    talk(here, there, capsys)
    here.check()
    there.check()


def memif(role: str, folder, host: int) -> str:
    return f"net_memif0,role={role},socket={folder}/memif.sock,socket-abstract=no,mac={host_mac(host)}"


@pytest.mark.parametrize("driver", ["net_tap", "net_af_xdp", "net_memif"])
def test_guests_of_two_switches_talk(networks, hosts, capsys, tmp_path, driver):
    """A tap device and memif take 1500 bytes, of which 1450 are left."""
    underlay = Underlay(networks, mtu=1500)
    uplinks = [memif(role, tmp_path, host) for role, host in (("server", A), ("client", B))] if driver == "net_memif" else [driver] * 2
    here, there = (hosts("alkaid", underlay, host, guest, 1450, uplink=uplink) for host, guest, uplink in zip((A, B), (HERE, THERE), uplinks))
    there.make(here)
    here.make(there)
    talk(here, there, capsys)
    if driver == "net_memif":
        there.switch.execute("port stop 0")  # DPDK unmaps the memory of a peer that goes away: see the README
    here.check()
    there.check()
