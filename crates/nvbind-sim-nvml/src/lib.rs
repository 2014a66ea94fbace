//! A libnvidia-ml.so.1 with NVML's C ABI that answers for a simulated machine.
//!
//! Every call reads the state that `nvbind-sim` keeps in a file beside this library, so that a change is seen by
//! programs that are running. The functions are grouped by what they tell; `abi` is the only place that touches
//! the caller's memory.

// The names are NVML's, and exporting a C symbol counts as unsafe: another library could define the same one.
#![allow(non_snake_case, unsafe_code)]

#[macro_use]
mod abi;
mod addressing;
mod clock;
mod compute_instance;
mod device;
mod dxcore;
mod ecc;
mod error;
mod event;
mod export_table;
mod field;
mod gpu_instance;
mod handle;
mod identity;
mod memory;
mod mig;
mod pcie;
mod power;
mod process;
mod session;
mod system;
mod topology;
mod unsupported;
mod utilization;
