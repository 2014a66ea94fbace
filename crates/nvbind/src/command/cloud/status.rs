//! `nvbind cloud list`, `status` and `blocks`: what is written down.

use crate::cli::Format;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::table::{age, table};
use clap::Args;
use nvbind_cloud::money::total;
use nvbind_cloud::place::Block;
use nvbind_cloud::state::{Event, State, now_ms};
use nvbind_cloud::{Attempt, AttemptStatus, Deployment};
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Also those that are over
    #[arg(short, long)]
    all: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The deployment
    name: String,
    /// Every attempt and everything that happened, not only what is there now
    #[arg(short, long)]
    all: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct BlocksArgs {
    /// Forget those that have this text in them: a provider, a region, a machine type
    #[arg(long, value_name = "TEXT")]
    forget: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A deployment in figures.
#[derive(Serialize)]
struct Summary {
    name: String,
    status: &'static str,
    nodes: u32,
    working: usize,
    providers: BTreeSet<&'static str>,
    usd_h: f64,
    cost_usd: f64,
    created_ms: i64,
    message: String,
}

/// All that is known of a deployment.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    summary: Summary,
    deployment: Deployment,
    attempts: Vec<Attempt>,
    events: Vec<Event>,
}

impl Summary {
    fn of(deployment: &Deployment, attempts: &[Attempt]) -> Self {
        let now = now_ms();
        let paid = |attempt: &&Attempt| attempt.accepted_ms.is_some() && attempt.ended_ms.is_none();
        Self {
            name: deployment.spec.name.clone(),
            status: deployment.status.as_str(),
            nodes: deployment.nodes,
            working: attempts
                .iter()
                .filter(|attempt| attempt.status == AttemptStatus::Working && attempt.is_live())
                .count(),
            providers: attempts
                .iter()
                .filter(|attempt| attempt.is_live())
                .map(|attempt| attempt.provider.as_str())
                .collect(),
            usd_h: total(
                attempts
                    .iter()
                    .filter(paid)
                    .map(|attempt| attempt.usd_h + attempt.extras_usd_h),
            ),
            cost_usd: total(attempts.iter().map(|attempt| attempt.cost_usd(now))),
            created_ms: deployment.created_ms,
            message: deployment.message.clone(),
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.status.to_owned(),
            format!("{}/{}", self.working, self.nodes),
            self.providers.iter().copied().collect::<Vec<_>>().join(","),
            format!("{:.3}", self.usd_h),
            format!("{:.4}", self.cost_usd),
            ago(self.created_ms),
            self.message.clone(),
        ]
    }
}

const SUMMARY: [&str; 8] = ["NAME", "STATUS", "WORKING", "ON", "USD/H", "USD", "DEPLOYED", "MESSAGE"];

fn ago(ms: i64) -> String {
    age(ms.unsigned_abs() / 1000)
}

pub(crate) fn list(args: &ListArgs, context: &Context) -> Result<u8, Failure> {
    let state = State::open(&context.config()?.state_dir())?;
    let deployments = match args.all {
        true => state.deployments()?,
        false => state.live_deployments()?,
    };
    let summaries: Vec<Summary> = deployments
        .iter()
        .map(|deployment| Ok(Summary::of(deployment, &state.attempts(deployment.id)?)))
        .collect::<Result<_, Failure>>()?;
    output::data(args.format, &summaries, || {
        table(&SUMMARY, &summaries.iter().map(Summary::row).collect::<Vec<_>>())
    })?;
    Ok(0)
}

pub(crate) fn status(args: &StatusArgs, context: &Context) -> Result<u8, Failure> {
    let state = State::open(&context.config()?.state_dir())?;
    show(&state, &args.name, args.all, args.format)?;
    Ok(0)
}

/// Prints what is known of a deployment.
pub(super) fn show(state: &State, name: &str, all: bool, format: Format) -> Result<(), Failure> {
    let deployment = state.find_deployment(name)?;
    let mut attempts = state.attempts(deployment.id)?;
    let summary = Summary::of(&deployment, &attempts);
    let events = match all {
        true => state.events(deployment.id, 0)?,
        false => Vec::new(),
    };
    if !all {
        attempts.retain(|attempt| attempt.status != AttemptStatus::Ended || attempt.exit_code.is_some());
    }
    let whole = Whole {
        summary,
        deployment,
        attempts,
        events,
    };
    output::data(format, &whole, || whole_table(&whole))
}

fn whole_table(whole: &Whole) -> String {
    let mut text = table(&SUMMARY, &[whole.summary.row()]);
    let rows: Vec<Vec<String>> = whole.attempts.iter().map(attempt_row).collect();
    if !rows.is_empty() {
        let header = [
            "NODE", "ATTEMPT", "ON", "WHERE", "MACHINE", "MARKET", "STATUS", "ADDRESS", "USD/H", "USD", "SINCE",
        ];
        text.push('\n');
        text.push_str(&table(&header, &rows));
    }
    let events: Vec<Vec<String>> = whole
        .events
        .iter()
        .map(|event| vec![ago(event.at_ms), event.kind.clone(), event.message.clone()])
        .collect();
    if !events.is_empty() {
        text.push('\n');
        text.push_str(&table(&["WHEN", "WHAT", "HOW"], &events));
    }
    text
}

fn attempt_row(attempt: &Attempt) -> Vec<String> {
    let order = &attempt.order;
    let status = match (attempt.end, attempt.exit_code) {
        (_, Some(code)) => format!("{} ({code})", attempt.status.as_str()),
        (Some(end), None) => format!("{} ({})", attempt.status.as_str(), end.as_str()),
        (None, None) => attempt.status.as_str().to_owned(),
    };
    vec![
        order.node.to_string(),
        order.attempt.to_string(),
        attempt.provider.to_string(),
        order.zone.clone().unwrap_or_else(|| order.region.clone()),
        order.instance_type.clone(),
        order.market.as_str().to_owned(),
        status,
        attempt.address.clone().unwrap_or_default(),
        format!("{:.3}", attempt.usd_h + attempt.extras_usd_h),
        format!("{:.4}", attempt.cost_usd(now_ms())),
        ago(attempt.intent_ms),
    ]
}

pub(crate) fn blocks(args: &BlocksArgs, context: &Context) -> Result<u8, Failure> {
    let state = State::open(&context.config()?.state_dir())?;
    if let Some(text) = &args.forget {
        let count = state.forget_blocks(text)?;
        output::note(&format!("{count} forgotten"));
        return Ok(0);
    }
    let blocks: Vec<Block> = state.blocks()?;
    output::data(args.format, &blocks, || {
        table(
            &["ON", "WHERE", "MACHINES", "MARKET", "UNTIL", "CODE", "WHY"],
            &blocks.iter().map(block_row).collect::<Vec<_>>(),
        )
    })?;
    Ok(0)
}

fn block_row(block: &Block) -> Vec<String> {
    let scope = &block.scope;
    let place = scope.zone.as_ref().or(scope.region.as_ref());
    let left = block
        .until
        .map(|until| until.saturating_sub(now_ms().unsigned_abs() / 1000));
    vec![
        scope.provider.to_string(),
        place.cloned().unwrap_or_else(|| "everywhere".to_owned()),
        scope.types.to_string(),
        scope.market.map_or("both", |market| market.as_str()).to_owned(),
        left.map_or_else(
            || "lifted".to_owned(),
            |seconds| format!("{} min", seconds.div_ceil(60)),
        ),
        block.code.clone(),
        block.why.clone(),
    ]
}
