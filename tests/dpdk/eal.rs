// SPDX-License-Identifier: MIT
//! Starting and stopping DPDK. Each case is a process of its own, since DPDK starts once per process.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use vswitch::dpdk::{Eal, EalError, Mempool, Port, PortConfig, version};
use vswitch::io::{MAX_BURST, RxQueue};

use crate::bench::{DATA_ROOM, arguments, start};

/// EAL arguments of a child in place of the usual ones, joined by `\n`.
const ARGS: &str = "ALKAID_TEST_EAL_ARGS";

/// A child that runs `case`, one of the ignored tests below.
fn child(case: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        &format!("eal::child::{case}"),
        "--ignored",
        "--nocapture",
    ]);
    command
}

fn passes(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    text
}

/// What [`Eal::init`] answers to `args`.
fn answer(args: &[&str]) -> String {
    let text = passes(
        child("start_with")
            .env(ARGS, args.join("\n"))
            .output()
            .unwrap(),
    );
    let (_, answer) = text.split_once("<<").unwrap();
    answer.split_once(">>").unwrap().0.to_owned()
}

#[test]
fn wrong_arguments_are_an_error_in_words() {
    let base = ["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry"];
    for (args, said) in [
        (
            &["--help"][..],
            "EAL argument `--help` is refused: it prints DPDK's usage",
        ),
        (
            &["--log-level", "help"],
            "EAL argument `--log-level` is refused",
        ),
        (&["-m", "99999999"], "more MiB than the machine has"),
        (&["--nosuchoption"], "Invalid 'command line' arguments"),
        (&["-l"], "Invalid 'command line' arguments"),
        (&["-l", "999"], "invalid core list"),
        (&["-n", "many"], "invalid channel number"),
        (
            &["--in-memory"],
            "--legacy-mem is not compatible with --in-memory",
        ),
        (
            &["--vdev=net_nosuchdriver0"],
            "Unable to parse device 'net_nosuchdriver0'",
        ),
        (&["surplus"], "EAL argument `surplus` is not an option"),
    ] {
        let args = [&base, args].concat();
        let answer = answer(&args);
        assert!(answer.contains(said), "{args:?}: {answer}");
    }
}

#[test]
fn dpdk_starts_once_gives_the_callers_affinity_back_and_stops_when_unused() {
    passes(child("live").output().unwrap());
}

#[test]
fn an_ordinary_user_can_run_it() {
    // As nobody, in a run-time directory of nobody's, when the test is run as root. Else as whoever runs it.
    let folder = tempfile::tempdir().unwrap();
    let mut command = child("live");
    command.env("XDG_RUNTIME_DIR", folder.path());
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        const NOBODY: u32 = 65534;
        std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        // The test's own file may be where nobody may not go.
        let copy = folder.path().join("dpdk-test");
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        let mut as_nobody = Command::new(copy);
        as_nobody
            .args(command.get_args())
            .env("XDG_RUNTIME_DIR", folder.path());
        command = as_nobody;
        command.uid(NOBODY).gid(NOBODY).current_dir(folder.path());
    }
    passes(command.output().unwrap());
}

#[test]
fn there_are_511_sockets_for_guests_and_no_more() {
    passes(child("all_sockets").output().unwrap());
}

#[test]
fn more_ports_than_dpdk_has_are_refused() {
    passes(child("all_ports").output().unwrap());
}

/// Run by the tests above, in processes of their own.
mod child {
    use super::*;

    #[test]
    #[ignore = "has a process of its own"]
    fn start_with() {
        let args = std::env::var(ARGS).unwrap();
        let args: Vec<String> = args.lines().map(str::to_owned).collect();
        match Eal::init(&args) {
            Ok(_) => println!("<<started>>"),
            Err(error) => println!("<<{error}>>"),
        }
    }

    #[test]
    #[ignore = "has a process of its own"]
    fn live() {
        let cpus = std::thread::available_parallelism().unwrap();
        let eal = start(&[]);
        assert_eq!(std::thread::available_parallelism().unwrap(), cpus);
        assert!(matches!(Eal::init(&arguments()), Err(EalError::Again)));
        assert!(version().starts_with("DPDK "));

        let pool = Mempool::new(&eal, "live", 255, 16, DATA_ROOM, None).unwrap();
        let mut port = Port::attach(&eal, "net_null_live").unwrap().remove(0);
        port.configure(&PortConfig::default(), &pool).unwrap();
        port.start().unwrap();
        let mut frames = Default::default();
        assert_eq!(
            port.take_rx(0).unwrap().rx_burst(&mut frames, MAX_BURST),
            MAX_BURST
        );

        assert!(matches!(eal.clone().cleanup(), Err(EalError::StillUsed)));
        drop((port, pool));
        let other = eal.clone();
        let elsewhere = std::thread::spawn(move || other.cleanup()).join().unwrap();
        assert!(matches!(elsewhere, Err(EalError::WrongThread)));
        drop(frames);
        eal.cleanup().unwrap();
    }

    #[test]
    #[ignore = "has a process of its own"]
    fn frames_outlive_everything() {
        let eal = start(&[]);
        let pool = Mempool::new(&eal, "outlive", 63, 0, DATA_ROOM, None).unwrap();
        let frame = pool.alloc();
        drop(pool);
        assert!(matches!(eal.cleanup(), Err(EalError::FramesOut(1))));
        drop(frame);
    }

    #[test]
    #[ignore = "has a process of its own"]
    fn all_ports() {
        let eal = start(&[]);
        let mut ports = Vec::new();
        let error = loop {
            match Port::attach(&eal, &format!("net_null_{}", ports.len())) {
                Ok(port) => ports.extend(port),
                Err(error) => break error.to_string(),
            }
        };
        assert!(
            ports.len() >= 32 && error.contains("DPDK's limit for one process"),
            "{error}"
        );
        drop(ports.pop());
        assert!(Port::attach(&eal, "net_null_again").is_ok());
    }

    #[test]
    #[ignore = "has a process of its own"]
    fn all_sockets() {
        crate::vhost::as_many_sockets_as_there_can_be(&start(&[]));
    }

    #[test]
    #[ignore = "has a process of its own"]
    fn a_pool_larger_than_memory() {
        let eal = start(&[]);
        for count in [1_000_000, u32::MAX] {
            let error = Mempool::new(&eal, "vast", count, 0, DATA_ROOM, None).unwrap_err();
            let expected = format!("no mempool `vast` of {count} buffers: ");
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
        assert!(Mempool::new(&eal, "small", 63, 0, DATA_ROOM, None).is_ok());
    }

    #[test]
    #[ignore = "has a process of its own"]
    fn devices_of_the_command_line() {
        let eal = start(&["--vdev=net_null_a", "--vdev=net_ring_b"]);
        let names = |ports: &[Port]| {
            ports
                .iter()
                .map(|port| port.name().to_owned())
                .collect::<Vec<_>>()
        };
        let a = Port::attach(&eal, "net_null_a").unwrap();
        assert_eq!(names(&a), ["net_null_a"], "it was there and free");
        let rest = Port::probed(&eal);
        assert_eq!(names(&rest), ["net_ring_b"]);
        assert!(Port::probed(&eal).is_empty());
    }
}

#[test]
fn dpdk_does_not_stop_while_a_frame_is_out() {
    passes(child("frames_outlive_everything").output().unwrap());
}

#[test]
fn a_pool_larger_than_memory_is_refused() {
    passes(child("a_pool_larger_than_memory").output().unwrap());
}

#[test]
fn devices_of_the_command_line_can_be_taken() {
    passes(child("devices_of_the_command_line").output().unwrap());
}
