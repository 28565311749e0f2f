// SPDX-License-Identifier: MIT
//! Metrics are what their documentation and the dashboard say, and of the formats that Prometheus reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use vswitch::counters::{DROP_REASONS, DropReason, PortTotals};
use vswitch::dpdk::PortStats;
use vswitch::tables::PortId;
use vswitch::tables::snapshot::tables;

use super::ask;
use super::collect::{PortSeen, ProcessSeen, Seen, WorkerSeen};
use super::health::Health;
use super::sample::reply;
use super::text::write;
use crate::core::{Core, Figures, Kept, Replies, Request, Site, channel};
use crate::ondemand::engine::Figures as OnDemand;
use crate::program::census::{Census, Count, KINDS};
use crate::proto::schema::GoalStateOperationReply;
use crate::proto::schema::goal_state_operation_reply::GoalStateOperationStatus;
use crate::underlay::Asked;

const PAGE: &str = include_str!("../../docs/metrics.md");
const DASHBOARD: &str = include_str!("../../packaging/grafana/alkaid.json");
const ALERTS: &str = include_str!("../../packaging/prometheus/alkaid.rules.yml");

/// A switch that has everything: a guest's port with some packets, an uplink, a worker.
fn seen() -> Seen {
    let uplink = PortId::new(0).unwrap();
    let mut totals = PortTotals {
        rx: 7,
        ..PortTotals::default()
    };
    totals.drops[DropReason::NoRoute as usize] = 3;
    let port = |labels: [&str; 3], role, vni: &str, uplink| PortSeen {
        port: PortId::new(labels[0].parse().unwrap()).unwrap(),
        labels: labels.map(str::to_owned),
        uplink,
        role,
        vni: vni.to_owned(),
        mac: "02:00:00:00:00:01".to_owned(),
        up: true,
        totals,
        device: Some(PortStats::default()),
    };
    let census = Census {
        resources: [Count::default(); KINDS.len()],
        vnis: vec![(uplink, 7)],
        ..Census::default()
    };
    Seen {
        uptime: Duration::from_millis(1500),
        cycles_hz: 2_000_000_000,
        ports: vec![
            port(["0", "net_pcap0", ""], "uplink", "", Some(uplink)),
            port(["1", "net_vhost0", "a\"b\\c\n"], "tenant", "7", None),
        ],
        workers: vec![WorkerSeen {
            core: 1,
            labels: ["0", "1"].map(str::to_owned),
            busy_seconds: 1.5,
            asleep_seconds: 0.25,
            idle_seconds: 0.25,
            polls: 100,
            idle_polls: 90,
            bursts: [4, 0, 3, 0, 2, 0, 1],
            frames: 110,
            standing_seconds: 0.0,
        }],
        forwarding: true,
        drops: vec![1; DROP_REASONS],
        figures: Some(Figures {
            census: Arc::new(census),
            memory: tables(None, 10).0.memory(),
            stuck: Vec::new(),
            late: 0,
            kept: Some(Kept {
                queued_bytes: 12,
                keeps: true,
            }),
        }),
        queued: 0,
        on_demand: Some(OnDemand::default()),
        underlay: vec![Asked {
            uplink,
            known: 2,
            silent: 1,
            used: true,
        }],
        buffers: (3, 5),
        process: Some(ProcessSeen {
            cpu_seconds: 1.0,
            start_seconds: 2.0,
            resident_bytes: 3,
            virtual_bytes: 4,
            open_fds: 5,
            threads: 6,
        }),
        health: Health::of(&[]),
        dpdk: "DPDK 1.2.3".to_owned(),
    }
}

/// Replies of one goal state with a VPC and two subnets.
fn replies() -> Replies {
    let status = |kind| GoalStateOperationStatus {
        resource_type: kind,
        operation_status: 0,
        state_elapse_time: 700,
        ..GoalStateOperationStatus::default()
    };
    let reply = GoalStateOperationReply {
        operation_statuses: [0, 1, 1].map(status).to_vec(),
        message_total_operation_time: 900,
        ..GoalStateOperationReply::default()
    };
    let replies = Replies::default();
    replies.note(&reply, true);
    replies.note(&reply, false);
    replies
}

/// Prometheus' own format, parsed: types by metric, and values by metric with labels.
fn parse(text: &str) -> (BTreeMap<&str, &str>, BTreeMap<&str, f64>) {
    let (mut types, mut values) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines().filter(|line| !line.starts_with("# HELP ")) {
        if let Some(line) = line.strip_prefix("# TYPE ") {
            let (name, kind) = line.split_once(' ').unwrap();
            assert!(types.insert(name, kind).is_none(), "{name} is there twice");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value = value.parse().unwrap();
        assert!(values.insert(series, value).is_none(), "{series} twice");
    }
    (types, values)
}

/// Names of metrics in a text, as exported: a histogram's without `_bucket`, `_sum` and `_count`.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("alkaid_") || word.starts_with("process_"));
    let base = |word: &str| {
        let ends = ["_bucket", "_sum", "_count"].iter();
        let mut bases = ends.filter_map(|end| word.strip_suffix(end));
        bases.next().unwrap_or(word).to_owned()
    };
    ours.map(base).collect()
}

#[test]
fn the_page_lists_all_metrics_with_their_types_and_no_others() {
    let text = write(seen(), &replies(), false).unwrap();
    let (types, _) = parse(&text);
    let exported: BTreeMap<_, _> = types.into_iter().collect();
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.map(|row| {
        let (name, rest) = row.split_once('`').unwrap();
        let mut cells = rest.split('|').skip(1).map(str::trim);
        (name, cells.next().unwrap())
    });
    let listed: BTreeMap<_, _> = rows.filter(|(name, _)| !name.starts_with('/')).collect();
    assert_eq!(listed, exported);
}

#[test]
fn dashboard_and_alerts_use_metrics_that_are_exported() {
    let text = write(seen(), &replies(), false).unwrap();
    let exported: BTreeSet<_> = parse(&text).0.into_keys().map(str::to_owned).collect();
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array());
    let expressions = targets.flatten().map(|target| target["expr"].as_str());
    let expressions: Vec<_> = expressions.map(Option::unwrap).collect();
    assert!(expressions.len() > 10);
    for (text, least) in [(expressions.join("\n"), 10), (ALERTS.to_owned(), 5)] {
        let used = named(&text);
        assert!(used.len() > least, "{used:?}");
        let unknown: Vec<_> = used.difference(&exported).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

#[test]
fn values_are_under_their_labels() {
    let text = write(seen(), &replies(), false).unwrap();
    let (_, values) = parse(&text);
    let guest = r#"port="1",name="net_vhost0",binding="a\"b\\c\n""#;
    for (series, value) in [
        (format!("alkaid_port_rx_packets_total{{{guest}}}"), 7.0),
        (
            format!("alkaid_port_drops_total{{{guest},reason=\"no_route\"}}"),
            3.0,
        ),
        (
            format!(
                "alkaid_port_info{{{guest},role=\"tenant\",vni=\"7\",mac=\"02:00:00:00:00:01\"}}"
            ),
            1.0,
        ),
        (
            r#"alkaid_worker_busy_seconds_total{worker="0",core="1"}"#.to_owned(),
            1.5,
        ),
        (
            r#"alkaid_worker_burst_packets_bucket{worker="0",core="1",le="4"}"#.to_owned(),
            7.0,
        ),
        (
            r#"alkaid_worker_burst_packets_bucket{worker="0",core="1",le="+Inf"}"#.to_owned(),
            10.0,
        ),
        (
            r#"alkaid_worker_burst_packets_sum{worker="0",core="1"}"#.to_owned(),
            110.0,
        ),
        (
            r#"alkaid_goal_state_seconds_count{kind="subnet"}"#.to_owned(),
            1.0,
        ),
        (
            r#"alkaid_goal_state_seconds_bucket{kind="vpc",le="0.0005"}"#.to_owned(),
            0.0,
        ),
        (
            r#"alkaid_goal_state_seconds_bucket{kind="vpc",le="0.001"}"#.to_owned(),
            1.0,
        ),
        (
            r#"alkaid_goal_state_statuses_total{kind="subnet",status="SUCCESS"}"#.to_owned(),
            4.0,
        ),
        ("alkaid_goal_state_unseen_total".to_owned(), 1.0),
        ("alkaid_store_queued_bytes".to_owned(), 12.0),
        (
            r#"alkaid_underlay_neighbors{port="0",state="silent"}"#.to_owned(),
            1.0,
        ),
    ] {
        assert_eq!(values.get(&*series), Some(&value), "{series}");
    }
}

#[test]
fn openmetrics_has_the_same_series_and_ends_as_it_must() {
    let both = [false, true].map(|open| write(seen(), &replies(), open).unwrap());
    assert!(both[1].ends_with("# EOF\n"));
    let series = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let names = lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned());
        names.collect::<BTreeSet<_>>()
    };
    assert_eq!(series(&both[0]), series(&both[1]));
    // A counter is declared without its ending there (OpenMetrics 1.0, section 5.2).
    assert!(both[1].contains("# TYPE alkaid_drops counter\n"));
    assert!(both[0].contains("# TYPE alkaid_drops_total counter\n"));
}

#[test]
fn the_number_of_series_is_bounded_by_that_of_ports() {
    let mut many = seen();
    let text = |seen| {
        let text = write(seen, &replies(), false).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).count()
    };
    let few = text(seen());
    while many.ports.len() < vswitch::tables::MAX_PORTS {
        many.ports.push(seen().ports.remove(1));
    }
    let per_port = DROP_REASONS + 19;
    assert!(text(many) <= few + (vswitch::tables::MAX_PORTS - 2) * per_port);
    assert!(few - 2 * per_port < 200, "{few}");
}

#[test]
fn a_sample_tells_what_is_lost_in_stages_and_in_devices() {
    let mut seen = seen();
    seen.drops = vec![0; DROP_REASONS];
    seen.drops[DropReason::NoRoute as usize] = 6;
    seen.health = Health::of(&["ports"]);
    let [uplink, subport] = &mut seen.ports[..] else {
        panic!("{seen:?}")
    };
    uplink.device = Some(PortStats {
        rx_missed: 5,
        tx_errors: 1,
        tx_unsendable: 1,
        ..PortStats::default()
    });
    (subport.device, subport.totals.unsent) = (None, 4);
    let sample = reply(&seen);
    let lost = sample.drops.iter().map(|it| (&*it.reason, it.packets));
    let expected = [
        ("no_route", 6),
        ("rx_missed", 5),
        ("tx_errors", 2),
        ("tx_unsent", 4),
    ];
    assert_eq!(lost.collect::<Vec<_>>(), expected);
    assert!(sample.drops.iter().all(|it| it.explanation.ends_with('.')));
    let ports = sample.ports.iter();
    let ports: Vec<_> = ports
        .map(|it| (it.port, &*it.role, it.up, it.dropped))
        .collect();
    let expected = [(0, "uplink", true, 3 + 5 + 2), (1, "tenant", true, 3 + 4)];
    assert_eq!(ports, expected);
    let [worker] = &sample.workers[..] else {
        panic!("{sample:?}")
    };
    assert_eq!((worker.core, worker.packets, worker.bursts), (1, 110, 10));
    assert_eq!(
        (sample.uptime_seconds, sample.faults),
        (1.5, vec!["why".to_owned()])
    );
}

#[test]
fn what_is_ready_lives_and_what_lives_may_not_be_ready() {
    let rows = |health: &Health, ready| health.answer(ready);
    for (failing, live, ready) in [
        (&[][..], true, true),
        (&["ports"], true, false),
        (&["control"], false, false),
    ] {
        let health = Health::of(failing);
        assert_eq!((health.is_live(), health.is_ready()), (live, ready));
        let (ok, body) = rows(&health, true);
        assert_eq!(
            (ok, &body["status"]),
            (ready, &[if ready { "ok" } else { "failing" }][0].into())
        );
        assert_eq!(body["checks"].as_array().unwrap().len(), 5);
        let (ok, body) = rows(&health, false);
        assert_eq!(ok, live);
        assert_eq!(body["checks"].as_array().unwrap().len(), 1);
        for check in health.rows().as_array().unwrap() {
            let fails = failing.contains(&check["check"].as_str().unwrap());
            assert_eq!(check["ok"] == "no", fails);
            assert_eq!(check["reason"] != "", fails);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_thread_works_while_it_takes_what_came_before() {
    let (core, mut requests) = channel();
    let patience = Duration::from_millis(300);
    for _ in 0..32 {
        core.end_resync().await.unwrap();
    }
    let busy = thread::spawn(move || {
        while let Ok(Request::EndResync) = requests.now() {
            thread::sleep(Duration::from_millis(50));
        }
        requests
    });
    let (figures, works) = ask(&core, patience).await;
    assert!(figures.is_none() && works, "it is behind");
    let requests = busy.join().unwrap();
    let (figures, works) = ask(&core, patience).await;
    assert!(figures.is_none() && !works, "it does nothing");
    let answers = thread::spawn(move || {
        let (writer, _) = tables(None, 10);
        Core::new(Site::default(), writer).run(requests);
    });
    let (figures, works) = ask(&core, Duration::from_secs(60)).await;
    assert!(figures.is_some() && works);
    drop(core);
    answers.join().unwrap();
}
