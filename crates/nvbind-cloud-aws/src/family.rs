//! Families of machine types, which EC2's quotas count together.

use nvbind_cloud::catalog::{Catalog, Market, ProviderName};

/// A quota of EC2 that machines with GPUs count against, in virtual CPUs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Family {
    /// Its code in Service Quotas (docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-quotas.html).
    pub(crate) code: &'static str,
    pub(crate) market: Market,
    /// How the names of its machine types begin.
    prefixes: &'static [&'static str],
}

/// Known without asking. Which one counts P6 on spot is not documented alike: [`parse_title`] finds it where it is listed.
const FAMILIES: [Family; 5] = [
    family("L-417A185B", Market::OnDemand, &["p"]),
    family("L-DB2E81BA", Market::OnDemand, &["g", "vt"]),
    family("L-3819A6DF", Market::Spot, &["g", "vt"]),
    family("L-7212CCBC", Market::Spot, &["p4", "p3", "p2"]),
    family("L-C4BD4855", Market::Spot, &["p5"]),
];

const fn family(code: &'static str, market: Market, prefixes: &'static [&'static str]) -> Family {
    Family { code, market, prefixes }
}

/// The quota that a machine type counts against.
pub(crate) fn family_of(instance_type: &str, market: Market) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| {
        family.market == market && family.prefixes.iter().any(|prefix| instance_type.starts_with(prefix))
    })
}

/// What the title of a listed quota says: its market, and how the names of its machine types begin.
pub(crate) fn parse_title(title: &str) -> Option<(Market, Vec<String>)> {
    let between = |start, end| title.strip_prefix(start).and_then(|rest: &str| rest.strip_suffix(end));
    let (market, families) = match between("Running On-Demand ", " instances") {
        Some(families) => (Market::OnDemand, families),
        None => (Market::Spot, between("All ", " Spot Instance Requests")?),
    };
    let families = families.replace(" and ", ", ");
    let prefixes = families.split(", ").map(str::to_ascii_lowercase);
    Some((market, prefixes.collect()))
}

/// Virtual CPUs of a machine type, where the catalog has it.
pub(crate) fn vcpus(catalog: &Catalog, instance_type: &str) -> Option<f64> {
    let mut instances = catalog.instances().iter();
    let found =
        instances.find(|instance| instance.provider == ProviderName::Aws && instance.instance_type == instance_type);
    found.map(|instance| instance.vcpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_type_counts_against_the_quota_of_its_family_and_market() {
        for (instance_type, market, code) in [
            ("p4d.24xlarge", Market::OnDemand, Some("L-417A185B")),
            ("p4d.24xlarge", Market::Spot, Some("L-7212CCBC")),
            ("p5en.48xlarge", Market::Spot, Some("L-C4BD4855")),
            ("gr6.4xlarge", Market::Spot, Some("L-3819A6DF")),
            ("g6e.xlarge", Market::OnDemand, Some("L-DB2E81BA")),
            ("p6-b200.48xlarge", Market::Spot, None),
            ("m7i.large", Market::OnDemand, None),
        ] {
            let found = family_of(instance_type, market).map(|family| family.code);
            assert_eq!(found, code, "{instance_type}");
        }
    }

    #[test]
    fn titles_name_their_families() {
        let known = |title| parse_title(title).map(|(market, prefixes)| (market, prefixes.join(" ")));
        let spot = |text: &str| Some((Market::Spot, text.to_owned()));
        assert_eq!(known("All P4, P3 and P2 Spot Instance Requests"), spot("p4 p3 p2"));
        assert_eq!(known("All P6 Spot Instance Requests"), spot("p6"));
        assert_eq!(
            known("Running On-Demand G and VT instances"),
            Some((Market::OnDemand, "g vt".into()))
        );
        assert_eq!(known("EC2-VPC Elastic IPs"), None);
    }
}
