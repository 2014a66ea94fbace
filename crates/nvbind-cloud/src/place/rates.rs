//! What is paid beside the machine, and how long a start takes: tables of data, each with its source.
//!
//! List prices of the providers' public pages in their cheapest American region, as of 2025-11; an estimate to rank offers by, not
//! a bill.

use crate::catalog::{Market, ProviderName, continent_of, country_of};

/// Hours of a month, as the providers reckon.
const MONTH_HOURS: f64 = 730.0;

/// What is paid beside the machine at one provider.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extras {
    /// Whose.
    pub provider: ProviderName,
    /// USD for a GiB of boot disk in a month.
    pub disk_usd_gib_month: f64,
    /// USD an hour for a public IPv4 address of a machine on demand.
    pub address_usd_h: f64,
    /// The same of a spot machine.
    pub spot_address_usd_h: f64,
    /// Seconds from the order until the work can start, where nothing was measured.
    pub setup_seconds: f64,
    /// USD for a GiB that goes to another region of the same provider on the same continent.
    pub same_continent_usd_gib: f64,
    /// The same, to another continent.
    pub other_continent_usd_gib: f64,
    /// USD for a GiB that leaves the provider: up to so many GiB in all, this much each.
    pub leaving_usd_gib: &'static [(f64, f64)],
}

/// Every provider's. Disk: AWS gp3, GCP pd-balanced, Azure Standard SSD (aws.amazon.com/ebs/pricing, cloud.google.com/compute/disks-image-pricing,
/// azure.microsoft.com/pricing/details/managed-disks). Address: aws.amazon.com/vpc/pricing, cloud.google.com/vpc/network-pricing (half on spot),
/// azure.microsoft.com/pricing/details/ip-addresses. Set-up: the best that SkyPilot publishes for images with a driver (its pull
/// requests 4091, 4027, 4167). What leaves a provider: the tiers that SkyPilot 0.14.1 reckons with. Between regions: aws.amazon.com/ec2/pricing/on-demand,
/// cloud.google.com/vpc/network-pricing, azure.microsoft.com/pricing/details/bandwidth.
pub const EXTRAS: [Extras; 4] = [
    Extras {
        provider: ProviderName::Aws,
        disk_usd_gib_month: 0.08,
        address_usd_h: 0.005,
        spot_address_usd_h: 0.005,
        setup_seconds: 101.0,
        same_continent_usd_gib: 0.02,
        other_continent_usd_gib: 0.02,
        leaving_usd_gib: &[
            (10_240.0, 0.09),
            (51_200.0, 0.085),
            (153_600.0, 0.07),
            (f64::INFINITY, 0.05),
        ],
    },
    Extras {
        provider: ProviderName::Gcp,
        disk_usd_gib_month: 0.10,
        address_usd_h: 0.005,
        spot_address_usd_h: 0.0025,
        setup_seconds: 75.0,
        same_continent_usd_gib: 0.02,
        other_continent_usd_gib: 0.08,
        leaving_usd_gib: &[(1024.0, 0.12), (10_240.0, 0.11), (f64::INFINITY, 0.08)],
    },
    Extras {
        provider: ProviderName::Azure,
        disk_usd_gib_month: 0.075,
        address_usd_h: 0.005,
        spot_address_usd_h: 0.005,
        setup_seconds: 160.0,
        same_continent_usd_gib: 0.02,
        other_continent_usd_gib: 0.05,
        leaving_usd_gib: &[
            (10_240.0, 0.0875),
            (51_200.0, 0.083),
            (153_600.0, 0.07),
            (f64::INFINITY, 0.05),
        ],
    },
    Extras {
        provider: ProviderName::Hosts,
        disk_usd_gib_month: 0.0,
        address_usd_h: 0.0,
        spot_address_usd_h: 0.0,
        setup_seconds: 20.0,
        same_continent_usd_gib: 0.0,
        other_continent_usd_gib: 0.0,
        leaving_usd_gib: &[(f64::INFINITY, 0.0)],
    },
];

/// Speed at which data comes to a machine, in Gbit/s: what SkyPilot reckons with, too.
const TRANSFER_GBIT_S: f64 = 10.0;

impl Extras {
    /// A provider's.
    pub fn of(provider: ProviderName) -> &'static Self {
        let found = EXTRAS.iter().find(|extras| extras.provider == provider);
        found.unwrap_or(&EXTRAS[3])
    }

    /// USD an hour of a boot disk of that size.
    pub fn disk_usd_h(&self, gib: u32) -> f64 {
        f64::from(gib) * self.disk_usd_gib_month / MONTH_HOURS
    }

    /// USD an hour of a machine's public address.
    pub fn address_usd_h(&self, market: Market) -> f64 {
        match market {
            Market::OnDemand => self.address_usd_h,
            Market::Spot => self.spot_address_usd_h,
        }
    }

    /// USD for so many GiB that leave the provider.
    fn leaving_usd(&self, gib: f64) -> f64 {
        let mut below = 0.0;
        let mut usd = 0.0;
        for (up_to, usd_gib) in self.leaving_usd_gib {
            usd += (gib.min(*up_to) - below).max(0.0) * usd_gib;
            below = *up_to;
        }
        usd
    }
}

/// USD for data that goes from one region to another.
pub fn egress_usd(gib: f64, from: (ProviderName, &str), to: (ProviderName, &str)) -> f64 {
    let extras = Extras::of(from.0);
    if from == to {
        return 0.0;
    }
    if from.0 != to.0 {
        return extras.leaving_usd(gib);
    }
    let continent = |region: &str| country_of(region).and_then(continent_of);
    let is_near = continent(from.1).is_some() && continent(from.1) == continent(to.1);
    let usd_gib = match is_near {
        true => extras.same_continent_usd_gib,
        false => extras.other_continent_usd_gib,
    };
    gib * usd_gib
}

/// Hours until data has come from one region to another; none where it lies there already.
pub fn transfer_hours(gib: f64, from: (ProviderName, &str), to: (ProviderName, &str)) -> f64 {
    match from == to {
        true => 0.0,
        false => gib * 8.0 * 1.073_741_824 / TRANSFER_GBIT_S / 3600.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProviderName::{Aws, Azure, Gcp, Hosts};

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn every_provider_has_its_extras() {
        for (provider, _) in ProviderName::WORDS {
            assert_eq!(Extras::of(provider).provider, provider);
        }
    }

    #[test]
    fn data_costs_by_where_it_goes() {
        let usd = |gib, from, to| egress_usd(gib, from, to);
        assert!(near(usd(500.0, (Aws, "us-east-1"), (Aws, "us-east-1")), 0.0));
        assert!(near(usd(500.0, (Aws, "us-east-1"), (Aws, "eu-west-1")), 10.0));
        assert!(near(usd(500.0, (Gcp, "us-east1"), (Gcp, "us-west1")), 10.0));
        assert!(near(usd(500.0, (Gcp, "us-east1"), (Gcp, "europe-west4")), 40.0));
        assert!(near(usd(500.0, (Azure, "eastus"), (Aws, "us-east-1")), 43.75));
        assert!(near(usd(500.0, (Hosts, "cellar"), (Aws, "us-east-1")), 0.0));
    }

    #[test]
    fn tiers_add_up() {
        let gib = 10_240.0 + 100.0;
        assert!(near(
            egress_usd(gib, (Aws, "us-east-1"), (Gcp, "us-east1")),
            10_240.0 * 0.09 + 100.0 * 0.085
        ));
        let gib = 1024.0 + 9216.0 + 1.0;
        assert!(near(
            egress_usd(gib, (Gcp, "us-east1"), (Aws, "us-east-1")),
            1024.0 * 0.12 + 9216.0 * 0.11 + 0.08
        ));
    }

    #[test]
    fn data_that_is_there_takes_no_time() {
        assert!(near(transfer_hours(100.0, (Aws, "us-east-1"), (Aws, "us-east-1")), 0.0));
        let hours = transfer_hours(1000.0, (Aws, "us-east-1"), (Aws, "us-west-2"));
        assert!((hours * 60.0 - 14.3).abs() < 0.1, "{hours}");
    }
}
