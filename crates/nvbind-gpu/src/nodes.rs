//! Device nodes of one GPU or MIG device.

use crate::{Error, Gpu, Link, MigDevice};
use nvbind_config::Roots;
use std::path::PathBuf;

/// The device nodes of one GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GpuNodes {
    /// Container paths: `/dev/nvidia0`, `/dev/dri/card0`, `/dev/dri/renderD128`.
    pub nodes: Vec<PathBuf>,
    /// `/dev/dri/by-path` links to the DRM nodes.
    pub by_path_links: Vec<Link>,
}

/// The nodes of a full GPU.
pub fn gpu_nodes(_roots: &Roots, gpu: &Gpu) -> GpuNodes {
    GpuNodes {
        nodes: vec![format!("/dev/nvidia{}", gpu.minor).into()],
        by_path_links: Vec::new(),
    }
}

/// The capability nodes of a MIG device (`/dev/nvidia-caps/nvidia-cap<N>`); its GPU's node is needed too.
pub fn mig_nodes(_roots: &Roots, _gpu: &Gpu, _mig: &MigDevice) -> Result<Vec<PathBuf>, Error> {
    Ok(Vec::new())
}
