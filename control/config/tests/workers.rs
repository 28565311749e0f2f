// SPDX-License-Identifier: MIT
//! How workers work and which queues they poll, in a file and while they run.

use vswitch::tables::PortId;

use super::start_up::{error, settings};
use crate::config::affinity::Affinity;
use crate::config::parse::parse_line;
use crate::config::table::{When, when};
use crate::config::work::WorkSetting;
use crate::config::{Command, Ports, Setting};

fn command(line: &str) -> Command {
    parse_line(line).unwrap().unwrap()
}

#[test]
fn how_workers_work_is_said_also_while_they_do() {
    for (line, item) in [
        ("set poll busy", WorkSetting::Poll(None)),
        ("set poll adaptive", WorkSetting::Poll(Some(50))),
        ("set poll adaptive max-sleep 1", WorkSetting::Poll(Some(1))),
        ("set host rate 7", WorkSetting::HostRate(Some(7))),
        ("set host rate off", WorkSetting::HostRate(None)),
        ("set rebalance auto on", WorkSetting::Rebalance(true)),
    ] {
        let said = command(line);
        assert_eq!(said, Command::Set(Setting::Work(item)));
        assert_eq!(when(&said), When::Always);
    }
    assert_eq!(when(&command("rebalance")), When::Running);
    let pinned = Command::Affinity {
        ports: Ports::One(PortId::new(3).unwrap()),
        affinity: Affinity::of("0:2,1:3").unwrap(),
    };
    assert_eq!(command("port config 3 rxq-affinity 1:3,0:2"), pinned);
    for (line, expected) in [
        (
            "set poll adaptive max-sleep 1001",
            "a number from 1 to 1000",
        ),
        ("set host rate 0", "a number from 1 to 10000000"),
        (
            "port config 3 rxq-affinity 0:2,0:3",
            "each queue once, as in `0:2,1:3`",
        ),
    ] {
        let wrong = parse_line(line).unwrap_err().to_string();
        assert!(wrong.contains(expected), "{wrong}");
    }
}

#[test]
fn a_file_says_it_once_and_the_settings_say_it_again() {
    let ports = "port attach net_null0\nport attach net_null1\nset vtep 192.0.2.1/24 port 0\n";
    let said = [
        "port config 1 rxq-affinity 0:2,1:3",
        "set host rate 7",
        "set poll adaptive max-sleep 20",
        "set rebalance auto on",
    ];
    let settings = settings(&(ports.to_owned() + &said.join("\n"))).unwrap();
    assert_eq!(settings.work.host_rate, Some(7));
    assert_eq!(
        settings.ports[1].affinity,
        Affinity([(0, 2), (1, 3)].into())
    );
    let lines = settings.commands();
    let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
    for line in said {
        assert!(lines.iter().any(|other| other == line), "{lines:?}");
    }
    for twice in [
        "set host rate off",
        "set poll busy",
        "set rebalance auto off",
    ] {
        let again = format!("{ports}{}\n{twice}", said.join("\n"));
        assert!(error(&again).contains("given twice"), "{twice}");
    }
    let subport = format!("{ports}port attach vlan5@1\nport config 2 rxq-affinity 0:2");
    assert!(error(&subport).contains("port 2"), "it has no queues");
}
