//! `nvbind cloud costs`: what deployments have cost.

use super::tools;
use crate::cli::Format;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::table::table;
use clap::{Args, ValueHint};
use nvbind_cloud::Attempt;
use nvbind_cloud::catalog::ProviderName;
use nvbind_cloud::money::{
    By, CostLine, Costs, DriftLine, Forecast, Owners, Period, Report, chart, costs, drift, forecast, html,
};
use nvbind_cloud::provider::BillLine;
use nvbind_cloud::state::{State, now_ms};
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct CostsArgs {
    /// How far back: 30d, 7d, 24h, day (since midnight, UTC) or month (since its first day)
    #[arg(long, value_name = "PERIOD", default_value = "30d")]
    period: String,
    /// What costs are told apart by: provider, deployment, user, gpu or day [default: deployment; day for --chart]
    #[arg(long, value_name = "WHAT")]
    by: Option<By>,
    /// Ask the clouds for their bill of the same days, and show how far it is from this record
    #[arg(long)]
    bill: bool,
    /// Draw bars, too
    #[arg(long)]
    chart: bool,
    /// Write a report for a browser to this file, too
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    html: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What is printed.
#[derive(Serialize)]
struct Printed {
    #[serde(flatten)]
    costs: Costs,
    forecast: Forecasts,
    #[serde(skip_serializing_if = "Option::is_none")]
    bill: Option<Vec<DriftLine>>,
}

/// Forecasts of the day and the month, UTC.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Forecasts {
    pub(super) day: Forecast,
    pub(super) month: Forecast,
}

/// What was paid for, and who deployed it.
pub(super) struct Ledger {
    pub(super) attempts: Vec<Attempt>,
    pub(super) owners: Owners,
    pub(super) now_ms: i64,
}

impl Ledger {
    /// Everything that was paid for at some time after then.
    pub(super) fn since(state: &State, since_ms: i64, now_ms: i64) -> Result<Self, Failure> {
        let deployments = state.deployments()?;
        let owner = |deployment: nvbind_cloud::Deployment| (deployment.id, deployment.spec.owner);
        Ok(Self {
            attempts: state.attempts_since(since_ms)?,
            owners: deployments.into_iter().map(owner).collect(),
            now_ms,
        })
    }

    /// Costs of a period.
    pub(super) fn costs(&self, period: Period, by: By) -> Costs {
        costs(&self.attempts, &self.owners, period, by, self.now_ms)
    }

    /// Forecasts of today and this month.
    pub(super) fn forecasts(&self) -> Forecasts {
        let of = |period| forecast(&self.attempts, period, self.now_ms);
        Forecasts {
            day: of(Period::day_of(self.now_ms)),
            month: of(Period::month_of(self.now_ms)),
        }
    }
}

pub(crate) fn run(args: &CostsArgs, context: &Context) -> Result<u8, Failure> {
    let now_ms = now_ms();
    let period = Period::parse(&args.period, now_ms)?;
    if args.chart && args.format != Format::Table {
        return Err(Failure::usage(
            "--chart draws on a terminal: leave out --format, or --chart",
        ));
    }
    let state = State::open(&context.config()?.state_dir())?;
    // Forecasts look at the month and at the week before, bills at whole days.
    let since = Period::day_of(period.from_ms)
        .from_ms
        .min(Period::month_of(now_ms).from_ms)
        .min(now_ms - 8 * 86_400_000);
    let ledger = Ledger::since(&state, since, now_ms)?;
    let forecast = ledger.forecasts();
    let bill = args.bill.then(|| bill(&state, &ledger, period, context)).transpose()?;
    if let Some(file) = &args.html {
        let page = report(&ledger, period, &forecast, bill.as_deref().unwrap_or_default());
        write(file, &page)?;
    }
    let printed = Printed {
        costs: ledger.costs(period, args.by.unwrap_or_default()),
        forecast,
        bill,
    };
    output::data(args.format, &printed, || {
        let mut text = cost_table(&printed.costs) + "\n" + &forecast_table(&printed.forecast);
        if let Some(bill) = &printed.bill {
            text += &format!("\n{}", bill_table(bill));
        }
        if args.chart {
            let bars = ledger.costs(period, args.by.unwrap_or(By::Day));
            text += &format!("\n{}", bars_of(&bars));
        }
        text
    })?;
    Ok(0)
}

/// The bills of the clouds that are used, set against the record. Who may not see a bill is told so; the others are shown.
fn bill(state: &State, ledger: &Ledger, period: Period, context: &Context) -> Result<Vec<DriftLine>, Failure> {
    let owner = state.owner()?;
    let providers = tools::providers(context)?;
    let seconds = |ms: i64| ms.max(0).unsigned_abs() / 1000;
    let mut bills: Vec<(ProviderName, Vec<BillLine>)> = Vec::new();
    let used = tools::used(context)?;
    for name in used.into_iter().filter(|name| *name != ProviderName::Hosts) {
        let asked = |provider: &mut dyn nvbind_cloud::provider::Provider| {
            let (first, last) = (Period::day_of(period.from_ms), Period::day_of(period.to_ms - 1));
            provider.bill(&owner, seconds(first.from_ms), seconds(last.to_ms))
        };
        match providers.call(name, asked) {
            Ok(lines) => bills.push((name, lines)),
            Err(error) => output::warn(&format!("no bill from {name}: {error}")),
        }
    }
    Ok(drift(&ledger.attempts, &bills, period, ledger.now_ms))
}

fn bill_table(lines: &[DriftLine]) -> String {
    let row = |line: &DriftLine| {
        vec![
            line.day.to_string(),
            line.provider.to_string(),
            line.deployment.clone(),
            usd(line.recorded_usd),
            usd(line.billed_usd),
            format!("{:+.2}", line.drift_usd),
            line.drift_percent
                .map_or("-".to_owned(), |percent| format!("{percent:+.1}")),
        ]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    table(
        &[
            "DAY",
            "PROVIDER",
            "DEPLOYMENT",
            "RECORDED USD",
            "BILLED USD",
            "DIFFERENCE",
            "%",
        ],
        &rows,
    )
}

fn report(ledger: &Ledger, period: Period, forecast: &Forecasts, drift: &[DriftLine]) -> String {
    let days = ledger.costs(period, By::Day);
    let tables = [By::Deployment, By::Provider, By::User, By::Gpu].map(|by| ledger.costs(period, by));
    html(&Report {
        days: &days,
        tables: &tables,
        forecasts: &[("day", forecast.day), ("month", forecast.month)],
        drift,
    })
}

fn cost_table(costs: &Costs) -> String {
    let row = |line: &CostLine| {
        vec![
            line.name.clone(),
            usd(line.machines_usd),
            usd(line.extras_usd),
            usd(line.usd),
            format!("{:.1}", line.gpu_hours),
            line.machines.to_string(),
            line.running.to_string(),
            usd(line.running_usd_h),
        ]
    };
    let rows: Vec<Vec<String>> = costs.lines.iter().chain([&costs.total]).map(row).collect();
    let name = costs.by.as_str().to_uppercase();
    let header = [
        "MACHINES USD",
        "EXTRAS USD",
        "USD",
        "GPU HOURS",
        "MACHINES",
        "NOW",
        "USD/H NOW",
    ];
    table(&[[name.as_str()].as_slice(), &header].concat(), &rows)
}

/// What will have been spent when the day and the month end.
pub(super) fn forecast_table(forecasts: &Forecasts) -> String {
    let row = |name: &str, forecast: &Forecast| {
        vec![
            name.to_owned(),
            usd(forecast.spent_usd),
            usd(forecast.if_running_usd),
            usd(forecast.if_usual_usd),
            usd(forecast.expected_usd),
        ]
    };
    let rows = [row("today", &forecasts.day), row("this month", &forecasts.month)];
    table(
        &["FORECAST", "SPENT USD", "IF IT RUNS ON", "IF AS USUAL", "EXPECTED USD"],
        &rows,
    )
}

pub(super) fn usd(usd: f64) -> String {
    format!("{usd:.2}")
}

fn bars_of(costs: &Costs) -> String {
    let rows: Vec<(String, f64)> = costs.lines.iter().map(|line| (line.name.clone(), line.usd)).collect();
    let columns = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(80, |size| usize::from(size.ws_col));
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    chart(&rows, columns, std::io::stdout().is_terminal() && !is_plain)
}

/// Writes a file: readers see the old one or the new one, whole.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error| Failure::io(format!("cannot write '{}'", path.display()), &error);
    let name = path.file_name().ok_or_else(|| failed(ErrorKind::IsADirectory.into()))?;
    let temporary = path.with_file_name(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
    let written = fill(&temporary, text).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // Nothing half-written stays; the first error is the one to tell.
        let _ = std::fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

fn fill(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::File::create_new(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
