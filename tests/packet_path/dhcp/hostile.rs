// SPDX-License-Identifier: MIT
//! Nothing that a guest sends makes the switch panic, or say more than it may.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;

fn option() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let code = prop_oneof![
        3 => prop::sample::select(vec![12, 50, 52, 53, 54, 55, 57, 61, 80, 82]),
        1 => 1..255u8, // neither padding nor end mark, which have no value
    ];
    let value = prop_oneof![
        prop::sample::select(vec![
            vec![],
            vec![1],
            vec![3],
            ADDRESS.octets().to_vec(),
            SERVER.octets().to_vec(),
            vec![2, 80]
        ]),
        prop::collection::vec(any::<u8>(), 0..255),
    ];
    (code, value)
}

prop_compose! {
    /// A message that may be right, with options that may be.
    fn question()(
        kind in 1..9u8,
        flags in any::<u16>(),
        ciaddr in prop::sample::select(vec![NOBODY, ADDRESS, SERVER]),
        options in prop::collection::vec(option(), 0..5),
    ) -> Message {
        let question = message(kind).ciaddr(ciaddr).with(|m| m.flags = flags);
        options.iter().fold(question, |question, (code, value)| question.option(*code, value))
    }
}

/// More to say than fits.
fn long_lease(mtu: u16) -> Lease {
    let options: Vec<_> = (200..240).map(|code| (code, &[b'v'; 150][..])).collect();
    lease_of(mtu, &options)
}

#[test]
fn a_frame_with_any_bytes_changed_or_cut_is_accounted_for() {
    let mut lab = lab(Some(&lease()));
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let changes = prop::collection::vec(change, 0..8);
    let cases = (question(), changes, any::<prop::sample::Index>());
    let test = |(question, changes, cut): (
        Message,
        Vec<(prop::sample::Index, u8)>,
        prop::sample::Index,
    )| {
        let mut frame = question.frame();
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
    let test = std::cell::RefCell::new(test);
    TestRunner::default()
        .run(&cases, |case| test.borrow_mut()(case))
        .unwrap();
}

#[test]
fn any_bytes_behind_headers_that_are_right_are_accounted_for() {
    let lab = std::cell::RefCell::new(lab(Some(&lease())));
    let bytes = prop::collection::vec(any::<u8>(), 0..700);
    let test = |bytes: Vec<u8>| {
        let mut frame = Vec::new();
        let headers = etherparse::PacketBuilder::ethernet2(GUEST.bytes(), [0xff; 6]);
        headers
            .ipv4([0; 4], [255; 4], 64)
            .udp(68, 67)
            .write(&mut frame, &bytes)
            .unwrap();
        let options = message(DISCOVER).with(|m| m.options.extend(&bytes)).frame();
        for frame in [frame, options] {
            let _ = lab.borrow_mut().asks(&frame);
        }
        Ok(())
    };
    TestRunner::default().run(&bytes, test).unwrap();
}

#[test]
fn an_answer_is_well_formed_and_no_longer_than_it_may_be() {
    let mtus = [576, 700, 1450, 9000];
    let labs = std::cell::RefCell::new(mtus.map(|mtu| (mtu, lab(Some(&long_lease(mtu))))));
    let test = |question: Message| {
        for (mtu, lab) in labs.borrow_mut().iter_mut() {
            let Ok(frame) = lab.asks(&question.frame()) else {
                continue;
            };
            let told = Told::read(&frame);
            let all = options(&[&question.options[..], &[255]].concat());
            // What is said in several options is one (RFC 3396 section 7).
            let parts = all.iter().filter(|option| option.0 == 57);
            let size: Vec<u8> = parts.flat_map(|option| option.1.to_vec()).collect();
            let taken = size.try_into().map_or(0, u16::from_be_bytes).max(576);
            prop_assert!(
                told.len <= usize::from(taken.min(*mtu).min(1500)),
                "{} of {taken}",
                told.len
            );
        }
        Ok(())
    };
    TestRunner::default().run(&question(), test).unwrap();
}
