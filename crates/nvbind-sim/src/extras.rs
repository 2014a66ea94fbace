//! Devices besides the GPUs: GPUDirect Storage, InfiniBand, GDRCopy, IMEX channels.

use crate::kernel::Node;
use crate::profile::Extras;

/// Majors that the kernel hands out downwards from 511; these come after those of the GPU driver.
const GDS_MAJOR: u32 = 507;
const GDRCOPY_MAJOR: u32 = 506;
const IMEX_MAJOR: u32 = 505;
/// Major of `/dev/infiniband/*` (Documentation/admin-guide/devices.txt of the kernel), and the first minor of its
/// `uverbs` and `rdma_cm` nodes.
const INFINIBAND_MAJOR: u32 = 231;
const UVERBS_MINOR: u32 = 192;
const RDMA_CM_MINOR: u32 = 255;

/// What GPUDirect Storage reads, and what it finds out about disks by.
pub(crate) const GDS_FILES: [(&str, &str); 2] = [
    ("etc/cufile.json", "{\"properties\": {\"use_compat_mode\": false}}\n"),
    ("run/udev/control", ""),
];

/// The nodes of these devices.
pub(crate) fn nodes(extras: Extras) -> Vec<Node> {
    let numbered = |count: u32, folder: &'static str, major, first| {
        (0..count).map(move |n| Node::open_to_all(format!("dev/{folder}{n}"), major, first + n))
    };
    let mut nodes: Vec<Node> = numbered(extras.gds, "nvidia-fs", GDS_MAJOR, 0).collect();
    nodes.extend(numbered(
        extras.infiniband,
        "infiniband/uverbs",
        INFINIBAND_MAJOR,
        UVERBS_MINOR,
    ));
    if extras.infiniband > 0 {
        nodes.push(Node::open_to_all(
            "dev/infiniband/rdma_cm",
            INFINIBAND_MAJOR,
            RDMA_CM_MINOR,
        ));
    }
    if extras.gdrcopy > 0 {
        nodes.push(Node::open_to_all("dev/gdrdrv", GDRCOPY_MAJOR, 0));
    }
    nodes.extend(numbered(
        extras.imex_channels,
        "nvidia-caps-imex-channels/channel",
        IMEX_MAJOR,
        0,
    ));
    nodes
}
