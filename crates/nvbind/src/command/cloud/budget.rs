//! `nvbind cloud budget`: limits, what was spent of them, and what will have been.

use super::costs::{Forecasts, Ledger, forecast_table, usd};
use crate::cli::Format;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::table::table;
use clap::Args;
use nvbind_cloud::money::{Budget, BudgetMode, Finding, Period, Spender, Spent, check_running, total};
use nvbind_cloud::state::{State, now_ms};
use nvbind_config::{CloudConfig, Usd};
use serde::Serialize;

#[derive(Debug, Args)]
pub(crate) struct BudgetArgs {
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What is printed.
#[derive(Serialize)]
struct Printed {
    limits: Budget,
    spent: Spent,
    forecast: Forecasts,
    deployments: Vec<DeploymentBudget>,
    findings: Vec<Finding>,
}

/// What a deployment that is there may cost, and has.
#[derive(Serialize)]
struct DeploymentBudget {
    name: String,
    budget_usd: Option<f64>,
    spent_usd: f64,
    usd_h: f64,
}

/// The limits of the configuration.
pub(crate) fn limits(config: &CloudConfig) -> Budget {
    Budget {
        daily_usd: config.budget_daily.map(Usd::usd),
        monthly_usd: config.budget_monthly.map(Usd::usd),
        mode: match config.budget_mode.as_str() {
            "soft" => BudgetMode::Soft,
            _ => BudgetMode::Hard,
        },
    }
}

pub(crate) fn run(args: &BudgetArgs, context: &Context) -> Result<u8, Failure> {
    let config = context.config()?;
    let now_ms = now_ms();
    let state = State::open(&config.state_dir())?;
    let since = Period::month_of(now_ms).from_ms.min(now_ms - 8 * 86_400_000);
    let ledger = Ledger::since(&state, since, now_ms)?;
    let forecast = ledger.forecasts();
    let spent = Spent {
        day_usd: forecast.day.spent_usd,
        month_usd: forecast.month.spent_usd,
    };
    let spenders = spenders(&state, now_ms)?;
    let limits = limits(&config.cloud);
    let printed = Printed {
        limits,
        spent,
        forecast,
        findings: check_running(&limits, &spent, &spenders),
        deployments: spenders.into_iter().map(DeploymentBudget::of).collect(),
    };
    output::data(args.format, &printed, || tables(&printed))?;
    Ok(0)
}

/// Deployments of which something may be left at a provider, with all that they have cost.
fn spenders(state: &State, now_ms: i64) -> Result<Vec<Spender>, Failure> {
    let spender = |deployment: nvbind_cloud::Deployment| {
        let attempts = state.attempts(deployment.id)?;
        let paid = attempts
            .iter()
            .filter(|attempt| attempt.accepted_ms.is_some() && attempt.ended_ms.is_none());
        Ok(Spender {
            deployment: deployment.id,
            name: deployment.spec.name,
            budget_usd: deployment.spec.requirements.budget_usd,
            spent_usd: total(attempts.iter().map(|attempt| attempt.cost_usd(now_ms))),
            usd_h: total(paid.map(|attempt| attempt.usd_h + attempt.extras_usd_h)),
        })
    };
    state.live_deployments()?.into_iter().map(spender).collect()
}

impl DeploymentBudget {
    fn of(spender: Spender) -> Self {
        Self {
            name: spender.name,
            budget_usd: spender.budget_usd,
            spent_usd: spender.spent_usd,
            usd_h: spender.usd_h,
        }
    }
}

fn tables(printed: &Printed) -> String {
    let limit = |usd_or_none: Option<f64>| usd_or_none.map_or("none".to_owned(), usd);
    let left = |limit: Option<f64>, spent: f64| limit.map_or("-".to_owned(), |limit| usd(limit - spent));
    let row = |name: &str, budget: Option<f64>, spent: f64, usd_h: f64| {
        vec![
            name.to_owned(),
            limit(budget),
            usd(spent),
            left(budget, spent),
            usd(usd_h),
        ]
    };
    let Printed { limits, spent, .. } = printed;
    let running = printed.forecast.day.running_usd_h;
    let mut rows = vec![
        row("today", limits.daily_usd, spent.day_usd, running),
        row("this month", limits.monthly_usd, spent.month_usd, running),
    ];
    for deployment in &printed.deployments {
        let name = format!("deployment {}", deployment.name);
        rows.push(row(
            &name,
            deployment.budget_usd,
            deployment.spent_usd,
            deployment.usd_h,
        ));
    }
    let mode = match limits.mode {
        BudgetMode::Soft => "A budget that is reached is told of (cloud.budget_mode is soft).",
        BudgetMode::Hard => {
            "Nothing is launched beyond a budget, and what runs is stopped at it (cloud.budget_mode is hard)."
        }
    };
    let mut text = table(&["BUDGET OF", "USD", "SPENT USD", "LEFT USD", "USD/H NOW"], &rows);
    text += &format!("\n{}\n{mode}\n", forecast_table(&printed.forecast));
    for finding in &printed.findings {
        text += &format!("{}\n", finding.line);
    }
    text
}
