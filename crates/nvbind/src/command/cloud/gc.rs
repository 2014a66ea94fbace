//! `nvbind cloud gc`: what is at the providers, against what is written down.

use super::tools;
use crate::cli::Format;
use crate::context::Context;
use crate::failure::{FAILED, Failure};
use crate::output;
use crate::table::{age, table};
use clap::Args;
use nvbind_cloud::catalog::{Catalog, Market, ProviderName};
use nvbind_cloud::controller::Providers;
use nvbind_cloud::provider::{MachineState, ProviderError, Resource, ResourceKind, TAG_DEPLOYMENT, TAG_TOKEN};
use nvbind_cloud::state::State;
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Give back what no deployment needs
    #[arg(long)]
    delete: bool,
    /// Also what another nvbind state made, by its owner tag
    #[arg(long, value_name = "OWNER")]
    owner: Vec<String>,
    /// Look at this provider
    #[arg(long, value_name = "PROVIDER")]
    provider: Vec<ProviderName>,
    /// Look in this region [default: all of the catalog, and where machines were]
    #[arg(long, value_name = "REGION")]
    region: Vec<String>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Something at a provider that carries our tag.
#[derive(Debug, Serialize)]
struct Found {
    provider: ProviderName,
    #[serde(flatten)]
    resource: Resource,
    /// Whether a live deployment needs it.
    is_needed: bool,
    /// USD an hour by the catalog, where it is a machine of it.
    usd_h: Option<f64>,
    /// Whether it was given back just now.
    is_deleted: bool,
}

pub(crate) fn run(args: &GcArgs, context: &Context) -> Result<u8, Failure> {
    let state = State::open(&context.config()?.state_dir())?;
    let catalog = Catalog::embedded()?;
    let providers = tools::providers(context)?;
    let names = match args.provider.is_empty() {
        true => tools::used(context)?,
        false => args.provider.clone(),
    };
    let mut owners = vec![state.owner()?];
    owners.extend(args.owner.iter().cloned());
    let mut found = Vec::new();
    let mut failed = Vec::new();
    for name in names {
        let regions = regions(args, &state, &catalog, name)?;
        for owner in &owners {
            match providers.call(name, |provider| provider.list(owner, &regions)) {
                Ok(resources) => found.extend(resources.into_iter().map(|resource| (name, resource))),
                Err(error) => failed.push(format!("{name} cannot be looked at: {error}")),
            }
        }
    }
    let needed = Needed::of(&state)?;
    let mut found: Vec<Found> = found
        .into_iter()
        .map(|(provider, resource)| Found {
            usd_h: price(&catalog, provider, &resource),
            is_needed: needed.has(&resource),
            provider,
            resource,
            is_deleted: false,
        })
        .collect();
    found.sort_by_key(|found| found.resource.kind);
    if args.delete {
        for orphan in found.iter_mut().filter(|found| !found.is_needed) {
            match give_back(&providers, orphan) {
                Ok(()) => orphan.is_deleted = true,
                Err(error) => failed.push(format!("{} cannot be given back: {error}", orphan.resource.id)),
            }
        }
    }
    output::data(args.format, &found, || found_table(&found))?;
    match failed.is_empty() {
        true => Ok(0),
        false => Err(Failure::new(FAILED, failed.join("; "))),
    }
}

fn give_back(providers: &Providers, orphan: &Found) -> Result<(), ProviderError> {
    providers.call(orphan.provider, |provider| provider.delete(&orphan.resource))
}

/// What live deployments need.
struct Needed {
    tokens: BTreeSet<String>,
    deployments: BTreeSet<String>,
}

impl Needed {
    fn of(state: &State) -> Result<Self, Failure> {
        let tokens = state.open_attempts()?.into_iter().map(|attempt| attempt.order.token);
        let deployments = state
            .live_deployments()?
            .into_iter()
            .map(|deployment| deployment.spec.name);
        Ok(Self {
            tokens: tokens.collect(),
            deployments: deployments.collect(),
        })
    }

    /// A machine by its token; what machines share by its deployment.
    fn has(&self, resource: &Resource) -> bool {
        let is_in = |tag: &str, set: &BTreeSet<String>| resource.tags.get(tag).is_some_and(|value| set.contains(value));
        match resource.kind {
            ResourceKind::Machine | ResourceKind::Disk | ResourceKind::SpotRequest => is_in(TAG_TOKEN, &self.tokens),
            _ => is_in(TAG_DEPLOYMENT, &self.deployments),
        }
    }
}

fn regions(args: &GcArgs, state: &State, catalog: &Catalog, name: ProviderName) -> Result<Vec<String>, Failure> {
    if !args.region.is_empty() {
        return Ok(args.region.clone());
    }
    let offers = catalog.offers();
    let of_catalog = offers
        .iter()
        .filter(|offer| offer.provider == name)
        .map(|offer| offer.region.clone());
    let attempts = state.attempts_since(0)?;
    let of_attempts = attempts
        .iter()
        .filter(|attempt| attempt.provider == name)
        .map(|attempt| attempt.order.region.clone());
    let all: BTreeSet<String> = of_catalog.chain(of_attempts).collect();
    Ok(all.into_iter().collect())
}

fn price(catalog: &Catalog, provider: ProviderName, resource: &Resource) -> Option<f64> {
    let is_up = !matches!(resource.state, Some(MachineState::Gone | MachineState::Stopped));
    let name = resource.instance_type.as_ref().filter(|_| is_up)?;
    let offers = catalog.offers();
    let market = resource.market.unwrap_or(Market::OnDemand);
    let of_type = offers
        .iter()
        .find(|offer| offer.provider == provider && offer.instance_type == *name && offer.market == market)?;
    Some(of_type.usd_h)
}

fn found_table(found: &[Found]) -> String {
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|found| {
            let resource = &found.resource;
            let verdict = match (found.is_needed, found.is_deleted) {
                (true, _) => "needed",
                (false, true) => "given back",
                (false, false) => "ORPHAN",
            };
            vec![
                verdict.to_owned(),
                found.provider.to_string(),
                format!("{:?}", resource.kind).to_lowercase(),
                resource.name.clone(),
                resource.id.clone(),
                resource.zone.clone().unwrap_or_else(|| resource.region.clone()),
                resource.tags.get(TAG_DEPLOYMENT).cloned().unwrap_or_default(),
                found.usd_h.map_or_else(String::new, |usd| format!("{usd:.3}")),
                resource.created_at.map_or_else(String::new, age),
            ]
        })
        .collect();
    table(
        &["", "ON", "WHAT", "NAME", "ID", "WHERE", "DEPLOYMENT", "USD/H", "MADE"],
        &rows,
    )
}
