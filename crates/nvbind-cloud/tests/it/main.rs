//! Hosts that are reached over SSH: machines in namespaces with Debian's sshd, on the simulator.

mod agent;
mod hosts;
mod node;
mod notice;
mod ssh;
mod support;
