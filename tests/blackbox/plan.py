# SPDX-License-Identifier: MIT
"""Who has which address: the one place that says so. A dump of any test reads itself.

* Underlay: host H is 192.0.2.H with the MAC 02:00:c0:00:02:H. The switch under test is host 1, unless a test has
  two. With pcap ports its uplink has the MAC that DPDK gives the first of them.
* Subnet of VNI V: 10.V.0.0/16, its gateway 10.V.0.254 with the MAC 02:00:V:00:00:fe. Two subnets that share one VNI
  are its lower and its upper half, 10.V.0.0/17 and 10.V.128.0/17 (gateway 10.V.128.254, 02:00:V:80:00:fe).
* Guest N of VNI V on host H: 10.V.H.N with the MAC 02:00:V:H:00:N; in an upper half 10.V.(128+H).N and likewise.
* IPv6 subnet of VNI V: 2001:db8:V::/64, its gateway 2001:db8:V::fe; guest N on host H: 2001:db8:V::H:N. MACs and ids of
  ports are those of IPv4, so that a machine of both is told of by one name. V, H and N in hexadecimal.
* A subnet may carry another VNI than its addresses say: that is how VPCs get identical addresses.
* Distributed routers: fe:16:11:00:00:00 on every host, as Alcor has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

A, B, C = 1, 2, 3
"""Hosts. The switch under test is A."""

DVR_MAC = "fe:16:11:00:00:00"
"""Source of routed frames between hosts."""

PCAP_UPLINK_MAC = "02:70:63:61:70:00"
"""What DPDK's net_pcap gives the first port of a process."""

VXLAN_PORT = 4789


def host_ip(host: int) -> str:
    return f"192.0.2.{host}"


def host_mac(host: int) -> str:
    return f"02:00:c0:00:02:{host:02x}"


def link_local(mac: str) -> str:
    """The link-local address that is made of a MAC."""
    a, b, c, d, e, f = (int(byte, 16) for byte in mac.split(":"))
    return str(IPv6Address(0xFE80 << 112 | int.from_bytes(bytes([a ^ 2, b, c, 0xFF, 0xFE, d, e, f]), "big")))


@dataclass(frozen=True)
class Subnet:
    """A subnet of one VNI."""

    vni: int
    numbers: int | None = None
    """V of its addresses; the VNI itself unless given."""
    half: int | None = None
    """0 or 1: the half of V's addresses that it has; all of them unless given."""
    of_vpc: str | None = None
    """The VPC it is in; one of its own unless given."""
    version: int = 4
    """Of IP."""

    @property
    def v(self) -> int:
        return self.vni & 0xFF if self.numbers is None else self.numbers

    @property
    def vpc(self) -> str:
        return self.of_vpc or f"vpc-{self.vni}"

    @property
    def id(self) -> str:
        return f"subnet-{self.vni}-{self.v}" + ("" if self.half is None else f"-{self.half}") + ("-v6" if self.version == 6 else "")

    @property
    def first(self) -> int:
        """Third byte of its first address."""
        return 128 if self.half == 1 else 0

    @property
    def cidr(self) -> str:
        if self.version == 6:
            return f"2001:db8:{self.v:x}::/64"
        return f"10.{self.v}.{self.first}.0/{16 if self.half is None else 17}"

    @property
    def gateway_ip(self) -> str:
        if self.version == 6:
            return f"2001:db8:{self.v:x}::fe"
        return f"10.{self.v}.{self.first}.254"

    @property
    def gateway_mac(self) -> str:
        return f"02:00:{self.v:02x}:{self.first:02x}:00:fe"

    def guest(self, host: int, n: int = 1) -> "Guest":
        return Guest(self, host, n)


@dataclass(frozen=True)
class Guest:
    """A machine of a tenant."""

    subnet: Subnet
    host: int
    n: int = 1

    @property
    def third(self) -> int:
        return self.subnet.first + self.host

    @property
    def ip(self) -> str:
        if self.subnet.version == 6:
            return f"2001:db8:{self.subnet.v:x}::{self.third:x}:{self.n:x}"
        return f"10.{self.subnet.v}.{self.third}.{self.n}"

    @property
    def link_local(self) -> str:
        """The address that it makes of its MAC (RFC 4291 appendix A)."""
        return link_local(self.mac)

    @property
    def mac(self) -> str:
        return f"02:00:{self.subnet.v:02x}:{self.third:02x}:00:{self.n:02x}"

    @property
    def id(self) -> str:
        """The controller's id of its port."""
        return f"port-{self.subnet.vni}-{self.third}-{self.n}"
