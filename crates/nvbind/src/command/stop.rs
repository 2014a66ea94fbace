//! `nvbind stop`.

use crate::containers::Containers;
use crate::context::Context;
use crate::failure::Failure;
use clap::Args;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Seconds after which a container that does not stop is killed
    #[arg(short, long, default_value_t = 10)]
    time: u32,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn run(args: &StopArgs, context: &Context) -> Result<u8, Failure> {
    let mut containers = Containers::open(&context.config()?)?;
    let grace = Duration::from_secs(args.time.into());
    args.containers.iter().try_for_each(|key| containers.stop(key, grace))?;
    Ok(0)
}
