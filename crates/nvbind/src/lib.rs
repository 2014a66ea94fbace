//! One toolkit that binds NVIDIA GPUs to work.
