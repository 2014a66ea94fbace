//! A workload that is kept alive somewhere until it is done or told to stop.

use crate::Requirements;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What is to be kept alive, as it was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentSpec {
    /// Its name: at most [`NAME_LENGTH`] of `a-z`, `0-9` and `-`, a letter first.
    pub name: String,
    /// What `nvbind run -f` gets on each node: the text of an `nvbind.toml`.
    pub run: String,
    /// What each node needs.
    pub requirements: Requirements,
    /// Names of environment variables that are taken from the caller and are never written down.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Shell commands that run on the host before the workload, once for each machine.
    #[serde(default)]
    pub setup: Option<String>,
    /// Shell command that runs on the host at an interruption notice, before the workload is told to stop.
    #[serde(default)]
    pub on_notice: Option<String>,
    /// Seconds between the signal that tells the workload to stop and the one that ends it.
    #[serde(default = "grace_seconds")]
    pub grace_seconds: u32,
    /// How often a node's workload that ends with a code other than 0 is started again.
    #[serde(default)]
    pub max_restarts: u32,
    /// Whether the workload is started again on all other nodes when one has got another machine, since they know its old address.
    #[serde(default)]
    pub restart_on_replacement: bool,
    /// Whether machines are looked for until there are some; else the deployment fails when there is none at first.
    #[serde(default)]
    pub retry_until_up: bool,
    /// Seconds after which the provider ends a machine by itself, even when nvbind is gone.
    #[serde(default = "max_run_seconds")]
    pub max_run_seconds: u64,
    /// Image of the machines, as the provider names it.
    #[serde(default)]
    pub machine_image: Option<String>,
    /// Login name on the machines.
    #[serde(default = "user")]
    pub user: String,
    /// Networks (CIDR) that may reach the machines' port 22.
    #[serde(default = "allow_from")]
    pub allow_from: Vec<String>,
    /// Whether the number of nodes follows the load.
    #[serde(default)]
    pub scale: Option<Scale>,
    /// Who deployed it, by the name of the account on this host.
    #[serde(default)]
    pub owner: String,
}

/// Longest name of a deployment.
pub const NAME_LENGTH: usize = 40;

/// How the number of nodes follows the load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Fewest nodes.
    pub min: u32,
    /// Most nodes.
    pub max: u32,
    /// Mean GPU utilization, in percent, that is aimed at.
    #[serde(default)]
    pub gpu_utilization: Option<f64>,
    /// Shell command on this host that prints how much waits.
    #[serde(default)]
    pub queue_command: Option<String>,
    /// How much of that one node copes with.
    #[serde(default)]
    pub queue_per_node: Option<f64>,
    /// Seconds between two changes.
    #[serde(default = "cooldown_seconds")]
    pub cooldown_seconds: u64,
}

fn grace_seconds() -> u32 {
    25
}

/// A week: longer than most jobs, shorter than a month's bill.
fn max_run_seconds() -> u64 {
    7 * 86_400
}

fn user() -> String {
    "ubuntu".to_owned()
}

/// Everyone. Which address a machine will be reached from is not known here: behind NAT nobody but the machine sees it, and it changes
/// with every network that a laptop is in, after which a narrower rule would take the machine for lost. What protects it is its key.
fn allow_from() -> Vec<String> {
    vec![EVERYONE[0].to_owned()]
}

/// The networks that are all addresses.
const EVERYONE: [&str; 2] = ["0.0.0.0/0", "::/0"];

fn cooldown_seconds() -> u64 {
    300
}

impl DeploymentSpec {
    /// A deployment of that name; everything else as it is when nothing is said.
    pub fn new(name: impl Into<String>, run: impl Into<String>, requirements: Requirements) -> Self {
        Self {
            name: name.into(),
            run: run.into(),
            requirements,
            secrets: Vec::new(),
            setup: None,
            on_notice: None,
            grace_seconds: grace_seconds(),
            max_restarts: 0,
            restart_on_replacement: false,
            retry_until_up: false,
            max_run_seconds: max_run_seconds(),
            machine_image: None,
            user: user(),
            allow_from: allow_from(),
            scale: None,
            owner: String::new(),
        }
    }
}

impl DeploymentSpec {
    /// Whether the nodes work together: each is told the addresses of all, so none starts before there are all. Nodes whose number follows
    /// the load work by themselves.
    pub fn is_gang(&self) -> bool {
        self.scale.is_none() && self.requirements.nodes > 1
    }

    /// Whether everyone can reach the machines' port 22.
    pub fn is_open_to_everyone(&self) -> bool {
        self.allow_from
            .iter()
            .any(|network| EVERYONE.contains(&network.as_str()))
    }
}

/// Whether that is a network: an address with the length of its prefix, as `203.0.113.0/24`.
pub fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}

/// Whether a deployment can have that name.
pub fn is_name(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_LENGTH).contains(&name.len())
        && name.as_bytes()[0].is_ascii_lowercase()
        && !name.ends_with('-')
        && name.bytes().all(is_fit)
}

/// A deployment as it is written down.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Deployment {
    /// Its number.
    pub id: i64,
    /// What was asked for.
    pub spec: DeploymentSpec,
    /// Where it is on its way.
    pub status: DeploymentStatus,
    /// Nodes that are wanted now.
    pub nodes: u32,
    /// Milliseconds since 1970 at which it was asked for.
    pub created_ms: i64,
    /// Milliseconds since 1970 at which nothing of it was left at any provider.
    pub ended_ms: Option<i64>,
    /// What is to be known of it, in one line.
    pub message: String,
}

/// Where a deployment is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentStatus {
    /// To be kept alive.
    Active,
    /// The workload is stopped, its machines are given back; it can be started again.
    Stopping,
    /// Every node's workload ended with code 0; its machines are given back.
    Completing,
    /// It cannot go on; its machines are given back.
    Failing,
    /// Stopped by its user, nothing is left at any provider.
    Stopped,
    /// Done, nothing is left at any provider.
    Done,
    /// Failed, nothing is left at any provider.
    Failed,
}

impl DeploymentStatus {
    const WORDS: [(Self, &'static str); 7] = [
        (Self::Active, "active"),
        (Self::Stopping, "stopping"),
        (Self::Completing, "completing"),
        (Self::Failing, "failing"),
        (Self::Stopped, "stopped"),
        (Self::Done, "done"),
        (Self::Failed, "failed"),
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(status, _)| *status == self)
            .map_or("", |(_, word)| word)
    }

    /// The status of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(status, _)| *status)
    }

    /// Whether nothing is left at any provider.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Done | Self::Failed)
    }

    /// What comes when nothing is left at any provider.
    pub fn outcome(self) -> Self {
        match self {
            Self::Completing => Self::Done,
            Self::Failing => Self::Failed,
            Self::Active | Self::Stopping => Self::Stopped,
            over => over,
        }
    }
}
