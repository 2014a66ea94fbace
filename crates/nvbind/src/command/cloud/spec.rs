//! A deployment from a file, a named workload and the command line.

use super::deploy::DeployArgs;
use super::tools;
use crate::context::Context;
use crate::failure::{FAILED, Failure};
use crate::output;
use nvbind_cloud::catalog::Catalog;
use nvbind_cloud::{DeploymentSpec, NAME_LENGTH, Requirements, find_workload, is_name, is_network};
use nvbind_workload::Draft;
use std::path::Path;
use toml::{Table, Value};

/// The deployment that a command line asks for.
pub(super) fn spec(args: &DeployArgs, context: &Context) -> Result<DeploymentSpec, Failure> {
    let mut spec = match &args.file {
        Some(file) => from_file(file, context)?,
        None => DeploymentSpec::new("", "", Requirements::default()),
    };
    args.requirements
        .apply(&mut spec.requirements, &Catalog::embedded()?, output::warn)?;
    let mut run: Table = spec.run.parse().map_err(|error| Failure::from_error(&error, FAILED))?;
    fill(&mut run, args)?;
    spec.name = name(args, &spec, &run);
    if !is_name(&spec.name) {
        return Err(Failure::usage(format!(
            "bad name '{}': use up to {NAME_LENGTH} of a-z, 0-9 and -, a letter first",
            spec.name
        )));
    }
    run.remove("name");
    spec.run = toml::to_string(&run).map_err(|error| Failure::from_error(&error, FAILED))?;
    // Whether the machine could make anything of it is better known here and now.
    Draft::from_text(&spec.run)?;
    spec.secrets.extend(args.secret.iter().cloned());
    tools::check_secrets(&spec)?;
    take_options(&mut spec, args)?;
    spec.allow_from = allow_from(args, &spec, context)?;
    Ok(spec)
}

fn take_options(spec: &mut DeploymentSpec, args: &DeployArgs) -> Result<(), Failure> {
    if args.on_notice.is_some() {
        spec.on_notice.clone_from(&args.on_notice);
    }
    spec.max_restarts = args.max_restarts.unwrap_or(spec.max_restarts);
    spec.retry_until_up |= args.retry;
    spec.restart_on_replacement |= args.restart_on_replacement;
    if let Some(hours) = args.max_hours {
        if !(hours.is_finite() && hours > 0.0) {
            return Err(Failure::usage(format!("--max-hours {hours}: it must be above 0")));
        }
        spec.max_run_seconds = (hours * 3600.0).ceil() as u64;
    }
    spec.owner = tools::user_name();
    Ok(())
}

/// Who may reach the machines: as the command line says, else the file, else the configuration.
fn allow_from(args: &DeployArgs, spec: &DeploymentSpec, context: &Context) -> Result<Vec<String>, Failure> {
    let configured = context.config()?.cloud.allow_from;
    let (what, networks) = match (args.allow_from.is_empty(), spec.is_open_to_everyone()) {
        (false, _) => ("--allow-from", args.allow_from.clone()),
        (true, true) if !configured.is_empty() => ("cloud.allow_from", configured),
        (true, _) => return Ok(spec.allow_from.clone()),
    };
    match networks.iter().find(|network| !is_network(network)) {
        Some(network) => Err(Failure::usage(format!(
            "{what} {network}: write a network, as 203.0.113.0/24"
        ))),
        None => Ok(networks),
    }
}

fn from_file(file: &Path, context: &Context) -> Result<DeploymentSpec, Failure> {
    let failed = |error: std::io::Error| Failure::io(format!("cannot read '{}'", file.display()), &error);
    let text = std::fs::read_to_string(file).map_err(failed)?;
    let at = |error: String| Failure::usage(format!("'{}': {error}", file.display()));
    let is_yaml = file
        .extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml");
    match is_yaml {
        true => {
            let image = context.config()?.cloud.default_image;
            let task = nvbind_cloud::skypilot::parse(&text, image.as_deref()).map_err(|error| at(error.to_string()))?;
            task.notes.iter().for_each(|note| output::warn(note));
            Ok(task.spec)
        }
        false => nvbind_cloud::file::parse(&text).map_err(|error| at(error.to_string())),
    }
}

/// Puts what the command line says of the run in its place.
fn fill(run: &mut Table, args: &DeployArgs) -> Result<(), Failure> {
    if let Some(asked) = &args.workload {
        let workload = find_workload(asked)?;
        for (key, value) in [
            ("image", workload.image),
            ("profile", workload.profile),
            ("capabilities", workload.capabilities),
        ] {
            run.entry(key).or_insert_with(|| value.into());
        }
    }
    if let Some(image) = &args.image {
        run.insert("image".to_owned(), image.clone().into());
    }
    if let Some(rootfs) = &args.rootfs {
        run.insert("rootfs".to_owned(), rootfs.clone().into());
    }
    if !args.command.is_empty() {
        run.insert("command".to_owned(), args.command.clone().into());
    }
    if !args.env.is_empty() {
        let env = run.entry("env").or_insert_with(|| Value::Table(Table::new()));
        let table = env
            .as_table_mut()
            .ok_or_else(|| Failure::usage("'env' must be a table"))?;
        for text in &args.env {
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--env {text}: write NAME=VALUE, or --secret {text}")))?;
            table.insert(name.to_owned(), value.into());
        }
    }
    // A machine is rented for its GPUs: they are all given unless something else is said.
    run.entry("gpu").or_insert_with(|| "all".into());
    if !run.contains_key("image") && !run.contains_key("rootfs") {
        return Err(Failure::usage(
            "nothing to run: give an IMAGE, --workload, --rootfs or --file",
        ));
    }
    Ok(())
}

/// The name that was given, else the file's, else one made of what runs.
fn name(args: &DeployArgs, spec: &DeploymentSpec, run: &Table) -> String {
    if let Some(name) = &args.name {
        return name.clone();
    }
    if !spec.name.is_empty() {
        return spec.name.clone();
    }
    let text = |key: &str| run.get(key).and_then(Value::as_str);
    let long = args
        .workload
        .as_deref()
        .or_else(|| text("image"))
        .or_else(|| text("rootfs"))
        .unwrap_or("workload");
    let last = long.rsplit('/').next().unwrap_or(long);
    let word = last.split([':', '@']).next().unwrap_or(last);
    let fit = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let plain: String = word.chars().map(fit).take(NAME_LENGTH).collect();
    let name = plain
        .trim_matches('-')
        .trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
    if name.is_empty() {
        "workload".to_owned()
    } else {
        name.to_owned()
    }
}
