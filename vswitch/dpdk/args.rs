// SPDX-License-Identifier: MIT
//! EAL arguments that must not reach DPDK: it would end the process, or wait for ever, instead of returning an error.

use super::eal::EalError;

/// EAL's short options that take a value: the rest of a cluster behind one of them is that value.
const SHORT_WITH_VALUE: &str = "abcdlmnrsS";

/// Looks through `args` as getopt does. `memory_mib` is what the machine has.
pub(super) fn check(args: &[String], memory_mib: u64) -> Result<(), EalError> {
    let mut rest = args
        .iter()
        .map(String::as_str)
        .take_while(|arg| *arg != "--")
        .peekable();
    while let Some(arg) = rest.next() {
        let (option, inline) = split(arg);
        let value = inline.or_else(|| rest.peek().copied()).unwrap_or_default();
        let reason = match option {
            Opt::Help => "it prints DPDK's usage and ends the process",
            Opt::LogLevel if value == "help" => "it prints a list and ends the process",
            Opt::ProcType if value != "primary" => {
                "the switch is a primary process, never a secondary one"
            }
            // Without huge pages DPDK touches every page of it, and the kernel kills something to make room.
            Opt::Memory if value.parse().is_ok_and(|mib: u64| mib > memory_mib) => {
                "it is more MiB than the machine has"
            }
            _ => continue,
        };
        return Err(EalError::Refused {
            argument: arg.to_owned(),
            reason,
        });
    }
    Ok(())
}

/// The options that matter here.
enum Opt {
    Help,
    LogLevel,
    ProcType,
    Memory,
    Other,
}

/// The option that `arg` is, and its value if that is in the same argument.
fn split(arg: &str) -> (Opt, Option<&str>) {
    if let Some(long) = arg.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        // getopt takes the beginning of an option for the option, where that is unambiguous.
        let known = [
            ("help", Opt::Help),
            ("log-level", Opt::LogLevel),
            ("proc-type", Opt::ProcType),
        ];
        let option = known
            .into_iter()
            .find(|(option, _)| !name.is_empty() && option.starts_with(name));
        return (option.map_or(Opt::Other, |(_, option)| option), value);
    }
    let cluster = arg.strip_prefix('-').unwrap_or_default();
    for (at, letter) in cluster.char_indices() {
        let value = Some(&cluster[at + letter.len_utf8()..]).filter(|value| !value.is_empty());
        match letter {
            'h' => return (Opt::Help, None),
            'm' => return (Opt::Memory, value),
            _ if SHORT_WITH_VALUE.contains(letter) => break,
            _ => {}
        }
    }
    (Opt::Other, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(args: &[&str]) -> bool {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        check(&args, 16_000).is_err()
    }

    #[test]
    fn what_ends_the_process_or_waits_for_ever_is_refused() {
        for args in [
            &["--help"][..],
            &["--he"],
            &["-h"],
            &["-vh"],
            &["-l", "0", "-h"],
            &["--log-level=help"],
            &["--log-level", "help"],
            &["--proc-type=secondary"],
            &["--proc-type", "auto"],
            &["-m", "16001"],
            &["-m999999"],
        ] {
            assert!(refused(args), "{args:?}");
        }
    }

    #[test]
    fn what_only_looks_like_it_passes() {
        for args in [
            &["--huge-dir=/help"][..],
            &["-dhelp.so"],
            &["-l", "0"],
            &["-a", "0000:00:0h.0"],
            &["--log-level=lib.eal:8"],
            &["--proc-type=primary"],
            &["-m", "16000"],
            &["-m", "much"],
            &["--", "--help"],
            &["-"],
            &["", "ä"],
        ] {
            assert!(!refused(args), "{args:?}");
        }
    }
}
