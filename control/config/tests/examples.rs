// SPDX-License-Identifier: MIT
//! The files under `configs/`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::lexer;
use crate::config::parse::after;
use crate::config::table::{Spec, When, rows};
use crate::config::{Command, PortSettings, Settings, parse_file, read};

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs")
}

#[test]
fn every_example_is_right_as_it_stands() {
    let mut count = 0;
    for entry in fs::read_dir(configs()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "conf")
        {
            let settings = read(&path, Settings::default())
                .unwrap_or_else(|errors| panic!("{}", errors.lines()));
            assert!(
                !settings.ports.is_empty() && !settings.vteps.is_empty(),
                "{}",
                path.display()
            );
            count += 1;
        }
    }
    assert!(count >= 5);
}

#[test]
fn the_hosts_of_the_pair_know_each_other() {
    let [a, b] = ["host-a.conf", "host-b.conf"]
        .map(|name| read(&configs().join(name), Settings::default()).unwrap());
    let address = |settings: &Settings| settings.vteps[0].addresses.v4.unwrap().addr();
    assert!(
        a.underlay_neighbors.contains_key(&address(&b))
            && b.underlay_neighbors.contains_key(&address(&a))
    );
    assert_ne!(a.control_socket, b.control_socket);
    assert_ne!(a.ports[1].id, b.ports[1].id);
}

#[test]
fn the_reference_has_the_defaults() {
    let settings = read(&configs().join("reference.conf"), Settings::default()).unwrap();
    let port = PortSettings {
        device: "net_null0".into(),
        ..settings.ports[0].clone()
    };
    let defaults = Settings {
        eal: settings.eal.clone(),
        ports: vec![port],
        portlist: settings.portlist.clone(),
        vteps: settings.vteps.clone(),
        underlay_neighbors: settings.underlay_neighbors.clone(),
        underlay_gateways: settings.underlay_gateways.clone(),
        ..Settings::default()
    };
    assert_eq!(settings, defaults);
}

/// The row of the table that `line` is of.
fn row(line: &str) -> Option<*const Spec> {
    let words = lexer::cut(line).words;
    let state = after(&words).ok().filter(|_| !words.is_empty())?;
    state
        .specs()
        .find(|spec| spec.parts.len() <= words.len())
        .map(std::ptr::from_ref)
}

#[test]
fn the_reference_names_every_command_of_a_start_up_file() {
    let text = fs::read_to_string(configs().join("reference.conf")).unwrap();
    let lines = text.lines().map(|line| line.trim_start_matches("# "));
    let given: Vec<_> = lines.filter_map(row).collect();
    for spec in rows().filter(|spec| spec.when != When::Running) {
        // The other order of words is named in a sentence.
        let named =
            given.contains(&std::ptr::from_ref(spec)) || text.contains("`port config mtu 0 1500`");
        assert!(named, "{}", spec.syntax());
    }
}

#[test]
fn examples_in_comments_and_help_are_commands() {
    let text: String = [
        "host-nic.conf",
        "pcap-lab.conf",
        "host-a.conf",
        "host-b.conf",
    ]
    .map(|name| fs::read_to_string(configs().join(name)).unwrap())
    .concat();
    let mut count = 0;
    for line in text
        .lines()
        .filter_map(|line| line.split_once("alkaid exec "))
    {
        let command = line.1.split('"').nth(1).unwrap();
        assert!(
            crate::config::parse::parse_line(command).unwrap().is_some(),
            "{command}"
        );
        count += 1;
    }
    assert!(count >= 5);
    for spec in rows() {
        for quoted in spec
            .details
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|text| text.contains(' '))
        {
            let wrong = crate::config::parse::parse_line(quoted)
                .err()
                .filter(|_| row(quoted).is_none());
            let is_option = quoted.starts_with('-') || quoted.starts_with("alkaid ");
            assert!(
                wrong.is_none() || is_option || prefix(quoted),
                "{}: {quoted}",
                spec.syntax()
            );
        }
    }
}

/// True if `text` is the beginning of a command.
fn prefix(text: &str) -> bool {
    after(&lexer::cut(text).words).is_ok()
}

#[test]
fn commands_are_in_the_order_of_the_file() {
    let commands = parse_file(&configs().join("host-a.conf")).unwrap();
    assert!(matches!(commands.first(), Some((_, Command::Eal(_)))));
    assert_eq!(
        commands.last().map(|(_, command)| command),
        Some(&Command::Start)
    );
}
