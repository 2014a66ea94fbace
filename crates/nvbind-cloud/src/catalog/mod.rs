//! What can be rented: GPU machines with their figures, each figure with its source and date.

mod alias;
mod day;
mod gpu;
mod instance;
mod offer;
mod region;

pub use alias::{Known, UnknownInstance};
pub use day::Day;
pub use gpu::{Gpu, GpuModel, MODELS, UnknownGpu, find_gpu};
pub use instance::{Instance, Price, Status};
pub use offer::{Arch, Market, Offer, UnknownArch};
pub use region::{ProviderName, UnknownProviderName, continent_of, country_of, holds, is_place, members};

/// The machines known when this was built.
const EMBEDDED: &str = include_str!("instances.csv");

/// What can be rented.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalog {
    instances: Vec<Instance>,
}

/// A catalog that cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("catalog, entry {entry}: {why}")]
pub struct CatalogError {
    /// Which entry, from 1 on.
    pub entry: usize,
    /// What is wrong with it.
    pub why: String,
}

impl CatalogError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        1
    }
}

impl Catalog {
    /// The catalog that is part of the program.
    pub fn embedded() -> Result<Self, CatalogError> {
        Self::from_csv(EMBEDDED)
    }

    /// Reads a catalog: one machine a line, the columns as in `instances.csv`.
    pub fn from_csv(text: &str) -> Result<Self, CatalogError> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let mut instances = Vec::new();
        for (index, row) in reader.deserialize().enumerate() {
            let error = |why| CatalogError { entry: index + 1, why };
            let row = row.map_err(|why: csv::Error| error(why.to_string()))?;
            instances.push(Instance::from_row(row).map_err(error)?);
        }
        Ok(Self { instances })
    }

    /// Every machine, the retired ones too.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// What can be rented now: a retired machine is not offered, a price on demand that cannot be bought neither.
    pub fn offers(&self) -> Vec<Offer> {
        self.instances.iter().flat_map(Instance::offers).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        Catalog::embedded().unwrap()
    }

    #[test]
    fn every_machine_is_embedded_and_every_price_has_a_source() {
        let catalog = catalog();
        let count = |provider| {
            catalog
                .instances()
                .iter()
                .filter(|instance| instance.provider == provider)
                .count()
        };
        assert_eq!(
            [
                count(ProviderName::Aws),
                count(ProviderName::Gcp),
                count(ProviderName::Azure)
            ],
            [68, 40, 25]
        );
        for instance in catalog.instances() {
            assert!(!instance.source.is_empty(), "{}", instance.instance_type);
            assert!(
                instance.spot.is_none() || !instance.spot_source.is_empty(),
                "{}",
                instance.instance_type
            );
        }
    }

    #[test]
    fn prices_are_sane() {
        for offer in catalog().offers() {
            assert!(offer.usd_h > 0.0 && offer.usd_h < 200.0, "{offer:?}");
            assert!(country_of(&offer.region).is_some(), "{offer:?}");
            let [fraction, counts] = [[0.125, 0.25, 0.5, 0.1667, 0.3333], [1.0, 2.0, 4.0, 8.0, 16.0]];
            assert!(
                fraction.contains(&offer.gpus) || counts.contains(&offer.gpus),
                "{offer:?}"
            );
        }
        for instance in catalog().instances() {
            if let (Some(demand), Some(spot)) = (&instance.on_demand, &instance.spot) {
                assert!(spot.usd_h < demand.usd_h, "{}", instance.instance_type);
            }
        }
    }

    #[test]
    fn the_founding_names_mean_what_they_truly_are() {
        let catalog = catalog();
        let known = |name: &str| catalog.instance(name).unwrap_or_else(|error| panic!("{error}"));
        for retired in ["p3.2xlarge", "p3.8xlarge", "NC6s_v3", "NC24s_v3"] {
            let known = known(retired);
            assert_eq!(known.instance.status, Status::Retired, "{retired}");
            assert!(known.note.is_some_and(|note| note.contains("no longer")), "{retired}");
            assert!(
                catalog
                    .offers()
                    .iter()
                    .all(|offer| offer.instance_type != known.instance.instance_type)
            );
        }
        let v100 = known("n1-highmem-8-v100-1");
        assert_eq!(v100.instance.instance_type, "n1-highmem-8+1xnvidia-tesla-v100");
        assert!(v100.note.is_some_and(|note| note.contains("no such machine type")));
        for current in [
            "p4d.24xlarge",
            "g5.xlarge",
            "a2-highgpu-1g",
            "ND96asr_v4",
            "NC4as_T4_v3",
        ] {
            assert_eq!(known(current).note, None, "{current}");
        }
        assert_eq!(known("ND96asr_v4").instance.gpu.name(), "A100-40GB");
    }

    #[test]
    fn an_unknown_machine_suggests_the_nearest() {
        let error = catalog().instance("p5.48xlrge").unwrap_err();
        assert_eq!(error.nearest, "p5.48xlarge");
    }

    #[test]
    fn a_bad_entry_is_named() {
        let text = EMBEDDED.lines().take(3).collect::<Vec<_>>().join("\n");
        let bad = Catalog::from_csv(&text.replacen("V100-16GB", "V9000", 2));
        assert!(
            bad.as_ref()
                .is_err_and(|error| error.entry == 1 && error.why.contains("V9000")),
            "{bad:?}"
        );
        assert!(Catalog::from_csv(&text.replacen("aws", "aws2", 1)).is_err());
    }
}
