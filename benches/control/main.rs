// SPDX-License-Identifier: MIT
//! What a controller's messages cost: `make bench-control`.
//!
//! The built switch runs with one worker on core 1, which encapsulates a recording as fast as it can, from net_pcap to
//! net_null. Core 0 has everything else: the switch's control side, and this client, which takes turns with it. So
//! besides the time that passes (`visible_s`, from the first message sent to the last reply, which says that the worker
//! sees it all) there is the time that the switch itself had the CPU for (`switch_cpu_s`: all its threads but the worker).
//!
//! What is sent is a dataset (`alkaid dataset`): all ports of one large VPC as neighbors, and the hundredth of them that
//! is on this host. Messages are read before the clock starts, and replies are decoded after it has stopped. The ports
//! have no device, so PENDING is their answer. Then single neighbors move to another host, one after the other: by calls
//! of their own, and by messages of one stream. Last, `lost` is all frames that came and did not leave, whatever the
//! reason; `slowdown_pct` compares the worker's rate meanwhile with before and after, each the median of short windows, and
//! counts only the time that it had its core, which other programs may use too.
//!
//! Asserts that every resource has an answer, never that it was fast. Environment: ALKAID (the program), NEIGHBORS (default
//! 1000000), RESERVE (`set neighbors reserve`; default 1048576, all that this switch may have; with 0 the kernel finds and
//! clears 320 bytes a neighbor meanwhile: next to nothing on metal, a second in a virtual machine whose host finds memory when
//! it is touched first, measured as 5.5 s for 2 GiB and 0.1 s for the same 2 GiB once more), PER_MESSAGE (default 10000),
//! SHAPE (dpm or test-controller), UPDATES (default 1000). Needs root, cores 0 and 1, and 512 MiB of huge pages, which it adds
//! and takes away again.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark ends where it fails"
)]

mod client;
mod machine;
#[path = "../../control/proto.rs"]
#[allow(dead_code, unused_imports, reason = "the program uses all of it")]
mod proto;
mod switch;
mod updates;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use prost::Message;

use client::Client;
use machine::HugePages;
use proto::schema::GoalStateV2;
use switch::{Sample, Switch, UNDERLAY};

const CONTROL_CORE: usize = 0;
const WORKER_CORE: usize = 1;

/// Huge pages of 2 MiB: mbufs and rings.
const PAGES: u64 = 256;

/// How long the worker's rate is measured, and how long each window is.
const CALM: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_millis(100);

/// Hosts of the dataset, of which the first is this one.
const HOSTS: u32 = 100;

fn setting(name: &str, default: u32) -> u32 {
    let text = std::env::var(name);
    text.map_or(default, |text| text.parse().expect(name))
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let (ports, neighbors) = dataset(&folder.path().join("set"));
    let pages = HugePages::add(PAGES);
    let switch = Switch::start(folder.path());
    // Only now: the switch would inherit it.
    core_affinity::set_for_current(core_affinity::CoreId { id: CONTROL_CORE });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(&switch, ports, neighbors));
    drop((switch, pages));
}

/// Makes a dataset and reads it: messages with ports, which come first, and messages with neighbors.
fn dataset(folder: &Path) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let count = setting("NEIGHBORS", 1_000_000);
    let per_message = setting("PER_MESSAGE", 10_000);
    let ports = count / HOSTS;
    assert!(
        ports.is_multiple_of(per_message.min(ports)),
        "a message would have ports and neighbors: take another PER_MESSAGE"
    );
    let shape = std::env::var("SHAPE").unwrap_or_else(|_| "dpm".to_owned());
    let arguments = format!(
        "dataset --vpcs 1 --subnets 1 --hosts {HOSTS} --host 0 --ports {count} --underlay {UNDERLAY} --shape {shape} \
         --per-message {} --output",
        per_message.min(ports)
    );
    switch::run(
        arguments
            .split(' ')
            .map(str::to_owned)
            .chain([folder.to_str().unwrap().to_owned()]),
    );
    let mut files: Vec<_> = (std::fs::read_dir(folder.join("host-000000")).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut messages: Vec<_> = files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect();
    let neighbors = messages.split_off(ports.div_ceil(per_message) as usize);
    (messages, neighbors)
}

async fn measure(switch: &Switch, ports: Vec<Vec<u8>>, neighbors: Vec<Vec<u8>>) {
    let client = Client::connect(switch.southbound).await;
    let moves = updates::moves(&neighbors, setting("UPDATES", 1_000) as usize);
    let mut lines = vec![
        load("neighbors", switch, &client, neighbors).await,
        load("ports", switch, &client, ports).await,
    ];
    for call in [updates::Call::Unary, updates::Call::Stream] {
        lines.push(updates::measure(switch, &client, &moves, call).await);
    }
    println!();
    for line in lines {
        println!("control: {line}");
    }
}

/// Sends messages by one stream, and says what that took.
async fn load(what: &str, switch: &Switch, client: &Client, messages: Vec<Vec<u8>>) -> Line {
    let (count, bytes) = (messages.len(), messages.iter().map(Vec::len).sum::<usize>());
    // No message has both.
    let of = |message: &Vec<u8>| {
        let goal = GoalStateV2::decode(message.as_slice()).unwrap();
        goal.port_states.len() + goal.neighbor_states.len()
    };
    let expected: usize = messages.iter().map(of).sum();
    let before = switch.calm().await;
    let memory = switch.resident_mb();
    let (cpu, own) = (switch.cpu(), machine::own_cpu());
    let watch = switch.watch();
    let outcome = client.stream(messages).await;
    let meanwhile = watch.end().await;
    let (cpu, own) = (switch.cpu() - cpu, machine::own_cpu() - own);
    let memory_after = switch.resident_mb();
    let after = switch.calm().await;
    let statuses = outcome.statuses();
    let kind = what.trim_end_matches('s').to_uppercase();
    let resources: usize = (statuses.iter().filter(|((of, _), _)| *of == kind))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(resources, expected, "answers for {what}: {statuses:?}");
    let mut line = Line::default();
    line.add(what, resources);
    line.add("visible_s", format_args!("{:.2}", outcome.seconds));
    line.add("lost", switch.lost().await);
    line.add("slowdown_pct", slowdown(&before, &meanwhile, &after));
    line.add(
        "mpps",
        rate(&[&before, &after]).map_or(0.0, |rate| (rate / 1e5).round() / 10.0),
    );
    line.add("switch_cpu_s", format_args!("{:.2}", cpu.as_secs_f64()));
    line.add("client_cpu_s", format_args!("{:.2}", own.as_secs_f64()));
    line.add("resident_mb", memory_after);
    line.add("added_mb", memory_after.saturating_sub(memory));
    line.add("messages", count);
    line.add("mb", bytes / 1_000_000);
    line.add("answers", answers(&statuses, &kind));
    line
}

/// Statuses of one kind of resource, as in `SUCCESS:999,PENDING:1`.
fn answers(statuses: &BTreeMap<(String, String), usize>, kind: &str) -> String {
    let of_kind = statuses.iter().filter(|((of, _), _)| of == kind);
    let texts = of_kind.map(|((_, status), count)| format!("{status}:{count}"));
    texts.collect::<Vec<_>>().join(",")
}

/// How much slower the worker was, in percent.
fn slowdown(before: &[Sample], meanwhile: &[Sample], after: &[Sample]) -> String {
    match (rate(&[before, after]), rate(&[meanwhile])) {
        (Some(calm), Some(busy)) => format!("{:.1}", 100.0 * (1.0 - busy / calm)),
        _ => "unknown".to_owned(), // over before two samples were taken
    }
}

/// The worker's rate: the median of all windows, packets per second.
fn rate(phases: &[&[Sample]]) -> Option<f64> {
    let windows = phases.iter().flat_map(|samples| samples.windows(2));
    let mut rates: Vec<f64> = windows.map(|pair| pair[1].rate_since(&pair[0])).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied()
}

/// A line of results: names and values.
#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    fn add(&mut self, name: &str, value: impl Display) {
        self.0.push(format!("{name}={value}"));
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}
