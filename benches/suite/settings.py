# SPDX-License-Identifier: MIT
"""What the environment says: `../run` lists it."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def words(name, default):
    return [word for word in os.environ.get(name, default).split(",") if word]


ALKAID = Path(os.environ.get("ALKAID") or ROOT / "target/release/alkaid")
TESTPMD = os.environ.get("TESTPMD", "dpdk-testpmd")
MAIN_CORE, WORKER_CORE = words("CORES", "0,1")
SECONDS = float(os.environ.get("SECONDS_PER_RUN", "1"))
ROUNDS = int(os.environ.get("ROUNDS", "5"))
FLOWS = [int(word) for word in words("FLOWS", "1,1000,10000,100000")]
CASES = words("CASES", "encap_switched,encap_routed,decap_switched,decap_routed,mixed,imix")
YARDSTICKS = words("YARDSTICKS", "io,5tswap,csum,ovs")
JSON = os.environ.get("JSON") == "1"
PLOT = os.environ.get("PLOT")
FLOORS = os.environ.get("FLOORS")

# Packets per burst, of every program here; Open vSwitch has no other.
BURST = 32
