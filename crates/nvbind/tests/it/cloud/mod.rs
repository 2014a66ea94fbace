//! Deployments on emulated clouds whose machines are real: namespaces with Debian's sshd, in which containers start.

mod account;
mod client;
mod deadline;
mod hosts;
mod kills;
mod latency;
mod life;
mod money;
mod nodes;
mod own_hosts;
mod refusals;
mod scale;
