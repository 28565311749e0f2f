// SPDX-License-Identifier: MIT
//! [`Socket`]: a vhost-user socket that DPDK's vhost library serves, and its calls when guests come and go there ([`State`]).
//!
//! The library calls back on threads of its own, and on that of whoever closes a socket. It names guests by numbers that it
//! uses again, and sockets by their paths: [`SOCKETS`] has what belongs to a path until no call can come for it any more.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::ptr;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::args::Args;
use super::library;
use super::state::{Connection, State, path_of};
use crate::dpdk::eal::Eal;
use crate::dpdk::port::PortError;
use crate::dpdk::{log, sys};

/// Files that the library's thread can wait for (MAX_FDS), but for the pipe that wakes it.
const FILES: usize = 1024 - 1;

/// Connections that one socket may have: a new guest's may come before its predecessor's end is seen.
const MAX_CONNECTIONS: usize = 2;

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
    guests.connections.push(Connection::new(guest));
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
        // SAFETY: a message begins with its number and its flags, which are ours to change meanwhile.
        let [message, flags] = unsafe { &mut *message.cast::<[u32; 2]>() };
        *flags = state.before(guest, *message, *flags);
    }
    sys::RTE_VHOST_MSG_RESULT_NOT_HANDLED
}

/// Not called where it failed.
unsafe extern "C" fn after_message(
    guest: c_int,
    message: *mut c_void,
) -> sys::rte_vhost_msg_result {
    if let Some(state) = state_of(guest) {
        // SAFETY: as above. Then come its length, and of some messages the number of a ring and what becomes of it.
        let [message, flags, _, ring, value] = unsafe { &mut *message.cast::<[u32; 5]>() };
        *flags = state.after(guest, *message, *flags, *ring as usize, *value != 0);
    }
    sys::RTE_VHOST_MSG_RESULT_NOT_HANDLED
}
