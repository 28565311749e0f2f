# SPDX-License-Identifier: MIT
"""Guests behind vhost-user sockets: as many as a host has, and such as end, or lie, in the midst of their traffic. `test_kinds` has what
they send and get, `test_offloads` what they leave undone."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import time
from itertools import product
from urllib.request import urlopen

import pytest

import goal
from frames import assert_encapsulated, read_pcap, tcp, udp, vxlan
from frontend import CSUM, GET_FEATURES, GUEST_CSUM, INDIRECT, INDIRECT_DESC, MQ, MRG_RXBUF, NEXT, PROTOCOL_FEATURES, RX, SET_VRING_CALL, SIZE, TX, VERSION_1, WRITE, Frontend
from guests import NET, NETWORK, THERE
from plan import A, B, Subnet
from program import Port, environment, eventually, pcap_ports
from switch import free_port
from test_offloads import undone
from test_queues import TWO_WORKERS, two_cores
from test_restart import kill

GUESTS = 500
SUBNETS = Subnet(5), Subnet(6)


def null_site(switches, *config: str, **named):
    """A switch whose uplink goes nowhere."""
    return switches(["port attach net_null0,no-rx=1", "set vtep 192.0.2.1/24 port 0", *config, "start"], **named)


@pytest.fixture
def frontends():
    """Connects guests, and ends them all."""
    with contextlib.ExitStack() as all:

        def connect(*arguments, **named) -> Frontend:
            guest = Frontend(*arguments, **named)
            all.callback(lambda: guest.file is None or guest.close())
            return guest

        yield connect


def end(guest: Frontend) -> None:
    guest.close()
    guest.file = None


def up(switch) -> set[int]:
    return {row["port"] for row in switch.show("ports") if row["link"] == "up" and row["port"]}


def trade(a, to_a, b, to_b, mark: int) -> None:
    """A frame each way between two guests of this switch."""
    for (src, sends), (dst, gets) in (((a, to_a), (b, to_b)), ((b, to_b), (a, to_a))):
        frame = udp(src, dst, payload=f"{mark:08}".encode())
        sends.send(frame)
        got = eventually(f"{dst.id} gets what {src.id} sent", gets.receive)
        assert got == [frame], (src, dst)


def test_five_hundred_guests(switches, frontends, tmp_path):
    """All connected, each with traffic to another."""
    folder = tmp_path / "s"
    folder.mkdir()
    metrics = free_port()
    guests = [subnet.guest(A, n) for subnet in SUBNETS for n in range(1, GUESTS // 2 + 1)]
    lines = [f"port attach net_vhost{n},iface={folder}/{guest.id}" for n, guest in enumerate(guests, 1)]
    lines += [f"port bind {n} {guest.id}" for n, guest in enumerate(guests, 1)]
    switch = null_site(switches, *lines, f"set metrics listen 127.0.0.1:{metrics}", memory=256)
    switch.accept(*[state for subnet in SUBNETS for state in (goal.vpc(subnet), goal.subnet(subnet))], *map(goal.port, guests))
    cards = {guest: frontends(folder / guest.id) for guest in guests}
    eventually("each is connected", lambda: len(up(switch)) == GUESTS, 60)
    for number, (a, b) in enumerate(zip(guests, [*guests[1 : GUESTS // 2], guests[0], *guests[GUESTS // 2 + 1 :], guests[GUESTS // 2]])):
        trade(a, cards[a], b, cards[b], number)
    counters = switch.counters()
    counters.assert_balanced()
    rows = [row for port, row in counters.ports.items() if port]
    assert all((row["rx_packets"], row["tx_packets"]) == (2, 2) for row in rows)
    with urlopen(f"http://127.0.0.1:{metrics}/metrics") as answer:
        text = answer.read().decode()
    assert text.count("alkaid_port_up{") == GUESTS + 1
    # No more than there can be: the switch says so, and takes it when another has gone.
    for n in range(GUESTS + 1, 512):
        switch.execute(f"port attach net_vhost{n},iface={folder}/{n}")
    refused = switch.client("exec", f"port attach net_vhost512,iface={folder}/512")
    assert refused.returncode != 0 and "no more sockets" in refused.stderr
    switch.execute("port detach 7")
    assert not (folder / guests[6].id).exists() and cards[guests[6]].is_refused()
    switch.execute(f"port attach net_vhost512,iface={folder}/512")
    assert len(up(switch)) == GUESTS - 1
    trade(guests[100], cards[guests[100]], guests[101], cards[guests[101]], 7)
    switch.terminate()
    assert list(folder.iterdir()) == []


def two_guests(switches, tmp_path, *config: str, queues: int = 1):
    """A switch with two sockets, and their paths."""
    folder = tmp_path / "s"
    folder.mkdir()
    paths = [folder / name for name in "ab"]
    lines = [line for n, path in enumerate(paths, 1) for line in (f"port attach net_vhost{n},iface={path},queues={queues}", f"port bind {n} {NET.guest(A, n).id}")]
    switch = null_site(switches, *lines, *config)
    switch.accept(*NETWORK, *[goal.port(NET.guest(A, n)) for n in (1, 2)])
    return switch, *paths


ONE, TWO = NET.guest(A, 1), NET.guest(A, 2)


def test_a_socket_has_one_guest(switches, frontends, tmp_path):
    switch, a, b = two_guests(switches, tmp_path)
    first, other = frontends(a), frontends(b)
    eventually("both are connected", lambda: up(switch) == {1, 2})
    trade(ONE, first, TWO, other, 1)
    second = frontends(a)
    third = frontends(a, plug=False)
    assert third.is_refused()
    for mark in range(20):
        trade(ONE, first, TWO, other, mark)
    second.send(udp(ONE, TWO))
    assert second.used(TX) == 0 and other.receive() == []
    end(first)
    assert eventually("its successor's frame comes", other.receive) == [udp(ONE, TWO)]
    trade(ONE, second, TWO, other, 1)
    end(second)
    eventually("it is missed", lambda: up(switch) == {2})
    again = frontends(a)
    eventually("its successor is not", lambda: up(switch) == {1, 2})
    trade(ONE, again, TWO, other, 2)
    # A machine starts anew, without connecting anew.
    again.unplug()
    eventually("its driver is away", lambda: up(switch) == {2})
    again.next, again.seen = [0, 0], [0, 0]
    again.memory[:0x8000] = bytes(0x8000)
    again.plug()
    eventually("it is back", lambda: up(switch) == {1, 2})
    trade(ONE, again, TWO, other, 3)
    switch.terminate()


def test_a_guest_with_fewer_queues_than_there_are_gets_what_each_worker_has_for_it(switches, frontends, tmp_path):
    two_cores()
    polls = [f"port config {port} rxq-affinity 0:{core},1:{core}" for port, core in ((1, 0), (2, 1))]
    switch, a, b = two_guests(switches, tmp_path, *TWO_WORKERS, *polls, queues=2)
    one, two = frontends(a), frontends(b)
    eventually("both are connected", lambda: up(switch) == {1, 2})
    assert {(row["port"], row["core"]) for row in switch.show("rxq") if row["port"]} == {(1, 0), (2, 1)}
    # The second worker has the queue of each port that its guest does not use.
    for mark in range(20):
        trade(ONE, one, TWO, two, mark)
    switch.counters().assert_balanced()


@pytest.mark.parametrize("queues", [1, 2])
def test_several_queues_are_offered_where_there_are_several(switches, frontends, tmp_path, queues):
    _, path, _ = two_guests(switches, tmp_path, queues=queues)
    (offered,) = struct.unpack("<Q", frontends(path, plug=False).ask(GET_FEATURES))
    assert bool(offered & MQ) == (queues > 1)


def test_guests_connect_again_to_the_sockets_of_a_switch_that_was_killed(switches, frontends, tmp_path):
    """It has left its sockets behind. Its successor listens in their place, and goes on as its store says."""
    switch, a, b = two_guests(switches, tmp_path, "set store store")
    guest, other = frontends(a), frontends(b)
    eventually("both are connected", lambda: up(switch) == {1, 2})
    trade(ONE, guest, TWO, other, 1)
    kill(switch)
    assert guest.is_refused() and other.is_refused() and a.exists() and b.exists()
    with pytest.raises(ConnectionRefusedError):
        frontends(a)
    switch.start()
    guest, other = frontends(a), frontends(b)
    eventually("both are connected again", lambda: up(switch) == {1, 2})
    trade(ONE, guest, TWO, other, 2)
    switch.terminate()
    assert not a.exists() and not b.exists()


def test_a_guests_memory_moves_in_the_midst_of_its_traffic(switches, frontends, tmp_path):
    """As when memory is plugged in. Then the switch says how far it was, and goes on from there."""
    switch, a, b = two_guests(switches, tmp_path)
    guest, other = frontends(a), frontends(b)
    eventually("both are connected", lambda: up(switch) == {1, 2})
    for mark in range(60):
        guest.map(parts=1 + mark % 3)
        trade(ONE, guest, TWO, other, mark)
    assert guest.unplug() == [60, 60]
    eventually("its driver is away", lambda: up(switch) == {2})
    switch.terminate()


def test_a_guest_whose_new_memory_cannot_be_mapped_harms_nobody(switches, frontends, tmp_path):
    """Its connection ends, whatever it says next: its virtqueues were in memory that there is no more."""
    switch, a, b = two_guests(switches, tmp_path)
    guest, other = frontends(a, features=VERSION_1 | MRG_RXBUF | PROTOCOL_FEATURES), frontends(b)
    for mark in range(3):
        eventually("both are connected", lambda: up(switch) == {1, 2})
        trade(ONE, guest, TWO, other, mark)
        assert guest.map(parts=3) == 0
        trade(ONE, guest, TWO, other, mark)
        guest.say_map(parts=2, only_read=True)
        with contextlib.suppress(OSError):
            for ring in (RX, TX):
                guest.say(SET_VRING_CALL, struct.pack("<Q", ring), [guest.events[2 * ring]])
        assert guest.is_refused()
        other.send(udp(TWO, ONE))
        eventually("it is missed", lambda: up(switch) == {2})
        end(guest)
        guest = frontends(a, features=VERSION_1 | MRG_RXBUF | PROTOCOL_FEATURES)
    switch.terminate()


def test_what_is_written_while_a_guest_moves_to_another_host_is_logged(switches, frontends, tmp_path):
    switch, a, b = two_guests(switches, tmp_path)
    guest, other = frontends(a), frontends(b)
    eventually("both are connected", lambda: up(switch) == {1, 2})
    size = 1 << 16
    file = os.memfd_create("log")
    os.ftruncate(file, size)
    written = lambda: any(os.pread(file, size, 0))
    trade(ONE, guest, TWO, other, 1)
    guest.log(file, size)
    assert not written()
    trade(ONE, guest, TWO, other, 2)
    assert written()
    guest.log_no_more()
    eventually("it logs no more", lambda: (os.pwrite(file, bytes(size), 0), trade(ONE, guest, TWO, other, 3), not written())[-1])
    os.close(file)
    switch.terminate()


def test_a_guest_is_notified_if_it_wants_to_be(switches, frontends, tmp_path):
    switch, a, b = two_guests(switches, tmp_path)
    guest, other = frontends(a), frontends(b)
    eventually("both are connected", lambda: up(switch) == {1, 2})
    trade(ONE, guest, TWO, other, 1)
    for ring in (RX, TX):
        eventually(f"it is notified of {ring}", lambda: guest.was_notified(ring))
        guest.wants_notification(ring, False)
    trade(ONE, guest, TWO, other, 2)
    trade(ONE, guest, TWO, other, 3)
    assert not guest.was_notified(RX) and not guest.was_notified(TX)
    guest.wants_notification(RX, True)
    trade(ONE, guest, TWO, other, 4)
    eventually("it is notified", lambda: guest.was_notified(RX))
    assert not guest.was_notified(TX)
    switch.terminate()


PAYLOAD = bytes(range(250)) * 3
TCP_LEFT, UDP_LEFT = (34, 16), (34, 6)
"""Where a checksum begins, and where behind that it is."""


def leaves(left: tuple[int, int]) -> bytes:
    """What precedes a frame whose checksum is left, but for the number of buffers."""
    return struct.pack("<BBHHHH", 1, 0, 0, 0, *left)


@pytest.mark.parametrize("takes", [False, True], ids=["whole", "left"])
@pytest.mark.parametrize("legacy", [False, True], ids=["modern", "legacy"])
def test_frames_arrive_whatever_they_are_sent_in_and_whatever_is_left_of_their_checksums(switches, frontends, tmp_path, legacy, takes):
    """Their checksums are left to a guest that takes that. Not those inside of a tunnel, of which it would not know."""
    switch, a, b = two_guests(switches, tmp_path)
    features = 0 if legacy else VERSION_1 | MRG_RXBUF
    guest = frontends(a, features=features | CSUM | INDIRECT_DESC)
    other = frontends(b, features=features | GUEST_CSUM * takes)
    eventually("both are connected", lambda: up(switch) == {1, 2})
    inner = tcp(NET.guest(A, 3), NET.guest(A, 4), payload=PAYLOAD)
    tunnel = lambda inner: udp(ONE, TWO, payload=bytes(8) + inner, dport=4790, udp={"chksum": 0})
    frames = [
        (tcp(ONE, TWO, payload=PAYLOAD), None, None),
        (tcp(ONE, TWO, payload=PAYLOAD), undone(tcp(ONE, TWO, payload=PAYLOAD)), TCP_LEFT),
        (udp(ONE, TWO, payload=PAYLOAD), undone(udp(ONE, TWO, payload=PAYLOAD)), UDP_LEFT),
        (tunnel(inner), tunnel(undone(inner)), (14 + 20 + 8 + 8 + 34, 16)),
    ]
    cuts = [(), (guest.header,), (guest.header, 66), (30, 200, 500), (5, 40), (guest.header, 13, 300, 301, 302, 400)]
    for (frame, sent, left), cut, indirect in product(frames, cuts, [False, True]):
        header = leaves(left) if left else bytes(10)
        guest.send(sent or frame, header.ljust(guest.header, b"\0"), cut, indirect)
        (got,) = eventually("it arrives", other.receive_with_headers)
        header, frame = (header, sent) if takes and left in (TCP_LEFT, UDP_LEFT) else (bytes(10), frame)
        assert got == ((header + b"\x01\x00")[: other.header], frame), (left, cut, indirect)
    switch.counters().assert_balanced()
    switch.terminate()


@pytest.mark.parametrize("indirect", [False, True], ids=["chains", "tables"])
def test_jumbo_frames_come_and_go(switches, frontends, tmp_path, indirect):
    """In as many buffers as they need, here and there: from guest to guest, into VXLAN and out of it."""
    local, into, out_of = (udp(*way, payload=os.urandom(9000 - 28)) for way in ((ONE, TWO), (ONE, THERE), (THERE, ONE)))
    recording = pcap_ports(tmp_path / "pcap", [Port(frames=[vxlan(out_of, 5, src=B)])])
    folder = tmp_path / "s"
    folder.mkdir()
    vhost = [line for n in (1, 2) for line in (f"port attach net_vhost{n},iface={folder}/{n}", f"port bind {n} {NET.guest(A, n).id}")]
    mtus = [f"port config {n} mtu {mtu}" for n, mtu in enumerate((9050, 9000, 9000))]
    switch = switches([recording[0], *vhost, *mtus, *recording[1:]])
    switch.accept(*NETWORK, *map(goal.port, (ONE, TWO)))
    one, two = (frontends(folder / str(n)) for n in (1, 2))
    eventually("both are connected", lambda: up(switch) == {1, 2})
    switch.execute("start")
    assert eventually("it comes out of VXLAN", one.receive) == [out_of]
    for frame in (local, into):
        one.send(frame, cuts=tuple(range(2000, len(frame), 2000)), indirect=indirect)
    assert eventually("it comes to the other guest", two.receive) == [local]
    eventually("it leaves in VXLAN", lambda: switch.counters().ports[0]["tx_packets"] == 1)
    switch.counters().assert_balanced()
    switch.terminate()
    assert_encapsulated(read_pcap(tmp_path / "pcap" / "tx0.pcap"), [(into, 5, B)])


@pytest.mark.parametrize("halves", [False, True])
def test_frames_of_all_kinds_arrive_in_order_when_they_are_sent_at_once(switches, frontends, tmp_path, halves):
    """A part of them is copied by the library, and so is what is received by two buffers."""
    switch, a, b = two_guests(switches, tmp_path)
    features = VERSION_1 | MRG_RXBUF
    guest, other = frontends(a, features=features | CSUM | INDIRECT_DESC), frontends(b, features=features, halves=halves)
    eventually("both are connected", lambda: up(switch) == {1, 2})
    expected = []
    for turn in range(8):
        kinds = [(None, ()), (UDP_LEFT, ()), (None, (20, 60)), (None, (12, 20, 30, 40, 50, 60, 70)), (UDP_LEFT, (12, 54)), (None, (3,)), (None, ())]
        for n, (left, cuts) in enumerate(kinds):
            frame = udp(ONE, TWO, payload=f"turn {turn}, kind {n}".encode() + PAYLOAD)
            header = (leaves(left) if left else bytes(10)) + bytes(2)
            guest.send(undone(frame) if left else frame, header, cuts, indirect=turn % 2 == 1, now=n + 1 == len(kinds))
            expected.append(frame)
        got = []
        eventually("all arrive", lambda: got.extend(other.receive()) or len(got) == len(kinds))
        assert got == expected[-len(kinds) :], turn
    assert guest.used(TX) == len(expected)
    switch.counters().assert_balanced()
    switch.terminate()


def test_what_a_guest_says_of_checksums_is_nothing_if_it_never_offered_to_say_it(switches, frontends, tmp_path):
    switch, a, b = two_guests(switches, tmp_path)
    guest, other = frontends(a), frontends(b, features=VERSION_1 | MRG_RXBUF | GUEST_CSUM)
    eventually("both are connected", lambda: up(switch) == {1, 2})
    frame = udp(ONE, TWO, payload=PAYLOAD)
    for left in (UDP_LEFT, (20, 2), (60, 400), (65535, 65535)):
        guest.send(frame, leaves(left) + bytes(2))
        (got,) = eventually("it arrives", other.receive_with_headers)
        assert got == (bytes(10) + b"\x01\x00", frame), left
    switch.terminate()


def lies(guest: Frontend):
    """What rings may say that makes no sense: a name, and how."""

    def indirect(length: int):
        guest.describe(TX, 0, guest.buffer(TX, 1), length, INDIRECT)
        guest.offer(TX, 0)

    def one(at: int, length: int, flags: int = 0, next: int = 0):
        guest.describe(TX, 0, at, length, flags, next)
        guest.offer(TX, 0)

    def loop():
        guest.describe(TX, 1, guest.buffer(TX, 1), 100, NEXT, 0)
        one(guest.buffer(TX, 0), 100, NEXT, 1)

    def rx(at: int, length: int, flags: int):
        for slot in range(SIZE):
            guest.describe(RX, slot, at, length, flags)

    yield "an address outside of its memory", lambda: one(1 << 40, 100)
    yield "an address that wraps", lambda: one(2**64 - 50, 100)
    yield "the last byte of its memory and more", lambda: one(guest.buffer(TX, SIZE) - 1, 1000)
    yield "a length of almost everything", lambda: one(guest.buffer(TX, 0), 2**32 - 1)
    yield "no length", lambda: one(guest.buffer(TX, 0), 0)
    yield "less than a header", lambda: one(guest.buffer(TX, 0), 5)
    yield "nothing but a header", lambda: one(guest.buffer(TX, 0), 12)
    yield "a chain without an end", loop
    yield "a chain to itself", lambda: one(guest.buffer(TX, 0), 100, NEXT, 0)
    yield "a chain to no descriptor", lambda: one(guest.buffer(TX, 0), 100, NEXT, 0xFFFF)
    yield "no descriptor", lambda: guest.offer(TX, 0xFFFF)
    yield "more than there are", lambda: guest.offer(TX, 0, ahead=1000)
    yield "fewer than before", lambda: guest.offer(TX, 0, ahead=-5)
    for left in ((65535, 65535), (20, 65535), (65535, 0), (700, 66)):
        yield f"a checksum at {left}", lambda left=left: guest.send(udp(ONE, TWO, payload=PAYLOAD), leaves(left) + bytes(2))
    yield "an empty table", lambda: indirect(0)
    yield "a table of half a descriptor", lambda: indirect(8)
    yield "a table of garbage", lambda: (guest.memory.__setitem__(slice(guest.buffer(TX, 1), guest.buffer(TX, 1) + 160), os.urandom(160)), indirect(160))
    yield "buffers outside of its memory", lambda: rx(1 << 40, 2048, WRITE)
    yield "buffers that it does not want written", lambda: rx(guest.buffer(RX, 0), 2048, 0)
    yield "buffers for nothing", lambda: rx(guest.buffer(RX, 0), 0, WRITE)
    yield "buffers that are shorter than a header", lambda: rx(guest.buffer(RX, 0), 3, WRITE)
    yield "buffers in a circle", lambda: [guest.describe(RX, slot, guest.buffer(RX, 0), 1, WRITE | NEXT, slot) for slot in range(SIZE)]


def test_what_a_guest_lies_about_its_rings_harms_nobody_else(switches, frontends, tmp_path):
    switch, a, b = two_guests(switches, tmp_path)
    other = frontends(b)
    buffers = None
    for number in range(len(list(lies(None)))):
        guest = frontends(a, features=VERSION_1 | MRG_RXBUF | INDIRECT_DESC | CSUM)
        eventually("both are connected", lambda: up(switch) == {1, 2})
        trade(ONE, guest, TWO, other, number)
        about, lie = list(lies(guest))[number]
        lie()
        for _ in range(3):
            other.send(udp(TWO, ONE, payload=b"for whoever lies"))
        time.sleep(0.05)
        switch.assert_alive()
        end(guest)
        eventually(f"who says {about} is missed", lambda: up(switch) == {2})
        other.receive()
        now = next(row["entries"] for row in switch.show("memory") if row["table"] == "packet buffers")
        buffers = buffers or now
        assert now <= buffers + 64, f"{about} takes no buffers away"
    guest = frontends(a)
    eventually("both are connected", lambda: up(switch) == {1, 2})
    other.receive()
    trade(ONE, guest, TWO, other, 99)
    switch.terminate()


class Flood:
    """`dpdk-testpmd` that sends, or takes, as much as it can."""

    _count = 0

    def __init__(self, folder, path, guest, mode: str, to=None):
        program = shutil.which("dpdk-testpmd")
        if program is None:
            pytest.skip("needs dpdk-testpmd")
        Flood._count += 1
        words = f"-l 0,1 --main-lcore 1 --no-huge -m 96 --no-pci --no-shconf --no-telemetry --file-prefix flood-{os.getpid()}-{Flood._count}"
        device = f"net_virtio_user0,path={path},mac={guest.mac},queue_size=256"
        own = f"--forward-mode={mode} --auto-start --no-mlockall --total-num-mbufs=4095"
        peer = [f"--eth-peer=0,{to.mac}"] if to else []
        self.process = subprocess.Popen(
            [program, *words.split(), "--vdev", device, "--", *own.split(), *peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(folder),
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def floods(tmp_path):
    """Starts testpmds, and ends them all."""
    with contextlib.ExitStack() as all:

        def start(*arguments, **named) -> Flood:
            flood = Flood(tmp_path, *arguments, **named)
            all.callback(flood.kill)
            return flood

        yield start


def moves(switch, port: int) -> None:
    """Waits until packets arrive on the port."""
    rx = lambda: switch.counters().rx(port)
    before = rx()
    eventually(f"packets arrive on port {port}", lambda: rx() > before + 1000)


def buffers(switch) -> int:
    return next(row["entries"] for row in switch.show("memory") if row["table"] == "packet buffers")


def test_guests_are_killed_in_the_midst_of_their_traffic(switches, floods, tmp_path):
    switch, a, b = two_guests(switches, tmp_path, "set mbufs 8191")
    before = buffers(switch)
    for _ in range(3):
        sender, receiver = floods(a, ONE, "txonly", TWO), floods(b, TWO, "rxonly")
        eventually("both are connected", lambda: up(switch) == {1, 2})
        moves(switch, 1)
        receiver.kill()
        eventually("the receiver is missed", lambda: up(switch) == {1})
        moves(switch, 1)
        again = floods(b, TWO, "rxonly")
        eventually("it is back", lambda: up(switch) == {1, 2})
        moves(switch, 1)
        sender.kill()
        again.kill()
        eventually("both are missed", lambda: up(switch) == set())
    eventually("all buffers are back", lambda: buffers(switch) <= before + 256)
    switch.counters().assert_balanced()
    switch.terminate()


def test_ports_are_stopped_started_and_detached_in_the_midst_of_traffic(switches, floods, tmp_path):
    switch, a, b = two_guests(switches, tmp_path, "set mbufs 8191")
    floods(a, ONE, "txonly", TWO), floods(b, TWO, "txonly", ONE)
    eventually("both are connected", lambda: up(switch) == {1, 2})
    for _ in range(5):
        moves(switch, 1)
        for command in ("port stop 2", "port stop 1", "port start 1", "port start 2"):
            switch.execute(command)
    moves(switch, 2)
    switch.execute("port detach 1")
    assert not a.exists()
    moves(switch, 2)
    switch.execute("port detach 2")
    assert not b.exists() and [row["port"] for row in switch.show("ports")] == [0]
    switch.terminate()
