//! Limits on what may be spent: asked before a launch, and again while something runs.

use serde::Serialize;
use std::str::FromStr;

/// What happens at a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BudgetMode {
    /// It is told.
    Soft,
    /// Nothing is launched that would pass it, and what runs is stopped when it is reached.
    #[default]
    Hard,
}

/// A word that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown budget mode '{0}': use soft or hard")]
pub struct UnknownBudgetMode(pub String);

impl FromStr for BudgetMode {
    type Err = UnknownBudgetMode;

    fn from_str(word: &str) -> Result<Self, UnknownBudgetMode> {
        match word {
            "soft" => Ok(Self::Soft),
            "hard" => Ok(Self::Hard),
            _ => Err(UnknownBudgetMode(word.to_owned())),
        }
    }
}

/// Limits of all deployments together, in USD.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Budget {
    /// For a day, UTC.
    pub daily_usd: Option<f64>,
    /// For a calendar month, UTC.
    pub monthly_usd: Option<f64>,
    /// What happens at a limit, those of single deployments included.
    pub mode: BudgetMode,
}

/// What was spent so far, in USD.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spent {
    /// Since midnight, UTC.
    pub day_usd: f64,
    /// Since the first day of the month, UTC.
    pub month_usd: f64,
}

/// A deployment that costs or is about to.
#[derive(Debug, Clone, PartialEq)]
pub struct Spender {
    /// Its number; 0 where it has none yet.
    pub deployment: i64,
    /// Its name.
    pub name: String,
    /// Its own limit in USD.
    pub budget_usd: Option<f64>,
    /// USD that it has cost so far, since it was first deployed.
    pub spent_usd: f64,
    /// USD an hour that it costs now, or would.
    pub usd_h: f64,
}

/// Whether something may be launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Launch {
    /// It may.
    Allowed,
    /// It may, and this is to be told.
    Warn(String),
    /// It may not, for this reason.
    Refuse(String),
}

/// Something to be done about a deployment that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The deployment.
    pub deployment: i64,
    /// Whether it must be stopped; else it is told only.
    pub must_stop: bool,
    /// Why, in a line.
    pub line: String,
}

/// Share of a limit from which it is told.
const NEAR: f64 = 0.8;
/// Hours that something is reckoned to run when nobody said how long.
const UNKNOWN_HOURS: f64 = 1.0;

/// Whether a deployment may be launched: what was spent, what runs already (`committed_usd_h`) and the new machines are reckoned
/// over the hours that the new ones are expected to run, an hour where that is not known.
///
/// Several limits can be passed at once: the first reason is told, that of the deployment itself before those of all.
pub fn check_launch(
    budget: &Budget,
    spent: &Spent,
    committed_usd_h: f64,
    new: &Spender,
    expected_hours: Option<f64>,
) -> Launch {
    let hours = expected_hours.unwrap_or(UNKNOWN_HOURS).max(0.0);
    let all = committed_usd_h + new.usd_h;
    let asked = [
        (Limit::Own(&new.name), new.budget_usd, new.spent_usd, new.usd_h),
        // A day's limit is not asked about what comes after that day.
        (
            Limit::Day,
            budget.daily_usd,
            spent.day_usd,
            all * (24.0 / hours).min(1.0),
        ),
        (Limit::Month, budget.monthly_usd, spent.month_usd, all),
    ];
    let passed = asked.iter().find_map(|(limit, usd, spent, usd_h)| {
        let usd = (*usd)?;
        let will = spent + usd_h * hours;
        (will > usd).then(|| limit.would_pass(usd, *spent, will, hours))
    });
    match (passed, budget.mode) {
        (None, _) => Launch::Allowed,
        (Some(line), BudgetMode::Soft) => Launch::Warn(line),
        (Some(line), BudgetMode::Hard) => Launch::Refuse(line),
    }
}

/// Which of the deployments that run must be stopped, and of which something is to be told: a deployment's own limit is about it
/// alone, those of a day and a month are about all that cost something.
pub fn check_running(budget: &Budget, spent: &Spent, running: &[Spender]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for spender in running {
        let asked = [
            (Limit::Own(&spender.name), spender.budget_usd, spender.spent_usd),
            (Limit::Day, budget.daily_usd, spent.day_usd),
            (Limit::Month, budget.monthly_usd, spent.month_usd),
        ];
        let known = asked
            .iter()
            .filter_map(|(limit, usd, spent)| Some((limit, (*usd)?, *spent)));
        let known = known.filter(|(limit, ..)| matches!(limit, Limit::Own(_)) || spender.usd_h > 0.0);
        // The limit that is nearest to its end, or farthest beyond it.
        let share = |usd: f64, spent: f64| if usd > 0.0 { spent / usd } else { f64::INFINITY };
        let worst = known.max_by(|a, b| share(a.1, a.2).total_cmp(&share(b.1, b.2)));
        let Some((limit, usd, spent)) = worst.filter(|(_, usd, spent)| share(*usd, *spent) >= NEAR) else {
            continue;
        };
        let is_reached = spent >= usd;
        findings.push(Finding {
            deployment: spender.deployment,
            must_stop: is_reached && budget.mode == BudgetMode::Hard,
            line: limit.tell(usd, spent),
        });
    }
    findings
}

/// Which limit.
enum Limit<'name> {
    Own(&'name str),
    Day,
    Month,
}

impl Limit<'_> {
    fn name(&self) -> String {
        match self {
            Self::Own(name) => format!("the budget of '{name}'"),
            Self::Day => "the daily budget".to_owned(),
            Self::Month => "the monthly budget".to_owned(),
        }
    }

    /// What can be done about it.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Own(_) => "raise --budget",
            Self::Day => "raise cloud.budget_daily or wait for midnight, UTC",
            Self::Month => "raise cloud.budget_monthly",
        }
    }

    fn would_pass(&self, usd: f64, spent: f64, will: f64, hours: f64) -> String {
        format!(
            "{} of {usd:.2} USD would be passed: {spent:.2} USD are spent, {will:.2} USD it would be after {} h: {}",
            self.name(),
            (hours * 100.0).round() / 100.0,
            self.remedy()
        )
    }

    fn tell(&self, usd: f64, spent: f64) -> String {
        let state = if spent >= usd {
            "is reached"
        } else {
            "is nearly reached"
        };
        format!(
            "{} of {usd:.2} USD {state}: {spent:.2} USD are spent: {}",
            self.name(),
            self.remedy()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spender(budget_usd: Option<f64>, spent_usd: f64, usd_h: f64) -> Spender {
        Spender {
            deployment: 7,
            name: "train".to_owned(),
            budget_usd,
            spent_usd,
            usd_h,
        }
    }

    fn budget(daily_usd: Option<f64>, monthly_usd: Option<f64>, mode: BudgetMode) -> Budget {
        Budget {
            daily_usd,
            monthly_usd,
            mode,
        }
    }

    fn spent(day_usd: f64, month_usd: f64) -> Spent {
        Spent { day_usd, month_usd }
    }

    #[test]
    fn without_limits_everything_may_be_launched() {
        let launch = check_launch(
            &Budget::default(),
            &spent(1e9, 1e9),
            1e6,
            &spender(None, 1e9, 1e6),
            Some(1e6),
        );
        assert_eq!(launch, Launch::Allowed);
    }

    #[test]
    fn what_runs_and_what_is_new_count_over_the_hours_of_the_new() {
        let day = budget(Some(100.0), None, BudgetMode::Hard);
        let ask = |usd_h, hours| check_launch(&day, &spent(40.0, 40.0), 10.0, &spender(None, 0.0, usd_h), hours);
        assert_eq!(ask(20.0, Some(2.0)), Launch::Allowed);
        let Launch::Refuse(line) = ask(20.5, Some(2.0)) else {
            panic!("allowed")
        };
        assert_eq!(
            line,
            "the daily budget of 100.00 USD would be passed: 40.00 USD are spent, 101.00 USD it would be after 2 h: \
             raise cloud.budget_daily or wait for midnight, UTC"
        );
        // An hour where nobody said how long.
        assert_eq!(ask(49.0, None), Launch::Allowed);
        assert!(matches!(ask(51.0, None), Launch::Refuse(_)));
    }

    #[test]
    fn a_day_is_not_asked_about_what_comes_after_it() {
        let day = budget(Some(100.0), None, BudgetMode::Hard);
        let launch = check_launch(&day, &spent(0.0, 0.0), 0.0, &spender(None, 0.0, 4.0), Some(240.0));
        assert_eq!(launch, Launch::Allowed);
        let launch = check_launch(&day, &spent(0.0, 0.0), 0.0, &spender(None, 0.0, 4.2), Some(240.0));
        assert!(matches!(launch, Launch::Refuse(_)), "{launch:?}");
    }

    #[test]
    fn soft_limits_warn() {
        let month = budget(None, Some(10.0), BudgetMode::Soft);
        let launch = check_launch(&month, &spent(0.0, 9.0), 0.0, &spender(None, 0.0, 2.0), None);
        assert!(
            matches!(&launch, Launch::Warn(line) if line.contains("the monthly budget")),
            "{launch:?}"
        );
    }

    #[test]
    fn a_deployment_has_a_limit_of_its_own() {
        let own = spender(Some(50.0), 45.0, 3.0);
        let launch = check_launch(&Budget::default(), &spent(0.0, 0.0), 100.0, &own, Some(2.0));
        assert!(
            matches!(&launch, Launch::Refuse(line) if line.contains("the budget of 'train'")),
            "{launch:?}"
        );
        assert_eq!(
            check_launch(&Budget::default(), &spent(0.0, 0.0), 100.0, &own, Some(1.5)),
            Launch::Allowed
        );
    }

    #[test]
    fn what_runs_is_stopped_at_a_hard_limit_and_told_of_before() {
        let day = budget(Some(100.0), None, BudgetMode::Hard);
        let running = [spender(None, 0.0, 5.0), spender(None, 0.0, 0.0)];
        assert_eq!(check_running(&day, &spent(79.9, 0.0), &running), []);
        let near = check_running(&day, &spent(80.0, 0.0), &running);
        assert_eq!(near.len(), 1);
        assert!(
            !near[0].must_stop && near[0].line.contains("nearly reached"),
            "{near:?}"
        );
        let over = check_running(&day, &spent(100.0, 0.0), &running);
        assert_eq!(over.len(), 1);
        assert!(over[0].must_stop && over[0].deployment == 7, "{over:?}");
        let soft = Budget {
            mode: BudgetMode::Soft,
            ..day
        };
        assert!(!check_running(&soft, &spent(500.0, 0.0), &running)[0].must_stop);
    }

    #[test]
    fn the_worst_limit_is_the_one_that_is_told() {
        let both = budget(Some(100.0), Some(1000.0), BudgetMode::Hard);
        let running = [spender(Some(10.0), 12.0, 5.0)];
        let found = check_running(&both, &spent(90.0, 1100.0), &running);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].must_stop && found[0].line.starts_with("the budget of 'train'"),
            "{found:?}"
        );
        // A limit of nothing stops everything that costs.
        let none = budget(Some(0.0), None, BudgetMode::Hard);
        assert!(check_running(&none, &spent(0.0, 0.0), &running)[0].must_stop);
    }
}
