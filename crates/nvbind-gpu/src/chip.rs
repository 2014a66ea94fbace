//! What a chip has: family, ray-tracing cores, Tensor cores.

use crate::Architecture;

/// CUDA compute capability (major, minor).
type Capability = (u32, u32);

/// Chips by PCI device id range (first, last), family and compute capability, from the id blocks of pci.ids.
const CHIPS: [(u16, u16, Architecture, Capability); 22] = [
    (0x0fc0, 0x103f, Architecture::Kepler, (3, 5)),
    (0x1180, 0x12bf, Architecture::Kepler, (3, 0)),
    (0x1340, 0x13bf, Architecture::Maxwell, (5, 0)),
    (0x13c0, 0x15ef, Architecture::Maxwell, (5, 2)),
    (0x15f0, 0x15ff, Architecture::Pascal, (6, 0)),
    (0x1600, 0x1aff, Architecture::Maxwell, (5, 2)),
    (0x1b00, 0x1d7f, Architecture::Pascal, (6, 1)),
    (0x1d80, 0x1dff, Architecture::Volta, (7, 0)),
    (0x1e00, 0x1fff, Architecture::Turing, (7, 5)),
    (0x2080, 0x20ff, Architecture::Ampere, (8, 0)),
    (0x2180, 0x21ff, Architecture::Turing, (7, 5)),
    (0x2200, 0x227f, Architecture::Ampere, (8, 6)),
    (0x2300, 0x237f, Architecture::Hopper, (9, 0)),
    (0x2400, 0x25ff, Architecture::Ampere, (8, 6)),
    (0x2680, 0x28ff, Architecture::Ada, (8, 9)),
    (0x2900, 0x29ff, Architecture::Blackwell, (10, 0)),
    (0x2b80, 0x2d7f, Architecture::Blackwell, (12, 0)),
    (0x2d80, 0x2dff, Architecture::Blackwell, (12, 0)),
    (0x2e00, 0x2e7f, Architecture::Blackwell, (12, 1)),
    (0x2f00, 0x2f7f, Architecture::Blackwell, (12, 0)),
    (0x3180, 0x31ff, Architecture::Blackwell, (10, 3)),
    (0x3200, 0x327f, Architecture::Blackwell, (10, 3)),
];

/// Turing chips without RT and Tensor cores although their compute capability is 7.5:
/// TU117, TU116, and the GTX 1650 made of TU106.
const TURING_WITHOUT_CORES: [(u16, u16); 3] = [(0x1f80, 0x1fff), (0x2180, 0x21ff), (0x1f0a, 0x1f0a)];

/// RT core generation by compute capability. Data centre chips (8.0, 9.0, 10.x) have none.
const RT_CORES: [(Capability, u8); 6] = [
    ((7, 5), 1),
    ((8, 6), 2),
    ((8, 7), 2),
    ((8, 9), 3),
    ((12, 0), 4),
    ((12, 1), 4),
];

/// Tensor core generation from a compute capability on, newest first.
const TENSOR_CORES: [(Capability, u8); 6] = [
    ((10, 0), 5),
    ((9, 0), 4),
    ((8, 9), 4),
    ((8, 0), 3),
    ((7, 5), 2),
    ((7, 0), 1),
];

/// Family and compute capability of a PCI device id.
pub(crate) fn by_pci_id(id: u16) -> Option<(Architecture, Capability)> {
    let chip = CHIPS
        .iter()
        .find(|(first, last, _, _)| (*first..=*last).contains(&id))?;
    Some((chip.2, chip.3))
}

/// Ray-tracing core generation.
pub(crate) fn rt_cores(capability: Capability, pci_device_id: u16) -> Option<u8> {
    let found = RT_CORES.iter().find(|(of, _)| *of == capability)?;
    has_cores(pci_device_id).then_some(found.1)
}

/// Tensor core generation.
pub(crate) fn tensor_cores(capability: Capability, pci_device_id: u16) -> Option<u8> {
    let found = TENSOR_CORES.iter().find(|(from, _)| *from <= capability)?;
    has_cores(pci_device_id).then_some(found.1)
}

fn has_cores(pci_device_id: u16) -> bool {
    !TURING_WITHOUT_CORES
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&pci_device_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chips_have_the_cores_of_their_generation() {
        for (name, id, capability, rt, tensor) in [
            ("V100", 0x1db6, (7, 0), None, Some(1)),
            ("T4", 0x1eb8, (7, 5), Some(1), Some(2)),
            ("GTX 1650 (TU117)", 0x1f82, (7, 5), None, None),
            ("GTX 1650 (TU106)", 0x1f0a, (7, 5), None, None),
            ("GTX 1660", 0x2184, (7, 5), None, None),
            ("A100", 0x20b0, (8, 0), None, Some(3)),
            ("RTX 3090", 0x2204, (8, 6), Some(2), Some(3)),
            ("RTX 4090", 0x2684, (8, 9), Some(3), Some(4)),
            ("H100", 0x2330, (9, 0), None, Some(4)),
            ("B200", 0x2901, (10, 0), None, Some(5)),
            ("RTX 5090", 0x2b85, (12, 0), Some(4), Some(5)),
            ("GTX 1080", 0x1b80, (6, 1), None, None),
        ] {
            assert_eq!(
                (rt_cores(capability, id), tensor_cores(capability, id)),
                (rt, tensor),
                "{name}"
            );
            assert_eq!(
                by_pci_id(id).map(|(_, capability)| capability),
                Some(capability),
                "{name}"
            );
        }
    }
}
