// SPDX-License-Identifier: MIT
//! [`Socket`]: a vhost-user socket that DPDK's vhost library serves, and what becomes of guests that come and go at it.
//!
//! The library calls back on threads of its own, and on that of whoever closes a socket. It names guests by numbers that it
//! uses again, and sockets by their paths: [`SOCKETS`] has what belongs to a path until no call can come for it any more.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;

use super::args::Args;
use super::library::{self, Memory};
use super::ring::{LATE, Ring};
use crate::dpdk::eal::Eal;
use crate::dpdk::port::PortError;
use crate::dpdk::{Severity, log, sys};

/// Files that the library's thread can wait for (MAX_FDS), but for the pipe that wakes it.
const FILES: usize = 1024 - 1;

/// Connections that one socket may have: a new guest's may come before its predecessor's end is seen.
const MAX_CONNECTIONS: usize = 2;

/// Virtqueues that a guest may have (VHOST_MAX_VRING).
const MAX_RINGS: usize = 256;

/// Messages (docs/interop/vhost-user.rst of QEMU's) by which the library learns of a guest's memory, and forgets it.
const SET_MEM_TABLE: u32 = 5;
const RESET_OWNER: u32 = 4;

/// That which enables or disables a virtqueue, and that which says that a guest has moved to this host.
const SET_VRING_ENABLE: u32 = 18;
const SEND_RARP: u32 = 19;

/// All sockets by path.
static SOCKETS: Mutex<Sockets> = Mutex::new(Sockets {
    by_path: BTreeMap::new(),
    files: 0,
    second: 0,
});

struct Sockets {
    by_path: BTreeMap<CString, Arc<State>>,
    /// Files that they need: a connection each, and those that guests connect to one more.
    files: usize,
    /// Second connections that there are.
    second: usize,
}

/// The library starts its thread with the first socket, and does not expect two to be first. Nothing that it calls takes this.
static STARTING: Mutex<()> = Mutex::new(());

/// Callbacks, the same for all.
struct Calls(sys::rte_vhost_device_ops);

// SAFETY: pointers to functions, and a null one that nobody uses.
unsafe impl Sync for Calls {}

static CALLS: Calls = Calls(sys::rte_vhost_device_ops {
    new_device: Some(new_device),
    destroy_device: Some(destroy_device),
    vring_state_changed: Some(vring_state_changed),
    features_changed: None,
    new_connection: Some(new_connection),
    destroy_connection: Some(destroy_connection),
    guest_notified: None,
    reserved: [std::ptr::null_mut(); 1],
});

static MESSAGES: sys::rte_vhost_user_extern_ops = sys::rte_vhost_user_extern_ops {
    pre_msg_handle: Some(before_message),
    post_msg_handle: Some(after_message),
};

/// A socket that is served. Closes when it is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    files: usize,
    pub(super) state: Arc<State>,
    _eal: Eal,
}

/// What is known of one, to its port's queues and to the library's calls.
#[derive(Debug)]
pub(super) struct State {
    /// The socket's.
    path: CString,
    /// By the library's numbers: of a pair, first what the guest receives from, then what it sends by.
    pub(super) rings: Box<[Arc<CachePadded<Ring>>]>,
    /// Those that the guest and the port agreed on (virtio 1.1 section 5.1.3), a bit each; none while there is no guest.
    pub(super) features: AtomicU64,
    /// The port is started.
    pub(super) started: AtomicBool,
    /// The socket is being closed.
    closes: AtomicBool,
    /// Workers may be in a guest's memory without the library.
    direct: bool,
    guests: Mutex<Guests>,
}

#[derive(Default, Debug)]
struct Guests {
    connections: Vec<Connection>,
    /// The one whose memory workers use.
    served: Option<c_int>,
}

#[derive(Debug)]
struct Connection {
    guest: c_int,
    /// It has set up its card, by these features.
    set_up: Option<u64>,
    /// The library knows its memory.
    has_memory: bool,
    /// The virtqueues that it has enabled.
    enabled: [bool; MAX_RINGS],
}

impl Socket {
    /// Opens it: guests can connect, or it connects to its guest as soon as that listens.
    pub(super) fn open(eal: &Eal, args: &Args) -> Result<Self, PortError> {
        let refused = |why: String| PortError::Socket {
            path: path_of(&args.path).to_owned(),
            why,
        };
        let files = if args.is_client() { 1 } else { 2 };
        let state = {
            let mut sockets = sockets();
            if sockets.by_path.contains_key(&args.path) {
                return Err(refused("another port has it".to_owned()));
            }
            if sockets.files + sockets.second + files > FILES {
                return Err(PortError::TooManySockets);
            }
            if !args.is_client() {
                try_out(path_of(&args.path)).map_err(|error| refused(error.to_string()))?;
            }
            let state = Arc::new(State::new(args));
            sockets.files += files;
            (sockets.by_path).insert(args.path.clone(), Arc::clone(&state));
            state
        };
        let _eal = eal.clone();
        let socket = Self { files, state, _eal };
        let (served, said) = log::captured(|| serve(args));
        match served {
            true => Ok(socket),
            false => Err(refused(said)),
        }
    }
}

/// Whether a socket can be opened there. The library closes and removes files that are not its own where it cannot.
fn try_out(path: &Path) -> std::io::Result<()> {
    drop(UnixDatagram::bind(path)?); // which nobody can connect to by mistake
    std::fs::remove_file(path)
}

/// Has the library serve it. False: it does not, which is logged.
fn serve(args: &Args) -> bool {
    let path = args.path.as_ptr();
    // SAFETY: DPDK runs; the path is terminated and copied.
    if unsafe { sys::rte_vhost_driver_register(path, args.flags) } != 0 {
        return false;
    }
    // SAFETY: as above.
    let withheld = unsafe { sys::rte_vhost_driver_disable_features(path, args.withheld) };
    // SAFETY: as above; the calls are there for good.
    let told = unsafe { sys::rte_vhost_driver_callback_register(path, &raw const CALLS.0) };
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: as above.
    withheld == 0 && told == 0 && unsafe { sys::rte_vhost_driver_start(path) } == 0
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.state.closes.store(true, SeqCst);
        // Without the lock: this takes guests away, by the calls below, and waits for those that run.
        // SAFETY: DPDK runs; the path is terminated. One that is not registered is an error, and no more.
        unsafe { sys::rte_vhost_driver_unregister(self.state.path.as_ptr()) };
        // No call comes for it any more.
        let mut sockets = sockets();
        sockets.by_path.remove(&self.state.path);
        sockets.files -= self.files;
        sockets.second -= self.state.guests().connections.len().saturating_sub(1);
    }
}

impl State {
    fn new(args: &Args) -> Self {
        let rings = (0..args.queues * 2).map(|_| Arc::default());
        Self {
            path: args.path.clone(),
            rings: rings.collect(),
            features: AtomicU64::new(0),
            started: AtomicBool::new(false),
            closes: AtomicBool::new(false),
            // Memory that arrives when it is first used is to be waited for by the library.
            direct: args.flags & sys::ALKAID_VHOST_POSTCOPY == 0,
            guests: Mutex::default(),
        }
    }

    /// Whether a guest is there, and has set up its card.
    pub(super) fn has_guest(&self) -> bool {
        self.guests().served.is_some()
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A guest has set up its card. It is served, at once or when the one that is has gone.
    fn admit(&self, guest: c_int, features: u64) {
        let mut guests = self.guests();
        if let Some(connection) = guests.of(guest) {
            connection.set_up = Some(features);
        }
        if guests.served.is_none_or(|served| served == guest) {
            self.serve(&mut guests, guest);
        }
    }

    /// Workers use this guest's memory from now on.
    fn serve(&self, guests: &mut Guests, guest: c_int) {
        if let Some(connection) = guests.of(guest) {
            self.features
                .store(connection.set_up.unwrap_or_default(), Relaxed);
            self.give(connection);
            guests.served = Some(guest);
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
    /// handled well, workers have the library do everything.
    fn before(&self, guest: c_int, message: u32) {
        let mut guests = self.guests();
        let loses_memory = matches!(message, SET_MEM_TABLE | RESET_OWNER);
        if let Some(connection) = guests.of(guest).filter(|_| loses_memory) {
            connection.has_memory = false;
        }
        if guests.served == Some(guest) {
            if loses_memory {
                // Where the library then does not get at the new one, it leaves the rings as they are.
                self.rings.iter().for_each(|ring| ring.take());
            }
            self.wait_at_each(|ring, late| ring.close(late));
        }
    }

    /// It has done what the message says. What is disabled now, [`State::enable`] hears of only when the guest has its reply.
    fn after(&self, guest: c_int, message: u32, ring: usize, enable: bool) {
        let mut guests = self.guests();
        let is_served = guests.served == Some(guest);
        let Some(connection) = guests.of(guest) else {
            return;
        };
        match message {
            SET_MEM_TABLE => connection.has_memory = true,
            SET_VRING_ENABLE if !enable => {
                if let Some(enabled) = connection.enabled.get_mut(ring) {
                    *enabled = false;
                }
            }
            SEND_RARP => self.rings.iter().for_each(|ring| ring.announce(true)),
            _ => {}
        }
        if is_served {
            self.give(connection);
        }
    }

    /// A guest's memory is about to go. Waits until no worker is in it; then another that has set up its card meanwhile is served.
    fn leave(&self, guest: c_int) {
        {
            let mut guests = self.guests();
            if let Some(connection) = guests.of(guest) {
                connection.set_up = None;
            }
            if guests.served != Some(guest) {
                return;
            }
            guests.served = None;
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
    fn enable(&self, guest: c_int, ring: usize, enable: bool) {
        let mut guests = self.guests();
        let is_served = guests.served == Some(guest);
        let Some(connection) = guests.of(guest) else {
            return;
        };
        if let Some(enabled) = connection.enabled.get_mut(ring) {
            *enabled = enable;
        }
        match self.rings.get(ring).filter(|_| is_served) {
            Some(_) if enable => self.give(connection),
            Some(taken) => taken.take(),
            None => {}
        }
    }
}

impl Guests {
    fn of(&mut self, guest: c_int) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|it| it.guest == guest)
    }
}

fn path_of(path: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(path.to_bytes()))
}

fn sockets() -> MutexGuard<'static, Sockets> {
    SOCKETS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sockets {
    /// The socket that a guest is at; `None`: it was closed.
    fn of(&self, guest: c_int) -> Option<&Arc<State>> {
        let mut path: [c_char; 128] = [0; _];
        // SAFETY: writes at most so many bytes there, and terminates them; a number of nobody's is an error.
        let status = unsafe { sys::rte_vhost_get_ifname(guest, path.as_mut_ptr(), path.len()) };
        // SAFETY: terminated, by the call or by the zeros of the start.
        let path = unsafe { CStr::from_ptr(path.as_ptr()) };
        self.by_path.get(path).filter(|_| status == 0)
    }
}

/// The socket that a guest is at, without the lock on all.
fn state_of(guest: c_int) -> Option<Arc<State>> {
    sockets().of(guest).map(Arc::clone)
}

/// Somebody connected. Refused, with -1, where there are too many.
unsafe extern "C" fn new_connection(guest: c_int) -> c_int {
    let mut sockets = sockets();
    let Some(state) = sockets.of(guest).map(Arc::clone) else {
        return -1;
    };
    let mut guests = state.guests();
    match guests.connections.len() {
        0 => {}
        MAX_CONNECTIONS.. => return -1,
        _ if sockets.files + sockets.second == FILES => return -1,
        _ => sockets.second += 1,
    }
    guests.connections.push(Connection {
        guest,
        set_up: None,
        has_memory: false,
        enabled: [false; _],
    });
    // SAFETY: the guest is there while this is called; the calls are there for good.
    unsafe { sys::rte_vhost_extern_callback_register(guest, &raw const MESSAGES, ptr::null_mut()) }
}

unsafe extern "C" fn destroy_connection(guest: c_int) {
    let mut sockets = sockets();
    let Some(state) = sockets.of(guest).map(Arc::clone) else {
        return;
    };
    let mut guests = state.guests();
    guests.connections.retain(|it| it.guest != guest);
    if !guests.connections.is_empty() {
        sockets.second -= 1;
    }
}

/// A guest has set up its card.
unsafe extern "C" fn new_device(guest: c_int) -> c_int {
    let Some(state) = state_of(guest) else {
        return -1;
    };
    let Some(features) = library::features(guest) else {
        return -1;
    };
    // SAFETY: the guest is there while this is called.
    for ring in 0..unsafe { sys::rte_vhost_get_vring_num(guest) } {
        // Workers poll: nobody has to wake them.
        // SAFETY: as above, and so is the ring.
        unsafe { sys::rte_vhost_enable_guest_notification(guest, ring, 0) };
    }
    state.admit(guest, features);
    0
}

/// When this returns, the library unmaps the guest's memory.
unsafe extern "C" fn destroy_device(guest: c_int) {
    // Of a socket that is no more, no port has a queue.
    if let Some(state) = state_of(guest) {
        state.leave(guest);
    }
}

unsafe extern "C" fn vring_state_changed(guest: c_int, ring: u16, enable: c_int) -> c_int {
    if let Some(state) = state_of(guest) {
        state.enable(guest, ring.into(), enable != 0);
    }
    0
}

/// The library holds the locks of all of the guest's rings, mostly.
unsafe extern "C" fn before_message(
    guest: c_int,
    message: *mut c_void,
) -> sys::rte_vhost_msg_result {
    if let Some(state) = state_of(guest) {
        // SAFETY: a message begins with its number.
        state.before(guest, unsafe { message.cast::<u32>().read() });
    }
    sys::RTE_VHOST_MSG_RESULT_NOT_HANDLED
}

/// Not called where it failed.
unsafe extern "C" fn after_message(
    guest: c_int,
    message: *mut c_void,
) -> sys::rte_vhost_msg_result {
    if let Some(state) = state_of(guest) {
        // SAFETY: as above. Then come flags and length, and of some messages the number of a ring and what becomes of it.
        let [message, _, _, ring, value] = unsafe { message.cast::<[u32; 5]>().read() };
        state.after(guest, message, ring as usize, value != 0);
    }
    sys::RTE_VHOST_MSG_RESULT_NOT_HANDLED
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
            enabled: [true; _],
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
        state.before(3, SET_MEM_TABLE);
        assert_eq!(served(&state), None);
        state.enable(3, 0, true);
        assert_eq!(served(&state), None, "it was not replaced yet");
        state.after(3, SET_MEM_TABLE, 0, false);
        assert_eq!(served(&state), Some(3));
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
