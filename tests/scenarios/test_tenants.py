# SPDX-License-Identifier: MIT
"""Three tenants with the same addresses, MACs included, on the same hosts."""

from __future__ import annotations

from cloud import Leaked
from controller import machine
from kernel import exchange
from plan import A, B, Subnet

NETS = [Subnet(vni, numbers=7) for vni in (21, 22, 23)]
HERE, THERE = ([machine(net.guest(host)) for net in NETS] for host in (A, B))


def test_tenants_of_the_same_addresses_reach_their_own_machines_only(clouds):
    cloud = clouds(*HERE, *THERE)
    assert len({(each.ip, each.mac) for each in HERE}) == len({(each.ip, each.mac) for each in THERE}) == 1
    cloud.controller.create_port(*HERE, *THERE[:2])
    for client, server in zip(HERE[:2], THERE):
        before = {each.id: cloud.echoes(each) for each in THERE}
        cloud.reach((client, server))
        got = {each.id for each in THERE if cloud.echoes(each) > before[each.id]}
        if got != {server.id}:
            raise Leaked(f"{client.id} pinged, and {got} heard it")
    # The third has nobody there; the others' machines are not taken for its own.
    before = list(map(cloud.echoes, THERE))
    cloud.deny((HERE[2], THERE[2]), (THERE[2], HERE[2]))
    assert list(map(cloud.echoes, THERE)) == before
    cloud.controller.create_port(THERE[2])
    cloud.reach(*zip(HERE, THERE), *zip(THERE, HERE))
    # What one deletes the others keep.
    cloud.controller.delete_port(THERE[1])
    cloud.deny((HERE[1], THERE[1]))
    cloud.reach((HERE[0], THERE[0]), (HERE[2], THERE[2]))
    exchange(*cloud.ends(HERE[0], THERE[0]))
