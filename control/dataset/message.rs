// SPDX-License-Identifier: MIT
//! The messages of one host: its ports and their neighbors, so many at a time, each with what it refers to.
//!
//! VPCs, subnets, routers and security groups are repeated in every message that refers to them: to agents that keep none
//! of them it would mean nothing otherwise.

use super::Request;
use super::network::{Network, Vpc};
use super::shape::{Shape, Writer};
use super::states::{Resources, States};
use crate::proto::schema::NeighborType;

/// Makes the messages of one host.
pub(super) struct Messages<'a, Sink> {
    request: &'a Request,
    writer: Writer<'a>,
    host: u32,
    /// Takes each message and says what is in it.
    sink: Sink,
    /// What the next message has so far, and the VPCs that it refers to.
    states: States,
    vpcs: Vec<Vpc>,
}

impl<'a, E, Sink: FnMut(&[u8], Resources) -> Result<(), E>> Messages<'a, Sink> {
    pub(super) fn new(network: &'a Network, request: &'a Request, host: u32, sink: Sink) -> Self {
        Self {
            request,
            writer: Writer {
                network,
                shape: request.shape,
                security_groups: request.security_groups,
            },
            host,
            sink,
            states: States::default(),
            vpcs: Vec::new(),
        }
    }

    /// Gives all of them to the sink, in order.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn write(mut self) -> Result<(), E> {
        let network = self.writer.network;
        let vpc_of = |port: &u32| network.vpc_of(*port);
        for here in network
            .ports_on(self.host)
            .chunk_by(|a, b| vpc_of(a) == vpc_of(b))
        {
            let vpc = network.vpc(vpc_of(&here[0]));
            self.ports(&vpc, here)?;
            self.neighbors(&vpc, here)?;
        }
        match self.waiting() {
            0 => Ok(()),
            _ => self.send(),
        }
    }

    fn ports(&mut self, vpc: &Vpc, here: &[u32]) -> Result<(), E> {
        for port in here {
            self.begin(vpc);
            self.states.ports.push(self.writer.port(vpc, *port));
            if self.request.dhcp {
                self.states.dhcps.push(self.writer.dhcp(vpc, *port));
            }
            self.send_if_full()?;
        }
        Ok(())
    }

    /// All ports of a VPC that are a neighbor of one of those here.
    fn neighbors(&mut self, vpc: &Vpc, here: &[u32]) -> Result<(), E> {
        let mut in_subnet = vec![0; vpc.subnets as usize];
        for port in here {
            in_subnet[vpc.subnet_of(*port) as usize] += 1;
        }
        for port in vpc.ports.clone() {
            let is_here = self.writer.network.host_of(port) == self.host;
            let in_its_subnet: usize = in_subnet[vpc.subnet_of(port) as usize];
            let (near, far) = match self.request.shape {
                // Is there another port here in its subnet, and one in another subnet?
                Shape::Dpm => (
                    in_its_subnet > usize::from(is_here),
                    here.len() > in_its_subnet,
                ),
                Shape::TestController => (!is_here, false),
            };
            let kinds = [(near, NeighborType::L2), (far, NeighborType::L3)];
            for (_, kind) in kinds.into_iter().filter(|(wanted, _)| *wanted) {
                self.begin(vpc);
                let neighbor = self.writer.neighbor(vpc, port, kind);
                self.states.neighbors.push(neighbor);
                self.send_if_full()?;
            }
        }
        Ok(())
    }

    /// What comes next refers to this VPC.
    fn begin(&mut self, vpc: &Vpc) {
        if self
            .vpcs
            .last()
            .is_none_or(|last| last.number != vpc.number)
        {
            self.vpcs.push(vpc.clone());
        }
    }

    /// Ports, their DHCP states and neighbors of the next message.
    fn waiting(&self) -> usize {
        let states = &self.states;
        states.ports.len() + states.dhcps.len() + states.neighbors.len()
    }

    fn send_if_full(&mut self) -> Result<(), E> {
        match self.waiting() >= self.request.per_message as usize {
            true => self.send(),
            false => Ok(()),
        }
    }

    fn send(&mut self) -> Result<(), E> {
        let mut states = std::mem::take(&mut self.states);
        for vpc in self.vpcs.drain(..) {
            states.vpcs.push(self.writer.vpc(&vpc));
            let subnets = (0..vpc.subnets).map(|subnet| self.writer.subnet(&vpc, subnet));
            states.subnets.extend(subnets);
            states.routers.extend(self.writer.router(&vpc));
            if self.request.security_groups {
                states
                    .security_groups
                    .push(self.writer.security_group(&vpc));
            }
        }
        let resources = states.resources();
        let address = self.writer.network.address(self.host).to_string();
        (self.sink)(&states.encode(self.request.form, &address), resources)
    }
}
