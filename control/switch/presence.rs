// SPDX-License-Identifier: MIT
//! Looks after devices that come late, vanish and come back, and tells the control thread which are not there. Looks after what
//! their rx queues take, too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval};
use vswitch::tables::PortId;

use super::Devices;
use crate::core::{CoreHandle, DeviceOf, Gone};

/// How often devices are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What the control thread was told of devices that are not there.
#[derive(Default)]
pub(super) struct Told(Mutex<BTreeMap<PortId, String>>);

/// Looks again and again.
pub(crate) async fn follow(devices: Arc<Devices>, core: CoreHandle) -> Result<(), Gone> {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        block_in_place(|| {
            let now = Instant::now();
            devices.look(now);
            devices.tend_queues(now);
        });
        devices.tell_absent(&core).await?;
    }
}

impl Devices {
    /// Tells the control thread what has changed of devices that are not there.
    pub(crate) async fn tell_absent(&self, core: &CoreHandle) -> Result<(), Gone> {
        let mut told = self.told.0.lock().await;
        let absent = block_in_place(|| self.absent());
        for port in told.keys().filter(|port| !absent.contains_key(port)) {
            core.note_device(DeviceOf::Port(*port), None).await?;
        }
        for (port, why) in &absent {
            if told.get(port) != Some(why) {
                let why = Some(why.clone());
                core.note_device(DeviceOf::Port(*port), why).await?;
            }
        }
        *told = absent;
        Ok(())
    }
}
