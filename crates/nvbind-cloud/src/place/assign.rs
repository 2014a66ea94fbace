//! Workloads that compete for what is limited: who gets what, so that all of it costs least.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// What a workload that finds no place costs: more than any placement saves.
const UNPLACED_USD: f64 = 1e9;

/// Workloads up to which the best assignment is searched for, and the steps that it may take.
const EXACT_JOBS: usize = 40;
const EXACT_STEPS: u32 = 300_000;

/// Rounds of improvement after the first assignment, and exchanges that are looked at in all of them.
const ROUNDS: usize = 20;
const EXCHANGES: u32 = 2_000_000;

/// What is off by less than that is equal.
const SLACK: f64 = super::survey::SLACK;

/// One way to place a workload.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    /// What it costs.
    pub(super) usd: f64,
    /// Resources that it takes, and how much of each.
    pub(super) uses: Vec<(usize, f64)>,
}

/// Workloads with their candidates, the cheapest first, and what there is of each resource.
#[derive(Debug, Clone, Default)]
pub(super) struct Problem {
    pub(super) jobs: Vec<Vec<Candidate>>,
    pub(super) limits: Vec<f64>,
}

/// Which candidate each workload gets.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Assignment {
    pub(super) picks: Vec<Option<usize>>,
    /// Whether it is proven that nothing costs less.
    pub(super) is_optimal: bool,
}

impl Problem {
    /// The cheapest assignment that is found, one independent part after the other.
    pub(super) fn solve(&self) -> Assignment {
        let mut picks = vec![None; self.jobs.len()];
        let mut is_optimal = true;
        for part in self.parts() {
            let solved = Part::new(self, part).solve();
            is_optimal &= solved.is_optimal;
            for (job, pick) in solved.jobs.iter().zip(solved.picks) {
                picks[*job] = pick;
            }
        }
        Assignment { picks, is_optimal }
    }

    /// Workloads that share a resource, directly or over others.
    fn parts(&self) -> Vec<Vec<usize>> {
        let mut parents: Vec<usize> = (0..self.limits.len() + self.jobs.len()).collect();
        for (job, candidates) in self.jobs.iter().enumerate() {
            for (resource, _) in candidates.iter().flat_map(|candidate| &candidate.uses) {
                let (a, b) = (
                    root(&mut parents, self.limits.len() + job),
                    root(&mut parents, *resource),
                );
                parents[a] = b;
            }
        }
        let mut parts: Vec<Vec<usize>> = vec![Vec::new(); parents.len()];
        for job in 0..self.jobs.len() {
            parts[root(&mut parents, self.limits.len() + job)].push(job);
        }
        parts.retain(|part| !part.is_empty());
        parts
    }
}

fn root(parents: &mut [usize], mut at: usize) -> usize {
    while parents[at] != at {
        parents[at] = parents[parents[at]];
        at = parents[at];
    }
    at
}

fn usd(job: &[Candidate], pick: Option<usize>) -> f64 {
    pick.map_or(UNPLACED_USD, |pick| job[pick].usd)
}

/// Workloads that share resources.
struct Part<'problem> {
    problem: &'problem Problem,
    jobs: Vec<usize>,
    /// What is left of all resources.
    left: Vec<f64>,
    picks: Vec<Option<usize>>,
}

/// A part with its assignment.
struct Solved {
    jobs: Vec<usize>,
    picks: Vec<Option<usize>>,
    is_optimal: bool,
}

/// A workload in the queue: the one that loses most by waiting comes first.
struct Waiting {
    regret: f64,
    job: usize,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.regret.total_cmp(&other.regret)).then(other.job.cmp(&self.job))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

impl<'problem> Part<'problem> {
    fn new(problem: &'problem Problem, jobs: Vec<usize>) -> Self {
        Self {
            problem,
            picks: vec![None; jobs.len()],
            jobs,
            left: problem.limits.clone(),
        }
    }

    fn solve(mut self) -> Solved {
        self.by_regret();
        if !self.has_all_first() {
            self.improve();
        }
        let mut is_optimal = self.has_all_first();
        if !is_optimal && self.jobs.len() <= EXACT_JOBS {
            is_optimal = self.search();
        }
        Solved {
            jobs: self.jobs,
            picks: self.picks,
            is_optimal,
        }
    }

    fn job(&self, at: usize) -> &'problem [Candidate] {
        &self.problem.jobs[self.jobs[at]]
    }

    /// Whether everybody has what they would have alone: nothing is better.
    fn has_all_first(&self) -> bool {
        (0..self.jobs.len()).all(|at| match self.picks[at] {
            Some(pick) => pick == 0,
            None => self.job(at).is_empty(),
        })
    }

    fn usd(&self) -> f64 {
        (0..self.jobs.len()).map(|at| usd(self.job(at), self.picks[at])).sum()
    }

    fn fits(&self, candidate: &Candidate) -> bool {
        let mut uses = candidate.uses.iter();
        uses.all(|(resource, amount)| self.left[*resource] + SLACK >= *amount)
    }

    fn take(&mut self, candidate: &Candidate, sign: f64) {
        for (resource, amount) in &candidate.uses {
            self.left[*resource] -= sign * amount;
        }
    }

    /// Gives a workload another candidate, or none.
    fn put(&mut self, at: usize, pick: Option<usize>) {
        let job = self.job(at);
        if let Some(old) = self.picks[at] {
            self.take(&job[old], -1.0);
        }
        if let Some(new) = pick {
            self.take(&job[new], 1.0);
        }
        self.picks[at] = pick;
    }

    /// The first candidate that fits from a number on.
    fn first_fit(&self, at: usize, from: usize) -> Option<usize> {
        let job = self.job(at);
        (from..job.len()).find(|pick| self.fits(&job[*pick]))
    }

    /// What a workload loses when it does not get the best that fits now.
    fn regret(&self, at: usize) -> f64 {
        let Some(first) = self.first_fit(at, 0) else {
            return 0.0;
        };
        let second = self.first_fit(at, first + 1);
        usd(self.job(at), second) - self.job(at)[first].usd
    }

    /// One after the other gets the best that fits; the one that would lose most comes first.
    fn by_regret(&mut self) {
        let waiting = |part: &Self, job: usize| Waiting {
            regret: part.regret(job),
            job,
        };
        let mut queue: BinaryHeap<Waiting> = (0..self.jobs.len()).map(|job| waiting(self, job)).collect();
        while let Some(next) = queue.pop() {
            let now = waiting(self, next.job);
            // What others took since may have changed it: it waits again.
            if now.regret != next.regret && queue.peek().is_some_and(|other| *other > now) {
                queue.push(now);
                continue;
            }
            let pick = self.first_fit(next.job, 0);
            self.put(next.job, pick);
        }
    }

    /// Lets workloads move to something cheaper, where need be by sending another one elsewhere, as long as all of it gets cheaper.
    fn improve(&mut self) {
        let mut exchanges = EXCHANGES;
        for _ in 0..ROUNDS {
            let mut is_better = false;
            for at in 0..self.jobs.len() {
                if exchanges == 0 {
                    return;
                }
                let wanted = self.picks[at].unwrap_or(self.job(at).len());
                is_better |= (0..wanted).any(|pick| self.move_to(at, pick, &mut exchanges));
            }
            if !is_better {
                return;
            }
        }
    }

    fn move_to(&mut self, at: usize, pick: usize, exchanges: &mut u32) -> bool {
        let old = self.picks[at];
        let gain = usd(self.job(at), old) - self.job(at)[pick].usd;
        self.put(at, Some(pick));
        if self.is_within(at) {
            return true;
        }
        for other in (0..self.jobs.len()).filter(|other| *other != at) {
            *exchanges = exchanges.saturating_sub(1);
            if *exchanges == 0 {
                break;
            }
            let Some(was) = self.picks[other].filter(|was| shares(&self.job(at)[pick], &self.job(other)[*was])) else {
                continue;
            };
            self.put(other, None);
            let new = match self.is_within(at) {
                true => self.first_fit(other, 0),
                false => None,
            };
            let loss = usd(self.job(other), new) - self.job(other)[was].usd;
            if self.is_within(at) && loss < gain - SLACK {
                self.put(other, new);
                return true;
            }
            self.put(other, Some(was));
        }
        self.put(at, old);
        false
    }

    /// Whether nothing that a workload uses is overdrawn.
    fn is_within(&self, at: usize) -> bool {
        let candidate = self.picks[at].map(|pick| &self.job(at)[pick]);
        let mut uses = candidate.iter().flat_map(|candidate| &candidate.uses);
        uses.all(|(resource, _)| self.left[*resource] >= -SLACK)
    }

    /// Branch and bound from what is there; tells whether it came to an end.
    fn search(&mut self) -> bool {
        // Those alike stand side by side, and those that lose most come first.
        let spread = |job: &[Candidate]| job.get(1).map_or(UNPLACED_USD, |second| second.usd - job[0].usd);
        let mut order: Vec<usize> = (0..self.jobs.len()).collect();
        order.sort_by(|a, b| {
            let (a, b) = (self.job(*a), self.job(*b));
            let usd = |job: &[Candidate]| job.first().map_or(0.0, |first| first.usd);
            spread(b)
                .total_cmp(&spread(a))
                .then(usd(a).total_cmp(&usd(b)))
                .then(a.len().cmp(&b.len()))
        });
        order.retain(|at| !self.job(*at).is_empty());
        let mut search = Search {
            best: self.picks.clone(),
            best_usd: self.usd(),
            order,
            steps: EXACT_STEPS,
        };
        for at in 0..self.jobs.len() {
            self.put(at, None);
        }
        let idle = (0..self.jobs.len()).filter(|at| self.job(*at).is_empty()).count();
        search.descend(self, 0, idle as f64 * UNPLACED_USD);
        let picks = std::mem::take(&mut search.best);
        for (at, pick) in picks.into_iter().enumerate() {
            self.put(at, pick);
        }
        search.steps > 0
    }
}

fn shares(a: &Candidate, b: &Candidate) -> bool {
    let mut uses = a.uses.iter();
    uses.any(|(resource, _)| b.uses.iter().any(|(other, _)| other == resource))
}

/// Branch and bound over the workloads in an order.
struct Search {
    best: Vec<Option<usize>>,
    best_usd: f64,
    order: Vec<usize>,
    steps: u32,
}

impl Search {
    fn descend(&mut self, part: &mut Part<'_>, depth: usize, spent: f64) {
        self.steps = self.steps.saturating_sub(1);
        if self.steps == 0 {
            return;
        }
        let Some(at) = self.order.get(depth).copied() else {
            if spent < self.best_usd - SLACK {
                (self.best_usd, self.best) = (spent, part.picks.clone());
            }
            return;
        };
        // No workload can do better than alone with what is left.
        let rest = self.order[depth..].iter();
        let bound: f64 = rest.map(|at| usd(part.job(*at), part.first_fit(*at, 0))).sum();
        if spent + bound >= self.best_usd - SLACK {
            return;
        }
        let job = part.job(at);
        let from = self.first_of_alike(part, depth);
        for (pick, candidate) in job.iter().enumerate().skip(from) {
            if part.fits(candidate) {
                part.put(at, Some(pick));
                self.descend(part, depth + 1, spent + candidate.usd);
                part.put(at, None);
            }
        }
        self.descend(part, depth + 1, spent + UNPLACED_USD);
    }

    /// Of two workloads that are alike, the later one never takes the earlier candidate: that would be the same the other way round.
    fn first_of_alike(&self, part: &Part<'_>, depth: usize) -> usize {
        let Some(before) = depth.checked_sub(1).map(|before| self.order[before]) else {
            return 0;
        };
        match part.job(before) == part.job(self.order[depth]) {
            true => part.picks[before].unwrap_or(part.job(before).len()),
            false => 0,
        }
    }
}
