//! `nvbind ps`: the containers that nvbind started.

use crate::cli::Format;
use crate::containers::Containers;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::table::{age, table};
use clap::Args;
use nvbind_alloc::{Binding, Status};
use serde::Serialize;
use std::path::Path;

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Also those that have ended
    #[arg(short, long)]
    all: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A container as programs read it.
#[derive(Serialize)]
struct Listed<'binding> {
    id: &'binding str,
    name: &'binding str,
    engine: &'binding str,
    status: &'static str,
    pid: Option<u32>,
    exit_code: Option<u8>,
    devices: &'binding [String],
    isolation: &'static str,
    image: &'binding str,
    command: &'binding [String],
    created_at: u64,
    finished_at: Option<u64>,
    bundle: Option<&'binding Path>,
    cgroup: Option<&'binding str>,
}

pub(crate) fn run(args: &PsArgs, context: &Context) -> Result<u8, Failure> {
    let mut bindings = Containers::open(&context.config()?)?.list()?;
    bindings.retain(|binding| args.all || binding.status != Status::Exited);
    let listed: Vec<Listed<'_>> = bindings.iter().map(Listed::of).collect();
    output::data(args.format, &listed, || {
        let rows: Vec<Vec<String>> = bindings.iter().map(row).collect();
        table(
            &["NAME", "STATUS", "CREATED", "ENGINE", "IMAGE", "COMMAND", "DEVICES"],
            &rows,
        )
    })?;
    Ok(0)
}

impl<'binding> Listed<'binding> {
    fn of(binding: &'binding Binding) -> Self {
        Self {
            id: &binding.id,
            name: &binding.name,
            engine: &binding.engine,
            status: binding.status.as_str(),
            pid: binding.pid,
            exit_code: binding.exit_code,
            devices: &binding.devices,
            isolation: binding.isolation.as_str(),
            image: &binding.image,
            command: &binding.command,
            created_at: binding.created_at,
            finished_at: binding.finished_at,
            bundle: binding.bundle.as_deref(),
            cgroup: binding.cgroup.as_deref(),
        }
    }
}

fn row(binding: &Binding) -> Vec<String> {
    let status = match binding.exit_code {
        Some(code) => format!("{} ({code})", binding.status.as_str()),
        None => binding.status.as_str().to_owned(),
    };
    vec![
        binding.name.clone(),
        status,
        age(binding.created_at),
        binding.engine.clone(),
        shortened(&binding.image, 30),
        shortened(&binding.command.join(" "), 30),
        binding.devices.join(","),
    ]
}

/// The text, or its end with dots before it: the end of a path tells more than its beginning.
fn shortened(text: &str, width: usize) -> String {
    let length = text.chars().count();
    match length > width {
        true => format!("...{}", text.chars().skip(length + 3 - width).collect::<String>()),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_keep_their_end() {
        assert_eq!(shortened("/very/long/path", 10), "...ng/path");
        assert_eq!(shortened("short", 10), "short");
    }
}
