//! Two firewall rules of each deployment: who may reach port 22, and everything among its machines. They hold in all regions.
//!
//! Firewall rules have no labels, so what would be labels stands in the description.

use crate::call::call;
use crate::connect::Session;
use crate::fault::{self, Effect};
use crate::find::if_there;
use crate::order::NETWORK;
use google_cloud_compute_v1::model::firewall::Allowed;
use google_cloud_compute_v1::model::{Firewall, Operation, operation};
use nvbind_cloud::provider::{ErrorClass, Order, ProviderError, TAG_DEPLOYMENT, TAG_OWNER};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a rule may take to be made.
const PATIENCE: Duration = Duration::from_secs(60);
/// First and longest pause between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The rules that an order needs. Without a network that may reach port 22 there is no rule for it: one without sources would let in everybody.
fn rules(order: &Order) -> Vec<Firewall> {
    let group = order.shared_name();
    let rule = |purpose: &str| {
        Firewall::new()
            .set_name(format!("{group}-{purpose}"))
            .set_description(description(order))
            .set_network(NETWORK)
            .set_target_tags([group.as_str()])
    };
    let inside = rule("all")
        .set_source_tags([group.as_str()])
        .set_allowed([Allowed::new().set_ip_protocol("all")]);
    let ssh = rule("ssh")
        .set_source_ranges(&order.allow_from)
        .set_allowed([Allowed::new().set_ip_protocol("tcp").set_ports(["22"])]);
    if order.allow_from.is_empty() {
        vec![inside]
    } else {
        vec![ssh, inside]
    }
}

fn description(order: &Order) -> String {
    format!("{TAG_OWNER}={} {TAG_DEPLOYMENT}={}", order.owner, order.deployment)
}

/// What would be its labels, from its description.
pub(crate) fn tags(description: &str) -> BTreeMap<String, String> {
    let pairs = description.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The filter that finds an owner's rules, and those of others whose names begin alike.
pub(crate) fn filter(owner: &str) -> String {
    format!("name eq \"nvbind-{}-.*\"", &owner[..owner.len().min(8)])
}

impl Session {
    /// Makes the rules that are missing, and lets in who is to be let in now.
    pub(crate) async fn open_firewall(&self, order: &Order) -> Result<(), ProviderError> {
        let mut rules = rules(order).into_iter().map(|rule| self.open(rule));
        match (rules.next(), rules.next()) {
            (Some(first), Some(second)) => tokio::try_join!(first, second).map(|_| ()),
            (Some(first), None) => first.await,
            _ => Ok(()),
        }
    }

    async fn open(&self, rule: Firewall) -> Result<(), ProviderError> {
        let name = rule.name.clone().unwrap_or_default();
        let get = || {
            self.firewalls
                .get()
                .set_project(&self.project)
                .set_firewall(&name)
                .send()
        };
        let operation = match if_there(call(Effect::Read, get).await)? {
            Some(found) if same(&found.source_ranges, &rule.source_ranges) => return Ok(()),
            Some(_) => Some(self.patch_rule(&name, &rule).await?),
            None => self.insert_rule(&rule).await?,
        };
        match operation {
            Some(operation) => self.wait_for_rule(operation).await,
            None => Ok(()),
        }
    }

    /// `None` where somebody else has made it in between.
    async fn insert_rule(&self, rule: &Firewall) -> Result<Option<Operation>, ProviderError> {
        let insert = || {
            self.firewalls
                .insert()
                .set_project(&self.project)
                .set_body(rule.clone())
                .send()
        };
        match call(Effect::Change, insert).await {
            Ok(operation) => Ok(Some(operation)),
            Err(error) if fault::is_conflict(&error) => Ok(None),
            Err(error) => Err(as_network(error)),
        }
    }

    async fn patch_rule(&self, name: &str, rule: &Firewall) -> Result<Operation, ProviderError> {
        let change = Firewall::new().set_name(name).set_source_ranges(&rule.source_ranges);
        let patch = || {
            let patch = self.firewalls.patch().set_project(&self.project);
            patch.set_firewall(name).set_body(change.clone()).send()
        };
        call(Effect::Change, patch).await.map_err(as_network)
    }

    async fn wait_for_rule(&self, mut operation: Operation) -> Result<(), ProviderError> {
        let (start, mut pause) = (Instant::now(), PAUSES.0);
        while operation.status != Some(operation::Status::Done) {
            if start.elapsed() > PATIENCE {
                return Err(fault::late(PATIENCE.as_secs(), Effect::Read));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(PAUSES.1);
            let id = operation.name.clone().unwrap_or_default();
            let get = || {
                self.firewalls
                    .get_operation()
                    .set_project(&self.project)
                    .set_operation(&id)
                    .send()
            };
            operation = call(Effect::Read, get).await?;
        }
        match fault::of_operation(&operation) {
            None => Ok(()),
            Some(error) if fault::is_conflict(&error) => Ok(()),
            Some(error) => Err(as_network(error)),
        }
    }

    /// Deletes a rule. Machines that still have its tag can no longer be reached by it.
    pub(crate) async fn delete_firewall(&self, name: &str) -> Result<(), ProviderError> {
        let delete = || {
            self.firewalls
                .delete()
                .set_project(&self.project)
                .set_firewall(name)
                .send()
        };
        if_there(call(Effect::Change, delete).await).map(|_| ())
    }
}

/// No machine depends on it yet, so nothing of the order can have happened; and what is wrong with a rule is wrong with the network.
fn as_network(error: ProviderError) -> ProviderError {
    let class = match error.class {
        ErrorClass::Invalid | ErrorClass::NotFound | ErrorClass::NoCapacity | ErrorClass::Unknown => {
            ErrorClass::NetworkSetup
        }
        class => class,
    };
    ProviderError {
        class,
        is_ambiguous: false,
        ..error
    }
}

fn same(one: &[String], other: &[String]) -> bool {
    one.len() == other.len() && one.iter().all(|range| other.contains(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_in_the_description() {
        let tags = tags("nvbind-owner=0123456789abcdef nvbind-deployment=train");
        assert_eq!(tags.get(TAG_OWNER).map(String::as_str), Some("0123456789abcdef"));
        assert_eq!(tags.get(TAG_DEPLOYMENT).map(String::as_str), Some("train"));
        assert_eq!(filter("0123456789abcdef"), "name eq \"nvbind-01234567-.*\"");
    }
}
