//! What GPUs and which driver are here?

mod capability;
mod gpu;

pub use capability::{Capabilities, Capability};
pub use gpu::{Architecture, Gpu, Health, MigDevice, MigState};
