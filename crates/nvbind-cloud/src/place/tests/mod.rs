//! Placement of single workloads.

mod block;
mod look;
mod optimum;

use super::testing::offer;
use super::*;
use crate::catalog::Market;
use crate::requirements::{Data, SpotUse, Strategy, Weights};

/// A few machines with one or more GPUs at three clouds.
fn market() -> Vec<Offer> {
    [
        "aws us-east-1 g5.xlarge on-demand 1.006",
        "aws us-east-1/us-east-1a g5.xlarge spot 0.40",
        "aws us-east-1/us-east-1b g5.xlarge spot 0.45",
        "aws eu-west-1 g5.xlarge on-demand 1.123",
        "aws us-east-1 g5.12xlarge on-demand 5.672",
        "gcp us-central1 g2-standard-4 on-demand 0.707",
        "gcp us-central1/us-central1-a g2-standard-4 spot 0.283",
        "gcp europe-west4 g2-standard-4 on-demand 0.78",
        "azure eastus Standard_NC4as_T4_v3 on-demand 0.526",
        "aws us-east-1 p5.4xlarge on-demand 6.88",
    ]
    .map(offer)
    .to_vec()
}

fn needs() -> Requirements {
    Requirements {
        work_hours: Some(10.0),
        ..Requirements::default()
    }
}

fn names(offers: &[Offer], placement: &Placement) -> Vec<String> {
    let choices = placement.choices.iter();
    choices
        .map(|choice| {
            let offer = &offers[choice.offer];
            format!("{} {} {}", offer.instance_type, offer.region, offer.market.as_str())
        })
        .collect()
}

fn first(needs: &Requirements, facts: &Facts<'_>) -> String {
    let offers = market();
    let placement = place(needs, &offers, facts, 1).unwrap();
    names(&offers, &placement).first().cloned().unwrap_or_default()
}

fn refusal(needs: &Requirements, facts: &Facts<'_>, instance_type: &str, market_: Market) -> String {
    let offers = market();
    let index = OfferIndex::new(&offers[..]);
    let (_, refused) = Survey::new(&index, facts).explain(needs).unwrap();
    let mut same: Vec<_> = refused
        .iter()
        .filter(|refused| {
            let offer = &offers[refused.offer];
            offer.instance_type == instance_type && offer.market == market_
        })
        .collect();
    // The first of the list, however near the others come.
    same.sort_by_key(|refused| refused.offer);
    same.first()
        .map(|refused| refused.refusal.to_string())
        .unwrap_or_default()
}

#[test]
fn the_lowest_expected_cost_comes_first() {
    let facts = Facts::default();
    assert_eq!(first(&needs(), &facts), "g2-standard-4 us-central1 spot");
    let never = Requirements {
        spot: SpotUse::Never,
        ..needs()
    };
    assert_eq!(first(&never, &facts), "Standard_NC4as_T4_v3 eastus on-demand");
    let a10 = Requirements {
        gpu_types: vec!["A10G".to_owned()],
        ..needs()
    };
    assert_eq!(first(&a10, &facts), "g5.xlarge us-east-1 spot");
}

#[test]
fn cost_is_all_of_it() {
    let offers = market();
    let needs = Requirements {
        instance_types: vec!["g5.xlarge".to_owned()],
        spot: SpotUse::Never,
        regions: vec!["us-east-1".to_owned()],
        nodes: 2,
        disk_gib: 730,
        data: Some(Data {
            gib: 1000.0,
            provider: ProviderName::Aws,
            region: "us-west-2".to_owned(),
        }),
        ..needs()
    };
    let placement = place(&needs, &offers, &Facts::default(), 1).unwrap();
    let cost = placement.choices[0].cost;
    // Two machines with 730 GiB at 0.08 a month and an address each.
    let usd_h = 2.0 * (1.006 + 0.08 + 0.005);
    let hours = 101.0 / 3600.0 + 1000.0 * 8.0 * 1.073_741_824 / 10.0 / 3600.0 + 10.0;
    assert!((cost.usd_h - usd_h).abs() < 1e-9, "{cost:?}");
    assert!((cost.hours - hours).abs() < 1e-9, "{cost:?}");
    assert!((cost.job_usd - (usd_h * hours + 20.0)).abs() < 1e-9, "{cost:?}");
    assert!((cost.weighted_usd - cost.job_usd / 0.95).abs() < 1e-9, "{cost:?}");
}

#[test]
fn what_was_seen_changes_the_choice() {
    let bad = History {
        provider: ProviderName::Gcp,
        region: "us-central1".to_owned(),
        zone: Some("us-central1-a".to_owned()),
        instance_type: "g2-standard-4".to_owned(),
        market: Market::Spot,
        orders: 40,
        refused: 38,
        hours: 10.0,
        lost: 8,
        setup_seconds: Some(90.0),
    };
    let facts = Facts {
        history: &[bad],
        ..Facts::default()
    };
    assert_eq!(first(&needs(), &facts), "g5.xlarge us-east-1 spot");
}

#[test]
fn blocks_and_quotas_keep_offers_out() {
    let offers = market();
    let error = crate::provider::ProviderError::new(
        crate::provider::ErrorClass::NoCapacity,
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "none left",
    );
    let blocks = [Block::of(&error, &offers[6], None, 1000).unwrap()];
    let quotas = [(
        ProviderName::Aws,
        Quota {
            name: "L-3819A6DF".to_owned(),
            title: "All G and VT Spot Instance Requests".to_owned(),
            region: "us-east-1".to_owned(),
            instance_types: vec!["g5.xlarge".to_owned(), "g5.12xlarge".to_owned()],
            market: Some(Market::Spot),
            unit: crate::provider::QuotaUnit::Vcpus,
            limit: 8.0,
            used: 5.0,
        },
    )];
    let mut facts = Facts {
        now: 1001,
        blocks: &blocks,
        quotas: &quotas,
        ..Facts::default()
    };
    let spot = Requirements {
        spot: SpotUse::Only,
        ..needs()
    };
    assert_eq!(first(&spot, &facts), "");
    assert_eq!(
        refusal(&spot, &facts, "g2-standard-4", Market::Spot),
        "blocked until 1970-01-01 00:46 UTC because ZONE_RESOURCE_POOL_EXHAUSTED"
    );
    assert_eq!(
        refusal(&spot, &facts, "g5.xlarge", Market::Spot),
        "quota 3 of 4 vCPUs in L-3819A6DF"
    );
    facts.now = 1000 + 1800;
    assert_eq!(first(&spot, &facts), "g2-standard-4 us-central1 spot");
}

#[test]
fn every_offer_is_chosen_or_refused_with_a_reason() {
    let offers = market();
    let latencies = [Latency {
        provider: ProviderName::Aws,
        region: "us-east-1".to_owned(),
        site: "vienna".to_owned(),
        ms: 110.0,
    }];
    let facts = Facts {
        latencies: &latencies,
        stale_days: Some(0),
        now: 86_400 * 30_000,
        ..Facts::default()
    };
    let needs = [
        Requirements {
            gpu_types: vec!["A10G".to_owned()],
            gpus: 2.0,
            ..needs()
        },
        Requirements {
            max_latency_ms: Some(50.0),
            ..needs()
        },
        Requirements {
            residency: vec!["EU".to_owned()],
            budget_usd: Some(1.0),
            ..needs()
        },
        Requirements {
            compute_capability: Some(89),
            zones: vec!["us-central1-a".to_owned()],
            ..needs()
        },
        needs(),
    ];
    let index = OfferIndex::new(&offers[..]);
    for needs in &needs {
        let (choices, refused) = Survey::new(&index, &facts).explain(needs).unwrap();
        let mut seen: Vec<usize> = choices.iter().map(|choice| choice.offer).collect();
        seen.extend(refused.iter().map(|refused| refused.offer));
        seen.sort_unstable();
        assert_eq!(seen, (0..offers.len()).collect::<Vec<_>>(), "{needs:?}");
    }
    for (at, market, why) in [
        (0, Market::OnDemand, "has 1 of 2 GPUs"),
        (1, Market::OnDemand, "110 ms from vienna, not 50"),
        (2, Market::OnDemand, "data may not be in US (us-east-1), only in EU"),
        (3, Market::OnDemand, "compute capability is 8.6, not 8.9 or newer"),
        (4, Market::OnDemand, "price is of 2026-07-20, older than 0 days"),
    ] {
        let refusal = refusal(&needs[at], &facts, "g5.xlarge", market);
        assert_eq!(refusal, why);
    }
}

#[test]
fn an_arm_machine_does_not_run_what_is_built_for_x86() {
    let offers = [offer("aws us-east-1 g5g.xlarge on-demand 0.42")];
    let index = OfferIndex::new(&offers[..]);
    let facts = Facts::default();
    let (_, refused) = Survey::new(&index, &facts).explain(&needs()).unwrap();
    assert_eq!(refused[0].refusal.to_string(), "CPUs are arm64, not x86_64");
    let any = Requirements { arch: None, ..needs() };
    assert_eq!(Survey::new(&index, &facts).place(&any, 1).unwrap().choices.len(), 1);
}

#[test]
fn a_zone_that_was_asked_for_is_ordered_where_the_offer_leaves_it_open() {
    let offers = market();
    let needs = Requirements {
        zones: vec!["us-east-1c".to_owned()],
        ..needs()
    };
    let placement = place(&needs, &offers, &Facts::default(), 9).unwrap();
    assert!(!placement.choices.is_empty());
    for choice in &placement.choices {
        assert_eq!(choice.zone.as_deref(), Some("us-east-1c"));
        assert_eq!(offers[choice.offer].region, "us-east-1");
    }
}

#[test]
fn providers_take_turns() {
    let offers = market();
    let needs = Requirements {
        strategy: Strategy::RoundRobin,
        ..needs()
    };
    let order = |turn| {
        let facts = Facts {
            turn,
            ..Facts::default()
        };
        let placement = place(&needs, &offers, &facts, 4).unwrap();
        let choices = placement.choices.iter();
        choices
            .map(|choice| offers[choice.offer].provider.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(order(0), ["aws", "gcp", "azure", "aws"]);
    assert_eq!(order(1), ["gcp", "azure", "aws", "gcp"]);
    assert_eq!(order(5), ["azure", "aws", "gcp", "aws"]);
}

#[test]
fn the_job_fills_the_machine() {
    let needs = Requirements {
        strategy: Strategy::GpuUtilization,
        gpus: 4.0,
        ..needs()
    };
    assert_eq!(first(&needs, &Facts::default()), "g5.12xlarge us-east-1 on-demand");
    let memory = Requirements {
        gpus: 1.0,
        gpu_memory_gib: Some(70.0),
        ..needs
    };
    assert_eq!(first(&memory, &Facts::default()), "p5.4xlarge us-east-1 on-demand");
}

#[test]
fn weights_decide() {
    let weigh = |weights| Requirements {
        strategy: Strategy::HybridBalanced,
        weights,
        ..needs()
    };
    let none = Weights {
        cost: 0.0,
        performance: 0.0,
        latency: 0.0,
        availability: 0.0,
        compliance: 0.0,
    };
    let facts = Facts::default();
    let cost = weigh(Weights { cost: 1.0, ..none });
    assert_eq!(first(&cost, &facts), first(&needs(), &facts));
    let fast = weigh(Weights {
        performance: 1.0,
        ..none
    });
    assert_eq!(first(&fast, &facts), "p5.4xlarge us-east-1 on-demand");
    let near = [("us-east-1", 80.0), ("eu-west-1", 20.0)].map(|(region, ms)| Latency {
        provider: ProviderName::Aws,
        region: region.to_owned(),
        site: "vienna".to_owned(),
        ms,
    });
    let measured = Facts {
        latencies: &near,
        ..Facts::default()
    };
    let latency = weigh(Weights { latency: 1.0, ..none });
    assert_eq!(first(&latency, &measured), "g5.xlarge eu-west-1 on-demand");
    let stays = weigh(Weights {
        availability: 1.0,
        cost: 0.001,
        ..none
    });
    assert_eq!(first(&stays, &facts), "Standard_NC4as_T4_v3 eastus on-demand");
    let error = place(&weigh(none), &market(), &facts, 1).unwrap_err();
    assert_eq!(error.exit_code(), 2);
}

/// A host of the user's with that GPU machine's figures.
fn host(name: &str) -> Offer {
    Offer {
        provider: ProviderName::Hosts,
        region: "AT".to_owned(),
        instance_type: name.to_owned(),
        date: None,
        ..offer("aws us-east-1 g5.xlarge on-demand 0.6")
    }
}

#[test]
fn own_hosts_come_first_until_a_cloud_is_cheap_enough() {
    let mut offers = market();
    offers.push(host("cellar"));
    let mut facts = Facts::default();
    let first = |needs: &Requirements, facts: &Facts<'_>| {
        let placement = place(needs, &offers, facts, 1).unwrap();
        offers[placement.choices[0].offer].instance_type.clone()
    };
    assert_eq!(first(&needs(), &facts), "cellar");
    facts.burst_below = 0.3;
    assert_eq!(first(&needs(), &facts), "cellar");
    facts.burst_below = 0.7;
    assert_eq!(first(&needs(), &facts), "g2-standard-4");
    facts.host_usd_h = Some(0.05);
    assert_eq!(first(&needs(), &facts), "cellar");
    let four = Requirements { gpus: 4.0, ..needs() };
    assert_eq!(first(&four, &facts), "g5.12xlarge");
    let here = Requirements {
        residency: vec!["AT".to_owned()],
        ..needs()
    };
    assert_eq!(first(&here, &facts), "cellar");
}

#[test]
fn contradictions_are_named_as_a_pair() {
    let one = |name: &str| vec![name.to_owned()];
    for (needs, message) in [
        (
            Requirements {
                residency: one("EU"),
                regions: one("us-east-1"),
                ..needs()
            },
            "residency EU and region us-east-1 contradict each other: us-east-1 is in US",
        ),
        (
            Requirements {
                spot: SpotUse::Only,
                providers: vec![ProviderName::Hosts],
                ..needs()
            },
            "spot only and provider hosts contradict each other: your own hosts are not sold on spot",
        ),
        (
            Requirements {
                instance_types: one("g5.xlarge"),
                gpu_types: one("H100"),
                ..needs()
            },
            "machine type g5.xlarge and GPU type H100 contradict each other",
        ),
        (
            Requirements {
                gpu_types: one("T4"),
                gpu_memory_gib: Some(40.0),
                ..needs()
            },
            "GPU type T4 and GPU memory of 40 GiB contradict each other",
        ),
        (
            Requirements {
                providers: vec![ProviderName::Gcp],
                regions: one("us-east-1"),
                ..needs()
            },
            "provider gcp and region us-east-1 contradict each other",
        ),
        (
            Requirements {
                deadline_hours: Some(9.0),
                ..needs()
            },
            "a deadline of 9 h and 10 h of work contradict each other: the work alone takes longer",
        ),
        (
            Requirements {
                gpu_types: one("H100"),
                max_price_usd_h: Some(5.0),
                ..needs()
            },
            "GPU type H100 and a price of at most 5 USD/h contradict each other: the cheapest that fits is p5.4xlarge in us-east-1 \
             (on-demand) at 6.880 USD/h",
        ),
        (
            Requirements {
                budget_usd: Some(2.0),
                ..needs()
            },
            "a budget of 2 USD and the other requirements contradict each other: the cheapest that fits is g2-standard-4 in us-central1 \
             (spot) at 3.01 USD for 10.1 h",
        ),
    ] {
        let error = place(&needs, &market(), &Facts::default(), 1).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn what_is_not_there_is_no_contradiction() {
    let needs = Requirements {
        regions: vec!["us-esat-1".to_owned()],
        ..needs()
    };
    let error = place(&needs, &market(), &Facts::default(), 1).unwrap_err();
    assert!(error.to_string().contains("is us-east-1;"), "{error}");
    assert_eq!(error.exit_code(), 4);
    let needs = Requirements {
        gpu_types: vec!["H10".to_owned()],
        ..needs
    };
    let error = place(&needs, &market(), &Facts::default(), 1).unwrap_err();
    assert!(error.to_string().contains("did you mean H100?"), "{error}");
    assert_eq!(
        place(&Requirements::default(), &[], &Facts::default(), 1)
            .unwrap()
            .choices,
        []
    );
}

#[test]
fn the_catalog_knows_what_is_not_rented_out() {
    let catalog = crate::catalog::Catalog::embedded().unwrap();
    let v100 = Requirements {
        gpu_types: vec!["V100-16GB".to_owned()],
        ..needs()
    };
    let missing = missing(&catalog, &v100).unwrap();
    let found = missing
        .iter()
        .find(|(offer, _)| offer.instance_type == "Standard_NC6s_v3");
    assert!(found.is_some_and(|(_, why)| why.word() == "retired"), "{missing:?}");
    assert!(missing.iter().all(|(offer, _)| offer.gpu.name() == "V100-16GB"));
}
