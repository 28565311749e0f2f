// SPDX-License-Identifier: MIT
//! Mempools, their caches, and the threads that use them.

use std::sync::mpsc;
use std::thread;

use vswitch::dpdk::{
    Eal, MAX_CACHE, Mbuf, Mempool, PoolError, Port, PortRx, PortTx, ThreadError, tsc, tsc_hz,
};
use vswitch::io::{Frame, Frames, MAX_BURST, RxQueue, TxQueue};

use crate::bench::{Bench, DATA_ROOM, eal};

#[test]
fn a_pool_is_what_was_asked_for() {
    let bench = Bench::new("pool_plain", 1000);
    assert_eq!((bench.pool.available(), bench.pool.in_use()), (1000, 0));
    assert_eq!(bench.pool.data_room(), DATA_ROOM);
    let frames: Vec<_> = std::iter::from_fn(|| bench.pool.alloc()).collect();
    assert_eq!((frames.len(), bench.pool.available()), (1000, 0));
    drop(frames);
}

#[test]
fn wrong_pools_are_refused_in_words() {
    let eal = eal();
    let make = |name: &str, count, cache| Mempool::new(&eal, name, count, cache, DATA_ROOM, None);
    assert!(matches!(
        make("a name of more than twenty-five bytes", 63, 0),
        Err(PoolError::Name(_))
    ));
    assert!(matches!(make("nul\0", 63, 0), Err(PoolError::Name(_))));
    assert!(matches!(
        make("pool_cache", 63, 64),
        Err(PoolError::Cache { .. })
    ));
    assert!(matches!(
        make("pool_cache", 100_000, MAX_CACHE + 1),
        Err(PoolError::Cache { .. })
    ));
    let error = make("pool_none", 0, 0).unwrap_err().to_string();
    assert!(error.contains("pool_none"), "{error}");
    let _first = make("pool_twice", 63, 0).unwrap();
    let error = make("pool_twice", 63, 0).unwrap_err().to_string();
    assert!(error.contains("File exists"), "{error}");
}

#[test]
fn a_thread_is_registered_once_and_again_after_it_was_unregistered() {
    let eal = eal();
    let first = eal.register_thread().unwrap();
    assert!(
        matches!(eal.register_thread(), Err(ThreadError::Registered(lcore)) if lcore == first.lcore())
    );
    drop(first);
    assert!(eal.register_thread().is_ok());
}

#[test]
fn threads_have_lcore_numbers_of_their_own() {
    let eal = eal();
    let guard = eal.register_thread().unwrap();
    let other = eal.clone();
    let there = thread::spawn(move || other.register_thread().unwrap().lcore())
        .join()
        .unwrap();
    assert_ne!(there, guard.lcore());
}

#[test]
fn what_a_thread_cached_is_there_for_others_when_it_ends() {
    let bench = Bench::new("pool_flush", 127);
    let (eal, pool) = (bench.eal.clone(), bench.pool.clone());
    let (send, receive) = mpsc::channel::<()>();
    let worker = thread::spawn(move || {
        let _lcore = eal.register_thread().unwrap();
        drop(pool.alloc()); // now the cache of this thread holds a batch
        receive.recv().unwrap();
    });
    send.send(()).unwrap();
    worker.join().unwrap();
    let frames: Vec<_> = std::iter::from_fn(|| bench.pool.alloc()).collect();
    assert_eq!(frames.len(), 127);
    drop(frames);
}

#[test]
fn frames_travel_between_threads_unharmed_and_return() {
    const COUNT: u64 = 200_000;
    let bench = Bench::new("pool_travel", 2047);
    let mut port = bench.port("net_ring_travel");
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    let (eal, pool) = (bench.eal.clone(), bench.pool.clone());
    let sender = thread::spawn(move || {
        let _lcore = eal.register_thread().unwrap();
        let mut burst = Frames::new();
        let mut next = 0;
        while next < COUNT || !burst.is_empty() {
            while next < COUNT && !burst.is_full() {
                let Some(mut frame) = pool.alloc() else { break };
                assert!(frame.append(&next.to_be_bytes()));
                burst.push(frame);
                next += 1;
            }
            tx.tx_burst(&mut burst);
        }
    });
    let mut burst = Frames::new();
    let mut expected = 0_u64;
    while expected < COUNT {
        rx.rx_burst(&mut burst, MAX_BURST);
        for frame in &burst {
            assert_eq!(frame.head(), expected.to_be_bytes());
            expected += 1;
        }
        Mbuf::free_all(&mut burst);
    }
    sender.join().unwrap();
}

#[test]
fn what_workers_get_may_move_to_their_threads() {
    fn moves<T: Send>() {}
    fn is_shared<T: Send + Sync>() {}
    moves::<Port>();
    moves::<PortRx>();
    moves::<PortTx>();
    moves::<Mbuf>();
    is_shared::<Eal>();
    is_shared::<Mempool>();
}

#[test]
fn the_clock_ticks_at_the_stated_rate() {
    let hz = tsc_hz(&eal());
    let (start, clock) = (tsc(), std::time::Instant::now());
    thread::sleep(std::time::Duration::from_millis(50));
    let (ticks, seconds) = (tsc() - start, clock.elapsed().as_secs_f64());
    let ratio = ticks as f64 / hz as f64 / seconds;
    assert!((0.9..1.1).contains(&ratio), "{ratio}");
}
