//! `nvbind logs`: what a container in the background wrote.

use crate::containers::Containers;
use crate::context::Context;
use crate::failure::Failure;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Name or id
    container: String,
}

pub(crate) fn run(args: &LogsArgs, context: &Context) -> Result<u8, Failure> {
    Containers::open(&context.config()?)?.logs(&args.container, args.follow)?;
    Ok(0)
}
