// SPDX-License-Identifier: MIT
//! A guest is neither its subnet's DHCP server nor its router, however it wraps what it says.

use super::*;

const ROGUE: Option<DropReason> = Some(DropReason::RogueServer);

#[test]
fn a_guest_asks_dhcp_servers_and_is_none() {
    let (mut lab, subnet) = lab();
    let (own, own6) = (IpAddr::from(subnet.ip(1)), IpAddr::from(link_local(OWN)));
    let nobody = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    for (what, source, ports, wrong) in [
        ("a server to a client", own, (67, 68), ROGUE),
        // Clients take what comes to their port, whichever it is from (RFC 2131 section 4.1, RFC 8415 section 7.2).
        ("to a client", own, (1067, 68), ROGUE),
        ("a client to a client", own, (68, 68), ROGUE),
        ("a client that renews", own, (68, 67), None),
        (
            "a server that lies about its address",
            IpAddr::from(subnet.gateway()),
            (67, 68),
            ROGUE,
        ),
        ("a DHCPv6 server to a client", own6, (547, 546), ROGUE),
        ("to a DHCPv6 client", own6, (1547, 546), ROGUE),
        ("a DHCPv6 relay", own6, (547, 547), ROGUE),
        ("a DHCPv6 client", own6, (546, 547), None),
        ("a port beside", own, (67, 69), None),
        ("a DHCPv6 port over IPv4", own, (547, 546), None),
        ("a DHCP port over IPv6", own6, (67, 68), None),
    ] {
        lab.try_it(what, &udp_from(OWN, source, ports), wrong);
    }
    let discover = to_all(udp_from(OWN, nobody, (68, 67)));
    lab.try_it("a client that has no address", &discover, None);
    // TCP has ports of its own.
    let mut tcp = tcp_from(OWN, own);
    tcp[34..38].copy_from_slice(&[0, 67, 0, 68]);
    lab.try_it("TCP", &tcp, None);
}

#[test]
fn a_dhcp_server_hides_neither_behind_options_nor_in_fragments() {
    let (mut lab, subnet) = lab();
    let offer = udp_from(OWN, subnet.ip(1).into(), (67, 68));
    let mut options = offer.clone();
    options.splice(34..34, [1; 4]);
    (options[14], options[17]) = (0x46, options[17] + 4);
    lab.try_it("options", &options, ROGUE);
    let mut first = offer.clone();
    first[20] = 0x20;
    lab.try_it("a first fragment", &first, ROGUE);
    // What a later fragment says there are no ports.
    let mut later = offer;
    later[21] = 1;
    lab.try_it("a later fragment", &later, None);
}

#[test]
fn what_is_wrapped_in_snap_goes_nowhere() {
    let (mut lab, subnet) = lab();
    let inner = udp_from(OWN, subnet.ip(1).into(), (5, 6));
    let wrapped = |len: u16, llc: &[u8]| {
        let [to_from, rest] = [&inner[..12], &inner[12..]];
        [to_from, &len.to_be_bytes(), llc, rest].concat()
    };
    const SNAP: &[u8] = &[0xaa, 0xaa, 3, 0, 0, 0];
    let len = (SNAP.len() + inner.len() - 12) as u16;
    for len in [len, 0, 1535] {
        lab.try_it("SNAP", &wrapped(len, SNAP), ROGUE);
    }
    lab.try_it("an EtherType", &wrapped(1536, SNAP), None);
    lab.try_it("a spanning tree's", &wrapped(len, &[0x42, 0x42, 3]), None);
}

#[test]
fn a_guest_is_no_router() {
    let (mut lab, subnet) = lab();
    // Redirect and router advertisement (RFC 792, RFC 1256).
    for (kind, wrong) in [
        (5, ROGUE),
        (9, ROGUE),
        (3, None),
        (8, None),
        (10, None),
        (11, None),
    ] {
        let frame = icmpv4(OWN, subnet.ip(1), &[kind, 0, 0, 0, 0, 0, 0, 0]);
        lab.try_it(&format!("ICMP {kind}"), &frame, wrong);
        let mut later = frame.clone();
        later[21] = 1;
        lab.try_it(&format!("a later fragment, not ICMP {kind}"), &later, None);
    }
    for (kind, wrong) in [
        (134, ROGUE),
        (137, ROGUE),
        (128, None),
        (133, None),
        (143, None),
    ] {
        let frame = icmpv6(OWN, link_local(OWN), &[kind, 0, 0, 0, 0, 0, 0, 0]);
        lab.try_it(&format!("ICMPv6 {kind}"), &frame, wrong);
    }
}

#[test]
fn a_router_does_not_hide_behind_ipv6_headers() {
    let (mut lab, _) = lab();
    let advertisement: &[u8] = &[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    let echo: &[u8] = &[128, 0, 0, 0, 0, 1, 0, 1];
    let dhcp: &[u8] = &[0x02, 0x23, 0x02, 0x22, 0, 8, 0, 0];
    let last = |next| [next, 0, 1, 4, 0, 0, 0, 0];
    let further = last(60);
    let fragment = |next, flags| [next, 0, 0, flags, 0, 0, 0, 7];
    let chain = [&[further; 9].concat()[..], &last(58), advertisement].concat();
    for (what, next, payload, wrong) in [
        ("options", 60, [&last(58), advertisement].concat(), ROGUE),
        (
            "two headers",
            0,
            [&further, &last(58), advertisement].concat(),
            ROGUE,
        ),
        (
            "a routing header",
            43,
            [&last(58), advertisement].concat(),
            ROGUE,
        ),
        (
            "a first fragment",
            44,
            [&fragment(58, 1), advertisement].concat(),
            ROGUE,
        ),
        (
            "a fragment that ends before the message",
            44,
            [&fragment(60, 1)[..], &last(58)].concat(),
            ROGUE,
        ),
        (
            "a fragment that ends before the ports",
            44,
            [&fragment(60, 1)[..], &last(17)].concat(),
            ROGUE,
        ),
        (
            "a whole fragment",
            44,
            [&fragment(58, 0), advertisement].concat(),
            ROGUE,
        ),
        (
            "a later fragment",
            44,
            [&fragment(58, 9), advertisement].concat(),
            None,
        ),
        ("headers that do not end", 60, chain, ROGUE),
        ("headers cut short", 60, vec![58, 9, 0, 0], ROGUE),
        ("an echo request", 58, echo.to_vec(), None),
        (
            "an echo request behind options",
            60,
            [&last(58), echo].concat(),
            None,
        ),
        (
            "a DHCPv6 server behind options",
            60,
            [&last(17), dhcp].concat(),
            ROGUE,
        ),
        (
            "a DHCPv6 server in a first fragment",
            44,
            [&fragment(17, 1), dhcp].concat(),
            ROGUE,
        ),
    ] {
        lab.try_it(what, &ipv6(OWN, link_local(OWN), next, &payload), wrong);
    }
}
