//! What a job should run on, by backward induction over (work left, slack left, what is running, capacity, its age).

use super::hazard::{BINS, age_bin, bin_ticks};
use super::policy::{Choice, View};
use super::{Chain, Job};

/// One value for each age bin.
pub(crate) type Ages = [f32; BINS];

/// Chance that a state leaves its age bin at a tick.
const ADVANCE: Ages = {
    let mut advance = [0.0; BINS];
    let mut bin = 0;
    while bin < BINS {
        advance[bin] = 1.0 / bin_ticks(bin);
        bin += 1;
    }
    advance
};

/// Cost of what cannot be done.
const NEVER: Ages = [f32::INFINITY; BINS];

/// Expected cost to the end, by what is running and whether capacity is there.
///
/// Slack is counted in ticks beyond what the job itself needs; while nothing or spot runs, a start on demand is held back
/// from it, so that slack 0 is always the last moment of the safety rule.
#[derive(Clone, Copy, Default)]
struct Cell {
    idle_up: Ages,
    idle_down: Ages,
    spot: Ages,
    demand_up: Ages,
    demand_down: Ages,
}

/// Expected costs of a job under a chain, for all that can be left of it.
pub struct Plan {
    chain: Chain,
    prices: Prices,
    /// Slack values per amount of work.
    width: usize,
    /// By work in ticks, then slack in ticks.
    cells: Vec<Cell>,
}

/// What ticks and starts cost.
#[derive(Clone, Copy)]
struct Prices {
    /// Ticks that a start burns.
    overhead: f64,
    /// USD for a tick on spot.
    spot: f32,
    /// USD for a tick on demand.
    demand: f32,
}

impl Plan {
    /// Plans from that view to the end.
    pub fn new(job: &Job, tick_hours: f64, chain: Chain, view: &View<'_>) -> Self {
        let work = (view.work_left.ceil() as usize).max(1);
        let width = ((view.time_left - view.work_left).max(0.0).ceil() as usize) + 1;
        let mut plan = Self {
            chain,
            prices: Prices {
                overhead: job.overhead_hours / tick_hours,
                spot: (job.spot_usd * tick_hours) as f32,
                demand: (job.on_demand_usd * tick_hours) as f32,
            },
            width,
            cells: vec![Cell::default(); (work + 1) * width],
        };
        let mut layer = Layer::new(width, plan.prices.overhead as usize);
        for work in 1..=work {
            let (done, now) = plan.cells.split_at_mut(work * width);
            layer.run(&plan.chain, &plan.prices, &done[(work - 1) * width..]);
            layer.fill(&plan.chain, &plan.prices, &mut now[..width]);
        }
        plan
    }

    /// The cheapest safe choice for a state of capacity that has lasted `age` ticks.
    pub fn choose(&self, view: &View<'_>, age: usize) -> Choice {
        let mut best = (Choice::OnDemand, self.demand_cost(view, age));
        let mut offer = |choice, cost| {
            if cost < best.1 && view.is_safe(choice, self.prices.overhead) {
                best = (choice, cost);
            }
        };
        offer(Choice::None, self.idle_cost(view, age));
        if view.is_up() {
            offer(Choice::Spot, self.spot_cost(view, age));
        }
        best.0
    }

    fn idle_cost(&self, view: &View<'_>, age: usize) -> f32 {
        let slack = view.time_left - view.work_left - self.prices.overhead - 1.0;
        self.after_idle(view, age, slack)
    }

    fn after_idle(&self, view: &View<'_>, age: usize, slack: f64) -> f32 {
        let up = |cell: &Cell, bin: usize| cell.idle_up[bin];
        let down = |cell: &Cell, bin: usize| cell.idle_down[bin];
        self.next(view.is_up(), age, view.work_left, slack, up, down)
    }

    fn demand_cost(&self, view: &View<'_>, age: usize) -> f32 {
        let burn = self.burn(view, Choice::OnDemand);
        let slack = view.time_left - view.work_left - burn;
        let up = |cell: &Cell, bin: usize| cell.demand_up[bin];
        let down = |cell: &Cell, bin: usize| cell.demand_down[bin];
        let after = self.next(view.is_up(), age, view.work_left - 1.0, slack, up, down);
        self.prices.demand * (burn as f32 + 1.0) + after
    }

    /// Whole ticks of overhead may end before the first work is done.
    fn spot_cost(&self, view: &View<'_>, age: usize) -> f32 {
        let burn = self.burn(view, Choice::Spot);
        let slack = view.time_left - view.work_left - self.prices.overhead;
        let (mut cost, mut alive) = (0.0, 1.0);
        for tick in 0..burn as usize {
            let exit = self.chain.up_exit[age_bin(age + tick)];
            let lost = self.value(view.work_left, slack - 1.0 - tick as f64, |cell| cell.idle_down[0]);
            cost += alive * (self.prices.spot + exit * lost);
            alive *= 1.0 - exit;
        }
        let age = age + burn as usize;
        let up = |cell: &Cell, bin: usize| cell.spot[bin];
        let down = |cell: &Cell, bin: usize| cell.idle_down[bin];
        let after = self.next(true, age, view.work_left - 1.0, slack - burn, up, down);
        cost + alive * (self.prices.spot * (burn.fract() as f32 + 1.0) + after)
    }

    /// Ticks of overhead before that choice works.
    fn burn(&self, view: &View<'_>, choice: Choice) -> f64 {
        match view.running == choice {
            true => view.overhead_left,
            false => self.prices.overhead,
        }
    }

    /// Expectation over the next tick: `up` and `down` take the cost out of a cell.
    fn next(
        &self,
        is_up: bool,
        age: usize,
        work: f64,
        slack: f64,
        up: impl Fn(&Cell, usize) -> f32,
        down: impl Fn(&Cell, usize) -> f32,
    ) -> f32 {
        let (bin, older) = (age_bin(age), age_bin(age + 1));
        let (exit, up_bin, down_bin) = match is_up {
            true => (self.chain.up_exit[bin], older, 0),
            false => (self.chain.down_exit[bin], 0, older),
        };
        let chance_up = if is_up { 1.0 - exit } else { exit };
        let up = self.value(work, slack, |cell| up(cell, up_bin));
        let down = self.value(work, slack, |cell| down(cell, down_bin));
        chance_up * up + (1.0 - chance_up) * down
    }

    /// A cost between four cells.
    fn value(&self, work: f64, slack: f64, of: impl Fn(&Cell) -> f32) -> f32 {
        let work = Between::new(work, self.cells.len() / self.width);
        let slack = Between::new(slack, self.width);
        let row = |work: usize| {
            let cell = |slack: usize| of(&self.cells[work * self.width + slack]);
            slack.mix(cell(slack.low), cell(slack.high))
        };
        work.mix(row(work.low), row(work.high))
    }
}

/// A place between two neighbours on the grid.
#[derive(Clone, Copy)]
struct Between {
    low: usize,
    high: usize,
    weight: f32,
}

impl Between {
    /// The neighbours of `at`; beyond the grid its edge.
    fn new(at: f64, len: usize) -> Self {
        let at = at.clamp(0.0, (len - 1) as f64);
        let low = at as usize;
        Self {
            low,
            high: (low + 1).min(len - 1),
            weight: (at - low as f64) as f32,
        }
    }

    fn mix(self, low: f32, high: f32) -> f32 {
        low + self.weight * (high - low)
    }
}

/// Costs of each choice for one amount of work, by slack.
struct Layer {
    run_spot: Vec<Ages>,
    run_up: Vec<Ages>,
    run_down: Vec<Ages>,
    wait_up: Vec<Ages>,
    wait_down: Vec<Ages>,
    /// Spot with that many whole ticks of its start still to burn, and what is left of a tick after them.
    starts: Vec<Vec<Ages>>,
}

impl Layer {
    fn new(width: usize, whole_ticks: usize) -> Self {
        let row = || vec![NEVER; width];
        Self {
            run_spot: row(),
            run_up: row(),
            run_down: row(),
            wait_up: row(),
            wait_down: row(),
            starts: (0..=whole_ticks).map(|_| row()).collect(),
        }
    }

    /// A tick of work, from the costs for one tick of work less.
    fn run(&mut self, chain: &Chain, prices: &Prices, less: &[Cell]) {
        for (slack, cell) in less.iter().enumerate().take(self.run_up.len()) {
            self.run_spot[slack] = plus(prices.spot, next(&chain.up_exit, &cell.spot, cell.idle_down[0]));
            self.run_up[slack] = plus(
                prices.demand,
                next(&chain.up_exit, &cell.demand_up, cell.demand_down[0]),
            );
            self.run_down[slack] = plus(
                prices.demand,
                next(&chain.down_exit, &cell.demand_down, cell.demand_up[0]),
            );
        }
    }

    /// The best choices for this amount of work, from little slack to much.
    fn fill(&mut self, chain: &Chain, prices: &Prices, cells: &mut [Cell]) {
        let start_demand = prices.demand * prices.overhead as f32;
        for slack in 0..cells.len() {
            if let Some(less) = slack.checked_sub(1) {
                let cell = &cells[less];
                self.wait_up[slack] = next(&chain.up_exit, &cell.idle_up, cell.idle_down[0]);
                self.wait_down[slack] = next(&chain.down_exit, &cell.idle_down, cell.idle_up[0]);
                self.burn(chain, prices, slack, cell.idle_down[0]);
            }
            let at = slack as f64;
            let rest = prices.overhead.fract();
            self.starts[0][slack] = plus(prices.spot * rest as f32, between(&self.run_spot, at - rest));
            let start_spot = match at >= prices.overhead {
                true => self.starts[self.starts.len() - 1][slack],
                false => NEVER,
            };
            let demand_up = plus(start_demand, self.run_up[slack]);
            let demand_down = plus(start_demand, self.run_down[slack]);
            let fresh = at - prices.overhead;
            let switch = between_from(&self.starts[self.starts.len() - 1], fresh, prices.overhead);
            cells[slack] = Cell {
                idle_up: least(&least(&self.wait_up[slack], &start_spot), &demand_up),
                idle_down: least(&self.wait_down[slack], &demand_down),
                spot: least(&self.run_spot[slack], &demand_up),
                demand_up: least(
                    &least(&self.run_up[slack], &switch),
                    &between_from(&self.wait_up, fresh, 1.0),
                ),
                demand_down: least(&self.run_down[slack], &between_from(&self.wait_down, fresh, 1.0)),
            };
        }
    }

    /// A whole tick of a start: capacity may be gone before its end.
    fn burn(&mut self, chain: &Chain, prices: &Prices, slack: usize, lost: f32) {
        for stage in 1..self.starts.len() {
            let after = next(&chain.up_exit, &self.starts[stage - 1][slack - 1], lost);
            self.starts[stage][slack] = plus(prices.spot, after);
        }
    }
}

/// Expectation over the next tick: the state stays and grows older, or it goes.
#[inline]
fn next(exit: &Ages, stay: &Ages, go: f32) -> Ages {
    std::array::from_fn(|bin| {
        let older = stay[(bin + 1).min(BINS - 1)];
        let stay = stay[bin] + ADVANCE[bin] * (older - stay[bin]);
        stay + exit[bin] * (go - stay)
    })
}

#[inline]
fn plus(cost: f32, ages: Ages) -> Ages {
    ages.map(|age| cost + age)
}

#[inline]
fn least(a: &Ages, b: &Ages) -> Ages {
    std::array::from_fn(|bin| if a[bin] < b[bin] { a[bin] } else { b[bin] })
}

/// Costs between two slacks; below none, never.
#[inline]
fn between(row: &[Ages], at: f64) -> Ages {
    between_from(row, at, 0.0)
}

/// Costs between two slacks; below `first`, never.
#[inline]
fn between_from(row: &[Ages], at: f64, first: f64) -> Ages {
    if at < first {
        return NEVER;
    }
    let place = Between::new(at, row.len());
    let (low, high) = (&row[place.low], &row[place.high]);
    match place.weight > 0.0 && low[0].is_finite() {
        true => std::array::from_fn(|bin| place.mix(low[bin], high[bin])),
        false => *low,
    }
}
