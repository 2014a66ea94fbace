//! How long placement takes, over made-up catalogs of 200 to 200,000 offers: processor time, the least of many runs and
//! the median. (One thread does it all: on an idle machine that is the time on the clock.)
//!
//! Needs nothing but itself: `cargo run --release -p nvbind-bench --bin placement`.

use nvbind_cloud::catalog::{Catalog, Offer, ProviderName};
use nvbind_cloud::place::{Block, Facts, History, Lift, OfferIndex, Scope, Survey, Types, place, place_all};
use nvbind_cloud::provider::{ErrorClass, Quota, QuotaUnit};
use nvbind_cloud::{Data, Requirements, SpotUse, Strategy};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Duration;

const SIZES: [usize; 4] = [200, 2_000, 20_000, 200_000];
const RUNS: usize = 25;
const WORKLOADS: usize = 10_000;

fn main() {
    println!(
        "| offers | index | facts | one, all at once | cost-aware | round-robin | gpu-utilization | hybrid | explain |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for size in SIZES {
        row(&offers(size));
    }
    let offers = offers(20_000);
    many(&offers);
}

/// A number from 0 to 1 that is always the same for the same seed (splitmix64, Steele and others 2014).
fn random(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}

/// The catalog's machines in so many regions and zones that there are `size` offers.
fn offers(size: usize) -> Vec<Offer> {
    let known = Catalog::embedded().expect("the catalog").offers();
    let mut offers = Vec::with_capacity(size);
    for place in 0.. {
        for offer in &known {
            if offers.len() == size {
                return offers;
            }
            let (region, zone) = (place / 3, ["a", "b", "c"][place % 3]);
            let region = match region {
                0 => offer.region.clone(),
                other => format!("{}-{other}", offer.region),
            };
            let factor = 0.8 + 0.6 * random(offers.len() as u64);
            offers.push(Offer {
                zone: Some(format!("{region}{zone}")),
                region,
                usd_h: offer.usd_h * factor,
                ..offer.clone()
            });
        }
    }
    offers
}

/// What a busy controller knows: 60 blocks, 200 quotas, 1000 records of what was seen.
struct Known {
    blocks: Vec<Block>,
    quotas: Vec<(ProviderName, Quota)>,
    history: Vec<History>,
}

impl Known {
    fn of(offers: &[Offer]) -> Self {
        let pick = |count: usize, seed: u64| {
            (0..count).map(move |at| &offers[(random(seed + at as u64) * (offers.len() - 1) as f64) as usize])
        };
        let blocks = pick(60, 1).map(|offer| Block {
            scope: Scope {
                provider: offer.provider,
                region: Some(offer.region.clone()),
                zone: offer.zone.clone(),
                types: Types::One(offer.instance_type.clone()),
                market: Some(offer.market),
            },
            until: Some(1000),
            lift: Lift::Time,
            class: ErrorClass::NoCapacity,
            code: "InsufficientInstanceCapacity".to_owned(),
            why: String::new(),
        });
        let types: BTreeSet<&str> = offers.iter().map(|offer| offer.instance_type.as_str()).collect();
        let quotas = pick(200, 2000).map(|offer| {
            let same = types.iter().filter(|name| name.starts_with(&offer.instance_type[..1]));
            let quota = Quota {
                name: "L-417A185B".to_owned(),
                title: String::new(),
                region: offer.region.clone(),
                instance_types: same.map(ToString::to_string).collect(),
                market: Some(offer.market),
                unit: QuotaUnit::Vcpus,
                limit: 1000.0,
                used: 200.0,
            };
            (offer.provider, quota)
        });
        let history = pick(1000, 4000).map(|offer| History {
            provider: offer.provider,
            region: offer.region.clone(),
            zone: offer.zone.clone(),
            instance_type: offer.instance_type.clone(),
            market: offer.market,
            orders: 10,
            refused: 3,
            hours: 100.0,
            lost: 2,
            setup_seconds: Some(120.0),
        });
        Self {
            blocks: blocks.collect(),
            quotas: quotas.collect(),
            history: history.collect(),
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            now: 10,
            blocks: &self.blocks,
            quotas: &self.quotas,
            history: &self.history,
            ..Facts::default()
        }
    }
}

fn needs(number: usize) -> Requirements {
    let models = ["A100", "T4", "L4", "H100", "A10G", ""];
    Requirements {
        gpu_types: Some(models[number % models.len()])
            .filter(|model| !model.is_empty())
            .map(ToOwned::to_owned)
            .into_iter()
            .collect(),
        gpus: [1.0, 4.0, 8.0, 2.0][number % 4],
        nodes: 1 + (number % 3) as u32,
        spot: [SpotUse::Auto, SpotUse::Never][number % 2],
        work_hours: Some(1.0 + (number % 97) as f64),
        data: number.is_multiple_of(5).then(|| Data {
            gib: 500.0,
            provider: ProviderName::Aws,
            region: "us-east-1".to_owned(),
        }),
        ..Requirements::default()
    }
}

fn row(offers: &[Offer]) {
    let known = Known::of(offers);
    let facts = known.facts();
    let index = OfferIndex::new(offers);
    let survey = Survey::new(&index, &facts);
    let any = Requirements {
        work_hours: Some(10.0),
        ..Requirements::default()
    };
    let with = |strategy| Requirements {
        strategy,
        ..any.clone()
    };
    let placed = |strategy| {
        let needs = with(strategy);
        timed(|| survey.place(&needs, 5).expect("a placement"))
    };
    let cells = [
        timed(|| OfferIndex::new(offers)),
        timed(|| Survey::new(&index, &facts)),
        timed(|| place(&any, offers, &facts, 5).expect("a placement")),
        placed(Strategy::CostAware),
        placed(Strategy::RoundRobin),
        placed(Strategy::GpuUtilization),
        placed(Strategy::HybridBalanced),
        timed(|| survey.explain(&any).expect("an explanation")),
    ];
    println!("| {} | {} |", offers.len(), cells.join(" | "));
}

fn many(offers: &[Offer]) {
    let known = Known::of(offers);
    let facts = known.facts();
    let index = OfferIndex::new(offers);
    let survey = Survey::new(&index, &facts);
    let workloads: Vec<Requirements> = (0..WORKLOADS).map(needs).collect();
    let start = spent();
    for needs in &workloads {
        let _ = black_box(survey.place(needs, 5));
    }
    println!(
        "\n{WORKLOADS} workloads over {} offers, one by one: {}",
        offers.len(),
        ms(spent() - start)
    );
    let start = spent();
    let together = place_all(&survey, &workloads);
    let placed = together
        .choices
        .iter()
        .filter(|choice| matches!(choice, Ok(Some(_))))
        .count();
    println!(
        "together, sharing the quotas: {} ({placed} placed)",
        ms(spent() - start)
    );
}

/// Processor time of this thread so far.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Least and median of many runs.
fn timed<T>(mut work: impl FnMut() -> T) -> String {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = spent();
            black_box(work());
            spent() - start
        })
        .collect();
    times.sort();
    format!("{} ({})", ms(times[0]), ms(times[RUNS / 2]))
}

fn ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}
