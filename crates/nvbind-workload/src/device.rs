//! A device that a selector came down to.

/// A device of this host that can be handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceRef {
    /// A full GPU.
    Gpu {
        /// NVML index.
        index: u32,
        /// `GPU-<uuid>`.
        uuid: String,
        /// Minor number of `/dev/nvidia<minor>`.
        minor: u32,
    },
    /// A MIG device.
    Mig {
        /// NVML index of the GPU it is cut from.
        gpu_index: u32,
        /// UUID of the GPU it is cut from.
        gpu_uuid: String,
        /// Index among the MIG devices of its GPU.
        index: u32,
        /// `MIG-<uuid>`.
        uuid: String,
    },
}

impl DeviceRef {
    /// The UUID of the device itself.
    pub fn uuid(&self) -> &str {
        match self {
            Self::Gpu { uuid, .. } | Self::Mig { uuid, .. } => uuid,
        }
    }
}
