# SPDX-License-Identifier: MIT
"""Guests of this switch and guests of others' talk to each other over networks of all kinds. `make interop` runs these, and what
tests/blackbox has with kernels as other hosts."""

from __future__ import annotations

import pytest


@pytest.fixture
def hosts(networks, switches, tmp_path):
    """Makes a host in an underlay: `hosts("kernel", underlay, B, guest, mtu)`. Ends what it started."""
    import hosts

    made = []

    def make(kind: str, *arguments, **named):
        if kind == "alkaid":
            return hosts.Alkaid(switches, networks, *arguments, **named)
        if kind == "kernel":
            return hosts.Kernel(networks, *arguments, **named)
        made.append(hosts.OpenVSwitch(networks, *arguments, folder=tmp_path / "ovs", **named))
        return made[-1]

    yield make
    for each in made:
        each.end()
