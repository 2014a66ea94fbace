//! The library as programs use it: NVIDIA's own `nvidia-smi`, and `nvml-wrapper`.

#[allow(unsafe_code)] // It calls the C ABI directly.
mod abi;
mod device;
mod event;
mod machine;
mod mig;
mod nvidia_smi;
