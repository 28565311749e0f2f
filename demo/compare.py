# SPDX-License-Identifier: MIT
"""Compares recorded frames with expected ones, byte by byte."""

from scapy.utils import RawPcapReader, RawPcapWriter

from packets import SOURCE_PORT, VNI, without_source_port

ETHERNET = 1

# RFC 7348, section 5, and RFC 6335: the dynamic ports.
FIRST_SOURCE_PORT = 49152


def read(pcap):
    with RawPcapReader(str(pcap)) as reader:
        return [frame for frame, _ in reader]


def write(pcap, frames):
    with RawPcapWriter(str(pcap), linktype=ETHERNET) as writer:
        writer.write_header(None)
        for frame in frames:
            writer.write_packet(frame)


class Tally:
    """What became of the packets of one direction."""

    def __init__(self, direction):
        self.direction = direction
        self.entered = self.encapsulated = self.decapsulated = self.left = 0
        self.wrong = []

    @property
    def lost(self):
        return self.entered - self.left

    def line(self):
        return (
            f"demo: {self.direction} in={self.entered} encapsulated={self.encapsulated} "
            f"decapsulated={self.decapsulated} out={self.left} lost={self.lost}"
        )

    def check_counters(self, sent, received):
        """The switches' own counters must say the same. `sent` and `received` are rows per port."""
        taken = sum(row["rx_packets"] for row in sent if row["role"] == "tenant")
        sent_out = sum(row["tx_packets"] for row in sent if row["role"] == "uplink")
        delivered = sum(row["tx_packets"] for row in received if row["role"] == "tenant")
        dropped = sum(row["dropped"] for row in sent + received)
        for what, counted, is_so in [
            ("from guests", taken, self.entered),
            ("sent to the other host", sent_out, self.encapsulated),
            ("decapsulated", self.decapsulated, self.encapsulated),
            ("to guests", delivered, self.left),
            ("dropped", dropped, 0),
        ]:
            if counted != is_so:
                self.wrong.append(f"the switches counted {counted} packets {what}, there were {is_so}")


def match(tally, where, frames, expected):
    """Counts the `frames` that are among `expected`, (frame, flow) in the order sent, and names the others."""
    places = {frame: (place, flow) for place, (frame, flow) in enumerate(expected)}
    last, seen = {}, set()
    for number, frame in enumerate(frames, 1):
        place, flow = places.get(frame, (None, None))
        if place is None:
            tally.wrong.append(f"{where}, packet {number} is not one that belongs there: {frame[:128].hex()}")
            continue
        if place in seen:
            tally.wrong.append(f"{where}, packet {number} was there before")
        elif place < last.get(flow, -1):
            tally.wrong.append(f"{where}, packet {number} was overtaken by a later one of its flow")
        seen.add(place)
        last[flow] = place
    return len(seen)


def on_the_wire(tally, packets, pcap):
    """Counts the frames of `pcap` that are packets as they must be on the wire. The outer source port is the
    switch's choice, within limits: one for all packets of a flow, from the dynamic range, not the same for all."""
    frames = read(pcap)
    bare = [without_source_port(frame) for frame in frames]
    flows = {packet.wire: packet.flow for packet in packets}
    ports = {}
    for number, (frame, found) in enumerate(zip(frames, bare), 1):
        port = int.from_bytes(frame[SOURCE_PORT], "big")
        flow = flows.get(found)
        if flow is not None and ports.setdefault(flow, port) != port:
            tally.wrong.append(f"{pcap.name}, packet {number} has another source port than its flow")
        if port < FIRST_SOURCE_PORT:
            tally.wrong.append(f"{pcap.name}, packet {number} has source port {port}")
    if len(ports) > 1 and len(set(ports.values())) < len(ports) / 2:
        tally.wrong.append(f"{pcap.name}: {len(ports)} flows have {len(set(ports.values()))} source ports")
    return match(tally, pcap.name, bare, [(packet.wire, packet.flow) for packet in packets])


def arrivals(tally, packets, folder, host):
    """Counts the frames in the files of `host`'s guests that are packets as they must arrive there."""
    total = 0
    for subnet in VNI:
        pcap = folder / f"{subnet}-out.pcap"
        expected = [(packet.arrived, packet.flow) for packet in packets if packet.target == f"{subnet}-{host}"]
        total += match(tally, f"host-{host}/{pcap.name}", read(pcap), expected)
    return total
