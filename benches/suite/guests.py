# SPDX-License-Identifier: MIT
"""Guests behind vhost-user, and the two switches that carry packets between them.

One `dpdk-testpmd` on the main core has the virtio side of both ends, since two programs on one core take turns of
milliseconds, in which rings of 256 packets run full and empty. It plays a recording into one end as fast as the switch takes
it, and throws away what arrives at the other. The wire to another host is such an end too: a switch's uplink is a vhost-user
port.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import alkaid, ovs, settings
from .cases import FRIEND_MAC, GUEST_MAC, PEER_MAC
from .packets import OUTER
from .testpmd import PROMPT

# Who sends and who receives, by a case's direction.
ENDS = {"local": ("guest", "friend"), "encap": ("guest", "wire"), "decap": ("wire", "guest")}
MACS = {"guest": GUEST_MAC, "friend": FRIEND_MAC, "wire": PEER_MAC}
UNDERLAY_MTU = 1500 + OUTER

# Guests beside these that say nothing, each of a port of its own: made as the tests' are, since none needs a program.
IDLE = int(os.environ.get("IDLE", "0"))
FIRST_IDLE_PORT = 10
sys.path.append(str(Path(__file__).parents[2] / "tests" / "blackbox"))
from frontend import Frontend  # noqa: E402

# DPDK's own defaults: a split ring of 256, mergeable buffers, used in order. Linux uses them in any order (in_order=0), which takes the
# guests' core longer than the switch's.
VIRTIO = os.environ.get("VIRTIO", "queue_size=256,mrg_rxbuf=1,in_order=1,packed_vq=0")
SENDER, RECEIVER = 1, 3  # testpmd's ports; 0 is what the one plays, 2 is where the other's go

WARM = 0.5  # seconds before what is timed, in which testpmd and Open vSwitch fill their caches


class Guests:
    """Both ends, each behind the socket that it serves in `folder`. `recorded`: where to write what arrives."""

    def __init__(self, played, folder, recorded=None):
        (direction,) = played.case.directions
        ends = ENDS[direction]
        self.sockets = [folder / f"{end}.sock" for end in ends]
        sender, receiver = (f"net_virtio_user{n},path={path},server=1,mac={MACS[end]},{VIRTIO}"
                            for n, (end, path) in enumerate(zip(ends, self.sockets)))
        sink = f"net_pcap1,tx_pcap={recorded}" if recorded else "net_null0,no-rx=1"
        vdevs = [f"net_pcap0,rx_pcap={played.paths[direction]},infinite_rx=1", sender, sink, receiver]
        self.command = [
            "stdbuf", "-oL", settings.TESTPMD, f"--lcores=0@{settings.MAIN_CORE},1@{settings.MAIN_CORE}", "--in-memory",
            "--single-file-segments", "--no-pci", "--no-telemetry", f"--file-prefix=guests-bench-{os.getpid()}",
            "--log-level=pmd.net.virtio.init:debug", *(f"--vdev={device}" for device in vdevs), "--",
            "--interactive", "--forward-mode=io", f"--burst={settings.BURST}", f"--total-num-mbufs={played.mbufs}",
            "--port-topology=paired", "--nb-cores=1", "--disable-link-check", "--no-flush-rx"]
        self.said = ""

    def __enter__(self):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_):
        try:
            self.process.communicate(b"quit\n", timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for path in self.sockets:
            path.unlink(missing_ok=True)

    def plugged(self):
        """Waits until a switch has connected to both."""
        self.said = self._listen()

    def _listen(self):
        out = b""
        while not out.endswith(PROMPT):
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                sys.exit(f"testpmd ended:\n{out.decode(errors='replace')}")
            out += more
        return out.decode(errors="replace")

    def say(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        return self._listen()

    def counted(self, port, way):
        """Packets that an end has received (`RX`) or sent (`TX`)."""
        return int(re.search(rf"{way}-packets: (\d+)", self.say(f"show port stats {port}"))[1])

    def negotiated(self):
        """With the switch: bits of virtio's features, in hexadecimal, and the paths of DPDK's virtio that follow from them."""
        return tuple(sorted(set(re.findall(r"(features after negotiate = \w+|using .* path)", self.said))))

    def lost(self):
        """Ends sending, takes what is under way, and says how many packets were sent and how many of these did not arrive."""
        for command in ("stop", "set fwd rxonly", "start"):
            self.say(command)
        time.sleep(0.2)
        self.say("stop")
        sent = self.counted(SENDER, "TX")
        return sent, sent - self.counted(RECEIVER, "RX")


@dataclass(frozen=True)
class Turn:
    """What one turn of a switch came to."""

    rate: float  # packets per second that were received by the other end
    cycles: float  # TSC cycles of the switch's core per packet, when it had any
    busy: float  # share of the time in which it had
    sent: int  # packets that the switch took from the sender, over all of the turn
    lost: int  # of these, those that did not arrive
    negotiated: tuple  # by both ends


def timed(guests, clock):
    """One turn. `clock`: TSC cycles, busy ones, and packets so far, of the switch's core."""
    guests.say("start")
    time.sleep(WARM)
    begun, packets, first = time.monotonic(), guests.counted(RECEIVER, "RX"), clock()
    time.sleep(settings.SECONDS)
    last, packets, seconds = clock(), guests.counted(RECEIVER, "RX") - packets, time.monotonic() - begun
    tsc, busy, came = (after - before for before, after in zip(first, last))
    sent, lost = guests.lost()
    return Turn(packets / seconds, busy / came, busy / tsc, sent, lost, guests.negotiated())


def prove(played, running, first_port):
    """Checks a packet of each flow as it arrives. What the receiver gets goes into a pipe, until all flows were seen.
    `running`: guests, and the switch under test, as a context."""
    (direction,) = played.case.directions
    pipe = played.folder / "received.pipe"
    tail = ovs.Tail(pipe, played.packets[direction], direction)
    with running(pipe) as (guests, _):
        guests.say("start")
        if not tail.complete.wait(60):
            sys.exit(f"{played.case.name}: {len(tail.missing)} of {played.flows} flows do not arrive")
    tail.join()
    pipe.unlink()
    played.case.check(direction, played.packets[direction], tail.outputs(), first_port)


@contextlib.contextmanager
def idle(sockets):
    """Guests that say nothing at these sockets of a switch."""
    with contextlib.ExitStack() as cards:
        for path in sockets:
            cards.callback(Frontend(path).close)
        yield


class Alkaid(alkaid.Alkaid):
    """Started anew for each turn."""

    def prove(self):
        prove(self.played, self._running, alkaid.FIRST_SOURCE_PORT)

    @contextlib.contextmanager
    def _running(self, recorded=None):
        def device(number, end):
            return f"net_vhost{number},iface={self.folder / end}.sock,client=1"

        uplink, more = device(0, "wire"), [f"port config 0 mtu {UNDERLAY_MTU}"]
        if self.played.case.local:
            uplink, more = "net_null0,no-rx=1", [f"port attach {device(2, 'friend')}", "port bind 2 friend"]
        quiet = [self.folder / f"idle{n}.sock" for n in range(IDLE)]
        more += [f"port attach net_vhost{number},iface={path}" for number, path in enumerate(quiet, FIRST_IDLE_PORT)]
        daemon = alkaid.Daemon(self.folder, uplink, device(1, "guest"), self.played.mbufs, "\n".join(more))
        with Guests(self.played, self.folder, recorded) as guests, daemon as switch:
            switch.push(self.goal)
            switch.rows("start")
            guests.plugged()
            with idle(quiet):
                yield guests, switch

    def measure(self):
        with self._running() as (guests, switch):
            def clock():
                (row,) = switch.rows("show", "workers")
                self.tsc_hz = row["tsc_hz"]
                return row["tsc"], row["busy_tsc"], row["rx_packets"]

            return timed(guests, clock)


class Ovs(ovs.Ovs):
    """Runs on between its turns, stopped, and connects to the guests of each."""

    COUNTED = "busy"

    @contextlib.contextmanager
    def _running(self, recorded=None):
        with Guests(self.played, self.folder, recorded) as guests:
            guests.plugged()
            yield guests, self

    def _prove(self):
        def port(bridge, end, number):
            mtu = UNDERLAY_MTU if end == "wire" else 1500
            path = self.folder / f"{end}.sock"
            return bridge, end, number, "type=dpdkvhostuserclient", f"options:vhost-server-path={path}", f"mtu_request={mtu}"

        ends = ENDS[self.case.directions[0]]
        of_guests = [port("br-int", end, {"guest": ovs.GUEST_PORT, "friend": ovs.FRIEND_PORT}[end]) for end in ends if end != "wire"]
        self._add_ports(*of_guests, *[port("br-phy", "wire", ovs.UPLINK_PORT)] * ("wire" in ends))
        quiet = {f"idle{n}": FIRST_IDLE_PORT + n for n in range(IDLE)}
        if quiet:
            self._add_ports(*(("br-int", name, number, "type=dpdkvhostuser") for name, number in quiet.items()))
            self.cleanup.enter_context(idle(self.folder / name for name in quiet))
        prove(self.played, self._running, ovs.FIRST_SOURCE_PORT)

    def _fill(self):
        with self._running() as (guests, _):
            guests.say("start")
            super()._fill()

    def _choose_caches(self):
        with self._running() as (guests, _):
            guests.say("start")
            time.sleep(WARM)
            super()._choose_caches()

    def measure(self):
        def clock():
            counters = self._counters()
            return counters["cycles"], counters["busy"], counters["packets"]

        self.vswitchd.send_signal(signal.SIGCONT)
        with self._running() as (guests, _):
            turn = timed(guests, clock)
        self.vswitchd.send_signal(signal.SIGSTOP)
        return turn
