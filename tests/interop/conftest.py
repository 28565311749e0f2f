# SPDX-License-Identifier: MIT
"""Guests of this switch and guests of others' talk to each other over networks of all kinds. `make interop` runs these, and what
tests/blackbox has with kernels as other hosts. What they need `scripts/setup interop` installs: without it they fail, but for what a
kernel may lack, unless $MAY_SKIP is set; then they are skipped."""

from __future__ import annotations

import os
import re

import pytest

OF_THE_KERNEL = r"needs (the kernel's|network namespaces|veth devices)"
"""Reasons to skip that no package can take away."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and "MAY_SKIP" not in os.environ:
        _, _, reason = report.longrepr
        if not re.search(OF_THE_KERNEL, reason):
            report.outcome, report.longrepr = "failed", f"{reason.removeprefix('Skipped: ')} (MAY_SKIP=1 leaves out what cannot be tested)"
    return report


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
