# SPDX-License-Identifier: MIT
"""The network between two hosts: one link, or a link for each and a router between them; of IPv4 or IPv6."""

from __future__ import annotations

from kernel import Namespace, Networks, quiet
from plan import A, B, host_mac

ROUTER_MAC = {A: "02:00:c0:00:fd:01", B: "02:00:c0:00:fd:02"}


class Underlay:
    """`version`: of IP. `routed`: each host has a link of its own. `mtu`: what links take; a guest's packet of its MTU and VXLAN
    have to fit."""

    def __init__(self, networks: Networks, version: int = 4, *, routed: bool = False, mtu: int = 1600):
        self.networks, self.version, self.routed, self.mtu = networks, version, routed, mtu
        self.middle = networks.namespace("net")
        if routed:
            self.middle.write("ipv4/ip_forward", "1")
            self.middle.write("ipv6/conf/all/forwarding", "1")
        else:
            self.middle.ip(f"link add net mtu {mtu} type bridge mcast_snooping 0")
            self.middle.ip("link set net up")

    def _address(self, host: int, number: int) -> str:
        link = host if self.routed else A
        return f"2001:db8:f{link}::{number:x}" if self.version == 6 else f"198.51.{100 + link}.{number}"

    @property
    def length(self) -> int:
        """Of a link's prefix."""
        return 64 if self.version == 6 else 24

    def address(self, host: int) -> str:
        """Of a host."""
        return self._address(host, host)

    def gateway(self, host: int) -> str | None:
        """The router on a host's link, if there is one."""
        return self._address(host, 254) if self.routed else None

    def config(self, host: int) -> list[str]:
        """What a switch has to be told on this host; its uplink is port 0."""
        gateway = self.gateway(host)
        return [f"set vtep {self.address(host)}/{self.length} port 0", *([f"set underlay gateway {gateway}"] if gateway else [])]

    def attach(self, host: int, namespace: Namespace | None = None) -> str:
        """The host's network device: its name, `u` if it is in a namespace."""
        inner = f"h{host}"
        if namespace is None:
            device = self.networks.pair(f"u{host}", self.middle, inner, mac=ROUTER_MAC[host], outer_mac=host_mac(host), mtu=self.mtu)
        else:
            device = "u"
            self.middle.ip(f"link add {inner} address {ROUTER_MAC[host]} mtu {self.mtu} type veth peer name u address {host_mac(host)} mtu {self.mtu} netns {namespace.name}")
            for each, name in ((self.middle, inner), (namespace, "u")):
                with each.inside():
                    quiet(name)
                each.ip(f"link set {name} up")
        self._connect(host, inner)
        return device

    def adopt(self, host: int, tap: str) -> None:
        """A tap device of a switch is this host's end: what leaves the switch by it is on the link."""
        inner = f"h{host}"
        self.middle.take(tap, inner)
        self.middle.ip(f"link set {inner} address {ROUTER_MAC[host]} mtu {self.mtu} up")
        self._connect(host, inner)

    def _connect(self, host: int, inner: str) -> None:
        if self.routed:
            awake(self.middle, inner)
            self.middle.ip(f"address add {self.gateway(host)}/{self.length} dev {inner}" + " nodad" * (self.version == 6))
        else:
            self.middle.ip(f"link set {inner} master net")

    def settle(self, host: int, namespace: Namespace, device: str) -> None:
        """A host that is a kernel has its address and its route."""
        awake(namespace, device)
        namespace.ip(f"address add {self.address(host)}/{self.length} dev {device}" + " nodad" * (self.version == 6))
        if self.routed:
            namespace.ip(f"-{self.version} route add default via {self.gateway(host)} dev {device}")


def awake(namespace: Namespace, device: str) -> None:
    """IPv6 on a device, without a wait for who else may have its addresses."""
    for knob, value in (("disable_ipv6", "0"), ("accept_dad", "0"), ("accept_ra", "0")):
        namespace.write(f"ipv6/conf/{device}/{knob}", value)


