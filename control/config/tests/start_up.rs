// SPDX-License-Identifier: MIT
//! Start-up files as a whole: what they make, and what contradicts in them.

use vswitch::tables::PortId;
use vswitch::wire::Mac;

use crate::config::{Level, LogFormat, Settings, Vtep, parse_text};
use crate::core::PortRules;

/// A file's settings, or its errors, one line each.
pub(super) fn settings(text: &str) -> Result<Settings, Vec<String>> {
    let commands = parse_text("f", text)
        .map_err(|errors| errors.lines())
        .unwrap();
    Settings::from_commands(&commands)
        .map_err(|errors| errors.errors.iter().map(|error| error.line()).collect())
}

/// The only error of a file that is right but for `text`.
pub(super) fn error(text: &str) -> String {
    let all = settings(&format!("{text}\nset southbound off")).unwrap_err();
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].clone()
}

#[test]
fn an_empty_file_has_the_defaults_that_help_names() {
    let settings = settings("set southbound off").unwrap();
    assert_eq!(
        settings,
        Settings {
            southbound: None,
            ..Settings::default()
        }
    );
    let help = |words: &str| {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        crate::config::help::help(&words).unwrap()
    };
    assert!(help("set burst").contains(&format!("default {}", settings.burst)));
    assert!(help("set mbufs").contains(&format!("default {}", settings.mbufs)));
    assert!(
        help("set neighbors capacity")
            .contains(&format!("default {}", settings.neighbors_capacity))
    );
    assert!(help("set southbound listen").contains(&format!(
        "default {}",
        Settings::default().southbound.unwrap()
    )));
    assert!(help("set log LEVEL").contains("default info"));
}

#[test]
fn a_whole_file_is_folded() {
    let settings = settings(
        "eal -l 0\neal --no-huge\nset corelist 2-3\nport attach net_af_packet0,iface=va0\nport attach net_tap0\n\
         port attach net_vhost0,iface=/tmp/s\nport config all rxq 2\nport config 2 rxq 1\nport config 0 mtu 1600\n\
         port config 1 tx-offload on\nset promisc 0 on\nset vtep 192.0.2.1/24 port 0\nset host port 1\nport bind 2 p-2\n\
         set underlay neighbor 192.0.2.9 02:00:00:00:00:09\nset underlay gateway 192.0.2.254 02:00:00:00:00:fe\n\
         set log debug\nset log format json\nset metrics listen 127.0.0.1:9464\nset control socket /tmp/x.sock\n\
         set store /tmp/x.store\nset resync 300\nstart",
    )
    .unwrap();
    assert_eq!(settings.eal, ["-l", "0", "--no-huge"]);
    assert_eq!(
        (settings.workers, settings.corelist.clone()),
        (2, Some(vec![2, 3]))
    );
    let tx_offload = settings.ports.iter().map(|port| port.tx_offload);
    assert_eq!(tx_offload.collect::<Vec<_>>(), [None, Some(true), None]);
    assert_eq!(
        settings
            .ports
            .iter()
            .map(|port| port.rxq)
            .collect::<Vec<_>>(),
        [Some(2), Some(2), Some(1)]
    );
    assert_eq!(
        (settings.ports[0].mtu, settings.ports[0].promisc),
        (Some(1600), Some(true))
    );
    assert_eq!(settings.ports[2].id.as_deref(), Some("p-2"));
    let Vtep { addresses, port } = settings.vteps[0];
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(
        (addresses, port.get()),
        (vec!["192.0.2.1/24".to_owned()], 0)
    );
    assert_eq!(settings.host_port.map(|port| port.get()), Some(1));
    assert_eq!(
        (
            settings.underlay_neighbors.len(),
            settings.underlay_gateways.len()
        ),
        (1, 1)
    );
    assert_eq!((settings.log, settings.start), (Level::Debug, true));
    assert_eq!(settings.log_format, LogFormat::Json);
    assert_eq!(settings.metrics, "127.0.0.1:9464".parse().ok());
}

#[test]
fn the_controller_is_asked_from_an_address_that_it_can_be_reached_from() {
    let vtep = "port attach net_null0\nset vtep 192.0.2.1/24 port 0";
    let asked = settings(&format!("{vtep}\nset ncm 192.0.2.9\nset on-demand hold 5")).unwrap();
    assert_eq!(asked.on_demand.ncm, "192.0.2.9:9016".parse().ok());
    assert!(asked.on_demand.asks() && asked.on_demand.hold == 5);
    assert!(!settings(vtep).unwrap().on_demand.asks());
    let off = settings(&format!("{vtep}\nset ncm 192.0.2.9\nset on-demand off")).unwrap();
    assert!(!off.on_demand.asks());
    assert!(settings("set southbound off\nset ncm 192.0.2.9\nset ncm source 127.0.0.1").is_ok());

    assert!(error("set ncm 192.0.2.9").starts_with("f:1:1: this needs a tunnel endpoint"));
    assert!(error("set ncm source 192.0.2.1").ends_with("add `set ncm ADDR`"));
    let families = error(&format!("{vtep}\nset ncm [2001:db8::9]:9016"));
    assert!(
        families.contains("[2001:db8::9]:9016 cannot be reached from 192.0.2.1"),
        "{families}"
    );
    assert!(
        error(&format!(
            "{vtep}\nset on-demand rate 1\nset on-demand rate 2"
        ))
        .contains("twice")
    );
}

#[test]
fn unless_told_otherwise_dpdk_takes_no_device_by_itself() {
    let args = |text: &str| {
        settings(&format!("{text}\nset southbound off"))
            .unwrap()
            .eal_args()
    };
    let level = "--log-level=lib.vhost.data:critical";
    assert_eq!(args("eal -l 0"), [level, "-l", "0", "-a", "0000:00:00.0"]);
    assert_eq!(args("eal --no-pci"), [level, "--no-pci"]);
    assert_eq!(args("eal -b 0000:3b:00.0"), [level, "-b", "0000:3b:00.0"]);
}

#[test]
fn ports_must_be_attached_before_they_are_named() {
    let two = "port attach net_null0\nport attach net_null1\n";
    assert_eq!(
        error(&format!("{two}port config 3 rxq 2")),
        "f:3:1: there is no port 3: only 2 `port attach` precede, they made ports 0 to 1; \
         ports are numbered in the order of their `port attach` lines"
    );
    assert!(error("port bind 0 a\nport attach net_null0").contains("no `port attach` precedes"));
    assert!(error("port config all rxq 2").contains("`all` is no port"));
    assert!(error(&format!("{two}set portlist 0,2")).contains("there is no port 2"));
}

#[test]
fn what_is_said_twice_points_at_both_lines() {
    assert_eq!(
        error("set burst 8\nset burst 8"),
        "f:2:1: `set burst` is given twice (f:1:1: first here)"
    );
    assert!(
        error("port attach net_null0\nport attach net_null0,copy=1")
            .contains("attached twice (f:1:1")
    );
    let two = "port attach net_null0\nport attach net_null1\n";
    assert!(
        error(&format!("{two}port bind 0 a\nport bind 1 a"))
            .contains("two ports are bound to `a` (f:3:1")
    );
    assert!(
        error(&format!("{two}port bind 0 a\nport bind 0 b"))
            .contains("`port bind 0` is given twice")
    );
    assert!(
        error(&format!(
            "{two}port config 0 mtu 1500\nport config mtu 0 1500"
        ))
        .contains("given twice")
    );
}

#[test]
fn rules_of_guests_ports_are_kept_and_the_uplink_has_none() {
    let ports = "port attach net_null0\nport attach net_null1\nport attach net_null2\nset vtep 192.0.2.1/24 port 0\n";
    let rules = "port config all anti-spoofing on\nport config 2 anti-spoofing off\n\
                 port config all vlan pass\nport config 2 vlan drop";
    let settings = settings(&format!("{ports}{rules}")).unwrap();
    let kept: Vec<_> = settings.ports.iter().map(|port| port.rules).collect();
    let own = |anti_spoofing, takes_tags| PortRules {
        anti_spoofing,
        takes_tags,
    };
    let rules = [
        own(None, false),
        own(Some(true), true),
        own(Some(false), false),
    ];
    assert_eq!(kept, rules);
    let lines = settings.commands();
    let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
    for line in [
        "port config 1 anti-spoofing on",
        "port config 1 vlan pass",
        "port config 2 anti-spoofing off",
    ] {
        assert!(lines.iter().any(|other| other == line), "{lines:?}");
    }
    let site = settings
        .site(|_| Ok::<_, ()>((Mac::new([2; 6]), 1500)))
        .unwrap();
    let guarded = [0, 1, 2].map(|port| site.is_guarded(PortId::new(port).unwrap()));
    assert_eq!(guarded, [false, true, false]);
    for (more, wrong) in [
        ("port config 0 anti-spoofing on", "port 0 is no guest's"),
        ("port config 0 vlan drop", "port 0 is no guest's"),
        (
            "set host port 1\nport config 1 anti-spoofing off",
            "port 1 is no guest's",
        ),
        (
            "port config 1 anti-spoofing on\nport config 1 anti-spoofing default",
            "given twice",
        ),
    ] {
        assert!(error(&format!("{ports}{more}")).contains(wrong), "{more}");
    }
}

#[test]
fn replication_is_said_of_each_subnet_once_and_has_a_rate() {
    let ports = "port attach net_null0\nset vtep 192.0.2.1/24 port 0\n";
    let said = "set replicate subnet blue on\nset replicate subnet red off\nset replicate subnet all on rate 7\n";
    let settings = settings(&format!("{ports}{said}")).unwrap();
    let site = settings
        .site(|_| Ok::<_, ()>((Mac::new([2; 6]), 1500)))
        .unwrap();
    let rates = ["blue", "red", "green"].map(|id| site.replicated.rate(id));
    assert_eq!(rates, [Some(100), None, Some(7)]);
    let lines = settings.commands();
    let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
    for line in [
        "set replicate subnet all on rate 7",
        "set replicate subnet blue on rate 100",
        "set replicate subnet red off",
    ] {
        assert!(lines.iter().any(|other| other == line), "{lines:?}");
    }
    let twice = error(&format!("{ports}{said}set replicate subnet blue off"));
    assert!(
        twice.contains("`set replicate subnet blue` is given twice (f:3:1"),
        "{twice}"
    );
}

#[test]
fn a_port_has_one_role() {
    let two = "port attach net_null0\nport attach net_null1\nset vtep 192.0.2.1/24 port 0\n";
    assert!(
        error(&format!("{two}set host port 0"))
            .contains("port 0 cannot be both (f:3:1: here it is the uplink)")
    );
    assert!(error(&format!("{two}port bind 0 a")).contains("port 0 cannot be both"));
    assert!(
        error(&format!("{two}set host port 1\nport bind 1 a")).contains("here it is the host port")
    );
    assert!(error(&format!("{two}set portlist 1")).contains("port 0 is not in `set portlist`"));
}

#[test]
fn workers_need_cores() {
    assert_eq!(
        error("set corelist 1\nset nbcore 2"),
        "f:1:1: 1 cores for 2 workers (f:2:1: the number of workers); name more cores or lower `set nbcore`"
    );
    assert_eq!(
        settings("set corelist 1,2,3\nset nbcore 2\nset southbound off")
            .unwrap()
            .workers,
        2
    );
}

#[test]
fn a_controller_needs_a_tunnel_endpoint() {
    let missing =
        settings("port attach net_null0\nset southbound listen 127.0.0.1:50001").unwrap_err();
    assert!(
        missing[0].starts_with("f:2:1: the controller's goal states are taken"),
        "{missing:?}"
    );
    let missing = settings("port attach net_null0").unwrap_err();
    assert!(
        missing[0].starts_with("the controller's goal states are taken"),
        "{missing:?}"
    );
    assert!(
        error("set underlay gateway 192.0.2.1 02:00:00:00:00:01")
            .contains("needs a tunnel endpoint")
    );
}

#[test]
fn goal_states_and_subscriptions_arrive_at_different_addresses() {
    let host = "port attach net_null0\nset vtep 192.0.2.1/24 port 0\n";
    let both = |southbound: &str, subscribe: &str| {
        settings(&format!(
            "{host}set southbound listen {southbound}\nset subscribe listen {subscribe}"
        ))
    };
    assert_eq!(
        both("192.0.2.1:50001", "0.0.0.0:50001").unwrap_err(),
        [
            "f:4:1: goal states and subscriptions cannot both arrive at 0.0.0.0:50001 (f:3:1: where goal states arrive); \
          give them different ports; an Alcor controller uses 50001 and 50002"
        ]
    );
    assert!(both("192.0.2.1:50001", "127.0.0.1:50001").is_ok());
    assert!(both("0.0.0.0:50001", "0.0.0.0:50002").is_ok());
    // By default they are not taken at all.
    assert_eq!(Settings::default().subscribe, None);
}

#[test]
fn tls_is_off_unless_configured() {
    let files = "cert a.pem key a.key ca ca.pem";
    let settings = settings(&format!(
        "port attach net_null0\nset vtep 192.0.2.1/24 port 0\nset southbound tls {files} allow x,y\n\
         set ncm 192.0.2.9\nset ncm tls {files}\nset southbound off"
    ))
    .unwrap();
    assert_eq!(settings.southbound_tls.unwrap().allow, ["x", "y"]);
    assert_eq!(settings.ncm_tls.unwrap().name, None);
    assert_eq!(
        settings.on_demand.ncm,
        Some("192.0.2.9:9016".parse().unwrap())
    );
    let defaults = Settings::default();
    assert_eq!((defaults.southbound_tls, defaults.ncm_tls), (None, None));
    assert!(
        error(&format!("set ncm tls {files}\nset ncm tls {files} name x")).contains("given twice")
    );
}

#[test]
fn no_memory_is_taken_for_neighbors_that_have_no_room() {
    let host = "port attach net_null0\nset vtep 192.0.2.1/24 port 0\nset neighbors capacity 2000\n";
    let reserved = |count: u32| format!("{host}set neighbors reserve {count}");
    assert!(error(&reserved(2001)).contains("memory for 2001 neighbors, and room for 2000"));
    assert!(settings(&reserved(2000)).is_ok());
}

#[test]
fn devices_come_by_port_attach_alone() {
    for args in [
        "--vdev=net_null0",
        "--vdev net_null0",
        "-a 0000:3b:00.0",
        "-a0000:3b:00.0",
        "--allow=3b:00.0",
        "--vde x",
    ] {
        assert!(
            error(&format!("eal -l 0 {args}")).contains("name the device with `port attach`"),
            "{args}"
        );
    }
    assert!(settings("eal --vfio-intr=msi --version-is-not-checked\nset southbound off").is_ok());
}

#[test]
fn commands_for_a_running_switch_are_refused() {
    let all = settings("show ports\nquit\nset southbound off").unwrap_err();
    assert_eq!(all.len(), 2);
    assert!(
        all[0].contains("`show ports` is for a running switch"),
        "{all:?}"
    );
}

#[test]
fn there_are_as_many_ports_as_there_are_numbers() {
    let many: String = (0..1025)
        .map(|i| format!("port attach net_null{i}\n"))
        .collect();
    assert_eq!(error(&many), "f:1025:1: more than 1024 ports");
}

#[test]
fn errors_are_in_the_order_of_their_lines() {
    let all =
        settings("set corelist 1\nset nbcore 2\nshow ports\nport config 5 rxq 1").unwrap_err();
    let places: Vec<_> = all
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(places[1..], ["f:1:1", "f:3:1", "f:4:1"], "{all:#?}");
}
