// SPDX-License-Identifier: MIT
//! What the compiler does not check of this repository: who may import whom, where `unsafe` may stand, that nothing is
//! left unfinished, undocumented or untested.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test ends where it fails

use std::fs;
use std::path::{Path, PathBuf};

/// Folders with files of ours.
const FOLDERS: &[&str] = &[
    "vswitch", "control", "tests", "build", "benches", "fuzz", "proto", "configs",
];

/// Folders in them with files of others.
const FOREIGN: &[&str] = &["target", "corpus", "seeds", "artifacts", "__pycache__"];

/// Parts of the packet path, from the lowest up, and what each may use besides itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("vswitch/wire", &[]),
    ("vswitch/tables", &["wire"]),
    ("vswitch/counters", &["io", "tables"]),
    ("vswitch/io", &[]),
    ("vswitch/burst", &["io", "counters", "tables", "wire"]),
    (
        "vswitch/stage",
        &["io", "counters", "tables", "wire", "burst"],
    ),
    (
        "vswitch/worker",
        &["io", "counters", "tables", "wire", "burst", "stage"],
    ),
    (
        "vswitch/dpdk",
        &["io", "counters", "tables", "wire", "burst"],
    ),
];

/// What the packet path must not know.
const CONTROL_CRATES: &[&str] = &[
    "tokio",
    "tonic",
    "prost",
    "clap",
    "serde",
    "serde_json",
    "tracing",
    "anyhow",
];

/// Where `unsafe` may stand.
const UNSAFE: &[(&str, &str)] = &[
    ("vswitch/dpdk/", "calls DPDK"),
    ("vswitch/tables/rcu", "shares what it will free"),
    (
        "vswitch/tables/neighbors/mod.rs",
        "one prefetch instruction",
    ),
    ("tests/no_allocation/counter.rs", "is an allocator"),
    (
        "benches/pipeline/",
        "has buffers like DPDK's, and reads the time stamp counter",
    ),
];

/// Longest file, in lines of code.
const MAX_LINES: usize = 400;

/// Files that may be longer, and why.
const LONG: &[(&str, &str)] = &[(
    "control/core/tests/resources.rs",
    "a test or two for each kind of resource",
)];

struct File {
    /// Relative to the repository.
    name: String,
    text: String,
}

impl File {
    /// Lines by number, without comments. A `//` in a string cuts a line short, which does no harm here.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = |line: &'_ str| line.find("//").map_or(line.len(), |comment| comment);
        (1..).zip(self.text.lines().map(move |line| &line[..code(line)]))
    }

    /// Likewise, up to the file's own tests; none of a file that is all tests.
    fn product_code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.name.ends_with("tests.rs") || self.name.contains("/tests/");
        let mut previous = "";
        self.code().take_while(move |(_, line)| {
            let begins = previous.starts_with("#[cfg(test)]") && line.starts_with("mod tests {");
            previous = line;
            !tests && !begins
        })
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of ours whose names end so.
fn files(endings: &[&str]) -> Vec<File> {
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root().join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let last = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.extend((!FOREIGN.contains(&&*last)).then_some(path));
            } else if endings.iter().any(|ending| last.ends_with(ending)) {
                let name = path
                    .strip_prefix(root())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                files.push(File {
                    name,
                    text: fs::read_to_string(&path).unwrap(),
                });
            }
        }
    }
    files.push(File {
        name: "build.rs".into(),
        text: fs::read_to_string(root().join("build.rs")).unwrap(),
    });
    files.retain(|file| endings.iter().any(|ending| file.name.ends_with(ending)));
    assert!(!files.is_empty());
    files
}

/// Words of a line that could be names.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

#[track_caller]
fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn layers_use_only_what_is_below_them() {
    let mut wrong = Vec::new();
    for file in files(&[".rs"]) {
        let Some((layer, below)) = LAYERS.iter().find(|(layer, _)| {
            let rest = file.name.strip_prefix(layer);
            rest.is_some_and(|rest| rest.starts_with(['/', '.']))
        }) else {
            assert!(
                !file.name.starts_with("vswitch/") || file.name == "vswitch/lib.rs",
                "{}: in no layer",
                file.name
            );
            continue;
        };
        let own = layer.trim_start_matches("vswitch/");
        for (line, code) in file.product_code() {
            let used = code
                .split("crate::")
                .skip(1)
                .map(|rest| words(rest).next().unwrap_or(""));
            let above = used.filter(|used| *used != own && !below.contains(used));
            wrong.extend(
                above.map(|used| format!("{}:{line}: {own} must not use {used:?}", file.name)),
            );
        }
    }
    assert_none(wrong);
}

#[test]
fn the_packet_path_knows_nothing_of_the_control_path() {
    let packet_path = files(&[".rs"])
        .into_iter()
        .filter(|file| file.name.starts_with("vswitch/"));
    let mut wrong = Vec::new();
    for file in packet_path {
        for (line, code) in file.code() {
            let named = words(code).filter(|word| CONTROL_CRATES.contains(word));
            wrong.extend(named.map(|word| format!("{}:{line}: names {word}", file.name)));
        }
    }
    assert_none(wrong);
}

#[test]
fn unsafe_code_stands_where_it_may_and_says_why_it_is_safe() {
    let mut wrong = Vec::new();
    for file in files(&[".rs"]) {
        let allowed = UNSAFE.iter().any(|(place, _)| file.name.starts_with(place));
        let lines: Vec<_> = file.text.lines().collect();
        for (line, code) in file
            .code()
            .filter(|(_, code)| words(code).any(|word| word == "unsafe"))
        {
            let quoted = code
                .split("unsafe")
                .next()
                .is_some_and(|before| before.matches('"').count() % 2 == 1);
            // Upwards through the statement and the comment before it.
            let above = lines[..line - 1].iter().rev();
            let mut statement =
                above.take_while(|line| line.contains("//") || !line.ends_with([';', '{', '}']));
            let explained = statement.any(|line| line.contains("SAFETY:"));
            let begins_function = code.contains("fn "); // clippy asks for its contract where others can call it
            if !quoted && !allowed {
                wrong.push(format!("{}:{line}: no place for unsafe code", file.name));
            } else if !quoted && !explained && !begins_function {
                wrong.push(format!("{}:{line}: no SAFETY comment", file.name));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn every_file_begins_with_its_licence() {
    let without = files(&[".rs", ".c", ".h", ".proto"]);
    let first = |file: &File| file.text.lines().next().unwrap_or("").to_owned();
    let without = without
        .into_iter()
        .filter(|file| !first(file).contains("SPDX-License-Identifier: MIT"));
    assert_none(
        without
            .map(|file| format!("{}: no SPDX line", file.name))
            .collect(),
    );
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = [
        concat!("to", "do!"),
        concat!("un", "implemented!"),
        concat!("db", "g!"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let mut wrong = Vec::new();
    for file in files(&[".rs", ".c", ".h", ".proto", ".conf", ".py", ".toml"]) {
        for (line, text) in (1..).zip(file.text.lines()) {
            let found = marks.iter().filter(|mark| text.contains(**mark));
            wrong.extend(found.map(|mark| format!("{}:{line}: {mark}", file.name)));
        }
    }
    assert_none(wrong);
}

#[test]
fn every_way_to_drop_a_packet_is_tested() {
    let tests: String = files(&[".rs"])
        .into_iter()
        .filter_map(|file| match &*file.name {
            name if name.starts_with("tests/packet_path/") => Some(file.text),
            name if name.starts_with("control/ondemand/engine/tests") => Some(file.text),
            name if name.starts_with("vswitch/stage/") => {
                Some(file.text.split_once("#[cfg(test)]")?.1.to_owned())
            }
            _ => None,
        })
        .collect();
    let tested: Vec<_> = tests
        .split("DropReason::")
        .skip(1)
        .filter_map(|rest| words(rest).next())
        .collect();
    let untested = vswitch::counters::DropReason::ALL
        .iter()
        .map(|reason| format!("{reason:?}"));
    assert_none(
        untested
            .filter(|reason| !tested.contains(&&**reason))
            .collect(),
    );
}

#[test]
fn every_configuration_is_explained_somewhere() {
    let pages = ["", "docs", "configs"]
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).into_iter().flatten());
    let pages = pages.map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let pages: String = pages
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let configurations = files(&[".conf"])
        .into_iter()
        .filter(|file| file.name.starts_with("configs/"));
    assert_none(
        configurations
            .map(|file| file.name)
            .filter(|name| !pages.contains(&**name))
            .collect(),
    );
}

#[test]
fn files_are_short_enough_to_read() {
    let mut wrong = Vec::new();
    for file in files(&[".rs"]) {
        let lines = file
            .code()
            .filter(|(_, code)| !code.trim().is_empty())
            .count();
        let excused = LONG.iter().any(|(name, _)| *name == file.name);
        if (lines > MAX_LINES) != excused {
            wrong.push(format!(
                "{}: {lines} lines of code, {MAX_LINES} are the limit",
                file.name
            ));
        }
    }
    assert_none(wrong);
}
