# SPDX-License-Identifier: MIT
"""Black-box tests: the built program, real gRPC by Google's Python client, real packets by pcap files and by the kernel.

Run them with `pytest tests/blackbox` (`tests/scenarios`, `tests/interop`) after `cargo build --release`; $ALKAID names another
program to test. The packages are in tests/requirements.txt. Tests that need root say so when they are skipped. What all of
them share is in blackbox/. Addresses: see plan.py there.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_stubs = None


def pytest_configure(config):
    """Generates the Python client from the checkout's .proto files."""
    global _stubs
    import grpc_tools
    from grpc_tools import protoc

    _stubs = tempfile.TemporaryDirectory(prefix="alkaid-stubs-")
    sources = sorted((ROOT / "proto" / "alcor").rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    arguments = [f"-I{ROOT / 'proto'}", f"-I{well_known}", f"--python_out={_stubs.name}", f"--grpc_python_out={_stubs.name}"]
    if protoc.main(["protoc", *arguments, *map(str, sources)]) != 0:
        raise pytest.UsageError("protoc does not take the .proto files")
    sys.path[:0] = [_stubs.name, str(Path(__file__).parent / "blackbox")]


def pytest_unconfigure(config):
    if _stubs is not None:
        _stubs.cleanup()


@pytest.fixture(scope="session")
def alkaid() -> Path:
    """The program under test."""
    import program

    return program.find()


@pytest.fixture(scope="session", autouse=True)
def checksums(tmp_path_factory):
    """Whatever a test is about: no switch sends a wrong checksum."""
    import tshark

    yield
    tshark.assert_no_wrong_checksum(tmp_path_factory.mktemp("checksums"))


@pytest.fixture
def replay(alkaid, tmp_path):
    """Runs `alkaid replay` over lists of frames; see replays.Replay."""
    from replays import Replay

    return Replay(alkaid, tmp_path)


@pytest.fixture
def switches(alkaid, tmp_path):
    """Starts switches, as many as the test wants, and ends them all."""
    from switch import Switch

    started = []

    def start(*arguments, **named) -> Switch:
        switch = Switch(alkaid, tmp_path / f"switch{len(started)}", *arguments, **named)
        started.append(switch)
        switch.start()
        return switch

    yield start
    for switch in started:
        switch.end()


@pytest.fixture
def networks():
    """Network namespaces and devices, all removed in the end."""
    from kernel import Networks

    networks = Networks()
    try:
        yield networks
    finally:
        networks.remove()
