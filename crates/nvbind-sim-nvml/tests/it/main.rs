//! The library as programs use it: NVIDIA's own `nvidia-smi`, and `nvml-wrapper`.

// A test that cannot go on says so by failing.
#![allow(clippy::unwrap_used)]

#[allow(unsafe_code)] // It calls the C ABI directly.
mod abi;
mod device;
mod event;
mod machine;
mod mig;
mod mig_smi;
mod nvidia_smi;
mod python;
