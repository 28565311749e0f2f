// SPDX-License-Identifier: MIT
//! What holds for any input.

use proptest::prelude::*;
use proptest::sample::select;

use crate::config::affinity::Affinity;
use crate::config::argument::Kind;
use crate::config::complete::complete;
use crate::config::help::help;
use crate::config::lexer::quoted;
use crate::config::parse::parse_line;
use crate::config::table::{Part, Spec, rows, when};
use crate::config::{Settings, parse_text};

/// Any word that may stand in a line, spaces, quotes and backslashes included.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9_:,=./-]{1,20}",
        "[ -~\u{a1}-\u{ff}\u{3000}]{1,20}",
        "[\"'\\\\ #a]{1,8}"
    ]
}

fn list(max: u16) -> impl Strategy<Value = String> {
    let numbers = proptest::collection::btree_set(0..=max, 1..6);
    numbers.prop_map(|all| all.iter().map(u16::to_string).collect::<Vec<_>>().join(","))
}

fn address() -> impl Strategy<Value = String> {
    (1u8..=126, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| format!("{a}.{b}.{c}.{d}"))
}

fn address6() -> impl Strategy<Value = String> {
    any::<[u16; 2]>().prop_map(|[a, b]| format!("2001:db8:{a:x}::{b:x}"))
}

/// The words of an argument of this kind.
fn words(kind: Kind) -> BoxedStrategy<String> {
    match kind {
        Kind::Port => (0u16..32).prop_map(|n| n.to_string()).boxed(),
        Kind::Ports => prop_oneof![
            (0u16..32).prop_map(|n| n.to_string()),
            Just("all".to_owned())
        ]
        .boxed(),
        Kind::PortList => list(vswitch::tables::MAX_PORTS as u16 - 1).boxed(),
        Kind::CoreList => list(1023).boxed(),
        Kind::Affinity => proptest::collection::btree_map(any::<u16>(), 0u16..=1023, 0..5)
            .prop_map(|cores| Affinity(cores).to_string())
            .boxed(),
        Kind::Number(min, max) => prop_oneof![
            (min..=max).prop_map(|n| n.to_string()),
            (min..=max).prop_map(|n| format!("{n:#x}"))
        ]
        .boxed(),
        Kind::OnOff | Kind::Level => select(kind.words()).prop_map(str::to_owned).boxed(),
        Kind::Address => prop_oneof![address(), address6()].boxed(),
        Kind::AddressPrefix => prop_oneof![(address(), 1..=32), (address6(), 1..=128)]
            .prop_map(|(ip, len)| format!("{ip}/{len}"))
            .boxed(),
        Kind::Mac => any::<[u8; 5]>()
            .prop_map(|[b, c, d, e, f]| format!("02:{b:x}:{c:02X}:{d:x}:{e:02x}:{f:x}"))
            .boxed(),
        Kind::Socket => (address(), 1u16..)
            .prop_map(|(ip, port)| format!("{ip}:{port}"))
            .boxed(),
        Kind::Server(_) => (address(), proptest::option::of(1u16..))
            .prop_map(|(ip, port)| match port {
                Some(port) => format!("{ip}:{port}"),
                None => ip,
            })
            .boxed(),
        Kind::OwnAddress => address().boxed(),
        Kind::Names => proptest::collection::btree_set("[a-z .\"-]{1,9}", 1..4)
            .prop_map(|names| quoted(&names.into_iter().collect::<Vec<_>>().join(",")).into_owned())
            .boxed(),
        Kind::Path | Kind::Text => text().prop_map(|word| quoted(&word).into_owned()).boxed(),
        Kind::Words => several(1).boxed(),
        Kind::Topic => several(0).boxed(),
    }
}

fn several(least: usize) -> impl Strategy<Value = String> {
    let words = proptest::collection::vec(text(), least..4);
    words.prop_map(|words| {
        words
            .iter()
            .map(|word| quoted(word).into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    })
}

/// A line that is a command, of any row of the table.
fn line() -> impl Strategy<Value = String> {
    select(rows().collect::<Vec<_>>()).prop_flat_map(of)
}

fn of(spec: &Spec) -> impl Strategy<Value = String> + use<> {
    let part = |part: &Part| match part {
        Part::Is(word) => Just((*word).to_owned()).boxed(),
        Part::Arg(argument) => words(argument.kind),
    };
    spec.parts
        .iter()
        .map(part)
        .collect::<Vec<_>>()
        .prop_map(|words| words.join(" "))
}

/// Nearly a command: a line with something put in its middle.
fn spoilt() -> impl Strategy<Value = String> {
    (
        line(),
        any::<proptest::sample::Index>(),
        "\\PC{0,3}",
        any::<bool>(),
    )
        .prop_map(|(line, at, more, cut)| {
            let at = line.floor_char_boundary(at.index(line.len() + 1));
            let rest = if cut { "" } else { &line[at..] };
            format!("{}{more}{rest}", &line[..at])
        })
}

fn check(line: &str) -> Result<(), TestCaseError> {
    if let Err(error) = parse_line(line) {
        prop_assert!(error.span.start <= error.span.end && error.span.end <= line.len());
        prop_assert!(
            line.is_char_boundary(error.span.start) && line.is_char_boundary(error.span.end)
        );
        prop_assert!(!error.to_string().is_empty());
    }
    let completion = complete(line);
    prop_assert!(line.is_char_boundary(completion.start));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_line_is_read_or_refused_with_a_place_inside_it(line in any::<String>()) {
        check(&line)?;
    }

    #[test]
    fn nearly_right_lines_are_read_or_refused_with_a_place_inside_them(line in spoilt()) {
        check(&line)?;
    }

    #[test]
    fn every_command_prints_as_a_line_that_is_that_command(line in line()) {
        let command = parse_line(&line).unwrap().unwrap();
        let printed = command.to_string();
        prop_assert_eq!(parse_line(&printed).unwrap(), Some(command.clone()), "{}", printed);
        prop_assert_eq!(parse_line(&printed).unwrap().unwrap().to_string(), printed);
        when(&command);
    }

    #[test]
    fn quoting_is_undone_by_reading(word in text()) {
        let words = crate::config::lexer::cut(&quoted(&word)).words;
        prop_assert_eq!(words.len(), 1);
        prop_assert_eq!(&words[0].text, &word);
    }

    #[test]
    fn help_answers_any_words(topic in proptest::collection::vec(any::<String>(), 0..4)) {
        if let Err(error) = help(&topic) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_reported(bytes in any::<Vec<u8>>(), lines in proptest::collection::vec(spoilt(), 0..20)) {
        let text = String::from_utf8_lossy(&bytes).into_owned() + "\n" + &lines.join("\n");
        // Without `load`: a made-up path might be a file.
        let text = text.replace("load", "laod");
        let errors = match parse_text("any", &text) {
            Ok(commands) => match Settings::from_commands(&commands) {
                Ok(_) => return Ok(()),
                // What is missing has no line to name, and the file's name is its reader's to add.
                Err(errors) if errors.errors.iter().all(|error| error.place.is_none()) => {
                    return Ok(());
                }
                Err(errors) => errors,
            },
            Err(errors) => errors,
        };
        prop_assert!(!errors.errors.is_empty());
        prop_assert!(errors.report().contains("any"));
        prop_assert_eq!(errors.lines().lines().count(), errors.errors.len());
    }

    #[test]
    fn settings_print_as_commands_that_make_them(mut lines in proptest::collection::vec(line(), 0..30)) {
        // A made-up path might be a file.
        lines.retain(|line| !line.starts_with("load"));
        let ports = "port attach net_null0\nport attach net_null1\nset southbound off\n";
        let commands = parse_text("any", &format!("{ports}{}", lines.join("\n"))).unwrap();
        // Lines that contradict others go.
        let mut kept: Vec<_> = Vec::new();
        for command in commands {
            kept.push(command);
            // The first three make up a whole.
            if kept.len() > 3 && Settings::from_commands(&kept).is_err() {
                kept.pop();
            }
        }
        let settings = Settings::from_commands(&kept).unwrap();
        let printed: String = settings.commands().iter().map(|command| format!("{command}\n")).collect();
        let again = parse_text("printed", &printed).and_then(|commands| Settings::from_commands(&commands));
        prop_assert_eq!(again.map_err(|errors| errors.lines()), Ok(settings), "{}", printed);
    }
}
