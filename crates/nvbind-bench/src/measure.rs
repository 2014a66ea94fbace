//! Samples and what is made of them: medians, spread, differences and ratios pair by pair.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Rounds that are not counted: caches fill.
pub(crate) const WARM_UP: usize = 2;

/// The samples of one candidate.
pub(crate) struct Figure {
    name: String,
    samples: Vec<f64>,
}

impl Figure {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            samples: Vec::new(),
        }
    }

    fn min(&self) -> f64 {
        self.samples.iter().copied().fold(f64::MAX, f64::min)
    }

    fn max(&self) -> f64 {
        self.samples.iter().copied().fold(f64::MIN, f64::max)
    }
}

/// Adds a sample to each figure, unless the round is for warming up.
pub(crate) fn keep(figures: &mut [Figure], samples: &[f64], round: usize) {
    if round >= WARM_UP {
        for (figure, sample) in figures.iter_mut().zip(samples) {
            figure.samples.push(*sample);
        }
    }
}

/// How many milliseconds a command takes; it must succeed.
pub(crate) fn timed(command: &mut Command) -> f64 {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let time = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    milliseconds(time)
}

/// Runs a command that must succeed.
pub(crate) fn must(command: &mut Command) {
    timed(command);
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn pair_by_pair(a: &Figure, b: &Figure, of: fn(f64, f64) -> f64) -> f64 {
    median(a.samples.iter().zip(&b.samples).map(|(a, b)| of(*a, *b)).collect())
}

/// Median of the differences pair by pair.
pub(crate) fn difference(a: &Figure, b: &Figure) -> f64 {
    pair_by_pair(a, b, |a, b| a - b)
}

/// Difference of the smallest samples, which other work on the machine disturbs least.
pub(crate) fn difference_of_minima(a: &Figure, b: &Figure) -> f64 {
    a.min() - b.min()
}

/// Median of the ratios pair by pair.
pub(crate) fn ratio(a: &Figure, b: &Figure) -> f64 {
    pair_by_pair(a, b, |a, b| a / b)
}

/// Prints the figures as a table, in this unit.
pub(crate) fn table(figures: &[Figure], unit: &str) {
    println!("| what | median {unit} | min | max |\n|---|---|---|---|");
    for figure in figures {
        let (min, max) = (figure.min(), figure.max());
        let median = median(figure.samples.clone());
        println!("| {} | {median:.2} | {min:.2} | {max:.2} |", figure.name);
    }
}

/// The machine's load, to be told beside figures.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
