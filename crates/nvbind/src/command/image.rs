//! `nvbind image`: the images of the native engine.

use crate::cli::Format;
use crate::containers::Containers;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::progress::Bar;
use crate::table::{age, table};
use clap::{Args, Subcommand};
use nvbind_alloc::Status;
use nvbind_config::Config;
use nvbind_engine::image::{Listed, Registries, Removed, Store};
use nvbind_engine::native;
use serde::Serialize;

/// The commands.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum ImageCommand {
    /// Fetch an image from its registry
    Pull(PullArgs),
    /// List the images that are here
    Ls(LsArgs),
    /// Remove images that no container runs on
    Rm(RmArgs),
    /// Remove what no image needs: what interrupted pulls and renamed images left
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// Image: [REGISTRY/]NAME[:TAG][@DIGEST]
    #[arg(value_name = "IMAGE")]
    image: String,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Names, or the beginnings of ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Also images that no container runs on
    #[arg(short, long)]
    all: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// An image as programs read it.
#[derive(Serialize)]
struct Row<'image> {
    name: &'image str,
    id: &'image str,
    digest: Option<&'image str>,
    size_bytes: u64,
    created_at: u64,
    in_use: bool,
}

/// What was removed, as programs read it.
#[derive(Serialize)]
struct Gone<'removed> {
    removed: &'removed [String],
    freed_bytes: u64,
}

pub(crate) fn run(command: &ImageCommand, context: &Context) -> Result<u8, Failure> {
    let config = context.config()?;
    // Opened first: what a killed nvbind left does not hold an image any more.
    let containers = Containers::open(&config)?;
    let store = Store::new(containers.dirs.images());
    // Read first: from inside a user namespace, root's files are nobody's.
    let registries = registries(&config);
    if !matches!(command, ImageCommand::Ls(_)) {
        native::own_files()?;
    }
    match command {
        ImageCommand::Pull(args) => pull(args, &store, &registries)?,
        ImageCommand::Ls(args) => list(args, &store)?,
        ImageCommand::Rm(args) => remove(args, &store, &containers)?,
        ImageCommand::Prune(args) => {
            let mut bar = Bar::default();
            let removed = store.prune(args.all, &mut |step| bar.show(step))?;
            print_removed(args.format, &removed)?;
        }
    }
    Ok(0)
}

/// What the configuration says of registries.
pub(crate) fn registries(config: &Config) -> Registries {
    Registries::of_host(&config.registry.insecure)
}

fn pull(args: &PullArgs, store: &Store, registries: &Registries) -> Result<(), Failure> {
    let mut bar = Bar::default();
    let image = store.pull(&args.image, registries, &mut |step| bar.show(step))?;
    drop(bar);
    output::data(args.format, &Row::of(&image), || {
        format!("{} {}\n", image.name, image.digest.as_deref().unwrap_or_default())
    })
}

fn list(args: &LsArgs, store: &Store) -> Result<(), Failure> {
    let images = store.list()?;
    let rows: Vec<Row<'_>> = images.iter().map(Row::of).collect();
    output::data(args.format, &rows, || {
        let cells = |image: &Listed| {
            vec![
                image.name.clone(),
                short(&image.id).to_owned(),
                bytes(image.size),
                age(image.created_at),
                if image.in_use { "yes" } else { "no" }.to_owned(),
            ]
        };
        let rows: Vec<Vec<String>> = images.iter().map(cells).collect();
        table(&["IMAGE", "ID", "SIZE", "PULLED", "IN USE"], &rows)
    })
}

fn remove(args: &RmArgs, store: &Store, containers: &Containers) -> Result<(), Failure> {
    let bindings = containers.ledger.list()?;
    let holders = |image: &str| {
        let live = bindings.iter().filter(|binding| binding.status != Status::Exited);
        let users = live.filter(|binding| binding.image == image);
        users.map(|binding| binding.name.clone()).collect()
    };
    let mut bar = Bar::default();
    let mut all = Removed::default();
    for image in &args.images {
        let removed = store.remove(image, &holders, &mut |step| bar.show(step))?;
        all.names.extend(removed.names);
        all.bytes += removed.bytes;
    }
    print_removed(args.format, &all)
}

fn print_removed(format: Format, removed: &Removed) -> Result<(), Failure> {
    let gone = Gone {
        removed: &removed.names,
        freed_bytes: removed.bytes,
    };
    output::data(format, &gone, || {
        let names = removed.names.iter().map(|name| format!("removed {name}\n"));
        format!("{}freed {}\n", names.collect::<String>(), bytes(removed.bytes))
    })
}

impl<'image> Row<'image> {
    fn of(image: &'image Listed) -> Self {
        Self {
            name: &image.name,
            id: &image.id,
            digest: image.digest.as_deref(),
            size_bytes: image.size,
            created_at: image.created_at,
            in_use: image.in_use,
        }
    }
}

/// As many digits of an id as docker shows.
fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}
