// SPDX-License-Identifier: MIT
use super::*;
use crate::io::memory::MemoryFrame;

fn port(id: u16) -> PortId {
    PortId::new(id).unwrap()
}

fn frames(lens: impl IntoIterator<Item = usize>) -> Frames<MemoryFrame> {
    let frames = lens
        .into_iter()
        .map(|len| MemoryFrame::new(&vec![len as u8; len]));
    frames.collect()
}

/// What was seen since: port, event, length of the frame and of the copy.
fn all(capture: &Capture, number: u32) -> Vec<(u16, Event, u32, usize)> {
    let all = std::iter::from_fn(|| capture.next(number));
    let all = all.map(|seen| {
        assert!(seen.bytes.iter().all(|byte| *byte == seen.len as u8));
        (seen.port.get(), seen.event, seen.len, seen.bytes.len())
    });
    all.collect()
}

#[test]
fn nothing_is_copied_before_anybody_wants_it_and_after() {
    let capture = Capture::default();
    let wanted = |capture: &Capture| {
        [
            capture.wants_received(),
            capture.wants_sent(),
            capture.wants_dropped(),
        ]
    };
    assert_eq!(wanted(&capture), [false; 3]);
    capture.copy_received(&frames([60]), |_| port(1));
    assert_eq!(capture.next(0), None);
    capture.start(
        1,
        &Wanted {
            sent: false,
            ..Wanted::ALL
        },
    );
    assert_eq!(wanted(&capture), [true, false, true]);
    capture.stop();
    assert_eq!(wanted(&capture), [false; 3]);
}

#[test]
fn frames_are_seen_of_the_ports_and_for_the_reasons_that_are_wanted_and_cut() {
    let capture = Capture::default();
    let wanted = Wanted {
        ports: [port(1), port(31)].into_iter().collect(),
        dropped: 1 << DropReason::NoRoute as u8,
        snaplen: 61,
        ..Wanted::ALL
    };
    capture.start(7, &wanted);
    let arrived = frames([60, 61, 62, 63]);
    let by_len = |frame: &MemoryFrame| port(frame.len() as u16 % 2 * 31);
    capture.copy_received(&arrived, by_len);
    capture.copy_dropped(port(1), DropReason::NoRoute, &arrived[3]);
    capture.copy_dropped(port(1), DropReason::TxFull, &arrived[0]);
    capture.copy_dropped(port(2), DropReason::NoRoute, &arrived[0]);
    let expected = [
        (31, Event::Received, 61, 61),
        (31, Event::Received, 63, 61),
        (1, Event::Dropped(DropReason::NoRoute), 63, 61),
    ];
    assert_eq!(all(&capture, 7), expected);
    assert_eq!(
        PortId::all().map(|port| capture.missed(port)).sum::<u64>(),
        0
    );
}

#[test]
fn of_frames_that_were_to_leave_those_are_seen_that_left() {
    let capture = Capture::default();
    capture.start(1, &Wanted::ALL);
    let send = |count: usize| {
        move |frames: &mut Frames<MemoryFrame>| {
            frames.drain(..count);
            count
        }
    };
    let mut leaving = frames([60, 61, 62]);
    assert_eq!(capture.copy_sent(&mut leaving, port(3), send(2)), 2);
    assert_eq!(leaving.len(), 1);
    assert_eq!(capture.copy_sent(&mut leaving, port(3), send(0)), 0);
    let expected = [(3, Event::Sent, 60, 60), (3, Event::Sent, 61, 61)];
    assert_eq!(all(&capture, 1), expected);
    assert_eq!(capture.copy_sent(&mut leaving, port(4), send(1)), 1);
    assert_eq!(all(&capture, 1), [(4, Event::Sent, 62, 62)]);
}

#[test]
fn a_sketch_is_seen_if_the_frame_is_dropped_and_as_it_was() {
    let capture = Capture::default();
    capture.start(1, &Wanted::ALL);
    let mut frame = frames([80]).remove(0);
    assert!(capture.sketch(port(1), &frame).is_some()); // and the frame is not dropped
    let sketch = capture.sketch(port(1), &frame).unwrap();
    frame.head_mut().fill(0);
    sketch.drop_for(DropReason::TtlExpired);
    let expected = (1, Event::Dropped(DropReason::TtlExpired), 80, 80);
    assert_eq!(all(&capture, 1), [expected]);
}

#[test]
fn what_was_copied_for_another_is_not_seen() {
    let capture = Capture::default();
    capture.start(1, &Wanted::ALL);
    capture.copy_received(&frames([60]), |_| port(1));
    capture.start(2, &Wanted::ALL);
    assert_eq!(all(&capture, 2), []);
    capture.copy_received(&frames([61]), |_| port(1));
    assert_eq!(all(&capture, 3), []);
    assert_eq!(all(&capture, 2), []); // it was dropped as another's
}

#[test]
fn what_there_is_no_room_for_is_missed_and_what_was_seen_is_whole() {
    let capture = Capture::default();
    capture.start(1, &Wanted::ALL);
    let arrived = frames(std::iter::repeat_n(1500, MAX_BURST));
    let mut seen = 0;
    for _ in 0..100 {
        capture.copy_received(&arrived, |_| port(5));
    }
    capture.copy_dropped(port(6), DropReason::NoRoute, &arrived[0]);
    assert_eq!(capture.missed(port(6)), 1);
    let sent = capture.copy_sent(&mut arrived.clone(), port(7), |frames| {
        frames.clear();
        MAX_BURST
    });
    assert_eq!(
        (sent, capture.missed(port(7))),
        (MAX_BURST, MAX_BURST as u64)
    );
    while let Some(frame) = capture.next(1) {
        assert_eq!(
            (frame.port, frame.len, frame.bytes.len()),
            (port(5), 1500, 1500)
        );
        seen += 1;
    }
    // 191 words each.
    assert_eq!(seen, RING as u64 / (3 + 1500u64.div_ceil(8)));
    assert_eq!(seen + capture.missed(port(5)), 100 * MAX_BURST as u64);
    capture.copy_received(&frames([60]), |_| port(5));
    assert_eq!(all(&capture, 1), [(5, Event::Received, 60, 60)]);
}
