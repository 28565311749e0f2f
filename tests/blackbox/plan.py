# SPDX-License-Identifier: MIT
"""Who has which address: the one place that says so. A dump of any test reads itself.

* Underlay: host H is 192.0.2.H with the MAC 02:00:c0:00:02:H. The switch under test is host 1, unless a test has
  two. With pcap ports its uplink has the MAC that DPDK gives the first of them.
* Subnet of VNI V: 10.V.0.0/16, its gateway 10.V.0.254 with the MAC 02:00:V:00:00:fe. Two subnets that share one VNI
  are its lower and its upper half, 10.V.0.0/17 and 10.V.128.0/17 (gateway 10.V.128.254, 02:00:V:80:00:fe).
* Guest N of VNI V on host H: 10.V.H.N with the MAC 02:00:V:H:00:N; in an upper half 10.V.(128+H).N and likewise.
* A subnet may carry another VNI than its addresses say: that is how VPCs get identical addresses.
* Distributed routers: fe:16:11:00:00:00 on every host, as Alcor has it.
"""

from __future__ import annotations

from dataclasses import dataclass

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

    @property
    def v(self) -> int:
        return self.vni & 0xFF if self.numbers is None else self.numbers

    @property
    def vpc(self) -> str:
        return self.of_vpc or f"vpc-{self.vni}"

    @property
    def id(self) -> str:
        return f"subnet-{self.vni}-{self.v}" + ("" if self.half is None else f"-{self.half}")

    @property
    def first(self) -> int:
        """Third byte of its first address."""
        return 128 if self.half == 1 else 0

    @property
    def cidr(self) -> str:
        return f"10.{self.v}.{self.first}.0/{16 if self.half is None else 17}"

    @property
    def gateway_ip(self) -> str:
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
        return f"10.{self.subnet.v}.{self.third}.{self.n}"

    @property
    def mac(self) -> str:
        return f"02:00:{self.subnet.v:02x}:{self.third:02x}:00:{self.n:02x}"

    @property
    def id(self) -> str:
        """The controller's id of its port."""
        return f"port-{self.subnet.vni}-{self.third}-{self.n}"
