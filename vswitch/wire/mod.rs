// SPDX-License-Identifier: MIT
//! Headers as they are on the wire, one file each: views in place, no copies, sizes asserted at compile time.
//! Knows no table, port or stage.

pub mod addr;

pub use addr::{Mac, Vni};
