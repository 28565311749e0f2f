// SPDX-License-Identifier: MIT
//! Changes everything that may change, as fast as the switch answers, and writes down what it said and when.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;
use tonic::Streaming;
use vswitch::tables::PortId;

use super::super::goal::{State as Resource, deleted};
use super::super::grpc::{Client, first_form, next, open, second_form};
use super::Random;
use super::history::{At, Clock, History, Moment, Place, State};
use super::scene::{self, HOSTS, NEIGHBORS, ROUTES};
use crate::core::CoreHandle;
use crate::proto::schema::{GoalStateOperationReply, GoalStateV2, OperationStatus, ResourceType};

/// Streams that neighbors are programmed by, at the same time.
pub(super) const STREAMS: usize = 4;

/// Neighbors of the crowd: in one message, and at most.
const CROWD: u32 = 1000;
const MAX_CROWD: u32 = 50_000;

/// What all parts of the controller share.
pub(super) struct Controller {
    pub(super) clock: Clock,
    pub(super) core: CoreHandle,
    pub(super) enough: AtomicBool,
    pub(super) messages: AtomicU64,
    pub(super) resources: AtomicU64,
}

/// Destinations by number, with what was said of each.
pub(super) type Said = Vec<(usize, History)>;

impl Controller {
    fn done(&self) -> bool {
        self.enough.load(Ordering::Relaxed)
    }

    fn count(&self, resources: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.resources
            .fetch_add(resources as u64, Ordering::Relaxed);
    }

    /// Sends by the first of the two calls; when it was sent, and when answered.
    pub(super) async fn say(
        &self,
        client: &mut Client,
        resources: Vec<Resource>,
    ) -> (Moment, Moment) {
        self.count(resources.len());
        let goal = first_form(resources);
        let sent = self.clock.now();
        let reply = client
            .push_network_resource_states(goal)
            .await
            .unwrap()
            .into_inner();
        let replied = self.clock.now();
        assert_success(&reply);
        (sent, replied)
    }

    /// Neighbors of one stream get another host, another MAC, both, or none.
    pub(super) async fn move_neighbors(
        &self,
        client: &mut Client,
        stream: usize,
        mut random: Random,
    ) -> Said {
        let mine = (0..NEIGHBORS).filter(|n| n % STREAMS == stream);
        let mut said: Said = mine.map(|n| (n, History::new(None))).collect();
        let mut stream = Stream::open(client).await;
        while !self.done() {
            let (mut resources, mut changes) = (Vec::new(), Vec::new());
            for (index, (n, history)) in said.iter().enumerate() {
                if random.below(3) == 0 {
                    let to = another(&mut random, *n);
                    resources.push(match (to, history.last()) {
                        (Some(at), _) => scene::moving_neighbor(*n, at),
                        (None, Some(at)) => deleted(scene::moving_neighbor(*n, at)),
                        (None, None) => continue,
                    });
                    changes.push((index, to));
                }
            }
            let (sent, replied) = stream.say(self, resources).await;
            for (index, state) in changes {
                said[index].1.push(state, sent, replied);
            }
        }
        said.into_iter()
            .map(|(n, history)| (scene::FIRST_NEIGHBOR + n, history))
            .collect()
    }

    /// Routes flip between next hops, go and come back; at times the whole table is another, small or large.
    pub(super) async fn flip_routes(&self, client: &mut Client, mut random: Random) -> Said {
        let mut said: Said = (0..ROUTES)
            .map(|n| (scene::FIRST_ROUTE + n, History::new(None)))
            .collect();
        let mut hops = [None; ROUTES];
        while !self.done() {
            let mut changes = Vec::new();
            for (n, hop) in hops.iter_mut().enumerate() {
                if random.below(2) == 0 {
                    let k = random.below(u64::from(scene::HOPS) + 1) as u8;
                    *hop = (k < scene::HOPS).then_some(k);
                    changes.push((n, *hop));
                }
            }
            let router = match random.below(50) {
                0 => scene::routes(&hops, 5000),
                1..5 => scene::routes(&hops, 100),
                5..20 => scene::routes(&hops, 0),
                _ => scene::changed_routes(&changes),
            };
            let (sent, replied) = self.say(client, vec![router]).await;
            for (n, hop) in changes {
                said[n].1.push(hop.map(scene::hop), sent, replied);
            }
        }
        said
    }

    /// A guest moves to this host and away again, to another one each time. Others always know where it is.
    pub(super) async fn migrate(&self, client: &mut Client, mut random: Random) -> Said {
        let port = scene::MOVES;
        let mut history = History::new(None);
        let (sent, replied) = self.say(client, vec![scene::guest_elsewhere(2)]).await;
        history.push(scene::guest_at(port, Place::Host(2)), sent, replied);
        let mut host = 2;
        let plugged = Plug {
            controller: self,
            port,
            by_goal: false,
        };
        plugged.describe(client).await;
        while !self.done() {
            let here = scene::guest_at(port, Place::Port(port));
            if random.below(2) == 0 {
                let (sent, replied) = plugged.plug_in(client).await;
                history.push(here, sent, replied);
                let (sent, replied) = plugged.pull_out(client).await;
                history.push(scene::guest_at(port, Place::Host(host)), sent, replied);
                host = random.host();
                let (sent, replied) = self.say(client, vec![scene::guest_elsewhere(host)]).await;
                history.push(scene::guest_at(port, Place::Host(host)), sent, replied);
            } else {
                // The port is bound all the while, and one message says that it is here and no longer there.
                self.say(client, vec![deleted(scene::port(port))]).await;
                plugged.plug_in(client).await;
                let elsewhere = scene::guest_elsewhere(host);
                let come = vec![scene::port(port), deleted(elsewhere)];
                let (sent, replied) = self.say(client, come).await;
                history.push(here, sent, replied);
                host = random.host();
                let go = vec![deleted(scene::port(port)), scene::guest_elsewhere(host)];
                let (sent, replied) = self.say(client, go).await;
                history.push(scene::guest_at(port, Place::Host(host)), sent, replied);
                plugged.pull_out(client).await;
                plugged.describe(client).await;
            }
        }
        vec![(scene::GUEST_MOVES, history)]
    }

    /// A guest comes to this host and goes: by its port's binding, or by what the controller says.
    pub(super) async fn come_and_go(&self, client: &mut Client, mut random: Random) -> Said {
        let port = scene::COMES_AND_GOES;
        let mut history = History::new(None);
        let mut plugged = Plug {
            controller: self,
            port,
            by_goal: false,
        };
        plugged.describe(client).await;
        while !self.done() {
            let (sent, replied) = plugged.plug_in(client).await;
            history.push(scene::guest_at(port, Place::Port(port)), sent, replied);
            plugged.by_goal = random.below(2) == 0;
            let (sent, replied) = plugged.pull_out(client).await;
            history.push(None, sent, replied);
        }
        vec![(scene::GUEST_COMES_AND_GOES, history)]
    }

    /// A VPC with all that is in it comes and goes, in one message in any order.
    pub(super) async fn whole_vpc(&self, client: &mut Client, mut random: Random) -> Said {
        let port = scene::HAS_A_VPC;
        let mut history = History::new(None);
        while !self.done() {
            let mut resources = scene::whole_vpc();
            resources.rotate_left(random.below(3) as usize);
            let (sent, replied) = self.say(client, resources.to_vec()).await;
            history.push(scene::guest_at(port, Place::Port(port)), sent, replied);
            resources.rotate_left(random.below(3) as usize);
            let (sent, replied) = self.say(client, resources.map(deleted).to_vec()).await;
            history.push(None, sent, replied);
        }
        vec![(scene::GUEST_WITH_VPC, history)]
    }

    /// A crowd of neighbors that nobody talks to comes and goes by the thousand: tables grow, slots are used again.
    pub(super) async fn crowd(&self, client: &mut Client, mut random: Random) -> Said {
        let mut stream = Stream::open(client).await;
        let mut there: Vec<u32> = Vec::new();
        while !self.done() {
            let n = random.below(u64::from(MAX_CROWD / CROWD)) as u32;
            let all = (n * CROWD..(n + 1) * CROWD).map(scene::one_of_a_crowd);
            match there.iter().position(|other| *other == n) {
                Some(index) => {
                    there.swap_remove(index);
                    stream.say(self, all.map(deleted).collect()).await;
                }
                None => {
                    there.push(n);
                    stream.say(self, all.collect()).await;
                }
            }
        }
        Said::new()
    }
}

/// Any other state of a neighbor.
fn another(random: &mut Random, n: usize) -> State {
    if random.below(5) == 0 {
        return None;
    }
    let mac = scene::neighbor_mac(n, random.below(2) as u8);
    let place = Place::Host(random.host());
    Some(At { mac, place })
}

impl Random {
    fn host(&mut self) -> u8 {
        HOSTS.start + self.below(u64::from(HOSTS.end - HOSTS.start)) as u8
    }
}

/// An open stream, one message at a time.
struct Stream {
    goals: mpsc::Sender<GoalStateV2>,
    replies: Streaming<GoalStateOperationReply>,
}

impl Stream {
    async fn open(client: &mut Client) -> Self {
        let (goals, replies) = open(client).await;
        Self { goals, replies }
    }

    async fn say(&mut self, controller: &Controller, resources: Vec<Resource>) -> (Moment, Moment) {
        controller.count(resources.len());
        let goal = second_form(resources);
        let sent = controller.clock.now();
        self.goals.send(goal).await.unwrap();
        let reply = next(&mut self.replies).await;
        let replied = controller.clock.now();
        assert_success(&reply);
        (sent, replied)
    }
}

/// A guest's port, which is plugged in when it is both bound and described.
struct Plug<'c> {
    controller: &'c Controller,
    port: u8,
    /// Pulled out by the controller's word, and not by taking the binding back.
    by_goal: bool,
}

impl Plug<'_> {
    /// Describes the port, which has no device yet.
    async fn describe(&self, client: &mut Client) {
        let goal = first_form([scene::port(self.port)]);
        let reply = client
            .push_network_resource_states(goal)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            reply.operation_statuses[0].operation_status(),
            OperationStatus::Pending
        );
    }

    async fn plug_in(&self, client: &mut Client) -> (Moment, Moment) {
        if self.by_goal {
            return self
                .controller
                .say(client, vec![scene::port(self.port)])
                .await;
        }
        let (id, clock) = (scene::port_id(self.port), self.controller.clock);
        let port = PortId::new(self.port.into()).unwrap();
        self.controller.count(1);
        let sent = clock.now();
        self.controller.core.bind(port, id).await.unwrap().unwrap();
        (sent, clock.now())
    }

    async fn pull_out(&self, client: &mut Client) -> (Moment, Moment) {
        if self.by_goal {
            return self
                .controller
                .say(client, vec![deleted(scene::port(self.port))])
                .await;
        }
        let clock = self.controller.clock;
        self.controller.count(1);
        let sent = clock.now();
        self.controller
            .core
            .unbind(PortId::new(self.port.into()).unwrap())
            .await
            .unwrap()
            .unwrap();
        (sent, clock.now())
    }
}

/// A router may wait for the next hop of one of its rules.
fn assert_success(reply: &GoalStateOperationReply) {
    for status in &reply.operation_statuses {
        let waits = status.resource_type() == ResourceType::Router
            && status.operation_status() == OperationStatus::Pending;
        let succeeds = status.operation_status() == OperationStatus::Success;
        assert!(succeeds || waits, "{status:?}");
    }
}
