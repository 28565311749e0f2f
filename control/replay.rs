// SPDX-License-Identifier: MIT
//! `alkaid replay`: forwards recorded packets under recorded goal states, in one shot, as any user.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use serde_json::{Value, json};
use vswitch::tables::PortId;

use crate::cli::ReplayArgs;
use crate::cli::goal::load_goal;
use crate::config::affinity::Affinity;
use crate::config::{OnDemand, Settings};
use crate::core::{Core, Goal};
use crate::northbound::render;
use crate::proto::schema::{GoalStateOperationReply, OperationStatus};
use crate::southbound::decode::Encoded;
use crate::switch::{DeviceError, Switch, Totals};

/// Without a packet for this long the replay has failed: a file gives packets as fast as they are taken.
const STALLED: Duration = Duration::from_secs(10);

/// Pause between looks at the counters.
const PAUSE: Duration = Duration::from_millis(1);

/// Why a replay does not run to its end.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error(
        "port {0} is no recording: `alkaid replay` takes ports `net_pcapN,rx_pcap=FILE,tx_pcap=FILE`"
    )]
    NotRecorded(usize),
    #[error("port {0} has infinite_rx=1: a replay of it would never end")]
    Endless(usize),
    #[error("`{}`: {error}", path.display())]
    Recording {
        path: PathBuf,
        error: pcap_file::PcapError,
    },
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("after {seen} of {expected} recorded packets no further one came")]
    Stalled { seen: u64, expected: u64 },
}

/// Replays, prints the counters, and says whether every resource was accepted.
pub(crate) fn run(settings: Settings, args: &ReplayArgs) -> Result<bool, Box<dyn Error>> {
    let goals = args
        .goal_state
        .iter()
        .map(|path| load_goal(path))
        .collect::<Result<Vec<_>, _>>()?;
    let expected = recorded_packets(&settings)?;
    let (switch, core) = Switch::bring_up(ordinary_user(settings))?;
    let outcome = program_and_forward(&switch, core, args, goals, expected);
    let totals = switch.totals();
    // Writes what is left of the output files, so the counters are printed after. They are also when it failed: they
    // say how far it came.
    switch.shut_down();
    print(&totals?, args.json)?;
    outcome
}

/// Programs the goal states, then lets the packets go. False if a resource was refused.
fn program_and_forward(
    switch: &Switch,
    mut core: Core,
    args: &ReplayArgs,
    goals: Vec<Goal>,
    expected: u64,
) -> Result<bool, Box<dyn Error>> {
    for (port, id) in switch.settings().bindings() {
        core.bind(port, &id)?;
    }
    let mut accepted = true;
    for (path, goal) in args.goal_state.iter().zip(goals) {
        let reply = core.apply(&path.display().to_string(), &Encoded::from(&goal))?;
        accepted &= report_refusals(path, &reply);
    }
    switch.start();
    forward_all(switch, expected)?;
    Ok(accepted)
}

/// The settings, but with DPDK started so that it needs no huge pages, no devices and no privileges; and with one
/// worker: recordings have one tx queue each, and a file does not slow down when workers queue for that. Nor is there a time
/// that rates would be of.
fn ordinary_user(mut settings: Settings) -> Settings {
    for port in &mut settings.ports {
        port.affinity = Affinity::default();
    }
    settings.work.host_rate = None;
    // A buffer takes some 2.4 KiB with its header; what DPDK itself needs is below the constant.
    let megabytes = settings.mbufs / 400 + 64;
    let prefix = format!("--file-prefix=alkaid-replay-{}", std::process::id());
    let quiet = [
        "--no-huge",
        "--no-pci",
        "--no-shconf",
        "--no-telemetry",
        "--log-level=warning",
    ];
    let eal = quiet
        .into_iter()
        .map(str::to_owned)
        .chain([prefix, "-m".to_owned(), megabytes.to_string()])
        .collect();
    Settings {
        eal,
        workers: 1,
        corelist: None,
        on_demand: OnDemand::default(), // a recording's packets wait for nobody
        ..settings
    }
}

/// Packets in all the recordings that workers receive.
fn recorded_packets(settings: &Settings) -> Result<u64, ReplayError> {
    let mut packets = 0;
    for (number, port) in settings.ports.iter().enumerate() {
        if port.subport().is_some() {
            continue; // what is in its parent's recording
        }
        if !port.device.starts_with("net_pcap") {
            return Err(ReplayError::NotRecorded(number));
        }
        let polled = |number| {
            let id = u16::try_from(number).ok().and_then(PortId::new);
            settings
                .portlist
                .as_ref()
                .is_none_or(|list| id.is_some_and(|id| list.contains(&id)))
        };
        for argument in port.device.split(',').skip(1) {
            match argument.split_once('=') {
                Some(("rx_pcap", _)) if !polled(number) => {}
                Some(("rx_pcap", path)) => packets += packets_in(Path::new(path))?,
                Some(("infinite_rx", value)) if value != "0" => {
                    return Err(ReplayError::Endless(number));
                }
                Some(("iface" | "rx_iface" | "rx_iface_in" | "tx_iface", _)) => {
                    return Err(ReplayError::NotRecorded(number));
                }
                _ => {}
            }
        }
    }
    Ok(packets)
}

/// Packets in one recording, pcap or pcapng.
fn packets_in(path: &Path) -> Result<u64, ReplayError> {
    let failed = |error| ReplayError::Recording {
        path: path.to_owned(),
        error,
    };
    let open = || File::open(path).map_err(|error| failed(pcap_file::PcapError::IoError(error)));
    let mut packets = 0;
    if let Ok(mut pcapng) = PcapNgReader::new(open()?) {
        while let Some(block) = pcapng.next_block() {
            let block = block.map_err(failed)?;
            packets += u64::from(matches!(
                block,
                Block::EnhancedPacket(_) | Block::SimplePacket(_) | Block::Packet(_)
            ));
        }
        return Ok(packets);
    }
    let mut pcap = PcapReader::new(open()?).map_err(failed)?;
    while let Some(packet) = pcap.next_raw_packet() {
        packet.map_err(failed)?;
        packets += 1;
    }
    Ok(packets)
}

/// Waits until every recorded packet has arrived, and everything that arrived has left or been dropped.
fn forward_all(switch: &Switch, expected: u64) -> Result<(), ReplayError> {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let totals = switch.totals()?;
        let arrived: u64 = totals.iter().map(|port| port.switch.rx).sum();
        let lost: u64 = totals
            .iter()
            .map(|port| port.device.rx_errors + port.device.rx_nombuf)
            .sum();
        let settled: u64 = totals
            .iter()
            .map(|port| port.switch.forwarded + port.switch.answered + port.switch.dropped())
            .sum();
        if arrived + lost >= expected && settled == arrived {
            return Ok(());
        }
        if arrived + settled != last {
            (last, since) = (arrived + settled, Instant::now());
        } else if since.elapsed() > STALLED {
            return Err(ReplayError::Stalled {
                seen: arrived + lost,
                expected,
            });
        }
        std::thread::sleep(PAUSE);
    }
}

/// Logs what was not programmed. False if something was refused; what waits for another resource may be meant so.
fn report_refusals(path: &Path, reply: &GoalStateOperationReply) -> bool {
    let mut accepted = true;
    for status in &reply.operation_statuses {
        let (kind, id) = (status.resource_type().as_str_name(), &status.resource_id);
        match status.operation_status() {
            OperationStatus::Success => {}
            OperationStatus::Pending => {
                tracing::warn!("{}: {kind} {id} is PENDING", path.display())
            }
            refused => {
                tracing::error!(
                    "{}: {kind} {id} is {}",
                    path.display(),
                    refused.as_str_name()
                );
                accepted = false;
            }
        }
    }
    accepted
}

fn print(totals: &[Totals], as_json: bool) -> std::io::Result<()> {
    use std::io::Write;

    let ports: Value = totals.iter().map(Totals::row).collect();
    let drops: Value = totals.iter().flat_map(Totals::drops).collect();
    let mut out = std::io::stdout().lock();
    if as_json {
        return writeln!(out, "{}", json!({ "ports": ports, "drops": drops }));
    }
    write!(out, "{}", render::table(&ports))?;
    if drops.as_array().is_some_and(|drops| !drops.is_empty()) {
        write!(out, "\n{}", render::table(&drops))?;
    }
    Ok(())
}
