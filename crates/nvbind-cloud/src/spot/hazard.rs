//! How likely capacity is to come or go at the next tick, learned from what was seen.

use super::plan::Ages;

/// Ages are told apart by powers of two: 1, 2-3, 4-7, ... ticks, and all from 128 on.
pub(crate) const BINS: usize = 8;

/// How likely capacity is to change at the next tick, by age of its present state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chain {
    /// Probability that capacity that is there will be gone at the next tick.
    pub up_exit: [f32; BINS],
    /// Probability that capacity that is gone will be back at the next tick.
    pub down_exit: [f32; BINS],
}

impl Chain {
    /// A chain whose states do not age.
    pub fn memoryless(up_exit: f32, down_exit: f32) -> Self {
        Self {
            up_exit: [up_exit; BINS],
            down_exit: [down_exit; BINS],
        }
    }

    /// Whether no probability differs by more than that factor.
    pub fn is_near(&self, other: &Self, factor: f32) -> bool {
        let near = |(a, b): (&f32, &f32)| *a <= b * factor && *b <= a * factor;
        self.up_exit.iter().zip(&other.up_exit).all(near) && self.down_exit.iter().zip(&other.down_exit).all(near)
    }
}

/// The bin of an age in ticks; the first tick of a state has age 1.
pub(crate) fn age_bin(age: usize) -> usize {
    (age.max(1).ilog2() as usize).min(BINS - 1)
}

/// Ticks that a state stays in a bin; the last is never left.
pub(crate) const fn bin_ticks(bin: usize) -> f32 {
    if bin + 1 == BINS {
        f32::INFINITY
    } else {
        (1_u32 << bin) as f32
    }
}

/// Ticks that the present state has lasted.
pub(crate) fn age(observed: &[bool]) -> usize {
    let now = observed.last();
    observed.iter().rev().take_while(|up| Some(*up) == now).count()
}

/// What was seen of capacity: how often it changed, and how often it could have.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Hazards {
    up: Counts,
    down: Counts,
    /// Ticks that were taken in.
    seen: usize,
    /// Ticks that the state of the last of them had lasted.
    age: usize,
}

/// Ticks by age bin: those after which the state could have ended, and those after which it did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Counts {
    at_risk: [f64; BINS],
    exits: [f64; BINS],
}

impl Hazards {
    /// Takes in what is new in `observed`, of which earlier calls have seen the beginning.
    pub fn see(&mut self, observed: &[bool]) {
        for at in self.seen.max(1)..observed.len() {
            let (was, is) = (observed[at - 1], observed[at]);
            self.age = self.age.max(1);
            let bin = age_bin(self.age);
            let counts = if was { &mut self.up } else { &mut self.down };
            counts.at_risk[bin] += 1.0;
            self.age += 1;
            if was != is {
                counts.exits[bin] += 1.0;
                self.age = 1;
            }
        }
        self.seen = self.seen.max(observed.len());
    }

    /// The expected probabilities, given all that was seen.
    pub fn chain(&self) -> Chain {
        Chain {
            up_exit: self.up.expected(),
            down_exit: self.down.expected(),
        }
    }
}

/// Probability to end at age 1, before anything is seen: equally likely at each of these steps from nine in ten down to one in
/// two thousand, because nothing says beforehand whether capacity comes and goes in minutes or in weeks.
const FIRST_EXIT: f64 = 0.9;
const FIRST_EXIT_STEP: f64 = 0.6;
const FIRST_EXIT_STEPS: i32 = 16;

/// How that probability falls with age, as a power of it: 0 is a Markov chain, which forgets its age; at 1 a state that has lasted
/// twice as long will last twice as long again. Most things that fail are between; each is as likely as the others.
const FALLS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// The law above counts for each age as much as that many ticks seen at it: a few, so that what is seen soon counts more.
const LAW_TICKS: f64 = 4.0;

impl Counts {
    /// Posterior mean by age: the laws weighted by how well they explain what was seen, then for each age its own counts.
    fn expected(&self) -> Ages {
        let laws: Vec<([f64; BINS], f64)> = laws().map(|law| (law, self.log_likelihood(&law))).collect();
        let best = laws.iter().map(|(_, log)| *log).fold(f64::NEG_INFINITY, f64::max);
        let mut mean = [0.0; BINS];
        let mut total = 0.0;
        for (law, log) in &laws {
            let weight = (log - best).exp();
            total += weight;
            for (mean, exit) in mean.iter_mut().zip(law) {
                *mean += weight * exit;
            }
        }
        std::array::from_fn(|bin| {
            let law = mean[bin] / total;
            ((LAW_TICKS * law + self.exits[bin]) / (LAW_TICKS + self.at_risk[bin])) as f32
        })
    }

    fn log_likelihood(&self, law: &[f64; BINS]) -> f64 {
        let of = |bin: usize| {
            let stays = self.at_risk[bin] - self.exits[bin];
            self.exits[bin] * law[bin].ln() + stays * (1.0 - law[bin]).ln()
        };
        (0..BINS).map(of).sum()
    }
}

/// Every law of the prior: probability to end at the next tick, by age bin.
fn laws() -> impl Iterator<Item = [f64; BINS]> {
    let steps = (0..FIRST_EXIT_STEPS).map(|step| FIRST_EXIT * FIRST_EXIT_STEP.powi(step));
    steps.flat_map(|first| {
        FALLS.map(|fall| std::array::from_fn(|bin| (first * f64::from(1_u32 << bin).powf(-fall)).max(1e-5)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// States that last `up` and `down` ticks in turn.
    fn periodic(up: usize, down: usize, ticks: usize) -> Vec<bool> {
        (0..ticks).map(|tick| tick % (up + down) < up).collect()
    }

    #[test]
    fn ages_fall_into_bins_of_powers_of_two() {
        let bins: Vec<usize> = [1, 2, 3, 4, 7, 8, 127, 128, 10_000].map(age_bin).to_vec();
        assert_eq!(bins, [0, 1, 1, 2, 2, 3, 6, 7, 7]);
        assert_eq!(age(&[true, false, false]), 2);
        assert_eq!(age(&[]), 0);
    }

    #[test]
    fn seeing_in_parts_is_the_same_as_at_once() {
        let trace = periodic(5, 3, 100);
        let (mut parts, mut whole) = (Hazards::default(), Hazards::default());
        for end in [1, 2, 40, 41, 100] {
            parts.see(&trace[..end]);
        }
        whole.see(&trace);
        assert_eq!(parts, whole);
    }

    #[test]
    fn much_evidence_wins_over_the_prior() {
        let mut hazards = Hazards::default();
        hazards.see(&periodic(1, 2, 3000));
        let chain = hazards.chain();
        assert!(chain.up_exit[0] > 0.99, "{chain:?}");
        assert!(chain.down_exit[0] < 0.01, "{chain:?}");
        assert!(chain.down_exit[1] > 0.99, "{chain:?}");
    }

    #[test]
    fn a_state_that_lasts_is_expected_to_last_longer() {
        let mut hazards = Hazards::default();
        hazards.see(&[true; 60]);
        let chain = hazards.chain();
        assert!(chain.up_exit[6] < chain.up_exit[0], "{chain:?}");
        assert!(chain.up_exit[7] < 1.0 / 60.0, "{chain:?}");
        // Nothing was seen of capacity that is gone: the prior stands.
        assert_eq!(chain.down_exit, Hazards::default().chain().down_exit);
    }

    #[test]
    fn probabilities_are_probabilities() {
        for trace in [
            vec![true],
            vec![false; 5000],
            periodic(1, 1, 5000),
            periodic(200, 300, 5000),
        ] {
            let mut hazards = Hazards::default();
            hazards.see(&trace);
            let chain = hazards.chain();
            let all = chain.up_exit.iter().chain(&chain.down_exit);
            assert!(all.into_iter().all(|exit| *exit > 0.0 && *exit < 1.0), "{chain:?}");
        }
    }
}
