# SPDX-License-Identifier: MIT
"""A second opinion on the packets between the hosts: what tshark says of them."""

import re
import subprocess
from collections import Counter

from host import Failed

OPTIONS = ["-n", "-d", "udp.port==4789,vxlan"]
for protocol in ("ip", "udp", "tcp"):
    OPTIONS += ["-o", f"{protocol}.check_checksum:TRUE"]

# Of a field that is in several layers, the outermost value comes first.
FIELDS = [
    "eth.src",
    "eth.dst",
    "ip.src",
    "ip.dst",
    "ip.checksum.status",
    "udp.dstport",
    "udp.checksum",
    "udp.checksum.status",
    "tcp.checksum.status",
    "vxlan.flags",
    "vxlan.vni",
    "_ws.malformed",
]

# What tshark calls a checksum: wrong, right.
BAD, GOOD = "0", "1"

# Lines of tshark's full account that are worth a look, beside each layer's first.
DETAILS = ("Time to Live", "Header Checksum", "VXLAN Network Identifier")
# The account of the file, and of what is the guests' own business.
OMITTED = re.compile(r"Frame |Data |[0-9a-f]{4}  ")


def tshark(arguments):
    try:
        done = subprocess.run(["tshark", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        raise Failed("tshark is not installed; `scripts/setup demo` installs it") from None
    if done.returncode != 0:
        raise Failed(f"tshark failed: {done.stderr.strip()}")
    return done.stdout


def check(pcap, expected):
    """Checks the packets of `pcap`. `expected` counts (outer source, outer destination, VNI, inner source, inner
    destination), each end as MAC and address. Returns what is wrong, in words."""
    wrong = []
    found = Counter()
    columns = [word for field in FIELDS for word in ("-e", field)]
    text = tshark(["-r", pcap, *OPTIONS, "-T", "fields", "-E", "separator=/t", "-E", "aggregator=,", *columns])
    for number, line in enumerate(text.splitlines(), 1):
        row = dict(zip(FIELDS, (value.split(",") for value in line.split("\t"))))
        if problem := judge(row):
            wrong.append(f"{pcap.name}, packet {number}: {problem}")
            continue
        ends = [(row[f"eth.{end}"][layer], row[f"ip.{end}"][layer]) for layer in (0, 1) for end in ("src", "dst")]
        found[(*ends[:2], int(row["vxlan.vni"][0]), *ends[2:])] += 1
    for key in found.keys() | expected.keys():
        if found[key] != expected[key]:
            wrong.append(f"{pcap.name}: {found[key]} instead of {expected[key]} packets are {key}")
    return wrong


def judge(row):
    """What is wrong with one packet, or nothing."""
    if row["_ws.malformed"] != [""]:
        return "malformed"
    if row["vxlan.flags"] != ["0x0800"] or row["udp.dstport"][0] != "4789":
        return "not VXLAN with a VNI on UDP port 4789"
    if len(row["ip.src"]) != 2 or row["ip.checksum.status"] != [GOOD, GOOD]:
        return "an IPv4 header checksum is wrong"
    # RFC 7348, section 5: the outer one should be zero.
    if row["udp.checksum"][0] != "0x0000":
        return "the outer UDP checksum is not zero"
    if row["tcp.checksum.status"] not in ([""], [GOOD]) or BAD in row["udp.checksum.status"]:
        return "a guest's TCP or UDP checksum is wrong"
    return None


def describe(pcap, number):
    """A few lines about one packet, as tshark decodes it."""
    lines = tshark(["-r", pcap, *OPTIONS, "-V", "-c", str(number), "-Y", f"frame.number=={number}"]).splitlines()
    layers = [line for line in lines if not line.startswith(" ") or line.strip().startswith(DETAILS)]
    return [line for line in layers if line and not OMITTED.match(line)]
