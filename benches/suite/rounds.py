# SPDX-License-Identifier: MIT
"""Measures one case: first proofs, then rounds in which each program has its turn (A B C D A B C D ...), since the
machine's speed drifts."""

import contextlib
import statistics
import tempfile
from pathlib import Path

from . import ovs, settings, testpmd
from .alkaid import Alkaid
from .machine import Played

# A round is calm if testpmd's io takes at most this much more than in the best round.
CALM = 1.1


def calm(rounds):
    """The calm ones among `rounds`; all, if io is not measured."""
    floors = [cycles.get("io", 1) for cycles in rounds]
    return [cycles for cycles, floor in zip(rounds, floors) if floor <= CALM * min(floors)]


def measure_rounds(turns):
    """ROUNDS times the cycles per packet of each program. Rounds of a slow floor are repeated, at most ROUNDS of them; the
    ones with the best floors count."""
    rounds = []
    while len(calm(rounds)) < settings.ROUNDS and len(rounds) < 2 * settings.ROUNDS:
        rounds.append({name: measure() for name, measure in turns.items()})
    return sorted(rounds, key=lambda cycles: cycles.get("io", 1))[:settings.ROUNDS], len(rounds) - settings.ROUNDS


def bench(case, flows):
    """The result for one case and number of flows, as it is printed."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        played = Played(case, flows, Path(folder))
        alkaid = Alkaid(played)
        alkaid.prove()
        turns = {"alkaid": alkaid.measure}
        turns |= {mode: testpmd.Testpmd(mode, played).measure for mode in testpmd.MODES if mode in settings.YARDSTICKS}
        result = {"case": case.name, "flows": flows}
        if "ovs" in settings.YARDSTICKS:
            switch = running.enter_context(ovs.Ovs(played))
            turns["ovs"] = switch.measure
            result["ovs_caches"] = switch.caches
        rounds, repeated = measure_rounds(turns)
    own = [cycles["alkaid"] for cycles in rounds]
    result |= {"mpps": round(alkaid.tsc_hz / statistics.median(own) / 1e6, 2), "cycles": round(statistics.median(own), 1),
               "cycles_min": round(min(own), 1), "cycles_max": round(max(own), 1), "rounds_repeated": repeated}
    for name in list(turns)[1:]:
        theirs = [cycles[name] for cycles in rounds]
        result[f"cycles_{name}"] = round(statistics.median(theirs), 1)
        result[f"vs_{name}"] = round(statistics.median(other / mine for other, mine in zip(theirs, own)), 3)
    return result
