# SPDX-License-Identifier: MIT
"""Rx queues and workers: who polls which, what they take, how they move, and workers that sleep."""

from __future__ import annotations

import itertools
import os
import struct
import threading
import time

import pytest

import goal
from frames import udp, write_pcap
from kernel import exchange, quiet, run
from plan import A, B, Subnet, host_ip, host_mac
from program import DEADLINE, call, eal, eventually
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether
from guests import Site
from switch import Switch

NET = Subnet(5)
GUESTS = [NET.guest(A, n) for n in (1, 2, 3)]
HERE, ALSO_HERE, _ = GUESTS
NETWORK = [goal.vpc(NET), goal.subnet(NET), *map(goal.port, GUESTS)]
TWO_WORKERS = ["set nbcore 2", "set corelist 0,1"]


def two_cores() -> None:
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("needs cores 0 and 1")


def placed(switch: Switch) -> dict[str, int]:
    """The worker of each rx queue."""
    rows = switch.show("rxq")
    assert all(row["core"] == (0, 1)[row["worker"]] for row in rows)
    found = {f"{row['port']}/{row['queue']}": row["worker"] for row in rows}
    workers = {row["worker"]: sorted(row["queues"].split()) for row in switch.show("workers")}
    assert workers == {n: sorted(name for name, worker in found.items() if worker == n) for n in (0, 1)}
    return found


@pytest.fixture
def streams(switches, tmp_path):
    """Three guests that send without end, to each other's subnet and to nobody, and two workers."""
    two_cores()

    def start(*config: str) -> Switch:
        lines = ["port attach net_null0", "set vtep 192.0.2.1/24 port 0", *TWO_WORKERS]
        for number, guest in enumerate(GUESTS, 1):
            file = tmp_path / f"guest{number}.pcap"
            write_pcap(file, [udp(guest, NET.guest(B, 9), sport=1000 + n) for n in range(32)])
            lines += [f"port attach net_pcap{number},rx_pcap={file},infinite_rx=1", f"port bind {number} {guest.id}"]
        # net_null receives without end too.
        switch = switches([*lines, "set portlist 0-3", *config])
        switch.accept(*NETWORK)
        switch.execute("start")
        return switch

    return start


def receiving(switch: Switch) -> None:
    """All queues of guests bring packets."""
    before = {(row["port"], row["queue"]): row["rx_packets"] for row in switch.show("rxq")}
    moved = lambda: all(row["rx_packets"] > before[row["port"], row["queue"]] for row in switch.show("rxq") if row["port"])  # noqa: E731
    eventually("packets of all queues arrive", moved)


def since_they_moved(switch: Switch, begun: float) -> None:
    """What queues take is told as soon as it is known, and is of the time since they moved, which was after `begun`."""

    def known() -> list[dict]:
        rows = switch.show("rxq")
        return rows if all(row["seconds"] is not None for row in rows) else []

    rows = eventually("it is known what they take", known)
    assert all(1 <= row["seconds"] <= time.monotonic() - begun + 0.05 for row in rows), rows


def test_queues_are_spread_at_start_and_pinned_ones_are_where_they_are_to_be(streams):
    switch = streams("port config 2 rxq-affinity 0:0", "port config 3 rxq-affinity 0:0")
    found = placed(switch)
    assert found["2/0"] == found["3/0"] == 0
    assert "port config 2 rxq-affinity 0:0" in switch.execute("show config").splitlines()
    assert {row["port"] for row in switch.show("rxq") if row["pinned"]} == {2, 3}
    switch.execute("port config 2 rxq-affinity 0:1")
    assert placed(switch)["2/0"] == 1
    receiving(switch)
    switch.execute("port config 2 rxq-affinity none")
    assert placed(switch)["2/0"] == 1
    for command, why in [
        ("port config 2 rxq-affinity 0:7", "names core 7, and workers run on [0, 1]"),
        ("port config 2 rxq-affinity 1:0", "names receive queue 1, and it has 1"),
    ]:
        refused = switch.client("exec", command)
        assert refused.returncode == 1 and why in refused.stderr, refused.stderr
    switch.terminate()


def test_a_core_without_a_worker_is_refused_at_start(alkaid, tmp_path):
    config = tmp_path / "pinned.conf"
    lines = [eal(f"alkaid-test-{os.getpid()}-pinned"), "set corelist 0", "set southbound off", "port attach net_null0", "port config 0 rxq-affinity 0:1"]
    config.write_text("\n".join(lines) + "\n")
    refused = call(alkaid, "run", config)
    assert refused.returncode != 0 and "rxq-affinity of port 0 names core 1, and workers run on [0]" in refused.stderr


def test_a_rebalance_takes_load_off_the_busy_worker_and_says_so_before(streams):
    switch = streams(*(f"port config {port} rxq-affinity 0:0" for port in (1, 2, 3)), "port config 0 rxq-affinity 0:1")
    switch.execute("port stop 0")  # net_null's frames are no load worth the name, but without end
    switch.execute("port config all rxq-affinity none")
    assert placed(switch) == {"1/0": 0, "2/0": 0, "3/0": 0}
    busy = lambda: all(row["load_percent"] is not None and row["load_percent"] > 5 and row["pps"] > 1000 for row in switch.show("rxq"))  # noqa: E731
    eventually("it is known what they take", busy)
    first, second = switch.show("rebalance")
    assert first["queues"] == "1/0 2/0 3/0" and second["queues"] == ""
    assert second["load_percent"] == 0 < second["load_percent_then"] < first["load_percent"]
    assert first["load_percent_then"] < first["load_percent"]
    assert placed(switch) == {"1/0": 0, "2/0": 0, "3/0": 0}, "it was not done"
    begun = time.monotonic()
    done = switch.client("exec", "rebalance", "--json")
    assert done.returncode == 0, done.stderr
    workers = placed(switch)
    assert sorted(workers.values()) in ([0, 0, 1], [0, 1, 1]), workers
    since_they_moved(switch, begun)
    receiving(switch)
    counters = switch.counters()
    assert all(counters.drops[port].keys() <= {"unknown_mac"} for port in (1, 2, 3)), counters.drops
    switch.terminate()


def test_a_worker_that_has_too_much_to_do_for_a_minute_gives_a_queue_away_by_itself(streams):
    begun = time.monotonic()
    switch = streams("port config 1 rxq-affinity 0:0", "port config 2 rxq-affinity 0:0", "set rebalance auto on")
    for port in (0, 3):  # two busy queues are left, on one worker
        switch.execute(f"port stop {port}")
    switch.execute("port config all rxq-affinity none")
    eventually("the log says that a queue has moved", lambda: "a worker was overloaded: receive queues have moved" in switch.log.read_text(), 90 + DEADLINE)
    moved = time.monotonic()
    assert moved - begun > 30, "not before it is known what they take in a minute"
    assert sorted(placed(switch).values()) == [0, 1]
    since_they_moved(switch, moved - 5)  # which is when it was noticed
    first, second = switch.show("rebalance")
    assert first["queues"] == first["queues_then"] and second["queues"] == second["queues_then"], "it is even now"
    receiving(switch)
    switch.terminate()


def test_a_queue_that_moves_to_and_fro_loses_nothing_and_keeps_the_order(networks, switches):
    """With one transmit queue per device, the workers hand frames over to each other as well."""
    two_cores()
    inside = networks.namespace("in")
    devices = [networks.pair(f"g{n}", inside, f"g{n}", mac=guest.mac) for n, guest in enumerate((HERE, ALSO_HERE))]
    ports = [f"port attach net_af_packet{n},iface={device}" for n, device in enumerate(devices, 1)]
    site = Site(networks, switches, *ports, f"port bind 1 {HERE.id}", f"port bind 2 {ALSO_HERE.id}", *TWO_WORKERS)
    switch = site.switch
    switch.accept(*NETWORK[:-1])
    here, there = (networks.wire(inside, f"g{n}") for n in (0, 1))
    moves, enough = itertools.count(), threading.Event()

    def move():
        for n in moves:
            if n == 12:
                return enough.set()
            switch.execute(f"port config 1 rxq-affinity 0:{n % 2}")

    mover, count = threading.Thread(target=move), 0
    mover.start()
    head = udp(HERE, ALSO_HERE, payload=bytes(4), udp={"chksum": 0})[:-4]
    while mover.is_alive():
        batch = [head + struct.pack(">I", n) for n in range(count, count + 50)]
        count += 50
        here.send(batch)
        there.expect(batch)
    assert enough.is_set()
    counters = switch.counters()
    assert counters.rx(1) == counters.ports[1]["forwarded"] == count
    for worker in (0, 1):
        switch.execute("port stop 1")
        switch.execute(f"port config 1 rxq-affinity 0:{worker}")
        switch.execute("port start 1")
        assert placed(switch)["1/0"] == worker
    switch.terminate()


# --- the host port


class HostSite:
    """A switch whose host port is a tap in a namespace, which has the VTEP's address."""

    def __init__(self, networks, switches, *config: str):
        tap, self.kernel = networks.device("h"), networks.namespace("k")
        self.site = Site(networks, switches, f"port attach net_tap1,iface={tap},mac={host_mac(A)}", "set host port 1", *config)
        self.switch, self.uplink = self.site.switch, self.site.uplink
        run("ip", "link", "set", tap, "netns", self.kernel.name)
        with self.kernel.inside():
            quiet(tap)
        self.kernel.ip(f"link set {tap} up")
        self.kernel.ip(f"address add {host_ip(A)}/24 dev {tap}")


TO_HOST = Ether(src=host_mac(B), dst=host_mac(A))
FLOOD = bytes(TO_HOST / IP(src=host_ip(B), dst=host_ip(A)) / UDP(sport=9, dport=9) / b"flood")
WHO_HAS = bytes(Ether(src=host_mac(B), dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=host_mac(B), psrc=host_ip(B), pdst=host_ip(A)))


def test_a_flood_to_the_host_is_limited_and_the_host_is_found_nevertheless(networks, switches):
    host = HostSite(networks, switches, "set host rate 200")
    switch = host.switch
    assert "set host rate 200" in switch.execute("show config").splitlines()
    begun, answers, sent = time.monotonic(), [], 0

    def listen(count: int, seconds: float) -> None:
        """The host also says that nobody is at the flood's port."""
        frames = map(Ether, host.uplink.receive(count, seconds))
        answers.extend(frame for frame in frames if frame.type == 0x806 and frame[ARP].op == 2)

    for _ in range(20):
        host.uplink.send([FLOOD] * 200)
        sent += 200
        host.uplink.send([WHO_HAS])
        listen(1, 0.5)
        time.sleep(0.01)  # the time of two
    eventually("not one question was dropped", lambda: listen(20, 0.1) or len(answers) == 20)
    eventually("all has arrived", lambda: switch.counters().rx(0) >= sent + 20)
    limited = switch.counters().drops[0]["host_limited"]
    passed = sent - limited
    # Eight at once and 200 per second, of which the questions had their part.
    assert 8 <= passed <= 8 + 200 * (time.monotonic() - begun), (passed, limited)
    (row,) = [row for row in switch.show("drops") if row["reason"] == "host_limited"]
    assert "set host rate" in row["explanation"]
    # What the host sends is nobody's flood.
    assert switch.counters().drops[1] == {}
    switch.execute("set host rate off")
    before = switch.counters()
    for n in range(100, 2100, 100):
        host.uplink.send([FLOOD] * 100)
        eventually("all has arrived", lambda: switch.counters().rx(0) >= before.rx(0) + n)
    assert switch.counters().drops[0]["host_limited"] == limited
    assert "set host rate off" in switch.execute("show config").splitlines()
    switch.terminate()


def test_a_connection_to_the_host_outlasts_a_flood(networks, switches):
    """Of twenty times what the host gets. More than the device's ring has room for would be lost before the switch sees it."""
    host = HostSite(networks, switches, "set host rate 1000")
    host.site.outside.ip(f"address add {host_ip(B)}/24 dev u")
    ended = threading.Event()

    def flood():
        while not ended.wait(0.005):
            host.uplink.send([FLOOD] * 100)

    flooder = threading.Thread(target=flood)
    flooder.start()
    try:
        eventually("most is dropped", lambda: host.switch.counters().drops[0]["host_limited"] > 2000)
        for client, server in ((B, A), (A, B)):
            ends = {A: (host.kernel, host_ip(A)), B: (host.site.outside, host_ip(B))}
            exchange(ends[client], ends[server], 20_000, patience=2 * DEADLINE)
    finally:
        ended.set()
        flooder.join()
    host.switch.terminate()


def test_pings_of_the_host_pass_by_default(networks, switches):
    host = HostSite(networks, switches)
    ping = bytes(TO_HOST / IP(src=host_ip(B), dst=host_ip(A)) / ICMP(id=7) / b"ping")
    host.site.outside.ip(f"neigh replace {host_ip(A)} lladdr {host_mac(A)} dev u")
    host.uplink.send([WHO_HAS])
    eventually("it answers", lambda: host.uplink.receive(1, 0.2))
    host.uplink.send([ping] * 300)
    echoes = [frame for frame in host.uplink.receive(300, 2) if Ether(frame).haslayer(ICMP) and Ether(frame)[ICMP].type == 0]
    assert len(echoes) == 300
    assert "host_limited" not in host.switch.counters().drops[0]
    host.switch.terminate()


# --- workers that sleep


def busy(switch: Switch, seconds: float = 0.5) -> float:
    """How much of one core the switch's workers take, by the kernel's account: their threads' times."""

    def ticks() -> int:
        total = 0
        for task in os.listdir(f"/proc/{switch.process.pid}/task"):
            with open(f"/proc/{switch.process.pid}/task/{task}/stat") as stat:
                name, fields = stat.read().rsplit(")", 1)
            if "(worker" in name:
                total += sum(map(int, fields.split()[11:13]))
        return total

    before, begun = ticks(), time.monotonic()
    time.sleep(seconds)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - begun)


def test_workers_without_packets_sleep_and_all_else_goes_on(networks, switches):
    inside = networks.namespace("in")
    device = networks.pair("g0", inside, "g0", mac=HERE.mac)
    site = Site(networks, switches, f"port attach net_af_packet1,iface={device}", f"port bind 1 {HERE.id}", "set poll adaptive")
    switch, wire = site.switch, networks.wire(inside, "g0")
    switch.accept(*NETWORK[:3], goal.neighbor(NET.guest(B)))
    assert "set poll adaptive max-sleep 50" in switch.execute("show config").splitlines()
    site.reach(HERE, wire)
    asleep = busy(switch)
    switch.execute("set poll busy")
    awake = busy(switch)
    # Other programs may keep a worker from a core that it would take all of; never let it take one that it leaves.
    assert asleep < awake / 2, (asleep, awake)
    slept = switch.show("workers")[0]["asleep_tsc"]
    assert slept > 0
    switch.execute("set poll adaptive max-sleep 1000")
    for n in range(10):
        # Goal states are seen, commands are executed, packets pass, ports come and go, and the worker counts as moving.
        switch.accept(goal.neighbor(NET.guest(B), host=2 + n % 2), goal.neighbor(NET.guest(B)))
        site.trade(HERE, wire, 5)
        switch.execute("port stop 1")
        switch.execute("port start 1")
        site.reach(HERE, wire) if n == 0 else None
    assert switch.show("workers")[0]["asleep_tsc"] > slept
    assert {row["ok"] for row in switch.show("health")} == {"yes"}
    switch.terminate()
