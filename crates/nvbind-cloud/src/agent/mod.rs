//! The agent on a host: runs the workload of a node with `nvbind run`, listens for the provider's notice that the machine is taken back, and
//! tells how it goes.
//!
//! All it knows lies in one folder: the plan, the state, the log of the workload. It holds a lock on the folder as long as it lives, so
//! whoever looks knows whether it does, however it ended.

mod control;
mod error;
mod folder;
mod log;
mod metadata;
mod nvbind;
mod plan;
mod process;
mod report;
mod run;
mod workload;

pub use control::{StopOrder, clean, follow, logs, start, stop};
pub use error::AgentError;
pub use metadata::MetadataSource;
pub use plan::Plan;
pub use report::{AgentState, Checkpoint, Exit, ExitReason, GpuUse, Notice, NoticeKind, Phase, Report};
pub use run::{Meter, run};
