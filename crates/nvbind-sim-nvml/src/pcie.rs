//! The PCIe link.

use crate::abi::{Out, call};
use crate::device::Device;
use crate::error::Code;
use crate::handle::Handle;

/// `nvmlPcieUtilCounter_t`.
const TX_BYTES: u32 = 0;
const RX_BYTES: u32 = 1;

/// MT/s of each PCIe generation, from 1 (PCI-SIG).
const SPEEDS: [u32; 6] = [2500, 5000, 8000, 16000, 32000, 64000];

device_values! {
    nvmlDeviceGetMaxPcieLinkGeneration: u32 = |device| device.full().map(|_| device.model().pcie_generation);
    nvmlDeviceGetGpuMaxPcieLinkGeneration: u32 = |device| device.full().map(|_| device.model().pcie_generation);
    nvmlDeviceGetCurrPcieLinkGeneration: u32 = |device| device.full().map(|_| device.model().pcie_generation);
    nvmlDeviceGetMaxPcieLinkWidth: u32 = |device| device.full().map(|_| device.model().pcie_width);
    nvmlDeviceGetCurrPcieLinkWidth: u32 = |device| device.full().map(|_| device.model().pcie_width);
    nvmlDeviceGetPcieReplayCounter: u32 = |device| device.full().map(|_| 0);
    nvmlDeviceGetPcieSpeed: u32 = |device| speed(device.full().map(|_| device.model().pcie_generation)?);
    // `NVML_PCIE_LINK_MAX_SPEED_*` counts the generations.
    nvmlDeviceGetPcieLinkMaxSpeed: u32 = |device| device.full().map(|_| device.model().pcie_generation);
}

fn speed(generation: u32) -> Result<u32, Code> {
    let index = generation.checked_sub(1).ok_or(Code::UNKNOWN)?;
    SPEEDS.get(index as usize).copied().ok_or(Code::NOT_SUPPORTED)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPcieThroughput(device: Handle, counter: u32, value: Out<u32>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let gpu = device.full()?;
        match counter {
            TX_BYTES => value.put(gpu.pcie_tx_kbps),
            RX_BYTES => value.put(gpu.pcie_rx_kbps),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    })
}
