# SPDX-License-Identifier: MIT
"""Whether a switch holds more and more, by samples of what it holds; and whether it dropped what it should not have."""

from __future__ import annotations

WARM_UP = 0.2
"""The share of all samples, from the first one on, that do not count."""

SLACK = {
    "packet buffers": 32,
    "held packets": 32,
    "anonymous memory, KiB": 3072,
    "huge pages, KiB": 0,
    "table entries": 8,
    "table bytes": 65536,
    "pinned bytes": 65536,
    "open files": 8,
    "threads": 2,
    "files in its folder": 0,
}
"""By how much the least of what is held may grow: a burst; what an allocator and a store keep; what was asked for a moment ago; a guest
that is plugged in, and connections under way."""

EXPECTED_DROPS = {
    "port_unbound": "a port was deleted, or its device has no name for a moment",
    "port_down": "as above, while it is created again",
    "unknown_mac": "a machine was deleted, or is not back yet",
    "unknown_neighbor": "the same, of one that is routed to",
    "no_route": "the router was deleted",
    "not_routable": "link-local multicast for a router that was deleted",
    "not_local": "a machine has moved, and its peers' switch does not know yet",
    "unknown_vni": "the last port of a network was deleted, and other hosts do not know yet",
    "spoofed_ip": "a machine has moved, and speaks by the device that it left",
    "spoofed_mac": "the same",
    "spoofed_arp": "the same",
    "tx_full": "a device was stopped, was detached, or has no guest",
    "not_flooded": "replication was off for a moment; or somebody asked for an address that nobody knows",
    "replication_limited": "a guest floods faster than it may",
    "no_receivers": "nobody else was there",
    "not_for_us": "what the kernel says on the underlay by itself",
    "same_port": "a frame for its sender",
    "bad_source_mac": "what a device that is being made says by itself",
    "for_gateway": "kernels' own traffic for their router",
    "on_demand_unknown": "an address was asked for that the controller does not know",
    "on_demand_expired": "the controller was away",
    "on_demand_full": "the same, for long",
}
"""Reasons that this traffic has, and why. All others are a fault: what guests send is well-formed, and no buffer may lack."""


BY_THEMSELVES = {"not_for_us", "not_flooded", "no_receivers", "for_gateway"}
"""Those of what kernels say when nobody asks them."""


def lost(sent: int, received: int, drops: dict[str, int]) -> list[str]:
    """What is wrong with so many datagrams to machines that are there, of which so many arrived, and what was dropped meanwhile."""
    found = [] if 0 < sent == received else [f"of {sent} datagrams between machines that are there {received} arrived"]
    return found + [f"dropped as {reason} without a cause: {count}" for reason, count in drops.items() if reason not in BY_THEMSELVES]


def grown(samples: list[dict[str, float]]) -> list[str]:
    """What grows. A leak raises the least that is held, whatever comes and goes above it: the least of the last third of the samples
    after the warm-up is compared with the least of their first third. A sample is by `HOST: KIND`, the kind one of `SLACK`."""
    counted = samples[int(len(samples) * WARM_UP) :]
    third = len(counted) // 3
    assert third >= 3, f"{len(samples)} samples say nothing"
    first, last = least(counted[:third]), least(counted[-third:])
    found = []
    for name, value in last.items():
        more = value - first.get(name, 0)
        if more > SLACK[name.split(": ")[1]]:
            found.append(f"{name}: {first.get(name, 0):g} at first, {value:g} in the end, at the least")
    return found


def least(samples: list[dict[str, float]]) -> dict[str, float]:
    return {name: min(sample[name] for sample in samples) for name in samples[0]}


def unexpected(drops: dict[str, int]) -> list[str]:
    """Of packets dropped, by reason, those with a reason that this traffic does not have."""
    return [f"dropped as {reason}: {count}" for reason, count in drops.items() if reason not in EXPECTED_DROPS]


def alarming(log: str) -> list[str]:
    """Lines of a switch's log that none should have."""
    return [line for line in log.splitlines() if " ERROR " in line or "panicked" in line]
