// SPDX-License-Identifier: MIT
//! Between workers that look and workers that do not.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use vswitch::counters::{DropReason, total};
use vswitch::io::memory::{MemoryFrame, MemoryRx, MemoryTx, Wire, wire};
use vswitch::stage::punt::Sought;
use vswitch::stage::transmit::Link;
use vswitch::tables::snapshot::{Writer, tables};
use vswitch::tables::{
    Attachment, DomainId, Hop, Neighbor, PortId, Role, RouteTable, TenantPort, VpcId,
};
use vswitch::wire::{Mac, Vni};
use vswitch::worker::Worker;

use super::*;
use crate::core::{Request, Requests, channel};

const GUEST: PortId = PortId::new(1).unwrap();
const OTHER: PortId = PortId::new(2).unwrap();
const DOMAIN: DomainId = DomainId(NonZeroU16::MIN);
const THERE: Mac = Mac::new([2, 0, 0, 0, 0, 9]);

struct Lab {
    desk: Desk<MemoryFrame>,
    shared: Arc<Shared<MemoryFrame>>,
    writer: Writer,
    worker: Worker<MemoryRx, MemoryTx>,
    rx: Wire,
    tx: Wire,
    counters: [Arc<WorkerCounters>; 2],
    calls: mpsc::Receiver<Call>,
    requests: Requests,
    begun: Instant,
}

impl Lab {
    /// A guest at port 1, and another to send to at port 2, of whom nobody knows yet.
    fn new() -> Self {
        let (mut writer, registrar) = tables(None, 1 << 13);
        let vni = Vni::new(7).unwrap();
        let attachment = Attachment {
            vni,
            domain: DOMAIN,
            vpc: VpcId(NonZeroU16::MIN),
            cidr: "10.7.0.0/16".parse().unwrap(),
            gateway_mac: None,
            gateway_ip: None,
            gateways: [].into(),
            host_dvr_mac: None,
            routes: Arc::new(RouteTable::empty()),
            advertisement: Arc::default(),
            group: None,
            replication: None,
        };
        for port in [GUEST, OTHER] {
            let guest = TenantPort {
                mac: Mac::new([2, 0, 0, 0, 0, port.get() as u8]),
                admin_up: true,
                takes_tags: false,
                guard: None,
                lease: None,
                lease6: None,
                attachments: [attachment.clone()].into_iter().collect(),
            };
            writer.set_role(port, Role::Tenant(guest.into()));
        }
        let commit = writer.commit();
        assert!(writer.settled(&commit));
        let counters = [(); 2].map(|()| Arc::new(WorkerCounters::default()));
        let reader = registrar.reader("worker").unwrap();
        let mut worker = Worker::new(reader, Arc::clone(&counters[0]), 32);
        let queues = Arc::<PuntQueues<MemoryFrame>>::default();
        worker.punt_to(Arc::clone(&queues));
        let (rx, tx) = (wire(2048), wire(2048));
        worker.add_port(GUEST, vec![MemoryRx(Arc::clone(&rx))], None);
        let link = Link::Own(MemoryTx(Arc::clone(&tx)));
        worker.add_port(OTHER, Vec::new(), Some(link));
        let limits = Limits {
            hold: Duration::from_secs(2),
            rate: 1_000_000,
            negative: Duration::from_secs(1),
            frames: 8 * PUNT_CAPACITY * 2,
        };
        let (sender, calls) = mpsc::channel(4);
        let (core, requests) = channel();
        let tables = registrar.reader("on-demand").unwrap();
        let own = Arc::clone(&counters[1]);
        let idle = Duration::from_secs(60);
        let desk = Desk::new(limits, idle, vec![queues], tables, own, sender, core);
        Self {
            shared: desk.shared(),
            desk,
            writer,
            worker,
            rx,
            tx,
            counters,
            calls,
            requests,
            begun: Instant::now(),
        }
    }

    /// The guest sends a packet with a number in it to somebody.
    fn send(&self, number: u16, to: Mac) {
        let mut bytes = Vec::new();
        etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], to.bytes())
            .ipv4(
                [10, 7, 0, 1],
                Ipv4Addr::from(0x0a07_0000 + to.word() as u32).octets(),
                64,
            )
            .udp(1, 2)
            .write(&mut bytes, &number.to_be_bytes())
            .unwrap();
        self.rx.push(MemoryFrame::new(&bytes)).unwrap();
    }

    fn work(&mut self) {
        while self.worker.poll() != 0 {}
    }

    fn poll(&mut self, ms: u64) -> bool {
        self.desk.poll(self.begun + Duration::from_millis(ms))
    }

    fn tell(&mut self, to: Mac) {
        let vni = Vni::new(7).unwrap();
        let hop = Hop::Local(OTHER);
        let neighbor = Neighbor { mac: to, vni, hop };
        self.writer.upsert_mac(DOMAIN, to, neighbor).unwrap();
        let _ = self.writer.commit(); // the table may have grown
        self.shared.tables_changed();
    }

    fn received(&self) -> Vec<u16> {
        let number = |frame: MemoryFrame| *frame.head().last_chunk().unwrap();
        std::iter::from_fn(|| self.tx.pop())
            .map(|frame| u16::from_be_bytes(number(frame)))
            .collect()
    }

    fn drops(&self, reason: DropReason) -> u64 {
        let totals = total(&self.counters, GUEST);
        assert!(totals.is_balanced(), "{totals:?}");
        totals.drops_for(reason)
    }
}

#[test]
fn the_control_thread_hears_what_is_asked_for_before_the_controller_does() {
    let mut lab = Lab::new();
    assert!(!lab.poll(0), "nothing waits");
    assert!(lab.calls.try_recv().unwrap().questions.is_empty());
    assert!(matches!(lab.requests.now(), Ok(Request::Asking(to)) if to.is_empty()));
    lab.send(1, THERE);
    lab.work();
    assert!(lab.poll(1));
    let Ok(Request::Asking(asked)) = lab.requests.now() else {
        panic!("the control thread is not told")
    };
    assert_eq!(asked[0].sought, Sought::Mac(DOMAIN, THERE));
    assert_eq!(lab.calls.try_recv().unwrap().questions.len(), 1);
    lab.tell(THERE);
    lab.poll(2);
    lab.work();
    assert_eq!(lab.received(), [1]);
    assert_eq!(lab.drops(DropReason::OnDemandExpired), 0);
}

#[test]
fn nothing_is_asked_while_the_control_thread_has_no_time() {
    let mut lab = Lab::new();
    while let Some(note) = lab.desk.core.try_note() {
        note.asking(Vec::new());
    }
    lab.send(1, THERE);
    lab.work();
    lab.poll(0);
    assert!(lab.calls.try_recv().is_err());
    while lab.requests.now().is_ok() {}
    lab.poll(1);
    assert!(lab.calls.try_recv().unwrap().questions.is_empty());
    assert_eq!(lab.calls.try_recv().unwrap().questions.len(), 1);
}

#[test]
fn the_control_thread_hears_what_a_call_came_to_before_the_next_is_made() {
    let mut lab = Lab::new();
    lab.send(1, THERE);
    lab.work();
    lab.poll(0);
    let started = lab.calls.try_recv().unwrap();
    let call = lab.calls.try_recv().unwrap();
    let statuses = Ok(vec![(call.first, false)]);
    let first = call.first;
    lab.shared.outcome(Outcome { first, statuses });
    while lab.requests.now().is_ok() {}
    while let Some(note) = lab.desk.core.try_note() {
        note.asking(Vec::new());
    }
    lab.poll(1);
    while lab.requests.now().is_ok() {}
    lab.poll(2); // it has not been forgotten meanwhile
    let Ok(Request::Closed(closed)) = lab.requests.now() else {
        panic!("the control thread is not told")
    };
    assert_eq!(closed.len(), 1);
    assert_eq!(
        (closed[0].0.sought, closed[0].1),
        (Sought::Mac(DOMAIN, THERE), false)
    );
    assert!(started.questions.is_empty() && lab.calls.try_recv().is_err());
}

/// Frames to destinations of their own, as many as three times the queue back.
fn many() -> Vec<(u16, Mac)> {
    let mac = |n: u16| {
        let [high, low] = n.to_be_bytes();
        Mac::new([2, 0, 0, 7, high, low])
    };
    (0..3 * PUNT_CAPACITY as u16).map(|n| (n, mac(n))).collect()
}

impl Lab {
    /// All of these are held, and then their goal state is there and the worker does not look.
    fn stuck(&mut self) {
        for chunk in many().chunks(100) {
            chunk.iter().for_each(|(n, to)| self.send(*n, *to));
            self.work();
            self.poll(0);
        }
        assert_eq!(self.shared.figures().held, many().len());
        many().iter().for_each(|(_, to)| self.tell(*to));
        self.poll(1);
        let left = many().len() - PUNT_CAPACITY;
        assert_eq!(self.shared.figures().held, left);
        assert_eq!(total(&self.counters, GUEST).held, many().len() as u64);
    }
}

#[test]
fn frames_wait_for_a_worker_that_stands_still_and_none_is_lost_when_it_goes_on() {
    let mut lab = Lab::new();
    lab.stuck();
    let mut received = Vec::new();
    for ms in 2..6 {
        lab.work();
        received.extend(lab.received());
        lab.poll(ms);
    }
    received.sort_unstable();
    assert_eq!(received, (0..many().len() as u16).collect::<Vec<_>>());
    assert_eq!(lab.drops(DropReason::OnDemandExpired), 0);
    assert_eq!(lab.shared.figures().held, 0);
}

#[test]
fn what_a_worker_does_not_take_back_in_time_is_dropped_and_counted() {
    let mut lab = Lab::new();
    lab.stuck();
    lab.poll(2_000);
    assert_eq!(lab.shared.figures().held, 0);
    let late = (many().len() - PUNT_CAPACITY) as u64;
    assert_eq!(lab.drops(DropReason::OnDemandExpired), late);
    lab.work();
    assert_eq!(
        lab.received().len(),
        PUNT_CAPACITY,
        "these are the worker's"
    );
    assert_eq!(lab.drops(DropReason::OnDemandExpired), late);
}

#[test]
fn idle_entries_are_looked_for_and_put_back_when_a_frame_misses_one() {
    let mut lab = Lab::new();
    lab.poll(61_000);
    let mut requests = std::iter::from_fn(|| lab.requests.now().ok());
    let Some(Request::Age { idle, reply }) = requests.find(|r| matches!(r, Request::Age { .. }))
    else {
        panic!("nobody looks")
    };
    assert_eq!(idle, Duration::from_secs(60));
    let sought = Sought::Mac(DOMAIN, THERE);
    let aged = Aged {
        idle: vec![sought],
        gone: Vec::new(),
    };
    assert!(reply.send(aged).is_ok());
    lab.poll(61_001);
    lab.send(1, THERE);
    lab.work();
    lab.poll(61_002);
    assert!(matches!(lab.requests.now(), Ok(Request::Wake(woken)) if woken == [sought]));
    lab.tell(THERE);
    lab.poll(61_003);
    lab.work();
    assert_eq!(lab.received(), [1]);
}
