// SPDX-License-Identifier: MIT
//! Guests behind vhost-user sockets. The guest is DPDK's net_virtio_user, a port of the same process.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use vswitch::dpdk::{Eal, Mbuf, Port, PortConfig, PortError, PortRx, PortTx};
use vswitch::io::{Frame, Frames, RxQueue, TxQueue};

use crate::bench::{Bench, eal, pattern};

/// Until something that takes other threads has to have happened.
const DEADLINE: Duration = Duration::from_secs(20);

fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !check() {
        assert!(begun.elapsed() < DEADLINE, "still not: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A folder for sockets.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The device arguments of a socket.
    fn device(&self, name: &str, more: &str) -> String {
        format!("net_vhost_{name},iface={}{more}", self.path(name).display())
    }

    /// Those of a guest there.
    fn guest(&self, name: &str, more: &str) -> String {
        format!(
            "net_virtio_user_{name},path={}{more}",
            self.path(name).display()
        )
    }
}

fn queues(port: &mut Port, queue: u16) -> (PortRx, PortTx) {
    (port.take_rx(queue).unwrap(), port.take_tx(queue).unwrap())
}

/// Sends frames of these lengths from one to the other, and looks that they arrive as they are.
fn trade(bench: &Bench, tx: &mut PortTx, rx: &mut PortRx, lengths: &[usize]) {
    for (seed, &length) in lengths.iter().enumerate() {
        let bytes = pattern(seed, length);
        let mut frames = Frames::new();
        frames.push(bench.frame(&bytes));
        eventually("it is taken", || tx.tx_burst(&mut frames) == 1);
        let mut got = Frames::new();
        eventually("it arrives", || rx.rx_burst(&mut got, 32) > 0);
        assert_eq!((got.len(), got[0].to_vec()), (1, bytes));
    }
}

#[test]
fn frames_pass_both_ways_and_are_counted() {
    let (bench, site) = (Bench::new("vhost_both", 4095), Site::new());
    let mut port = bench.port(&site.device("both", ""));
    assert!(!port.link().up && site.path("both").exists());
    let (mut rx, mut tx) = queues(&mut port, 0);
    let mut frames: Frames<Mbuf> = [bench.frame(b"nobody")].into_iter().collect();
    assert_eq!(tx.tx_burst(&mut frames), 0, "there is no guest yet");
    assert_eq!(rx.rx_burst(&mut frames, 32), 0);
    drop(frames);

    let mut guest = bench.port(&site.guest("both", ",mrg_rxbuf=1"));
    eventually("the link is up", || port.link().up);
    let (mut guest_rx, mut guest_tx) = queues(&mut guest, 0);
    let lengths = [60, 61, 1000, 1514, 2000];
    trade(&bench, &mut guest_tx, &mut rx, &lengths);
    trade(&bench, &mut tx, &mut guest_rx, &lengths);
    let stats = port.stats();
    let bytes: u64 = lengths.iter().map(|length| *length as u64).sum();
    assert_eq!((stats.rx_packets, stats.rx_bytes), (5, bytes));
    assert_eq!((stats.tx_packets, stats.tx_bytes), (5, bytes));
    port.clear_stats();
    assert_eq!(port.stats().rx_packets + port.stats().tx_bytes, 0);

    // More than the guest has room for are refused, and stay.
    let mut sent = 0;
    let refused = loop {
        let mut burst: Frames<Mbuf> = (0..64).map(|_| bench.frame(&[7; 60])).collect();
        sent += tx.tx_burst(&mut burst);
        if !burst.is_empty() {
            break burst.len();
        }
    };
    assert!((1..=64).contains(&refused) && (sent + refused) % 64 == 0);
    assert_eq!(port.stats().tx_packets, sent as u64);
    let mut got = 0;
    eventually("all that were taken arrive", || {
        got += guest_rx.rx_burst(&mut Frames::new(), 32);
        got == sent
    });

    drop((guest_rx, guest_tx, guest));
    eventually("the link is down", || !port.link().up);
    let mut frames: Frames<Mbuf> = [bench.frame(b"nobody")].into_iter().collect();
    assert_eq!(tx.tx_burst(&mut frames), 0);
    drop((rx, tx, port));
    assert!(!site.path("both").exists());
}

#[test]
fn guests_come_and_go_while_workers_are_at_it_and_no_buffer_is_lost() {
    let (bench, site) = (Bench::new("vhost_churn", 8191), Site::new());
    let config = PortConfig {
        rxq: 2,
        txq: 2,
        ..PortConfig::default()
    };
    let mut port = bench.port_with(&site.device("churn", ",queues=2"), &config);
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..2)
        .map(|queue| {
            let (mut rx, mut tx) = queues(&mut port, queue);
            let stop = Arc::clone(&stop);
            let eal = bench.eal.clone();
            thread::spawn(move || {
                let _lcore = eal.register_thread().unwrap();
                let mut echoed = 0;
                let mut frames = Frames::new();
                while !stop.load(Relaxed) {
                    rx.rx_burst(&mut frames, 64);
                    echoed += tx.tx_burst(&mut frames);
                    frames.clear();
                }
                echoed
            })
        })
        .collect();
    let config = PortConfig {
        rxq: 1,
        txq: 1,
        ..PortConfig::default()
    };
    for round in 0..30 {
        let mut guest = bench.port_with(&site.guest("churn", ""), &config);
        let (mut rx, mut tx) = queues(&mut guest, 0);
        let mut got = 0;
        eventually("frames come back", || {
            let mut burst: Frames<Mbuf> = (0..32).map(|_| bench.frame(&[9; 60])).collect();
            tx.tx_burst(&mut burst);
            let mut back = Frames::new();
            rx.rx_burst(&mut back, 64);
            assert!(back.iter().all(|frame| frame.head() == [9; 60]));
            got += back.len();
            got >= 64 * (round % 3)
        });
        // It goes in the midst of its traffic.
        drop((rx, tx, guest));
    }
    eventually("the last one is missed", || !port.link().up);
    stop.store(true, Relaxed);
    let echoed: Vec<_> = workers.into_iter().map(|it| it.join().unwrap()).collect();
    assert!(echoed[0] > 0, "{echoed:?}");
}

#[test]
fn each_pair_of_queues_is_one_of_the_guests() {
    let (bench, site) = (Bench::new("vhost_queues", 8191), Site::new());
    let config = PortConfig {
        rxq: 2,
        txq: 2,
        ..PortConfig::default()
    };
    let mut port = bench.port_with(&site.device("queues", ",queues=2"), &config);
    let mut guest = bench.port_with(&site.guest("queues", ",queues=2"), &config);
    eventually("the link is up", || port.link().up);
    for queue in 0..2 {
        let (mut rx, mut tx) = queues(&mut port, queue);
        let (mut guest_rx, mut guest_tx) = queues(&mut guest, queue);
        trade(&bench, &mut guest_tx, &mut rx, &[100 + usize::from(queue)]);
        trade(&bench, &mut tx, &mut guest_rx, &[200 + usize::from(queue)]);
    }
    assert_eq!(port.info().max_rxq, 2);
    assert!(matches!(
        port.take_rx(2),
        Err(PortError::Queue { of: 2, .. })
    ));
    let txs = [0, 1].map(|queue| port.take_tx(queue).unwrap());
    let open = || [0, 1].map(|queue: usize| txs[queue].is_open());
    assert_eq!(open(), [true, true]);
    drop(guest);
    eventually("it is missed", || open() == [false, false]);
    let one = PortConfig::default();
    let _guest = bench.port_with(&site.guest("queues", ""), &one);
    eventually("the next one uses a pair", || open() == [true, false]);
}

#[test]
fn a_port_that_is_dropped_gives_its_guest_up_and_its_path_back() {
    let (bench, site) = (Bench::new("vhost_drop", 2047), Site::new());
    for _ in 0..3 {
        let mut port = bench.port(&site.device("drop", ""));
        let guest = bench.port(&site.guest("drop", ""));
        eventually("the link is up", || port.link().up);
        let watch = port.watch_link();
        assert!(watch.is_up());
        let (rx, tx) = queues(&mut port, 0);
        drop(port);
        assert!(site.path("drop").exists(), "its queues have it");
        drop((rx, tx));
        assert!(!site.path("drop").exists() && watch.is_gone());
        drop(guest);
    }
}

#[test]
fn a_socket_that_cannot_be_opened_leaves_all_as_it_was() {
    let (eal, site) = (eal(), Site::new());
    let error = |device: &str| Port::attach(&eal, device).unwrap_err().to_string();
    let missing = format!("net_vhost_x,iface={}/none/s", site.folder.path().display());
    assert!(error(&missing).contains("No such file or directory"));
    let listener = UnixListener::bind(site.path("theirs")).unwrap();
    assert!(error(&site.device("theirs", "")).contains("Address already in use"));
    UnixStream::connect(site.path("theirs")).unwrap();
    drop(listener);
    std::fs::write(site.path("file"), "a file").unwrap();
    assert!(error(&site.device("file", "")).contains("Address already in use"));
    assert_eq!(std::fs::read(site.path("file")).unwrap(), b"a file");
    let port = Port::attach(&eal, &site.device("once", "")).unwrap();
    assert!(error(&site.device("once", ",client=1")).contains("another port has it"));
    drop(port);
    Port::attach(&eal, &site.device("once", "")).unwrap();
}

#[test]
fn what_no_guest_would_say_ends_its_connection_and_nothing_else() {
    let (bench, site) = (Bench::new("vhost_noise", 4095), Site::new());
    let mut port = bench.port(&site.device("noise", ""));
    let connect = || UnixStream::connect(site.path("noise")).unwrap();
    for seed in 0..20 {
        use std::io::{Read, Write};
        let mut stream = connect();
        let _ = stream.write_all(&pattern(seed, 64));
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        assert!(matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_)));
    }
    // Those who connect and say nothing do not keep a guest out, once they are gone.
    let silent: Vec<_> = (0..200).map(|_| connect()).collect();
    drop(silent);
    let mut guest = bench.port(&site.guest("noise", ""));
    eventually("the link is up", || port.link().up);
    let ((mut rx, _tx), (_, mut guest_tx)) = (queues(&mut port, 0), queues(&mut guest, 0));
    trade(&bench, &mut guest_tx, &mut rx, &[60]);
}

#[test]
fn a_port_is_configured_within_what_its_socket_has() {
    let (bench, site) = (Bench::new("vhost_config", 255), Site::new());
    let mut port = Port::attach(&bench.eal, &site.device("config", ",queues=2"))
        .unwrap()
        .remove(0);
    let default = PortConfig::default();
    let default = PortConfig { rxq: 2, ..default };
    for (config, said) in [
        (
            PortConfig {
                rxq: 1,
                ..default.clone()
            },
            "rxq 1 is out of range, it takes 2 only", // its guest may send by both
        ),
        (
            PortConfig {
                txq: 0,
                ..default.clone()
            },
            "txq 0 is out of range",
        ),
        (
            PortConfig {
                mtu: Some(67),
                ..default.clone()
            },
            "mtu 67 is out of range",
        ),
    ] {
        bench.expect_refusal(&mut port, &config, &[said, "net_vhost_config"]);
    }
    assert!(matches!(port.start(), Err(PortError::NotConfigured(_))));
    let config = PortConfig {
        mtu: Some(9000),
        ..default
    };
    port.configure(&config, &bench.pool).unwrap();
    port.start().unwrap();
    let rx = port.take_rx(0).unwrap();
    assert!(matches!(port.stop(), Err(PortError::QueuesInUse(_))));
    drop(rx);
    port.stop().unwrap();
    let info = port.info();
    assert_eq!(
        (info.mtu, info.started, info.driver.as_str()),
        (9000, false, "net_vhost")
    );
}

/// In a process of its own: see `eal`.
pub(crate) fn as_many_sockets_as_there_can_be(eal: &Eal) {
    let site = Site::new();
    let attach = |n: usize, more: &str| Port::attach(eal, &site.device(&n.to_string(), more));
    let mut ports: Vec<_> = (0..511).map(|n| attach(n, "").unwrap().remove(0)).collect();
    let full =
        |result: Result<Vec<Port>, PortError>| matches!(result, Err(PortError::TooManySockets));
    assert!(full(attach(511, "")));
    // One more that the switch connects to: that takes one file.
    ports.extend(attach(511, ",client=1").unwrap());
    assert!(full(attach(512, ",client=1")));
    drop(ports.split_off(510));
    ports.extend(attach(511, "").unwrap());
    // All are served.
    for name in [0, 250, 511] {
        UnixStream::connect(site.path(&name.to_string())).unwrap();
    }
    let begun = Instant::now();
    drop(ports);
    assert!(begun.elapsed() < DEADLINE);
    assert!(!Path::exists(&site.path("0")));
}
