//! A job with a deadline, and what it costs to run it.

/// A job with a deadline, and what an hour of it costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    /// Hours of work.
    pub work_hours: f64,
    /// Hours from the start until it must be done.
    pub deadline_hours: f64,
    /// Hours that each start burns before work goes on.
    pub overhead_hours: f64,
    /// Price of an hour on demand, in USD.
    pub on_demand_usd: f64,
    /// Price of an hour on spot, in USD.
    pub spot_usd: f64,
}

/// A job that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JobError {
    /// A number that is negative, zero where it must not be, or no number.
    #[error("{what} is {value}: it must be {must}")]
    Number {
        /// Which one.
        what: &'static str,
        /// What was given.
        value: f64,
        /// What it must be.
        must: &'static str,
    },
    /// The deadline cannot be met even on demand.
    #[error("the deadline of {deadline} h cannot be met: {work} h of work and {overhead} h to start need {need} h")]
    TooLate {
        /// Hours until the deadline.
        deadline: f64,
        /// Hours of work.
        work: f64,
        /// Hours to start.
        overhead: f64,
        /// Their sum.
        need: f64,
    },
}

impl JobError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        2
    }
}

impl Job {
    /// This job, if it can be done on demand.
    pub fn checked(self) -> Result<Self, JobError> {
        let positive = [
            ("the work", self.work_hours),
            ("the price on demand", self.on_demand_usd),
        ];
        for (what, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                let must = "a number above 0";
                return Err(JobError::Number { what, value, must });
            }
        }
        let others = [
            ("the overhead", self.overhead_hours),
            ("the price on spot", self.spot_usd),
            ("the deadline", self.deadline_hours),
        ];
        for (what, value) in others {
            if !(value.is_finite() && value >= 0.0) {
                let must = "a number from 0 on";
                return Err(JobError::Number { what, value, must });
            }
        }
        let need = self.work_hours + self.overhead_hours;
        match need > self.deadline_hours + 1e-9 {
            true => Err(JobError::TooLate {
                deadline: self.deadline_hours,
                work: self.work_hours,
                overhead: self.overhead_hours,
                need,
            }),
            false => Ok(self),
        }
    }
}
