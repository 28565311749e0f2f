# SPDX-License-Identifier: MIT
"""Destinations that no goal state names: the first packet waits while the controller is asked, and is not lost."""

from __future__ import annotations

import shutil
import signal
import struct
import time

import grpc
import pytest
from scapy.layers.l2 import ARP, Ether

import goal
from alcor.schema import common_pb2
from frames import assert_encapsulated, to_gateway, udp
from guests import VethSite
from ncm import Ncm
from plan import A, B, DVR_MAC, Subnet, host_mac
from program import eventually
from switch import free_port
from test_tls import Authority

NEAR, FAR = Subnet(5), Subnet(6, of_vpc="vpc-5")
HERE, THERE, FAR_THERE = NEAR.guest(A, 1), NEAR.guest(B), FAR.guest(B)
OTHERS = [NEAR.guest(B, n) for n in range(10, 60)]
STATES = [goal.vpc(NEAR), goal.subnet(NEAR), goal.subnet(FAR), goal.router(NEAR, FAR), goal.port(HERE)]

SOURCE = "127.0.0.5"
"""The address that the controller knows the switch by."""


class Lab(VethSite):
    """With one guest, and a controller to ask."""

    def __init__(self, networks, switches, *config: str, ncm: bool = True, credentials=None):
        southbound, self.ncm_port, self.credentials = free_port(), free_port(), credentials
        self.to = f"127.0.0.1:{southbound}"
        self.ncm = self.controller() if ncm else None
        asks = f"set ncm 127.0.0.9:{self.ncm_port}", f"set ncm source {SOURCE}"
        super().__init__(networks, switches, [HERE], *asks, *config, southbound=southbound)
        [self.here] = self.wires
        self.switch.accept(*STATES)

    def controller(self) -> Ncm:
        ncm = Ncm(self.to, self.ncm_port, credentials=self.credentials)
        ncm.know(HERE, THERE, FAR_THERE)
        return ncm

    def show(self) -> dict:
        [row] = self.switch.show("on-demand")
        return row

    def settled(self, arrived: int, **drops: int):
        assert self.switch.settled(port1=arrived).drops[1] == drops
        return self.show()

    def sent(self, *frames: bytes, vni: int = 5) -> None:
        assert_encapsulated(self.uplink.receive(len(frames)), [(frame, vni, B) for frame in frames], src_mac=host_mac(A))


@pytest.fixture
def lab(networks, switches):
    labs = []

    def make(*config: str, **named) -> Lab:
        labs.append(Lab(networks, switches, *config, **named))
        return labs[-1]

    yield make
    for each in labs:
        if each.ncm:
            each.ncm.end()


def marked(count: int, dst=THERE) -> list[bytes]:
    return [udp(HERE, dst, payload=struct.pack(">I", n)) for n in range(count)]


def test_first_packets_are_asked_for_once_and_none_is_lost(lab):
    lab = lab()
    first = marked(5)
    lab.ncm.may_push.clear()
    lab.here.send(first)
    eventually("all are held", lambda: lab.show()["held"] == 5)
    eventually("the question is there", lab.ncm.questions)
    [question] = lab.ncm.questions()
    assert (question.tunnel_id, question.source_ip, question.destination_ip) == (5, HERE.ip, THERE.ip)
    assert (question.source_port, question.destination_port, question.protocol) == (1000, 53, common_pb2.UDP)
    assert [row["held"] for row in lab.switch.show("port stats all")] == [0, 5]

    # Pushes are served while the question is open.
    lab.switch.accept(goal.neighbor(OTHERS[0]), rpc="v2")
    lab.here.send([udp(HERE, OTHERS[0])])
    lab.sent(udp(HERE, OTHERS[0]))

    lab.ncm.may_push.set()
    lab.sent(*first)
    later = marked(3)
    lab.here.send(later)
    lab.sent(*later)
    row = lab.settled(9)
    assert (row["misses"], row["requests"], row["answers"], row["held"]) == (5, 1, 1, 0)
    assert row["p50_us"] > 0 and lab.ncm.asked_for() == [THERE.ip]
    assert lab.ncm.peers == {SOURCE}
    assert lab.ncm.restarts() == 1


def test_a_routed_packet_asks_in_the_vni_of_its_own_subnet(lab):
    lab = lab()
    lab.here.send([to_gateway(HERE, FAR_THERE)])
    lab.sent(udp(HERE, FAR_THERE, eth_src=DVR_MAC, ttl=63), vni=6)
    [question] = lab.ncm.questions()
    assert (question.tunnel_id, question.destination_ip) == (5, FAR_THERE.ip)
    lab.settled(1)


def test_an_arp_request_asks_and_is_answered_and_the_packet_after_it_need_not(lab):
    lab = lab()
    request = Ether(src=HERE.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=HERE.mac, psrc=HERE.ip, pdst=THERE.ip)
    lab.here.send([bytes(request)])
    reply = Ether(src=THERE.mac, dst=HERE.mac) / ARP(op=2, hwsrc=THERE.mac, psrc=THERE.ip, hwdst=HERE.mac, pdst=HERE.ip)
    lab.here.expect([bytes(reply)])
    [question] = lab.ncm.questions()
    assert (question.protocol, question.source_ip, question.destination_ip) == (common_pb2.ARP, HERE.ip, THERE.ip)
    lab.here.send(marked(1))
    lab.sent(*marked(1))
    lab.settled(2)
    assert len(lab.ncm.questions()) == 1


def test_what_the_controller_does_not_know_is_dropped_and_asked_for_again_later(lab):
    lab = lab("set on-demand negative 2")
    stranger = OTHERS[1]
    # Alcor's controller says SUCCESS when it knows who asks, and pushes nothing.
    lab.here.send(marked(2, stranger))
    row = lab.settled(2, on_demand_unknown=2)
    assert (row["unknown"], row["negative"]) == (1, 1)
    lab.here.send(marked(3, stranger))
    lab.settled(5, on_demand_unknown=5)
    assert lab.ncm.asked_for() == [stranger.ip]
    lab.ncm.know(stranger)
    eventually("it may be asked for again", lambda: lab.show()["negative"] == 0)
    lab.here.send(marked(1, stranger))
    lab.sent(*marked(1, stranger))
    lab.settled(6, on_demand_unknown=5)
    assert lab.ncm.asked_for() == [stranger.ip] * 2


def test_a_failure_is_believed_at_once(lab):
    lab = lab()
    lab.ncm.guests.clear()
    lab.here.send(marked(1))
    lab.settled(1, on_demand_unknown=1)


def test_the_rate_is_kept_and_those_that_wait_for_their_turn_are_not_lost(lab):
    lab = lab("set on-demand rate 20", "set on-demand hold 20000")
    begun = time.monotonic()
    lab.ncm.know(*OTHERS)
    frames = [udp(HERE, other) for other in OTHERS]
    lab.here.send(frames)
    out = lab.uplink.receive(len(frames))
    took = time.monotonic() - begun
    assert sorted(frame[50:] for frame in out) == sorted(frames)
    row = lab.settled(len(frames))
    assert (row["requests"], row["answers"]) == (len(frames), len(frames))
    assert row["rate_limited"] > 0
    assert took > (len(frames) - 2) / 20 * 0.9, "no machine is so fast that it may ask so much"


def test_more_packets_than_may_wait_are_counted_and_the_first_ones_kept(lab):
    lab = lab()
    lab.ncm.may_push.clear()
    frames = marked(20)
    lab.here.send(frames)
    eventually("all have arrived", lambda: lab.show()["misses"] == 20)
    lab.ncm.may_push.set()
    lab.sent(*frames[:16])
    row = lab.settled(20, on_demand_full=4)
    assert row["full"] == 4


def test_a_packet_waits_no_longer_than_it_may_for_a_slow_controller(lab):
    lab = lab("set on-demand hold 200")
    lab.ncm.may_push.clear()
    lab.here.send(marked(2))
    row = lab.settled(2, on_demand_expired=2)
    assert row["expired"] == 2
    # The question is still open.
    lab.ncm.may_push.set()
    eventually("the answer is here", lambda: lab.show()["answers"] == 1)
    lab.here.send(marked(1))
    lab.sent(*marked(1))
    assert lab.ncm.asked_for() == [THERE.ip]


def test_a_controller_that_is_down_is_asked_when_it_is_back(lab):
    lab = lab("set on-demand hold 60000", ncm=False)
    lab.here.send(marked(3))
    eventually("calls fail", lambda: lab.show()["failed_calls"] >= 2)
    assert lab.show()["held"] == 3
    assert "does not say where packets go" in lab.switch.log.read_text()
    lab.ncm = lab.controller()
    lab.sent(*marked(3))
    eventually("it hears of the start", lambda: lab.ncm.restarts() == 1)
    lab.settled(3)
    lab.switch.terminate()
    assert lab.switch.log.read_text().count("does not say where packets go") == 1, "said once"


def test_an_entry_that_nobody_uses_ages_and_one_in_use_is_put_back_without_asking(lab):
    lab = lab("set on-demand idle 1")
    neighbors = lambda: {row["address"]: row["state"] for row in lab.switch.show("neighbors")}
    lab.switch.accept(goal.neighbor(OTHERS[0]))
    lab.here.send(marked(1))
    lab.sent(*marked(1))
    eventually("it is idle", lambda: neighbors().get(THERE.ip) == "idle")
    lab.here.send(marked(1))
    lab.sent(*marked(1))
    assert lab.ncm.asked_for() == [THERE.ip], "it was not asked for again"
    eventually("it is forgotten", lambda: neighbors() == {OTHERS[0].ip: "ready"})
    lab.here.send(marked(1))
    lab.sent(*marked(1))
    assert lab.ncm.asked_for() == [THERE.ip] * 2

    # What the controller sends of its own accord stays.
    lab.switch.accept(goal.neighbor(THERE), rpc="v2")
    time.sleep(2.5)
    assert neighbors() == {OTHERS[0].ip: "ready", THERE.ip: "ready"}
    lab.settled(3)


def test_nothing_is_held_when_it_is_off(lab):
    lab = lab("set on-demand off")
    lab.here.send(marked(1))
    assert lab.switch.settled(port1=1).drops[1] == {"unknown_mac": 1}
    assert lab.switch.show("on-demand") == [] and lab.ncm.asked == []


def test_a_switch_ends_well_while_packets_wait(lab):
    lab = lab("set on-demand hold 60000")
    lab.ncm.may_push.clear()
    lab.here.send(marked(10))
    eventually("all are held", lambda: lab.show()["held"] == 10)
    lab.switch.terminate()


def test_destinations_of_ipv6_are_asked_for_likewise(lab):
    six = Subnet(5, version=6)
    here, there, unknown = six.guest(A), six.guest(B), six.guest(B, 99)
    lab = lab("set on-demand hold 500", "set on-demand negative 60")
    lab.ncm.know(here, there)
    lab.switch.accept(goal.subnet(six), goal.port(HERE, here))
    first = udp(here, there)
    lab.here.send([first])
    lab.sent(first)
    [question] = lab.ncm.questions()
    assert (question.tunnel_id, question.source_ip, question.destination_ip) == (5, here.ip, there.ip)
    assert (question.source_port, question.destination_port) == (1000, 53)
    assert (question.ethertype, question.protocol) == (common_pb2.IPV6, common_pb2.UDP)
    # Known now; and whom the controller does not know it is asked for once.
    lab.here.send([first])
    lab.sent(first)
    for _ in range(3):
        lab.here.send([udp(here, unknown)])
        eventually("it is given up", lambda: lab.show()["held"] == 0)
    assert lab.ncm.asked_for() == [there.ip, unknown.ip]


# --- over TLS


@pytest.fixture
def authority(tmp_path) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    return Authority(tmp_path / "authority")


def manager(authority: Authority, alternative: str = "IP:127.0.0.9", trusts: Authority | None = None) -> grpc.ServerCredentials:
    """What a manager shows, and asks of switches: a certificate of the same authority, or of the one that it trusts."""
    cert, key = authority.issue("manager", alternative)
    return grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())], (trusts or authority).ca.read_bytes(), require_client_auth=True)


def ncm_tls(authority: Authority, name: str, more: str = "") -> str:
    """The switch's part of that, by files of this name."""
    cert, key = authority.issue(name)
    return f"set ncm tls cert {cert} key {key} ca {authority.ca} {more}"


@pytest.mark.parametrize("alternative, more", [("IP:127.0.0.9", ""), ("DNS:ncm.alcor", "name ncm.alcor")])
def test_first_packets_are_asked_for_over_tls_and_forwarded(lab, authority, alternative, more):
    lab = lab(ncm_tls(authority, "switch", more), credentials=manager(authority, alternative))
    lab.here.send(marked(3))
    lab.sent(*marked(3))
    assert lab.ncm.asked_for() == [THERE.ip] and lab.ncm.peers == {SOURCE}
    eventually("it hears of the start", lambda: lab.ncm.restarts() == 1)
    assert set(lab.ncm.callers) == {"switch"}
    assert lab.settled(3)["failed_calls"] == 0


def restarted(lab, credentials: grpc.ServerCredentials | None) -> None:
    """The manager ends, and another one is in its place."""
    lab.ncm.end()
    lab.credentials = credentials
    lab.ncm = lab.controller()
    lab.ncm.know(*OTHERS)


@pytest.mark.parametrize("wrong", ["the switch's authority", "the manager's authority", "the manager's name", "the switch is plain"])
def test_a_switch_and_a_manager_that_do_not_trust_each_other_do_not_talk(lab, authority, tmp_path, wrong):
    other = Authority(tmp_path / "other")
    tls = [] if wrong == "the switch is plain" else [ncm_tls(authority, "switch", "name ncm.alcor")]
    credentials = manager(
        other if wrong == "the manager's authority" else authority,
        "DNS:ncm.elsewhere" if wrong == "the manager's name" else "DNS:ncm.alcor",
        trusts=other if wrong == "the switch's authority" else authority,
    )
    lab = lab(*tls, "set on-demand hold 60000", credentials=credentials)
    lab.here.send(marked(3))
    eventually("calls fail", lambda: lab.show()["failed_calls"] >= 3)
    assert lab.show()["held"] == 3 and lab.ncm.asked == []
    assert "does not say where packets go" in lab.switch.log.read_text()
    # They are told as soon as that is right.
    restarted(lab, manager(authority, "DNS:ncm.alcor") if tls else None)
    lab.sent(*marked(3))


def replace(authority: Authority, name: str, new: Authority, new_name: str) -> None:
    """The files of a name, and the authority's, are those of another one from now on."""
    targets = authority.folder / f"{name}.pem", authority.folder / f"{name}.key", authority.ca
    for source, target in zip((*new.issue(new_name), new.ca), targets):
        if source != target:
            shutil.copy(source, target)


def asks(lab, guest) -> None:
    """A packet to whom no goal state names arrives there."""
    frame = udp(HERE, guest)
    lab.here.send([frame])
    lab.sent(frame)
    assert guest.ip in lab.ncm.asked_for()


def test_the_manager_is_shown_a_new_certificate_on_a_new_connection(lab, authority, tmp_path):
    lab = lab(ncm_tls(authority, "switch"), "set on-demand hold 60000", credentials=manager(authority))
    lab.ncm.know(*OTHERS)
    asks(lab, THERE)
    new = Authority(tmp_path / "new")
    replace(authority, "switch", new, "renewed")
    # Who is connected stays so.
    lab.switch.process.send_signal(signal.SIGHUP)
    asks(lab, OTHERS[0])
    assert set(lab.ncm.callers) == {"switch"}
    restarted(lab, manager(new))
    asks(lab, OTHERS[1])
    assert set(lab.ncm.callers) == {"renewed"}


def test_the_manager_is_shown_a_new_certificate_also_if_it_would_still_take_the_old_one(lab, authority):
    lab = lab(ncm_tls(authority, "switch"), "set on-demand hold 60000", credentials=manager(authority))
    asks(lab, THERE)
    replace(authority, "switch", authority, "renewed")
    restarted(lab, manager(authority))
    asks(lab, OTHERS[1])
    assert set(lab.ncm.callers) == {"renewed"}
