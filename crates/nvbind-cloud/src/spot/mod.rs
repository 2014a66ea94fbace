//! A job with a deadline on spot capacity that comes and goes: traces, policies, and the simulator that compares them.

mod hazard;
mod job;
mod plan;
pub mod policy;
mod progress;
mod simulate;
mod trace;

pub use hazard::{Chain, Hazards};
pub use job::{Job, JobError};
pub use plan::Plan;
pub use policy::{Choice, Policy, PolicyName, UnknownPolicy, View};
pub use progress::Progress;
pub use simulate::{History, Report, Run, Study, StudyError, run};
pub use trace::{Trace, TraceError};
