// SPDX-License-Identifier: MIT
//! What is on the screen.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};

use super::{figures, later, sample};
use crate::cli::top::draw::{Notice, draw};
use crate::cli::top::figures::Figures;
use crate::cli::top::table::plain;
use crate::cli::top::view::View;

fn buffer(size: (u16, u16), view: &mut View, figures: Option<&Figures>, notice: &Notice) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    let drawn = terminal.draw(|frame| draw(frame, view, figures, notice));
    drawn.unwrap().buffer.clone()
}

/// Lines without the spaces at their ends.
fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    let line = |cells: &[ratatui::buffer::Cell]| {
        let symbols = cells.iter().map(|cell| cell.symbol());
        symbols.collect::<String>().trim_end().to_owned()
    };
    buffer.content.chunks(width).map(line).collect()
}

fn screen(size: (u16, u16), view: &mut View) -> Vec<String> {
    let figures = figures([sample(), later()]);
    lines(&buffer(size, view, figures.as_ref(), &Notice::None))
}

fn press(view: &mut View, keys: &str) {
    for key in keys.chars() {
        view.press(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE));
    }
}

#[test]
fn everything_fits_a_terminal_of_old() {
    let seen = screen((80, 24), &mut View::default());
    let expected = "\
Alkaid 1.2.3, DPDK 22.11, up 00:01:42, forwarding
rx 3.00M pps 1.54G bit/s   tx 3.00M pps 1.54G bit/s   drops 10/s
goal state: 12 resources programmed, 3 pending, 0 failed
ready
─ 1 Workers: 2 ─────────────────────────────────────────────────────────────────
worker  core  busy_%  cycles/packet  packets/burst  rx_pps  load
     0     4    25.0            167           32.0   3.00M  |||||
     1     5     0.0              -              -       0
━ 2 Ports: 3, by rate ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
port  device        role    link  rx_pps  rx_bit/s  tx_pps  tx_bit/s  drops/s  b
   1  net_vhost0    tenant  up     3.00M     1.54G       0         0       10  9
   0  0000:3b:00.0  uplink  up         0         0   3.00M     1.54G        0  -
   2  net_vhost1    tenant  down       0         0       0         0        0  9
─ 3 Drops: 2 ───────────────────────────────────────────────────────────────────
drops/s  total  reason     explanation
    9.5     20  rx_missed  Why: rx_missed.
    0.5     21  no_route   Why: no_route.";
    let body = seen[..17].join("\n");
    assert_eq!(body, expected, "\n{body}");
    assert_eq!(seen[17..23], [""; 6]);
    assert!(seen[23].starts_with("q end   Tab 1 2 3 table"));
}

#[test]
fn colours_mark_what_is_lost_and_what_is_down() {
    let figures = figures([sample(), later()]);
    let seen = buffer(
        (120, 24),
        &mut View::default(),
        figures.as_ref(),
        &Notice::None,
    );
    let styled = |wanted: fn(&ratatui::buffer::Cell) -> bool| {
        let rows = lines(&seen).into_iter().zip(seen.content.chunks(120));
        let marked = rows.map(|(_, cells)| {
            let marked = cells.iter().filter(|cell| wanted(cell));
            marked.map(|cell| cell.symbol()).collect::<String>()
        });
        let marked = marked.map(|text| text.trim().to_owned());
        marked.filter(|text| !text.is_empty()).collect::<Vec<_>>()
    };
    let red = styled(|cell| cell.fg == Color::Red);
    assert_eq!(red, ["10", "9.5", "0.5"]);
    let dim = styled(|cell| cell.modifier.contains(Modifier::DIM));
    let [port] = &dim[..] else { panic!("{dim:?}") };
    assert!(port.starts_with('2') && port.contains("down"), "{port}");
}

#[test]
fn ports_are_sorted_as_s_says_and_scrolled() {
    let (mut before, mut now) = (sample(), later());
    for number in 3..1024 {
        let mut port = before.ports[2].clone();
        port.port = number;
        before.ports.push(port.clone());
        port.dropped += u64::from(number);
        now.ports.push(port);
    }
    let figures = figures([before, now]);
    let mut view = View::default();
    let mut shown = |keys: &[KeyCode]| {
        for key in keys {
            view.press(KeyEvent::new(*key, KeyModifiers::NONE));
        }
        let seen = lines(&buffer(
            (100, 24),
            &mut view,
            figures.as_ref(),
            &Notice::None,
        ));
        let title = seen
            .iter()
            .position(|line| line.contains("2 Ports"))
            .unwrap();
        let title = seen[title].trim_matches(['━', ' ']).to_owned();
        let first = seen
            .iter()
            .skip_while(|line| !line.starts_with("port"))
            .nth(1);
        let number = first.unwrap().split_whitespace().next().unwrap().to_owned();
        (title, number)
    };
    let expect = |title: &str, port: &str| (title.to_owned(), port.to_owned());
    assert_eq!(shown(&[]), expect("2 Ports: 1-9 of 1024, by rate", "1"));
    assert_eq!(
        shown(&[KeyCode::Char('s')]),
        expect("2 Ports: 1-9 of 1024, by drops", "1023")
    );
    assert_eq!(
        shown(&[KeyCode::PageDown]),
        expect("2 Ports: 10-18 of 1024, by drops", "1014")
    );
    assert_eq!(
        shown(&[KeyCode::Char('s')]),
        expect("2 Ports: 10-18 of 1024, by number", "9")
    );
    assert_eq!(
        shown(&[KeyCode::End]),
        expect("2 Ports: 1016-1024 of 1024, by number", "1015")
    );
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let mut now = later();
    (now.forwarding, now.faults) = (false, vec!["a\u{1b}[2J".into(), "b".into()]);
    now.workers[1].standing_seconds = 12.3;
    let figures = figures([sample(), now]);
    let shown = |notice: &Notice| {
        lines(&buffer(
            (80, 24),
            &mut View::default(),
            figures.as_ref(),
            notice,
        ))
    };
    let seen = shown(&Notice::None);
    assert!(seen[0].ends_with("stopped"));
    assert_eq!(seen[3], "not ready: a\\u{1b}[2J; b");
    assert!(seen[7].ends_with("stands still 12 s"), "{}", seen[7]);
    let gone = Notice::Alarm("no answer for 5 s".to_owned());
    let seen = shown(&gone);
    assert_eq!(seen[3], "no answer for 5 s");
    assert!(seen[10].contains("3.00M"), "the last figures stay");
}

#[test]
fn before_there_are_rates_there_is_nothing_but_the_notice() {
    let seen = lines(&buffer(
        (80, 5),
        &mut View::default(),
        None,
        &Notice::Note("wait"),
    ));
    assert_eq!(seen[..4], ["wait", "", "", ""]);
}

#[test]
fn the_help_is_over_it_all_until_a_key() {
    let mut view = View::default();
    press(&mut view, "?");
    let seen = screen((100, 30), &mut view);
    assert!(seen.iter().any(|line| line.contains("sort ports by rate")));
    press(&mut view, "x");
    assert!(
        !screen((100, 30), &mut view)
            .iter()
            .any(|line| line.contains("sort ports by rate"))
    );
}

#[test]
fn no_size_is_too_small() {
    for (width, height) in [(1, 1), (3, 2), (20, 5), (80, 6), (5, 40), (300, 100)] {
        let mut view = View::default();
        for help in [false, true] {
            view.help = help;
            for focus in 0..3 {
                view.focus = focus;
                assert_eq!(
                    screen((width, height), &mut view).len(),
                    usize::from(height)
                );
            }
        }
    }
}

#[test]
fn once_is_plain_text_by_number_in_whole_numbers() {
    let text = plain(&figures([sample(), later()]).unwrap());
    assert_eq!(
        text,
        "\
Alkaid 1.2.3, DPDK 22.11, up 00:01:42, forwarding
rx 3000000 pps 1536000000 bit/s   tx 2999990 pps 1536000000 bit/s   drops 10/s
goal state: 12 resources programmed, 3 pending, 0 failed
ready

Workers: 2
worker  core  busy_%  cycles/packet  packets/burst   rx_pps  load
     0     4    25.0            167           32.0  3000000  |||||
     1     5     0.0              -              -        0

Ports: 3
port  device        role    link   rx_pps    rx_bit/s   tx_pps    tx_bit/s  drops/s  binding
   0  0000:3b:00.0  uplink  up          0           0  2999990  1536000000        0  -
   1  net_vhost0    tenant  up    3000000  1536000000        0           0       10  9a3c
   2  net_vhost1    tenant  down        0           0        0           0        0  9a3d

Drops: 2
drops/s  total  reason     explanation
     10     20  rx_missed  Why: rx_missed.
      0     21  no_route   Why: no_route.
"
    );
}
