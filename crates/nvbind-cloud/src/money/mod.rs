//! What deployments have cost, what they will cost, and whether that may be: plain functions over attempts and times.
//!
//! A machine is paid for from the moment its order was accepted until nothing of it is left, by the price it was ordered at. An
//! order that was never accepted costs nothing. Days and months are those of UTC, as the providers bill.

mod budget;
mod chart;
mod cost;
mod drift;
mod forecast;
mod html;
mod period;

pub use budget::{Budget, BudgetMode, Finding, Launch, Spender, Spent, UnknownBudgetMode, check_launch, check_running};
pub use chart::chart;
pub use cost::{By, CostLine, Costs, Owners, costs};
pub use drift::{DriftLine, drift};
pub use forecast::{Forecast, forecast};
pub use html::{Report, html};
pub use period::{ParsePeriodError, Period};

/// Milliseconds of an hour.
const HOUR_MS: f64 = 3_600_000.0;
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// The sum. That of nothing is 0: the standard library has it as -0.0, which people would be told with its sign.
pub fn total(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

#[cfg(test)]
mod testing;
