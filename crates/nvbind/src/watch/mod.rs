//! Keeping a CDI spec right: looks for changes of the host and starts a pass of `nvbind cdi watch --once` for each.
//!
//! A pass is a process of its own: NVML is a library that may hang or crash, that cannot be loaded anew after a driver
//! update, and that keeps the driver from being unloaded while it is open. This process loads nothing and waits.

mod folders;
mod pass;
mod schedule;
mod sd_notify;
mod signals;
mod signature;

use crate::failure::Failure;
use crate::output;
use folders::Folders;
use nvbind_cdi::Spec;
use nvbind_config::Roots;
use nvbind_gpu::{KernelLog, SearchOptions};
pub(crate) use pass::WRITTEN;
use pass::{Outcome, Pass};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use schedule::Schedule;
use sd_notify::Notifier;
use signals::{Asked, Signals};
use signature::Signature;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often the files of procfs, which tell no one of their changes, are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How many ticks pass between looks at everything, for what no event told.
const TICKS_PER_SCAN: u32 = 30;
/// How long the start of other services is held up while a loaded driver does not answer yet.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// What to watch, and what to start.
pub(crate) struct Watch {
    /// The host.
    pub(crate) roots: Roots,
    /// Where else driver files lie.
    pub(crate) search: SearchOptions,
    /// The spec.
    pub(crate) output: PathBuf,
    /// Arguments of the program for one pass.
    pub(crate) pass: Vec<OsString>,
}

impl Watch {
    /// Watches until it is asked to end.
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let failed = |error: io::Error| Failure::io("cannot watch this host", &error);
        let mut service = Service::start(self).map_err(failed)?;
        loop {
            if service.step().map_err(failed)? == Step::End {
                service.end();
                return Ok(0);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Continue,
    End,
}

/// The watch at work.
struct Service {
    watch: Watch,
    signals: Signals,
    folders: Folders,
    /// Where it can be read: GPUs that are lost tell it there.
    log: Option<KernelLog>,
    notifier: Notifier,
    schedule: Schedule,
    /// The host as it was when the last pass began.
    seen: Signature,
    pass: Option<Pass>,
    /// What the last pass said, so that it is told once.
    said: String,
    started: Instant,
    next_tick: Instant,
    ticks: u32,
}

impl Service {
    fn start(watch: Watch) -> io::Result<Self> {
        let now = Instant::now();
        let mut service = Self {
            signals: Signals::catch()?,
            folders: Folders::new()?,
            log: KernelLog::at_end(&watch.roots).ok(),
            notifier: Notifier::from_env(),
            schedule: Schedule::due_at(now),
            seen: Signature::default(),
            pass: None,
            said: String::new(),
            started: now,
            next_tick: now + TICK,
            ticks: 0,
            watch,
        };
        service.folders.follow(&service.watch.roots, &service.watch.search);
        Ok(service)
    }

    /// Waits for the next thing to happen and answers it.
    fn step(&mut self) -> io::Result<Step> {
        if self.pass.is_none() && self.schedule.is_due(Instant::now()) {
            self.begin_pass()?;
        }
        self.wait()?;
        match self.signals.next()? {
            Some(Asked::End) => return Ok(Step::End),
            Some(Asked::Reload) => self.schedule.at(Instant::now()),
            None => {}
        }
        if self.folders.changed()? {
            self.look_around();
        }
        if Instant::now() >= self.next_tick {
            self.tick();
        }
        if let Some(outcome) = self.pass.as_mut().map(Pass::outcome).transpose()?.flatten() {
            self.end_pass(&outcome);
        }
        Ok(Step::Continue)
    }

    fn wait(&self) -> io::Result<()> {
        let until = match self.pass {
            None => self
                .schedule
                .next()
                .map_or(self.next_tick, |due| due.min(self.next_tick)),
            Some(_) => self.next_tick,
        };
        let timeout = Timespec::try_from(until.saturating_duration_since(Instant::now())).map_err(io::Error::other)?;
        let mut fds = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.folders, PollFlags::IN),
        ];
        fds.extend(self.pass.as_ref().map(|pass| PollFd::new(pass, PollFlags::IN)));
        match poll(&mut fds, Some(&timeout)) {
            Err(error) if error != rustix::io::Errno::INTR => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// What no event tells: procfs, the kernel's log, the spec itself.
    fn tick(&mut self) {
        self.next_tick = Instant::now() + TICK;
        self.ticks = self.ticks.wrapping_add(1);
        self.notifier.alive();
        if self.log.is_none() {
            self.log = KernelLog::open(&self.watch.roots).ok();
        }
        let has_xids = self.log.as_mut().is_some_and(|log| !log.xids().is_empty());
        if self.ticks.is_multiple_of(TICKS_PER_SCAN) {
            self.look_around();
        }
        if has_xids || self.seen.differs_in_kernel(&self.watch) {
            self.folders.follow(&self.watch.roots, &self.watch.search);
            self.schedule.soon(Instant::now());
        }
    }

    /// Follows folders that came or went, and plans a pass when the driver's files or nodes have changed.
    fn look_around(&mut self) {
        self.folders.follow(&self.watch.roots, &self.watch.search);
        if self.seen.differs_in_files(&self.watch) {
            self.schedule.soon(Instant::now());
        }
    }

    fn begin_pass(&mut self) -> io::Result<()> {
        self.schedule.clear();
        // Taken before the pass: what changes during it is seen as a change after it.
        self.seen = Signature::of(&self.watch);
        self.pass = Some(Pass::start(&self.watch.pass)?);
        Ok(())
    }

    fn end_pass(&mut self, outcome: &Outcome) {
        self.pass = None;
        self.seen.note_output(&self.watch);
        if outcome.is_success && Spec::from_file(&self.watch.output).is_err() {
            // Removed or damaged again in the meantime.
            self.schedule.soon(Instant::now());
        }
        if outcome.has_written() {
            output::note(outcome.result.trim_end());
        }
        if !outcome.said.is_empty() && outcome.said != self.said {
            output::note(outcome.said.trim_end());
        }
        self.said.clone_from(&outcome.said);
        let now = Instant::now();
        // Without a driver there is nothing to ask again: its coming is seen in procfs.
        let is_loaded = self.seen.has_driver();
        self.schedule.after(outcome, is_loaded, now);
        let is_worth_waiting = !outcome.is_success && is_loaded && now - self.started < START_PATIENCE;
        if !is_worth_waiting {
            self.notifier.ready(&outcome.summary());
        }
    }

    fn end(&mut self) {
        self.notifier.stopping();
        if let Some(pass) = self.pass.take() {
            pass.kill();
        }
    }
}
