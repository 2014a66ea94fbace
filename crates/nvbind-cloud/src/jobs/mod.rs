//! A list of workloads with arrival times, run through the same placement as real ones: what would it cost, how long would it take?

mod list;
mod simulate;

pub use list::{Job, JobsError, parse_csv, parse_json, read_jobs};
pub use simulate::{Outcome, Refusal, Setting, simulate};
