# SPDX-License-Identifier: MIT
"""A cloud that is used and changed for as long as one likes, and what its switches hold meanwhile: `make soak MINUTES=60`."""

from __future__ import annotations

import sys
from pathlib import Path

# Its cloud and its controller are those of the scenarios.
sys.path.insert(0, str(Path(__file__).parents[1] / "scenarios"))
