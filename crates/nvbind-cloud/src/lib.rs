//! Where is the cheapest place that will do, and what does it cost to wait for it?
//!
//! Catalog, placement and the policies are plain functions over plain structs. What reaches out stands behind
//! [`provider::Provider`].

mod attempt;
pub mod catalog;
pub mod deadline;
mod deployment;
mod hours;
pub mod money;
