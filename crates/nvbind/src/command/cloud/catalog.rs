//! `nvbind cloud catalog`: prices as the providers tell them.

use crate::cli::Format;
use crate::containers::now;
use crate::context::Context;
use crate::failure::{FAILED, Failure};
use crate::output;
use crate::table::{age, table};
use clap::{Args, Subcommand};
use nvbind_cloud::catalog::{Catalog, Doubt, Market, Merged, PRICES_FILE, Prices, ProviderName};
use nvbind_cloud::provider::{PriceQuery, Provider, Remote, launch};
use serde::Serialize;

/// The commands of `nvbind cloud catalog`.
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// Ask the providers for their prices, and keep those that are believable
    Refresh(RefreshArgs),
    /// Show which prices there are and how old they are
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RefreshArgs {
    /// Providers to ask: aws, gcp or azure
    #[arg(long, value_name = "PROVIDER", value_delimiter = ',', default_values = ["aws", "gcp", "azure"])]
    provider: Vec<ProviderName>,
    /// Regions to ask about; those of another provider are not asked for
    #[arg(long, value_name = "REGION", value_delimiter = ',')]
    region: Vec<String>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Hours after which a price is called stale
    #[arg(long, value_name = "HOURS", default_value = "48")]
    stale_after: u64,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Regions that are asked about where none is given: those where GPU machines are commonest and that an account has from the start.
const USUAL_REGIONS: [(ProviderName, &[&str]); 3] = [
    (
        ProviderName::Aws,
        &[
            "us-east-1",
            "us-east-2",
            "us-west-2",
            "eu-west-1",
            "eu-central-1",
            "eu-north-1",
            "ap-northeast-1",
        ],
    ),
    (
        ProviderName::Gcp,
        &[
            "us-central1",
            "us-east1",
            "us-east4",
            "us-west1",
            "us-west4",
            "europe-west1",
            "europe-west4",
            "asia-northeast1",
        ],
    ),
    (
        ProviderName::Azure,
        &[
            "eastus",
            "eastus2",
            "southcentralus",
            "westus3",
            "westeurope",
            "northeurope",
            "swedencentral",
            "japaneast",
        ],
    ),
];

pub(crate) fn run(context: &Context, command: &CatalogCommand) -> Result<u8, Failure> {
    match command {
        CatalogCommand::Refresh(args) => refresh(context, args),
        CatalogCommand::Show(args) => show(context, args),
    }
}

/// What came of asking about a region.
#[derive(Serialize)]
struct Asked {
    provider: ProviderName,
    region: String,
    taken: usize,
    without_spot: usize,
    unsold: usize,
    doubts: Vec<Doubt>,
    error: Option<String>,
}

fn refresh(context: &Context, args: &RefreshArgs) -> Result<u8, Failure> {
    let state = context.config()?.state_dir();
    let catalog = Catalog::embedded()?;
    let mut prices = Prices::read(&state)?;
    let mut asked = Vec::new();
    for provider in &args.provider {
        asked.extend(ask(*provider, args, &catalog, &mut prices));
        // What one provider told is kept, whatever becomes of the next.
        if asked.iter().any(|asked| asked.error.is_none()) {
            prices.write(&state)?;
        }
    }
    output::data(args.format, &asked, || asked_table(&asked))?;
    let errors = asked
        .iter()
        .filter_map(|asked| asked.error.as_ref().map(|error| (asked, error)));
    let mut last = None;
    for (asked, error) in errors {
        output::warn(&format!("{} {}: {error}", asked.provider, asked.region));
        last = Some(FAILED);
    }
    Ok(last.unwrap_or(0))
}

/// Asks a provider about its regions, one after the other: what one of them refuses does not keep the others from telling.
fn ask(provider: ProviderName, args: &RefreshArgs, catalog: &Catalog, prices: &mut Prices) -> Vec<Asked> {
    let regions = regions(provider, args, prices);
    let mut remote = match launch(provider) {
        Ok(remote) => remote,
        Err(error) => return vec![Asked::failed(provider, "-", error.to_string())],
    };
    let types = catalog
        .instances()
        .iter()
        .filter(|instance| instance.provider == provider);
    let types: Vec<String> = types.map(|instance| instance.instance_type.clone()).collect();
    let mut asked = Vec::new();
    for region in regions {
        match ask_region(&mut remote, provider, &region, &types, catalog, prices) {
            Ok(merged) => asked.push(Asked::merged(provider, &region, merged)),
            Err(error) => asked.push(Asked::failed(provider, &region, error)),
        }
    }
    asked
}

fn ask_region(
    remote: &mut Remote,
    provider: ProviderName,
    region: &str,
    types: &[String],
    catalog: &Catalog,
    prices: &mut Prices,
) -> Result<Merged, String> {
    let query = PriceQuery {
        regions: vec![region.to_owned()],
        instance_types: types.to_vec(),
    };
    let feed = remote.prices(&query).map_err(|error| error.to_string())?;
    prices
        .merge(catalog, provider, &query.regions, &feed, now())
        .map_err(|error| error.to_string())
}

/// Those that were given, else the usual ones and those that were asked about before.
fn regions(provider: ProviderName, args: &RefreshArgs, prices: &Prices) -> Vec<String> {
    if !args.region.is_empty() {
        return args.region.clone();
    }
    let usual = USUAL_REGIONS.iter().filter(|(of, _)| *of == provider);
    let mut regions: Vec<String> = usual
        .flat_map(|(_, regions)| regions.iter().map(ToString::to_string))
        .collect();
    let before = prices.fetched.iter().filter(|fetched| fetched.provider == provider);
    regions.extend(before.map(|fetched| fetched.region.clone()));
    regions.sort();
    regions.dedup();
    regions
}

impl Asked {
    fn merged(provider: ProviderName, region: &str, merged: Merged) -> Self {
        Self {
            provider,
            region: region.to_owned(),
            taken: merged.taken,
            without_spot: merged.without_spot,
            unsold: merged.unsold,
            doubts: merged.doubts,
            error: None,
        }
    }

    fn failed(provider: ProviderName, region: &str, error: String) -> Self {
        let merged = Merged::default();
        Self {
            error: Some(error),
            ..Self::merged(provider, region, merged)
        }
    }
}

fn asked_table(asked: &[Asked]) -> String {
    let row = |asked: &Asked| {
        let note = match (&asked.error, asked.doubts.first()) {
            (Some(_), _) => "failed: the last good prices are kept".to_owned(),
            (None, Some(doubt)) => format!("{}: {}", doubt.quote.instance_type, doubt.why),
            (None, None) => String::new(),
        };
        vec![
            asked.provider.to_string(),
            asked.region.clone(),
            asked.taken.to_string(),
            asked.without_spot.to_string(),
            asked.unsold.to_string(),
            asked.doubts.len().to_string(),
            note,
        ]
    };
    let rows: Vec<Vec<String>> = asked.iter().map(row).collect();
    let header = ["PROVIDER", "REGION", "PRICES", "NO SPOT", "NOT SOLD", "DOUBTED", ""];
    table(&header, &rows)
}

/// A region with its prices.
#[derive(Serialize)]
struct Shown<'prices> {
    provider: ProviderName,
    region: &'prices str,
    on_demand: usize,
    spot: usize,
    at: u64,
    is_stale: bool,
}

fn show(context: &Context, args: &ShowArgs) -> Result<u8, Failure> {
    let state = context.config()?.state_dir();
    let prices = Prices::read(&state)?;
    let count = |provider, region: &str, market: Market| {
        let quotes = prices.quotes.iter();
        quotes
            .filter(|quote| quote.provider == provider && quote.region == region && quote.market == market)
            .count()
    };
    let fetched = prices.fetched.iter().map(|fetched| Shown {
        provider: fetched.provider,
        region: &fetched.region,
        on_demand: count(fetched.provider, &fetched.region, Market::OnDemand),
        spot: count(fetched.provider, &fetched.region, Market::Spot),
        at: fetched.at,
        is_stale: now().saturating_sub(fetched.at) > args.stale_after * 3600,
    });
    let shown: Vec<Shown<'_>> = fetched.collect();
    output::data(args.format, &shown, || match shown.is_empty() {
        true => format!(
            "No prices in {}: those in this program hold. `nvbind cloud catalog refresh` asks the providers.\n",
            state.join(PRICES_FILE).display()
        ),
        false => shown_table(&shown),
    })?;
    Ok(0)
}

fn shown_table(shown: &[Shown<'_>]) -> String {
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|shown| {
            vec![
                shown.provider.to_string(),
                shown.region.to_owned(),
                shown.on_demand.to_string(),
                shown.spot.to_string(),
                age(shown.at),
                if shown.is_stale { "stale" } else { "" }.to_owned(),
            ]
        })
        .collect();
    table(&["PROVIDER", "REGION", "ON DEMAND", "SPOT", "ASKED", ""], &rows)
}
