# SPDX-License-Identifier: MIT
"""Transport security of the controller's connections: Google's gRPC client, certificates by openssl."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import grpc
import pytest

import goal
from alcor.schema import goalstateprovisioner_pb2_grpc, subscribeinfoprovisioner_pb2, subscribeinfoprovisioner_pb2_grpc
from plan import Subnet
from program import DEADLINE, Port, call, eventually, pcap_ports
from switch import Switch, free_port

NET = Subnet(5)

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


class Authority:
    """An authority, and certificates of it, in a folder."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self.folder, self.ca = folder, folder / "ca.pem"
        self._request("ca", "/CN=authority")

    def _request(self, name: str, subject: str, *arguments) -> None:
        key, cert = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command = ["openssl", "req", "-x509", *curve, "-days", "2", "-subj", subject, "-keyout", key, "-out", cert, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    def issue(self, name: str, alternative: str | None = None) -> tuple[Path, Path]:
        """Certificate and key of a common name, and of another name if there is one."""
        by = ["-CA", self.ca, "-CAkey", self.folder / "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
        names = ["-addext", f"subjectAltName={alternative}"] if alternative else []
        self._request(name, f"/CN={name}", *by, *names)
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def secured(alkaid, tmp_path, authority):
    """Starts a switch with TLS on both of its servers; its address of each."""
    switches = []

    def start(allow: str = ""):
        cert, key = authority.issue("switch", "IP:127.0.0.1")
        tls = f"set southbound tls cert {cert} key {key} ca {authority.ca} {allow}"
        folder, subscribe = tmp_path / "switch", f"127.0.0.1:{free_port()}"
        switch = Switch(alkaid, folder, [*pcap_ports(folder, [Port()]), tls, f"set subscribe listen {subscribe}"])
        switches.append(switch)
        switch.spawn()
        eventually("the switch serves operators", lambda: switch.assert_alive() or switch.socket.exists())
        return switch, subscribe

    yield start
    for switch in switches:
        switch.end()


class Caller:
    """A connection of its own."""

    def __init__(self, address: str, authority: Authority | None = None, pair: tuple[Path, Path] | None = None):
        if authority is None:
            self.channel = grpc.insecure_channel(address)
        else:
            cert, key = (pair[0].read_bytes(), pair[1].read_bytes()) if pair else (None, None)
            credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), key, cert)
            # Or gRPC would share a connection among channels that look alike.
            self.channel = grpc.secure_channel(address, credentials, [("grpc.use_local_subchannel_pool", 1)])

    def push(self) -> bool:
        """Whether a goal state is answered; else it is refused before it is heard."""
        stub = goalstateprovisioner_pb2_grpc.GoalStateProvisionerStub(self.channel)
        try:
            reply = stub.PushNetworkResourceStates(goal.v1(goal.vpc(NET)), timeout=DEADLINE)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
            return False
        assert len(reply.operation_statuses) == 1
        return True

    def subscribe(self) -> int:
        stub = subscribeinfoprovisioner_pb2_grpc.SubscribeInfoProvisionerStub(self.channel)
        info = subscribeinfoprovisioner_pb2.NodeSubscribeInfo(topic="t")
        return stub.PushNodeSubscribeInfo(info, timeout=DEADLINE).operationStatus


def logged(switch, text: str, count: int = 1) -> None:
    eventually(text, lambda: switch.assert_alive() or switch.log.read_text().count(text) >= count)


def test_only_callers_with_a_certificate_of_the_authority_are_heard(secured, authority, tmp_path):
    switch, subscribe = secured()
    caller = authority.issue("caller")
    assert Caller(switch.address, authority, caller).push()
    assert Caller(subscribe, authority, caller).subscribe() == 0
    assert not Caller(switch.address).push()
    assert not Caller(switch.address, authority).push()
    assert not Caller(switch.address, authority, Authority(tmp_path / "other").issue("caller")).push()
    with pytest.raises(grpc.RpcError):
        Caller(subscribe).subscribe()
    for text in ("over TLS", "TLS: 127.0.0.1:", "is refused"):
        logged(switch, text)
    switch.terminate()


def test_only_names_on_the_list_are_heard(secured, authority):
    switch, _ = secured("allow ncm.alcor,manager")
    assert Caller(switch.address, authority, authority.issue("one", "DNS:ncm.alcor")).push()
    assert Caller(switch.address, authority, authority.issue("manager")).push()
    assert not Caller(switch.address, authority, authority.issue("someone", "DNS:ncm.elsewhere")).push()
    logged(switch, "none of its names is in `allow`: ncm.elsewhere, someone")


def test_the_programs_own_client_calls_over_tls(secured, authority, tmp_path):
    switch, _ = secured()
    file = tmp_path / "goal.json"
    file.write_text(goal.to_json(goal.v1(goal.vpc(NET))))
    cert, key = authority.issue("caller")
    tls = ["--cert", cert, "--key", key, "--ca", authority.ca]
    done = call(switch.alkaid, "push", file, "--to", switch.address, *tls)
    assert done.returncode == 0, done.stderr
    assert call(switch.alkaid, "push", file, "--to", switch.address).returncode == 2
    assert call(switch.alkaid, "push", file, "--to", switch.address, *tls, "--name", "another").returncode == 2
    assert call(switch.alkaid, "push", file, "--to", switch.address, *tls[:4]).returncode == 2


READ_AGAIN, KEPT = "the certificates were read again", "the certificates from before stay in use"


def test_new_certificates_are_used_without_a_restart(secured, authority, tmp_path):
    switch, _ = secured()
    caller = authority.issue("caller")
    before = Caller(switch.address, authority, caller)
    assert before.push()
    cert, key, ca = (authority.folder / name for name in ("switch.pem", "switch.key", "ca.pem"))
    trusted = ca.read_bytes()
    cert.write_text("no certificate")
    logged(switch, KEPT)
    assert Caller(switch.address, authority, caller).push()
    new = Authority(tmp_path / "new")
    for source, target in zip((*new.issue("switch", "IP:127.0.0.1"), new.ca), (cert, key, ca)):
        shutil.copy(source, target)
    logged(switch, READ_AGAIN)
    assert Caller(switch.address, new, new.issue("caller")).push()
    # By the new authority the switch is trusted; it does not trust the caller of the old one.
    assert ca.read_bytes() != trusted and not Caller(switch.address, authority, caller).push()
    # Who was connected stays so.
    assert before.push()
    switch.terminate()


def test_sighup_has_the_certificates_read_again_even_if_they_look_the_same(secured):
    switch, _ = secured()
    for count in (1, 2):
        switch.process.send_signal(signal.SIGHUP)
        logged(switch, READ_AGAIN, count)
    switch.terminate()


def test_files_that_are_wrong_are_named_before_anything_starts(alkaid, tmp_path, authority):
    cert, key = authority.issue("switch")
    folder = tmp_path / "switch"
    for wrong, word in (((key, key), "no certificate"), ((cert, tmp_path / "none"), "none"), ((authority.ca, key), "do not go together")):
        tls = f"tls cert {wrong[0]} key {wrong[1]} ca {authority.ca}"
        for lines in ([f"set southbound {tls}"], ["set ncm 192.0.2.9", f"set ncm {tls}"]):
            switch = Switch(alkaid, folder, [*pcap_ports(folder, [Port()]), *lines])
            done = call(alkaid, "run", switch.config)
            assert done.returncode == 1 and word in done.stderr, done.stderr
