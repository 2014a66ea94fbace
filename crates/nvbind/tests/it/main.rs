//! End-to-end tests: the `nvbind` command on a simulated machine, with the real engines and NVIDIA's own `nvidia-smi`.

mod attacks;
mod bad_input;
mod bolt;
mod cdi;
#[cfg(feature = "cloud")]
mod cloud;
mod cloud_place;
#[cfg(feature = "cloud")]
mod costs;
mod crash;
mod docs;
mod doctor;
mod engines;
mod faults;
mod image;
mod mig;
mod native;
mod peer;
mod rootless;
mod simulator;
mod support;
mod surface;
mod survival;
mod system;
mod units;
mod watch;
