//! What must a container get? Driver files to container edits, CDI specs, the registry.
//!
//! | question | file |
//! |---|---|
//! | what is mounted, and with which options? | `generate/common.rs`, `mount_options.rs` |
//! | which nodes belong to a device, and what is it called? | `generate/device.rs`, `generate/select.rs` |
//! | what do modes besides GPUs look for? | `generate/extra.rs`, `generate/management.rs` |
//! | what does the hook get told? | `generate/hook.rs` |
//! | what is dropped when a container asks for fewer driver capabilities? | `filter.rs` |
//! | which CDI version does a spec need? | `version.rs` |
//! | what makes a spec invalid? | `validate.rs` |
//! | how is a spec file read and written? | `file.rs`, `yaml.rs` |
//! | how is a spec moved to another root? | `transform.rs` |
//! | which file does a device name come from? | `registry.rs` |

pub mod annotation;
mod edits;
mod error;
mod file;
mod filter;
mod generate;
mod link;
mod mount_options;
mod name;
mod registry;
mod spec;
mod stale;
mod transform;
mod validate;
mod version;
mod yaml;

pub use edits::{DeviceNode, Edits, Hook, IntelRdt, Mount, NetDevice};
pub use error::Error;
pub use file::Format;
pub use generate::{GenerateOptions, HookSteps, Made, Mode, Strategy, edits_for, generate, make};
pub use mount_options::MountOptions;
pub use name::QualifiedName;
pub use registry::{Registry, SpecFile};
pub use spec::{Device, Spec};
pub use transform::RelativeTo;
pub use validate::Invalid;
