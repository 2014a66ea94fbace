//! Where is the cheapest place that will do, and what does it cost to wait for it?
//!
//! Catalog, placement and the policies are plain functions over plain structs. What reaches out stands behind
//! [`provider::Provider`].

pub mod catalog;
mod hours;
pub mod jobs;
pub mod place;
pub mod provider;
mod requirements;
pub mod spot;

pub use hours::{ParseHoursError, parse_hours};
pub use requirements::{Data, Requirements, SpotUse, Strategy, UnknownWord, Weights};
