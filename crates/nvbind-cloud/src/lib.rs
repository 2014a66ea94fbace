//! Where is the cheapest place that will do, and what does it cost to wait for it?
//!
//! Catalog, placement and the policies are plain functions over plain structs. What reaches out stands behind
//! [`provider::Provider`].

pub mod agent;
mod attempt;
pub mod catalog;
pub mod controller;
pub mod deadline;
mod deployment;
pub mod host;
mod hours;
pub mod money;
pub mod place;
pub mod provider;
mod requirements;
pub mod scale;
pub mod spot;
pub mod state;

pub use attempt::{Attempt, AttemptStatus, EndReason};
pub use deployment::{Deployment, DeploymentSpec, DeploymentStatus, NAME_LENGTH, Scale, is_name};
pub use hours::{ParseHoursError, parse_hours};
pub use requirements::{Data, Requirements, SpotUse, Strategy, Weights};
