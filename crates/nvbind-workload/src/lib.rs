//! What does the user want? [`Workload`], [`Selector`], profiles and `nvbind.toml`.
//!
//! `Workload` is the one input format of the whole product: command line options and files all build the same struct.

mod device;
mod draft;
mod image;
mod profile;
mod resolve;
mod selector;
mod size;
mod volume;
mod word;
mod workload;

pub use device::DeviceRef;
pub use draft::{CapabilityWords, CloudTable, Draft, FILE_NAME, Runtime, Size, Variables, WorkloadError};
pub use image::ImageRef;
pub use profile::Profile;
pub use resolve::ResolveError;
pub use selector::{ParseSelectorError, Selector};
pub use size::{ParseSizeError, parse_size};
pub use volume::{ParseVolumeError, Volume};
pub use word::UnknownWord;
pub use workload::{DriverChoice, Isolation, Network, Pull, Workload};
