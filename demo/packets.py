# SPDX-License-Identifier: MIT
"""What the guests send, what must be on the wire, and what must arrive: built with scapy, not by the switch.

Guests are named after their subnet and host. `blue` is a VPC of two subnets with a router, 10.5.0.0/16 (VNI 5) and
10.6.0.0/16 (VNI 6). `red` is another tenant, VNI 7, whose guests have the very same MACs and addresses as blue's.
"""

from collections import Counter, namedtuple

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

VNI = {"blue-5": 5, "blue-6": 6, "red-5": 7}
VTEP = {"a": "192.0.2.1", "b": "192.0.2.2"}
UPLINK_MAC = {"a": "02:70:63:61:70:00", "b": "02:70:63:61:70:03"}
ROUTER_MAC = {"a": "fe:16:11:00:00:01", "b": "fe:16:11:00:00:02"}

# Who sends to whom; between different subnets by way of the router.
LANES = [
    ("blue-5", "blue-5"),
    ("blue-5", "blue-6"),
    ("blue-6", "blue-6"),
    ("blue-6", "blue-5"),
    ("red-5", "red-5"),
]

# Lengths of the inner IPv4 packets, in bytes, up to the most that a guest with an MTU of 1500 sends.
LENGTHS = [64, 128, 300, 576, 1200, 1500]
TTLS = [64, 128, 255, 2]
# Best effort; expedited forwarding; ECN-capable.
TOS = [0x00, 0xB8, 0x02]
FLOWS = 50

# Of the outer UDP header, in a frame on the wire.
SOURCE_PORT = slice(34, 36)

# `lane` is (subnet, subnet), `source` and `target` are guests. `sent`, `wire` and `arrived` are frames; the wire's has
# zero in place of the source port, which is the switch's choice.
Packet = namedtuple("Packet", "lane source target flow is_udp sent wire arrived")


def subnet_number(subnet):
    return int(subnet.split("-")[1])


def mac(subnet, host):
    return f"02:00:0{subnet_number(subnet)}:0{'ab'.index(host) + 1}:00:01"


def gateway_mac(subnet):
    return f"02:00:0{subnet_number(subnet)}:00:00:01"


def address(subnet, host):
    return f"10.{subnet_number(subnet)}.{'ab'.index(host) + 1}.1"


def transport(number, flow):
    """TCP, UDP and ICMP in turn, on ports that tshark expects no protocol of."""
    port = 42000 + flow
    return [
        TCP(sport=port, dport=42100, seq=number, flags="A"),
        UDP(sport=port, dport=42100),
        ICMP(id=port, seq=number),
    ][flow % 3]


def packet(lane, number, here, there):
    """Packet `number` of a lane from host `here` to host `there`."""
    source, target = lane
    routed = source != target
    flow = number % FLOWS
    length = LENGTHS[number % len(LENGTHS)]
    ip = IP(
        src=address(source, here),
        dst=address(target, there),
        ttl=TTLS[number % len(TTLS)],
        tos=TOS[number // FLOWS % len(TOS)],
        id=number,
    )
    ip = ip / transport(number, flow)
    # The text names the packet, so that one that strays to another tenant is recognised.
    text = f"{source}-{here} to {target}-{there}, packet {number} ".encode()
    ip = ip / Raw((text * 64)[: length - len(ip)])
    sent = Ether(src=mac(source, here), dst=gateway_mac(source) if routed else mac(target, there)) / ip
    sent_bytes = inner = arrived = bytes(sent)
    if routed:
        ip.ttl -= 1
        body = bytes(ip)
        inner = bytes(Ether(src=ROUTER_MAC[here], dst=mac(target, there), type=0x800)) + body
        arrived = bytes(Ether(src=gateway_mac(target), dst=mac(target, there), type=0x800)) + body
    outer = Ether(src=UPLINK_MAC[here], dst=UPLINK_MAC[there])
    outer /= IP(src=VTEP[here], dst=VTEP[there], tos=ip.tos, id=0, flags="DF", ttl=64)
    outer /= UDP(sport=0, dport=4789, chksum=0)
    wire = bytes(outer / VXLAN(flags=0x08, vni=VNI[target]) / Raw(inner))
    return Packet(lane, f"{source}-{here}", f"{target}-{there}", (lane, flow), UDP in sent, sent_bytes, wire, arrived)


def traffic(here, there, per_lane):
    """All packets from one host to the other; those of a guest with two destinations take turns."""
    return [packet(lane, number, here, there) for number in range(per_lane) for lane in LANES]


def without_source_port(frame):
    return frame[: SOURCE_PORT.start] + bytes(2) + frame[SOURCE_PORT.stop :]


def wire_ends(packets, here, there):
    """How many packets on the wire have which ends: outer source and destination, VNI, inner source and destination,
    each end as (MAC, address)."""
    outer = [(UPLINK_MAC[host], VTEP[host]) for host in (here, there)]
    count = Counter()
    for source, target in (packet.lane for packet in packets):
        inner_mac = mac(source, here) if source == target else ROUTER_MAC[here]
        inner = [(inner_mac, address(source, here)), (mac(target, there), address(target, there))]
        count[(*outer, VNI[target], *inner)] += 1
    return count
