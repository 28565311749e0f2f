// SPDX-License-Identifier: MIT
//! Subports: VLANs (IEEE 802.1Q) of a guest's port that are ports of their own. A frame that arrives with the tag of one loses
//! it, and is from then on a frame that arrived on the subport; what leaves by a subport gets the tag, and leaves by the
//! parent's device ([`transmit`](super::transmit)). So no other stage knows of it. Runs only on bursts of ports that have any.
//!
//! Reads and writes the first 16 bytes of the frame.
//! Drops nothing.

use std::fmt;

use crate::io::{Frame, Frames};
use crate::stage::vlan;
use crate::tables::{MAX_PORTS, PortId, PortSet, by_port};

/// What a subport is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Subport {
    /// The port that has the device; no subport itself.
    pub parent: PortId,
    /// The VLAN, 1 to 4094.
    pub vlan: u16,
}

impl fmt::Display for Subport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vlan{}@{}", self.vlan, self.parent.get())
    }
}

/// A worker's subports. A lookup takes time logarithmic in them.
#[derive(Clone, Debug)]
pub struct Subports {
    /// In order.
    all: Vec<(Subport, PortId)>,
    by_port: Box<[Option<Subport>; MAX_PORTS]>,
    /// The ports that have subports.
    parents: PortSet,
}

impl Default for Subports {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            by_port: by_port(|| None),
            parents: PortSet::default(),
        }
    }
}

impl Subports {
    /// Says what a port is from now on; `None`: no subport.
    pub fn set(&mut self, port: PortId, subport: Option<Subport>) {
        self.by_port[port.index()] = subport;
        self.all.retain(|(_, other)| *other != port);
        self.all.extend(subport.map(|subport| (subport, port)));
        self.all.sort_unstable();
        self.parents = self.all.iter().map(|(it, _)| it.parent).collect();
    }

    /// Whether the port has subports.
    #[inline(always)]
    pub const fn has(&self, parent: PortId) -> bool {
        self.parents.contains(parent)
    }

    /// What a port is a subport of, if it is one.
    pub fn get(&self, port: PortId) -> Option<Subport> {
        self.by_port[port.index()]
    }

    /// The subport that a frame at a parent is of, by its tag. Priority tags (VLAN 0) and service tags (IEEE 802.1ad) are of
    /// none.
    pub fn of(&self, parent: PortId, head: &[u8]) -> Option<PortId> {
        self.find(parent, vlan::number(head)?)
    }

    /// True for a frame that its receiver, a parent, would take for a subport's: also behind priority tags.
    pub fn pass_for_one(&self, parent: PortId, head: &[u8]) -> bool {
        let vlan = vlan::number_behind_priorities(head);
        vlan.is_some_and(|vlan| self.find(parent, vlan).is_some())
    }

    fn find(&self, parent: PortId, vlan: u16) -> Option<PortId> {
        let wanted = Subport { parent, vlan };
        let found = self.all.binary_search_by_key(&wanted, |(it, _)| *it);
        found.ok().map(|at| self.all[at].1)
    }
}

/// Frames of one parent's burst that arrived on its subports, by these.
pub struct Apart<F> {
    frames: Box<[Frames<F>; MAX_PORTS]>,
    /// The subports that have some.
    touched: PortSet,
}

impl<F> Default for Apart<F> {
    fn default() -> Self {
        let frames = by_port(Frames::new);
        let touched = PortSet::default();
        Self { frames, touched }
    }
}

impl<F: Frame> Apart<F> {
    /// Takes the frames that are a subport's out of what arrived on `parent`, without their tags; the others close up. All
    /// stay in order. Returns their bytes, tags included. Never blocks, allocates or logs.
    pub fn fill(&mut self, frames: &mut Frames<F>, parent: PortId, subports: &Subports) -> usize {
        let mut bytes = 0;
        for mut frame in std::mem::take(frames) {
            let Some(subport) = subports.of(parent, frame.head()) else {
                frames.push(frame);
                continue;
            };
            bytes += frame.len();
            vlan::strip(&mut frame);
            self.touched.insert(subport);
            self.frames[subport.index()].push(frame); // no more than frames of one burst
        }
        bytes
    }

    /// Moves the frames of one subport to `to`, which is empty, until there are none left.
    pub fn next(&mut self, to: &mut Frames<F>) -> Option<PortId> {
        let port = self.touched.pop()?;
        to.extend(self.frames[port.index()].drain(..));
        Some(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::memory::MemoryFrame;

    fn port(id: u16) -> PortId {
        PortId::new(id).unwrap()
    }

    fn tagged(ethertype: u16, tag: u16) -> Vec<u8> {
        let mut head = vec![2; 12];
        head.extend_from_slice(&ethertype.to_be_bytes());
        head.extend_from_slice(&tag.to_be_bytes());
        head.extend_from_slice(&[0x12, 0x34, 9]);
        head
    }

    fn subports() -> Subports {
        let mut all = Subports::default();
        for (id, parent, vlan) in [(4, 3, 101), (31, 3, 4094), (6, 0, 101)] {
            let parent = port(parent);
            all.set(port(id), Some(Subport { parent, vlan }));
        }
        all
    }

    #[test]
    fn a_tag_names_a_subport_of_its_own_parent() {
        let all = subports();
        assert_eq!(all.of(port(3), &tagged(0x8100, 101)), Some(port(4)));
        assert_eq!(all.of(port(3), &tagged(0x8100, 0xf065)), Some(port(4))); // priority 7, drop eligible
        assert_eq!(all.of(port(3), &tagged(0x8100, 4094)), Some(port(31)));
        assert_eq!(all.of(port(0), &tagged(0x8100, 101)), Some(port(6)));
        for tag in [0, 0xe000, 102, 4095] {
            assert_eq!(all.of(port(3), &tagged(0x8100, tag)), None, "{tag:#x}");
        }
        assert_eq!(all.of(port(3), &tagged(0x88a8, 101)), None);
        assert_eq!(all.of(port(1), &tagged(0x8100, 101)), None);
        assert_eq!(all.of(port(3), &tagged(0x8100, 101)[..15]), None);
    }

    #[test]
    fn what_is_no_subport_any_more_is_found_no_longer() {
        let mut all = subports();
        assert!(all.has(port(0)) && all.has(port(3)) && !all.has(port(4)));
        all.set(port(4), None);
        assert!(all.has(port(3)) && all.get(port(4)).is_none());
        assert_eq!(all.of(port(3), &tagged(0x8100, 101)), None);
        all.set(port(31), None);
        assert!(all.has(port(0)) && !all.has(port(3)));
        assert_eq!(all.get(port(6)).unwrap().to_string(), "vlan101@0");
    }

    #[test]
    fn frames_come_apart_in_order_without_their_tags() {
        let mut apart = Apart::default();
        let mut frames = Frames::new();
        for (n, tag) in (0..).zip([7, 101, 4094, 101, 0]) {
            let mut frame = tagged(0x8100, tag);
            frame.push(n);
            frames.push(MemoryFrame::new(&frame));
        }
        let bytes = 3 * frames[0].len();
        assert_eq!(apart.fill(&mut frames, port(3), &subports()), bytes);
        let last = |frames: &Frames<MemoryFrame>| {
            let all = frames.iter().map(|frame| *frame.head().last().unwrap());
            all.collect::<Vec<_>>()
        };
        assert_eq!(last(&frames), [0, 4]);
        frames.clear();
        assert_eq!(apart.next(&mut frames), Some(port(4)));
        assert_eq!(last(&frames), [1, 3]);
        let whole = [&[2; 12][..], &[0x12, 0x34, 9, 1]].concat();
        assert_eq!(frames[0].to_vec(), whole);
        frames.clear();
        assert_eq!(apart.next(&mut frames), Some(port(31)));
        assert_eq!(last(&frames), [2]);
        frames.clear();
        assert_eq!(apart.next(&mut frames), None);
    }
}
