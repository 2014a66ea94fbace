//! Deployments on emulated clouds whose machines are real: namespaces with Debian's sshd, in which containers start.

mod account;
mod kills;
mod life;
