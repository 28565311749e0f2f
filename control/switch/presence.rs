// SPDX-License-Identifier: MIT
//! Looks after devices that come late, vanish and come back, and tells the control thread which are not there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval};
use vswitch::tables::PortId;

use super::Devices;
use crate::core::{CoreHandle, DeviceOf, Gone};

/// How often devices are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What is known of devices that are not there.
pub(crate) struct Presence {
    devices: Arc<Devices>,
    /// What the control thread was told.
    told: BTreeMap<PortId, String>,
}

impl Presence {
    /// Of these devices; nothing was told.
    pub(crate) const fn new(devices: Arc<Devices>) -> Self {
        Self {
            devices,
            told: BTreeMap::new(),
        }
    }

    /// Looks again and again.
    pub(crate) async fn follow(mut self, core: CoreHandle) -> Result<(), Gone> {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            block_in_place(|| self.devices.look(Instant::now()));
            self.tell(&core).await?;
        }
    }

    /// Tells what has changed.
    pub(crate) async fn tell(&mut self, core: &CoreHandle) -> Result<(), Gone> {
        let absent = block_in_place(|| self.devices.absent());
        for port in self.told.keys().filter(|port| !absent.contains_key(port)) {
            core.note_device(DeviceOf::Port(*port), None).await?;
        }
        for (port, why) in &absent {
            if self.told.get(port) != Some(why) {
                let why = Some(why.clone());
                core.note_device(DeviceOf::Port(*port), why).await?;
            }
        }
        self.told = absent;
        Ok(())
    }
}
