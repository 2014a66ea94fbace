//! The user's own hosts, rented out like those of a cloud.

use super::{Claim, HostError, HostFacts, Kit, Node, Target, TargetError, model_of};
use crate::agent::StopOrder;
use crate::catalog::{Arch, Gpu, Market, Offer, ProviderName};
use crate::provider::{
    Account, BillLine, ErrorClass, LivePrice, Machine, MachineRef, MachineState, Order, PriceQuery, Provider,
    ProviderError, Quota, Resource, ResourceKind, TAG_ATTEMPT, TAG_DEPLOYMENT, TAG_NODE, TAG_OWNER, TAG_TOKEN,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// The machine type of every host.
pub const INSTANCE_TYPE: &str = "host";
/// The region of hosts for which the user names none.
pub const REGION: &str = "own";
/// Free disk in MiB without which a host is refused: an image with CUDA is unpacked there.
const DISK_MIB: u64 = 10 << 10;
/// Seconds that a workload gets to end when its host is given back.
const GRACE_SECONDS: u64 = 10;
const MIB_PER_GIB: f64 = 1024.0;

/// A host of the user's.
#[derive(Debug, Clone, PartialEq)]
pub struct HostEntry {
    /// What `ssh` calls it.
    pub destination: String,
    /// What an hour costs, in USD: power and wear; the user says so.
    pub usd_h: f64,
    /// Where it is, by the user's or a cloud's name.
    pub region: String,
}

/// What a look at a host has shown.
#[derive(Debug)]
pub struct Probe {
    /// The host.
    pub destination: String,
    /// What it offers and is, or why it will not do.
    pub found: Result<(Offer, HostFacts), HostError>,
}

/// The user's own hosts. A host is one machine: whoever has claimed it has all of it.
#[derive(Debug)]
pub struct HostsProvider {
    hosts: Vec<HostEntry>,
    kit: Kit,
    ssh_config: Option<PathBuf>,
    disk_mib: u64,
    unreached: Vec<(String, String)>,
}

impl HostsProvider {
    /// These hosts; a name that cannot be one is an error. `kit` is what they are prepared with.
    pub fn new(hosts: Vec<HostEntry>, kit: Kit) -> Result<Self, TargetError> {
        hosts
            .iter()
            .try_for_each(|host| Target::own(&host.destination).map(drop))?;
        Ok(Self {
            hosts,
            kit,
            ssh_config: None,
            disk_mib: DISK_MIB,
            unreached: Vec::new(),
        })
    }

    /// With a configuration file of `ssh` in place of the user's own.
    pub fn with_ssh_config(mut self, path: PathBuf) -> Self {
        self.ssh_config = Some(path);
        self
    }

    /// With another free disk, in MiB, without which a host is refused.
    pub fn with_disk(mut self, mib: u64) -> Self {
        self.disk_mib = mib;
        self
    }

    /// The hosts that the last [`list`](Provider::list) could not ask, with the reason: what is there is not known.
    pub fn unreached(&self) -> &[(String, String)] {
        &self.unreached
    }

    /// Where a host is.
    pub fn target(&self, destination: &str) -> Result<Target, TargetError> {
        let mut target = Target::own(destination)?;
        target.config.clone_from(&self.ssh_config);
        Ok(target)
    }

    /// Prepares every host and tells what it offers; all at once, so it takes as long as the slowest.
    pub fn probe(&self) -> Vec<Probe> {
        self.each(|host| self.probe_one(host))
            .into_iter()
            .map(|(host, found)| Probe {
                destination: host.destination.clone(),
                found,
            })
            .collect()
    }

    fn probe_one(&self, host: &HostEntry) -> Result<(Offer, HostFacts), HostError> {
        let facts = self
            .connect(&host.destination)?
            .prepare(&self.kit, self.disk_mib)?
            .facts;
        Ok((offer(host, &facts)?, facts))
    }

    fn connect(&self, destination: &str) -> Result<Node, HostError> {
        Node::connect(self.target(destination)?)
    }

    /// Does the same with every host, all at once.
    fn each<T: Send>(&self, act: impl Fn(&HostEntry) -> T + Sync) -> Vec<(&HostEntry, T)> {
        thread::scope(|scope| {
            let started: Vec<_> = self
                .hosts
                .iter()
                .map(|host| (host, scope.spawn(|| act(host))))
                .collect();
            let joined = started
                .into_iter()
                .filter_map(|(host, thread)| Some((host, thread.join().ok()?)));
            joined.collect()
        })
    }

    fn entry(&self, destination: &str) -> Option<&HostEntry> {
        self.hosts.iter().find(|host| host.destination == destination)
    }

    fn machine(&self, destination: &str, claim: &Claim) -> Machine {
        let region = self.entry(destination).map_or(REGION, |host| &host.region);
        Machine {
            id: id(destination, &claim.token),
            name: claim.name.clone(),
            region: region.to_owned(),
            zone: Some(destination.to_owned()),
            instance_type: INSTANCE_TYPE.to_owned(),
            market: Some(Market::OnDemand),
            state: MachineState::Running,
            address: Some(destination.to_owned()),
            private_address: None,
            created_at: Some(claim.created_at),
            ended_because: None,
            is_interrupted: false,
        }
    }

    fn resource(&self, host: &HostEntry, claim: &Claim) -> Resource {
        let tags = [
            (TAG_OWNER, claim.owner.clone()),
            (TAG_DEPLOYMENT, claim.deployment.clone()),
            (TAG_NODE, claim.node.to_string()),
            (TAG_ATTEMPT, claim.attempt.to_string()),
            (TAG_TOKEN, claim.token.clone()),
        ];
        Resource {
            kind: ResourceKind::Machine,
            id: id(&host.destination, &claim.token),
            name: claim.name.clone(),
            region: host.region.clone(),
            zone: Some(host.destination.clone()),
            tags: tags
                .map(|(tag, value)| (tag.to_owned(), value))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            instance_type: Some(INSTANCE_TYPE.to_owned()),
            market: Some(Market::OnDemand),
            state: Some(MachineState::Running),
            created_at: Some(claim.created_at),
        }
    }
}

/// Names a host as held by an order: a host that another order has got since is another machine.
fn id(destination: &str, token: &str) -> String {
    format!("{destination}/{token}")
}

/// What a host offers: its GPUs must be of one model, and one of the catalog's.
fn offer(host: &HostEntry, facts: &HostFacts) -> Result<Offer, HostError> {
    let broken = |why: String| HostError::Broken {
        host: host.destination.clone(),
        why,
    };
    let models: Vec<Option<Gpu>> = facts
        .gpus
        .iter()
        .map(|gpu| model_of(&gpu.name, gpu.memory_mib))
        .collect();
    let first = facts
        .gpus
        .first()
        .ok_or_else(|| broken("it has no NVIDIA GPU".to_owned()))?;
    let gpu = models.first().copied().flatten().ok_or_else(|| {
        broken(format!(
            "its GPU '{}' is no model of the catalog (nvbind cloud offers lists them)",
            first.name
        ))
    })?;
    if models.iter().any(|model| *model != Some(gpu)) {
        return Err(broken("its GPUs are of several models".to_owned()));
    }
    Ok(Offer {
        provider: ProviderName::Hosts,
        region: host.region.clone(),
        zone: Some(host.destination.clone()),
        instance_type: INSTANCE_TYPE.to_owned(),
        gpu,
        gpus: facts.gpus.len() as f64,
        gpu_memory_gib: first.memory_mib as f64 / MIB_PER_GIB,
        vcpus: f64::from(facts.vcpus),
        memory_gib: facts.memory_mib as f64 / MIB_PER_GIB,
        // Prepared hosts are of this program's own kind.
        arch: Arch::HERE,
        market: Market::OnDemand,
        usd_h: host.usd_h,
        date: None,
        interruptions_per_hour: None,
    })
}

fn taken(host: &str, holder: &Claim) -> ProviderError {
    let message = format!(
        "host '{host}' is held by node {} of deployment '{}' of nvbind state {}",
        holder.node, holder.deployment, holder.owner
    );
    ProviderError::new(ErrorClass::NoCapacity, "Taken", message)
}

impl Provider for HostsProvider {
    /// Logs in to each host; the error is that of the first where it fails.
    fn check(&mut self) -> Result<Account, ProviderError> {
        for (_, connected) in self.each(|host| self.connect(&host.destination)) {
            connected.map_err(HostError::into_silence)?;
        }
        let names: Vec<&str> = self.hosts.iter().map(|host| host.destination.as_str()).collect();
        Ok(Account {
            id: names.join(","),
            identity: std::env::var("USER").unwrap_or_default(),
        })
    }

    fn prices(&mut self, query: &PriceQuery) -> Result<Vec<LivePrice>, ProviderError> {
        let at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let is_wanted = |host: &&HostEntry| query.regions.is_empty() || query.regions.contains(&host.region);
        let prices = self.hosts.iter().filter(is_wanted).map(|host| LivePrice {
            instance_type: INSTANCE_TYPE.to_owned(),
            region: host.region.clone(),
            zone: Some(host.destination.clone()),
            market: Market::OnDemand,
            usd_h: host.usd_h,
            at,
        });
        Ok(prices.collect())
    }

    /// Nothing limits them but their number.
    fn quotas(&mut self, _region: &str) -> Result<Vec<Quota>, ProviderError> {
        Ok(Vec::new())
    }

    /// Claims the host that the order names as its zone. The key, the image, the disk and the time limit of the order are not looked at: the host is
    /// as it is, and goes on when nvbind is gone.
    fn create(&mut self, order: &Order) -> Result<Machine, ProviderError> {
        let destination = order.zone.as_deref().unwrap_or_default();
        if self.entry(destination).is_none() {
            let message = format!("'{destination}' is none of the configured hosts");
            return Err(ProviderError::new(ErrorClass::NotOffered, "UnknownHost", message));
        }
        let claim = Claim::of(order);
        let holder = self
            .connect(destination)
            .map_err(HostError::into_refusal)?
            .claim(&claim)
            .map_err(|error| ProviderError {
                // The claim may have been made before the connection broke.
                is_ambiguous: true,
                ..error.into_refusal()
            })?;
        match holder.token == order.token {
            true => Ok(self.machine(destination, &holder)),
            false => Err(taken(destination, &holder)),
        }
    }

    fn describe(&mut self, machine: &MachineRef) -> Result<Option<Machine>, ProviderError> {
        let of_id = machine.id.as_deref().and_then(|id| id.rsplit_once('/'));
        let destination = of_id
            .map(|(host, _)| host)
            .or(machine.zone.as_deref())
            .unwrap_or_default();
        let claim = self
            .connect(destination)
            .and_then(|node| node.claimed())
            .map_err(HostError::into_silence)?;
        let claim = claim.filter(|claim| claim.token == machine.token);
        Ok(claim.map(|claim| self.machine(destination, &claim)))
    }

    /// The hosts that this state holds. What the hosts in [`unreached`](HostsProvider::unreached) hold is not known; an error when none answers.
    fn list(&mut self, owner: &str, regions: &[String]) -> Result<Vec<Resource>, ProviderError> {
        let is_wanted = |host: &HostEntry| regions.is_empty() || regions.contains(&host.region);
        let ask = |host: &HostEntry| is_wanted(host).then(|| self.connect(&host.destination)?.claimed());
        let (mut found, mut unreached, mut last) = (Vec::new(), Vec::new(), None);
        let mut answers = 0;
        for (host, answer) in self.each(ask) {
            match answer {
                None => {}
                Some(Ok(claim)) => {
                    answers += 1;
                    found.extend(
                        claim
                            .filter(|claim| claim.owner == owner)
                            .map(|claim| self.resource(host, &claim)),
                    );
                }
                Some(Err(error)) => {
                    unreached.push((host.destination.clone(), error.to_string()));
                    last = Some(error);
                }
            }
        }
        self.unreached = unreached;
        match last {
            Some(error) if answers == 0 => Err(error.into_silence()),
            _ => Ok(found),
        }
    }

    /// Ends the workload, removes what was left of it, and gives the host back.
    fn delete(&mut self, resource: &Resource) -> Result<(), ProviderError> {
        let Some((destination, token)) = resource.id.rsplit_once('/') else {
            let message = format!("'{}' is no host", resource.id);
            return Err(ProviderError::new(ErrorClass::Invalid, "BadId", message));
        };
        let order = StopOrder {
            grace_seconds: GRACE_SECONDS,
            checkpoint: false,
        };
        let give_back = |node: &Node| {
            node.stop(token, order)?;
            node.clean(token)?;
            node.unclaim(token)
        };
        self.connect(destination)
            .and_then(|node| give_back(&node))
            .map_err(HostError::into_silence)
    }

    /// Nobody sends a bill.
    fn bill(&mut self, _owner: &str, _from: u64, _to: u64) -> Result<Vec<BillLine>, ProviderError> {
        Ok(Vec::new())
    }
}
