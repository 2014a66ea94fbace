//! What is looked at now and then: the budget, the load, the deadline.

use super::{Controller, budget};
use crate::attempt::Attempt;
use crate::deployment::{Deployment, DeploymentStatus};
use crate::money::{self, Spender};
use crate::state::{StateError, now_ms};

/// Pause between two looks, in milliseconds.
const PAUSE_MS: i64 = 5_000;

impl Controller {
    /// Looks at budget, load and deadline when it is time; whether anything was written down.
    pub(super) fn duties(&mut self, deployment: &Deployment, attempts: &[Attempt]) -> Result<bool, StateError> {
        let now = now_ms();
        if deployment.status != DeploymentStatus::Active || now - self.duties_ms < PAUSE_MS {
            return Ok(false);
        }
        self.duties_ms = now;
        Ok(self.within_budget(deployment, attempts)?
            || self.scaled(deployment, attempts, now)?
            || self.on_right_market(deployment, attempts, now)?)
    }

    fn within_budget(&mut self, deployment: &Deployment, attempts: &[Attempt]) -> Result<bool, StateError> {
        let all = self.state.attempts_since(0)?;
        let spender = Spender {
            deployment: deployment.id,
            name: deployment.spec.name.clone(),
            budget_usd: deployment.spec.requirements.budget_usd,
            spent_usd: attempts.iter().map(|attempt| attempt.cost_usd(now_ms())).sum(),
            usd_h: attempts.iter().map(budget::usd_h).sum(),
        };
        let findings = money::check_running(&self.tools.market.budget, &budget::spent(&all), &[spender]);
        for finding in findings {
            if finding.must_stop {
                self.state
                    .set_deployment(deployment.id, DeploymentStatus::Failing, &finding.line)?;
                self.state.tell(Some(deployment.id), None, "budget", &finding.line)?;
                return Ok(true);
            }
            if !self.warned.contains(&finding.line) {
                self.state.tell(Some(deployment.id), None, "budget", &finding.line)?;
                self.warned.insert(finding.line);
            }
        }
        Ok(false)
    }
}
