# SPDX-License-Identifier: MIT
"""VPCs with the same addresses, byte for byte, never see each other's packets."""

from __future__ import annotations

import goal
from frames import assert_encapsulated, assert_frames, to_gateway, udp, vxlan
from plan import A, B, DVR_MAC, Subnet
from replays import UPLINK

VNIS = 7, 8, 0xABCD07
NEAR = [Subnet(vni, numbers=7, half=0, of_vpc=f"vpc-{vni}") for vni in VNIS]
FAR = [Subnet(vni, numbers=7, half=1, of_vpc=f"vpc-{vni}") for vni in VNIS]


def states(*which: int):
    """Of each VPC: two subnets and their router, one guest here in each, one neighbor there in each."""
    all = []
    for n in which:
        near, far = NEAR[n], FAR[n]
        all += [goal.vpc(near), goal.subnet(near), goal.subnet(far), goal.router(near, far, id=f"router-{near.vni}")]
        all += [goal.port(near.guest(A)), goal.port(far.guest(A))]
        all += [goal.neighbor(near.guest(B)), goal.neighbor(far.guest(B), kind="L3")]
    return all


def label(vpc: int) -> bytes:
    """Payload that says whose packet it is."""
    return f"vpc {VNIS[vpc]} only".encode()


def test_addresses_of_the_three_vpcs_are_identical():
    assert len({subnet.guest(A).mac + subnet.guest(A).ip + subnet.gateway_mac for subnet in NEAR}) == 1


def test_what_a_vpc_sends_stays_in_it(replay):
    """Every guest sends to every address there is: locally, remotely, switched, routed."""
    guests = [(subnet, subnet.guest(A)) for pair in zip(NEAR, FAR) for subnet in pair]

    def frames(n, near, far):
        here, other = near.guest(A), far.guest(A)
        all = [udp(here, near.guest(B), payload=label(n))]
        all += [to_gateway(here, to, payload=label(n)) for to in (other, far.guest(B))]
        return all

    inputs = []
    for n in range(3):
        inputs += [(NEAR[n].guest(A), frames(n, NEAR[n], FAR[n])), (FAR[n].guest(A), frames(n, FAR[n], NEAR[n]))]
    done = replay(states(0, 1, 2), guests=inputs)
    for n, (subnet, guest) in enumerate(guests):
        other = (FAR if subnet.half == 0 else NEAR)[n // 2].guest(A)
        assert_frames(done.sent[n + 1], [udp(other, guest, eth_src=subnet.gateway_mac, ttl=63, payload=label(n // 2))])
    sent = {vni: [] for vni in VNIS}
    for frame in done.sent[UPLINK]:
        sent[int.from_bytes(frame[46:49], "big")].append(frame)
    for n, vni in enumerate(VNIS):
        expected = []
        for near, far in ((NEAR[n], FAR[n]), (FAR[n], NEAR[n])):
            here = near.guest(A)
            expected.append(udp(here, near.guest(B), payload=label(n)))
            expected.append(udp(here, far.guest(B), payload=label(n), eth_src=DVR_MAC, ttl=63))
        assert_encapsulated(sorted(sent[vni], key=inner), [(frame, vni, B) for frame in sorted(expected)])


def inner(frame: bytes) -> bytes:
    return frame[50:]


def test_what_arrives_goes_to_the_vpc_of_its_vni_only(replay):
    underlay = [vxlan(udp(NEAR[n].guest(B), NEAR[n].guest(A), payload=label(n)), VNIS[n], src=B) for n in range(3) for _ in range(n + 1)]
    done = replay(states(0, 1, 2), underlay=underlay, guests=[(NEAR[n].guest(A), []) for n in range(3)])
    for n in range(3):
        assert_frames(done.sent[n + 1], [udp(NEAR[n].guest(B), NEAR[n].guest(A), payload=label(n))] * (n + 1))


def test_a_vpc_without_a_guest_here_is_unknown(replay):
    underlay = [vxlan(udp(NEAR[n].guest(B), NEAR[n].guest(A), payload=label(n)), VNIS[n], src=B) for n in range(3)]
    # The controller describes all three; of the third nobody is bound here.
    done = replay(states(0, 1, 2), underlay=underlay, guests=[(NEAR[n].guest(A), []) for n in (0, 1)])
    assert done.drops(UPLINK) == {"unknown_vni": 1}
    assert [len(frames) for frames in done.sent] == [0, 1, 1]


def test_guests_of_two_vpcs_on_one_host_do_not_reach_each_other(replay):
    """Each knows the other's MAC and address, which are its own VPC's as well for nobody."""
    one, two = Subnet(21), Subnet(22)
    a, b = one.guest(A), two.guest(A)
    all = [state for each in (one, two) for state in (goal.vpc(each), goal.subnet(each), goal.router(each, id=each.id), goal.port(each.guest(A)))]
    tries = [udp(a, b), to_gateway(a, b), udp(a, b, eth_dst=two.gateway_mac)]
    done = replay(all, guests=[(a, tries), (b, [udp(b, a), to_gateway(b, a)])])
    assert done.silent
    assert done.drops(1) == {"unknown_mac": 2, "no_route": 1}
    assert done.drops(2) == {"unknown_mac": 1, "no_route": 1}


def test_a_neighbor_of_another_host_is_not_relayed_to(replay):
    """VXLAN for a guest elsewhere: passing it on could loop between two hosts whose tables are stale."""
    subnet = NEAR[0]
    frame = udp(subnet.guest(B, 2), subnet.guest(B))
    done = replay(states(0), underlay=[vxlan(frame, 7, src=B)], guests=[(subnet.guest(A), [])])
    assert done.silent and done.drops(UPLINK) == {"not_local": 1}
