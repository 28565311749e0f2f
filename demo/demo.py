# SPDX-License-Identifier: MIT
"""The switch's main job on real packets, between two hosts. Read `main` top to bottom.

Round 1: each host takes what its guests send and encapsulates it. Round 2: each host takes what the other one sent and
delivers it to its guests. In both rounds both switches run, and are programmed over gRPC while they run. Every frame
that they send, on the wire and to the guests, is compared byte by byte with one that scapy built (`packets.py`), and
tshark judges what is on the wire (`dissect.py`).
"""

import argparse
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import dissect
from compare import Tally, arrivals, on_the_wire, read, write
from host import Failed, Host
from packets import LANES, VNI, traffic, wire_ends, without_source_port

REPOSITORY = Path(__file__).resolve().parent.parent
HOSTS = {"a": "b", "b": "a"}

# At most so many complaints are printed.
COMPLAINTS = 20


def main():
    arguments = parse_arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    # Every run works in a folder of its own, and puts it in the place of the last one's at its end.
    folder = Path(tempfile.mkdtemp(prefix=".demo-", dir=arguments.out.parent))
    try:
        return demo(arguments, folder)
    except Failed as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130
    finally:
        publish(folder, arguments.out)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Shows two switches carrying guests' packets between them.")
    parser.add_argument("binary", type=Path, help="the alkaid program")
    out = REPOSITORY / "out" / "demo"
    parser.add_argument("--out", type=Path, default=out, help="where packets, logs and configurations are kept")
    lanes = f"packets in each direction between each of the {len(LANES)} pairs of guests (600)"
    parser.add_argument("--packets", type=int, default=600, choices=range(1, 10_001), metavar="N", help=lanes)
    arguments = parser.parse_args()
    arguments.binary, arguments.out = arguments.binary.resolve(), arguments.out.absolute()
    return arguments


def demo(arguments, folder):
    say(f"building {2 * len(LANES) * arguments.packets} packets and what must become of them")
    packets = {here: traffic(here, there, arguments.packets) for here, there in HOSTS.items()}
    guests = {here: by_guest(packets[here]) for here in HOSTS}

    say("round 1: each host encapsulates what its guests send")
    files = {here: {f"{subnet}-in": frames for subnet, frames in guests[here].items()} for here in HOSTS}
    sent = run_round(arguments.binary, folder / "round-1", files)
    wires = {}
    for here, there in HOSTS.items():
        wires[here] = folder / f"vxlan-{here}-to-{there}.pcap"
        shutil.copyfile(folder / "round-1" / f"host-{here}" / "uplink-out.pcap", wires[here])

    say("round 2: each host delivers what the other one sent")
    files = {there: {"uplink-in": read(wires[here])} for here, there in HOSTS.items()}
    received = run_round(arguments.binary, folder / "round-2", files)

    say("comparing every frame with what it must be")
    tallies = []
    for here, there in HOSTS.items():
        tally = Tally(f"{here.upper()}->{there.upper()}")
        tally.entered = len(packets[here])
        tally.encapsulated = on_the_wire(tally, packets[here], wires[here])
        tally.decapsulated = sum(row["forwarded"] for row in received[there] if row["role"] == "uplink")
        tally.left = arrivals(tally, packets[here], folder / "round-2" / f"host-{there}", there)
        tally.check_counters(sent[here], received[there])
        tally.wrong += dissect.check(wires[here], wire_ends(packets[here], here, there))
        tallies.append(tally)
    print_sample(packets["a"], folder)
    print_counters([(1, sent), (2, received)])
    return conclude(tallies, arguments.out)


def by_guest(packets):
    """Frames that each guest sends, by subnet."""
    guests = {subnet: [] for subnet in VNI}
    for packet in packets:
        guests[packet.lane[0]].append(packet.sent)
    return guests


def run_round(binary, folder, files):
    """Runs both hosts over `files`, the frames of their ports' input files; no file, no frames. Returns the counters
    of each host's ports."""
    with ExitStack() as cleanup:
        # Paths of sockets are limited to some 100 bytes, which the checkout's own path may exceed.
        scratch = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="alkaid-demo-")))
        hosts = {name: Host(binary, f"host-{name}", folder / f"host-{name}", scratch) for name in HOSTS}
        for name, host in hosts.items():
            host.folder.mkdir(parents=True)
            for port in ["uplink-in", *(f"{subnet}-in" for subnet in VNI)]:
                write(host.folder / f"{port}.pcap", files[name].get(port, []))
            cleanup.callback(host.end)
            host.start(REPOSITORY / "configs" / f"demo-{name}.conf")
        for name, host in hosts.items():
            began = time.monotonic()
            programmed = host.push(REPOSITORY / "demo" / f"goal-{name}.json")
            say(f"  {host.name}: {programmed} resources programmed over gRPC in {1000 * (time.monotonic() - began):.0f} ms")
            host.ask("exec", "start")
        counters = {}
        for name, host in hosts.items():
            counters[name] = host.await_packets(sum(map(len, files[name].values())))
            host.quit()
        return counters


def print_sample(packets, folder):
    """One packet that is routed between two subnets, in the three places where it can be seen."""
    packet = next(packet for packet in packets if packet.lane[0] != packet.lane[1] and packet.is_udp)
    source, target = packet.lane
    places = [
        ("before: from the guest at host A", folder / "round-1" / "host-a" / f"{source}-in.pcap", packet.sent),
        ("on the wire, from host A to host B", folder / "vxlan-a-to-b.pcap", packet.wire),
        ("after: to the guest at host B", folder / "round-2" / "host-b" / f"{target}-out.pcap", packet.arrived),
    ]
    print("\nOne packet on its way, decoded by tshark:")
    for title, pcap, frame in places:
        frames = [without_source_port(found) if frame is packet.wire else found for found in read(pcap)]
        if frame not in frames:
            print(f"  {title}: not there")
            continue
        number = frames.index(frame) + 1
        print(f"  {title} (packet {number} of {pcap.relative_to(folder)})")
        for line in dissect.describe(pcap, number):
            print(f"    {line}")


def print_counters(rounds):
    columns = ["round", "host", "port", "guest", "rx_packets", "forwarded", "dropped", "tx_packets"]
    widths = [max(len(column), 9) for column in columns]
    print("\nWhat the switches counted:")
    print("  " + "  ".join(column.rjust(width) for column, width in zip(columns, widths)))
    for number, counters in rounds:
        for host, rows in counters.items():
            for row in rows:
                cells = [number, host.upper(), row["port"], row["guest"] or row["role"], *(row[column] for column in columns[4:])]
                print("  " + "  ".join(str(cell).rjust(width) for cell, width in zip(cells, widths)))


def conclude(tallies, out):
    wrong = [f"{tally.direction}: {text}" for tally in tallies for text in tally.wrong]
    for text in wrong[:COMPLAINTS]:
        print(f"wrong: {text}", file=sys.stderr)
    if len(wrong) > COMPLAINTS:
        print(f"wrong: and {len(wrong) - COMPLAINTS} more", file=sys.stderr)
    if not wrong:
        print("\nEvery frame is as scapy built it, and tshark finds VNIs, addresses and checksums right. Guests of the two VPCs")
        print("have the same MACs and addresses; no frame strayed.")
    shown = os.path.relpath(out)
    print(f"\nTo look for yourself: tshark -r {shown}/vxlan-a-to-b.pcap -d udp.port==4789,vxlan -V | less")
    for tally in tallies:
        print(tally.line(), flush=True)
    return 0 if all(tally.lost == 0 and not tally.wrong for tally in tallies) else 1


def publish(folder, out):
    """Puts `folder` in the place of `out`."""
    folder.chmod(0o755)
    parent = os.open(out.parent, os.O_RDONLY)
    try:
        # Another run may end at the same time.
        fcntl.flock(parent, fcntl.LOCK_EX)
        if out.exists():
            old = Path(tempfile.mkdtemp(prefix=".demo-", dir=out.parent))
            out.replace(old / "old")
            shutil.rmtree(old)
        folder.replace(out)
    finally:
        os.close(parent)


def say(text):
    print(f"demo: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
