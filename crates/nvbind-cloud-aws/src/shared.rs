//! What all machines of a deployment in a region share: the key and the security group, made when they are missing.

use crate::answer;
use crate::client::Clients;
use crate::list::filter;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::{
    IpPermission, IpRange, Ipv6Range, ResourceType, SecurityGroup, Tag, TagSpecification, UserIdGroupPair,
};
use nvbind_cloud::provider::{ErrorClass, Order, ProviderError, TAG_DEPLOYMENT, TAG_OWNER};
use std::collections::{BTreeSet, HashMap};

/// Where SSH listens.
const SSH_PORT: i32 = 22;
/// All protocols, as EC2 writes it.
const ALL_PROTOCOLS: &str = "-1";

/// What is known to be there: for which order's parts, the group's id.
#[derive(Debug, Default)]
pub(crate) struct SharedParts {
    known: HashMap<Parts, String>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Parts {
    region: String,
    name: String,
    public_key: String,
    allow_from: Vec<String>,
}

impl Parts {
    fn of(order: &Order) -> Self {
        Self {
            region: order.region.clone(),
            name: order.shared_name(),
            public_key: order.public_key.clone(),
            allow_from: order.allow_from.clone(),
        }
    }
}

impl SharedParts {
    /// The id of the security group; the key has the shared name.
    pub(crate) async fn ensure(&mut self, clients: &Clients, order: &Order) -> Result<String, ProviderError> {
        let parts = Parts::of(order);
        if let Some(group) = self.known.get(&parts) {
            return Ok(group.clone());
        }
        let ec2 = clients.ec2(&order.region);
        let (group, ()) = tokio::try_join!(ensure_group(&ec2, order), ensure_key(&ec2, order))?;
        self.known.insert(parts, group.clone());
        Ok(group)
    }

    /// They are not there any more.
    pub(crate) fn forget(&mut self, order: &Order) {
        self.known.remove(&Parts::of(order));
    }
}

async fn ensure_key(ec2: &Client, order: &Order) -> Result<(), ProviderError> {
    let name = order.shared_name();
    let named = filter("key-name", &[&name]);
    let answer = ec2
        .describe_key_pairs()
        .filters(named)
        .include_public_key(true)
        .send()
        .await;
    let keys = answer.map_err(answer::read)?.key_pairs.unwrap_or_default();
    if let Some(key) = keys.first() {
        let is_same = key.public_key().is_none_or(|text| is_same_key(text, &order.public_key));
        if is_same {
            return Ok(());
        }
        let answer = ec2.delete_key_pair().key_name(&name).send().await;
        answer.map_err(answer::write)?;
    }
    let call = ec2.import_key_pair().key_name(&name);
    let call = call.public_key_material(Blob::new(order.public_key.as_bytes()));
    let answer = call
        .tag_specifications(shared_tags(order, ResourceType::KeyPair))
        .send()
        .await;
    unless(answer.map_err(answer::write).map(|_| ()), "InvalidKeyPair.Duplicate")
}

/// Whether two public keys are one, whatever their comments say.
fn is_same_key(one: &str, other: &str) -> bool {
    one.split_whitespace().take(2).eq(other.split_whitespace().take(2))
}

async fn ensure_group(ec2: &Client, order: &Order) -> Result<String, ProviderError> {
    let group = match find_group(ec2, order).await? {
        Some(group) => group,
        None => make_group(ec2, order).await?,
    };
    let id = group.group_id().unwrap_or_default().to_owned();
    let (wanted, there) = (wanted_rules(order, &id), rules_of(&group));
    let missing: Vec<IpPermission> = wanted.difference(&there).map(Rule::permission).collect();
    let superfluous: Vec<IpPermission> = there.difference(&wanted).map(Rule::permission).collect();
    if !missing.is_empty() {
        let call = ec2.authorize_security_group_ingress().group_id(&id);
        let answer = call.set_ip_permissions(Some(missing)).send().await;
        unless(answer.map_err(answer::write).map(|_| ()), "InvalidPermission.Duplicate")?;
    }
    if !superfluous.is_empty() {
        let call = ec2.revoke_security_group_ingress().group_id(&id);
        let answer = call.set_ip_permissions(Some(superfluous)).send().await;
        unless(answer.map_err(answer::write).map(|_| ()), "InvalidPermission.NotFound")?;
    }
    Ok(id)
}

async fn find_group(ec2: &Client, order: &Order) -> Result<Option<SecurityGroup>, ProviderError> {
    let call = ec2.describe_security_groups();
    let call = call.filters(filter("group-name", &[&order.shared_name()]));
    let answer = call
        .filters(filter(&format!("tag:{TAG_OWNER}"), &[&order.owner]))
        .send()
        .await;
    let groups = answer.map_err(answer::read)?.security_groups.unwrap_or_default();
    Ok(groups.into_iter().next())
}

/// Makes the group, or finds the one that somebody else has made meanwhile.
async fn make_group(ec2: &Client, order: &Order) -> Result<SecurityGroup, ProviderError> {
    let network = default_network(ec2, &order.region).await?;
    let call = ec2
        .create_security_group()
        .group_name(order.shared_name())
        .vpc_id(network);
    let call = call.description(format!("nvbind deployment {}", order.deployment));
    let answer = call
        .tag_specifications(shared_tags(order, ResourceType::SecurityGroup))
        .send()
        .await;
    match answer.map_err(answer::write) {
        Ok(made) => Ok(SecurityGroup::builder().set_group_id(made.group_id).build()),
        Err(refusal) if refusal.code == "InvalidGroup.Duplicate" => {
            find_group(ec2, order).await?.ok_or(ProviderError {
                class: ErrorClass::Transient,
                ..refusal
            })
        }
        Err(refusal) => Err(refusal),
    }
}

async fn default_network(ec2: &Client, region: &str) -> Result<String, ProviderError> {
    let answer = ec2
        .describe_vpcs()
        .filters(filter("is-default", &["true"]))
        .send()
        .await;
    let networks = answer.map_err(answer::read)?.vpcs.unwrap_or_default();
    let id = networks.into_iter().find_map(|network| network.vpc_id);
    id.ok_or_else(|| {
        ProviderError::new(
            ErrorClass::NetworkSetup,
            "NoDefaultNetwork",
            format!("{region} has no default VPC: make one with `aws ec2 create-default-vpc --region {region}`"),
        )
    })
}

/// Who may come in, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    protocol: String,
    /// First and last port; none for all protocols.
    ports: Option<(i32, i32)>,
    /// A network (CIDR) or the id of a group.
    from: String,
}

impl Rule {
    fn permission(&self) -> IpPermission {
        let permission = IpPermission::builder()
            .ip_protocol(&self.protocol)
            .set_from_port(self.ports.map(|(first, _)| first))
            .set_to_port(self.ports.map(|(_, last)| last));
        let from = self.from.as_str();
        if from.starts_with("sg-") {
            let group = UserIdGroupPair::builder().group_id(from).build();
            permission.user_id_group_pairs(group).build()
        } else if from.contains(':') {
            permission
                .ipv6_ranges(Ipv6Range::builder().cidr_ipv6(from).build())
                .build()
        } else {
            permission.ip_ranges(IpRange::builder().cidr_ip(from).build()).build()
        }
    }
}

fn wanted_rules(order: &Order, group: &str) -> BTreeSet<Rule> {
    let networks = order.allow_from.iter().map(|cidr| Rule {
        protocol: "tcp".to_owned(),
        ports: Some((SSH_PORT, SSH_PORT)),
        from: cidr.clone(),
    });
    let members = Rule {
        protocol: ALL_PROTOCOLS.to_owned(),
        ports: None,
        from: group.to_owned(),
    };
    networks.chain([members]).collect()
}

fn rules_of(group: &SecurityGroup) -> BTreeSet<Rule> {
    group.ip_permissions().iter().flat_map(rules_in).collect()
}

fn rules_in(permission: &IpPermission) -> Vec<Rule> {
    let protocol = permission.ip_protocol().unwrap_or(ALL_PROTOCOLS);
    let ports = permission.from_port().zip(permission.to_port());
    let rule = |from: &str| Rule {
        protocol: protocol.to_owned(),
        ports: ports.filter(|_| protocol != ALL_PROTOCOLS),
        from: from.to_owned(),
    };
    let four = permission.ip_ranges().iter().filter_map(|range| range.cidr_ip());
    let six = permission.ipv6_ranges().iter().filter_map(|range| range.cidr_ipv6());
    let groups = permission
        .user_id_group_pairs()
        .iter()
        .filter_map(|pair| pair.group_id());
    four.chain(six).chain(groups).map(rule).collect()
}

/// The tags of what a deployment shares: no order's own.
fn shared_tags(order: &Order, kind: ResourceType) -> TagSpecification {
    let tags = [
        ("Name", order.shared_name()),
        (TAG_OWNER, order.owner.clone()),
        (TAG_DEPLOYMENT, order.deployment.clone()),
    ];
    let tags = tags
        .into_iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build());
    TagSpecification::builder()
        .resource_type(kind)
        .set_tags(Some(tags.collect()))
        .build()
}

/// That somebody has just done the same is no error.
fn unless(done: Result<(), ProviderError>, code: &str) -> Result<(), ProviderError> {
    match done {
        Err(refusal) if refusal.code == code => Ok(()),
        done => done,
    }
}
