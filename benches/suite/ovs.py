# SPDX-License-Identifier: MIT
"""The yardstick that does the same work: Open vSwitch with DPDK, Debian's build, with flows that say what the goal state says.

It runs beside everything else on the machine: own database, sockets and folder, own network namespace for the tap devices
of its bridges, nothing left behind. Between its turns it is stopped with SIGSTOP, so that its core is free and its flow
caches stay filled.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from . import settings
from .cases import DVR_MAC, FRIEND_MAC, GATEWAY_MAC, GUEST_MAC, PEER, PEER_MAC, ROUTES, UPLINK_MAC, VNI, VTEP, neighbor_mac, route
from .packets import OUTER, ip_plus, read_pcap

VSWITCHD = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
FIRST_SOURCE_PORT = 32768
# Of its two caches in front of the classifier, the exact-match one and the one of signatures.
CACHES = {"EMC": (100, "false"), "EMC+SMC": (100, "true"), "SMC": (0, "true"), "none": (0, "false")}
NEVER = 86_400_000  # milliseconds
GUEST_PORT, TUNNEL_PORT, FRIEND_PORT, UPLINK_PORT = 1, 2, 3, 1


def installed():
    return VSWITCHD.exists() and all(map(shutil.which, ("ovsdb-server", "ovs-vsctl", "ovs-ofctl", "ovs-appctl")))


def integration_flows(case, flows):
    """The integration bridge's: guest on one side, tunnel or friend on the other."""
    if case.local:
        yield f"table=0,in_port={GUEST_PORT},dl_dst={FRIEND_MAC},actions=output:{FRIEND_PORT}"
        return
    tunnel = f"set_field:{VNI}->tun_id,set_field:{PEER}->tun_dst,output:{TUNNEL_PORT}"
    from_tunnel = f"in_port={TUNNEL_PORT},tun_id={VNI},dl_dst={GUEST_MAC}"
    yield f"table=0,priority=1,{from_tunnel},actions=output:{GUEST_PORT}"
    yield f"table=0,priority=2,{from_tunnel},dl_src={DVR_MAC},actions=set_field:{GATEWAY_MAC}->eth_src,output:{GUEST_PORT}"
    if not case.routed:
        for n in range(flows):
            yield f"table=0,in_port={GUEST_PORT},dl_dst={neighbor_mac(n)},actions={tunnel}"
        return

    def rewritten(n):
        return f"set_field:{DVR_MAC}->eth_src,set_field:{neighbor_mac(n)}->eth_dst,dec_ttl,{tunnel}"

    yield f"table=0,in_port={GUEST_PORT},ip,dl_dst={GATEWAY_MAC},actions=goto_table:1"
    yield "table=1,priority=14,ip,nw_dst=10.8.0.0/14,actions=goto_table:2"
    for n in range(ROUTES):
        yield f"table=1,priority=22,ip,nw_dst={route(n)},actions={rewritten(0)}"
    for n in range(flows):
        yield f"table=2,ip,nw_dst={ip_plus(case.first_neighbor, n)},actions={rewritten(n)}"


class Ovs:
    """Running and programmed, and stopped but for `measure`."""

    COUNTED = "cycles"  # of `_counters`, those that its caches are compared by

    def __init__(self, played):
        self.played, self.case = played, played.case
        self.folder = played.folder / "ovs"
        self.folder.mkdir()
        self.environment = os.environ | {f"OVS_{name}DIR": str(self.folder) for name in ("RUN", "LOG", "DB", "SYSCONF")}
        self.cleanup = contextlib.ExitStack()
        self.caches = None

    def __enter__(self):
        try:
            self._start()
            self._program()
            self._prove()
            self._fill()
            self._choose_caches()
            self.vswitchd.send_signal(signal.SIGSTOP)
        except BaseException:
            self.cleanup.close()
            raise
        return self

    def __exit__(self, *_):
        self.cleanup.close()

    def _run(self, *command):
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)
        if done.returncode:
            log = (self.folder / "log").read_text()[-2000:]
            sys.exit(f"{' '.join(command)}: {done.stderr}{log}")
        return done.stdout

    def _vsctl(self, *words):
        return self._run("ovs-vsctl", f"--db=unix:{self.folder}/db.sock", "--timeout=60", *words)

    def _appctl(self, *words):
        return self._run("ovs-appctl", "-t", f"{self.folder}/vswitchd.ctl", *words)

    def _daemon(self, *command):
        """Ends with the bench, even with one that is killed; killed, since a stopped process hears nothing else."""
        log = self.cleanup.enter_context(open(self.folder / "log", "a"))
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], env=self.environment, stdout=log, stderr=log)
        self.cleanup.callback(process.wait)
        self.cleanup.callback(process.kill)
        return process

    def _start(self):
        self._run("ovsdb-tool", "create", f"{self.folder}/conf.db", str(SCHEMA))
        self._daemon("ovsdb-server", f"{self.folder}/conf.db", f"--remote=punix:{self.folder}/db.sock",
                     f"--unixctl={self.folder}/ovsdb.ctl")
        self._wait(lambda: (self.folder / "db.sock").exists(), "ovsdb-server")
        extra = f"--in-memory --no-pci --no-telemetry --file-prefix ovs-bench-{os.getpid()} --log-level=error"
        self._vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".",
                    "other_config:dpdk-init=true", f'other_config:dpdk-extra="{extra}"',
                    f"other_config:dpdk-lcore-mask={1 << int(settings.MAIN_CORE):#x}",
                    f"other_config:pmd-cpu-mask={1 << int(settings.WORKER_CORE):#x}",
                    # All flows fit into the datapath. It lets in 1000 more after each revalidation: those come often, at first.
                    "other_config:flow-limit=1000000", "other_config:max-revalidator=100", "other_config:min-revalidate-pps=0",
                    # None leaves for having been stopped, and `_fill` ends revalidation for the same reason.
                    f"other_config:max-idle={NEVER}")
        # `unshare` becomes the daemon, so that its process is the namespace's; all but the PMD thread stays on the main core.
        self.vswitchd = self._daemon("taskset", "--cpu-list", settings.MAIN_CORE, "unshare", "--net", str(VSWITCHD),
                                     f"unix:{self.folder}/db.sock", f"--unixctl={self.folder}/vswitchd.ctl")
        self._wait(lambda: (self.folder / "vswitchd.ctl").exists(), "ovs-vswitchd")
        self._wait(lambda: "true" in self._vsctl("get", "Open_vSwitch", ".", "dpdk_initialized"), "DPDK in ovs-vswitchd")

    def _wait(self, ready, what, seconds=60):
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                sys.exit(f"{what} does not get ready:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def _program(self):
        bridge = ["datapath_type=netdev", "fail-mode=secure"]
        self._vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", *bridge, f'other_config:hwaddr="{UPLINK_MAC}"',
                    "--", "add-br", "br-int", "--", "set", "bridge", "br-int", *bridge,
                    "--", "add-port", "br-int", "vxlan", "--", "set", "interface", "vxlan", "type=vxlan",
                    "options:remote_ip=flow", "options:key=flow", f"ofport_request={TUNNEL_PORT}")
        for command in (["ip", "link", "set", "br-phy", "up"], ["ip", "address", "add", f"{VTEP}/24", "dev", "br-phy"]):
            self._run("nsenter", f"--net=/proc/{self.vswitchd.pid}/ns/net", *command)
        self._wait(lambda: VTEP in self._appctl("ovs/route/show"), "the tunnel's route")
        self._appctl("tnl/neigh/set", "br-phy", PEER, PEER_MAC)
        self._flows("br-phy", [f"in_port={UPLINK_PORT},actions=LOCAL", f"in_port=LOCAL,actions=output:{UPLINK_PORT}"])
        self._flows("br-int", integration_flows(self.case, self.played.flows))

    def _flows(self, bridge, flows):
        path = self.folder / f"{bridge}.flows"
        path.write_text("\n".join(flows) + "\n")
        self._run("ovs-ofctl", "--protocols=OpenFlow13", "add-flows", f"{self.folder}/{bridge}.mgmt", str(path))

    def _ports(self, uplink, guest):
        self._vsctl("--if-exists", "del-port", "uplink", "--", "--if-exists", "del-port", "guest")
        self._add_ports(("br-phy", "uplink", UPLINK_PORT, "type=dpdk", f'options:dpdk-devargs="{uplink}"'),
                        ("br-int", "guest", GUEST_PORT, "type=dpdk", f'options:dpdk-devargs="{guest}"'))

    def _add_ports(self, *ports):
        """Each of a bridge, by a name and a number of OpenFlow, with settings of its interface."""
        words = [["--", "add-port", bridge, name, "--", "set", "interface", name, *settings, f"ofport_request={number}"]
                 for bridge, name, number, *settings in ports]
        self._vsctl(*sum(words, [])[1:])
        errors = self._vsctl("--columns=name,error", "--bare", "find", "interface", "error!=[]")
        if errors.strip():
            sys.exit(f"Open vSwitch: {errors}")

    def _prove(self):
        """Checks a packet of each flow as Alkaid's are. What leaves goes into pipes: they are read until all flows were seen."""
        pipes = {direction: self.folder / f"{direction}.pipe" for direction in self.case.directions}
        tails = {direction: Tail(pipe, self.played.packets[direction], direction) for direction, pipe in pipes.items()}
        self._ports(self.played.uplink(pipes.get("encap")), self.played.guest(pipes.get("decap")))
        for direction, tail in tails.items():
            self._wait(tail.complete.is_set, f"Open vSwitch: {direction}")
        self._ports(self.played.uplink(), self.played.guest())
        for direction, tail in tails.items():
            tail.join()
            self.case.check(direction, self.played.packets[direction], tail.outputs(), FIRST_SOURCE_PORT)

    def _fill(self):
        """Waits until the datapath has all flows."""
        def no_misses():
            before = self._counters()
            time.sleep(0.3)
            after = self._counters()
            return after["packets"] > before["packets"] and after["misses"] == before["misses"]

        self._wait(no_misses, "Open vSwitch: all flows in the datapath", seconds=300)
        self._vsctl("set", "Open_vSwitch", ".", f"other_config:max-revalidator={NEVER}")

    def _choose_caches(self):
        """Tries all settings for a short time, and stays with the best."""
        cycles = {}
        for name in CACHES:
            self._set_caches(name)
            cycles[name] = self._busy(min(0.5, settings.SECONDS))
        self.caches = min(cycles, key=cycles.get)
        self._set_caches(self.caches)

    def _set_caches(self, name):
        probability, smc = CACHES[name]
        self._vsctl("set", "Open_vSwitch", ".", f"other_config:emc-insert-inv-prob={probability}",
                    f"other_config:smc-enable={smc}")
        time.sleep(0.3)

    def _counters(self):
        """The PMD thread's: packets received, misses, TSC cycles, those of rounds in which something arrived."""
        shown = self._appctl("dpif-netdev/pmd-stats-show")
        own = shown[shown.index(f"core_id {settings.WORKER_CORE}:"):]

        def total(*names):
            return sum(int(re.search(rf"{name}: (\d+)", own)[1]) for name in names)

        return {"packets": total("packets received"), "cycles": total("idle cycles", "processing cycles"),
                "busy": total("processing cycles"),
                "misses": total("miss with success upcall", "miss with failed upcall")}

    def _busy(self, seconds):
        """TSC cycles per packet received."""
        first = self._counters()
        time.sleep(seconds)
        last = self._counters()
        assert first["misses"] == last["misses"], "Open vSwitch: a flow is not in the datapath"
        return (last[self.COUNTED] - first[self.COUNTED]) / (last["packets"] - first["packets"])

    def _carried(self):
        """Packets received and sent by the two ports, as their drivers count."""
        shown = self._appctl("dpctl/show", "--statistics", "netdev@ovs-netdev")
        ports = [part for part in re.split(r"\n  port ", shown) if re.match(r"\d+: (uplink|guest) ", part)]
        return [sum(int(re.search(rf"{way} packets:(\d+)", port)[1]) for port in ports) for way in ("RX", "TX")]

    def measure(self):
        """TSC cycles per packet of the PMD thread's core."""
        self.vswitchd.send_signal(signal.SIGCONT)
        time.sleep(0.3)
        first = self._carried()
        cycles = self._busy(settings.SECONDS)
        last = self._carried()
        self.vswitchd.send_signal(signal.SIGSTOP)
        received, sent = (after - before for before, after in zip(first, last))
        assert abs(sent / received - 1) < 0.01, f"Open vSwitch: {received} received, {sent} sent"
        return cycles


class Tail(threading.Thread):
    """Reads what a port sends through a pipe, to its end, and keeps the last packet of each kind that was played."""

    def __init__(self, pipe, packets, direction):
        super().__init__(daemon=True)
        os.mkfifo(pipe)
        self.pipe, self.direction = pipe, direction
        self.kinds = [kind(packet[OUTER:] if direction == "decap" else packet) for packet in packets]
        self.missing, self.seen, self.complete = set(self.kinds), {}, threading.Event()
        self.start()

    def run(self):
        with self.pipe.open("rb", buffering=1 << 20) as file:
            for output in read_pcap(file):
                if self.complete.is_set():
                    continue
                key = kind(output[OUTER:] if self.direction == "encap" else output)
                self.seen[key] = output
                self.missing.discard(key)
                if not self.missing:
                    self.complete.set()

    def outputs(self):
        """In the order of what was played."""
        return [self.seen[key] for key in self.kinds]


def kind(inner):
    """What tells an inner frame from others and no switch changes: its length, addresses and ports."""
    return inner[16:18] + inner[26:38]
