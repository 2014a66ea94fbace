//! The chosen cost is that of the exact optimum: by brute force for one workload, by a solver for several that compete.

use super::super::assign::{Candidate, Problem};
use super::super::testing::offer;
use super::super::*;
use crate::catalog::{Catalog, Market};
use crate::provider::QuotaUnit;
use good_lp::{Expression, ProblemVariables, Solution, SolverModel, constraint, microlp, variable};
use proptest::prelude::*;

/// Offers of the catalog's machines at made-up places and prices.
fn offers() -> impl Strategy<Value = Vec<Offer>> {
    let catalog = Catalog::embedded().unwrap();
    let known = catalog.offers();
    let one = (0..known.len(), 0..3_usize, 0..3_usize, 0.3..1.5_f64).prop_map(move |(at, region, zone, factor)| {
        let offer = &known[at];
        let regions = match offer.provider {
            ProviderName::Gcp => ["us-central1", "europe-west4", "asia-east1"],
            ProviderName::Azure => ["eastus", "westeurope", "japaneast"],
            _ => ["us-east-1", "eu-central-1", "ap-northeast-1"],
        };
        Offer {
            region: regions[region].to_owned(),
            zone: (zone > 0).then(|| format!("{}-{zone}", regions[region])),
            usd_h: offer.usd_h * factor,
            ..offer.clone()
        }
    });
    prop::collection::vec(one, 1..60)
}

fn requirements() -> impl Strategy<Value = Requirements> {
    let models = prop::sample::select(vec!["", "A100", "T4", "L4", "H100", "A10G"]);
    (
        (models, prop::sample::select(vec![0.5, 1.0, 2.0, 8.0]), 1..4_u32),
        (0.5..200.0_f64, prop::option::of(0.5..40.0_f64), any::<bool>()),
        prop::option::of(0.0..5000.0_f64),
    )
        .prop_map(|((model, gpus, nodes), (work, max_price, is_eu), data)| Requirements {
            gpu_types: (!model.is_empty()).then(|| model.to_owned()).into_iter().collect(),
            gpus,
            nodes,
            work_hours: Some(work),
            max_price_usd_h: max_price,
            residency: is_eu.then(|| "EU".to_owned()).into_iter().collect(),
            data: data.map(|gib| crate::Data {
                gib,
                provider: ProviderName::Aws,
                region: "us-east-1".to_owned(),
            }),
            ..Requirements::default()
        })
}

fn quota(name: &str, types: &[&str], unit: QuotaUnit, limit: f64) -> (ProviderName, Quota) {
    let quota = Quota {
        name: name.to_owned(),
        title: name.to_owned(),
        region: String::new(),
        instance_types: types.iter().map(ToString::to_string).collect(),
        market: None,
        unit,
        limit,
        used: 0.0,
    };
    (ProviderName::Aws, quota)
}

/// The least cost by looking at every offer alone, each in a list of its own: no order, no bound, no short cut.
fn least_alone(needs: &Requirements, offers: &[Offer], facts: &Facts<'_>) -> Option<f64> {
    let alone = offers.iter().filter_map(|offer| {
        let placement = place(needs, std::slice::from_ref(offer), facts, 1).ok()?;
        Some(placement.choices.first()?.cost.weighted_usd)
    });
    alone.min_by(f64::total_cmp)
}

/// What an assignment costs, 1e9 for each workload without a place.
fn usd(problem: &Problem, picks: &[Option<usize>]) -> f64 {
    let picked = problem.jobs.iter().zip(picks);
    picked.map(|(job, pick)| pick.map_or(1e9, |pick| job[pick].usd)).sum()
}

/// The least cost by trying everything.
fn least_together(problem: &Problem, picks: &mut Vec<Option<usize>>) -> f64 {
    let Some(job) = problem.jobs.get(picks.len()) else {
        return usd(problem, picks);
    };
    let mut least = f64::INFINITY;
    for pick in std::iter::once(None).chain((0..job.len()).map(Some)) {
        picks.push(pick);
        if is_within(problem, picks) {
            least = least.min(least_together(problem, picks));
        }
        picks.pop();
    }
    least
}

/// The problem as an integer program, solved by another's code.
fn exact(problem: &Problem) -> f64 {
    let mut variables = ProblemVariables::new();
    let picks: Vec<Vec<_>> = problem
        .jobs
        .iter()
        .map(|job| job.iter().map(|_| variables.add(variable().binary())).collect())
        .collect();
    let pairs = || {
        let jobs = problem.jobs.iter().zip(&picks);
        jobs.flat_map(|(job, picks)| job.iter().zip(picks.iter().copied()))
    };
    // A workload without a place costs 1e9: that is a constant less what each place saves.
    let saved: Expression = pairs()
        .map(|(candidate, pick)| (1e9 - candidate.usd) / 1e6 * pick)
        .sum();
    let mut model = variables.maximise(saved).using(microlp);
    for job in &picks {
        let taken: Expression = job.iter().copied().sum();
        model = model.with(constraint!(taken <= 1.0));
    }
    for (resource, limit) in problem.limits.iter().enumerate() {
        let uses = pairs().flat_map(|(candidate, pick)| candidate.uses.iter().map(move |used| (used, pick)));
        let used: Expression = uses
            .filter(|((of, _), _)| *of == resource)
            .map(|((_, amount), pick)| *amount * pick)
            .sum();
        model = model.with(constraint!(used <= *limit));
    }
    let solution = model.solve().unwrap();
    let is_picked = |pick| solution.value(pick) > 0.5;
    let picked = picks
        .iter()
        .map(|job| job.iter().position(|pick| is_picked(*pick)))
        .collect::<Vec<_>>();
    usd(problem, &picked)
}

fn problem() -> impl Strategy<Value = Problem> {
    let resources = 3_usize;
    let candidate = (1.0..100.0_f64, prop::collection::btree_map(0..resources, 1..9_u8, 0..3));
    let job = prop::collection::vec(candidate, 0..5);
    let jobs = prop::collection::vec(job, 1..9);
    (jobs, prop::collection::vec(0..24_u8, resources)).prop_map(|(jobs, limits)| Problem {
        jobs: jobs
            .into_iter()
            .map(|job| {
                let mut job: Vec<Candidate> = job
                    .into_iter()
                    .map(|(usd, uses)| Candidate {
                        usd: (usd * 100.0).round() / 100.0,
                        uses: uses.into_iter().map(|(of, amount)| (of, f64::from(amount))).collect(),
                    })
                    .collect();
                job.sort_by(|a, b| a.usd.total_cmp(&b.usd));
                job
            })
            .collect(),
        limits: limits.into_iter().map(f64::from).collect(),
    })
}

/// Whether no resource is overdrawn.
fn is_within(problem: &Problem, picks: &[Option<usize>]) -> bool {
    let mut left = problem.limits.clone();
    for (job, pick) in problem.jobs.iter().zip(picks) {
        for (resource, amount) in pick.iter().flat_map(|pick| &job[*pick].uses) {
            left[*resource] -= amount;
        }
    }
    left.iter().all(|left| *left > -1e-6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn one_workload_gets_the_exact_optimum(offers in offers(), needs in requirements(), count in 1..5_usize) {
        let facts = Facts::default();
        let best = place(&needs, &offers, &facts, count).ok();
        let best = best.and_then(|placement| placement.choices.first().map(|choice| choice.cost.weighted_usd));
        prop_assert_eq!(best, least_alone(&needs, &offers, &facts));
    }

    #[test]
    fn a_short_list_is_the_beginning_of_the_long_one(offers in offers(), needs in requirements(), strategy in 0..4_usize) {
        let strategy = [
            crate::Strategy::CostAware,
            crate::Strategy::RoundRobin,
            crate::Strategy::GpuUtilization,
            crate::Strategy::HybridBalanced,
        ][strategy];
        let needs = Requirements { strategy, ..needs };
        let facts = Facts::default();
        let index = OfferIndex::new(&offers[..]);
        let survey = Survey::new(&index, &facts);
        if let Ok((all, refused)) = survey.explain(&needs) {
            prop_assert_eq!(all.len() + refused.len(), offers.len());
            let few = survey.place(&needs, 3).map(|placement| placement.choices).unwrap_or_default();
            prop_assert_eq!(&few[..], &all[..all.len().min(3)]);
        }
    }

    #[test]
    fn several_workloads_get_the_exact_optimum(problem in problem()) {
        let solved = problem.solve();
        prop_assert!(is_within(&problem, &solved.picks));
        prop_assert!(solved.is_optimal);
        // The solver's own answer is a little above the optimum now and then.
        let (ours, exact) = (usd(&problem, &solved.picks), exact(&problem));
        prop_assert!(ours < exact + 1e-3, "{} and {}", ours, exact);
    }

    #[test]
    fn few_workloads_get_what_trying_everything_finds(mut problem in problem()) {
        problem.jobs.truncate(5);
        let ours = usd(&problem, &problem.solve().picks);
        let least = least_together(&problem, &mut Vec::new());
        prop_assert!((ours - least).abs() < 1e-3, "{} and {}", ours, least);
    }
}

#[test]
fn workloads_share_a_quota_so_that_all_of_it_costs_least() {
    let offers = [
        "aws us-east-1 g5.xlarge on-demand 1",
        "aws us-east-1 g6e.xlarge on-demand 2",
        "gcp us-central1 g2-standard-4 on-demand 3",
    ]
    .map(offer);
    let index = OfferIndex::new(&offers[..]);
    // One machine of AWS, whichever: the workload that cannot go elsewhere gets it.
    let quotas = [quota("L", &["g5.xlarge", "g6e.xlarge"], QuotaUnit::Vcpus, 4.0)];
    let facts = Facts {
        quotas: &quotas,
        ..Facts::default()
    };
    let survey = Survey::new(&index, &facts);
    let any = Requirements {
        spot: crate::SpotUse::Never,
        work_hours: Some(1.0),
        ..Requirements::default()
    };
    let large = Requirements {
        gpu_memory_gib: Some(40.0),
        ..any.clone()
    };
    let together = place_all(&survey, &[any.clone(), large.clone(), any.clone()]);
    let at = |workload: usize| {
        together.choices[workload]
            .as_ref()
            .unwrap()
            .as_ref()
            .map(|choice| choice.offer)
    };
    assert_eq!([at(0), at(1), at(2)], [Some(2), Some(1), Some(2)]);
    assert!(together.is_optimal);
    let two = place_all(&survey, &[large.clone(), large]);
    let placed = two.choices.iter().filter(|choice| matches!(choice, Ok(Some(_))));
    assert_eq!(placed.count(), 1);
}

#[test]
fn capacity_of_offers_is_shared() {
    let offers = [
        "aws us-east-1 g5.xlarge on-demand 1",
        "gcp us-central1 g2-standard-4 on-demand 3",
    ]
    .map(offer);
    assert_eq!(offers[0].market, Market::OnDemand);
    let index = OfferIndex::new(&offers[..]);
    let facts = Facts {
        rooms: &[2, 1],
        ..Facts::default()
    };
    let survey = Survey::new(&index, &facts);
    let needs = Requirements::default();
    let together = place_all(&survey, &vec![needs.clone(); 5]);
    let placed = together.choices.iter().filter(|choice| matches!(choice, Ok(Some(_))));
    assert_eq!(placed.count(), 3);
    let three = Requirements { nodes: 3, ..needs };
    let (_, refused) = survey.explain(&three).unwrap();
    assert_eq!(refused[0].refusal.to_string(), "2 of 3 machines are free");
}

/// A problem too large for the search still comes near to what each would cost alone.
#[test]
fn many_workloads_are_placed_without_a_search() {
    let job = |number: usize| {
        let usd = [1.0 + number as f64 % 7.0, 9.0 + number as f64 % 5.0];
        vec![
            Candidate {
                usd: usd[0],
                uses: vec![(0, 1.0)],
            },
            Candidate {
                usd: usd[1],
                uses: Vec::new(),
            },
        ]
    };
    let problem = Problem {
        jobs: (0..300).map(job).collect(),
        limits: vec![100.0],
    };
    let solved = problem.solve();
    assert!(is_within(&problem, &solved.picks));
    // With one resource and one unit each, those that save most take it: sorted savings are the optimum.
    let mut savings: Vec<f64> = problem.jobs.iter().map(|job| job[1].usd - job[0].usd).collect();
    savings.sort_by(f64::total_cmp);
    let alone: f64 = problem.jobs.iter().map(|job| job[1].usd).sum();
    let best = alone - savings.iter().rev().take(100).sum::<f64>();
    assert!((usd(&problem, &solved.picks) - best).abs() < 1e-6);
}
