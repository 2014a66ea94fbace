//! Hosts that are reached over SSH: machines in namespaces with Debian's sshd, on the simulator.
#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod agent;
mod hosts;
mod node;
mod notice;
mod ssh;
mod support;
