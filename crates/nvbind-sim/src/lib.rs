//! What would it be like with other GPUs? Machine profiles, live state and a simulated driver root.
//!
//! [`root::ensure`] makes a folder that looks like the root of a machine with NVIDIA's driver; everything that
//! binds GPUs is then pointed at that folder and does not know. [`command`] changes the machine while programs run.

pub mod command;
mod driver;
mod elf;
mod error;
mod extras;
mod identity;
mod kernel;
mod library;
pub mod mig;
mod overlay;
pub mod profile;
pub mod root;
pub mod setting;
pub mod state;
mod store;
mod wsl;

pub use error::Error;
pub use library::library_path;
pub use profile::Profile;
pub use root::SimRoot;
pub use state::State;
pub use store::Store;
