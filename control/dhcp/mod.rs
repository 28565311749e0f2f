// SPDX-License-Identifier: MIT
//! What guests are told by DHCP (RFC 2131), worked out when goal states change; workers put answers together of it
//! (`vswitch::stage::edge`).
//!
//! [`lease`] says what a port is told, made of what is wanted; [`told`] adds its options, [`option`] reads what the
//! controller says of them in words, [`names`] lists those that it may call by name. [`mod@advertisement`] is what gateways
//! of IPv6 subnets say instead.

pub(crate) mod advertisement;
pub(crate) mod lease;
mod names;
mod option;
mod told;

#[cfg(test)]
mod tests;
