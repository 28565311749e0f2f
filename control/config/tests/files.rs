// SPDX-License-Identifier: MIT
//! Files, and files that load files.

use std::fs;
use std::path::Path;

use crate::config::file::{MAX_DEPTH, MAX_FILE};
use crate::config::{Command, Line, parse_file, parse_text};

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn lines(path: &Path) -> Vec<String> {
    parse_file(path)
        .unwrap_err()
        .lines()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn texts(commands: &[(Line, Command)]) -> Vec<String> {
    commands
        .iter()
        .map(|(_, command)| command.to_string())
        .collect()
}

#[test]
fn every_error_of_a_file_is_reported_with_file_line_and_column() {
    let text = "prot attach x\n\nset burst 32\r\n  set burst 0 # no\nshow port stats al\n";
    let errors = parse_text("lab.conf", text).unwrap_err();
    let lines: Vec<_> = errors.errors.iter().map(|error| error.line()).collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines[0].starts_with("lab.conf:1:1: unknown word `prot`; expected `eal`, `set`, `port`"),
        "{}",
        lines[0]
    );
    assert!(lines[0].ends_with("did you mean `port`?"));
    assert_eq!(
        lines[1],
        "lab.conf:4:13: `0` is not allowed as COUNT; expected a number from 1 to 64"
    );
    assert!(lines[2].starts_with("lab.conf:5:17: `al`"), "{}", lines[2]);
}

#[test]
fn the_report_shows_the_line_its_place_and_what_was_expected() {
    let report = parse_text("lab.conf", "start\nset brst 32\n")
        .unwrap_err()
        .report();
    for part in [
        "lab.conf:2:5",
        "set brst 32",
        "unknown word `brst`",
        "expected `nbcore`",
        "did you mean `burst`?",
    ] {
        assert!(report.contains(part), "{part} in\n{report}");
    }
}

#[test]
fn columns_count_characters() {
    let errors = parse_text("x", "port bind 0 'é é' é\n").unwrap_err();
    assert!(
        errors.lines().starts_with("x:1:19: unexpected word `é`"),
        "{}",
        errors.lines()
    );
    assert!(errors.report().contains("x:1:19"), "{}", errors.report());
}

#[test]
fn bytes_that_are_not_utf8_are_pointed_at() {
    let folder = folder(&[]);
    let path = folder.path().join("latin1.conf");
    fs::write(&path, b"start\nload caf\xe9.conf\n").unwrap();
    let line = &lines(&path)[0];
    assert!(
        line.ends_with("latin1.conf:2:9: a control character, or bytes that are not UTF-8"),
        "{line}"
    );
}

#[test]
fn load_puts_commands_in_its_place_and_paths_are_of_the_files_folder() {
    let folder = folder(&[
        ("a.conf", "set burst 1\nload \"sub dir/b.conf\"\nstart\n"),
        ("sub dir/b.conf", "load c.conf\nset nbcore 2"),
        ("sub dir/c.conf", "set mbufs 2048"),
    ]);
    let commands = parse_file(&folder.path().join("a.conf")).unwrap();
    assert_eq!(
        texts(&commands),
        ["set burst 1", "set mbufs 2048", "set nbcore 2", "start"]
    );
    assert!(commands[1].0.source_name().ends_with("sub dir/c.conf"));
}

#[test]
fn files_that_load_each_other_are_refused_with_the_circle() {
    let folder = folder(&[
        ("a.conf", "load b.conf"),
        ("b.conf", "start\nload ./a.conf"),
    ]);
    let errors = lines(&folder.path().join("a.conf"));
    assert_eq!(errors.len(), 1);
    let (place, text) = errors[0].split_once(": ").unwrap();
    assert!(place.ends_with("b.conf:2:1"), "{place}");
    assert!(
        text.starts_with("the files load each other in a circle: /"),
        "{text}"
    );
    assert_eq!(text.matches(" -> ").count(), 2, "{text}");
}

#[test]
fn loading_has_a_depth_and_a_number() {
    let chain: Vec<_> = (0..=MAX_DEPTH + 1)
        .map(|i| (format!("{i}"), format!("load {}", i + 1)))
        .collect();
    let chain: Vec<_> = chain
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let deep = folder(&chain);
    assert!(lines(&deep.path().join("0"))[0].ends_with("`load` is nested more than 8 deep"));
    let wide = folder(&[("a", "load b\n".repeat(70).as_str()), ("b", "start")]);
    assert_eq!(lines(&wide.path().join("a")).len(), 6);
}

#[test]
fn all_files_errors_are_reported_in_the_order_of_loading() {
    let folder = folder(&[
        ("a.conf", "load b.conf\nload nowhere.conf\nstrat"),
        ("b.conf", "stpo"),
    ]);
    let errors = lines(&folder.path().join("a.conf"));
    assert!(
        errors[0].contains("b.conf:1:1: unknown word `stpo`"),
        "{}",
        errors[0]
    );
    assert!(
        errors[1].contains("a.conf:2:1: cannot read") && errors[1].contains("nowhere.conf"),
        "{}",
        errors[1]
    );
    assert!(
        errors[2].contains("a.conf:3:1: unknown word `strat`"),
        "{}",
        errors[2]
    );
}

#[test]
fn what_is_no_file_or_too_large_is_refused_at_once() {
    let folder = folder(&[("big.conf", "")]);
    let big = folder.path().join("big.conf");
    fs::File::create(&big)
        .unwrap()
        .set_len(MAX_FILE + 1)
        .unwrap();
    assert!(lines(&big)[0].ends_with("is larger than 4 MiB"));
    assert!(lines(folder.path())[0].ends_with("is not a regular file"));
    assert!(lines(Path::new("/dev/zero"))[0].ends_with("is not a regular file"));
    assert!(lines(&folder.path().join("absent"))[0].contains("cannot read"));
}
