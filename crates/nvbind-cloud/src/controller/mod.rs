//! Keeps a deployment alive: looks what is written down, does what is to be done, writes down what came of it.
//!
//! Every effect has its intent in the [`State`] first, so a controller that dies at any step is replaced by another one that begins
//! with the same look. Two never act for one deployment: each holds its lease.

mod answer;
mod budget;
mod call;
mod choose;
mod deadline;
mod duty;
mod gang;
mod key;
mod load;
mod plan;
mod worker;

pub use call::{Answer, Launch, Providers, clean_up, places};
pub use choose::{Market, NoOffer, why_not};
pub use plan::{Step, next_look_ms, plan};
pub use worker::{run_token, target};

use crate::attempt::{Attempt, AttemptStatus, EndReason};
use crate::deployment::{Deployment, DeploymentStatus};
use crate::host::Kit;
use crate::provider::{ErrorClass, ProviderError, Resource};
use crate::spot::Choice;
use crate::state::{Event, State, StateError, now_ms};
use call::Call;
use deadline::Wish;
use load::Gauge;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use worker::{Worker, WorkerNews};

/// What the machines of a deployment shared, with why it could not be given back.
type Left = Vec<(Resource, Option<ProviderError>)>;

/// Why a node with a deadline has no machine although there are some.
const SPOT_IS_AWAY: &str = "spot capacity is away and the deadline leaves time to wait for it";

/// Pause between two looks for what the machines shared, in milliseconds.
const CLEAN_UP_MS: i64 = 300;

/// How patient a controller is.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Milliseconds without a word from a machine until it is taken for dead.
    pub lost_ms: i64,
    /// Milliseconds that a machine may take to come up.
    pub pending_ms: i64,
    /// Milliseconds that a machine that is up may take until it can be reached and the workload is started.
    pub prepare_ms: i64,
    /// Milliseconds between two looks at what other processes have written down.
    pub look_ms: i64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            lost_ms: 10_000,
            pending_ms: 600_000,
            prepare_ms: 900_000,
            look_ms: 500,
        }
    }
}

/// What a controller works with, beside the state.
#[derive(Clone)]
pub struct Tools {
    /// The providers.
    pub providers: Providers,
    /// Where offers come from.
    pub market: Arc<Market>,
    /// The programs that machines get.
    pub programs: Arc<Kit>,
    /// How patient it is.
    pub patience: Patience,
    /// Configuration of `ssh` for the user's own hosts; `None` for the user's own.
    pub ssh_config: Option<std::path::PathBuf>,
}

/// When a controller is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The workload runs on every node, or the deployment is over.
    Up,
    /// Nothing is left of it.
    Over,
}

/// Something that a controller waits for.
#[derive(Debug)]
enum Happening {
    /// A provider answered about an attempt.
    Answered(i64, Answer),
    /// There is news from an attempt's machine.
    News(i64, WorkerNews),
    /// What the machines shared was looked for and given back; or why not.
    CleanedUp(Result<Left, ProviderError>),
    /// The queue told how much waits, or nothing that is a number.
    Queue(Option<f64>),
}

/// Keeps one deployment alive.
pub struct Controller {
    state: State,
    owner: String,
    deployment: i64,
    tools: Tools,
    workers: BTreeMap<i64, Worker>,
    /// Attempts of which a provider is being asked something.
    asked: BTreeSet<i64>,
    /// Attempts whose machines are silent, with the time at which the provider was asked about them.
    suspects: BTreeMap<i64, i64>,
    /// When this controller last looked: a pause of its own is nobody's silence.
    looked_ms: i64,
    is_cleaning: bool,
    /// Before this time no machine is looked for, and none is given what was shared back.
    wait_until_ms: i64,
    /// The load that the number of nodes follows.
    gauge: Gauge,
    refusals: u32,
    /// When budget, load and deadline were looked at.
    duties_ms: i64,
    /// What was told of the budget and of what cannot be given back: told once.
    warned: BTreeSet<String>,
    /// Which market the deadline asks for.
    wish: Wish,
    /// Whether there were orders before this controller, which may have had effects that nobody wrote down.
    is_resumed: bool,
    to: Sender<Happening>,
    from: Receiver<Happening>,
}

impl Controller {
    /// A controller of a deployment; the caller holds its lease.
    pub fn new(state: State, deployment: i64, tools: Tools) -> Result<Self, StateError> {
        let (to, from) = channel();
        Ok(Self {
            owner: state.owner()?,
            is_resumed: !state.attempts(deployment)?.is_empty(),
            state,
            deployment,
            tools,
            workers: BTreeMap::new(),
            asked: BTreeSet::new(),
            suspects: BTreeMap::new(),
            looked_ms: now_ms(),
            is_cleaning: false,
            wait_until_ms: 0,
            gauge: Gauge::default(),
            refusals: 0,
            duties_ms: 0,
            warned: BTreeSet::new(),
            wish: Wish::default(),
            to,
            from,
        })
    }

    /// Works until the goal is reached; the deployment as it is then. `told` hears of each event after it was written down.
    pub fn run(&mut self, goal: Goal, told: &mut dyn FnMut(&Event)) -> Result<Deployment, StateError> {
        let mut last = self.state.last_event()?;
        self.ask_again()?;
        loop {
            let deployment = self.state.deployment(self.deployment)?;
            let attempts = self.state.attempts(self.deployment)?;
            for event in self.state.events(self.deployment, last)? {
                last = event.id;
                told(&event);
            }
            if is_reached(goal, &deployment, &attempts) {
                return Ok(deployment);
            }
            self.forgive_own_pause();
            let has_acted = self.pass(&deployment, &attempts)?;
            let wait = match has_acted {
                true => 0,
                false => next_look_ms(&attempts, now_ms(), self.tools.patience.look_ms) - now_ms(),
            };
            self.listen(Duration::from_millis(
                wait.clamp(0, self.tools.patience.look_ms).unsigned_abs(),
            ))?;
        }
    }

    /// Providers that did not answer the one before are asked as if for the first time.
    fn ask_again(&self) -> Result<(), StateError> {
        let attempts = self.state.attempts(self.deployment)?;
        for mut attempt in attempts.into_iter().filter(answer::is_held_up) {
            attempt.tries = 0;
            attempt.wait_until_ms = 0;
            self.state.save_attempt(&attempt)?;
        }
        Ok(())
    }

    /// After a pause of this process (a laptop that slept, a stopped process) every machine gets a new chance to be heard.
    fn forgive_own_pause(&mut self) {
        let now = now_ms();
        if now - self.looked_ms > self.tools.patience.lost_ms / 2 {
            self.workers.values_mut().for_each(|worker| worker.heard_ms = now);
        }
        self.looked_ms = now;
    }

    /// Waits for something to happen, and writes down all that has.
    fn listen(&mut self, patience: Duration) -> Result<(), StateError> {
        let mut happening = match self.from.recv_timeout(patience) {
            Ok(happening) => happening,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(()),
        };
        loop {
            match happening {
                Happening::Answered(id, answer) => {
                    self.asked.remove(&id);
                    self.answered(id, answer)?;
                }
                Happening::News(id, news) => self.heard(id, news)?,
                Happening::CleanedUp(result) => self.cleaned_up(result)?,
                Happening::Queue(length) => self.gauge.queue_told(length),
            }
            match self.from.try_recv() {
                Ok(next) => happening = next,
                Err(_) => return Ok(()),
            }
        }
    }

    /// Does everything that is to be done now; whether anything was written down.
    fn pass(&mut self, deployment: &Deployment, attempts: &[Attempt]) -> Result<bool, StateError> {
        let mut has_written = self.duties(deployment, attempts)?;
        if has_written {
            return Ok(true);
        }
        for step in plan(deployment, attempts, now_ms()) {
            has_written |= self.act(deployment, attempts, &step)?;
        }
        Ok(has_written)
    }

    fn act(&mut self, deployment: &Deployment, attempts: &[Attempt], step: &Step) -> Result<bool, StateError> {
        let of = |id: i64| attempts.iter().find(|attempt| attempt.id == id);
        match *step {
            Step::Place { node } => return self.place(deployment, attempts, node),
            Step::Release(id, reason) => {
                let Some(attempt) = of(id) else { return Ok(false) };
                self.release(attempt.clone(), reason)?;
                return Ok(true);
            }
            Step::Complete => {
                let message = "every node's workload ended with code 0";
                self.state
                    .set_deployment(deployment.id, DeploymentStatus::Completing, message)?;
                self.state.tell(Some(deployment.id), None, "complete", message)?;
                return Ok(true);
            }
            Step::CleanUp => self.start_clean_up(deployment, attempts),
            Step::Attend(id) => {
                if let Some(attempt) = of(id) {
                    self.attend(deployment, attempts, attempt)?;
                }
            }
            Step::Create(id) => self.ask(Call::Create, of(id), deployment),
            Step::Describe(id) => self.ask(Call::Describe, of(id), deployment),
            Step::Delete(id) => self.ask(Call::Delete, of(id), deployment),
            Step::Verify(id) => self.ask(Call::Verify, of(id), deployment),
        }
        Ok(false)
    }

    /// Asks a provider about an attempt, unless it is being asked.
    fn ask(&mut self, call: Call, attempt: Option<&Attempt>, deployment: &Deployment) {
        let Some(attempt) = attempt.filter(|attempt| !self.asked.contains(&attempt.id)) else {
            return;
        };
        self.asked.insert(attempt.id);
        let target = (call == Call::Delete)
            .then(|| target(&self.state, deployment, attempt, self.tools.ssh_config.as_deref()).ok())
            .flatten();
        let stop = target.map(|target| call::Stop {
            target,
            grace_seconds: deployment.spec.grace_seconds,
        });
        call::start(call, attempt, &self.tools.providers, stop, &self.to);
    }

    /// Finds a machine for a node and writes the order down; it is sent in the next pass.
    fn place(&mut self, deployment: &Deployment, attempts: &[Attempt], node: u32) -> Result<bool, StateError> {
        if self.wait_until_ms > now_ms() {
            return Ok(false);
        }
        let wanted = self.wanted_market(deployment, attempts, now_ms())?;
        if wanted == Some(Choice::None) {
            return self.wait(deployment, SPOT_IS_AWAY);
        }
        match choose::choose(
            &self.state,
            &self.tools,
            deployment,
            attempts,
            node,
            &self.owner,
            wanted,
        )? {
            Ok((new, warning)) => {
                self.refusals = 0;
                self.state.set_message(deployment.id, "")?;
                let attempt = self.state.add_attempt(&new)?;
                let message = format!("node {node}: {}", attempt.reason);
                self.state
                    .tell(Some(deployment.id), Some(attempt.id), "order", &message)?;
                if let Some(warning) = warning {
                    self.state
                        .tell(Some(deployment.id), Some(attempt.id), "budget", &warning)?;
                }
            }
            Err(no_offer) if wanted == Some(Choice::Spot) && !no_offer.is_final => {
                // What follows from that is decided, and told, in the next pass.
                self.no_spot_now();
                return Ok(false);
            }
            // A node that is to move to another market stays where it is.
            Err(no_offer) if is_live(attempts, node) => {
                self.back_off();
                return self.wait(deployment, &no_offer.message);
            }
            Err(no_offer) => {
                let was_ever_up = attempts.iter().any(|attempt| attempt.accepted_ms.is_some());
                let gives_up = no_offer.is_final || !(was_ever_up || deployment.spec.retry_until_up);
                if gives_up {
                    let message = with_last_refusal(attempts, &no_offer.message);
                    self.state
                        .set_deployment(deployment.id, DeploymentStatus::Failing, &message)?;
                    self.state.tell(Some(deployment.id), None, "no-offer", &message)?;
                    return Ok(true);
                }
                self.back_off();
                self.wait(deployment, &no_offer.message)?;
            }
        }
        Ok(true)
    }

    /// Looks for no machine for a while, each time a longer one.
    fn back_off(&mut self) {
        self.refusals += 1;
        self.wait_until_ms = now_ms() + 1000 * i64::from(2_u32.pow(self.refusals.min(5)));
    }

    /// Tells why there is no machine yet, unless that was told; whether it did.
    fn wait(&self, deployment: &Deployment, why: &str) -> Result<bool, StateError> {
        if deployment.message == why {
            return Ok(false);
        }
        self.state.set_message(deployment.id, why)?;
        self.state.tell(Some(deployment.id), None, "waiting", why)?;
        Ok(true)
    }

    /// Writes down that a machine is to be given back.
    fn release(&mut self, mut attempt: Attempt, reason: EndReason) -> Result<(), StateError> {
        self.workers.remove(&attempt.id);
        self.gauge.forget(attempt.order.node);
        attempt.status = AttemptStatus::Deleting;
        attempt.end = Some(reason);
        attempt.deleting_ms = Some(now_ms());
        attempt.wait_until_ms = 0;
        attempt.tries = 0;
        self.save(&attempt, "release", reason.as_str())
    }

    /// Writes an attempt down, and what happened to it.
    fn save(&self, attempt: &Attempt, kind: &str, message: &str) -> Result<(), StateError> {
        self.state.save_attempt(attempt)?;
        let place = format!(
            "{} {}",
            attempt.provider,
            attempt.order.zone.as_deref().unwrap_or(&attempt.order.region)
        );
        let message = format!("node {} on {place}: {message}", attempt.order.node);
        self.state
            .tell(Some(attempt.deployment), Some(attempt.id), kind, &message)
    }

    fn start_clean_up(&mut self, deployment: &Deployment, attempts: &[Attempt]) {
        if self.is_cleaning || self.wait_until_ms > now_ms() {
            return;
        }
        self.is_cleaning = true;
        let (providers, to) = (self.tools.providers.clone(), self.to.clone());
        let (owner, name, places) = (self.owner.clone(), deployment.spec.name.clone(), places(attempts));
        std::thread::spawn(move || {
            let left = clean_up(&providers, &owner, &name, &places);
            let _ = to.send(Happening::CleanedUp(left));
        });
    }

    /// Writes down that a deployment is over.
    fn over(&self, deployment: &Deployment, message: &str) -> Result<(), StateError> {
        let outcome = deployment.status.outcome();
        key::forget(&self.state, deployment.id);
        self.state.set_deployment(deployment.id, outcome, &deployment.message)?;
        self.state.tell(Some(deployment.id), None, outcome.as_str(), message)
    }

    /// Whether every order was refused at the door: then nothing was made, and nobody can look for it either. Of orders sent by a controller
    /// that was killed nobody knows.
    fn was_never_let_in(&self) -> Result<bool, StateError> {
        if self.is_resumed {
            return Ok(false);
        }
        let attempts = self.state.attempts(self.deployment)?;
        let was_shut = |attempt: &Attempt| {
            let error = attempt.error.as_ref();
            let is_shut = |error: &ProviderError| error.class == ErrorClass::Credentials && !error.has_left;
            attempt.end == Some(EndReason::Refused) && error.is_some_and(is_shut)
        };
        Ok(attempts.iter().all(was_shut))
    }

    fn cleaned_up(&mut self, result: Result<Left, ProviderError>) -> Result<(), StateError> {
        self.is_cleaning = false;
        let deployment = self.state.deployment(self.deployment)?;
        self.wait_until_ms = now_ms() + CLEAN_UP_MS;
        let why = match result {
            Ok(left) if left.is_empty() => return self.over(&deployment, "nothing is left of it"),
            Err(error) if error.class == ErrorClass::Credentials && self.was_never_let_in()? => {
                return self.over(&deployment, "the account was never let in, so there is nothing of it");
            }
            Ok(left) => left.into_iter().find_map(|(_, refusal)| refusal),
            Err(error) => {
                self.back_off();
                Some(error)
            }
        };
        let Some(error) = why else { return Ok(()) };
        let message = format!("what the machines shared cannot be given back yet: {error}");
        match self.warned.insert(message.clone()) {
            true => self.state.tell(Some(deployment.id), None, "clean-up", &message),
            false => Ok(()),
        }
    }
}

/// Whether a node has a machine.
fn is_live(attempts: &[Attempt], node: u32) -> bool {
    attempts
        .iter()
        .any(|attempt| attempt.order.node == node && attempt.is_live())
}

/// Why there is no offer, after what the last provider said that was asked.
fn with_last_refusal(attempts: &[Attempt], message: &str) -> String {
    let refused = attempts
        .iter()
        .rev()
        .find_map(|attempt| Some((attempt, attempt.error.as_ref()?)));
    match refused {
        Some((attempt, error)) => {
            format!(
                "{} {} refused: {error}; {message}",
                attempt.provider, attempt.order.region
            )
        }
        None => message.to_owned(),
    }
}

/// Whether a deployment has come that far.
pub fn is_reached(goal: Goal, deployment: &Deployment, attempts: &[Attempt]) -> bool {
    let works = |node: u32| {
        let mut of_node = attempts.iter().filter(|attempt| attempt.order.node == node);
        of_node.any(|attempt| {
            attempt.exit_code == Some(0) || (attempt.is_live() && attempt.status == AttemptStatus::Working)
        })
    };
    deployment.status.is_over()
        || (goal == Goal::Up && deployment.status == DeploymentStatus::Active && (0..deployment.nodes).all(works))
        || (goal == Goal::Up && deployment.status == DeploymentStatus::Failing && only_waits(attempts))
}

/// Whether all that is left to do is to give back what no provider answers about: for the next `resume`, or a service.
fn only_waits(attempts: &[Attempt]) -> bool {
    let is_open = |attempt: &&Attempt| attempt.status != AttemptStatus::Ended;
    let mut open = attempts.iter().filter(is_open).peekable();
    open.peek().is_some() && open.all(answer::is_held_up)
}
