# SPDX-License-Identifier: MIT
"""What the switch tells those who watch it: metrics, health, systemd, structured logs, DPDK's telemetry."""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import goal
from frames import udp
from plan import A, B, Subnet
from program import DEADLINE, Port, eventually, pcap_ports
from switch import Switch, free_port

NET = Subnet(5)
HERE, ALSO_HERE, THERE = NET.guest(A, 1), NET.guest(A, 2), NET.guest(B, 1)
STATES = [goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.port(ALSO_HERE), goal.neighbor(THERE)]
SERIES = re.compile(r'^(\w+)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
TABLES = {
    "neighbors_by_mac": "neighbors by MAC",
    "neighbors_by_ipv4": "neighbors by IPv4 address",
    "neighbors_by_ipv6": "neighbors by IPv6 address",
    "next_hops": "next hops",
}
"""As metrics call them, and operators' `show memory`."""


class Watched:
    """A switch over pcap files that tells its metrics."""

    def __init__(self, switches, tmp_path, frames=(), more=(), **named):
        self.port = free_port()
        folder = tmp_path / "switch0"
        ports = pcap_ports(folder, [Port(), Port(HERE.id, list(frames)), Port(ALSO_HERE.id)])
        self.switch = switches([*ports, f"set metrics listen 127.0.0.1:{self.port}", *more], **named)

    def get(self, path: str, accept: str | None = None, method: str = "GET") -> tuple[int, str, str]:
        """Status, content type and body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        if accept:
            request.add_header("Accept", accept)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read().decode()

    def metrics(self) -> dict[tuple, float]:
        """By name and labels."""
        status, kind, body = self.get("/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        found = {}
        for line in body.splitlines():
            if not line.startswith("#"):
                name, labels, value = SERIES.match(line).groups()
                key = (name, frozenset(LABEL.findall(labels or "")))
                assert key not in found, line
                found[key] = float(value)
        return found

    def health(self, path: str) -> tuple[int, dict]:
        status, kind, body = self.get(path)
        assert kind == "application/json"
        return status, json.loads(body)


def value(metrics: dict, metric: str, /, **labels: str) -> float:
    """The one series of this name that has these labels, among others."""
    (found,) = [it for (known, its), it in metrics.items() if known == metric and set(labels.items()) <= its]
    return found


@pytest.fixture
def watched(switches, tmp_path):
    def start(*arguments, **named):
        return Watched(switches, tmp_path, *arguments, **named)

    return start


def test_metrics_count_what_operators_are_shown(watched):
    """Packets that leave, that are answered, and that are dropped for two reasons."""
    frames = [udp(HERE, THERE)] * 3 + [udp(HERE, ALSO_HERE)] * 2 + [udp(HERE, NET.guest(B, 9))] * 4 + [udp(HERE, THERE)[:20]]
    watched = watched(frames)
    watched.switch.accept(*STATES)
    watched.switch.execute("start")
    counters = watched.switch.settled(port1=len(frames))
    metrics = watched.metrics()
    for port, row in counters.ports.items():
        labels = {"port": str(port), "name": f"net_pcap{port}", "binding": ["", HERE.id, ALSO_HERE.id][port]}
        for metric, column in [
            ("rx_packets_total", "rx_packets"),
            ("rx_bytes_total", "rx_bytes"),
            ("tx_packets_total", "tx_packets"),
            ("tx_bytes_total", "tx_bytes"),
            ("forwarded_packets_total", "forwarded"),
            ("answered_packets_total", "answered"),
            ("held_packets", "held"),
            ("to_gateway_packets_total", "to_gateway"),
            ("own_packets_total", "tx_own"),
            ("unsent_packets_total", "tx_unsent"),
            ("device_rx_missed_packets_total", "rx_missed"),
            ("device_tx_errors_total", "tx_errors"),
        ]:
            assert value(metrics, f"alkaid_port_{metric}", **labels) == row[column], (port, metric)
        drops = {dict(its)["reason"]: it for (name, its), it in metrics.items() if name == "alkaid_port_drops_total" and ("port", str(port)) in its and it}
        assert drops == counters.drops[port]
    assert value(metrics, "alkaid_drops_total", reason="unknown_mac") == 4
    assert value(metrics, "alkaid_drops_total", reason="truncated") == 1
    assert value(metrics, "alkaid_port_rx_packets_total", port="1") == len(frames)
    (worker,) = watched.switch.show("workers")
    assert value(metrics, "alkaid_worker_burst_packets_sum") == worker["rx_packets"] == sum(row["rx_packets"] for row in counters.ports.values())
    # What was counted as of a port stays when an operator counts anew.
    watched.switch.execute("clear port stats all")
    assert value(watched.metrics(), "alkaid_port_rx_packets_total", port="1") == len(frames)
    watched.switch.terminate()


def test_ports_say_what_they_are_and_which_vni_their_guest_is_in(watched):
    watched = watched()
    watched.switch.accept(*STATES)

    def vnis():
        found = [dict(its) for name, its in watched.metrics() if name == "alkaid_port_info"]
        return {row["port"]: (row["role"], row["vni"]) for row in found}

    eventually("guests' VNIs are told", lambda: vnis() == {"0": ("uplink", ""), "1": ("tenant", "5"), "2": ("tenant", "5")})
    metrics = watched.metrics()
    assert value(metrics, "alkaid_port_up", port="1") == 1
    assert value(metrics, "alkaid_build_info", version="0.1.0") == 1
    assert value(metrics, "process_resident_memory_bytes") > 1 << 20 and value(metrics, "process_open_fds") > 3
    assert value(metrics, "alkaid_mempool_used_buffers") + value(metrics, "alkaid_mempool_free_buffers") == 16383


def test_resources_are_counted_by_state_and_their_statuses_and_times_too(watched):
    watched = watched()
    stray = goal.neighbor(Subnet(9).guest(B, 1))  # of a subnet that is not described
    watched.switch.push(*STATES, stray)
    watched.switch.push(goal.subnet(NET))

    def counted():
        found = {}
        for (name, its), count in watched.metrics().items():
            if name == "alkaid_goal_state_resources" and count:
                found[dict(its)["kind"], dict(its)["state"]] = count
        return found

    expected = {("vpc", "programmed"): 1, ("subnet", "programmed"): 1, ("port", "programmed"): 2, ("neighbor", "programmed"): 1, ("neighbor", "pending"): 1}
    eventually("all are counted", lambda: counted() == expected)
    metrics = watched.metrics()
    assert value(metrics, "alkaid_goal_state_message_seconds_count") == 2
    assert value(metrics, "alkaid_goal_state_seconds_count", kind="subnet") == 2
    assert value(metrics, "alkaid_goal_state_seconds_count", kind="neighbor") == 1
    assert 0 < value(metrics, "alkaid_goal_state_message_seconds_sum") < 2 * DEADLINE
    assert value(metrics, "alkaid_goal_state_statuses_total", kind="neighbor", status="SUCCESS") == 1
    assert value(metrics, "alkaid_goal_state_statuses_total", kind="neighbor", status="PENDING") == 1
    rows = {row["table"]: row for row in watched.switch.show("memory")}
    for table, shown in TABLES.items():
        for metric, column in (("entries", "entries"), ("bytes", "bytes"), ("capacity_entries", "capacity")):
            assert value(metrics, f"alkaid_table_{metric}", table=table) == rows[shown][column], (table, metric)
    assert rows["neighbors by IPv4 address"]["entries"] == 3 and rows["neighbors by IPv4 address"]["bytes"] > 0
    assert value(metrics, "alkaid_table_entries", table="vnis") == 1


def test_a_workers_time_is_idle_or_busy_while_it_forwards(watched):
    watched = watched()
    name = "alkaid_worker_idle_seconds_total"
    assert value(watched.metrics(), name) == 0 and value(watched.metrics(), "alkaid_forwarding") == 0
    watched.switch.execute("start")
    eventually("it idles", lambda: value(watched.metrics(), name) > 0.05)
    before = watched.metrics()
    eventually("it polls", lambda: value(watched.metrics(), "alkaid_worker_polls_total") > value(before, "alkaid_worker_polls_total"))
    assert value(before, "alkaid_worker_busy_seconds_total") == 0
    watched.switch.execute("stop")
    # It has ended its round when two looks are the same.
    eventually("it rests", lambda: value(watched.metrics(), name) == value(watched.metrics(), name))


def test_a_worker_with_packets_all_the_time_is_busy(switches, tmp_path):
    """It polls a recording that never ends, so that nearly all of its time is busy."""
    folder, port = tmp_path / "switch0", free_port()
    ports = pcap_ports(folder, [Port(), Port(HERE.id, [udp(HERE, THERE)] * 64)])
    ports[1] = f"port attach net_pcap1,rx_pcap={folder}/rx1.pcap,infinite_rx=1"
    ports[0] = "port attach net_null0,no-rx=1"
    switch = switches([*ports, f"set metrics listen 127.0.0.1:{port}", "start"])
    switch.accept(goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.neighbor(THERE))
    watched = Watched.__new__(Watched)
    watched.port = port
    eventually("it is busy", lambda: value(watched.metrics(), "alkaid_worker_busy_seconds_total") > 0.2)
    first = watched.metrics()
    eventually("it goes on", lambda: value(watched.metrics(), "alkaid_worker_busy_seconds_total") > value(first, "alkaid_worker_busy_seconds_total") + 0.2)
    last = watched.metrics()
    busy, idle = (value(last, f"alkaid_worker_{it}_seconds_total") - value(first, f"alkaid_worker_{it}_seconds_total") for it in ("busy", "idle"))
    assert busy > 20 * idle, (busy, idle)
    bursts = [value(last, "alkaid_worker_burst_packets_bucket", le=le) for le in ("16", "32", "+Inf")]
    assert bursts[0] == 0 < bursts[1] == bursts[2] == value(last, "alkaid_worker_burst_packets_count")


def test_openmetrics_is_told_to_who_accepts_it(watched):
    watched = watched()
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    status, kind, body = watched.get("/metrics", accept)
    assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert body.endswith("# EOF\n") and "# TYPE alkaid_drops counter\n" in body


def test_metrics_are_off_unless_they_are_turned_on(switches, tmp_path):
    switch = switches(pcap_ports(tmp_path / "switch0", [Port()]))
    assert "serving metrics" not in switch.log.read_text()
    (check,) = [row for row in switch.show("health") if row["check"] == "control"]
    assert check == {"check": "control", "for": "live", "ok": "yes", "reason": ""}


# --- health


def test_a_switch_is_ready_when_it_forwards_and_its_ports_are_started(watched):
    watched = watched()
    assert watched.health("/healthz") == (200, {"status": "ok", "checks": [{"check": "control", "ok": True, "reasons": []}]})
    status, body = watched.health("/readyz")
    reasons = {check["check"]: check["reasons"] for check in body["checks"]}
    assert (status, body["status"]) == (503, "failing")
    assert reasons == {"control": [], "workers": ["forwarding is stopped; `start` starts it"], "ports": [], "southbound": [], "store": []}
    assert value(watched.metrics(), "alkaid_ready") == 0 and value(watched.metrics(), "alkaid_live") == 1
    watched.switch.execute("start")
    assert watched.health("/readyz")[0] == 200
    assert value(watched.metrics(), "alkaid_ready") == 1
    watched.switch.execute("port stop 2")
    status, body = watched.health("/readyz")
    assert status == 503 and body["checks"][2] == {"check": "ports", "ok": False, "reasons": ["port 2 is stopped"]}
    (row,) = [row for row in watched.switch.show("health") if row["check"] == "ports"]
    assert row == {"check": "ports", "for": "ready", "ok": "no", "reason": "port 2 is stopped"}
    watched.switch.execute("port start 2")
    assert watched.health("/readyz")[0] == 200


def test_a_store_that_keeps_goal_states_is_no_obstacle(watched, tmp_path):
    """test_store.py has one that does not."""
    watched = watched(more=[f"set store {tmp_path / 'store'}", "start"])
    watched.switch.accept(*STATES)
    assert value(watched.metrics(), "alkaid_store_keeps") == 1
    eventually("all is written", lambda: value(watched.metrics(), "alkaid_store_queued_bytes") == 0)
    assert watched.health("/readyz")[0] == 200


PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 17, 0x4206, 0x4207, 0x40000000


class Stopped:
    """One thread of a process stands still, as with a debugger."""

    def __init__(self, pid: int, name: str):
        tasks = Path(f"/proc/{pid}/task")
        (self.tid,) = [int(task.name) for task in tasks.iterdir() if (task / "comm").read_text().strip() == name]
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def ask(self, what: int) -> None:
        if self.libc.ptrace(what, self.tid, None, None) != 0:
            error = ctypes.get_errno()
            pytest.skip(f"a thread cannot be stopped here: {os.strerror(error)}")

    def __enter__(self):
        self.ask(PTRACE_SEIZE)
        self.ask(PTRACE_INTERRUPT)
        os.waitpid(self.tid, WALL)
        return self

    def __exit__(self, *_):
        self.ask(PTRACE_DETACH)


def test_a_worker_that_stands_still_is_named_and_the_switch_is_not_ready_until_it_goes_on(watched):
    watched = watched(more=["start"])
    assert watched.health("/readyz")[0] == 200
    with Stopped(watched.switch.process.pid, "worker0"):
        eventually("it is not ready", lambda: watched.health("/readyz")[0] == 503)
        status, body = watched.health("/readyz")
        (reason,) = body["checks"][1]["reasons"]
        assert re.fullmatch(r"worker 0 on core \d+ has stood still for \d+ s or more", reason)
        assert value(watched.metrics(), "alkaid_worker_standing_seconds", worker="0") >= 2
        assert watched.health("/healthz")[0] == 200
    eventually("it is ready again", lambda: watched.health("/readyz")[0] == 200)


def test_tables_that_a_worker_may_still_look_at_are_counted_until_it_goes_on(watched):
    """A port goes down while the worker stands still, which may look at what the port was. Its controller is answered later."""
    watched = watched(more=["start"])
    watched.switch.accept(*STATES)

    def pinned() -> tuple[float, ...]:
        metrics = watched.metrics()
        return tuple(value(metrics, f"alkaid_{name}") for name in ("pinned_snapshots", "pinned_bytes", "control_late_replies"))

    eventually("nothing is replaced", lambda: pinned() == (0, 0, 0))
    with Stopped(watched.switch.process.pid, "worker0"):
        reply = watched.switch.controller.PushNetworkResourceStates.future(goal.v1(goal.port(HERE, up=False)), timeout=DEADLINE)
        snapshots, size, late = eventually("it is replaced", lambda: all(pinned()) and pinned())
        assert (snapshots, late) == (1, 1) and not reply.done()
        (shown,) = [row for row in watched.switch.show("memory") if row["table"] == "replaced snapshots"]
        assert (shown["entries"], shown["bytes"]) == (snapshots, size)
    eventually("it is let go", lambda: pinned() == (0, 0, 0))
    assert goal.statuses(reply.result()) == {("PORT", HERE.id): "SUCCESS"}


def test_a_control_thread_that_does_not_answer_is_no_life(watched):
    watched = watched(more=["start"])
    watched.metrics()
    with Stopped(watched.switch.process.pid, "control"):
        status, body = watched.health("/healthz")
        assert status == 503 and "does not answer" in body["checks"][0]["reasons"][0]
        metrics = watched.metrics()
        assert value(metrics, "alkaid_live") == 0
        assert value(metrics, "alkaid_worker_polls_total") > 0, "workers go on"
        assert value(metrics, "alkaid_table_capacity_entries", table="neighbors_by_mac") == 1 << 20, "as it was last"
    eventually("it lives again", lambda: watched.health("/healthz")[0] == 200)


# --- who asks wrongly, or too much


@pytest.mark.parametrize(
    "request_bytes, status",
    [
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"GET /metrics\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 1000 + b"\r\n", 431),
    ],
)
def test_a_wrong_request_is_refused_and_harms_nobody(watched, request_bytes, status):
    watched = watched()
    with socket.create_connection(("127.0.0.1", watched.port), timeout=DEADLINE) as caller:
        try:
            caller.sendall(request_bytes)
        except ConnectionError:
            pass  # refused before it was said to the end
        try:
            answer = caller.recv(100)
        except ConnectionResetError:
            answer = b""
    assert not answer or int(answer.split()[1]) == status, answer
    assert answer or status in (400, 431)
    assert watched.get("/healthz")[0] == 200


def test_who_says_nothing_or_half_is_hung_up_and_others_are_served_again(watched):
    watched = watched()
    idle = [socket.create_connection(("127.0.0.1", watched.port), timeout=DEADLINE) for _ in range(32)]
    for caller in idle[:16]:
        caller.sendall(b"GET /metrics HTTP/1.1\r\nHost")

    def is_turned_away():
        with socket.create_connection(("127.0.0.1", watched.port), timeout=DEADLINE) as one_more:
            try:
                one_more.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                return one_more.recv(1) == b""
            except ConnectionError:
                return True

    eventually("all places are taken", is_turned_away, 4)
    assert watched.switch.show("ports"), "operators are served all the time"
    for caller in idle:
        while caller.recv(1000):
            pass  # it may be told why it is hung up

    def is_served():
        try:
            return watched.get("/healthz")[0] == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    eventually("others are served", is_served)
    for caller in idle:
        caller.close()


# --- systemd


class Systemd:
    """Listens where systemd would."""

    def __init__(self, folder: Path):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(0.01)
        self.said: list[str] = []

    def read(self) -> list[str]:
        while True:
            try:
                self.said += self.socket.recv(4096).decode().splitlines()
            except TimeoutError:
                return self.said

    def count(self, line: str) -> int:
        return self.read().count(line)


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    systemd = Systemd(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.path))
    yield systemd
    systemd.socket.close()


def test_systemd_is_told_when_the_switch_is_ready_what_it_does_and_that_it_ends(watched, systemd):
    watched = watched(more=["start"])
    eventually("it is ready", lambda: systemd.count("READY=1") == 1)
    eventually("a status", lambda: any(re.fullmatch(r"STATUS=forwarding; resources: 0 programmed, 0 waiting, 0 failed", line) for line in systemd.read()))
    assert systemd.count("WATCHDOG=1") == 0, "nobody asked for it"
    watched.switch.terminate()
    assert systemd.read()[-1] == "STOPPING=1" and systemd.count("STOPPING=1") == 1


def test_the_watchdog_hears_from_a_switch_whose_workers_and_control_thread_move(watched, systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    watched = watched(more=["start"])
    eventually("it says that it lives", lambda: systemd.count("WATCHDOG=1") >= 3)
    for thread, status in (("worker0", "STATUS=worker 0 has stood still for"), ("control", "STATUS=the control thread does not answer")):
        with Stopped(watched.switch.process.pid, thread):
            seen = len(systemd.read())
            eventually("it says what is wrong", lambda: sum(line.startswith(status) for line in systemd.read()[seen:]) >= 4)
            wrong = next(i for i, line in enumerate(systemd.said) if i >= seen and line.startswith(status))
            assert "WATCHDOG=1" not in systemd.said[wrong:]
        seen = systemd.count("WATCHDOG=1")
        eventually("it says again that it lives", lambda: systemd.count("WATCHDOG=1") >= seen + 3)


# --- logs


def test_each_line_of_the_log_is_a_json_object_with_fields(switches, tmp_path):
    folder = tmp_path / "switch0"
    switch = switches([*pcap_ports(folder, [Port(), Port(HERE.id)]), "set log format json", "start"])
    wrong = goal.subnet(NET)
    wrong.configuration.cidr = "10.5.0.0/99"
    switch.push(goal.vpc(NET), wrong)
    switch.push(goal.neighbor(THERE))
    config = switch.execute("show config")
    assert "set log format json" in config.splitlines()
    switch.terminate()
    lines = [json.loads(line) for line in switch.log.read_text().splitlines()]
    assert all(line["timestamp"] and line["level"] in ("ERROR", "WARN", "INFO") and line["target"] and line["message"] for line in lines)
    (refused,) = [line for line in lines if line.get("status") == "INVALID_ARG"]
    assert (refused["kind"], refused["level"]) == ("SUBNET", "WARN") and NET.id in refused["id"]
    assert "configuration.cidr" in refused["message"] and refused["source"]
    (waits,) = [line for line in lines if line.get("status") == "PENDING"]
    assert (waits["kind"], waits["level"]) == ("NEIGHBOR", "INFO")
    assert [line["address"] for line in lines if line.get("service") == "goal states"] == [switch.address]


def test_how_much_is_logged_is_changed_while_it_runs(switches, tmp_path):
    switch = switches([*pcap_ports(tmp_path / "switch0", [Port()]), "set log error", "set metrics-log on"])

    def refused(id: str) -> None:
        wrong = goal.subnet(NET)
        wrong.configuration.id, wrong.configuration.cidr = id, "10.5.0.0/99"
        switch.push(wrong)

    refused("silently")
    switch.execute("set log warn")
    assert "set log warn" in switch.execute("show config").splitlines()
    refused("aloud")
    eventually("what is refused is logged", lambda: "aloud" in switch.log.read_text())
    log = switch.log.read_text()
    assert "silently" not in log and log.count("[METRICS]") >= 2


def test_dpdks_own_lines_are_json_too(alkaid, tmp_path):
    """A device that DPDK refuses, with words of its own."""
    switch = Switch(alkaid, tmp_path / "switch0", ["port attach net_pcap0,rx_pcap=/nowhere.pcap", "set vtep 192.0.2.1/24 port 0", "set log format json"])
    switch.spawn()
    try:
        assert switch.wait() == 1
        lines = [json.loads(line) for line in switch.log.read_text().splitlines()]
        assert any(line["target"] == "dpdk" and line["level"] == "ERROR" for line in lines), lines
    finally:
        switch.end()


# --- DPDK's telemetry

UDP_OVER_BOTH = 1 << 5 | 1 << 11
"""DPDK's RTE_ETH_RSS_NONFRAG_IPV4_UDP and RTE_ETH_RSS_NONFRAG_IPV6_UDP: VXLAN has its entropy in the source port."""


@pytest.fixture
def short():
    """A folder with a short name: a socket's path has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="alkaid-") as folder:
        yield Path(folder)


def test_dpdks_telemetry_answers(alkaid, short):
    folder = short / "switch"
    spread = ["port attach net_null2,no-rx=1", "port config 2 rxq 2", "port attach net_null3,no-rx=1", "port config 3 rxq 1"]
    switch = Switch(alkaid, folder, pcap_ports(folder, [Port(), Port(HERE.id, [udp(HERE, THERE)] * 3)]) + [*spread, "start"])
    text = switch.config.read_text()
    assert "--no-telemetry" in text
    switch.config.write_text(text.replace("--no-telemetry", ""))
    switch.start()
    try:
        switch.accept(*STATES[:3], STATES[4])
        (path,) = list(folder.rglob("dpdk_telemetry.v2"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as telemetry:
            telemetry.settimeout(DEADLINE)
            telemetry.connect(str(path))
            assert "version" in json.loads(telemetry.recv(16384))

            def ask(what: str) -> dict:
                telemetry.send(what.encode())
                return json.loads(telemetry.recv(16384))[what.split(",")[0]]

            eventually("the packets are counted", lambda: ask("/ethdev/stats,1")["ipackets"] == 3)
            assert ask("/ethdev/info,0")["name"] == "net_pcap0"
            # A device with several queues, that can, spreads what it receives over them.
            assert ask("/ethdev/info,2")["ethdev_rss_hf"] & UDP_OVER_BOTH == UDP_OVER_BOTH
            assert ask("/ethdev/info,3")["ethdev_rss_hf"] == 0
    finally:
        switch.end()


