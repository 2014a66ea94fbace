//! What must a container get?

mod edits;
mod spec;

pub use edits::{DeviceNode, Edits, Hook, Mount};
pub use spec::{Device, Spec};
