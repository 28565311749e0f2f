// SPDX-License-Identifier: MIT
//! [`Device`]: DPDK's ownership of a port, from attach to close.

use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::PortError;
use crate::dpdk::eal::Eal;
use crate::dpdk::error::Errno;
use crate::dpdk::{log, sys};
use crate::wire::addr::Mac;

/// Whom DPDK names as the owner of our ports. Ports of other owners (those inside a bond, say) are left alone.
const OWNER_NAME: &[u8] = b"alkaid";

/// What DPDK's log adds to each failure to attach a device.
const PROBE_FAILED: &str = "; EAL: Failed to attach device on primary process";

/// DPDK's calls to find, own and remove devices are not made for several threads at once.
static PROBING: Mutex<()> = Mutex::new(());

/// A port that is ours: no other `Device` has its number. Stops, closes and removes it when dropped.
#[derive(Debug)]
pub(super) struct Device {
    id: u16,
    name: String,
    started: AtomicBool,
    /// Held by who starts or stops it, or looks at its link: the latter may be another thread.
    link: Mutex<()>,
    /// Frames that a driver without multi-segment send could not be given, see `PortTx`.
    pub(super) unsendable: AtomicU64,
    _eal: Eal,
}

pub(super) fn attach(eal: &Eal, devargs: &str) -> Result<Vec<Device>, PortError> {
    let c_devargs = CString::new(devargs).map_err(|_| PortError::Nul(devargs.to_owned()))?;
    let _one_at_a_time = PROBING
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    // SAFETY: DPDK runs, as `eal` proves; the string is terminated and copied.
    let (status, said) = log::captured(|| unsafe { sys::rte_dev_probe(c_devargs.as_ptr()) });
    let said = said.trim_end_matches(PROBE_FAILED).to_owned();
    match Errno::check(status) {
        // It was probed before, perhaps when DPDK started: its ports may still be free.
        Ok(_) => {}
        Err(errno) if errno.code() == libc::EEXIST => {}
        Err(_) if has_no_number_left() => return Err(PortError::TooManyDevices),
        Err(errno) => {
            return Err(PortError::Attach {
                devargs: devargs.to_owned(),
                errno,
                said,
            });
        }
    }
    let devices: Vec<_> = matching(&c_devargs)
        .into_iter()
        .filter_map(|id| Device::claim(eal, id))
        .collect();
    if devices.is_empty() {
        Err(PortError::NoNewPort(devargs.to_owned()))
    } else {
        Ok(devices)
    }
}

pub(super) fn probed(eal: &Eal) -> Vec<Device> {
    let _one_at_a_time = PROBING
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut found = Vec::new();
    // SAFETY: DPDK runs, as `eal` proves; any number and owner is allowed.
    let next = |from: u16| unsafe { sys::rte_eth_find_next_owned_by(from, sys::ALKAID_NO_OWNER) };
    let mut id = next(0);
    while id < u64::from(sys::RTE_MAX_ETHPORTS) {
        found.extend(Device::claim(eal, id as u16)); // below RTE_MAX_ETHPORTS
        id = next(id as u16 + 1);
    }
    found
}

/// The ports of the device that `devargs` names, ours or not, in order.
fn matching(devargs: &CStr) -> Vec<u16> {
    let mut found = Vec::new();
    // SAFETY: a C struct of pointers and a number; all zeros is what DPDK starts from.
    let mut iterator: sys::rte_dev_iterator = unsafe { std::mem::zeroed() };
    // SAFETY: `iterator` outlives the loop, the string is terminated and copied.
    if unsafe { sys::rte_eth_iterator_init(&raw mut iterator, devargs.as_ptr()) } != 0 {
        return found;
    }
    loop {
        // SAFETY: initialised above. At the end it frees what it holds.
        let id = unsafe { sys::rte_eth_iterator_next(&raw mut iterator) };
        if u32::from(id) >= sys::RTE_MAX_ETHPORTS {
            return found;
        }
        found.push(id);
    }
}

/// Our number as an owner of ports; `None` when DPDK has no more.
fn owner() -> Option<sys::rte_eth_dev_owner> {
    static OWNER: OnceLock<Option<u64>> = OnceLock::new();
    let id = *OWNER.get_or_init(|| {
        let mut id = 0;
        // SAFETY: writes a number there. DPDK runs, as each caller has an `Eal`.
        let status = unsafe { sys::rte_eth_dev_owner_new(&raw mut id) };
        (status == 0).then_some(id)
    });
    let mut name = [0; sys::ALKAID_OWNER_NAME_LEN as usize];
    name.iter_mut()
        .zip(OWNER_NAME)
        .for_each(|(to, from)| *to = *from as c_char);
    id.map(|id| sys::rte_eth_dev_owner { id, name })
}

impl Device {
    /// Takes port `id` if it is there and nobody has it.
    fn claim(eal: &Eal, id: u16) -> Option<Self> {
        let owner = owner()?;
        let mut before = owner;
        // SAFETY: writes an owner there; an invalid `id` is an error.
        let status = unsafe { sys::rte_eth_dev_owner_get(id, &raw mut before) };
        if status != 0 || before.id != sys::ALKAID_NO_OWNER {
            return None; // ours already counts as had: DPDK would let the same owner in twice
        }
        // SAFETY: reads the owner.
        let status = unsafe { sys::rte_eth_dev_owner_set(id, &raw const owner) };
        (status == 0).then(|| Self {
            id,
            name: name(id),
            started: AtomicBool::new(false),
            link: Mutex::default(),
            unsendable: AtomicU64::new(0),
            _eal: eal.clone(),
        })
    }

    pub(super) fn id(&self) -> u16 {
        self.id
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_started(&self) -> bool {
        self.started.load(Relaxed)
    }

    /// What DPDK and the driver say the device is and can.
    pub(super) fn capabilities(&self) -> Result<sys::rte_eth_dev_info, PortError> {
        let mut info = MaybeUninit::zeroed();
        // SAFETY: writes the struct, of the size that DPDK was compiled with.
        let status = unsafe { sys::rte_eth_dev_info_get(self.id, info.as_mut_ptr()) };
        Errno::check(status).map_err(|errno| self.refused("ask what it can", errno))?;
        // SAFETY: zeroed before and written since; all zeros is valid for it.
        Ok(unsafe { info.assume_init() })
    }

    /// The driver's name, empty if it has none.
    pub(super) fn driver(&self) -> String {
        let name = self
            .capabilities()
            .map_or(std::ptr::null(), |can| can.driver_name);
        if name.is_null() {
            return String::new();
        }
        // SAFETY: the terminated name is the driver's, which outlives the device.
        let name = unsafe { CStr::from_ptr(name) };
        name.to_string_lossy().into_owned()
    }

    /// What it was attached with behind its name, as `iface=veth0`; empty if that was nothing.
    pub(super) fn arguments(&self) -> String {
        // SAFETY: the port is ours.
        let arguments = unsafe { sys::alkaid_arguments(self.id) };
        // SAFETY: terminated; the device's, which is there as long as its port.
        let arguments = unsafe { CStr::from_ptr(arguments) };
        arguments.to_string_lossy().into_owned()
    }

    /// The NUMA node it is attached to; `None` for any, as virtual devices have it.
    pub(super) fn socket(&self) -> Option<u32> {
        // SAFETY: the port is ours. -1 stands for any.
        u32::try_from(unsafe { sys::rte_eth_dev_socket_id(self.id) }).ok()
    }

    /// Until it is dropped, nobody else starts or stops the port or looks at its link.
    pub(super) fn lock_link(&self) -> MutexGuard<'_, ()> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn start(&self) -> Result<(), PortError> {
        let _alone = self.lock_link();
        // SAFETY: the port is ours, configured and not started, and nobody has a queue of it.
        Errno::check(unsafe { sys::rte_eth_dev_start(self.id) })
            .map_err(|errno| self.refused("start", errno))?;
        self.started.store(true, Relaxed);
        Ok(())
    }

    pub(super) fn stop(&self) -> Result<(), PortError> {
        // Before: who looks at the link does not wait for a driver that takes its time.
        self.started.store(false, Relaxed);
        let _alone = self.lock_link();
        // SAFETY: the port is ours and nobody has a queue of it.
        let stopped = Errno::check(unsafe { sys::rte_eth_dev_stop(self.id) });
        self.started.store(stopped.is_err(), Relaxed);
        let stopped = stopped.map_err(|errno| self.refused("stop", errno));
        stopped.map(|_| ())
    }

    pub(super) fn set_promiscuous(&self, on: bool) -> Result<(), Errno> {
        let status = if on {
            // SAFETY: the port is ours.
            unsafe { sys::rte_eth_promiscuous_enable(self.id) }
        } else {
            // SAFETY: the port is ours.
            unsafe { sys::rte_eth_promiscuous_disable(self.id) }
        };
        Errno::check(status).map(|_| ())
    }

    pub(super) fn receive_groups(&self) -> Result<(), Errno> {
        // SAFETY: the port is ours.
        let status = unsafe { sys::rte_eth_allmulticast_enable(self.id) };
        Errno::check(status).map(|_| ())
    }

    pub(super) fn mac(&self) -> Mac {
        let mut mac = sys::rte_ether_addr { addr_bytes: [0; 6] };
        // SAFETY: writes six bytes there. On failure they stay zero.
        unsafe { sys::rte_eth_macaddr_get(self.id, &raw mut mac) };
        Mac::new(mac.addr_bytes)
    }

    pub(super) fn mtu(&self) -> u16 {
        let mut mtu = 0;
        // SAFETY: writes a number there. On failure it stays zero.
        unsafe { sys::rte_eth_dev_get_mtu(self.id, &raw mut mtu) };
        mtu
    }

    pub(super) fn refused(&self, action: &'static str, errno: Errno) -> PortError {
        PortError::Refused {
            device: self.name.clone(),
            action,
            errno,
            said: String::new(),
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _one_at_a_time = PROBING
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let parent = self
            .capabilities()
            .map_or(std::ptr::null_mut(), |info| info.device);
        if self.is_started() {
            // Best effort: there is nobody to tell, and close stops what it can.
            let _ = self.stop();
        }
        // SAFETY: the port is ours; its queues are dropped, as each holds the device.
        let closed = unsafe { sys::rte_eth_dev_close(self.id) };
        if closed == 0 && !parent.is_null() && !has_ports(parent) {
            // SAFETY: the device of our port, which DPDK keeps until it is removed. No port of it is left.
            unsafe { sys::rte_dev_remove(parent) };
        }
    }
}

/// True if a port of `parent` is left.
fn has_ports(parent: *const sys::rte_device) -> bool {
    // SAFETY: compares the pointer with each port's.
    let first = unsafe { sys::rte_eth_find_next_of(0, parent) };
    u32::from(first) < sys::RTE_MAX_ETHPORTS
}

/// True if all of DPDK's numbers for ports are taken.
fn has_no_number_left() -> bool {
    let mut numbers = 0..sys::RTE_MAX_ETHPORTS as u16;
    numbers.all(|id| !name(id).is_empty())
}

/// The name of port `id`, empty if there is none.
fn name(id: u16) -> String {
    let mut name: [c_char; sys::RTE_ETH_NAME_MAX_LEN as usize] = [0; _];
    // SAFETY: DPDK writes at most that many bytes, and terminates them.
    unsafe { sys::rte_eth_dev_get_name_by_port(id, name.as_mut_ptr()) };
    // SAFETY: terminated, by DPDK or by the zeros of the start.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    name.to_string_lossy().into_owned()
}
