// SPDX-License-Identifier: MIT
//! Makes a device for each port that the controller describes and nothing is bound to, as `set vport template` says, and
//! takes it away with the port. The control thread says which ports those are, and waits for none of this.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::block_in_place;
use vswitch::tables::PortId;

use super::{Devices, Switch};
use crate::config::vport::Template;
use crate::core::{Core, CoreHandle, DeviceOf, Gone, NotDone, PortNews, PortRules};
use crate::southbound::field::Quote;

/// How long until what failed is tried again: from the first to the longest, twice as long each time.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Least time between two looks at what is to be tried again: there may be ten thousand ports without a device.
const TICK: Duration = Duration::from_millis(50);

/// All ports that have or want such a device.
pub(crate) struct Vports {
    template: Template,
    devices: Arc<Devices>,
    news: UnboundedReceiver<PortNews>,
    ports: BTreeMap<Box<str>, Vport>,
}

/// A port of the controller's. What is, follows what is wanted.
#[derive(Debug)]
struct Vport {
    /// Its name, while it wants a device.
    wanted: Option<String>,
    /// The switch's port that was made for it.
    port: Option<PortId>,
    /// It is bound to that.
    bound: bool,
    /// That is being detached.
    leaving: bool,
    next: Instant,
    pause: Duration,
    /// Why its device is not there, as it was told.
    told: Option<String>,
}

impl Vport {
    const fn new(now: Instant) -> Self {
        Self {
            wanted: None,
            port: None,
            bound: false,
            leaving: false,
            next: now,
            pause: PAUSE,
            told: None,
        }
    }

    /// Has it looked at now, and soon again if that is in vain.
    fn hurry(&mut self, now: Instant) {
        (self.next, self.pause) = (now, PAUSE);
    }

    const fn is_settled(&self) -> bool {
        self.wanted.is_some() == self.port.is_some() && self.bound == self.wanted.is_some()
    }

    /// Takes down what is new. What the operator has bound to another port wants none.
    fn hear(&mut self, news: PortNews, now: Instant) {
        let elsewhere = news.bound.is_some() && news.bound != self.port;
        let wanted = news.name.filter(|_| !elsewhere);
        if wanted != self.wanted {
            self.wanted = wanted;
            self.hurry(now);
        }
    }
}

impl Vports {
    /// As the settings say, if they say anything.
    pub(crate) fn new(switch: &Switch, core: &mut Core) -> Option<Self> {
        let template = switch.settings().vports.clone()?;
        let (sender, news) = unbounded_channel();
        core.devices_by(sender);
        Some(Self {
            template,
            devices: switch.devices(),
            news,
            ports: BTreeMap::new(),
        })
    }

    /// Makes and takes away devices until the control thread has ended.
    pub(crate) async fn run(mut self, core: CoreHandle) -> Result<(), Gone> {
        loop {
            let waiting = self.ports.values().filter(|vport| !vport.is_settled());
            let next = waiting.map(|vport| vport.next).min();
            let tick = Instant::now() + TICK;
            let sleep = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.max(tick).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                news = self.news.recv() => self.hear(news.ok_or(Gone)?),
                () = sleep => {}
            }
            self.hear_all();
            let now = Instant::now();
            let is_due = |vport: &Vport| !vport.is_settled() && vport.next <= now;
            let due = self.ports.iter().filter(|(_, vport)| is_due(vport));
            let due: Vec<_> = due.map(|(id, _)| id.clone()).collect();
            for id in due {
                self.work(&id, &core).await?;
                self.hear_all();
            }
        }
    }

    fn hear_all(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            self.hear(news);
        }
    }

    fn hear(&mut self, news: PortNews) {
        let now = Instant::now();
        let unknown = news.name.is_none() || news.bound.is_some();
        if unknown && !self.ports.contains_key(&news.id) {
            return;
        }
        let id = news.id.clone();
        let vport = self.ports.entry(id.clone());
        let vport = vport.or_insert_with(|| Vport::new(now));
        vport.hear(news, now);
        if vport.wanted.is_none() && vport.port.is_none() {
            self.ports.remove(&id);
        }
    }

    /// Does what is to be done for one port, until it is done or has to wait.
    async fn work(&mut self, id: &str, core: &CoreHandle) -> Result<(), Gone> {
        let Some(vport) = self.ports.get_mut(id) else {
            return Ok(());
        };
        let had = vport.port;
        let waits = loop {
            match vport.step(id, &self.template, &self.devices, core).await? {
                Some(Ok(())) => {}
                Some(Err(why)) => break Some(why),
                None => break None,
            }
        };
        let freed = had.is_some() && vport.port.is_none();
        match waits {
            Some(why) => {
                vport.next = Instant::now() + vport.pause;
                vport.pause = (vport.pause * 2).min(LONGEST_PAUSE);
                if vport.told.as_ref() != Some(&why) {
                    tracing::warn!("the device of port {}: {why}", Quote(id));
                    let of = DeviceOf::Id(id.into());
                    core.note_device(of, Some(why.clone())).await?;
                    vport.told = Some(why);
                }
            }
            None if vport.port.is_none() => _ = self.ports.remove(id),
            None => vport.told = None,
        }
        if freed {
            // Others may have waited for its number.
            let now = Instant::now();
            self.ports.values_mut().for_each(|vport| vport.hurry(now));
        }
        Ok(())
    }
}

impl Vport {
    /// Brings what is a step nearer to what is wanted; says why where that fails. `None`: there is nothing left to do.
    async fn step(
        &mut self,
        id: &str,
        template: &Template,
        devices: &Devices,
        core: &CoreHandle,
    ) -> Result<Option<Result<(), String>>, Gone> {
        Ok(Some(match (&self.wanted, self.port) {
            (_, Some(port)) if self.leaving => {
                match block_in_place(|| devices.detach_vport(port)) {
                    Ok(()) => {
                        (self.port, self.leaving) = (None, false);
                        tracing::info!("port {}, made for {}, is gone", port.get(), Quote(id));
                        Ok(())
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
            (None, Some(port)) if self.bound => {
                // What a worker does not see yet, it does not let go of below.
                let _ = core.unbind(port).await?;
                let _ = core.set_rules(port, PortRules::default()).await?;
                self.bound = false;
                Ok(())
            }
            (None, Some(_)) => {
                // Also if it is wanted again meanwhile: a worker may have let go of half of it.
                self.leaving = true;
                Ok(())
            }
            (Some(name), None) => {
                match block_in_place(|| devices.attach_vport(template, id, name)) {
                    Ok(port) => {
                        self.port = Some(port);
                        Ok(())
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
            (Some(_), Some(port)) if !self.bound => match core.bind(port, id.into()).await? {
                Ok(()) | Err(NotDone::NotSeen) => {
                    self.bound = true;
                    tracing::info!("port {} is made for {}", port.get(), Quote(id));
                    Ok(())
                }
                Err(NotDone::IdTaken { .. }) => {
                    self.wanted = None;
                    Ok(())
                }
                Err(other) => Err(other.to_string()),
            },
            (Some(_), Some(_)) | (None, None) => return Ok(None),
        }))
    }
}
