// SPDX-License-Identifier: MIT
//! [`Recording`]: a pcapng file (draft-ietf-opsawg-pcapng) of what a switch says of its frames.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapError};
use vswitch::counters::DropReason;

use crate::capture::now_ns;
use crate::northbound::api::captured_frame::Event;
use crate::northbound::api::{CaptureReply, CapturedFrame, CapturedPort, MissedFrames};
use crate::northbound::render::visible;

/// Timestamps are in nanoseconds: ten to the minus ninth.
const NANOSECONDS: u8 = 9;

/// `epb_flags`: the direction.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A file that is being written.
pub(super) struct Recording<W: Write> {
    file: PcapNgWriter<W>,
    snaplen: u32,
    /// Frames that may come yet.
    left: Option<u64>,
    began_ns: u64,
    /// By port, and when its number became the device's.
    interfaces: BTreeMap<(u32, u64), Interface>,
}

/// A port with one device.
struct Interface {
    /// Which one of the file it is.
    id: u32,
    captured: u64,
    missed: u64,
}

impl<W: Write> Recording<W> {
    /// Begins a file of frames of which there are `snaplen` bytes at most, and no more than `count` if there is one.
    pub(super) fn new(to: W, snaplen: u32, count: Option<u64>) -> io::Result<Self> {
        let program = concat!("alkaid ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![SectionHeaderOption::UserApplication(program.into())],
            ..SectionHeaderBlock::default()
        };
        Ok(Self {
            file: PcapNgWriter::with_section_header(to, section).map_err(io_error)?,
            snaplen,
            left: count,
            began_ns: now_ns(),
            interfaces: BTreeMap::new(),
        })
    }

    /// Writes what a switch says. False: that is all that was asked for.
    pub(super) fn add(&mut self, reply: CaptureReply) -> io::Result<bool> {
        for port in &reply.ports {
            self.add_interface(port)?;
        }
        for missed in &reply.missed {
            self.note_missed(missed);
        }
        for frame in &reply.frames {
            if self.left == Some(0) {
                break;
            }
            self.add_frame(frame)?;
            self.left = self.left.map(|left| left - 1);
        }
        // Somebody may be looking at the other end.
        self.file.get_mut().flush()?;
        Ok(self.left != Some(0))
    }

    fn add_interface(&mut self, port: &CapturedPort) -> io::Result<()> {
        let name = format!("port{}", port.port);
        let device = visible(&port.device);
        let description = match port.binding.as_str() {
            "" => device,
            binding => format!("{device}, {}", visible(binding)),
        };
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: self.snaplen,
            options: vec![
                InterfaceDescriptionOption::IfName(name.into()),
                InterfaceDescriptionOption::IfDescription(description.into()),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        };
        self.write(block)?;
        let interface = Interface {
            id: self.interfaces.len() as u32,
            captured: 0,
            missed: 0,
        };
        self.interfaces
            .insert((port.port, port.attached_ns), interface);
        Ok(())
    }

    /// What is new of it counts for the device that the port has now.
    fn note_missed(&mut self, missed: &MissedFrames) {
        let mut devices = self.interfaces.range_mut(devices_of(missed.port));
        if let Some((_, now)) = devices.next_back() {
            let before: u64 = devices.map(|(_, past)| past.missed).sum();
            now.missed = missed.frames.saturating_sub(before);
        }
    }

    fn add_frame(&mut self, frame: &CapturedFrame) -> io::Result<()> {
        // That of the device that the port had then; of earlier ones, which nobody knew, the first.
        let mut devices = self.interfaces.range_mut(devices_of(frame.port));
        let first = devices.next();
        let later = devices.take_while(|((_, since), _)| *since <= frame.time_ns);
        let Some((_, interface)) = later.last().or(first) else {
            let port = frame.port;
            let wrong = format!("the switch sent a frame of port {port}, which it had not named");
            return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
        };
        interface.captured += 1;
        let direction = match frame.event() {
            Event::Sent => OUTBOUND,
            Event::Received | Event::Dropped => INBOUND,
        };
        let mut options = Vec::with_capacity(2);
        if frame.event() == Event::Dropped {
            options.push(EnhancedPacketOption::Comment(comment(&frame.reason).into()));
        }
        options.push(EnhancedPacketOption::Flags(direction));
        let block = EnhancedPacketBlock {
            interface_id: interface.id,
            timestamp: Duration::from_nanos(frame.time_ns),
            original_len: frame.len,
            data: Cow::Borrowed(&frame.data),
            options,
        };
        self.write(block)
    }

    /// Ends the file with what is known of each interface.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let now = now_ns();
        let blocks: Vec<_> = self
            .interfaces
            .values()
            .map(|interface| {
                let Interface {
                    id,
                    captured,
                    missed,
                } = *interface;
                InterfaceStatisticsBlock {
                    interface_id: id,
                    timestamp: halves(now),
                    options: vec![
                        InterfaceStatisticsOption::IsbStartTime(halves(self.began_ns)),
                        InterfaceStatisticsOption::IsbEndTime(halves(now)),
                        InterfaceStatisticsOption::IsbIfRecv(captured + missed),
                        InterfaceStatisticsOption::IsbIfDrop(missed),
                        InterfaceStatisticsOption::IsbUsrDeliv(captured),
                    ],
                }
            })
            .collect();
        for block in blocks {
            self.write(block)?;
        }
        self.file.get_mut().flush()
    }

    /// What came of it, for people.
    pub(super) fn summary(&self) -> String {
        let sum = |of: fn(&Interface) -> u64| self.interfaces.values().map(of).sum::<u64>();
        let (captured, missed) = (sum(|it| it.captured), sum(|it| it.missed));
        match missed {
            0 => format!("{captured} frames captured"),
            _ => format!(
                "{captured} frames captured, {missed} not: they came faster than they were written"
            ),
        }
    }

    fn write<'a>(&mut self, block: impl PcapNgBlock<'a>) -> io::Result<()> {
        let written = self.file.write_pcapng_block(block);
        written.map(|_| ()).map_err(io_error)
    }
}

/// The keys of a port's devices, the oldest first.
const fn devices_of(port: u32) -> RangeInclusive<(u32, u64)> {
    (port, 0)..=(port, u64::MAX)
}

/// The reason, and in a sentence what it means.
fn comment(reason: &str) -> String {
    let known = DropReason::ALL.iter().find(|known| known.name() == reason);
    match known {
        Some(known) => format!("dropped, {reason}: {}", known.explanation()),
        // A switch of another version.
        None => format!("dropped, {}", visible(reason)),
    }
}

/// A time as the interface statistics have it, the upper half first: the library writes one number, the lower half first.
const fn halves(ns: u64) -> u64 {
    ns.rotate_left(32)
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::*;

    fn port(port: u32, binding: &str) -> CapturedPort {
        CapturedPort {
            port,
            device: format!("net_null{port}"),
            binding: binding.to_owned(),
            attached_ns: 0,
        }
    }

    fn frame(port: u32, event: Event, reason: &str) -> CapturedFrame {
        CapturedFrame {
            port,
            event: event.into(),
            reason: reason.to_owned(),
            time_ns: 1_700_000_000_123_456_789,
            len: 1500,
            data: vec![port as u8; 61],
        }
    }

    fn reply(frames: Vec<CapturedFrame>) -> CaptureReply {
        CaptureReply {
            frames,
            ..CaptureReply::default()
        }
    }

    /// The blocks of a file, without the first.
    fn blocks(file: &[u8]) -> Vec<Block<'static>> {
        let mut reader = PcapNgReader::new(file).unwrap();
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block() {
            blocks.push(block.unwrap().into_owned());
        }
        blocks
    }

    #[test]
    fn ports_are_interfaces_and_frames_have_directions_and_reasons() {
        let mut file = Vec::new();
        let mut recording = Recording::new(&mut file, 61, None).unwrap();
        let ports = vec![port(0, ""), port(7, "web\n1")];
        let first = CaptureReply {
            ports,
            ..CaptureReply::default()
        };
        assert!(recording.add(first).unwrap());
        let frames = vec![
            frame(7, Event::Received, ""),
            frame(0, Event::Sent, ""),
            frame(7, Event::Dropped, "no_route"),
            frame(7, Event::Dropped, "of_the_future"),
        ];
        let missed = vec![MissedFrames { port: 7, frames: 5 }];
        let more = CaptureReply {
            missed,
            ..reply(frames)
        };
        assert!(recording.add(more).unwrap());
        recording.end().unwrap();
        assert_eq!(
            recording.summary(),
            "4 frames captured, 5 not: they came faster than they were written"
        );
        drop(recording);
        let blocks = blocks(&file);
        let described = |block: &Block<'static>| match block {
            Block::InterfaceDescription(it) => Some((it.snaplen, it.options.clone())),
            _ => None,
        };
        let options = |name: &'static str, description: &'static str| {
            vec![
                InterfaceDescriptionOption::IfName(name.into()),
                InterfaceDescriptionOption::IfDescription(description.into()),
                InterfaceDescriptionOption::IfTsResol(9),
            ]
        };
        let found: Vec<_> = blocks.iter().filter_map(described).collect();
        let expected = [
            (61, options("port0", "net_null0")),
            (61, options("port7", "net_null7, web\\n1")),
        ];
        assert_eq!(found, expected);
        let packets: Vec<_> = blocks
            .iter()
            .filter_map(|block| match block {
                Block::EnhancedPacket(it) => Some(it),
                _ => None,
            })
            .collect();
        assert!(
            packets
                .iter()
                .all(|it| it.timestamp == Duration::from_nanos(1_700_000_000_123_456_789))
        );
        assert!(
            packets
                .iter()
                .all(|it| it.original_len == 1500 && it.data.len() == 61)
        );
        assert_eq!(
            packets.iter().map(|it| it.interface_id).collect::<Vec<_>>(),
            [1, 0, 1, 1]
        );
        assert_eq!(packets[0].options, [EnhancedPacketOption::Flags(INBOUND)]);
        assert_eq!(packets[1].options, [EnhancedPacketOption::Flags(OUTBOUND)]);
        let told = format!("dropped, no_route: {}", DropReason::NoRoute.explanation());
        assert_eq!(
            packets[2].options,
            [
                EnhancedPacketOption::Comment(told.into()),
                EnhancedPacketOption::Flags(INBOUND)
            ]
        );
        assert_eq!(
            packets[3].options[0],
            EnhancedPacketOption::Comment("dropped, of_the_future".into())
        );
        let statistics: Vec<_> = blocks
            .iter()
            .filter_map(|block| match block {
                Block::InterfaceStatistics(it) => Some((it.interface_id, it.options[2..].to_vec())),
                _ => None,
            })
            .collect();
        let counts = |captured, missed| {
            vec![
                InterfaceStatisticsOption::IsbIfRecv(captured + missed),
                InterfaceStatisticsOption::IsbIfDrop(missed),
                InterfaceStatisticsOption::IsbUsrDeliv(captured),
            ]
        };
        assert_eq!(statistics, [(0, counts(1, 0)), (1, counts(3, 5))]);
    }

    #[test]
    fn a_number_that_becomes_another_devices_is_another_interface() {
        let mut file = Vec::new();
        let mut recording = Recording::new(&mut file, 61, None).unwrap();
        let at = |time_ns| CapturedFrame {
            time_ns,
            ..frame(3, Event::Sent, "")
        };
        let told = |port, frames, missed| CaptureReply {
            ports: vec![port],
            frames,
            missed: vec![MissedFrames {
                port: 3,
                frames: missed,
            }],
        };
        let (first, second) = (
            port(3, "web"),
            CapturedPort {
                device: "net_null9".to_owned(),
                attached_ns: 200,
                ..port(3, "")
            },
        );
        assert!(recording.add(told(first, vec![at(100)], 5)).unwrap());
        let frames = vec![at(199), at(200), at(300)];
        assert!(recording.add(told(second, frames, 12)).unwrap());
        recording.end().unwrap();
        assert!(recording.summary().starts_with("4 frames captured, 12 not"));
        drop(recording);
        let (mut descriptions, mut packets, mut statistics) = (vec![], vec![], vec![]);
        for block in blocks(&file) {
            match block {
                Block::InterfaceDescription(it) => descriptions.push(it.options[1].clone()),
                Block::EnhancedPacket(it) => packets.push(it.interface_id),
                Block::InterfaceStatistics(it) => {
                    statistics.push((it.interface_id, it.options[3].clone()));
                }
                _ => {}
            }
        }
        let described = ["net_null3, web", "net_null9"];
        let described = described.map(|it| InterfaceDescriptionOption::IfDescription(it.into()));
        assert_eq!(descriptions, described);
        assert_eq!(packets, [0, 0, 1, 1]);
        let dropped = InterfaceStatisticsOption::IsbIfDrop;
        assert_eq!(statistics, [(0, dropped(5)), (1, dropped(7))]);
    }

    #[test]
    fn after_as_many_frames_as_were_asked_for_it_is_over() {
        let mut file = Vec::new();
        let mut recording = Recording::new(&mut file, 61, Some(3)).unwrap();
        let first = CaptureReply {
            ports: vec![port(0, "")],
            ..reply(vec![frame(0, Event::Sent, ""); 2])
        };
        assert!(recording.add(first).unwrap());
        assert!(
            !recording
                .add(reply(vec![frame(0, Event::Sent, ""); 2]))
                .unwrap()
        );
        assert_eq!(recording.summary(), "3 frames captured");
        drop(recording);
        assert_eq!(blocks(&file).len(), 1 + 3);
    }

    #[test]
    fn a_frame_of_a_port_that_was_not_named_is_an_error() {
        let mut recording = Recording::new(Vec::new(), 61, None).unwrap();
        let wrong = recording
            .add(reply(vec![frame(3, Event::Sent, "")]))
            .unwrap_err();
        assert!(wrong.to_string().contains("port 3"));
    }
}
