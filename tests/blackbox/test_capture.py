# SPDX-License-Identifier: MIT
"""`alkaid capture`: what arrives, leaves and is dropped, as tshark reads it back."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import goal
from frames import assert_frames, tagged, to_gateway, udp, vxlan, write_pcap
from plan import A, B, Subnet
from program import DEADLINE, Port, eventually, pcap_ports

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs `tshark`")

NET = Subnet(5)
HERE, ALSO_HERE, THERE, NOWHERE = NET.guest(A, 1), NET.guest(A, 2), NET.guest(B, 1), NET.guest(B, 9)
STATES = [goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.port(ALSO_HERE), goal.neighbor(THERE)]
IN, OUT = "0x00000001", "0x00000002"
FIELDS = ["interface_name", "packet_flags_direction", "comment", "len", "cap_len"]


@dataclass
class Row:
    """What tshark says of a frame."""

    interface: str
    direction: str
    comment: str
    length: int
    captured: int
    time: float
    bytes: bytes

    @property
    def reason(self) -> str:
        return self.comment.removeprefix("dropped, ").split(":")[0]


def read(file: Path) -> list[Row]:
    columns = [word for field in [*FIELDS, "time_epoch"] for word in ("-e", f"frame.{field}")]
    command = ["tshark", "-n", "-r", file, "-T", "fields", "-E", "separator=/t", *columns]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=6 * DEADLINE).stdout.splitlines()
    dump = subprocess.run(["tshark", "-n", "-r", file, "-T", "jsonraw", "-j", "frame", "-x"], capture_output=True, text=True, check=True, timeout=6 * DEADLINE)
    raw = [bytes.fromhex(packet["_source"]["layers"]["frame_raw"][0]) for packet in json.loads(dump.stdout)]
    assert len(raw) == len(lines)
    rows = []
    for line, data in zip(lines, raw):
        interface, direction, comment, length, captured, at = line.split("\t")
        rows.append(Row(interface, direction, comment, int(length), int(captured), float(at), data))
    return rows


def statistics(file: Path) -> dict[int, dict[int, int]]:
    """Interface statistics blocks, by interface: their options of 64 bits. tshark has no word for them."""
    data, at, found = file.read_bytes(), 0, {}
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if kind == 5:
            (interface,) = struct.unpack_from("<I", data, at + 8)
            found[interface], option = {}, at + 20
            while option < at + length - 4:
                code, size = struct.unpack_from("<HH", data, option)
                if code == 0:  # opt_endofopt
                    break
                (found[interface][code],) = struct.unpack_from("<Q", data, option + 4)
                option += 4 + size
        at += length
    return found


RECEIVED, DROPPED, DELIVERED = 4, 5, 8
"""Options of statistics: isb_ifrecv, isb_ifdrop, isb_usrdeliv."""


class Capture:
    """A client that captures."""

    def __init__(self, switch, file: Path, *arguments):
        self.file = file
        command = [switch.alkaid, "capture", "-w", file, "--socket", switch.socket, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        eventually("it captures", lambda: file.exists() and file.stat().st_size or self.process.poll() is not None)

    def end(self) -> list[Row]:
        """Ends it by Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> list[Row]:
        _, self.said = self.process.communicate(timeout=DEADLINE)
        assert self.process.returncode == 0, self.said
        return read(self.file)


@pytest.fixture
def captured(switches, tmp_path):
    """Starts a switch and captures, then lets it forward; what tshark reads when all is dealt with."""

    @contextmanager
    def play(frames, *arguments, underlay=(), also=(), more=(), states=STATES):
        folder = tmp_path / "switch0"
        ports = pcap_ports(folder, [Port(None, list(underlay)), Port(HERE.id, list(frames)), Port(ALSO_HERE.id, list(also))])
        switch = switches([*ports, *more])
        switch.accept(*states)
        capture = Capture(switch, tmp_path / "frames.pcapng", *arguments)
        try:
            yield switch, capture
        finally:
            capture.process.kill()
            capture.process.wait()

    return play


def test_frames_are_captured_as_they_arrive_and_as_they_leave(captured):
    out, local, came = udp(HERE, THERE), udp(HERE, ALSO_HERE), udp(THERE, HERE)
    outer = vxlan(came, 5, src=B)
    before = time.time()
    with captured([out, local], underlay=[outer]) as (switch, capture):
        switch.execute("start")
        switch.settled(port0=1, port1=2)
        rows = capture.end()
        assert "6 frames captured" in capture.said
        found = Counter((row.interface, row.direction) for row in rows)
        assert found == {("port1", IN): 2, ("port0", OUT): 1, ("port2", OUT): 1, ("port0", IN): 1, ("port1", OUT): 1}
        of = {(row.interface, row.direction): row.bytes for row in rows if (row.interface, row.direction) != ("port1", IN)}
        assert [row.bytes for row in rows if (row.interface, row.direction) == ("port1", IN)] == [out, local]
        assert of["port0", IN] == outer
        assert of["port1", OUT] == came and of["port2", OUT] == local
        switch.terminate()
        assert_frames(switch.sent(0), [of["port0", OUT]])
        assert all(row.length == row.captured == len(row.bytes) and not row.comment for row in rows)
        assert all(before <= row.time <= time.time() for row in rows)
        assert {interface: (it[RECEIVED], it[DROPPED], it[DELIVERED]) for interface, it in statistics(capture.file).items()} == {0: (2, 0, 2), 1: (3, 0, 3), 2: (1, 0, 1)}
        names = subprocess.run(["tshark", "-r", capture.file, "-T", "fields", "-e", "frame.interface_description"], capture_output=True, text=True, check=True)
        assert {f"net_pcap1, {HERE.id}", "net_pcap0"} <= set(names.stdout.splitlines())


def test_dropped_frames_say_why(captured):
    """Also what was to be answered by ICMP, and is not that answer; what is too much for a port that is stopped; what is for no VNI."""
    unknown, short, expired = udp(HERE, NOWHERE), udp(HERE, THERE)[:20], to_gateway(HERE, THERE, ttl=1)
    refused, strange = udp(HERE, ALSO_HERE), vxlan(udp(THERE, HERE), 77, src=B)
    not_local = udp(THERE, NOWHERE)
    with captured([unknown, short, expired, refused, udp(HERE, THERE)], "--drops", underlay=[strange, vxlan(not_local, 5, src=B)]) as (switch, capture):
        switch.execute("port stop 2")
        switch.execute("start")
        counters = switch.settled(port0=2, port1=5)
        rows = capture.end()
        assert all(row.direction == IN and row.comment.startswith(f"dropped, {row.reason}: ") and len(row.comment) > 30 for row in rows)
        found = {(row.interface, row.reason): row.bytes for row in rows}
        assert found == {
            ("port1", "unknown_mac"): unknown,
            ("port1", "truncated"): short,
            ("port1", "ttl_expired"): expired,
            ("port1", "tx_full"): refused,
            ("port0", "unknown_vni"): strange,
            ("port0", "unknown_mac"): not_local,
        }
        for port in (0, 1):
            reasons = Counter(row.reason for row in rows if row.interface == f"port{port}")
            assert reasons == counters.drops[port]


def test_ports_reasons_lengths_and_counts_are_chosen(captured, tmp_path):
    frames = [udp(HERE, NOWHERE, payload=bytes(500)), udp(HERE, THERE)[:20], udp(HERE, THERE)] * 5
    with captured(frames, "--drops=unknown_mac,no_route", "--snaplen", "100", also=[udp(ALSO_HERE, NOWHERE)] * 5) as (switch, capture):
        switch.execute("start")
        switch.settled(port1=15, port2=5)
        rows = capture.end()
        assert Counter((row.interface, row.reason) for row in rows) == {("port1", "unknown_mac"): 5, ("port2", "unknown_mac"): 5}
        assert {(row.length, row.captured) for row in rows if row.interface == "port1"} == {(len(frames[0]), 100)}
        assert all(frames[0].startswith(row.bytes) for row in rows if row.interface == "port1")


def test_a_capture_ends_after_as_many_frames_as_were_asked_for(captured):
    with captured([udp(HERE, THERE)] * 9, "--rx", "--port", "1", "--port", "2", "-c", "4", also=[udp(ALSO_HERE, THERE)]) as (switch, capture):
        switch.execute("start")
        rows = capture.ended()
        assert len(rows) == 4 and {row.direction for row in rows} == {IN} and "4 frames captured" in capture.said
        assert {row.interface for row in rows} <= {"port1", "port2"} and len(statistics(capture.file)) == 2


def test_a_vlan_that_is_a_port_is_captured_as_that_port_with_its_tag(switches, tmp_path):
    other = Subnet(6)
    guest, there = other.guest(A), other.guest(B)
    folder = tmp_path / "switch0"
    inside = tagged(udp(guest, there), 101)
    lines = [*pcap_ports(folder, [Port(None, [vxlan(udp(there, guest), 6, src=B)]), Port(HERE.id, [inside, udp(HERE, NOWHERE)])]), "port attach vlan101@1", f"port bind 2 {guest.id}"]
    switch = switches(lines)
    switch.accept(goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.vpc(other), goal.subnet(other), goal.port(guest), goal.neighbor(there))
    capture = Capture(switch, tmp_path / "vlan.pcapng", "--rx", "--tx", "--port", "2")
    switch.execute("start")
    switch.settled(port0=1, port1=1, port2=1)
    rows = capture.end()
    assert [(row.interface, row.direction, row.bytes) for row in sorted(rows, key=lambda row: row.direction)] == [("port2", IN, inside), ("port2", OUT, tagged(udp(there, guest), 101))]
    switch.terminate()


def test_a_number_that_becomes_another_devices_is_another_interface(captured, tmp_path):
    with captured([], "--rx", "--port", "2", also=[udp(ALSO_HERE, THERE)] * 3) as (switch, capture):
        switch.execute("start")
        switch.settled(port2=3)
        switch.execute("port detach 2")
        played = tmp_path / "another.pcap"
        write_pcap(played, [udp(ALSO_HERE, HERE)] * 2)
        for command in (f"port attach net_pcap7,rx_pcap={played}", f"port bind 2 {ALSO_HERE.id}", "port start 2"):
            switch.execute(command)
        eventually("it has sent all", lambda: switch.counters().rx(2) == 2)
        rows = capture.end()
        assert [row.interface for row in rows] == ["port2"] * 5
        named = subprocess.run(["tshark", "-r", capture.file, "-T", "fields", "-e", "frame.interface_id", "-e", "frame.interface_description"], capture_output=True, text=True, check=True)
        assert named.stdout.splitlines() == [f"0\tnet_pcap2, {ALSO_HERE.id}"] * 3 + [f"1\tnet_pcap7, {ALSO_HERE.id}"] * 2
        assert {interface: it[DELIVERED] for interface, it in statistics(capture.file).items()} == {0: 3, 1: 2}


@pytest.mark.parametrize("farewell", [signal.SIGKILL, signal.SIGTERM])
def test_one_client_captures_and_when_it_goes_another_may(captured, tmp_path, farewell):
    with captured([udp(HERE, THERE)] * 3) as (switch, capture):
        other = tmp_path / "other.pcapng"
        refused = switch.client("capture", "-w", other)
        assert refused.returncode == 1 and "another client captures" in refused.stderr and not other.exists()
        capture.process.send_signal(farewell)
        capture.process.wait(DEADLINE)

        def another():
            begun = Capture(switch, other)
            return begun if begun.process.poll() is None else None

        another = eventually("the switch has noticed", another)
        switch.execute("start")
        switch.settled(port1=3)
        assert Counter(row.interface for row in another.end()) == {"port1": 3, "port0": 3}


def test_what_there_is_not_is_refused(captured, tmp_path):
    with captured([]) as (switch, capture):
        capture.end()
        other = tmp_path / "other.pcapng"
        for arguments, status, words in [
            (["--port", "9"], 1, "there is no port 9"),
            (["--drops=no_rout"], 2, "no_route"),
            (["--snaplen", "0"], 2, "--snaplen"),
            (["-c", "0"], 2, "--count"),
        ]:
            done = switch.client("capture", "-w", other, *arguments)
            assert done.returncode == status and words in done.stderr, done.stderr
            assert not other.exists()
        nowhere = switch.client("capture", "-w", tmp_path / "no" / "folder")
        assert nowhere.returncode == 2 and "cannot write" in nowhere.stderr


def test_a_capture_is_piped_and_ends_when_nobody_reads(captured):
    with captured([udp(HERE, NOWHERE)] * 3, "-c", "100") as (switch, capture):
        capture.end()
        writer = subprocess.Popen([switch.alkaid, "capture", "-w", "-", "--drops", "--socket", switch.socket], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert select.select([writer.stdout], [], [], DEADLINE)[0], "it captures"
        reader = subprocess.Popen(["tshark", "-l", "-c", "2", "-r", "-", "-T", "fields", "-e", "frame.comment"], stdin=writer.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        writer.stdout.close()
        assert "another client" in switch.client("capture", "-w", "/dev/null").stderr
        switch.execute("start")
        out, _ = reader.communicate(timeout=DEADLINE)
        assert [line.split(":")[0] for line in out.splitlines()] == ["dropped, unknown_mac"] * 2


def test_a_capture_whose_pipe_nobody_reads_ends_when_it_is_told_to(captured):
    with captured([udp(HERE, THERE, payload=bytes(1000))] * 200) as (switch, capture):
        capture.end()
        writer = subprocess.Popen([switch.alkaid, "capture", "-w", "-", "--socket", switch.socket], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert select.select([writer.stdout], [], [], DEADLINE)[0], "it captures"
        # One page, which cannot hold what follows. How many bytes of it are there when it takes no more depends on how many
        # come in one write, since a write that does not fit behind others waits for a page of its own.
        fcntl.fcntl(writer.stdout, fcntl.F_SETPIPE_SZ, 4096)
        switch.execute("start")
        switch.settled(port1=200)

        def waiting() -> int:
            """Bytes in the pipe."""
            return struct.unpack("i", fcntl.ioctl(writer.stdout, termios.FIONREAD, bytes(4)))[0]

        def full() -> bool:
            before = waiting()
            time.sleep(0.5)
            return 0 < waiting() == before

        eventually("the pipe is full", full)
        began = time.monotonic()
        writer.send_signal(signal.SIGINT)
        assert writer.wait(DEADLINE) == 1 and time.monotonic() - began < 5
        assert b"`-` was not written in time: its end is missing" in writer.stderr.read()
        switch.terminate()


def test_the_end_of_the_switch_is_the_end_of_the_capture(captured):
    with captured([udp(HERE, THERE)] * 3, "--rx") as (switch, capture):
        switch.execute("start")
        switch.settled(port1=3)
        began = time.monotonic()
        switch.terminate()
        assert time.monotonic() - began < 5
        _, said = capture.process.communicate(timeout=DEADLINE)
        assert capture.process.returncode == 1 and "3 frames captured" in said and "the switch ended" in said
        assert len(read(capture.file)) == 3


def test_under_load_the_switch_forwards_on_and_what_was_not_captured_is_counted(switches, tmp_path):
    """A recording that is played again and again, as fast as can be."""
    folder = tmp_path / "switch0"
    folder.mkdir()
    lines = pcap_ports(folder, [Port(), Port(HERE.id, [udp(HERE, THERE, payload=bytes(1000), sport=n) for n in range(64)])])
    lines = [line.replace(",tx_pcap", ",infinite_rx=1,tx_pcap") if "net_pcap1" in line else line for line in lines]
    lines[0] = "port attach net_null0"
    switch = switches(lines, memory=256)
    switch.accept(goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.neighbor(THERE))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # Nobody reads as fast as this comes: at first nobody reads at all.
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    process = subprocess.Popen([switch.alkaid, "capture", "-w", fifo, "--rx", "--port", "1", "--socket", switch.socket], stderr=subprocess.PIPE, text=True)
    # It opens its file when the switch has let it capture.
    eventually("it captures", lambda: any(fd.resolve() == fifo for fd in Path(f"/proc/{process.pid}/fd").iterdir()))
    assert "another client" in switch.client("capture", "-w", "/dev/null").stderr
    switch.execute("start")

    def forwarded() -> int:
        return switch.show("port stats 1")[0]["forwarded"]

    eventually("it forwards", lambda: forwarded() > 50_000)
    file = tmp_path / "load.pcapng"
    os.set_blocking(reader, True)
    copier = subprocess.Popen(["cat"], stdin=reader, stdout=file.open("wb"))
    os.close(reader)
    so_far = forwarded()
    eventually("it forwards on", lambda: forwarded() > so_far + 50_000)
    switch.execute("stop")
    size = -1
    while file.stat().st_size != size:  # what was copied last
        size = file.stat().st_size
        time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0 and copier.wait(DEADLINE) == 0
    (row,) = switch.show("port stats 1")
    assert row["forwarded"] == row["rx_packets"]
    (found,) = statistics(file).values()
    assert found[DROPPED] > 0 and found[DELIVERED] > 1000
    assert found[RECEIVED] == found[DROPPED] + found[DELIVERED] == row["rx_packets"]
    assert f"{found[DELIVERED]} frames captured, {found[DROPPED]} not" in said
    counted = subprocess.run(["capinfos", "-c", "-M", file], capture_output=True, text=True, check=True).stdout
    assert str(found[DELIVERED]) in counted
