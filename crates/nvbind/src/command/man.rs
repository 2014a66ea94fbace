//! `nvbind man`.

use crate::cli::Cli;
use crate::failure::Failure;
use crate::output;
use clap::{Args, CommandFactory};
use clap_mangen::Man;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page per command into this folder instead of printing the main page
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &ManArgs) -> Result<u8, Failure> {
    match &args.output {
        Some(folder) => {
            let failed = |error| Failure::io(format!("cannot write man pages to '{}'", folder.display()), &error);
            std::fs::create_dir_all(folder).map_err(failed)?;
            clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
        }
        None => {
            let mut page = Vec::new();
            let failed = |error| Failure::io("cannot make the man page", &error);
            Man::new(Cli::command()).render(&mut page).map_err(failed)?;
            output::text(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(0)
}
