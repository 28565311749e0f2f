# SPDX-License-Identifier: MIT
"""A controller as Alcor's is to its hosts: it knows the cloud, works out what each host has to know of it, and pushes what is
new to each host by a GoalStateV2 on a stream of its own, as the network configuration manager does."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import goal
import senders
from plan import Guest, Subnet, host_ip
from program import DEADLINE

KINDS = ("router", "subnet", "vpc", "port", "dhcp", "neighbor")
"""Their order in a message: not that of what needs what."""


@dataclass(frozen=True)
class Machine:
    """A tenant's machine: one port, with an address in each of one or two subnets (IPv4 and IPv6)."""

    addresses: tuple[Guest, ...]
    host: int

    @property
    def id(self) -> str:
        return self.addresses[0].id

    @property
    def mac(self) -> str:
        return self.addresses[0].mac

    @property
    def ip(self) -> str:
        """The first of its addresses."""
        return self.addresses[0].ip

    @property
    def cidr(self) -> str:
        """Of that address's subnet."""
        return self.addresses[0].subnet.cidr

    @property
    def subnets(self) -> list[Subnet]:
        return [guest.subnet for guest in self.addresses]


def machine(*addresses: Guest) -> Machine:
    return Machine(addresses, addresses[0].host)


class Controller:
    """`hosts`: their switches. A change is made to the cloud, and `tell` pushes to each host what is new to it and the DELETE of
    what it has no need of any more, as the data plane manager does; `tell_all_again` pushes everything."""

    accepted = {"SUCCESS"}
    """What hosts must answer."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.machines: dict[str, Machine] = {}
        self.routers: dict[str, tuple[Subnet, ...]] = {}
        self.dhcp: set[str] = set()
        """Ids of machines that get their addresses by DHCP."""
        self.hidden: set[tuple[int, str]] = set()
        """Hosts and neighbors that they are not told of."""
        self.told = {host: {} for host in hosts}

    # --- the cloud

    def create_port(self, *machines: Machine, dhcp: bool = False) -> None:
        for each in machines:
            self.machines[each.id] = each
            if dhcp:
                self.dhcp.add(each.id)
        self.tell()

    def delete_port(self, *machines: Machine) -> None:
        for each in machines:
            del self.machines[each.id]
        self.tell()

    def move_port(self, which: Machine, host: int) -> None:
        """Its new host learns of it first, its old host last."""
        self.machines[which.id] = replace(which, host=host)
        self.tell(host, *(other for other in self.hosts if other not in (host, which.host)), which.host)

    def create_router(self, id: str, *subnets: Subnet) -> None:
        self.routers[id] = subnets
        self.tell()

    def delete_router(self, id: str) -> None:
        del self.routers[id]
        self.tell()

    def delete_neighbor(self, host: int, which: Machine) -> None:
        self.hidden.add((host, which.id))
        self.tell()

    def create_neighbor(self, host: int, which: Machine) -> None:
        self.hidden.remove((host, which.id))
        self.tell()

    # --- what a host has to know

    def goal_of(self, host: int) -> dict[tuple[str, str], object]:
        """By kind and key: its ports, and of each its subnets, its VPC, its routers with all their subnets, and its neighbors,
        those on this very host too: L2 of its own subnets, L3 of others behind its routers."""
        wanted = {}
        for here in self.machines.values():
            if here.host != host:
                continue
            wanted["port", here.id] = goal.port(*here.addresses)
            for guest in here.addresses:
                subnets = {guest.subnet.id: guest.subnet}
                for id, routed in self.routers.items():
                    if guest.subnet in routed:
                        wanted["router", id] = goal.router(*routed, id=id)
                        subnets |= {each.id: each for each in routed}
                for each in subnets.values():
                    # As the data plane manager: the VNI stands in the subnet.
                    wanted["vpc", each.vpc] = goal.vpc(each, tunnel_id=0)
                    wanted["subnet", each.id] = self.subnet(host, each)
                if here.id in self.dhcp:
                    wanted["dhcp", f"{guest.subnet.id}/{here.id}"] = senders.dhcp(guest, id=f"dhcp-{guest.subnet.id}-{here.id}")
                for other in self.machines.values():
                    if other.id == here.id or (host, other.id) in self.hidden:
                        continue
                    if guest.subnet in other.subnets:
                        wanted["neighbor", f"L2/{other.id}"] = self.neighbor(host, "L2", other)
                    elif any(subnet.id in subnets for subnet in other.subnets):
                        wanted["neighbor", f"L3/{other.id}"] = self.neighbor(host, "L3", other)
        return wanted

    def subnet(self, host: int, subnet: Subnet):
        """As this host is told of it."""
        return goal.subnet(subnet)

    def neighbor(self, host: int, kind: str, other: Machine):
        """As this host is told of it."""
        first, *more = other.addresses
        state = goal.neighbor(first, kind, host=other.host)
        for guest in more:
            state.configuration.fixed_ips.add(neighbor_type=kind, subnet_id=guest.subnet.id, ip_address=guest.ip)
        return state

    # --- telling

    def tell(self, *hosts: int) -> None:
        """Pushes what is new to each of these hosts, or to all, in this order."""
        for host in hosts or self.hosts:
            wanted, told = self.goal_of(host), self.told[host]
            new = {key: state for key, state in wanted.items() if told.get(key) != state}
            gone = {key: goal.delete(state) for key, state in told.items() if key not in wanted}
            self.push(host, gone | new)
            self.told[host] = wanted

    def tell_all_again(self, host: int, seed: int | None = None) -> None:
        """The whole goal state. With `seed`: resource by resource, in an order of chance."""
        wanted = list(self.goal_of(host).items())
        if seed is None:
            return self.push(host, dict(wanted))
        random.Random(seed).shuffle(wanted)
        for key, state in wanted:
            self.push(host, {key: state})

    def push(self, host: int, states: dict) -> None:
        """One message, of which each part must be answered, and as it should."""
        if not states:
            return
        replies = self.send(host, {key: states[key] for key in sorted(states, key=lambda key: KINDS.index(key[0]))})
        found = [status for reply in replies for status in goal.status_names(reply)]
        assert {status for _, _, status in found} <= self.accepted and len(found) == len(states), found

    def send(self, host: int, states: dict):
        """The replies to one message."""
        message = goal.v2(*states.values())
        resources = message.host_resources[host_ip(host)].resources
        for (kind, key), state in states.items():
            resources.add(type=kind.upper(), id=key if kind == "neighbor" else state.configuration.id)
        return self.hosts[host].controller.PushGoalStatesStream(iter([message]), timeout=DEADLINE)


class FirstVersion(Controller):
    """Pushes a GoalState to each host itself, as the data plane manager's first version does."""

    def send(self, host, states):
        return [self.hosts[host].push(*states.values())]
