//! Many workloads at once, where quotas and capacity do not give each its best.

use super::assign::{Candidate, Problem};
use super::query::Query;
use super::rank::Ranked;
use super::{Choice, Conflict, Cost, PlaceError, Survey};
use crate::requirements::Requirements;
use std::collections::HashMap;

/// Where many workloads go, together.
#[derive(Debug, Clone, PartialEq)]
pub struct Together {
    /// One for each workload; `None` where nothing is left that fits.
    pub choices: Vec<Result<Option<Choice>, PlaceError>>,
    /// What those with a place cost, weighted as in [`super::Cost::weighted_usd`].
    pub usd: f64,
    /// Whether it is proven that nothing costs less.
    pub is_optimal: bool,
}

/// Ways that are looked at for one workload. Only those that count against different limits are different ways.
const WAYS: usize = 64;

/// Places workloads together: as many as possible, and those at the lowest cost, whatever their strategy. Quotas and capacity are
/// shared; up to a few dozen workloads that compete, the result is the best one.
pub fn place_all(survey: &Survey<'_>, workloads: &[Requirements]) -> Together {
    let mut limits = Limits::of(survey);
    let mut problem = Problem::default();
    let mut is_all = true;
    let mut found = Vec::new();
    for workload in workloads {
        let ways = Conflict::in_words(workload)
            .map_err(PlaceError::from)
            .and_then(|()| Query::new(survey, workload))
            .map(|query| ways(&query, &mut is_all));
        let candidates = ways.as_deref().unwrap_or_default().iter();
        problem.jobs.push(
            candidates
                .map(|(way, _)| limits.candidate(way, workload.nodes))
                .collect(),
        );
        found.push(ways);
    }
    problem.limits = limits.limits;
    let solved = problem.solve();
    let picked = found.into_iter().zip(workloads).zip(&solved.picks);
    let choices = picked.map(|((ways, workload), pick)| {
        let ways = ways?;
        let way = pick.map(|pick| ways[pick]);
        Ok(way.map(|(way, cost)| Query::bare(survey, workload).choice(&way, cost)))
    });
    let choices: Vec<_> = choices.collect();
    let placed = choices.iter().filter_map(|choice| choice.as_ref().ok()?.as_ref());
    Together {
        usd: placed.map(|choice| choice.cost.weighted_usd).sum(),
        choices,
        is_optimal: solved.is_optimal && is_all,
    }
}

/// The cheapest offer for each set of limits it counts against, up to the first that counts against none: what is dearer than that is
/// never needed.
fn ways(query: &Query<'_>, is_all: &mut bool) -> Vec<(Ranked, Cost)> {
    let survey = query.survey;
    let is_free = |way: &Ranked| survey.room_of(way.at()).is_none() && survey.quotas_of(way.at()).is_empty();
    for count in [1, 64, 4096, usize::MAX] {
        let ranked = query.cheapest(count);
        let is_last = ranked.len() < count;
        let free = ranked.iter().position(is_free);
        if free.is_none() && !is_last {
            continue;
        }
        let until = free.map_or(ranked.len(), |free| free + 1);
        let mut seen = std::collections::HashSet::new();
        let different = ranked[..until].iter().filter(|way| {
            let room = survey.room_of(way.at()).map(|_| way.at());
            seen.insert((survey.cell_of(way.at()), room)) || is_free(way)
        });
        let mut ways: Vec<(Ranked, Cost)> = different.map(|way| (*way, query.cost_at(way.at()))).collect();
        *is_all &= ways.len() <= WAYS;
        ways.truncate(WAYS);
        return ways;
    }
    Vec::new()
}

/// Quotas, and the capacity of offers as far as it is met.
struct Limits<'survey> {
    survey: &'survey Survey<'survey>,
    limits: Vec<f64>,
    rooms: HashMap<usize, usize>,
}

impl<'survey> Limits<'survey> {
    fn of(survey: &'survey Survey<'survey>) -> Self {
        let quotas = survey.facts.quotas.iter();
        Self {
            survey,
            limits: quotas.map(|(_, quota)| quota.left()).collect(),
            rooms: HashMap::new(),
        }
    }

    fn candidate(&mut self, way: &Ranked, nodes: u32) -> Candidate {
        let nodes = f64::from(nodes);
        let quotas = self.survey.quotas_of(way.at()).iter();
        let mut uses: Vec<(usize, f64)> = quotas
            .map(|(quota, each)| (usize::from(*quota), each * nodes))
            .collect();
        if let Some(room) = self.survey.room_of(way.at()) {
            let limits = &mut self.limits;
            let resource = *self.rooms.entry(way.at()).or_insert_with(|| {
                limits.push(f64::from(room));
                limits.len() - 1
            });
            uses.push((resource, nodes));
        }
        Candidate { usd: way.usd(), uses }
    }
}
