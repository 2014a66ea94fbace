//! `nvbind cloud explain`: where a workload would go, and why not elsewhere.

use super::requirements::RequirementArgs;
use crate::cli::Format;
use crate::containers::now;
use crate::context::Context;
use crate::failure::{Failure, NOT_FOUND, USAGE};
use crate::output;
use crate::table::table;
use clap::Args;
use nvbind_cloud::catalog::{Catalog, Offer, Prices};
use nvbind_cloud::place::{Choice, Cost, Facts, Latency, OfferIndex, Refusal, Survey, missing};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    requirements: RequirementArgs,
    /// Round trips in place of those that nvbind cloud latency has measured: [{"provider": "aws", "region": "eu-west-1", "site": "office", "ms": 23}]
    #[arg(long, value_name = "FILE")]
    latencies: Option<PathBuf>,
    /// Believe no price that is older, in days
    #[arg(long, value_name = "DAYS")]
    max_price_age: Option<u32>,
    /// Lines of the table for what will do and for what will not; json and yaml have all
    #[arg(long, value_name = "N", default_value = "20")]
    limit: usize,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What is printed.
#[derive(Serialize)]
struct Explanation<'offers> {
    choices: Vec<Chosen<'offers>>,
    refused: Vec<Refused<'offers>>,
}

/// An offer that will do.
#[derive(Serialize)]
struct Chosen<'offers> {
    rank: usize,
    #[serde(flatten)]
    offer: &'offers Offer,
    /// The zone that would be ordered.
    ordered_zone: Option<String>,
    cost: Cost,
    reason: String,
}

/// An offer that will not do.
#[derive(Serialize)]
struct Refused<'offers> {
    #[serde(flatten)]
    offer: &'offers Offer,
    #[serde(flatten)]
    refusal: &'offers Refusal,
    why: String,
}

pub(crate) fn run(context: &Context, args: &ExplainArgs) -> Result<u8, Failure> {
    let catalog = Catalog::embedded()?;
    let needs = args.requirements.requirements(&catalog, output::warn)?;
    let prices = Prices::read(&context.config()?.state_dir())?;
    let offers = catalog.offers_with(&prices);
    let latencies = match &args.latencies {
        Some(file) => read_latencies(file)?,
        None => super::tools::latencies(&context.config()?)?,
    };
    let facts = Facts {
        now: now(),
        latencies: &latencies,
        stale_days: args.max_price_age.map(i64::from),
        ..Facts::default()
    };
    let index = OfferIndex::new(&offers[..]);
    let survey = Survey::new(&index, &facts);
    let missing = missing(&catalog, &needs)?;
    // What is asked for by name and not rented out is the answer, not an error.
    let is_answered = !missing.is_empty() && !needs.instance_types.is_empty();
    let (choices, refused) = match survey.explain(&needs) {
        Err(_) if is_answered => (Vec::new(), Vec::new()),
        explained => explained?,
    };
    if choices.is_empty() && !is_answered {
        survey.place(&needs, 1)?;
    }
    let refused = refused.iter().map(|refused| (&offers[refused.offer], &refused.refusal));
    let missing = missing.iter().map(|(offer, refusal)| (offer, refusal));
    let explanation = Explanation {
        choices: choices
            .into_iter()
            .zip(1..)
            .map(|(choice, rank)| chosen(rank, &offers, choice))
            .collect(),
        refused: missing
            .chain(refused)
            .map(|(offer, refusal)| Refused {
                offer,
                refusal,
                why: refusal.to_string(),
            })
            .collect(),
    };
    output::data(args.format, &explanation, || text(&explanation, args.limit))?;
    Ok(match explanation.choices.is_empty() && !is_answered {
        true => NOT_FOUND,
        false => 0,
    })
}

fn chosen(rank: usize, offers: &[Offer], choice: Choice) -> Chosen<'_> {
    Chosen {
        rank,
        offer: &offers[choice.offer],
        ordered_zone: choice.zone,
        cost: choice.cost,
        reason: choice.reason,
    }
}

fn read_latencies(path: &Path) -> Result<Vec<Latency>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::io(format!("cannot read latencies '{}'", path.display()), &error))?;
    serde_json::from_str(&text).map_err(|error| {
        let why = format!(
            "latencies '{}': {error}: write [{{\"provider\": \"aws\", \"region\": \"eu-west-1\", \"site\": \"office\", \"ms\": 23}}]",
            path.display()
        );
        Failure::new(USAGE, why)
    })
}

/// Two tables, and how often each reason holds.
fn text(explanation: &Explanation<'_>, limit: usize) -> String {
    let mut text = String::new();
    let choices = &explanation.choices;
    if choices.is_empty() {
        text.push_str("Nothing will do.\n");
    } else {
        let rows: Vec<Vec<String>> = choices.iter().take(limit).map(row).collect();
        let header = [
            "", "PROVIDER", "MACHINE", "PLACE", "MARKET", "GPUS", "USD/H", "USD", "HOURS", "WHY",
        ];
        text.push_str(&table(&header, &rows));
        text.push_str(&more(choices.len(), limit));
    }
    let refused = &explanation.refused;
    if refused.is_empty() {
        return text;
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for refused in refused {
        *counts.entry(refused.refusal.word()).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    text.push_str(&format!("\n{} will not do: {}\n\n", refused.len(), counts.join(", ")));
    let rows: Vec<Vec<String>> = refused.iter().take(limit).map(refused_row).collect();
    text.push_str(&table(
        &["PROVIDER", "MACHINE", "PLACE", "MARKET", "USD/H", "WHY NOT"],
        &rows,
    ));
    text.push_str(&more(refused.len(), limit));
    text
}

fn more(count: usize, limit: usize) -> String {
    match count.checked_sub(limit) {
        Some(more) if more > 0 => format!("... and {more} more (--limit)\n"),
        _ => String::new(),
    }
}

fn row(chosen: &Chosen<'_>) -> Vec<String> {
    let (offer, cost) = (chosen.offer, &chosen.cost);
    vec![
        chosen.rank.to_string(),
        offer.provider.to_string(),
        offer.instance_type.clone(),
        chosen.ordered_zone.clone().unwrap_or_else(|| offer.region.clone()),
        offer.market.as_str().to_owned(),
        format!("{} {}", offer.gpus, offer.gpu.name()),
        format!("{:.3}", cost.usd_h),
        format!("{:.2}", cost.job_usd),
        format!("{:.1}", cost.hours),
        chosen.reason.split(':').next().unwrap_or_default().to_owned(),
    ]
}

fn refused_row(refused: &Refused<'_>) -> Vec<String> {
    let offer = refused.offer;
    let usd_h = match offer.usd_h > 0.0 {
        true => format!("{:.3}", offer.usd_h),
        false => "-".to_owned(),
    };
    let place = offer.zone.as_ref().unwrap_or(&offer.region);
    vec![
        offer.provider.to_string(),
        offer.instance_type.clone(),
        if place.is_empty() {
            "-".to_owned()
        } else {
            place.clone()
        },
        offer.market.as_str().to_owned(),
        usd_h,
        refused.why.clone(),
    ]
}
