// SPDX-License-Identifier: MIT
//! Nothing that a guest sends makes the switch panic, or say more than it may.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

fn some_address() -> impl Strategy<Value = Vec<u8>> {
    let which = prop::sample::select(vec![ADDRESS, OTHER, ELSEWHERE]);
    (which, any::<u32>()).prop_map(|(ip, seconds)| address(ip, seconds))
}

/// One that makes sense, and may be there several times.
fn good_option() -> impl Strategy<Value = Vec<u8>> {
    let inner = || prop::collection::vec(some_address(), 0..6);
    prop_oneof![
        (any::<u32>(), inner()).prop_map(|(id, inner)| ia(id, [1, 2], &inner)),
        inner().prop_map(|inner| option(4, &[&[0, 0, 0, 1][..], &inner.concat()].concat())),
        inner().prop_map(|inner| option(25, &[&[1; 12][..], &inner.concat()].concat())),
        prop::sample::select(vec![8u16, 14, 39, 999]).prop_map(|code| option(code, &[7; 3])),
    ]
}

fn any_option() -> impl Strategy<Value = Vec<u8>> {
    let codes = prop::sample::select(vec![1u16, 2, 3, 4, 5, 6, 8, 13, 14, 25, 39]);
    let any_bytes = prop::collection::vec(any::<u8>(), 0..60);
    (codes, any_bytes).prop_map(|(code, value)| option(code, &value))
}

prop_compose! {
    /// A message that may be right.
    fn question()(
        kind in 1..12u8,
        named in prop::bool::weighted(0.9),
        server_named in any::<bool>(),
        unicast in prop::bool::weighted(0.1),
        asked in prop::option::of(prop::collection::vec(any::<u16>(), 0..200)),
        good in prop::collection::vec(good_option(), 0..30),
        any in prop::option::weighted(0.2, any_option()),
    ) -> Message {
        let client = if named { client() } else { vec![] };
        let server = if server_named { server() } else { vec![] };
        let asked = asked.map_or(vec![], |codes| asks(&codes));
        let options = [client, server, asked, any.unwrap_or_default(), good.concat()];
        let question = message(kind, &options);
        if unicast { question.unicast() } else { question }
    }
}

/// More to say than fits.
fn long_lease() -> Lease6 {
    let options = (200..280u16).map(|code| (code, option(code, &[b'v'; 150]).into()));
    let addresses = (0..10).map(|n| Ipv6Addr::from_bits(ADDRESS.to_bits() + n));
    Lease6 {
        addresses: addresses.collect(),
        options: options.collect(),
        ..lease()
    }
}

/// Options of an answer, to the end.
#[track_caller]
fn codes(mut options: &[u8]) -> Vec<u16> {
    let mut codes = Vec::new();
    while !options.is_empty() {
        let number = |at: usize| u16::from_be_bytes([options[at], options[at + 1]]);
        codes.push(number(0));
        options = &options[4 + usize::from(number(2))..];
    }
    codes
}

#[test]
fn an_answer_is_well_formed_and_no_longer_than_it_may_be() {
    let labs = RefCell::new([lease(), long_lease()].map(|lease| lab(Some(&lease))));
    let answered = RefCell::new(0);
    let test = |question: Message| {
        for lab in labs.borrow_mut().iter_mut() {
            lab.inject(A, &question.frame());
            let out = lab.out(A);
            lab.balanced();
            prop_assert!(out.len() <= 1);
            let Some(told) = out
                .first()
                .filter(|told| told[6..12] == GATEWAY && told[20] == 17)
            else {
                continue;
            };
            *answered.borrow_mut() += 1;
            prop_assert!(told.len() <= 1280 + 14);
            let headers = etherparse::PacketHeaders::from_ethernet_slice(told).unwrap();
            let Some(etherparse::NetHeaders::Ipv6(ip, _)) = headers.net else {
                panic!("no IPv6");
            };
            let (udp, message) = (
                headers.transport.unwrap().udp().unwrap(),
                headers.payload.slice(),
            );
            prop_assert_eq!(udp.checksum, udp.calc_checksum_ipv6(&ip, message).unwrap());
            prop_assert_eq!(usize::from(ip.payload_length), told.len() - 54);
            prop_assert_eq!(&message[1..4], &[0xab, 0xcd, 0xef]);
            let codes = codes(&message[4..]);
            prop_assert!(codes.contains(&2), "{:?}", codes);
        }
        Ok(())
    };
    TestRunner::default().run(&question(), test).unwrap();
    assert!(answered.into_inner() > 50, "the test does not ask much");
}

#[test]
fn a_frame_with_any_bytes_changed_or_cut_is_accounted_for() {
    let lab = RefCell::new(lab(Some(&lease())));
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let changes = prop::collection::vec(change, 0..8);
    let cases = (question(), changes, any::<prop::sample::Index>());
    let test = |(question, changes, cut): (
        Message,
        Vec<(prop::sample::Index, u8)>,
        prop::sample::Index,
    )| {
        let (mut frame, mut lab) = (question.frame(), lab.borrow_mut());
        for (at, byte) in changes {
            // The guest's, not somebody else's: MACs stay.
            let at = 12 + at.index(frame.len() - 12);
            frame[at] = byte;
        }
        for frame in [&frame[..], &frame[..cut.index(frame.len())]] {
            lab.inject(A, frame);
            let _ = lab.out(A);
            lab.balanced();
        }
        Ok(())
    };
    TestRunner::default().run(&cases, test).unwrap();
}

#[test]
fn any_bytes_behind_headers_that_are_right_are_accounted_for() {
    let lab = RefCell::new(lab(Some(&lease())));
    let bytes = (1..14u8, prop::collection::vec(any::<u8>(), 0..700));
    let test = |(kind, bytes): (u8, Vec<u8>)| {
        let mut lab = lab.borrow_mut();
        for options in [bytes.clone(), [client(), server(), bytes].concat()] {
            lab.inject(A, &message(kind, &[options]).frame());
            let _ = lab.out(A);
            lab.balanced();
        }
        Ok(())
    };
    TestRunner::default().run(&bytes, test).unwrap();
}
