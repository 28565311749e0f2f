// SPDX-License-Identifier: MIT
//! Rates of samples.

use super::{drops, figures, later, sample};
use crate::cli::top::figures::{Figures, Port, Rate};

fn rate(packets: f64, bits: f64) -> Rate {
    Rate { packets, bits }
}

#[test]
fn rates_are_per_second_of_the_switchs_clock() {
    let figures = figures([sample(), later()]).unwrap();
    let sent = rate(2_999_990.0, 3_000_000.0 * 512.0);
    let received = rate(3_000_000.0, 3_000_000.0 * 512.0);
    assert_eq!((figures.rx, figures.tx), (received, sent));
    assert_eq!(figures.dropped, 10.0);
    let port = |port: &Port| (port.rx, port.tx, port.dropped);
    let none = Rate::default();
    let ports: Vec<_> = figures.ports.iter().map(port).collect();
    let expected = [(none, sent, 0.0), (received, none, 10.0), (none, none, 0.0)];
    assert_eq!(ports, expected);
    let [busy, idle] = &figures.workers[..] else {
        panic!("{figures:?}")
    };
    assert_eq!((busy.busy, busy.packets), (0.25, 3_000_000.0));
    assert_eq!(busy.burst, Some(32.0));
    assert_eq!(busy.cycles, Some(0.5 * 2e9 / 6e6));
    assert_eq!((idle.busy, idle.packets), (0.0, 0.0));
    assert_eq!((idle.burst, idle.cycles), (None, None));
}

#[test]
fn what_is_lost_most_now_comes_first_and_a_new_reason_counts_from_zero() {
    let mut now = later();
    now.drops.push(drops("tx_full", 4));
    let figures = figures([sample(), now]).unwrap();
    let rows = figures.drops.iter();
    let rows: Vec<_> = rows.map(|it| (&*it.reason, it.rate, it.total)).collect();
    let expected = [
        ("rx_missed", 9.5, 20),
        ("tx_full", 2.0, 4),
        ("no_route", 0.5, 21),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_counter_that_went_back_has_no_rate() {
    let mut cleared = later();
    cleared.ports.iter_mut().for_each(|port| {
        (port.rx_packets, port.rx_bytes, port.dropped) = (3, 192, 0);
        (port.tx_packets, port.tx_bytes) = (0, 0);
    });
    cleared.workers.iter_mut().for_each(|worker| {
        (worker.busy_seconds, worker.packets, worker.bursts) = (0.0, 0, 0);
    });
    cleared.drops = vec![drops("no_route", 0)];
    let figures = figures([sample(), cleared]).unwrap();
    assert_eq!(
        (figures.rx, figures.tx, figures.dropped),
        (Rate::default(), Rate::default(), 0.0)
    );
    assert!(
        figures
            .ports
            .iter()
            .all(|port| port.rx == Rate::default() && port.dropped == 0.0)
    );
    assert!(
        figures
            .workers
            .iter()
            .all(|it| it.busy == 0.0 && it.cycles.is_none())
    );
}

#[test]
fn a_port_that_is_new_begins_with_zero_also_by_an_old_number() {
    let mut now = later();
    now.ports[2].device = "net_tap9".to_owned();
    now.ports[2].rx_packets += 1_000_000;
    let mut more = now.ports[2].clone();
    more.port = 3;
    now.ports.push(more);
    let figures = figures([sample(), now]).unwrap();
    assert_eq!(figures.ports.len(), 4);
    assert_eq!(figures.ports[2].rx, Rate::default());
    assert_eq!(figures.ports[3].rx, Rate::default());
}

#[test]
fn a_first_sample_has_no_rates_also_of_a_switch_that_was_restarted() {
    assert_eq!(figures([sample()]), None);
    let again = |pid, uptime_seconds| {
        let mut again = later();
        (again.pid, again.uptime_seconds) = (pid, uptime_seconds);
        again
    };
    assert_eq!(
        figures([sample(), again(78, 102.0)]),
        None,
        "another process"
    );
    assert_eq!(
        figures([sample(), again(77, 3.0)]),
        None,
        "a younger one by the same number"
    );
    assert_eq!(
        figures([sample(), again(77, 100.0)]),
        None,
        "no time passed"
    );
    let rx = |figures: Option<Figures>| figures.map(|figures| figures.rx);
    let restarted = [sample(), again(78, 3.0), again(78, 4.0)];
    assert_eq!(rx(figures(restarted)), Some(Rate::default()));
}
