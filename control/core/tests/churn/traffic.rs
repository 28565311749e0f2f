// SPDX-License-Identifier: MIT
//! Sends numbered packets in and looks at what comes out.
//!
//! Packets go in by batches. The last packet of a batch at each port is a *probe*, to a destination that never changes:
//! ports are first in, first out, so once the probes are out, all of the batch is decided. A probe of a later batch that
//! was sent in after that comes out only when all of the earlier batch is out; what is not there then was dropped.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use vswitch::io::Frame;
use vswitch::io::memory::{MemoryFrame, Wire};

use super::Random;
use super::frames::{self, Flow, UPLINK, Way};
use super::history::{At, Clock, Moment, State};

/// Batches whose probes are on their way.
const WINDOW: usize = 4;

/// Most packets of a batch, without probes.
const BATCH: u64 = 48;

/// Longest way of a probe. What takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// A packet and its fate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) flow: u16,
    /// It was sent in after this.
    pub(super) injected: Moment,
    /// It was decided upon before this.
    pub(super) decided: Moment,
    /// Where it went.
    pub(super) fate: State,
}

struct Batch {
    first: u64,
    /// Numbers of the probes that are not out yet.
    probes: Vec<u64>,
    probed: Moment,
}

/// Where a frame leaves, and its bytes; `None`: nowhere.
type Output = Option<(u8, Vec<u8>)>;

pub(super) struct Traffic {
    clock: Clock,
    rx: Vec<Wire>,
    tx: Vec<Wire>,
    flows: Vec<Flow>,
    inputs: Vec<Vec<u8>>,
    /// Numbers of the flows that probes belong to, one per port that packets are sent in by.
    probes: Vec<u16>,
    outputs: HashMap<(u16, At), Output>,
    records: Vec<Record>,
    batches: VecDeque<Batch>,
    /// The last packet of each flow that came out by each port.
    order: HashMap<(u16, u8), u64>,
    /// What is wrong in itself, whatever the controller said.
    pub(super) failures: Vec<String>,
}

impl Traffic {
    /// `flows[probe]` for each of `probes` go to destinations that never change.
    pub(super) fn new(
        clock: Clock,
        rx: Vec<Wire>,
        tx: Vec<Wire>,
        flows: Vec<Flow>,
        probes: Vec<u16>,
    ) -> Self {
        Self {
            clock,
            rx,
            tx,
            inputs: flows.iter().map(Flow::input).collect(),
            flows,
            probes,
            outputs: HashMap::new(),
            records: Vec::new(),
            batches: VecDeque::new(),
            order: HashMap::new(),
            failures: Vec::new(),
        }
    }

    /// Sends packets of random flows until `enough`, and then until all are decided.
    pub(super) fn run(
        mut self,
        enough: impl Fn() -> bool,
        random: &mut Random,
    ) -> (Vec<Record>, Vec<String>) {
        while !enough() && self.failures.len() < 10 {
            let count = random.below(BATCH + 1);
            self.inject(|| random.below(1 << 16), count);
            self.collect();
        }
        let sent = self.records.len();
        for _ in 0..4 * WINDOW {
            self.inject(|| 0, 0);
            self.collect();
        }
        let decided = self
            .batches
            .front()
            .map_or(self.records.len(), |batch| batch.first as usize);
        assert!(decided >= sent);
        self.records.truncate(decided);
        (self.records, self.failures)
    }

    fn inject(&mut self, mut choose: impl FnMut() -> u64, count: u64) {
        let injected = self.clock.now();
        let first = self.records.len() as u64;
        for _ in 0..count {
            let flow = choose() % self.flows.len() as u64;
            self.send(flow as u16, injected);
        }
        let probes = self.probes.clone();
        let probes = probes
            .into_iter()
            .map(|flow| self.send(flow, injected))
            .collect();
        self.batches.push_back(Batch {
            first,
            probes,
            probed: 0,
        });
    }

    fn send(&mut self, flow: u16, injected: Moment) -> u64 {
        let number = self.records.len() as u64;
        let mut frame = MemoryFrame::new(&self.inputs[usize::from(flow)]);
        frames::set_number(frame.head_mut(), number);
        self.records.push(Record {
            flow,
            injected,
            decided: 0,
            fate: None,
        });
        let from = in_port(&self.flows[usize::from(flow)]);
        self.rx[usize::from(from)]
            .push(frame)
            .expect("the window is far smaller than the wire");
        number
    }

    /// Takes what has come out, until there is room for another batch.
    fn collect(&mut self) {
        let begun = Instant::now();
        loop {
            let waiting = |batch: &Batch| !batch.probes.is_empty();
            // What these prove to be decided is out; sweep before believing that it was dropped.
            let proven = self
                .batches
                .iter()
                .take_while(|batch| !waiting(batch))
                .count()
                .saturating_sub(WINDOW);
            self.sweep();
            for _ in 0..proven {
                self.close();
            }
            if self.batches.iter().filter(|batch| waiting(batch)).count() < WINDOW {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "a packet to a destination that never changes is lost; {:?}",
                self.failures
            );
            std::thread::yield_now();
        }
    }

    /// All of the oldest batch is out: what is not was dropped, before its probes came out.
    fn close(&mut self) {
        let Some(batch) = self.batches.pop_front() else {
            return;
        };
        let next = self
            .batches
            .front()
            .map_or(self.records.len(), |batch| batch.first as usize);
        for record in &mut self.records[batch.first as usize..next] {
            if record.decided == 0 {
                record.decided = batch.probed;
            }
        }
    }

    fn sweep(&mut self) {
        for port in 0..self.tx.len() {
            while let Some(frame) = self.tx[port].pop() {
                let now = self.clock.now();
                let number = self.arrived(port as u8, frame.head(), now);
                for batch in &mut self.batches {
                    if let Some(found) =
                        batch.probes.iter().position(|probe| Some(*probe) == number)
                    {
                        batch.probes.swap_remove(found);
                        batch.probed = now;
                    }
                }
            }
        }
    }

    /// Looks at a packet that came out. Its number, unless it has none.
    fn arrived(&mut self, port: u8, bytes: &[u8], now: Moment) -> Option<u64> {
        if frames::tells_of_a_drop(port, bytes) {
            return None;
        }
        let number = frames::number(bytes)?;
        let Some(record) = self.records.get_mut(number as usize) else {
            self.failures.push(format!(
                "nobody sent this, which left by port {port}: {bytes:02x?}"
            ));
            return None;
        };
        if record.decided != 0 {
            self.failures.push(format!(
                "came out twice, or after all later ones: {record:?}, by port {port}"
            ));
        }
        let flow = record.flow;
        let fate = frames::destination(port, bytes);
        (record.fate, record.decided) = (fate, now);
        let expected = fate.and_then(|fate| {
            let output = || self.flows[usize::from(flow)].output(fate);
            self.outputs
                .entry((flow, fate))
                .or_insert_with(output)
                .as_ref()
        });
        if expected.is_none_or(|expected| !frames::is(port, bytes.to_vec(), expected)) {
            let flow = &self.flows[usize::from(flow)];
            self.failures.push(format!(
                "{flow:?} came out by port {port} as {bytes:02x?}, not as {expected:02x?}"
            ));
        }
        let last = self.order.insert((flow, port), number);
        if last.is_some_and(|last| last >= number) {
            self.failures.push(format!(
                "{number} of flow {flow} came out by port {port} after {last:?}"
            ));
        }
        Some(number)
    }
}

/// The port that packets of the flow are sent in by.
fn in_port(flow: &Flow) -> u8 {
    match flow.way {
        Way::FromUnderlay(_) => UPLINK,
        _ => super::scene::SENDER,
    }
}
