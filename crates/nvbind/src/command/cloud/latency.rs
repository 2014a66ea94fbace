//! `nvbind cloud latency`: how far the regions are from here.

use super::tools;
use crate::cli::Format;
use crate::containers::now;
use crate::context::Context;
use crate::failure::{FAILED, Failure};
use crate::output;
use crate::table::table;
use clap::{Args, ValueHint};
use nvbind_cloud::catalog::{Catalog, Day, ProviderName};
use nvbind_cloud::latency::{self, Measured};
use nvbind_cloud::place::Latency;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

#[derive(Debug, Args)]
#[command(after_help = "\
The round trip is that of a TCP connection to a public address of the region; the quickest of a few counts. It is kept with its date, and
--max-latency and the weight `latency` of hybrid-balanced go by it. For another site run it there with --format json, and give the file to
--add here.")]
pub(crate) struct LatencyArgs {
    /// Name of the place that this is measured from
    #[arg(long, value_name = "NAME", default_value = "here")]
    site: String,
    /// To regions of these providers [default: those that are used, else all clouds]
    #[arg(long, value_name = "PROVIDER", value_delimiter = ',')]
    provider: Vec<ProviderName>,
    /// To these regions [default: all]
    #[arg(long, value_name = "REGION", value_delimiter = ',')]
    region: Vec<String>,
    /// Measure the way to a region by this address in place of the provider's own
    #[arg(long, value_name = "PROVIDER/REGION=HOST:PORT")]
    endpoint: Vec<Endpoint>,
    /// Connections to each region
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=100))]
    tries: u32,
    /// Measure nothing, keep what was measured elsewhere: a file of --format json
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["site", "provider", "region", "endpoint"])]
    add: Option<PathBuf>,
    /// Measure nothing, show what is kept
    #[arg(long, conflicts_with_all = ["add", "site", "endpoint"])]
    show: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// `aws/eu-west-1=10.0.0.1:443`.
#[derive(Debug, Clone)]
struct Endpoint {
    provider: ProviderName,
    region: String,
    address: String,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('=')
            .and_then(|(place, address)| Some((place.split_once('/')?, address)));
        let ((provider, region), address) = parts.ok_or_else(|| "write it as aws/eu-west-1=HOST:PORT".to_owned())?;
        Ok(Self {
            provider: provider
                .parse()
                .map_err(|error: nvbind_cloud::catalog::UnknownProviderName| error.to_string())?,
            region: region.to_owned(),
            address: address.to_owned(),
        })
    }
}

/// A region, and how far it is or why nobody knows.
#[derive(Serialize)]
struct Row {
    provider: ProviderName,
    region: String,
    site: String,
    ms: Option<f64>,
    at: Option<u64>,
    trouble: Option<String>,
}

pub(crate) fn run(args: &LatencyArgs, context: &Context) -> Result<u8, Failure> {
    let state = context.config()?.state_dir();
    if args.show {
        let kept = latency::read(&state)?;
        let is_asked = |measured: &&Measured| {
            let latency = &measured.latency;
            (args.provider.is_empty() || args.provider.contains(&latency.provider))
                && (args.region.is_empty() || args.region.contains(&latency.region))
        };
        let rows = kept.iter().filter(is_asked).map(known).collect();
        return print(rows, args.format);
    }
    if let Some(file) = &args.add {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::io(format!("cannot read '{}'", file.display()), &error))?;
        let rows: Vec<serde_json::Value> =
            serde_json::from_str(&text).map_err(|error| Failure::usage(format!("'{}': {error}", file.display())))?;
        // What could not be measured there is not known here.
        let new: Vec<Measured> = rows
            .into_iter()
            .filter_map(|row| serde_json::from_value(row).ok())
            .collect();
        if new.is_empty() {
            let why = format!(
                "'{}' has no round trip: give what --format json printed",
                file.display()
            );
            return Err(Failure::usage(why));
        }
        latency::keep(&state, &new)?;
        return print(new.iter().map(known).collect(), args.format);
    }
    measure(args, context, &state)
}

fn measure(args: &LatencyArgs, context: &Context, state: &std::path::Path) -> Result<u8, Failure> {
    let places = places(args, context)?;
    let endpoints: Vec<String> = places.iter().map(|(.., address)| address.clone()).collect();
    let at = now();
    let results = latency::measure_all(&endpoints, args.tries);
    let rows: Vec<Row> = places
        .into_iter()
        .zip(results)
        .map(|((provider, region, _), result)| Row {
            provider,
            region,
            site: args.site.clone(),
            ms: result.as_ref().ok().copied(),
            at: result.is_ok().then_some(at),
            trouble: result.err().map(|error| error.to_string()),
        })
        .collect();
    let new: Vec<Measured> = rows.iter().filter_map(Row::measured).collect();
    if new.is_empty() {
        let why = rows.into_iter().find_map(|row| row.trouble);
        let why = why.unwrap_or_else(|| "there is no such region of a cloud".to_owned());
        return Err(Failure::new(FAILED, format!("no round trip was measured: {why}")));
    }
    latency::keep(state, &new)?;
    print(rows, args.format)
}

/// Provider, region and address of all that is to be measured.
fn places(args: &LatencyArgs, context: &Context) -> Result<Vec<(ProviderName, String, String)>, Failure> {
    let mut providers = match args.provider.is_empty() {
        true => tools::used(context)?,
        false => args.provider.clone(),
    };
    providers.retain(|provider| *provider != ProviderName::Hosts);
    if providers.is_empty() {
        providers = vec![ProviderName::Aws, ProviderName::Gcp, ProviderName::Azure];
    }
    let offers = Catalog::embedded()?.offers();
    let known = offers.iter().map(|offer| (offer.provider, offer.region.clone()));
    let named = args
        .endpoint
        .iter()
        .map(|endpoint| (endpoint.provider, endpoint.region.clone()));
    let is_named = |provider, region: &str| {
        let mut endpoints = args.endpoint.iter();
        endpoints.find(|endpoint| endpoint.provider == provider && endpoint.region == region)
    };
    let is_asked = |(provider, region): &(ProviderName, String)| {
        let by_region = args.region.is_empty() || args.region.contains(region);
        is_named(*provider, region).is_some() || (providers.contains(provider) && by_region && args.endpoint.is_empty())
    };
    let all: BTreeSet<(ProviderName, String)> = known.chain(named).filter(is_asked).collect();
    let places = all.into_iter().filter_map(|(provider, region)| {
        let address = match is_named(provider, &region) {
            Some(endpoint) => endpoint.address.clone(),
            None => latency::endpoint(provider, &region)?,
        };
        Some((provider, region, address))
    });
    Ok(places.collect())
}

impl Row {
    fn measured(&self) -> Option<Measured> {
        let latency = Latency {
            provider: self.provider,
            region: self.region.clone(),
            site: self.site.clone(),
            ms: self.ms?,
        };
        Some(Measured { latency, at: self.at? })
    }
}

fn known(measured: &Measured) -> Row {
    let latency = &measured.latency;
    Row {
        provider: latency.provider,
        region: latency.region.clone(),
        site: latency.site.clone(),
        ms: Some(latency.ms),
        at: Some(measured.at),
        trouble: None,
    }
}

/// Prints them, the nearest first, those that are not known last.
fn print(mut rows: Vec<Row>, format: Format) -> Result<u8, Failure> {
    let far = |row: &Row| row.ms.unwrap_or(f64::INFINITY);
    rows.sort_by(|a, b| far(a).total_cmp(&far(b)));
    let line = |row: &Row| {
        vec![
            row.provider.to_string(),
            row.region.clone(),
            row.site.clone(),
            row.ms.map_or("-".to_owned(), |ms| format!("{ms:.1}")),
            row.at.map_or("-".to_owned(), |at| Day::of_unix(at).to_string()),
            row.trouble.clone().unwrap_or_default(),
        ]
    };
    output::data(format, &rows, || {
        let lines: Vec<Vec<String>> = rows.iter().map(line).collect();
        table(&["PROVIDER", "REGION", "SITE", "MS", "MEASURED", "TROUBLE"], &lines)
    })?;
    Ok(0)
}
