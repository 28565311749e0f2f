# SPDX-License-Identifier: MIT
"""The judge itself, by samples that are made up: it finds each kind of leak, and takes none for one that is not."""

from __future__ import annotations

import random

import pytest

from judge import SLACK, alarming, grown, lost, unexpected

COUNT = 600


def samples(kind: str, value) -> list[dict[str, float]]:
    return [{f"A: {kind}": value(n), "B: threads": 7} for n in range(COUNT)]


@pytest.mark.parametrize("kind", SLACK)
def test_a_slow_leak_is_found_under_noise(kind):
    """Three times the slack in all, under noise of a hundred times as much."""
    noise = random.Random(kind)
    whole = 3 * max(SLACK[kind], 1)

    def value(n):
        return 1000 + whole * n // COUNT + noise.choice([0, 0, noise.randrange(100 * whole)])

    (found,) = grown(samples(kind, value))
    assert found.startswith(f"A: {kind}: ")


@pytest.mark.parametrize("kind", SLACK)
def test_what_comes_and_goes_is_no_leak(kind):
    noise = random.Random(kind)
    assert grown(samples(kind, lambda n: 1000 + noise.choice([0, noise.randrange(1_000_000)]))) == []


def test_what_grows_at_first_is_no_leak():
    assert grown(samples("open files", lambda n: min(n, COUNT // 5))) == []


def test_what_shrinks_is_no_leak():
    assert grown(samples("open files", lambda n: COUNT - n)) == []


def test_steps_are_found():
    """Something is lost each time that a guest is killed."""
    assert grown(samples("packet buffers", lambda n: 256 + 40 * (n // 200)))


def test_too_few_samples_are_no_judgement():
    with pytest.raises(AssertionError, match="say nothing"):
        grown(samples("threads", lambda n: 5)[:8])


def test_drops_that_this_traffic_does_not_have_are_found():
    assert unexpected({"tx_full": 7, "malformed": 1, "no_buffers": 2}) == ["dropped as malformed: 1", "dropped as no_buffers: 2"]


def test_errors_in_the_log_are_found():
    log = "2026-01-01T00:00:00Z  INFO alkaid: starts\n2026-01-01T00:00:01Z ERROR alkaid: x\nthread 'main' panicked at y\n"
    assert len(alarming(log)) == 2


def test_in_a_calm_everything_arrives_and_only_kernels_own_words_are_dropped():
    assert lost(1000, 1000, {"not_for_us": 3}) == []
    assert lost(1000, 999, {}) == ["of 1000 datagrams between machines that are there 999 arrived"]
    assert lost(1000, 1001, {}) and lost(0, 0, {})
    (found,) = lost(1000, 1000, {"unknown_mac": 1, "not_flooded": 2})
    assert "unknown_mac" in found
