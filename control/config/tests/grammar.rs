// SPDX-License-Identifier: MIT
//! Lines that are commands, and what is said of those that are not.

use std::path::PathBuf;

use vswitch::tables::PortId;

use crate::config::command::VxlanSetting;
use crate::config::parse::{Problem, SyntaxError, parse_line};
use crate::config::rule::PortRule;
use crate::config::table::{When, rows, when};
use crate::config::{Command, LogFormat, PortItem, Ports, Setting, Show};

fn port(id: u16) -> PortId {
    PortId::new(id).unwrap()
}

fn command(line: &str) -> Command {
    match parse_line(line) {
        Ok(Some(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn error(line: &str) -> SyntaxError {
    match parse_line(line) {
        Err(error) => error,
        Ok(other) => panic!("{line}: {other:?}"),
    }
}

#[test]
fn what_testpmd_users_type_is_understood() {
    let one = |id| Ports::One(port(id));
    assert_eq!(
        command("show port stats all"),
        Command::Show(Show::PortStats(Ports::All))
    );
    assert_eq!(
        command("show port info 0"),
        Command::Show(Show::PortInfo(one(0)))
    );
    assert_eq!(
        command("port config 0 rxq 2"),
        Command::PortConfig {
            ports: one(0),
            item: PortItem::Rxq,
            value: 2
        }
    );
    assert_eq!(
        command("port config all txd 0x400"),
        Command::PortConfig {
            ports: Ports::All,
            item: PortItem::Txd,
            value: 1024
        }
    );
    for (word, on) in [("on", true), ("off", false)] {
        let ports = one(0);
        let offload = Command::TxOffload { ports, on };
        assert_eq!(
            command(&format!("port config 0 tx-offload {word}")),
            offload
        );
    }
    let rule = |ports, on| Command::PortRule {
        ports,
        rule: PortRule::AntiSpoofing(on),
    };
    assert_eq!(
        command("port config 2 anti-spoofing off"),
        rule(one(2), Some(false))
    );
    assert_eq!(
        command("port config all anti-spoofing default"),
        rule(Ports::All, None)
    );
    for (line, pass) in [
        ("port config 2 vlan pass", true),
        ("port config 2 vlan drop", false),
    ] {
        let rule = PortRule::Vlan { pass };
        let ports = one(2);
        assert_eq!(command(line), Command::PortRule { ports, rule });
    }
    assert_eq!(
        command("port config mtu 1 1550"),
        command("port config 1 mtu 1550")
    );
    assert_eq!(command("set nbcore 2"), Command::Set(Setting::Nbcore(2)));
    assert_eq!(
        command("set corelist 1,2"),
        Command::Set(Setting::Corelist(vec![1, 2]))
    );
    assert_eq!(
        command("set promisc all off"),
        Command::Set(Setting::Promisc {
            ports: Ports::All,
            on: false
        })
    );
    assert_eq!(
        command("clear port stats all"),
        Command::ClearPortStats(Ports::All)
    );
    assert_eq!(command("  start # now"), Command::Start);
    assert_eq!(
        command("load 'a b.conf'"),
        Command::Load(PathBuf::from("a b.conf"))
    );
    assert_eq!(
        command("eal -l 0 --no-huge"),
        Command::Eal(vec!["-l".into(), "0".into(), "--no-huge".into()])
    );
    assert_eq!(command("help"), Command::Help(Vec::new()));
    assert_eq!(
        command("help port config"),
        Command::Help(vec!["port".into(), "config".into()])
    );
    assert_eq!(parse_line("   # nothing"), Ok(None));
}

#[test]
fn what_the_controller_expects_besides_goal_states_is_set() {
    let set = |line: &str| match command(line) {
        Command::Set(setting) => setting,
        other => panic!("{line}: {other:?}"),
    };
    let address = |text: &str| text.parse().unwrap();
    assert_eq!(
        set("set subscribe listen 0.0.0.0:50002"),
        Setting::Subscribe(Some(address("0.0.0.0:50002")))
    );
    assert_eq!(
        set("set ncm 192.0.2.9"),
        Setting::Ncm(address("192.0.2.9:9016"))
    );
    assert_eq!(
        set("set goal-state watch /etc/goals"),
        Setting::GoalStateWatch("/etc/goals".into())
    );
    assert_eq!(set("set metrics-log on"), Setting::MetricsLog(true));
    assert_eq!(
        set("set metrics listen [::1]:9464"),
        Setting::Metrics(Some(address("[::1]:9464")))
    );
    assert_eq!(set("set metrics off"), Setting::Metrics(None));
    assert_eq!(
        set("set log format json"),
        Setting::LogFormat(LogFormat::Json)
    );
    assert_eq!(error("set log format jsn").nearest, Some("json"));
    assert_eq!(error("set log lod").nearest, None);
    assert_eq!(command("show health"), Command::Show(Show::Health));
    assert_eq!(set("set anti-spoofing on"), Setting::AntiSpoofing(true));
    assert_eq!(set("set fragment on"), Setting::Fragment(true));
    assert_eq!(set("set clamp-mss off"), Setting::ClampMss(false));
    assert_eq!(
        command("show subscriptions"),
        Command::Show(Show::Subscriptions)
    );
    let missing = error("set southbound tls cert a key b");
    assert_eq!(
        (missing.problem, missing.expected),
        (Problem::Missing, vec!["`ca`".to_owned()])
    );
    let wrong = error("set southbound tls cert a key b ca c alow x");
    assert_eq!(wrong.nearest, Some("allow"));
    let wrong = error("set ncm manager");
    assert!(
        wrong
            .to_string()
            .contains("an address, and a TCP port if it is not 9016"),
        "{wrong}"
    );
}

#[test]
fn what_is_set_of_the_outer_header_has_its_range() {
    for (line, item) in [
        ("set vxlan port 1", VxlanSetting::Port(1)),
        ("set vxlan port 65535", VxlanSetting::Port(u16::MAX)),
        ("set vxlan dscp copy", VxlanSetting::Dscp(None)),
        ("set vxlan dscp 0", VxlanSetting::Dscp(Some(0))),
        ("set vxlan dscp 63", VxlanSetting::Dscp(Some(63))),
        ("set vxlan vlan 4094", VxlanSetting::Vlan(4094)),
    ] {
        assert_eq!(command(line), Command::Set(Setting::Vxlan(item)));
    }
    for (line, expected) in [
        ("set vxlan port 0", &["a number from 1 to 65535"][..]),
        ("set vxlan port 65536", &["a number from 1 to 65535"]),
        ("set vxlan vlan 0", &["a number from 1 to 4094"]),
        ("set vxlan vlan 4095", &["a number from 1 to 4094"]),
        ("set vxlan dscp 64", &["`copy`", "a number from 0 to 63"]),
    ] {
        assert_eq!(error(line).expected, expected, "{line}");
    }
}

#[test]
fn replication_is_of_all_subnets_or_one_and_its_rate_has_a_range() {
    let replicate = |subnet, rate| Command::Set(Setting::Replicate { subnet, rate });
    for (line, subnet, rate) in [
        ("set replicate subnet all on", None, Some(100)),
        ("set replicate subnet all off", None, None),
        ("set replicate subnet blue on rate 1", Some("blue"), Some(1)),
    ] {
        assert_eq!(command(line), replicate(subnet.map(str::to_owned), rate));
    }
    for rate in ["0", "1000001"] {
        let wrong = error(&format!("set replicate subnet blue on rate {rate}"));
        assert_eq!(wrong.expected, ["a number from 1 to 1000000"]);
    }
}

#[test]
fn an_unknown_word_is_pointed_at_with_the_nearest_known_one() {
    let error = error("show prot stats all");
    assert_eq!((error.span.clone(), error.nearest), (5..9, Some("port")));
    assert_eq!(error.problem, Problem::Unknown("prot".into()));
    assert!(
        error.to_string().ends_with("did you mean `port`?"),
        "{error}"
    );
}

#[test]
fn a_wrong_value_says_what_would_be_right() {
    let error = error("set burst 65");
    assert_eq!(error.span, 10..12);
    assert_eq!(
        error.to_string(),
        "`65` is not allowed as COUNT; expected a number from 1 to 64"
    );
}

#[test]
fn a_line_that_ends_early_says_how_it_goes_on() {
    let missing = error("port config 0 mtu # what?");
    assert_eq!((missing.span, missing.problem), (14..17, Problem::Missing));
    assert_eq!(missing.expected, ["a number from 68 to 65535"]);
    let missing = error("set promisc 0");
    assert_eq!(missing.expected, ["`on` or `off`"]);
    assert_eq!(error("eal").problem, Problem::Missing);
}

#[test]
fn words_after_a_command_are_refused() {
    let excess = error("start now");
    assert_eq!(
        (excess.span, excess.problem),
        (6..9, Problem::Excess("now".into()))
    );
}

#[test]
fn far_away_words_suggest_nothing() {
    assert_eq!(error("frobnicate 1").nearest, None);
    assert_eq!(error("ip link").nearest, None);
}

#[test]
fn every_row_is_explained_and_none_shadows_another() {
    for spec in rows() {
        assert!(
            !spec.summary.is_empty() && !spec.summary.ends_with('.'),
            "{}",
            spec.syntax()
        );
        assert!(
            !spec.summary.contains('\n') && spec.summary.len() < 100,
            "{}",
            spec.syntax()
        );
        assert!(!spec.details.contains("  "), "{}", spec.syntax());
        assert!(
            spec.details.is_empty() || spec.details.ends_with('.'),
            "{}",
            spec.syntax()
        );
        let same = rows().filter(|other| other.parts == spec.parts).count();
        assert_eq!(same, 1, "{}", spec.syntax());
    }
}

#[test]
fn the_table_says_when_a_command_may_be_given() {
    assert_eq!(when(&command("eal -l 0")), When::Start);
    assert_eq!(when(&command("set vtep 192.0.2.1/24 port 0")), When::Start);
    assert_eq!(when(&command("show ports")), When::Running);
    assert_eq!(when(&command("port attach net_null0")), When::Always);
    assert_eq!(when(&command("help")), When::Running);
}
