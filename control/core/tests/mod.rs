// SPDX-License-Identifier: MIT
//! Goal states in, tables as workers see them out.

mod churn;
mod fuzz;
mod goal;
mod grpc;
mod hostile;
mod on_demand;
mod order;
mod resources;
mod statuses;
mod stuck;
mod world;
