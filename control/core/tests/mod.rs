// SPDX-License-Identifier: MIT
//! Goal states in, tables as workers see them out.

mod audit;
mod churn;
mod devices;
mod dhcp;
mod explain;
mod export;
mod fuzz;
mod gateways;
mod goal;
mod grpc;
mod hostile;
mod ipv6;
mod kept;
mod on_demand;
mod order;
mod rehearsal;
mod replicas;
mod resources;
mod restart;
mod routes;
mod rules;
mod statuses;
mod stories;
mod stuck;
mod traps;
mod underlay;
mod world;
