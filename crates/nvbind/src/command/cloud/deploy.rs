//! `nvbind cloud deploy`, and what ends a deployment.

use super::requirements::RequirementArgs;
use super::tools;
use crate::cli::Format;
use crate::context::Context;
use crate::failure::{FAILED, Failure, NOT_FOUND, PERMISSION};
use crate::output;
use clap::{Args, ValueHint};
use nvbind_cloud::catalog::ProviderName;
use nvbind_cloud::controller::{Controller, Goal, Tools};
use nvbind_cloud::provider::ErrorClass;
use nvbind_cloud::state::{Event, State};
use nvbind_cloud::{Attempt, Deployment, DeploymentSpec, DeploymentStatus};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
#[command(override_usage = "nvbind cloud deploy [OPTIONS] [IMAGE] [-- CMD...]")]
pub(crate) struct DeployArgs {
    /// Name of the deployment [default: the file's, else from the image]
    #[arg(long)]
    pub(super) name: Option<String>,
    /// A kind of work whose image and profile are known: pytorch-training, pytorch-inference, tensorflow-training, tensorflow-inference,
    /// vllm-serving, triton-serving, cuda or cuda-development
    #[arg(long, value_name = "WORKLOAD")]
    pub(super) workload: Option<String>,
    /// Read it from this file: an nvbind.toml with a [cloud] table, or a SkyPilot task (.yaml)
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) file: Option<PathBuf>,
    /// Environment variable of the workload; it is written down: for what is secret there is --secret
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(super) env: Vec<String>,
    /// Environment variable of the workload whose value is the caller's own and is never written down
    #[arg(long, value_name = "NAME")]
    pub(super) secret: Vec<String>,
    /// Folder on the machine to run as root file system; IMAGE is then only a label
    #[arg(long, value_name = "DIR")]
    pub(super) rootfs: Option<String>,
    /// Shell command at an interruption notice, before the workload is told to stop
    #[arg(long, value_name = "COMMAND")]
    pub(super) on_notice: Option<String>,
    /// How often a workload that fails is started again
    #[arg(long, value_name = "N")]
    pub(super) max_restarts: Option<u32>,
    /// Start the workload again on the other nodes when one has got another machine: they know its old address
    #[arg(long)]
    pub(super) restart_on_replacement: bool,
    /// Hours after which the provider ends a machine by itself, even when nvbind is gone [default: 168]
    #[arg(long, value_name = "HOURS")]
    pub(super) max_hours: Option<f64>,
    /// Networks that may reach port 22 of rented machines, as 203.0.113.0/24 [default: cloud.allow_from of the configuration, else all]
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    pub(super) allow_from: Vec<String>,
    /// Look for machines until there are some
    #[arg(long)]
    pub(super) retry: bool,
    #[command(flatten)]
    pub(super) requirements: RequirementArgs,
    /// Stay, keep it alive, and end with the workload's outcome
    #[arg(long)]
    wait: bool,
    /// How to print what is there at the end
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Image of the container
    pub(super) image: Option<String>,
    /// Command and its arguments
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    /// The deployments
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Do not wait until everything is given back; whoever keeps it alive goes on
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The deployments; all when none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Stay until they are over
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Seconds between two looks for new deployments
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    interval: f64,
}

impl DeployArgs {
    /// The command and its arguments.
    pub(crate) fn words(&mut self) -> &mut Vec<String> {
        &mut self.command
    }
}

pub(crate) fn deploy(args: &DeployArgs, context: &Context) -> Result<u8, Failure> {
    let (wait, format) = (args.wait, args.format);
    let spec = super::spec::spec(args, context)?;
    let tools = tools::tools(context)?;
    let state = State::open(&context.config()?.state_dir())?;
    tools::refuse_early(&state, &tools, &spec)?;
    tell_who_may_log_in(&spec, &tools);
    let name = spec.name.clone();
    let id = state.add_deployment(&spec)?;
    let goal = if wait { Goal::Over } else { Goal::Up };
    let deployment = follow(context, id, goal, Some(tools))?;
    super::status::show(&state, &name, false, format)?;
    if !wait && deployment.status == DeploymentStatus::Active && !tools::is_served(&state)? {
        output::note(&format!(
            "nobody keeps '{name}' alive now: run nvbind cloud serve, or nvbind cloud resume --wait {name}"
        ));
    }
    if deployment.status == DeploymentStatus::Failing {
        output::note(&format!(
            "what an order may have left is given back as soon as its provider answers: nvbind cloud serve, or nvbind cloud down {name}"
        ));
    }
    outcome(&state, &deployment)
}

/// Says it where machines are rented that every address reaches.
fn tell_who_may_log_in(spec: &DeploymentSpec, tools: &Tools) {
    let mut offers = tools.market.offers.iter();
    if spec.is_open_to_everyone() && offers.any(|offer| offer.provider != ProviderName::Hosts) {
        output::note(
            "port 22 of rented machines answers every address (its key is this deployment's own): --allow-from, or allow_from in [cloud] \
             of the configuration, narrows that",
        );
    }
}

/// The exit code of a deployment.
fn outcome(state: &State, deployment: &Deployment) -> Result<u8, Failure> {
    match deployment.status {
        DeploymentStatus::Failing | DeploymentStatus::Failed => Err(Failure::new(
            code(&state.attempts(deployment.id)?),
            format!("deployment '{}' failed: {}", deployment.spec.name, deployment.message),
        )),
        _ => Ok(0),
    }
}

/// The exit code of a deployment that failed: where nothing was ever started, the account or the market is why.
fn code(attempts: &[Attempt]) -> u8 {
    if attempts.iter().any(|attempt| attempt.started_ms.is_some()) {
        return FAILED;
    }
    let refusal = attempts.iter().rev().find_map(|attempt| attempt.error.as_ref());
    match refusal.map(|error| error.class) {
        Some(ErrorClass::Credentials | ErrorClass::Permission) => PERMISSION,
        Some(ErrorClass::Quota | ErrorClass::NoCapacity | ErrorClass::NotOffered | ErrorClass::SpotPriceTooLow) => {
            NOT_FOUND
        }
        // Quota or budget told it before anything was ordered.
        None => NOT_FOUND,
        Some(_) => FAILED,
    }
}

/// Sees a deployment to its goal: by itself, or by watching who has its lease.
fn follow(context: &Context, id: i64, goal: Goal, mut tools: Option<Tools>) -> Result<Deployment, Failure> {
    let folder = context.config()?.state_dir();
    let mut told = teller();
    loop {
        let state = State::open(&folder)?;
        if let Some(_lease) = state.lease(id)? {
            let tools = match tools.take() {
                Some(tools) => tools,
                None => tools::tools(context)?,
            };
            return Ok(Controller::new(state, id, tools)?.run(goal, &mut told)?);
        }
        if let Some(deployment) = watch(&state, id, goal, &mut told)? {
            return Ok(deployment);
        }
    }
}

/// Watches what another process does for a deployment; `None` when that process is gone.
fn watch(state: &State, id: i64, goal: Goal, told: &mut dyn FnMut(&Event)) -> Result<Option<Deployment>, Failure> {
    let mut last = state.last_event()?;
    loop {
        for event in state.events(id, last)? {
            last = event.id;
            told(&event);
        }
        let deployment = state.deployment(id)?;
        if nvbind_cloud::controller::is_reached(goal, &deployment, &state.attempts(id)?) {
            return Ok(Some(deployment));
        }
        if state.lease(id)?.is_some() {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Prints events with the time since now.
fn teller() -> impl FnMut(&Event) {
    let start = Instant::now();
    move |event| {
        output::note(&format!(
            "{:7.3} s  {:<9} {}",
            start.elapsed().as_secs_f64(),
            event.kind,
            event.message
        ));
    }
}

/// Ends deployments: workloads are told to stop, machines and what they shared are given back.
pub(crate) fn end(args: &EndArgs, context: &Context) -> Result<u8, Failure> {
    let state = State::open(&context.config()?.state_dir())?;
    let mut ids = Vec::new();
    for name in &args.names {
        let deployment = state.find_deployment(name)?;
        if deployment.status == DeploymentStatus::Active {
            state.set_deployment(deployment.id, DeploymentStatus::Stopping, "stopped by its user")?;
            state.tell(Some(deployment.id), None, "stop", "stopped by its user")?;
        }
        ids.push(deployment.id);
    }
    if args.no_wait {
        return Ok(0);
    }
    for id in ids {
        follow(context, id, Goal::Over, None)?;
    }
    Ok(0)
}

/// Goes on with deployments that nobody keeps alive.
pub(crate) fn resume(args: &ResumeArgs, context: &Context) -> Result<u8, Failure> {
    let folder = context.config()?.state_dir();
    let state = State::open(&folder)?;
    let ids: Vec<i64> = match args.names.is_empty() {
        true => state
            .live_deployments()?
            .into_iter()
            .map(|deployment| deployment.id)
            .collect(),
        false => args
            .names
            .iter()
            .map(|name| Ok(state.find_deployment(name)?.id))
            .collect::<Result<_, Failure>>()?,
    };
    let goal = if args.wait { Goal::Over } else { Goal::Up };
    let mut outcomes = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = ids
            .iter()
            .map(|id| scope.spawn(move || follow(context, *id, goal, None)))
            .collect();
        for thread in threads {
            outcomes.push(
                thread
                    .join()
                    .unwrap_or_else(|_| Err(Failure::new(FAILED, "a thread died"))),
            );
        }
    });
    let mut code = 0;
    for result in outcomes {
        code = code.max(outcome(&state, &result?)?);
    }
    Ok(code)
}

/// Keeps every deployment of this state alive, those that come later too.
pub(crate) fn serve(args: &ServeArgs, context: &Context) -> Result<u8, Failure> {
    let folder = context.config()?.state_dir();
    let state = State::open(&folder)?;
    let _served = state.lease(tools::SERVE)?.ok_or_else(|| {
        Failure::new(
            FAILED,
            "another nvbind cloud serve keeps the deployments of this state alive",
        )
    })?;
    output::note("keeping deployments alive");
    thread::scope(|scope| {
        let mut known = std::collections::BTreeSet::new();
        loop {
            for deployment in state.live_deployments()? {
                if known.insert(deployment.id) {
                    scope.spawn(move || keep_alive(context, deployment.id));
                }
            }
            thread::sleep(Duration::from_secs_f64(args.interval.clamp(0.05, 3600.0)));
        }
    })
}

fn keep_alive(context: &Context, id: i64) {
    // What fails here (a full disk, say) is told and tried again: the deployment still is to be kept alive.
    while let Err(failure) = follow(context, id, Goal::Over, None) {
        failure.print(false);
        thread::sleep(Duration::from_secs(5));
    }
}
