# SPDX-License-Identifier: MIT
"""Scenarios of a cloud: a controller with Alcor's manners, two hosts, and machines that ping each other. `make scenarios`.

Each scenario is a test that makes its cloud by `clouds`, so that test_mutations can run it in a broken cloud as well.
"""

from __future__ import annotations

import pytest


@pytest.fixture
def clouds(networks, switches):
    """Makes a cloud; see cloud.Cloud."""
    from cloud import Cloud

    return lambda *machines, **named: Cloud(networks, switches, *machines, **named)
