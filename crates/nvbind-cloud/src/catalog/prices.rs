//! Prices as the providers told them, kept in a file.

use super::{Catalog, Day, Instance, Market, Offer, ProviderName, Status};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of the file in the state folder.
pub const PRICES_FILE: &str = "prices.json";

/// Version of the file's form.
const VERSION: u32 = 1;

/// Prices as the providers told them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    version: u32,
    /// Regions that were asked about, and when.
    pub fetched: Vec<Fetched>,
    /// The prices.
    pub quotes: Vec<Quote>,
}

/// A region that was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Provider.
    pub provider: ProviderName,
    /// Region.
    pub region: String,
    /// Seconds since 1970.
    pub at: u64,
}

/// A price as a provider told it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// Provider.
    pub provider: ProviderName,
    /// The machine type, as the catalog names it.
    pub instance_type: String,
    /// Region.
    pub region: String,
    /// Zone, where the price is that zone's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// How it is sold.
    pub market: Market,
    /// USD an hour.
    pub usd_h: f64,
    /// Seconds since 1970 at which the provider said so.
    pub at: u64,
}

/// A file of prices that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// It cannot be read or written.
    #[error("cannot {verb} prices '{}': {source}", path.display())]
    File {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no file of prices.
    #[error("prices '{}' are of another kind: {why}; `nvbind cloud catalog refresh` makes a new one once it is removed", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl PricesError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => 3,
            _ => 1,
        }
    }
}

impl Prices {
    /// Reads the file in the state folder; no prices where there is none.
    pub fn read(state: &Path) -> Result<Self, PricesError> {
        let path = state.join(PRICES_FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|source| PricesError::File {
                verb: "read",
                path: path.clone(),
                source,
            })?,
        };
        let form = |why| PricesError::Form {
            path: path.clone(),
            why,
        };
        let prices: Self = serde_json::from_str(&text).map_err(|error| form(error.to_string()))?;
        match prices.version {
            VERSION => Ok(prices),
            other => Err(form(format!("version {other}, this nvbind writes {VERSION}"))),
        }
    }

    /// Writes the file in the state folder, mode 0600: readers see the old one or the new one, whole.
    pub fn write(&self, state: &Path) -> Result<(), PricesError> {
        let path = state.join(PRICES_FILE);
        let temporary = state.join(format!(".{PRICES_FILE}.{}", std::process::id()));
        let prices = Self {
            version: VERSION,
            ..self.clone()
        };
        let written = fs::create_dir_all(state)
            .and_then(|()| fill(&temporary, &prices))
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| File::open(state)?.sync_all());
        written.map_err(|source| {
            // Nothing half-written stays; the first error is the one to tell.
            let _ = fs::remove_file(&temporary);
            PricesError::File {
                verb: "write",
                path,
                source,
            }
        })
    }

    /// When a region was asked about.
    pub fn fetched_at(&self, provider: ProviderName, region: &str) -> Option<u64> {
        let mut fetched = self.fetched.iter();
        let found = fetched.find(|fetched| fetched.provider == provider && fetched.region == region);
        found.map(|fetched| fetched.at)
    }
}

fn fill(path: &Path, prices: &Prices) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(serde_json::to_string(prices)?.as_bytes())?;
    file.sync_all()
}

impl Catalog {
    /// What can be rented, at the prices that the providers told: one offer for each price. In regions that nobody asked about, the
    /// catalog's own prices hold.
    pub fn offers_with(&self, prices: &Prices) -> Vec<Offer> {
        let known: HashMap<(ProviderName, &str), &Instance> = self
            .instances()
            .iter()
            .map(|instance| ((instance.provider, instance.instance_type.as_str()), instance))
            .collect();
        let fetched: HashSet<(ProviderName, &str)> = prices
            .fetched
            .iter()
            .map(|fetched| (fetched.provider, fetched.region.as_str()))
            .collect();
        let quoted = prices.quotes.iter().filter_map(|quote| {
            let instance = known.get(&(quote.provider, quote.instance_type.as_str()))?;
            instance.is_sold(quote.market).then(|| quote.offer(instance))
        });
        let own = self.offers().into_iter();
        let own = own.filter(|offer| !fetched.contains(&(offer.provider, offer.region.as_str())));
        quoted.chain(own).collect()
    }
}

impl Quote {
    fn offer(&self, instance: &Instance) -> Offer {
        Offer {
            region: self.region.clone(),
            zone: self.zone.clone(),
            usd_h: self.usd_h,
            date: Some(Day::of_unix(self.at)),
            ..instance.unsold(self.market)
        }
    }
}

impl Instance {
    /// Whether it is sold that way at all, whatever is known of its price.
    pub fn is_sold(&self, market: Market) -> bool {
        match self.status {
            Status::Current => true,
            Status::Restricted => market == Market::Spot,
            Status::Retired => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn quote(instance_type: &str, region: &str, zone: Option<&str>, market: Market, usd_h: f64) -> Quote {
        Quote {
            provider: ProviderName::Aws,
            instance_type: instance_type.to_owned(),
            region: region.to_owned(),
            zone: zone.map(str::to_owned),
            market,
            usd_h,
            at: 1_796_000_000,
        }
    }

    fn prices() -> Prices {
        Prices {
            version: VERSION,
            fetched: vec![Fetched {
                provider: ProviderName::Aws,
                region: "us-east-1".to_owned(),
                at: 1_796_000_000,
            }],
            quotes: vec![
                quote("g5.xlarge", "us-east-1", None, Market::OnDemand, 1.1),
                quote("g5.xlarge", "us-east-1", Some("us-east-1a"), Market::Spot, 0.4),
                quote("g5.xlarge", "us-east-1", Some("us-east-1b"), Market::Spot, 0.5),
                quote("p3.2xlarge", "us-east-1", None, Market::OnDemand, 3.06),
            ],
        }
    }

    #[test]
    fn there_is_an_offer_for_each_price_and_none_of_what_is_retired() {
        let catalog = Catalog::embedded().unwrap();
        let offers = catalog.offers_with(&prices());
        let here: Vec<&Offer> = offers
            .iter()
            .filter(|offer| offer.provider == ProviderName::Aws && offer.region == "us-east-1")
            .collect();
        assert_eq!(here.len(), 3);
        assert!(here.iter().all(|offer| offer.instance_type == "g5.xlarge"));
        let spot = here
            .iter()
            .find(|offer| offer.zone.as_deref() == Some("us-east-1b"))
            .unwrap();
        assert!((spot.usd_h - 0.5).abs() < 1e-9 && spot.market == Market::Spot);
        assert_eq!(spot.date, Some(Day::of_unix(1_796_000_000)));
        assert!(spot.interruptions_per_hour.is_some());
        // Nobody asked about the others.
        assert!(offers.iter().any(|offer| offer.provider == ProviderName::Gcp));
        assert_eq!(catalog.offers_with(&Prices::default()), catalog.offers());
    }

    #[test]
    fn the_file_is_private_and_read_back() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("new");
        assert_eq!(Prices::read(&folder).unwrap(), Prices::default());
        prices().write(&folder).unwrap();
        assert_eq!(Prices::read(&folder).unwrap(), prices());
        let mode = fs::metadata(folder.join(PRICES_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        let state = tempfile::tempdir().unwrap();
        for text in ["", "[]", r#"{"version": 9, "fetched": [], "quotes": []}"#] {
            fs::write(state.path().join(PRICES_FILE), text).unwrap();
            let error = Prices::read(state.path()).unwrap_err();
            assert!(error.to_string().contains("of another kind"), "{error}");
        }
    }
}
