//! Where is the cheapest place that will do, and what does it cost to wait for it?
//!
//! Everything here is a plain function over plain structs: no account, no network, no clock.

pub mod catalog;
mod hours;
pub mod spot;

pub use hours::{ParseHoursError, parse_hours};
