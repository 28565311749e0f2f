# SPDX-License-Identifier: MIT
"""What a machine's own kernel asks for: its address by DHCP; IPv6."""

from __future__ import annotations

import shutil

import pytest

from controller import machine
from kernel import ask_and_answer, exchange
from plan import A, B, Subnet

NEAR, FAR = Subnet(5, half=0), Subnet(5, half=1)
NEAR6, FAR6 = Subnet(5, numbers=5, version=6, of_vpc="vpc-5"), Subnet(5, numbers=6, version=6, of_vpc="vpc-5")
SCRIPT = """#!/bin/sh
if [ "$1" = bound ]; then
    ip address add "$ip/$mask" dev "$interface"
    ip link set "$interface" mtu "$mtu"
    ip route add default via "$router"
fi
"""


def test_a_machine_gets_its_address_by_dhcp_and_is_reached_by_it(clouds, tmp_path):
    if shutil.which("busybox") is None:
        pytest.skip("needs `busybox`")
    here, there = machine(NEAR.guest(A)), machine(FAR.guest(B))
    cloud = clouds(here, there, settle=False, mtu=1500)
    script = tmp_path / "bound.sh"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    cloud.controller.create_router("router", NEAR, FAR)
    cloud.controller.create_port(here, there, dhcp=True)
    for each in (here, there):
        namespace = cloud.of(each)
        cloud.lease(each, script)
        shown = namespace.ip("address show dev eth0")
        assert f"inet {each.ip}/17 " in shown and "mtu 1450 " in shown, shown
        assert f"default via {each.addresses[0].subnet.gateway_ip}" in namespace.ip("route show")
    cloud.reach((here, there), (there, here))
    exchange(*cloud.ends(here, there))


def test_machines_of_both_versions_of_ip(clouds):
    """Neighbors have one address of each; both subnets of both versions are behind one router."""
    here, there = machine(NEAR.guest(A), NEAR6.guest(A)), machine(NEAR.guest(B), NEAR6.guest(B))
    far = machine(FAR.guest(B), FAR6.guest(B))
    cloud = clouds(here, there, far)
    cloud.controller.create_router("router", NEAR, FAR, NEAR6, FAR6)
    cloud.controller.create_port(here, there, far)
    for version in (0, 1):
        ways = [(client, server.addresses[version].ip) for client, server in ((here, there), (here, far), (far, here), (there, far))]
        cloud.reach(*ways)
        for client, server in ((here, there), (far, here)):
            ends = [(cloud.of(each), each.addresses[version].ip) for each in (client, server)]
            ask_and_answer(*ends, (0, 1000))
            exchange(*ends)
    cloud.controller.delete_port(there)
    assert cloud.of(here).ping(there.addresses[1].ip, 3) == 0
    cloud.reach((here, far.addresses[1].ip))
