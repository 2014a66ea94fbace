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
pub mod file;
pub mod host;
mod hours;
pub mod jobs;
pub mod latency;
pub mod money;
mod named;
pub mod place;
pub mod provider;
mod requirements;
pub mod scale;
mod size;
pub mod skypilot;
pub mod spot;
pub mod state;

pub use attempt::{Attempt, AttemptStatus, EndReason};
pub use deployment::{Deployment, DeploymentSpec, DeploymentStatus, NAME_LENGTH, Scale, is_name, is_network};
pub use hours::{ParseHoursError, parse_hours};
pub use named::{NAMED_WORKLOADS, NamedWorkload, UnknownWorkload, find_workload};
pub use requirements::{Data, Requirements, SpotUse, Strategy, UnknownWord, Weights};
pub use size::parse_gib;

/// The name that comes nearest to what was written.
fn nearest<'name>(written: &str, known: impl Iterator<Item = &'name str>) -> &'name str {
    let near = |name: &&str| strsim::jaro_winkler(written, name);
    known.max_by(|a, b| near(a).total_cmp(&near(b))).unwrap_or_default()
}
