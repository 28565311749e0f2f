# SPDX-License-Identifier: MIT
"""The cases: what is played into which port, what the switch is told, and what must come out.

One guest on this host, port `guest`; one neighbor per flow, all on one other host behind the uplink. Flow n is the
guest's with neighbor n. Cases between guests of one host have a second guest, port `friend`, for all flows.
"""

from dataclasses import dataclass
from itertools import cycle, islice

from .packets import OUTER, ethernet, ip_number, ip_plus, mac_bytes, udp_packet, vxlan_packet

VNI = 7
VTEP, PEER = "192.0.2.1", "192.0.2.2"
PEER_MAC = "02:00:c0:00:02:02"
UPLINK_MAC = "02:70:63:61:70:00"  # what net_pcap gives its first port
GUEST_IP, GUEST_MAC = "10.7.0.1", "02:00:00:00:00:01"
FRIEND_IP, FRIEND_MAC = "10.7.0.2", "02:00:00:00:00:02"
GATEWAY_MAC = "02:ff:00:00:00:01"
DVR_MAC = "fe:16:11:00:00:00"
ROUTES = 256  # in the guest's subnet, beside the connected ones

SMALLEST = 64 - 4  # Ethernet's smallest frame, without its checksum
# 7 : 4 : 1, in this order. The customary 64, 594 and 1518 bytes without checksum, but the longest is 50 bytes shorter:
# with its outer header it just fits an underlay of MTU 1500.
SMALL, MEDIUM, LARGE = SMALLEST, 594 - 4, 1518 - 4 - OUTER
IMIX = (SMALL, MEDIUM, SMALL, SMALL, MEDIUM, SMALL, LARGE, SMALL, MEDIUM, SMALL, MEDIUM, SMALL)


@dataclass(frozen=True)
class Case:
    name: str
    encap: bool = False  # the guest sends
    decap: bool = False  # the uplink receives
    local: bool = False  # the guest sends to its friend
    routed: bool = False
    lengths: tuple = (SMALLEST,)  # of inner frames, in turn

    @property
    def directions(self):
        return [name for name in ("encap", "decap", "local") if getattr(self, name)]

    @property
    def first_neighbor(self):
        return "10.8.0.10" if self.routed else "10.64.0.10"

    def frames(self, direction, flows):
        """The recording of one direction: a frame per flow, but whole turns of the lengths."""
        count = -(-flows // len(self.lengths)) * len(self.lengths)
        for i, length in enumerate(islice(cycle(self.lengths), count)):
            n = i % flows
            remote, sport, length = ip_plus(self.first_neighbor, n), 1024 + n % 60000, length - 14
            if direction == "local":
                yield ethernet(FRIEND_MAC, GUEST_MAC) + udp_packet(GUEST_IP, FRIEND_IP, sport, length)
            elif direction == "encap":
                dst_mac = GATEWAY_MAC if self.routed else neighbor_mac(n)
                yield ethernet(dst_mac, GUEST_MAC) + udp_packet(GUEST_IP, remote, sport, length)
            else:
                src_mac = DVR_MAC if self.routed else neighbor_mac(n)
                inner = ethernet(GUEST_MAC, src_mac) + udp_packet(remote, GUEST_IP, sport, length)
                yield ethernet(UPLINK_MAC, PEER_MAC) + vxlan_packet(PEER, VTEP, 49152 + n % 16384, VNI, inner)

    def expected(self, direction, packet, output):
        """What must come of `packet`. An encapsulation's source port and source MAC are the switch's choice: `output`'s."""
        if direction == "local":
            return packet
        if direction == "decap":
            inner = packet[OUTER:]
            return inner[:6] + mac_bytes(GATEWAY_MAC) + inner[12:] if self.routed else inner
        inner = packet
        if self.routed:
            dst = ".".join(map(str, packet[30:34]))
            sport, length = int.from_bytes(packet[34:36], "big"), len(packet) - 14
            mac = neighbor_mac(ip_number(dst) - ip_number(self.first_neighbor))
            inner = ethernet(mac, DVR_MAC) + udp_packet(GUEST_IP, dst, sport, length, ttl=63)
        sport = int.from_bytes(output[34:36], "big")
        return mac_bytes(PEER_MAC) + output[6:12] + b"\x08\x00" + vxlan_packet(VTEP, PEER, sport, VNI, inner)

    def check(self, direction, packets, outputs, first_port):
        """That `outputs` are what must come of `packets`, one by one, and that source ports, which begin at `first_port`,
        are spread over the flows."""
        assert len(packets) == len(outputs), f"{self.name}, {direction}: {len(outputs)} of {len(packets)} packets left"
        for packet, output in zip(packets, outputs):
            wanted = self.expected(direction, packet, output)
            assert output == wanted, f"{self.name}, {direction}: sent {output.hex()}, expected {wanted.hex()}"
        if direction == "encap":
            ports = {int.from_bytes(output[34:36], "big") for output in outputs}
            flows = len({packet[26:38] for packet in packets})
            assert min(ports) >= first_port, f"{self.name}: source port {min(ports)}"
            assert len(ports) >= min(flows, 16384) / 2, f"{self.name}: {len(ports)} source ports for {flows} flows"

    def goal_state(self, flows):
        """For Alkaid, protobuf's JSON of `GoalState`."""
        home = subnet("a", "10.7.0.0/16" if self.routed else "10.0.0.0/9", "10.7.255.254", GATEWAY_MAC)
        away = subnet("b", "10.8.0.0/14", "10.11.255.254", "02:ff:00:00:00:02")
        kind, subnet_id = ("L3", "b") if self.routed else ("L2", "a")
        neighbors = [{"operationType": "CREATE", "configuration": {
            "revisionNumber": 1, "id": f"n{n}", "vpcId": "vpc", "macAddress": neighbor_mac(n), "hostIpAddress": PEER,
            "fixedIps": [{"neighborType": kind, "subnetId": subnet_id, "ipAddress": ip_plus(self.first_neighbor, n)}],
        }} for n in range(max(flows, ROUTES))]  # those of the rules, too
        # Each by another machine: routes that touch and lead to the same one are one range to the switch.
        rules = [{"operationType": "CREATE", "id": f"r{n}", "destination": route(n), "priority": 1,
                  "nextHopIp": ip_plus(self.first_neighbor, n)} for n in range(ROUTES)]
        ports = [("guest", GUEST_MAC, GUEST_IP)] + [("friend", FRIEND_MAC, FRIEND_IP)] * self.local
        router = {"revisionNumber": 1, "id": "router", "hostDvrMacAddress": DVR_MAC,
                  "subnetRoutingTables": [{"subnetId": "a", "routingRules": rules}, {"subnetId": "b"}]}
        vpc = {"revisionNumber": 1, "id": "vpc", "cidr": "10.0.0.0/8"}
        return {"formatVersion": 101, "vpcStates": [{"operationType": "INFO", "configuration": vpc}],
                "subnetStates": [home, away], "portStates": [port(*each) for each in ports],
                "neighborStates": neighbors, "routerStates": [{"configuration": router}]}


def neighbor_mac(n):
    return f"02:01:{n >> 24 & 255:02x}:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"


def route(n):
    return f"172.{16 + (n >> 6)}.{(n & 63) * 4}.0/22"


def port(ident, mac, ip):
    return {"operationType": "CREATE", "configuration": {
        "revisionNumber": 1, "updateType": "FULL", "id": ident, "vpcId": "vpc", "adminStateUp": True,
        "macAddress": mac, "fixedIps": [{"subnetId": "a", "ipAddress": ip}]}}


def subnet(ident, cidr, gateway, mac):
    return {"operationType": "INFO", "configuration": {
        "revisionNumber": 1, "id": ident, "vpcId": "vpc", "cidr": cidr, "tunnelId": str(VNI),
        "gateway": {"ipAddress": gateway, "macAddress": mac}}}


CASES = {case.name: case for case in [
    Case("encap_switched", encap=True),
    Case("encap_routed", encap=True, routed=True),
    Case("decap_switched", decap=True),
    Case("decap_routed", decap=True, routed=True),
    Case("mixed", encap=True, decap=True, routed=True),
    Case("imix", encap=True, routed=True, lengths=IMIX),
]}
