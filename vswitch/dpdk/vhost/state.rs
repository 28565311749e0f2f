// SPDX-License-Identifier: MIT
//! [`State`]: which of the guests at a socket is served, and what of its memory workers may use, as its messages come and go.

use std::ffi::{CStr, CString, OsStr, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;

use super::args::Args;
use super::library::Memory;
use super::ring::{LATE, NOBODY, Ring};
use crate::dpdk::{Severity, log, sys};

/// Virtqueues that a guest may have (VHOST_MAX_VRING).
const MAX_RINGS: usize = 256;

/// Messages (docs/interop/vhost-user.rst of QEMU's) by which the library learns of a guest's memory, and forgets it.
const SET_MEM_TABLE: u32 = 5;
const RESET_OWNER: u32 = 4;

/// That which enables or disables a virtqueue, and that which says that a guest has moved to this host.
const SET_VRING_ENABLE: u32 = 18;
const SEND_RARP: u32 = 19;

/// Flags of a message: it is an answer; it wants one, whatever becomes of it (REPLY_ACK).
const IS_REPLY: u32 = 1 << 2;
const NEED_REPLY: u32 = 1 << 3;

/// What is known of one, to its port's queues and to the library's calls.
#[derive(Debug)]
pub(super) struct State {
    /// The socket's.
    pub(super) path: CString,
    /// By the library's numbers: of a pair, first what the guest receives from, then what it sends by.
    pub(super) rings: Box<[Arc<CachePadded<Ring>>]>,
    /// Those that the guest and the port agreed on (virtio 1.1 section 5.1.3), a bit each; none while there is no guest.
    pub(super) features: AtomicU64,
    /// The port is started.
    pub(super) started: AtomicBool,
    /// The socket is being closed.
    pub(super) closes: AtomicBool,
    /// The guest whose memory workers use; [`NOBODY`]. Changed under the lock of `guests`, and read without by who must not wait for
    /// workers, as its holder may.
    served: AtomicI32,
    /// Workers may be in a guest's memory without the library.
    direct: bool,
    guests: Mutex<Guests>,
}

#[derive(Default, Debug)]
pub(super) struct Guests {
    pub(super) connections: Vec<Connection>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) guest: c_int,
    /// It has set up its card, by these features.
    set_up: Option<u64>,
    /// The library knows its memory.
    has_memory: bool,
    /// It waits for an answer to where its memory is now.
    waits: bool,
    /// The virtqueues that it has enabled.
    enabled: [bool; MAX_RINGS],
    /// It was told of that it has more than are served.
    has_too_many: bool,
}

impl State {
    pub(super) fn new(args: &Args) -> Self {
        let rings = (0..args.queues * 2).map(|_| Arc::default());
        Self {
            path: args.path.clone(),
            rings: rings.collect(),
            features: AtomicU64::new(0),
            started: AtomicBool::new(false),
            closes: AtomicBool::new(false),
            served: AtomicI32::new(NOBODY),
            // Memory that arrives when it is first used is to be waited for by the library.
            direct: args.flags & sys::ALKAID_VHOST_POSTCOPY == 0,
            guests: Mutex::default(),
        }
    }

    /// Whether a guest is there, and has set up its card.
    pub(super) fn has_guest(&self) -> bool {
        self.served() != NOBODY
    }

    fn served(&self) -> c_int {
        self.served.load(SeqCst)
    }

    pub(super) fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A guest has set up its card. It is served, at once or when the one that is has gone.
    pub(super) fn admit(&self, guest: c_int, features: u64) {
        let mut guests = self.guests();
        if let Some(connection) = guests.of(guest) {
            connection.set_up = Some(features);
        }
        if [NOBODY, guest].contains(&self.served()) {
            self.serve(&mut guests, guest);
        }
    }

    /// Workers use this guest's memory from now on.
    fn serve(&self, guests: &mut Guests, guest: c_int) {
        if let Some(connection) = guests.of(guest) {
            self.features
                .store(connection.set_up.unwrap_or_default(), Relaxed);
            self.give(connection);
            self.served.store(guest, SeqCst);
        }
    }

    /// Gives workers the rings that are enabled, while their memory is there, without the library where that can be. `connection`
    /// is the one that is served.
    fn give(&self, connection: &Connection) {
        if !connection.has_memory {
            return;
        }
        let both = self.rings.iter().zip(connection.enabled);
        both.filter(|(_, enabled)| *enabled)
            .for_each(|(ring, _)| ring.give(connection.guest));
        if !self.direct {
            return;
        }
        // SAFETY: the guest is there, and has told of its memory.
        let Some(memory) = (unsafe { Memory::of(connection.guest) }) else {
            return;
        };
        for (number, ring) in self.rings.iter().enumerate() {
            if connection.enabled[number]
                // SAFETY: as above; it is closed before the guest's next message is handled.
                && let Some(split) = unsafe { memory.split(number as u16) }
            {
                ring.open(split);
            }
        }
    }

    /// The library is about to handle a guest's message, which may change where its memory and its rings are. Until one was
    /// handled well, workers have the library do everything. Returns the flags to handle it by.
    pub(super) fn before(&self, guest: c_int, message: u32, mut flags: u32) -> u32 {
        let mut guests = self.guests();
        let loses_memory = matches!(message, SET_MEM_TABLE | RESET_OWNER);
        if let Some(connection) = guests.of(guest).filter(|_| loses_memory) {
            connection.has_memory = false;
            // Where the library then does not get at the new memory, it leaves the rings in the old, which is unmapped, and goes on to
            // write there. But if nobody waits for an answer it ends the connection at once, and with it the rings.
            connection.waits = message == SET_MEM_TABLE && flags & NEED_REPLY != 0;
            if connection.waits {
                flags &= !NEED_REPLY;
            }
        }
        if self.served() == guest {
            if loses_memory {
                self.rings.iter().for_each(|ring| ring.take());
            }
            self.wait_at_each(|ring, late| ring.close(late));
        }
        flags
    }

    /// It has done what the message says. What is disabled now, [`State::enable`] hears of only when the guest has its reply. Returns
    /// the flags to answer it by.
    pub(super) fn after(
        &self,
        guest: c_int,
        message: u32,
        mut flags: u32,
        ring: usize,
        enable: bool,
    ) -> u32 {
        let mut guests = self.guests();
        let is_served = self.served() == guest;
        let Some(connection) = guests.of(guest) else {
            return flags;
        };
        match message {
            SET_MEM_TABLE => {
                connection.has_memory = true;
                // Whose memory arrives when it is first used has had its answer.
                if std::mem::take(&mut connection.waits) && flags & IS_REPLY == 0 {
                    flags |= NEED_REPLY;
                }
            }
            SET_VRING_ENABLE if !enable => {
                if let Some(enabled) = connection.enabled.get_mut(ring) {
                    *enabled = false;
                }
            }
            // Of the first queue, which any guest has: the library gives it to whoever asks first.
            SEND_RARP => self.rings[1].announce(true),
            _ => {}
        }
        if is_served {
            self.give(connection);
        }
        flags
    }

    /// A guest's memory is about to go. Waits until no worker is in it; then another that has set up its card meanwhile is served.
    pub(super) fn leave(&self, guest: c_int) {
        {
            let mut guests = self.guests();
            if let Some(connection) = guests.of(guest) {
                connection.set_up = None;
            }
            if self.served() != guest {
                return;
            }
            self.served.store(NOBODY, SeqCst);
            self.features.store(0, Relaxed);
            self.rings.iter().for_each(|ring| ring.take());
        }
        self.wait_at_each(|ring, late| ring.wait(late));
        let mut guests = self.guests();
        let next = guests.connections.iter().find(|it| it.set_up.is_some());
        // Else this is the thread that handles all guests' messages, and is at none of the next one's.
        let closes = self.closes.load(SeqCst);
        if let Some(next) = next.map(|it| it.guest).filter(|_| !closes) {
            self.serve(&mut guests, next);
        }
    }

    /// Waits for workers at each ring, and tells who waits, once, if that is long.
    fn wait_at_each(&self, wait: impl Fn(&Ring, &mut dyn FnMut())) {
        let mut told = false;
        let mut late = || {
            if !std::mem::replace(&mut told, true) {
                log::tell(Severity::Warning, &self.is_waited_for());
            }
        };
        self.rings.iter().for_each(|ring| wait(ring, &mut late));
    }

    fn is_waited_for(&self) -> String {
        let path = path_of(&self.path).display();
        format!(
            "vhost: a worker is still in the memory of the guest at {path}, which has gone or changes, after {} s: no other guest is \
             served until it leaves that",
            LATE.as_secs()
        )
    }

    /// A guest enables or disables a virtqueue. The library has its lock, which a worker that is in it takes: none that is may be
    /// waited for.
    pub(super) fn enable(&self, guest: c_int, ring: usize, enable: bool) {
        let mut guests = self.guests();
        let is_served = self.served() == guest;
        let Some(connection) = guests.of(guest) else {
            return;
        };
        if let Some(enabled) = connection.enabled.get_mut(ring) {
            *enabled = enable;
        }
        match self.rings.get(ring) {
            Some(_) if is_served && enable => self.give(connection),
            Some(taken) if is_served => taken.take(),
            None if enable && !std::mem::replace(&mut connection.has_too_many, true) => {
                log::tell(Severity::Warning, &self.has_fewer_queues());
            }
            _ => {}
        }
    }

    fn has_fewer_queues(&self) -> String {
        let (path, pairs) = (path_of(&self.path).display(), self.rings.len() / 2);
        format!(
            "vhost: the guest at {path} has enabled more than the {pairs} pairs of queues that its port has by `queues=`: what it sends by \
             the others is lost"
        )
    }
}

impl Connection {
    /// Of a guest that has said nothing yet.
    pub(super) const fn new(guest: c_int) -> Self {
        Self {
            guest,
            set_up: None,
            has_memory: false,
            waits: false,
            enabled: [false; _],
            has_too_many: false,
        }
    }
}

impl Guests {
    fn of(&mut self, guest: c_int) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|it| it.guest == guest)
    }
}

pub(super) fn path_of(path: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(path.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

    /// Of these guests, whose memory workers are in by the library only.
    fn state(guests: &[c_int]) -> State {
        let args = Args::parse("net_vhost0,iface=/run/vm7.sock,postcopy-support=1").unwrap();
        let state = State::new(&args);
        let connections = guests.iter().map(|&guest| Connection {
            guest,
            set_up: None,
            has_memory: true,
            waits: false,
            enabled: [true; _],
            has_too_many: false,
        });
        state.guests().connections.extend(connections);
        state
    }

    fn served(state: &State) -> Option<c_int> {
        state.rings[0].enter().map(|inside| inside.guest())
    }

    #[test]
    fn a_guest_that_comes_before_its_predecessor_has_gone_is_served_then() {
        let state = state(&[3, 4]);
        state.admit(3, 0);
        state.admit(4, 7);
        assert_eq!((served(&state), state.features.load(Relaxed)), (Some(3), 0));
        state.leave(3);
        assert_eq!((served(&state), state.features.load(Relaxed)), (Some(4), 7));
        state.admit(3, 0);
        state.closes.store(true, SeqCst);
        state.leave(4);
        assert_eq!(served(&state), None, "the socket is being closed");
    }

    #[test]
    fn nobody_uses_rings_whose_memory_is_being_replaced_until_it_is() {
        let state = state(&[3]);
        state.admit(3, 0);
        assert_eq!(state.before(3, SET_MEM_TABLE, 1 | NEED_REPLY), 1);
        assert_eq!(served(&state), None);
        state.enable(3, 0, true);
        assert_eq!(served(&state), None, "it was not replaced yet");
        let answer = |flags| state.after(3, SET_MEM_TABLE, flags, 0, false);
        assert_eq!((answer(1), served(&state)), (1 | NEED_REPLY, Some(3)));
        assert_eq!(answer(1), 1, "once");
        state.before(3, SET_MEM_TABLE, 1 | NEED_REPLY);
        assert_eq!(answer(1 | IS_REPLY), 1 | IS_REPLY, "it has one");
    }

    #[test]
    fn a_guest_that_goes_while_a_worker_stands_still_in_its_memory_is_told_of_by_its_socket() {
        log::log_to(|_, line| SAID.lock().unwrap().push(line.to_owned()));
        let state = state(&[3]);
        state.admit(3, 0);
        let inside = [0, 1].map(|ring: usize| state.rings[ring].enter());
        std::thread::scope(|scope| {
            let leaving = scope.spawn(|| state.leave(3));
            while SAID.lock().unwrap().is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(!leaving.is_finished() && state.rings[0].enter().is_none());
            drop(inside);
        });
        let said = SAID.lock().unwrap();
        assert!(
            said.len() == 1 && said[0].contains("the guest at /run/vm7.sock"),
            "{said:?}"
        );
    }
}
