// SPDX-License-Identifier: MIT
//! Devices that come and go, and configurations that devices do not take.

use vswitch::dpdk::{Port, PortConfig, PortError};
use vswitch::io::MAX_BURST;

use crate::bench::{Bench, eal, receive, send};

#[test]
fn a_device_can_be_attached_again_after_it_was_detached() {
    let bench = Bench::new("attach_again", 127);
    for _ in 0..3 {
        let port = bench.port("net_null_again");
        assert_eq!(port.name(), "net_null_again");
    }
}

#[test]
fn a_device_is_attached_once() {
    let bench = Bench::new("attach_once", 127);
    let _port = bench.port("net_null_once");
    let error = Port::attach(&bench.eal, "net_null_once").unwrap_err();
    assert!(
        matches!(&error, PortError::NoNewPort(name) if name == "net_null_once"),
        "{error}"
    );
}

#[test]
fn the_queues_of_a_dropped_port_work_until_they_are_dropped() {
    let bench = Bench::new("attach_drop", 255);
    let mut port = bench.port("net_ring_drop");
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    drop(port);
    send(&mut tx, [bench.frame(b"still here")]);
    assert_eq!(receive(&mut rx, MAX_BURST).len(), 1);
}

#[test]
fn one_device_may_have_several_ports_and_goes_with_the_last() {
    let bench = Bench::new("attach_two", 255);
    let devargs = "net_ring_two,nodeaction=two_a:0:CREATE,nodeaction=two_b:0:CREATE";
    let mut ports = Port::attach(&bench.eal, devargs).unwrap();
    assert_eq!(
        ports.iter().map(Port::name).collect::<Vec<_>>(),
        ["two_a", "two_b"]
    );
    drop(ports.remove(0));
    let mut port = ports.remove(0);
    port.configure(&PortConfig::default(), &bench.pool).unwrap();
    port.start().unwrap();
    let (mut rx, mut tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
    send(&mut tx, [bench.frame(b"second port")]);
    assert_eq!(receive(&mut rx, MAX_BURST).len(), 1);
}

#[test]
fn wrong_device_arguments_say_what_is_wrong() {
    let eal = eal();
    let error = |devargs: &str| Port::attach(&eal, devargs).unwrap_err().to_string();
    for (devargs, said) in [
        (
            "net_pcap_none,rx_pcap=/nonexistent/in.pcap",
            "/nonexistent/in.pcap: No such file or directory",
        ),
        ("net_nosuchdriver0", "net_nosuchdriver0"),
        (
            "net_null_key,nosuchkey=1",
            "Driver cannot attach the device (net_null_key)",
        ),
        ("", "Cannot find device"),
        (",", "Cannot find device"),
        ("0000:ff:1f.7", "Cannot find device (0000:ff:1f.7)"),
        ("net_null_nul\0", "NUL"),
    ] {
        let error = error(devargs);
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_configuration_beyond_the_device_is_refused_and_a_right_one_works_after() {
    let bench = Bench::new("attach_config", 2047);
    let mut port = Port::attach(&bench.eal, "net_ring_config")
        .unwrap()
        .remove(0);
    let default = PortConfig::default();
    for (config, said) in [
        (
            PortConfig {
                rxq: 17,
                ..default.clone()
            },
            "rxq 17 is out of range, it takes 1 to 16",
        ),
        (
            PortConfig {
                rxq: 0,
                ..default.clone()
            },
            "rxq 0 is out of range",
        ),
        (
            PortConfig {
                txq: u16::MAX,
                ..default.clone()
            },
            "txq 65535 is out of range, it takes 1 to 16",
        ),
        (
            PortConfig {
                mtu: Some(1),
                ..default.clone()
            },
            "mtu 1 is out of range",
        ),
    ] {
        bench.expect_refusal(&mut port, &config, &[said, "net_ring"]);
    }
    assert!(matches!(port.start(), Err(PortError::NotConfigured(_))));
    port.configure(&default, &bench.pool).unwrap();
    port.start().unwrap();
}

#[test]
fn a_port_changes_only_while_no_worker_has_a_queue() {
    let bench = Bench::new("attach_states", 255);
    let mut port = Port::attach(&bench.eal, "net_null_states")
        .unwrap()
        .remove(0);
    assert!(matches!(port.take_rx(0), Err(PortError::NotStarted(_))));
    port.configure(&PortConfig::default(), &bench.pool).unwrap();
    assert!(matches!(port.stop(), Err(PortError::NotStarted(_))));
    port.start().unwrap();
    assert!(matches!(port.start(), Err(PortError::Started(_))));
    let rx = port.take_rx(0).unwrap();
    assert_eq!(
        port.take_rx(0).unwrap_err().to_string(),
        "rx queue 0 of `net_null_states` is taken"
    );
    assert_eq!(
        port.take_tx(1).unwrap_err().to_string(),
        "tx queue 1 of `net_null_states` is not there"
    );
    assert!(matches!(port.stop(), Err(PortError::QueuesInUse(_))));
    assert!(matches!(port.check_idle(), Err(PortError::QueuesInUse(_))));
    drop(rx);
    assert!(matches!(
        port.configure(&PortConfig::default(), &bench.pool),
        Err(PortError::Started(_))
    ));
    port.stop().unwrap();
    port.start().unwrap();
    assert_eq!(receive(&mut port.take_rx(0).unwrap(), 7).len(), 7);
}

#[test]
fn information_is_in_words() {
    let bench = Bench::new("attach_info", 255);
    let port = bench.port("net_ring_info");
    let info = port.info();
    assert_eq!(
        (info.name.as_str(), info.driver.as_str()),
        ("net_ring_info", "net_ring")
    );
    assert_eq!(
        (info.rxq, info.txq, info.max_rxq, info.mtu, info.started),
        (1, 1, 16, 1500, true)
    );
    assert_eq!(info.link.to_string(), "up, 10000 Mbit/s, full duplex");
    assert_eq!(info.mac, port.mac());
    assert!(
        info.offloads
            .contains(&"sends frames of several buffers as they are"),
        "{info:?}"
    );
    assert!(
        info.fallbacks
            .contains(&"the IPv4 header checksum of received frames is checked in software"),
        "{info:?}"
    );
}

#[test]
fn queues_without_rss_say_so() {
    let bench = Bench::new("attach_rss", 255);
    let config = PortConfig {
        rxq: 2,
        ..PortConfig::default()
    };
    let info = bench.port_with("net_ring_rss", &config).info();
    assert!(
        info.fallbacks.iter().any(|line| line.contains("no RSS")),
        "{info:?}"
    );
}
