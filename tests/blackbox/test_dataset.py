# SPDX-License-Identifier: MIT
"""`alkaid dataset`: what it writes is what a switch takes, in both senders' shapes and by both calls."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from alcor.schema import goalstate_pb2
from program import call

SCALE = "--seed 3 --vpcs 4 --hosts 20 --ports 60 --subnets 3 --per-message 20 --underlay 192.0.2.0/24".split()
HOST = 0


def dataset(alkaid, folder: Path, *more: str) -> dict:
    """Makes a set of one host. Its manifest."""
    done = call(alkaid, "dataset", *SCALE, "--host", str(HOST), "-o", folder, *more)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((folder / "manifest.json").read_text())
    (host,) = manifest["hosts"]
    for row in host["files"]:
        content = (folder / row["file"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (row["bytes"], row["sha256"])
    return host


def ports_of(folder: Path, rpc: str) -> list[str]:
    """Ids of the host's ports."""
    ids = []
    for file in sorted(folder.glob("host-*/*.pb")):
        form = goalstate_pb2.GoalState if rpc == "v1" else goalstate_pb2.GoalStateV2
        states = form.FromString(file.read_bytes()).port_states
        ids += [state.configuration.id for state in (states if rpc == "v1" else states.values())]
    return ids


@pytest.mark.parametrize("shape", ["dpm", "test-controller"])
@pytest.mark.parametrize("rpc", ["v1", "v2"])
def test_a_switch_takes_a_whole_set(alkaid, switches, tmp_path, shape, rpc):
    folder = tmp_path / "set"
    host = dataset(alkaid, folder, "--shape", shape, "--rpc", rpc)
    ports = ports_of(folder, rpc)
    assert len(ports) == host["totals"]["resources"]["ports"] == 3
    switch = switches(
        [
            "set nbcore 1",
            "set corelist 0",
            "port attach net_null0,no-rx=1",
            *(f"port attach net_null{n + 1},no-rx=1" for n in range(len(ports))),
            f"set vtep {host['address']}/24 port 0",
            *(f"set underlay neighbor 192.0.2.{n} 02:00:00:00:01:{n:02x}" for n in range(2, 22)),
            *(f"port bind {n + 1} {port}" for n, port in enumerate(ports)),
        ]
    )
    done = call(alkaid, "push", folder / f"host-{HOST:06}", "--to", switch.address, "--json")
    statuses = json.loads(done.stdout)
    assert {row["status"] for row in statuses} == {"SUCCESS"}, done.stdout
    assert done.returncode == 0
    sent = host["totals"]["resources"]
    for kind in ("VPC", "SUBNET", "ROUTER", "PORT", "NEIGHBOR"):
        assert sum(row["type"] == kind for row in statuses) == sent[f"{kind.lower()}s"]
    assert len(switch.show("neighbors")) > 0
    assert switch.show("pending") == []


def test_a_set_is_not_written_over_another(alkaid, tmp_path):
    dataset(alkaid, tmp_path / "set")
    done = call(alkaid, "dataset", *SCALE, "-o", tmp_path / "set")
    assert (done.returncode, done.stderr) == (2, f"alkaid: {tmp_path / 'set'} is not empty\n")
