//! `nvbind rm`.

use crate::containers::Containers;
use crate::context::Context;
use crate::failure::Failure;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Kill containers that run
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn run(args: &RmArgs, context: &Context) -> Result<u8, Failure> {
    let mut containers = Containers::open(&context.config()?)?;
    // Those of other engines first: for an ordinary user, native ones are removed from inside a user namespace.
    let (native, other): (Vec<&String>, Vec<&String>) =
        args.containers.iter().partition(|key| containers.is_native(key));
    other
        .into_iter()
        .chain(native)
        .try_for_each(|key| containers.remove(key, args.force))?;
    Ok(0)
}
