//! The containers that nvbind started: its ledger, and the engine that has each.

use crate::failure::{Failure, UNABLE};
use crate::{output, sweep};
use nvbind_alloc::{Binding, Change, Ledger, Owner, Status};
use nvbind_config::Config;
#[cfg(feature = "bolt")]
use nvbind_engine::bolt;
use nvbind_engine::native::{self, Dirs};
use nvbind_engine::{ContainerState, containerd, docker, podman};
use nvbind_workload::Runtime;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The containers of this host and what is known of them.
pub(crate) struct Containers {
    pub(crate) ledger: Ledger,
    pub(crate) dirs: Dirs,
}

/// Who has a container.
enum Engine {
    Native,
    Docker,
    Podman,
    Containerd,
    Bolt,
}

impl Engine {
    /// What has a cgroup of ours is ours, also where Bolt asked for it.
    fn of(binding: &Binding) -> Self {
        match binding.engine.parse() {
            _ if binding.cgroup.is_some() => Self::Native,
            Ok(Runtime::Docker) => Self::Docker,
            Ok(Runtime::Podman) => Self::Podman,
            Ok(Runtime::Containerd) => Self::Containerd,
            Ok(Runtime::Bolt) => Self::Bolt,
            _ => Self::Native,
        }
    }
}

impl Containers {
    /// Opens the ledger, and cleans up after what was killed since the last command.
    pub(crate) fn open(config: &Config) -> Result<Self, Failure> {
        let state = config.state_dir();
        let mut containers = Self {
            ledger: Ledger::open(&state)?,
            dirs: Dirs::of_state(&state),
        };
        containers.recover()?;
        Ok(containers)
    }

    /// Folder of the files that another engine needs while a container of this id is there.
    pub(crate) fn work_dir(&self, id: &str) -> PathBuf {
        self.dirs.container(id)
    }

    /// The containers with what their engines say of them now, oldest first.
    pub(crate) fn list(&mut self) -> Result<Vec<Binding>, Failure> {
        for binding in self.ledger.list()? {
            // An engine that does not answer must not hide the containers of the others.
            if let Err(failure) = self.refresh(&binding) {
                output::warn(&format!("container '{}': {}", binding.name, failure.message));
            }
        }
        Ok(self.ledger.list()?)
    }

    /// Asks a container to stop and kills it after `grace`.
    pub(crate) fn stop(&mut self, key: &str, grace: Duration) -> Result<(), Failure> {
        let binding = self.ledger.find(key)?;
        let seconds = u32::try_from(grace.as_secs()).unwrap_or(u32::MAX);
        match Engine::of(&binding) {
            Engine::Native => native::stop(&self.ledger, &binding.id, grace)?,
            Engine::Docker => docker::stop(&binding.id, seconds)?,
            Engine::Podman => podman::stop(&binding.id, seconds)?,
            Engine::Containerd => containerd::stop(&binding.id, seconds)?,
            Engine::Bolt => stop_bolt(&binding)?,
        }
        // A foreground run forgets its own binding.
        match self.ledger.find(&binding.id) {
            Ok(binding) => self.refresh(&binding),
            Err(nvbind_alloc::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a container is one of our own.
    pub(crate) fn is_native(&self, key: &str) -> bool {
        let found = self.ledger.find(key);
        found.is_ok_and(|binding| matches!(Engine::of(&binding), Engine::Native))
    }

    /// Removes a container that has ended; with `force` one that runs, too.
    pub(crate) fn remove(&mut self, key: &str, force: bool) -> Result<(), Failure> {
        let binding = self.ledger.find(key)?;
        if let Engine::Native = Engine::of(&binding) {
            return Ok(native::remove(&mut self.ledger, &self.dirs, &binding.id, force)?);
        }
        self.refresh(&binding)?;
        let runs = self
            .ledger
            .find(&binding.id)
            .is_ok_and(|binding| binding.status != Status::Exited);
        if runs && !force {
            let name = &binding.name;
            return Err(Failure::usage(format!(
                "container '{name}' is running: stop it first, or use nvbind rm --force {name}"
            )));
        }
        match self.discard(&binding) {
            Err(failure) if force && failure.code == UNABLE => {
                output::warn(&format!(
                    "container '{}' is forgotten, not removed: its engine is not there",
                    binding.name
                ));
                self.forget(&binding)
            }
            outcome => outcome,
        }
    }

    /// Prints what a container wrote.
    pub(crate) fn logs(&self, key: &str, follow: bool) -> Result<(), Failure> {
        let binding = self.ledger.find(key)?;
        match Engine::of(&binding) {
            Engine::Native => native::logs(
                &self.ledger,
                &self.dirs,
                &binding.id,
                follow,
                &mut std::io::stdout().lock(),
            )?,
            Engine::Docker => docker::logs(&binding.id, follow)?,
            Engine::Podman => podman::logs(&binding.id, follow)?,
            Engine::Containerd => containerd::logs(&binding.id, follow)?,
            Engine::Bolt => return Err(Failure::usage(format!("bolt keeps no log of '{}'", binding.name))),
        }
        Ok(())
    }

    /// Removes the container of another engine with everything that nvbind made for it, and forgets it.
    pub(crate) fn discard(&mut self, binding: &Binding) -> Result<(), Failure> {
        match Engine::of(binding) {
            Engine::Native => {}
            Engine::Docker => docker::cleanup(&binding.id)?,
            Engine::Podman => podman::cleanup(&binding.id)?,
            Engine::Containerd => containerd::cleanup(&binding.id)?,
            Engine::Bolt => stop_bolt(binding)?,
        }
        self.forget(binding)
    }

    /// Removes what nvbind made for the container of another engine, which is gone, and forgets it.
    pub(crate) fn forget(&mut self, binding: &Binding) -> Result<(), Failure> {
        let folder = self.work_dir(&binding.id);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::io(format!("cannot remove '{}'", folder.display()), &error))
            }
            _ => Ok(self.ledger.finish(&binding.id)?),
        }
    }

    /// Ends what has lost its nvbind. Containers of other engines that run in the background need none.
    fn recover(&mut self) -> Result<(), Failure> {
        if rustix::process::geteuid().is_root() {
            native::recover(&mut self.ledger, &self.dirs)?;
        } else if self.ledger.dead()?.iter().any(|binding| binding.cgroup.is_some()) {
            sweep::run(&self.dirs.state)?;
        }
        for binding in self.ledger.dead()? {
            let me = Owner::current().map_err(|error| Failure::io("cannot read /proc/self", &error))?;
            // An engine that does not answer keeps its binding: the next command asks again.
            if binding.detached {
                let _ = self.refresh(&binding);
            } else if self.ledger.claim(&binding.id, &binding.owner, &me)? {
                let _ = self.discard(&binding);
            }
        }
        Ok(())
    }

    /// Writes down that a container of another engine runs.
    pub(crate) fn note_running(&mut self, binding: &Binding) -> Result<(), Failure> {
        let running = Change {
            status: Some(Status::Running),
            ..Change::default()
        };
        Ok(self.ledger.update(&binding.id, &running)?)
    }

    /// Writes down what another engine says of a container in the background.
    fn refresh(&mut self, binding: &Binding) -> Result<(), Failure> {
        if !binding.detached || binding.status == Status::Exited {
            return Ok(());
        }
        let state = match Engine::of(binding) {
            Engine::Docker => docker::state(&binding.id)?,
            Engine::Podman => podman::state(&binding.id)?,
            Engine::Containerd => containerd::state(&binding.id)?,
            Engine::Native | Engine::Bolt => return Ok(()),
        };
        match state {
            Some(ContainerState::Exited(code)) => Ok(self.ledger.update(&binding.id, &Change::exited(code, now()))?),
            Some(ContainerState::Running) if binding.status == Status::Created => self.note_running(binding),
            Some(ContainerState::Running) => Ok(()),
            // Its nvbind is still about to make or start it.
            Some(ContainerState::Created) | None if is_owned(binding)? => Ok(()),
            // Killed before the start, or removed behind our back: there is nothing left to hold devices.
            Some(ContainerState::Created) | None => self.discard(binding),
        }
    }
}

/// Whether the nvbind that answers for the binding is alive.
fn is_owned(binding: &Binding) -> Result<bool, Failure> {
    let me = Owner::current().map_err(|error| Failure::io("cannot read /proc/self", &error))?;
    Ok(binding.owner.is_alive(&me.boot_id))
}

#[cfg(feature = "bolt")]
fn stop_bolt(binding: &Binding) -> Result<(), Failure> {
    Ok(bolt::cleanup(&binding.id, &binding.name)?)
}

#[cfg(not(feature = "bolt"))]
fn stop_bolt(binding: &Binding) -> Result<(), Failure> {
    Err(crate::launch::no_bolt(&binding.name))
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
