//! Providers, and the country that each of their regions lies in.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Who rents out machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderName {
    /// Amazon Web Services.
    Aws,
    /// Google Cloud.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// The user's own hosts, over SSH.
    Hosts,
}

impl ProviderName {
    /// Every provider with its name.
    pub const WORDS: [(Self, &'static str); 4] = [
        (Self::Aws, "aws"),
        (Self::Gcp, "gcp"),
        (Self::Azure, "azure"),
        (Self::Hosts, "hosts"),
    ];

    /// The name.
    pub fn as_str(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(provider, _)| *provider == self)
            .map_or("", |(_, word)| word)
    }
}

/// A word that names no provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown provider '{0}': use aws, gcp, azure or hosts")]
pub struct UnknownProviderName(pub String);

impl FromStr for ProviderName {
    type Err = UnknownProviderName;

    fn from_str(word: &str) -> Result<Self, UnknownProviderName> {
        let found = Self::WORDS.iter().find(|(_, known)| known.eq_ignore_ascii_case(word));
        found
            .map(|(provider, _)| *provider)
            .ok_or_else(|| UnknownProviderName(word.to_owned()))
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Regions by country (ISO 3166-1 alpha-2), from the providers' own lists of regions. Names do not clash between providers, except
/// where they mean the same country.
const COUNTRIES: [(&str, &[&str]); 38] = [
    ("AE", &["me-central-1", "uaenorth", "uaecentral"]),
    ("AT", &["austriaeast"]),
    (
        "AU",
        &[
            "ap-southeast-2",
            "ap-southeast-4",
            "australia-southeast1",
            "australia-southeast2",
            "australiaeast",
            "australiasoutheast",
            "australiacentral",
            "australiacentral2",
        ],
    ),
    ("BE", &["europe-west1", "belgiumcentral"]),
    ("BH", &["me-south-1"]),
    (
        "BR",
        &["sa-east-1", "southamerica-east1", "brazilsouth", "brazilsoutheast"],
    ),
    (
        "CA",
        &[
            "ca-central-1",
            "ca-west-1",
            "northamerica-northeast1",
            "northamerica-northeast2",
            "canadacentral",
            "canadaeast",
        ],
    ),
    (
        "CH",
        &["eu-central-2", "europe-west6", "switzerlandnorth", "switzerlandwest"],
    ),
    (
        "CN",
        &[
            "cn-north-1",
            "cn-northwest-1",
            "chinaeast",
            "chinaeast2",
            "chinaeast3",
            "chinanorth",
            "chinanorth2",
            "chinanorth3",
        ],
    ),
    ("CL", &["southamerica-west1", "chilecentral"]),
    (
        "DE",
        &[
            "eu-central-1",
            "eusc-de-east-1",
            "europe-west3",
            "europe-west10",
            "germanywestcentral",
            "germanynorth",
        ],
    ),
    ("DK", &["denmarkeast"]),
    ("ES", &["eu-south-2", "europe-southwest1", "spaincentral"]),
    ("FI", &["europe-north1"]),
    ("FR", &["eu-west-3", "europe-west9", "francecentral", "francesouth"]),
    ("GB", &["eu-west-2", "europe-west2", "uksouth", "ukwest"]),
    ("HK", &["ap-east-1", "asia-east2", "eastasia"]),
    ("ID", &["ap-southeast-3", "asia-southeast2", "indonesiacentral"]),
    ("IE", &["eu-west-1", "northeurope"]),
    ("IL", &["il-central-1", "me-west1", "israelcentral"]),
    (
        "IN",
        &[
            "ap-south-1",
            "ap-south-2",
            "asia-south1",
            "asia-south2",
            "centralindia",
            "southindia",
            "westindia",
            "jioindiawest",
            "jioindiacentral",
        ],
    ),
    ("IT", &["eu-south-1", "europe-west8", "europe-west12", "italynorth"]),
    (
        "JP",
        &[
            "ap-northeast-1",
            "ap-northeast-3",
            "asia-northeast1",
            "asia-northeast2",
            "japaneast",
            "japanwest",
        ],
    ),
    (
        "KR",
        &["ap-northeast-2", "asia-northeast3", "koreacentral", "koreasouth"],
    ),
    ("MX", &["mx-central-1", "northamerica-south1", "mexicocentral"]),
    ("MY", &["ap-southeast-5", "malaysiawest"]),
    ("NL", &["europe-west4", "westeurope"]),
    ("NO", &["norwayeast", "norwaywest"]),
    ("NZ", &["ap-southeast-6", "newzealandnorth"]),
    ("PL", &["europe-central2", "polandcentral"]),
    ("QA", &["me-central1", "qatarcentral"]),
    ("SA", &["me-central2"]),
    ("SE", &["eu-north-1", "europe-north2", "swedencentral", "swedensouth"]),
    ("SG", &["ap-southeast-1", "asia-southeast1", "southeastasia"]),
    ("TH", &["ap-southeast-7"]),
    ("TW", &["ap-east-2", "asia-east1"]),
    (
        "US",
        &[
            "us-east-1",
            "us-east-2",
            "us-west-1",
            "us-west-2",
            "us-gov-east-1",
            "us-gov-west-1",
            "us-central1",
            "us-central2",
            "us-east1",
            "us-east4",
            "us-east5",
            "us-east7",
            "us-south1",
            "us-west1",
            "us-west2",
            "us-west3",
            "us-west4",
            "us-west8",
            "eastus",
            "eastus2",
            "centralus",
            "northcentralus",
            "southcentralus",
            "westcentralus",
            "westus",
            "westus2",
            "westus3",
            "usgovarizona",
            "usgovtexas",
            "usgovvirginia",
        ],
    ),
    (
        "ZA",
        &["af-south-1", "africa-south1", "southafricanorth", "southafricawest"],
    ),
];

/// Groups of countries that data may have to stay in.
const BLOCS: [(&str, &[&str]); 2] = [
    (
        "EU",
        &[
            "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU",
            "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
        ],
    ),
    (
        "EEA",
        &[
            "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT", "LI",
            "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
        ],
    ),
];

/// Continents as data is charged between them, by country.
const CONTINENTS: [(&str, &[&str]); 6] = [
    ("AF", &["ZA"]),
    (
        "AS",
        &[
            "AE", "BH", "CN", "HK", "ID", "IL", "IN", "JP", "KR", "MY", "QA", "SA", "SG", "TH", "TW",
        ],
    ),
    (
        "EU",
        &[
            "AT", "BE", "CH", "DE", "DK", "ES", "FI", "FR", "GB", "IE", "IT", "NL", "NO", "PL", "SE",
        ],
    ),
    ("NA", &["CA", "MX", "US"]),
    ("OC", &["AU", "NZ"]),
    ("SA", &["BR", "CL"]),
];

/// The continent of a country that has regions.
pub fn continent_of(country: &str) -> Option<&'static str> {
    let found = CONTINENTS.iter().find(|(_, countries)| countries.contains(&country));
    found.map(|(continent, _)| *continent)
}

/// The country of a region, where it is known.
pub fn country_of(region: &str) -> Option<&'static str> {
    let found = COUNTRIES.iter().find(|(_, regions)| regions.contains(&region));
    found.map(|(country, _)| *country)
}

/// Whether `place` (a country or a bloc) holds that country.
pub fn holds(place: &str, country: &str) -> bool {
    place.eq_ignore_ascii_case(country) || members(place).is_some_and(|members| members.contains(&country))
}

/// The countries of a bloc.
pub fn members(bloc: &str) -> Option<&'static [&'static str]> {
    let found = BLOCS.iter().find(|(name, _)| name.eq_ignore_ascii_case(bloc));
    found.map(|(_, members)| *members)
}

/// Whether that is a bloc, or a country's code by its form.
pub fn is_place(text: &str) -> bool {
    members(text).is_some() || (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_have_one_country() {
        let mut seen = std::collections::BTreeSet::new();
        for region in COUNTRIES.iter().flat_map(|(_, regions)| regions.iter()) {
            assert!(seen.insert(region), "{region} is listed twice");
        }
        for (country, _) in COUNTRIES {
            assert!(continent_of(country).is_some(), "{country}");
        }
    }

    #[test]
    fn blocs_hold_their_countries() {
        assert!(holds("EU", "DE") && holds("eu", "IE") && holds("EEA", "NO") && holds("US", "US"));
        assert!(!holds("EU", "NO") && !holds("EU", "GB") && !holds("DE", "FR"));
        assert_eq!(country_of("eu-central-1"), Some("DE"));
        assert_eq!(country_of("moon-1"), None);
        assert!(is_place("EEA") && is_place("us") && !is_place("Europe"));
    }
}
