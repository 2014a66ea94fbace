//! One toolkit that binds NVIDIA GPUs to work.
//!
//! This crate is a thin facade: each part is a crate of its own that answers one question, re-exported here under a short
//! name. The `nvbind` command is built on the same parts.
//!
//! ```
//! use nvbind::workload::{Profile, Selector, Workload};
//!
//! let mut workload = Workload::new("train");
//! workload.gpu = "count=2,model=A100".parse::<Selector>().unwrap();
//! workload.profile = Profile::Training;
//! ```

pub use nvbind_alloc as alloc;
pub use nvbind_cdi as cdi;
#[cfg(feature = "cloud")]
pub use nvbind_cloud as cloud;
pub use nvbind_config as config;
pub use nvbind_engine as engine;
pub use nvbind_gpu as gpu;
pub use nvbind_oci as oci;
pub use nvbind_sim as sim;
pub use nvbind_workload as workload;
