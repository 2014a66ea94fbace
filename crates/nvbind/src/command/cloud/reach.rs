//! `nvbind cloud logs` and `ssh`: what happens on the machines.

use super::tools;
use crate::context::Context;
use crate::failure::{Failure, NOT_FOUND};
use clap::Args;
use nvbind_cloud::state::State;
use nvbind_cloud::{Attempt, AttemptStatus, Deployment};
use std::os::unix::process::CommandExt;

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The deployment
    name: String,
    /// Number of the node
    #[arg(long, default_value_t = 0)]
    node: u32,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct SshArgs {
    /// The deployment
    name: String,
    /// Number of the node
    #[arg(long, default_value_t = 0)]
    node: u32,
    /// Command there and its arguments; a shell when there is none
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(crate) fn logs(args: &LogsArgs, context: &Context) -> Result<u8, Failure> {
    let state = State::open(&context.config()?.state_dir())?;
    let (deployment, attempt) = machine(&state, &args.name, args.node)?;
    let node = tools::node(context, &state, &deployment, &attempt)?;
    let token = nvbind_cloud::controller::run_token(&attempt);
    node.logs(&token, args.tail, args.follow, &mut std::io::stdout())?;
    Ok(0)
}

pub(crate) fn ssh(args: &SshArgs, context: &Context) -> Result<u8, Failure> {
    let state = State::open(&context.config()?.state_dir())?;
    let (deployment, attempt) = machine(&state, &args.name, args.node)?;
    let mut command = tools::target(context, &state, &deployment, &attempt)?.command(&args.command);
    Err(Failure::io("cannot start ssh", &command.exec()))
}

/// The machine that a node is on now.
fn machine(state: &State, name: &str, node: u32) -> Result<(Deployment, Attempt), Failure> {
    let deployment = state.find_deployment(name)?;
    let attempts = state.attempts(deployment.id)?;
    let is_up = |attempt: &&Attempt| {
        attempt.order.node == node
            && (AttemptStatus::Running..AttemptStatus::Deleted).contains(&attempt.status)
            && attempt.address.is_some()
    };
    let attempt = attempts.iter().rev().find(is_up).cloned();
    attempt.map(|attempt| (deployment, attempt)).ok_or_else(|| {
        Failure::new(
            NOT_FOUND,
            format!("node {node} of '{name}' has no machine now: see nvbind cloud status {name}"),
        )
    })
}
