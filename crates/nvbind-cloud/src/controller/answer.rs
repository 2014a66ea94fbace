//! What follows from a provider's answer.

use super::{Answer, Controller};
use crate::attempt::{Attempt, AttemptStatus, EndReason};
use crate::deployment::DeploymentStatus;
use crate::provider::{ErrorClass, Machine, MachineState, ProviderError, classify};
use crate::state::{StateError, now_ms};

/// How often a call is made that gets no clear answer.
const TRIES: u32 = 6;
/// Longest pause between two tries, in milliseconds.
const LONGEST_PAUSE_MS: i64 = 10_000;
/// How long a provider may not know of a machine that it has just accepted, in milliseconds; below a second was seen of EC2 (skypilot#4443).
const INVISIBLE_MS: i64 = 5_000;
/// How long an accepted machine may be unknown until it is taken for lost, in milliseconds.
const UNKNOWN_MS: i64 = 30_000;
/// Pause between two looks at a machine that comes or goes, in milliseconds.
const LOOK_MS: i64 = 700;

impl Controller {
    /// Writes down what a provider answered about an attempt.
    pub(super) fn answered(&mut self, id: i64, answer: Answer) -> Result<(), StateError> {
        let attempt = self.state.attempt(id)?;
        match answer {
            Answer::Created(answer) => self.created(attempt, answer),
            Answer::Described(answer) => self.described(attempt, answer),
            Answer::Deleted(answer) => self.deleted(attempt, answer),
            Answer::Verified(answer) => self.verified(attempt, answer),
        }
    }

    fn created(&mut self, mut attempt: Attempt, answer: Result<Machine, ProviderError>) -> Result<(), StateError> {
        match answer {
            Ok(machine) => {
                let now = now_ms();
                attempt.accepted_ms = Some(now);
                attempt.error = None;
                know(&mut attempt, &machine);
                let message = format!("accepted as {} after {} ms", machine.id, now - attempt.intent_ms);
                // It may be that the deployment was told to end meanwhile: the machine is given back then, under its id.
                if attempt.status == AttemptStatus::Intent {
                    attempt.status = AttemptStatus::Accepted;
                    pause(&mut attempt, 0);
                }
                self.save(&attempt, "accepted", &message)
            }
            Err(error) if attempt.status != AttemptStatus::Intent => {
                attempt.error = Some(error);
                self.state.save_attempt(&attempt)
            }
            Err(error) => self.refused(attempt, &error),
        }
    }

    fn refused(&mut self, mut attempt: Attempt, error: &ProviderError) -> Result<(), StateError> {
        let is_unclear = error.is_ambiguous || matches!(error.class, ErrorClass::Throttled | ErrorClass::Transient);
        let message = format!("{error}");
        attempt.error = Some(error.clone());
        if is_unclear && attempt.tries + 1 < TRIES {
            retry(&mut attempt, error);
            return self.save(&attempt, "retry", &message);
        }
        self.block(&attempt, error)?;
        if error.class == ErrorClass::Invalid {
            self.state
                .set_deployment(attempt.deployment, DeploymentStatus::Failing, &message)?;
        }
        if is_unclear || attempt.tries > 0 {
            // An earlier try may have had its effect: what it may have made is looked for and given back.
            return self.release(attempt, EndReason::NotUsable);
        }
        attempt.status = AttemptStatus::Ended;
        attempt.end = Some(EndReason::Refused);
        attempt.ended_ms = Some(now_ms());
        self.save(&attempt, "refused", &message)
    }

    fn described(
        &mut self,
        mut attempt: Attempt,
        answer: Result<Option<Machine>, ProviderError>,
    ) -> Result<(), StateError> {
        if attempt.status >= AttemptStatus::Deleting {
            return Ok(());
        }
        let age = now_ms() - attempt.accepted_ms.unwrap_or_default();
        let is_silent = answer.is_ok() && self.is_silent(attempt.id);
        match answer {
            Ok(Some(machine)) if is_silent && machine.state == MachineState::Running => self.lost(attempt),
            Err(error) => {
                retry(&mut attempt, &error);
                attempt.error = Some(error);
                self.state.save_attempt(&attempt)
            }
            Ok(None) if age < UNKNOWN_MS && attempt.status == AttemptStatus::Accepted => {
                pause(&mut attempt, LOOK_MS);
                self.state.save_attempt(&attempt)
            }
            Ok(None) => self.release(attempt, EndReason::Lost),
            Ok(Some(machine)) => self.seen(attempt, &machine, age),
        }
    }

    fn seen(&mut self, mut attempt: Attempt, machine: &Machine, age_ms: i64) -> Result<(), StateError> {
        know(&mut attempt, machine);
        let is_up = machine.state == MachineState::Running && machine.address.is_some();
        match machine.state {
            MachineState::Pending | MachineState::Running if is_up || attempt.status > AttemptStatus::Accepted => {
                if attempt.status > AttemptStatus::Accepted {
                    return self.state.save_attempt(&attempt);
                }
                attempt.status = AttemptStatus::Running;
                attempt.tries = 0;
                self.save(&attempt, "running", machine.address.as_deref().unwrap_or_default())
            }
            MachineState::Pending | MachineState::Running if age_ms < self.tools.patience.pending_ms => {
                pause(&mut attempt, LOOK_MS);
                self.state.save_attempt(&attempt)
            }
            MachineState::Pending | MachineState::Running => self.release(attempt, EndReason::NotUsable),
            MachineState::Stopping | MachineState::Stopped | MachineState::Gone => {
                self.gone_by_itself(attempt, machine)
            }
        }
    }

    /// A machine that nobody gave back is down: taken back, lost, or never come up.
    fn gone_by_itself(&mut self, mut attempt: Attempt, machine: &Machine) -> Result<(), StateError> {
        if machine.is_interrupted || attempt.notice_ms.is_some() {
            self.block_after_loss(&attempt)?;
            return self.release(attempt, EndReason::Interrupted);
        }
        let Some(why) = machine
            .ended_because
            .as_deref()
            .filter(|_| attempt.status == AttemptStatus::Accepted)
        else {
            self.block_after_loss(&attempt)?;
            return self.release(attempt, EndReason::Lost);
        };
        // An order that was accepted and then not fulfilled: a refusal that came late.
        let (code, message) = why.split_once(": ").unwrap_or((why, why));
        let error = ProviderError::new(classify(attempt.provider, 0, code, message), code, message);
        self.block(&attempt, &error)?;
        attempt.error = Some(error);
        self.release(attempt, EndReason::NotUsable)
    }

    fn deleted(&mut self, mut attempt: Attempt, answer: Result<bool, ProviderError>) -> Result<(), StateError> {
        if attempt.status != AttemptStatus::Deleting {
            return Ok(());
        }
        match answer {
            Ok(true) => {
                attempt.status = AttemptStatus::Deleted;
                attempt.tries = 0;
                pause(&mut attempt, LOOK_MS);
                self.state.save_attempt(&attempt)
            }
            // The provider knows none: believed once the order is old enough to be seen.
            Ok(false) => match now_ms() - attempt.intent_ms.max(attempt.deleting_ms.unwrap_or_default()) > INVISIBLE_MS
            {
                true => self.ended(attempt),
                false => {
                    pause(&mut attempt, LOOK_MS);
                    self.state.save_attempt(&attempt)
                }
            },
            Err(error) => self.held_up(attempt, error),
        }
    }

    /// The provider does not say that a machine is given back: told once for each reason.
    fn held_up(&mut self, mut attempt: Attempt, error: ProviderError) -> Result<(), StateError> {
        let message = format!("cannot be given back yet: {error}");
        let is_news = attempt.tries == 0 || attempt.error.as_ref() != Some(&error);
        retry(&mut attempt, &error);
        attempt.error = Some(error);
        match is_news {
            true => self.save(&attempt, "release", &message),
            false => self.state.save_attempt(&attempt),
        }
    }

    fn verified(
        &mut self,
        mut attempt: Attempt,
        answer: Result<Option<Machine>, ProviderError>,
    ) -> Result<(), StateError> {
        if attempt.status != AttemptStatus::Deleted {
            return Ok(());
        }
        let is_gone = match &answer {
            Ok(machine) => machine
                .as_ref()
                .is_none_or(|machine| machine.state == MachineState::Gone),
            Err(_) => false,
        };
        if answer
            .as_ref()
            .is_ok_and(|machine| machine.as_ref().is_some_and(|machine| machine.is_interrupted))
        {
            attempt.end = Some(EndReason::Interrupted);
        }
        let is_old = now_ms() - attempt.accepted_ms.unwrap_or_default() > INVISIBLE_MS;
        if is_gone && is_old {
            return self.ended(attempt);
        }
        if let Err(error) = answer {
            return self.held_up(attempt, error);
        }
        // Not gone yet, or too young to be believed: told again after a while.
        attempt.tries += 1;
        if is_gone || attempt.tries.is_multiple_of(30) {
            attempt.status = AttemptStatus::Deleting;
            attempt.tries = 0;
        }
        pause(&mut attempt, LOOK_MS);
        self.state.save_attempt(&attempt)
    }

    fn ended(&mut self, mut attempt: Attempt) -> Result<(), StateError> {
        attempt.status = AttemptStatus::Ended;
        attempt.ended_ms = Some(now_ms());
        self.save(&attempt, "gone", "nothing is left of it")
    }
}

/// Whether a provider was asked in vain to give a machine back, as often as a call is made that gets no clear answer.
pub(super) fn is_held_up(attempt: &Attempt) -> bool {
    attempt.status == AttemptStatus::Deleting && attempt.error.is_some() && attempt.tries >= TRIES
}

/// Takes over what a provider says of a machine.
fn know(attempt: &mut Attempt, machine: &Machine) {
    attempt.machine_id = Some(machine.id.clone());
    if machine.address.is_some() {
        attempt.address.clone_from(&machine.address);
    }
    if machine.private_address.is_some() {
        attempt.private_address.clone_from(&machine.private_address);
    }
}

fn pause(attempt: &mut Attempt, ms: i64) {
    attempt.wait_until_ms = now_ms() + ms;
}

/// Notes that a call is to be made again: when the provider says, else after a pause that doubles.
fn retry(attempt: &mut Attempt, error: &ProviderError) {
    let doubled = 250 * 2_i64.pow(attempt.tries.min(6));
    let asked = error.retry_after_seconds.map_or(0, |seconds| (seconds * 1000.0) as i64);
    pause(attempt, doubled.max(asked).min(LONGEST_PAUSE_MS.max(asked)));
    attempt.tries += 1;
}
