// SPDX-License-Identifier: MIT
//! `explain`: what a running switch would do with a packet, and why.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use serde_json::{Value, json};

use super::client::Switch;
use super::{EXIT_OK, EXIT_USAGE, ExplainArgs, Streams, runtime};
use crate::northbound::api::explain_request::Packet;
use crate::northbound::api::{Because, ExplainReply, ExplainRequest, ExplainStep};
use crate::northbound::render::visible;

/// Explains what the arguments name; the exit status.
pub(super) fn run(args: &ExplainArgs, streams: &mut Streams) -> u8 {
    match explain_all(args, streams) {
        Ok(()) => EXIT_OK,
        Err(error) => {
            streams.err(&format!("alkaid: {error}\n"));
            EXIT_USAGE
        }
    }
}

fn explain_all(args: &ExplainArgs, streams: &mut Streams) -> Result<(), String> {
    let switch = Switch::new(&args.socket);
    let runtime = runtime().map_err(|error| error.to_string())?;
    let packets: Packets = match (&args.packet, &args.pcap) {
        (Some(words), _) => Box::new(std::iter::once(Ok(Packet::Words(words.clone())))),
        (None, Some(file)) => {
            recorded(file).map_err(|error| format!("{}: {error}", file.display()))?
        }
        (None, None) => Box::new(std::iter::empty()),
    };
    let several = args.packet.is_none();
    for (n, packet) in packets.enumerate() {
        let request = ExplainRequest {
            port: args.port.into(),
            packet: Some(packet?),
        };
        let reply = runtime.block_on(switch.explain(request));
        let reply = reply.map_err(|error| error.to_string())?;
        if !reply.error.is_empty() {
            return Err(reply.error);
        }
        if args.json {
            streams.out(&format!("{}\n", as_json(&reply)));
            continue;
        }
        if several {
            streams.out(&format!("packet {}\n", n + 1));
        }
        streams.out(&in_words(&reply));
    }
    Ok(())
}

/// One after the other.
type Packets = Box<dyn Iterator<Item = Result<Packet, String>>>;

/// The packets of a recording, as they are read.
fn recorded(file: &Path) -> Result<Packets, String> {
    let opened = File::open(file).map_err(|error| error.to_string())?;
    let mut reader = PcapReader::new(BufReader::new(opened)).map_err(|error| error.to_string())?;
    let link = reader.header().datalink;
    if link != DataLink::ETHERNET {
        return Err(format!("a recording of {link:?} frames, not of Ethernet's"));
    }
    let name = file.display().to_string();
    let mut number = 0;
    Ok(Box::new(std::iter::from_fn(move || {
        let packet = reader.next_packet()?;
        number += 1;
        let wrong = |what: String| format!("{name}: packet {number}: {what}");
        Some(match packet {
            Err(error) => Err(wrong(error.to_string())),
            Ok(packet) if packet.data.len() < packet.orig_len as usize => Err(wrong(format!(
                "the recording has {} of its {} bytes: record whole packets (tcpdump -s 0)",
                packet.data.len(),
                packet.orig_len
            ))),
            Ok(packet) => Ok(Packet::Frame(packet.data.into_owned())),
        })
    })))
}

fn in_words(reply: &ExplainReply) -> String {
    let mut text = String::new();
    for ExplainStep {
        stage,
        text: what,
        because,
    } in &reply.steps
    {
        text.push_str(&format!("{stage:<9} {what}\n"));
        for Because { kind, id, revision } in because {
            let id = visible(id);
            text.push_str(&format!("{:<9} - {kind} {id}, revision {revision}\n", ""));
        }
    }
    text.push_str(&format!("{:<9} {}", "result", reply.outcome));
    match reply.reason.as_str() {
        "" => text.push('\n'),
        reason => text.push_str(&format!(": {reason}\n")),
    }
    for sent in &reply.sent {
        text.push_str(&format!(
            "{:<9} port {}: {}\n",
            "sent", sent.port, sent.summary
        ));
    }
    text
}

/// One object in one line.
fn as_json(reply: &ExplainReply) -> Value {
    let because =
        |named: &Because| json!({"kind": named.kind, "id": named.id, "revision": named.revision});
    let step = |step: &ExplainStep| {
        json!({
            "stage": step.stage,
            "text": step.text,
            "because": step.because.iter().map(because).collect::<Vec<_>>(),
        })
    };
    let sent = reply.sent.iter().map(|sent| {
        let hex: String = sent
            .frame
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        json!({"port": sent.port, "summary": sent.summary, "frame": hex})
    });
    json!({
        "steps": reply.steps.iter().map(step).collect::<Vec<_>>(),
        "outcome": reply.outcome,
        "reason": Some(&reply.reason).filter(|reason| !reason.is_empty()),
        "sent": sent.collect::<Vec<_>>(),
    })
}
