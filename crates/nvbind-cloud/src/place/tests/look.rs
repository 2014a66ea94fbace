//! One look over many offers finds what a look over all of them laid out finds.

use super::super::*;
use super::{host, needs};
use crate::catalog::Catalog;
use crate::requirements::{SpotUse, Strategy};

/// So many that one look does not lay out all of them: every machine of the catalog at many places, each at its own price, and hosts.
fn many() -> Vec<Offer> {
    let known = Catalog::embedded().unwrap().offers();
    let mut offers: Vec<Offer> = (0..6000)
        .map(|number: usize| {
            let offer = &known[number % known.len()];
            Offer {
                zone: Some(format!("{}-{}", offer.region, number / known.len())),
                usd_h: offer.usd_h * (0.7 + (number * 7919 % 1000) as f64 / 1000.0),
                ..offer.clone()
            }
        })
        .collect();
    for at in [100, 3000, 5500] {
        offers.insert(at, host(&format!("cellar-{at}")));
    }
    offers
}

fn workloads() -> Vec<Requirements> {
    let one = |name: &str| vec![name.to_owned()];
    vec![
        needs(),
        Requirements {
            gpu_types: one("H100"),
            ..needs()
        },
        Requirements {
            providers: vec![ProviderName::Azure, ProviderName::Gcp],
            spot: SpotUse::Never,
            ..needs()
        },
        // What is cheap is not there: the list has to grow.
        Requirements {
            zones: one("us-east-1-17"),
            ..needs()
        },
        Requirements {
            residency: one("JP"),
            ..needs()
        },
        Requirements {
            gpus: 8.0,
            nodes: 3,
            budget_usd: Some(2000.0),
            ..needs()
        },
    ]
}

#[test]
fn one_look_finds_what_all_offers_laid_out_have() {
    let offers = many();
    let index = OfferIndex::new(&offers[..]);
    let history = [History {
        provider: ProviderName::Gcp,
        region: "us-central1".to_owned(),
        zone: None,
        instance_type: "g2-standard-4".to_owned(),
        market: crate::catalog::Market::Spot,
        orders: 40,
        refused: 38,
        hours: 10.0,
        lost: 8,
        setup_seconds: Some(90.0),
    }];
    let rooms: Vec<u32> = (0..offers.len()).map(|at| at as u32 % 4).collect();
    for (burst_below, host_usd_h, rooms) in [(0.0, None, &[][..]), (0.5, Some(9.0), &rooms), (1.0, None, &[])] {
        let facts = Facts {
            burst_below,
            host_usd_h,
            rooms,
            history: &history,
            ..Facts::default()
        };
        let survey = Survey::new(&index, &facts);
        for (needs, (strategy, _)) in workloads()
            .iter()
            .flat_map(|needs| Strategy::WORDS.map(|word| (needs, word)))
        {
            let needs = Requirements {
                strategy,
                ..needs.clone()
            };
            for count in [0, 1, 7, 700] {
                let look = place(&needs, &offers, &facts, count);
                assert_eq!(look, survey.place(&needs, count), "{needs:?} {facts:?}");
            }
        }
    }
}
