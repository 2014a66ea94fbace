//! A libnvidia-ml.so.1 with NVML's C ABI that answers for a simulated machine.
