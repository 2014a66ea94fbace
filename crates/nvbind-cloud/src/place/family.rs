//! Families of machine types that share a quota.

use crate::catalog::{Gpu, Market, ProviderName};

/// AWS: what a type begins with, the market, and the quota that its vCPUs count against (Service Quotas, service `ec2`).
const AWS: [(&str, Market, &str); 8] = [
    ("p5", Market::Spot, "L-C4BD4855"),
    // Sources disagree on which of the two P quotas holds P6 on spot: it stands apart.
    ("p6", Market::Spot, "P6 spot"),
    ("p", Market::Spot, "L-7212CCBC"),
    ("p", Market::OnDemand, "L-417A185B"),
    ("g", Market::Spot, "L-3819A6DF"),
    ("g", Market::OnDemand, "L-DB2E81BA"),
    ("", Market::Spot, "L-34B43A08"),
    ("", Market::OnDemand, "L-1216C47A"),
];

/// The family whose quota a machine type counts against, on a market: two types share it exactly when their families are the same text.
pub fn quota_family(provider: ProviderName, instance_type: &str, gpu: Gpu, market: Market) -> String {
    match provider {
        ProviderName::Aws => {
            let found = AWS
                .iter()
                .find(|(start, of, _)| *of == market && instance_type.starts_with(start));
            found.map_or_else(String::new, |(.., code)| (*code).to_owned())
        }
        ProviderName::Gcp => gpu.name().to_owned(),
        ProviderName::Azure => azure_family(instance_type),
        ProviderName::Hosts => instance_type.to_owned(),
    }
}

/// A size without its number of vCPUs, and without the letters that Azure's quotas do not tell apart (`r` RDMA, `m` more memory, `i` isolated).
fn azure_family(size: &str) -> String {
    let size = size.strip_prefix("Standard_").unwrap_or(size);
    let (name, rest) = size.split_once('_').unwrap_or((size, ""));
    let letters: String = name.chars().filter(|c| !c.is_ascii_digit()).collect();
    let (series, features) = letters.split_at(letters.find(|c: char| c.is_ascii_lowercase()).unwrap_or(letters.len()));
    let features: String = features.chars().filter(|c| !"rmi".contains(*c)).collect();
    format!("{series}{features}_{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProviderName::{Aws, Azure, Gcp};

    fn family(provider: ProviderName, instance_type: &str, gpu: &str, market: Market) -> String {
        quota_family(provider, instance_type, Gpu::named(gpu).unwrap(), market)
    }

    #[test]
    fn aws_quotas_go_by_letter_and_market() {
        for (instance_type, market, code) in [
            ("p4d.24xlarge", Market::OnDemand, "L-417A185B"),
            ("p5.48xlarge", Market::OnDemand, "L-417A185B"),
            ("p4d.24xlarge", Market::Spot, "L-7212CCBC"),
            ("p5.48xlarge", Market::Spot, "L-C4BD4855"),
            ("g5.xlarge", Market::OnDemand, "L-DB2E81BA"),
            ("gr6.4xlarge", Market::Spot, "L-3819A6DF"),
        ] {
            assert_eq!(family(Aws, instance_type, "T4", market), code, "{instance_type}");
        }
    }

    #[test]
    fn azure_sizes_of_a_family_are_alike() {
        let same = |a: &str, b: &str| azure_family(a) == azure_family(b);
        assert!(same("Standard_NC24ads_A100_v4", "Standard_NC96ads_A100_v4"));
        assert!(same("Standard_NC24s_v3", "Standard_NC24rs_v3"));
        assert!(same("Standard_NV36ads_A10_v5", "Standard_NV36adms_A10_v5"));
        assert!(same("Standard_NC40ads_H100_v5", "Standard_NC80adis_H100_v5"));
        assert!(!same("Standard_ND96asr_v4", "Standard_ND96amsr_A100_v4"));
        assert!(!same("Standard_ND96isr_H100_v5", "Standard_ND96isr_H200_v5"));
    }

    #[test]
    fn gcp_quotas_go_by_the_gpu() {
        assert_eq!(
            family(Gcp, "a2-ultragpu-1g", "A100-80GB", Market::Spot),
            family(Gcp, "a2-ultragpu-8g", "A100-80GB", Market::Spot)
        );
        assert_eq!(family(Azure, "Standard_NC4as_T4_v3", "T4", Market::Spot), "NCas_T4_v3");
    }
}
