// SPDX-License-Identifier: MIT
//! Is this host equal to the goal, and what would become of it? What is wanted resource by resource, each with a hash and
//! whether it is programmed; and a rehearsal of further goal states. Nothing here changes anything of a switch.
//!
//! * [`canonical`] the form in which resources are compared and hashed: docs/audit.md says it for others.
//! * [`part`](mod@part) a part of what is wanted, looked up on the control thread.
//! * [`rehearsal`] goal states applied to a copy, and what differs; [`conflicts`] what contradicts itself.

pub(crate) mod canonical;
pub(crate) mod conflicts;
pub(crate) mod part;
pub(crate) mod rehearsal;
