//! What the commands work with: the providers that are used, what they offer, the limits.

use crate::context::Context;
use crate::failure::{FAILED, Failure, NOT_FOUND};
use nvbind_cloud::catalog::{Arch, Catalog, Offer, Prices, ProviderName};
use nvbind_cloud::controller::{self, Market, Patience, Providers, Tools};
use nvbind_cloud::host::{HostEntry, HostError, HostsProvider, Kit, Node, Target};
use nvbind_cloud::place::{Facts, Latency, OfferIndex, Survey};
use nvbind_cloud::provider::{ErrorClass, Provider, ProviderError, launch};
use nvbind_cloud::state::State;
use nvbind_cloud::{Attempt, Deployment, DeploymentSpec};
use nvbind_config::{CloudConfig, Config};
use std::env;
use std::path::PathBuf;
use std::sync::Arc;

/// What is said when no provider is used at all.
pub(super) const NOTHING_USED: &str = "no cloud account and no host is set up: log in to one (aws configure, gcloud auth, az login with \
     AZURE_SUBSCRIPTION_ID), or name hosts in [cloud] hosts of the configuration";

/// The lease of `nvbind cloud serve`: no deployment has this number.
pub(super) const SERVE: i64 = 0;

/// What shows that a cloud is set up here: variables, and files below the home folder.
const SIGNS: [(ProviderName, &[&str], &[&str]); 3] = [
    (
        ProviderName::Aws,
        &[
            "AWS_ACCESS_KEY_ID",
            "AWS_PROFILE",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        ],
        &[".aws/credentials", ".aws/config"],
    ),
    (
        ProviderName::Gcp,
        &["GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS"],
        &[".config/gcloud/application_default_credentials.json"],
    ),
    (ProviderName::Azure, &["AZURE_SUBSCRIPTION_ID"], &[]),
];

/// The providers that are used: those of the configuration, else those that are set up here.
pub(super) fn used(context: &Context) -> Result<Vec<ProviderName>, Failure> {
    let config = context.config()?;
    let cloud = &config.cloud;
    if !cloud.providers.is_empty() {
        let names = cloud.providers.iter().map(|word| word.parse());
        return names
            .collect::<Result<_, _>>()
            .map_err(|error: nvbind_cloud::catalog::UnknownProviderName| {
                Failure::usage(format!("cloud.providers: {error}"))
            });
    }
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let clouds = SIGNS.iter().filter(|(_, variables, files)| {
        variables.iter().any(|name| is_set(name)) || files.iter().any(|file| home.join(file).is_file())
    });
    let mut names: Vec<ProviderName> = clouds.map(|(name, ..)| *name).collect();
    if !cloud.hosts.is_empty() {
        names.push(ProviderName::Hosts);
    }
    Ok(names)
}

/// The providers, each started when it is needed.
pub(super) fn providers(context: &Context) -> Result<Providers, Failure> {
    let cloud = context.config()?.cloud;
    Ok(Providers::new(Arc::new(move |name| start(name, &cloud))))
}

fn start(name: ProviderName, cloud: &CloudConfig) -> Result<Box<dyn Provider>, ProviderError> {
    match name {
        ProviderName::Hosts => Ok(Box::new(hosts(cloud)?)),
        name => Ok(Box::new(launch(name).map_err(|error| {
            ProviderError::new(ErrorClass::Credentials, "ProviderMissing", error.to_string())
        })?)),
    }
}

fn hosts(cloud: &CloudConfig) -> Result<HostsProvider, ProviderError> {
    let entry = |destination: &String| HostEntry {
        destination: destination.clone(),
        usd_h: cloud.host_price.usd(),
        region: nvbind_cloud::host::REGION.to_owned(),
    };
    let kit = Kit::of_this_program().map_err(HostError::into_refusal)?;
    let hosts = HostsProvider::new(cloud.hosts.iter().map(entry).collect(), kit)
        .map_err(|error| HostError::from(error).into_refusal())?;
    Ok(match &cloud.ssh_config {
        Some(path) => hosts.with_ssh_config(path.clone()),
        None => hosts,
    })
}

/// Everything that a controller works with.
pub(super) fn tools(context: &Context) -> Result<Tools, Failure> {
    let config = context.config()?;
    let used = used(context)?;
    if used.is_empty() {
        return Err(Failure::usage(NOTHING_USED));
    }
    let mut market = Market::new(offers(&config, &used)?);
    market.host_usd_h = Some(config.cloud.host_price.usd());
    market.budget = super::budget::limits(&config.cloud);
    market.latencies = latencies(&config)?;
    Ok(Tools {
        providers: providers(context)?,
        market: Arc::new(market),
        programs: Arc::new(Kit::of_this_program()?),
        patience: Patience::default(),
        ssh_config: config.cloud.ssh_config.clone(),
    })
}

/// Round trips that were measured.
pub(super) fn latencies(config: &Config) -> Result<Vec<Latency>, Failure> {
    let kept = nvbind_cloud::latency::read(&config.state_dir())?;
    Ok(kept.into_iter().map(|measured| measured.latency).collect())
}

/// What the used providers offer: the catalog with the prices that were read last, and the hosts as they are.
pub(super) fn offers(config: &Config, used: &[ProviderName]) -> Result<Vec<Offer>, Failure> {
    let prices = Prices::read(&config.state_dir())?;
    let mut offers = Catalog::embedded()?.offers_with(&prices);
    // Machines get this program: they must be of its kind.
    offers.retain(|offer| used.contains(&offer.provider) && offer.arch == Arch::HERE);
    if used.contains(&ProviderName::Hosts) {
        if let Some(most) = &config.cloud.burst_price {
            offers.retain(|offer| offer.usd_h <= most.usd());
        }
        let hosts = hosts(&config.cloud).map_err(|error| Failure::usage(error.to_string()))?;
        for probe in hosts.probe() {
            match probe.found {
                Ok((offer, _)) => offers.push(offer),
                Err(error) => crate::output::warn(&error.to_string()),
            }
        }
    }
    Ok(offers)
}

/// Refuses what cannot be before anything is written down: requirements that contradict each other, no offer at all, the budget.
pub(super) fn refuse_early(state: &State, tools: &Tools, spec: &DeploymentSpec) -> Result<(), Failure> {
    let index = OfferIndex::new(&tools.market.offers[..]);
    let blocks = state.blocks()?;
    let facts = Facts {
        now: crate::containers::now(),
        blocks: &blocks,
        latencies: &tools.market.latencies,
        host_usd_h: tools.market.host_usd_h,
        ..Facts::default()
    };
    let survey = Survey::new(&index, &facts);
    let placement = survey.place(&spec.requirements, 1)?;
    match placement.choices.is_empty() && !spec.retry_until_up {
        true => Err(Failure::new(
            NOT_FOUND,
            controller::why_not(&survey, &spec.requirements),
        )),
        false => Ok(()),
    }
}

/// Whether `nvbind cloud serve` keeps the deployments of this state alive.
pub(super) fn is_served(state: &State) -> Result<bool, Failure> {
    Ok(state.lease(SERVE)?.is_none())
}

/// Sees that every secret has a value here.
pub(super) fn check_secrets(spec: &DeploymentSpec) -> Result<(), Failure> {
    match spec.secrets.iter().find(|name| env::var_os(name).is_none()) {
        Some(name) => Err(Failure::usage(format!("secret {name} is not set: export {name} first"))),
        None => Ok(()),
    }
}

/// The name of the account that asks.
pub(super) fn user_name() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| env::var(name).ok())
        .unwrap_or_default()
}

/// How an attempt's machine is reached.
pub(super) fn target(
    context: &Context,
    state: &State,
    deployment: &Deployment,
    attempt: &Attempt,
) -> Result<Target, Failure> {
    let ssh_config = context.config()?.cloud.ssh_config;
    Ok(controller::target(state, deployment, attempt, ssh_config.as_deref())?)
}

/// A connection to an attempt's machine.
pub(super) fn node(
    context: &Context,
    state: &State,
    deployment: &Deployment,
    attempt: &Attempt,
) -> Result<Node, Failure> {
    Ok(Node::connect(target(context, state, deployment, attempt)?)?)
}

/// Lifts the blocks that hold until a provider's account was found in order.
pub(super) fn lift_blocks(state: &State, name: ProviderName) -> Result<(), Failure> {
    for block in state.blocks::<nvbind_cloud::place::Block>()? {
        if block.scope.provider == name && block.lift == nvbind_cloud::place::Lift::Check {
            let scope = serde_json::to_string(&block.scope).map_err(|error| Failure::from_error(&error, FAILED))?;
            state.forget_blocks(&scope)?;
        }
    }
    Ok(())
}
