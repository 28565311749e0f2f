# SPDX-License-Identifier: MIT
"""DHCPv6, from outside: frames and checksums are scapy's. A Linux guest that gets its lease is in test_kernel_ipv6."""

from __future__ import annotations

import pytest
from scapy.layers.dhcp6 import DHCP6_Advertise, DHCP6_Confirm, DHCP6_Decline, DHCP6_InfoRequest, DHCP6_Rebind, DHCP6_RelayForward, DHCP6_Release
from scapy.layers.dhcp6 import DHCP6_Renew, DHCP6_Reply, DHCP6_Request, DHCP6_Solicit, DHCP6OptClientFQDN, DHCP6OptClientId, DHCP6OptDNSDomains
from scapy.layers.dhcp6 import DHCP6OptDNSServers, DHCP6OptElapsedTime, DHCP6OptIA_NA, DHCP6OptIA_PD, DHCP6OptIA_TA, DHCP6OptIAAddress
from scapy.layers.dhcp6 import DHCP6OptInfoRefreshTime, DHCP6OptOptReq, DHCP6OptPref, DHCP6OptRapidCommit, DHCP6OptRelayMsg, DHCP6OptServerId
from scapy.layers.dhcp6 import DHCP6OptSNTPServers, DHCP6OptStatusCode, DUID_LL, DUID_LLT
from scapy.layers.inet import UDP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6NDOptPrefixInfo, IPv6
from scapy.layers.l2 import Ether

import goal
import senders
from frames import assert_frames
from plan import A, Subnet, link_local
from tshark import assert_sound

FOUR, NEAR = Subnet(5), Subnet(5, version=6)
HERE, OTHER = NEAR.guest(A), NEAR.guest(A, 2)
HERE_PORT, OTHER_PORT = 1, 2
ALL_SERVERS = ("33:33:00:01:00:02", "ff02::1:2")
SERVER = (NEAR.gateway_mac, link_local(NEAR.gateway_mac))
TRANSACTION = 0xABCDEF
SECONDS = 7200


def subnet(**extra: str):
    """With what Neutron's users say."""
    state = goal.subnet(NEAR)
    for entry in ("2001:db8::53", "10.5.0.53", "2001:db8::54"):
        state.configuration.dns_entry_list.add(entry=entry)
    options = {"option6:domain-search": "example.com,example.org", "option6:31": "2001:db8::123", "lease-time": str(SECONDS), **extra}
    for name, value in options.items():
        state.configuration.extra_dhcp_options.add(name=name, value=value)
    return state


def client(host_name: str = ""):
    state = senders.dhcp(HERE)
    state.configuration.port_host_name = host_name
    return state


STATES = [goal.vpc(NEAR), subnet(), goal.port(FOUR.guest(A), HERE), goal.subnet(FOUR), goal.port(OTHER), client()]

CLIENT_ID = DHCP6OptClientId(duid=DUID_LLT(lladdr=HERE.mac, timeval=7))
SERVER_ID = DHCP6OptServerId(duid=DUID_LL(lladdr=NEAR.gateway_mac))
ASKS = DHCP6OptOptReq(reqopts=[23, 24, 31, 82])
TOLD = [
    DHCP6OptDNSServers(dnsservers=["2001:db8::53", "2001:db8::54"]),
    DHCP6OptDNSDomains(dnsdomains=["example.com", "example.org"]),
    DHCP6OptSNTPServers(sntpservers=["2001:db8::123"]),
]
PREFERENCE, RAPID = DHCP6OptPref(prefval=255), DHCP6OptRapidCommit()


def says(message, *options, to=ALL_SERVERS, source: str = HERE.link_local, mac: str = HERE.mac, sport: int = 546, dport: int = 547) -> bytes:
    """What a guest asks."""
    message.trid = TRANSACTION
    packet = Ether(src=mac, dst=to[0]) / IPv6(src=source, dst=to[1], hlim=1) / UDP(sport=sport, dport=dport) / message
    for option in options:
        packet = packet / option.copy()
    return bytes(packet)


def answer(message, *options, to: str = HERE.link_local) -> bytes:
    """What the switch says."""
    message.trid = TRANSACTION
    packet = Ether(src=SERVER[0], dst=HERE.mac) / IPv6(src=SERVER[1], dst=to, hlim=64) / UDP(sport=547, dport=546) / message
    for option in (CLIENT_ID, SERVER_ID, *options):
        packet = packet / option.copy()
    return bytes(packet)


def ia(*addresses, iaid: int = 1, times=(0, 0)):
    """An association of addresses, each with its lifetime."""
    inner = [DHCP6OptIAAddress(addr=ip, preflft=seconds, validlft=seconds) for ip, seconds in addresses]
    return DHCP6OptIA_NA(iaid=iaid, T1=times[0], T2=times[1], ianaopts=inner)


def gives(*more, iaid: int = 1):
    return ia((HERE.ip, SECONDS), *more, iaid=iaid, times=(SECONDS // 2, SECONDS - SECONDS // 5))


def status(code: int, words: bytes = b""):
    return DHCP6OptStatusCode(statuscode=code, statusmsg=words)


def refuses(code: int, words: bytes, iaid: int = 1):
    return DHCP6OptIA_NA(iaid=iaid, T1=0, T2=0, ianaopts=[status(code, words)])


NO_ADDRESSES = status(2, b"the port has no more addresses")


def test_each_question_of_a_client_has_its_answer(replay, tmp_path):
    mine, foreign = (HERE.ip, 0), ("2001:db8:6::9", 0)
    refresh = DHCP6OptInfoRefreshTime(reftime=SECONDS)
    cases = [
        (says(DHCP6_Solicit(), CLIENT_ID, ASKS, DHCP6OptElapsedTime(), ia()), answer(DHCP6_Advertise(), PREFERENCE, gives(), *TOLD)),
        (says(DHCP6_Solicit(), CLIENT_ID, ASKS, RAPID, ia(foreign)), answer(DHCP6_Reply(), RAPID, gives(), *TOLD)),
        (says(DHCP6_Request(), CLIENT_ID, SERVER_ID, ASKS, ia(mine)), answer(DHCP6_Reply(), gives(), *TOLD)),
        (says(DHCP6_Request(), CLIENT_ID, SERVER_ID, ASKS, ia(foreign)), answer(DHCP6_Reply(), refuses(4, b"not an address of the port"), *TOLD)),
        (says(DHCP6_Confirm(), CLIENT_ID, ia(mine)), answer(DHCP6_Reply(), status(0))),
        (says(DHCP6_Confirm(), CLIENT_ID, ia(mine, foreign)), answer(DHCP6_Reply(), status(4, b"not an address of the port"))),
        (says(DHCP6_Renew(), CLIENT_ID, SERVER_ID, ASKS, ia(mine)), answer(DHCP6_Reply(), gives(), *TOLD)),
        (says(DHCP6_Rebind(), CLIENT_ID, ASKS, ia(mine, foreign)), answer(DHCP6_Reply(), gives(foreign), *TOLD)),
        (says(DHCP6_Release(), CLIENT_ID, SERVER_ID, ia(mine)), answer(DHCP6_Reply(), status(0))),
        (
            says(DHCP6_Release(), CLIENT_ID, SERVER_ID, ia(foreign)),
            answer(DHCP6_Reply(), status(0), refuses(3, b"nothing is handed out for this")),
        ),
        (says(DHCP6_InfoRequest(), CLIENT_ID, ASKS), answer(DHCP6_Reply(), *TOLD)),
        (says(DHCP6_InfoRequest(), CLIENT_ID), answer(DHCP6_Reply(), *TOLD, refresh)),
        (
            says(DHCP6_Request(), CLIENT_ID, SERVER_ID, DHCP6OptOptReq(reqopts=[24]), ia(iaid=1), ia(mine, iaid=2), DHCP6OptIA_TA(iaid=3), DHCP6OptIA_PD(iaid=4)),
            answer(
                DHCP6_Reply(),
                refuses(2, NO_ADDRESSES.statusmsg),
                gives(iaid=2),
                DHCP6OptIA_TA(iaid=3, iataopts=[NO_ADDRESSES]),
                DHCP6OptIA_PD(iaid=4, T1=0, T2=0, iapdopt=[status(6, b"no prefixes are handed out")]),
                TOLD[1],
            ),
        ),
        (says(DHCP6_Renew(), CLIENT_ID, SERVER_ID, ia(mine), to=SERVER), answer(DHCP6_Reply(), status(5, b"ask all servers"))),
        (says(DHCP6_InfoRequest(), CLIENT_ID, ASKS, source=HERE.ip), answer(DHCP6_Reply(), *TOLD, to=HERE.ip)),
    ]
    for rule in ("off", "on"):
        done = replay(STATES, guests=[(HERE, [frame for frame, _ in cases]), (OTHER, [])], config=[f"set anti-spoofing {rule}"])
        assert_frames(done.sent[HERE_PORT], [expected for _, expected in cases])
        assert done.drops(HERE_PORT) == {} and done.sent[0] == done.sent[OTHER_PORT] == []
        row = done.counters.ports[HERE_PORT]
        assert (row["answered"], row["tx_own"]) == (len(cases), len(cases))
    assert_sound(tmp_path, done.sent[HERE_PORT], udp=len(cases))


def test_what_takes_no_answer_is_counted_by_reason(replay):
    mine = ia((HERE.ip, 0))
    elsewhere = DHCP6OptServerId(duid=DUID_LL(lladdr=OTHER.mac))
    solicit = says(DHCP6_Solicit(), CLIENT_ID, mine)
    relayed = Ether(src=HERE.mac, dst=ALL_SERVERS[0]) / IPv6(src=HERE.link_local, dst=ALL_SERVERS[1]) / UDP(sport=547, dport=547) / DHCP6_RelayForward()
    relayed = bytes(relayed / DHCP6OptRelayMsg(message=DHCP6_Solicit(trid=1) / CLIENT_ID))
    frames = [
        says(DHCP6_Request(), CLIENT_ID, elsewhere, mine),
        says(DHCP6_Confirm(), CLIENT_ID, ia()),
        says(DHCP6_Solicit(), mine),
        says(DHCP6_Solicit(), CLIENT_ID, SERVER_ID, mine),
        says(DHCP6_Request(), CLIENT_ID, mine),
        says(DHCP6_Renew(), SERVER_ID, mine),
        says(DHCP6_InfoRequest(), CLIENT_ID, mine),
        says(DHCP6_Advertise(), CLIENT_ID, SERVER_ID, mine),
        says(DHCP6_Solicit(), CLIENT_ID, to=SERVER),
        says(DHCP6_Solicit(), CLIENT_ID, mac=OTHER.mac),
        says(DHCP6_Solicit(), CLIENT_ID, source="::"),
        relayed,
        solicit[:-20],
    ]
    done = replay(STATES, guests=[(HERE, frames), (OTHER, [says(DHCP6_Solicit(), CLIENT_ID, source=OTHER.link_local, mac=OTHER.mac)])])
    assert done.silent
    # The last one ends before its IP packet does.
    assert done.drops(HERE_PORT) == {"dhcp_quiet": 2, "bad_dhcp": 10, "truncated": 1}
    assert done.drops(OTHER_PORT) == {"no_lease": 1}


def test_a_declined_address_is_acknowledged_and_counted(replay):
    done = replay(STATES, guests=[(HERE, [says(DHCP6_Decline(), CLIENT_ID, SERVER_ID, ia((HERE.ip, 0)))]), (OTHER, [])])
    assert_frames(done.sent[HERE_PORT], [answer(DHCP6_Reply(), status(0))])
    assert done.drops(HERE_PORT) == {"dhcp_declined": 1}


@pytest.mark.parametrize("name", ["web-1", "web-1.example.com"])
def test_a_guest_that_says_its_name_is_told_the_controllers(replay, name):
    states = [*STATES[:-1], client(name)]
    named = DHCP6OptClientFQDN(flags=0, fqdn="other")
    asked = DHCP6OptOptReq(reqopts=[39])
    frames = [says(DHCP6_Solicit(), CLIENT_ID, asked, *more, ia()) for more in ((named,), ())]
    done = replay(states, guests=[(HERE, frames), (OTHER, [])])
    with_name, without = done.sent[HERE_PORT]
    assert Ether(with_name)[DHCP6OptClientFQDN].fqdn.decode().rstrip(".") == name
    assert Ether(with_name)[DHCP6OptClientFQDN].flags == 4
    assert without == answer(DHCP6_Advertise(), PREFERENCE, gives())


def test_a_guest_that_plays_the_server_is_dropped(replay):
    to = (OTHER.mac, OTHER.link_local)
    frames = [says(message, CLIENT_ID, SERVER_ID, gives(), to=to, sport=sport, dport=546) for message in (DHCP6_Advertise(), DHCP6_Reply()) for sport in (547, 1)]
    done = replay(STATES, guests=[(HERE, frames), (OTHER, [])], config=["set anti-spoofing on"])
    assert done.silent and done.drops(HERE_PORT) == {"rogue_server": 4}


def test_routers_say_that_dhcpv6_is_to_be_asked_by_those_whom_it_serves(replay):
    def solicits(guest) -> bytes:
        return bytes(Ether(src=guest.mac, dst="33:33:00:00:00:02") / IPv6(src=guest.link_local, dst="ff02::2", hlim=255) / ICMPv6ND_RS())

    done = replay(STATES, guests=[(HERE, [solicits(HERE)]), (OTHER, [solicits(OTHER)])])
    for port, flags in ((HERE_PORT, (1, 1)), (OTHER_PORT, (0, 0))):
        (frame,) = done.sent[port]
        said = Ether(frame)
        assert (said[ICMPv6ND_RA].M, said[ICMPv6ND_RA].O) == flags
        assert (said[ICMPv6NDOptPrefixInfo].L, said[ICMPv6NDOptPrefixInfo].A) == (1, 0)


def test_what_is_said_and_whose_word_it_is_can_be_explained(switches):
    lines = ["set mbufs 1024", "port attach net_null0", "port attach net_null1", f"port bind 1 {HERE.id}", "set vtep 192.0.2.1/24 port 0", "start"]
    switch = switches(lines)
    switch.accept(*(state for state in STATES if state != goal.port(OTHER)))
    explained = switch.explain_frame(1, says(DHCP6_Solicit(), CLIENT_ID, ASKS, ia()))
    assert explained["outcome"] == "answered"
    assert [(row["port"], bytes.fromhex(row["frame"])) for row in explained["sent"]] == [(1, answer(DHCP6_Advertise(), PREFERENCE, gives(), *TOLD))]
    last = explained["steps"][-1]
    assert last["text"].endswith(f"which answers: DHCPv6 ADVERTISE of {HERE.ip}")
    because = [(named["kind"], named["id"], named["revision"]) for named in last["because"]]
    assert because == [("DHCP", STATES[-1].configuration.id, 1), ("PORT", HERE.id, 1), ("SUBNET", NEAR.id, 1)]


def test_statuses_say_whether_a_guest_is_served(switches):
    switch = switches(["set mbufs 1024", "port attach net_null0", "port attach net_null1", f"port bind 1 {HERE.id}", "set vtep 192.0.2.1/24 port 0"])
    state = client()
    assert goal.status_names(switch.push(state)) == [("DHCP", state.configuration.id, "PENDING")]
    assert "no port of the switch is bound to" in switch.show("pending")[0]["reason"]
    for rpc in ("v1", "v2"):
        switch.accept(goal.vpc(NEAR), goal.subnet(NEAR), goal.port(HERE), state, rpc=rpc)
    (row,) = switch.show("dhcp")
    assert (row["state"], row["told"]) == ("ready", f"{HERE.ip} by {SERVER[1]} for 86400 s, options 32")
    switch.accept(subnet())
    assert switch.show("dhcp")[0]["told"].endswith(f"for {SECONDS} s, options 23, 24, 31, 32")
    ports = [(row["dhcp"], row["dhcpv6"]) for row in switch.show("ports")]
    assert ports == [(None, None), ("not served: the port has no IPv4 address in a known subnet", switch.show("dhcp")[0]["told"])]
    assert goal.status_names(switch.push(client("a b")))[0][2] == "INVALID_ARG"
    assert "port_host_name" in switch.show("dhcp")[0]["state"]
    wrong = subnet(**{"option6:dns-server": "10.0.0.53"})
    statuses = {kind: status for kind, _, status in goal.status_names(switch.push(wrong, client()))}
    assert statuses == {"SUBNET": "SUCCESS", "DHCP": "INVALID_ARG"}
    assert "extra_dhcp_options[3]" in switch.show("dhcp")[0]["state"]
    switch.accept(goal.delete(goal.port(HERE)))
    assert "no port of the switch is bound to" in switch.show("dhcp")[0]["state"]
    switch.terminate()
