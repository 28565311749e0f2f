// SPDX-License-Identifier: MIT
//! What guests are told by DHCP (RFC 2131, RFC 8415), worked out when goal states change; workers put answers together of it
//! (`vswitch::stage::edge`).
//!
//! [`offer`] says which ports are served, and where. [`mod@lease`] says what a port is told, made of what is wanted; [`told`]
//! adds its options, [`option`] reads what the controller says of them in words, [`names`] lists those that it may call by
//! name. [`lease6`], [`told6`] and [`option6`] are the same for DHCPv6; [`mod@advertisement`] is what gateways of IPv6 subnets
//! say of themselves.

pub(crate) mod advertisement;
mod lease;
mod lease6;
mod names;
pub(crate) mod offer;
mod option;
mod option6;
mod told;
mod told6;

#[cfg(test)]
mod tests;
