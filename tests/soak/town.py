# SPDX-License-Identifier: MIT
"""Two hosts of a cloud, as in the scenarios, with machines that talk all the time: of IPv4 and IPv6, behind veth devices and
behind virtio, to their own subnet and by a router, to all at once, and to some of whom only the network configuration manager
knows."""

from __future__ import annotations

import contextlib
import itertools
import random
import select
import socket
import threading
import time

import goal
from alcor.schema import common_pb2
from cloud import Cloud
from controller import Controller, Machine, machine
from guests import Forwarder
from kernel import run
from ncm import Ncm
from plan import A, B, C, Guest, Subnet
from program import DEADLINE
from switch import free_port

NEAR, FAR = Subnet(5), Subnet(6, of_vpc="vpc-5")
NEAR6, FAR6 = (Subnet(subnet.vni, version=6, of_vpc="vpc-5") for subnet in (NEAR, FAR))

HERE = machine(NEAR.guest(A, 1), NEAR6.guest(A, 1))
MOVING = machine(NEAR.guest(A, 2))
THERE = machine(NEAR.guest(B, 1), NEAR6.guest(B, 1))
ROUTED = machine(FAR.guest(B, 1), FAR6.guest(B, 1))
HIDDEN = machine(NEAR.guest(B, 2))
"""Of whom host A is not told by its controller."""
VIRTIO = machine(NEAR.guest(A, 3))
"""Behind `dpdk-testpmd`."""
VETH = HERE, MOVING, THERE, ROUTED, HIDDEN

ELSEWHERE = [machine(NEAR.guest(C, n)) for n in range(1, 101)]
"""Machines of a host that there is not: neighbors, and no more."""
SOCKETS = [machine(NEAR.guest(A, n)) for n in range(101, 105)]
"""Machines that never come: a socket waits for each."""
EXTRA = machine(NEAR.guest(A, 90))
"""Who gets devices by command."""
UNKNOWN = [NEAR.guest(B, n).ip for n in range(200, 210)]
"""Addresses that nobody knows."""

ROUTER = "router"
PORT = 7000
LENGTHS = 0, 18, 64, 400, 1000, 1400
TALK_SECONDS, PAUSE_SECONDS = 3, 9
"""Of whom the network configuration manager knows is spoken to now and then, so that it is forgotten in between."""


class Patient(Controller):
    accepted = {"SUCCESS", "PENDING"}
    """While devices come and go."""


class Manager(Ncm):
    """Knows all machines, and where they are, as the controller does, whomever that has told of them: a host may take what the
    controller sends in the midst of a question for the answer, and forget it when nobody needs it."""

    accepted = {common_pb2.SUCCESS, common_pb2.PENDING}
    """While routers come and go."""

    def __init__(self, controller: Controller, *arguments):
        self.controller = controller
        super().__init__(*arguments)

    def known(self) -> dict[tuple[int, str], Guest]:
        machines = list(self.controller.machines.values())
        return {(guest.subnet.vni, guest.ip): guest for each in machines for guest in each.addresses}

    def neighbor(self, guest: Guest):
        of = next(each for each in list(self.controller.machines.values()) if guest in each.addresses)
        return goal.neighbor(guest, "L2" if guest.subnet in (NEAR, NEAR6) else "L3", host=of.host, id=of.id)


class Town:
    """`hold`: milliseconds that packets wait for the manager's answer."""

    def __init__(self, networks, switches, folder, hold: int = 500):
        self.networks = networks
        ncm_port = free_port()
        path = folder / "virtio.sock"
        number = len(VETH) + 1
        config = {
            A: [
                f"port attach net_vhost{number},iface={path}",
                f"port bind {self.number(VIRTIO)} {VIRTIO.id}",
                "set vport template net_vhost{n},iface={id}.sock",
                f"set ncm 127.0.0.9:{ncm_port}",
                "set ncm source 127.0.0.5",
                f"set on-demand hold {hold}",
                "set on-demand idle 2",
                "set on-demand negative 1",
                "set replicate subnet all on",
                "set store store",
            ],
            B: ["set replicate subnet all on", "set clamp-mss on"],
        }
        self.cloud = Cloud(networks, switches, *VETH, moving=[MOVING], taps=False, config=config, controller=Patient, patience=DEADLINE)
        self.controller: Controller = self.cloud.controller
        self.hosts = self.cloud.hosts
        self.ncm_port = ncm_port
        self.ncm_is_there()
        self.virtio = Forwarder(networks, folder, f"net_virtio_user0,path={path},mac={VIRTIO.mac},queue_size=256", guest=VIRTIO)
        self.virtio.wire.close()
        namespace = self.cloud.namespaces[VIRTIO.id] = self.virtio.namespace
        namespace.ip("link set g down")
        namespace.ip("link set g name eth0 up")
        self.cloud.settle(VIRTIO)
        self.controller.hidden.add((A, HIDDEN.id))
        self.controller.create_router(ROUTER, NEAR, FAR, NEAR6, FAR6)
        self.controller.create_port(*VETH, VIRTIO)
        self.talk: Talk | None = None

    def number(self, which: Machine) -> int:
        """Of its port on its host."""
        return [each for each in (*VETH, VIRTIO) if each is MOVING or each.host == which.host].index(which) + 1

    def device(self, which: Machine) -> str:
        """The switch's end of its veth device."""
        return f"{self.networks.tag}g{VETH.index(which)}{which.host}"

    def ncm_is_there(self) -> None:
        self.ncm = Manager(self.controller, self.hosts[A].address, self.ncm_port)

    def all_reach(self) -> None:
        """Each way that there is works."""
        moving = self.controller.machines[MOVING.id]
        pairs = [(HERE, moving), (moving, HERE), (HERE, THERE), (THERE, moving), (VIRTIO, HERE), (THERE, VIRTIO), (HERE, HIDDEN), (THERE, ROUTED), (ROUTED, VIRTIO)]
        pairs += [(HERE, each.addresses[1].ip) for each in (THERE, ROUTED)] + [(ROUTED, HERE.addresses[1].ip)]
        self.cloud.reach(*pairs)

    def start_talk(self) -> None:
        self.talk = Talk(self.cloud, self.controller)

    def end_talk(self) -> None:
        if self.talk is not None:
            self.talk.end()
            self.talk = None

    def end(self) -> None:
        self.end_talk()
        self.virtio.kill()
        self.ncm.end()


class Talk(threading.Thread):
    """Datagrams of all lengths between all machines, some 1500 a second."""

    def __init__(self, cloud: Cloud, controller: Controller):
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.calm = threading.Event()
        """Nobody speaks but to one machine that is there."""
        self.quiet = threading.Event()
        """Nobody speaks."""
        self.sent = 0
        self.sockets: list[tuple[str, Machine, socket.socket]] = []
        for each in (*VETH, VIRTIO):
            for guest in each.addresses:
                family = socket.AF_INET6 if guest.subnet.version == 6 else socket.AF_INET
                with cloud.of(each).inside():
                    opened = socket.socket(family, socket.SOCK_DGRAM)
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                opened.setblocking(False)
                opened.bind((guest.ip, PORT))
                self.sockets.append((guest.ip, each, opened))
        self.received = dict.fromkeys((ip for ip, _, _ in self.sockets), 0)
        self.start()

    def run(self) -> None:
        chance = random.Random(1)
        known = [ip for ip, each, _ in self.sockets if each is not HIDDEN]
        to_all = [NEAR.cidr.replace("0.0/16", "255.255"), "224.0.0.18"]
        by_socket = {opened: ip for ip, _, opened in self.sockets}
        for n in itertools.count():
            if self.ended.is_set():
                return
            for ip, each, opened in () if self.quiet.is_set() else self.sockets:
                peers = [other for other in known if (":" in other) == (":" in ip) and other != ip]
                to = chance.choice(peers)
                if self.calm.is_set() or ":" in ip:
                    pass
                elif each is HERE and time.monotonic() % (TALK_SECONDS + PAUSE_SECONDS) < TALK_SECONDS:
                    to = chance.choice([to, HIDDEN.ip, *UNKNOWN])
                elif n % 100 == 0:
                    to = chance.choice(to_all)
                with contextlib.suppress(OSError):
                    opened.sendto(bytes(chance.choice(LENGTHS)), (to, PORT))
                    self.sent += 1
            for opened in select.select(list(by_socket), [], [], 0)[0]:
                with contextlib.suppress(OSError):
                    while True:
                        opened.recv(2048)
                        self.received[by_socket[opened]] += 1
            time.sleep(0.006)

    @contextlib.contextmanager
    def silence(self):
        """Nobody speaks, and what was said before has arrived."""
        self.quiet.set()
        time.sleep(1)
        yield
        self.quiet.clear()

    def end(self) -> None:
        self.ended.set()
        self.join()
        for _, _, opened in self.sockets:
            opened.close()


def flap(device: str, seconds: float) -> None:
    """Its link is lost, and comes back."""
    run("ip", "link", "set", device, "down")
    time.sleep(seconds)
    run("ip", "link", "set", device, "up")
