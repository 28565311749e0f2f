# SPDX-License-Identifier: MIT
"""Whether a ratio has fallen: a check, not a measurement, that runs anywhere."""

import json
import sys
from pathlib import Path

from . import settings
from .rounds import bench

# The same program varies by half on a shared machine, and other processors have other ratios.
TOLERATED = 0.6
ATTEMPTS = 3


def read():
    """Of each case, our packet rate divided by that of testpmd's csum."""
    return json.loads(Path(settings.FLOORS).read_text())["vs_csum"] if settings.FLOORS else {}


def bench_against(floors, case, flows):
    """The first of at most three results that is not too far below its floor, or the last, and whether it is not."""
    for attempt in range(ATTEMPTS):
        result = bench(case, flows)
        wanted = TOLERATED * floors[case.name] if floors else 0
        if not floors or result["vs_csum"] >= wanted:
            return result, True
        print(f"{case.name}: ratio to csum {result['vs_csum']}, at least {wanted:.2f} is wanted; attempt {attempt + 1} of {ATTEMPTS}",
              file=sys.stderr)
    return result, False
