//! From a draft to a container that has run: workload, devices, edits, engine.

use crate::cli::RootArgs;
use crate::command::image::registries;
use crate::containers::{Containers, now};
use crate::context::Context;
use crate::failure::{Failure, NOT_FOUND, UNABLE, USAGE};
use crate::progress::Bar;
use crate::{output, shim, supervise};
use nvbind_alloc::{Binding, Owner, Status};
use nvbind_cdi::{Edits, GenerateOptions};
use nvbind_config::{Config, Roots};
use nvbind_engine::image::Registries;
use nvbind_engine::native::{self, Request, Step};
use nvbind_engine::{Context as EngineContext, ExitStatus, GpuAccess, containerd, docker, podman};
use nvbind_gpu::{Capabilities, Gpu, Host};
use nvbind_oci::{GpuFacts, HostFacts};
use nvbind_workload::{DeviceRef, Draft, DriverChoice, ImageRef, Isolation, Profile, Runtime, Selector, Workload};

/// Everything that is settled before an engine is asked.
struct Plan<'plan> {
    id: String,
    runtime: Runtime,
    workload: Workload,
    /// UUIDs, in the order asked for.
    devices: Vec<String>,
    found: Option<Found>,
    config: &'plan Config,
    is_verbose: bool,
}

/// The host that the devices were found on.
struct Found {
    roots: Roots,
    host: Host,
}

/// Runs a workload to its end, or, detached, until it has started; returns its exit code.
pub(crate) fn launch(draft: Draft, config: &Config, roots: &RootArgs, context: &Context) -> Result<u8, Failure> {
    let runtime = draft.runtime.unwrap_or_default();
    let id = native::new_id()?;
    let workload = draft.into_workload(&id, &default_selection(config)?)?;
    let runtime = engine(runtime, &workload)?;
    check_volumes(&workload)?;
    check_isolation(&workload, runtime)?;
    let mut containers = Containers::open(config)?;
    let mut plan = Plan {
        id,
        runtime,
        workload,
        devices: Vec::new(),
        found: None,
        config,
        is_verbose: context.is_verbose(),
    };
    if !plan.workload.gpu.is_none() {
        plan.find_devices(context.roots(config, roots)?, &containers)?;
    }
    match runtime {
        Runtime::Auto | Runtime::Native => plan.run_native(&mut containers),
        Runtime::Bolt if plan.workload.rootfs.is_some() => plan.run_native(&mut containers),
        Runtime::Docker | Runtime::Podman | Runtime::Containerd | Runtime::Bolt => plan.run_elsewhere(&mut containers),
    }
}

fn default_selection(config: &Config) -> Result<Selector, Failure> {
    let text = &config.gpu.default_selection;
    text.parse()
        .map_err(|error| Failure::usage(format!("configuration: gpu.default_selection: {error}")))
}

/// Which engine it is, if this build has it.
fn engine(runtime: Runtime, workload: &Workload) -> Result<Runtime, Failure> {
    match runtime {
        Runtime::Auto => Ok(Runtime::Native),
        Runtime::Bolt if !cfg!(feature = "bolt") => Err(no_bolt(&workload.name)),
        runtime => Ok(runtime),
    }
}

/// The answer of a build without the feature.
pub(crate) fn no_bolt(name: &str) -> Failure {
    Failure::new(
        UNABLE,
        format!("this nvbind was built without bolt, which '{name}' needs: use --runtime native"),
    )
}

/// The ledger of an ordinary user knows nothing of what others run.
fn check_isolation(workload: &Workload, runtime: Runtime) -> Result<(), Failure> {
    let is_promised = workload.isolation == Isolation::Exclusive && !workload.gpu.is_none();
    if !is_promised || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // Bolt always asks for it.
    if runtime == Runtime::Bolt {
        output::warn("--isolation exclusive holds among your own containers only: without root, others' are not seen");
        return Ok(());
    }
    let message = "--isolation exclusive needs root: an ordinary user's nvbind does not see what others run on the GPU; \
                   leave it out, or run nvbind with sudo";
    Err(Failure::new(UNABLE, message))
}

/// docker would make a folder for a path that is not there.
fn check_volumes(workload: &Workload) -> Result<(), Failure> {
    match workload.volumes.iter().find(|volume| !volume.source.exists()) {
        Some(volume) => {
            let (source, target) = (volume.source.display(), volume.target.display());
            Err(Failure::new(
                NOT_FOUND,
                format!("volume '{source}:{target}': there is no '{source}' on this host; make it first"),
            ))
        }
        None => Ok(()),
    }
}

impl Plan<'_> {
    /// Finds the devices that the selector names; others' devices are taken last where there is a choice.
    fn find_devices(&mut self, roots: Roots, containers: &Containers) -> Result<(), Failure> {
        let host = nvbind_gpu::discover(&roots)?;
        check_driver(&host, &self.workload)?;
        let bound: Vec<Binding> = containers.ledger.list()?;
        let is_taken = |uuid: &str| {
            let live = bound.iter().filter(|binding| binding.status != Status::Exited);
            live.flat_map(|binding| &binding.devices).any(|device| device == uuid)
        };
        let devices = self.workload.gpu.resolve_avoiding(&host, is_taken)?;
        host.warnings.iter().for_each(|warning| output::warn(warning));
        self.devices = devices.iter().map(DeviceRef::uuid).map(str::to_owned).collect();
        self.found = Some(Found { roots, host });
        Ok(())
    }

    /// Runs it in a container of our own.
    fn run_native(mut self, containers: &mut Containers) -> Result<u8, Failure> {
        // A container in the foreground has this process's standard input, as a command without a container has.
        self.workload.stdin = !self.workload.detach;
        let edits = self.edits()?;
        let facts = self.facts();
        let engine = self.runtime.as_str();
        let request = Request {
            id: &self.id,
            engine,
            workload: &self.workload,
            edits: &edits,
            devices: &self.devices,
            facts: facts.as_ref(),
            registries: &self.registries(),
        };
        let (ledger, dirs) = (&mut containers.ledger, &containers.dirs);
        let mut bar = Bar::default();
        let mut show = |step| show(step, &mut bar, self.is_verbose);
        if !self.workload.detach {
            return Ok(native::run(ledger, dirs, &request, &mut show)?);
        }
        let mut supervisor = supervise::command(&dirs.state, &self.id)?;
        native::launch(ledger, dirs, &request, &mut supervisor, &mut show)?;
        output::text(&format!("{}\n", self.workload.name))?;
        Ok(0)
    }

    /// What the image's requirements are held against; `None` where they are not to be checked.
    fn facts(&self) -> Option<HostFacts> {
        let Found { host, .. } = self.found.as_ref().filter(|_| self.config.request.requirements)?;
        let version = |(major, minor): (u32, u32)| format!("{major}.{minor}");
        let is_given = |gpu: &&Gpu| {
            let mut uuids = gpu.mig.devices.iter().map(|mig| &mig.uuid).chain([&gpu.uuid]);
            uuids.any(|uuid| self.devices.contains(uuid))
        };
        let of_gpu = |gpu: &Gpu| GpuFacts {
            compute_capability: gpu.compute_capability.map(version),
            brand: gpu.brand.clone(),
        };
        Some(HostFacts {
            driver_version: host.driver.version.clone(),
            cuda_version: host.driver.cuda_version.map(version),
            gpus: host.gpus.iter().filter(is_given).map(of_gpu).collect(),
        })
    }

    /// What is to be known of registries, where one may be asked.
    fn registries(&self) -> Registries {
        match (&self.workload.image, &self.workload.rootfs) {
            (Some(ImageRef::Name(_)), None) => registries(self.config),
            _ => Registries::default(),
        }
    }

    /// What the container needs for its devices and its kind of work.
    fn edits(&self) -> Result<Edits, Failure> {
        let Some(Found { roots, host }) = &self.found else {
            return Ok(Edits::default());
        };
        let options = GenerateOptions::new(self.config.hook_path());
        let files = nvbind_gpu::driver_files(roots, host.driver.version.as_deref(), &options.search_options())?;
        let edits = nvbind_cdi::edits_for(roots, host, &files, &self.devices, &options)?;
        let mut edits = edits.filter(self.workload.capabilities);
        edits.merge(Profile::edits(host, &self.workload));
        Ok(edits)
    }

    /// Lets another engine run it. nvbind answers for the binding as long as it runs in the foreground.
    fn run_elsewhere(mut self, containers: &mut Containers) -> Result<u8, Failure> {
        self.add_profile_variables();
        let binding = self.binding()?;
        containers.ledger.begin(&binding)?;
        let outcome = self.start_elsewhere(containers);
        match outcome {
            Ok(status) if self.workload.detach && status.code == 0 => {
                if let Err(failure) = containers.note_running(&binding) {
                    self.undo(containers, &binding, &failure);
                    return Err(failure);
                }
                output::text(&format!("{}\n", self.workload.name))?;
                Ok(status.code)
            }
            Ok(status) => containers.discard(&binding).map(|()| status.code),
            Err(failure) => {
                self.undo(containers, &binding, &failure);
                Err(failure)
            }
        }
    }

    /// After a start that failed. A binding whose container may be there, at an engine that does not answer, stays for
    /// the next command.
    fn undo(&self, containers: &mut Containers, binding: &Binding, failure: &Failure) {
        let never_started = (USAGE..=UNABLE).contains(&failure.code);
        if containers.discard(binding).is_err() && never_started {
            // The failure that is told is the first one.
            let _ = containers.forget(binding);
        }
    }

    fn start_elsewhere(&self, containers: &Containers) -> Result<ExitStatus, Failure> {
        let work_dir = containers.work_dir(&self.id);
        let shim = match (&self.found, self.runtime) {
            // The docker daemon starts its own.
            (Some(found), Runtime::Podman | Runtime::Containerd | Runtime::Bolt) => {
                shim::wrapped(&work_dir, self.config, &found.roots)?
            }
            _ => nvbind_engine::find_shim(),
        };
        let context = EngineContext {
            binding: &self.id,
            shim: shim.as_deref(),
            work_dir: &work_dir,
            engine_args: &[],
            progress: &output::note,
        };
        let gpu = self.access();
        match self.runtime {
            Runtime::Podman => Ok(podman::run(&self.workload, &gpu, &context)?),
            Runtime::Containerd => Ok(containerd::run(&self.workload, &gpu, &context)?),
            Runtime::Bolt => self.run_bolt(&gpu, &context),
            Runtime::Auto | Runtime::Native | Runtime::Docker => Ok(docker::run(&self.workload, &gpu, &context)?),
        }
    }

    #[cfg(feature = "bolt")]
    fn run_bolt(&self, gpu: &GpuAccess, context: &EngineContext<'_>) -> Result<ExitStatus, Failure> {
        Ok(nvbind_engine::bolt::run(&self.workload, gpu, context)?)
    }

    #[cfg(not(feature = "bolt"))]
    fn run_bolt(&self, _gpu: &GpuAccess, _context: &EngineContext<'_>) -> Result<ExitStatus, Failure> {
        Err(no_bolt(&self.workload.name))
    }

    fn access(&self) -> GpuAccess {
        let capabilities = if self.devices.is_empty() {
            Capabilities::NONE
        } else {
            self.workload.capabilities
        };
        GpuAccess {
            devices: self.devices.clone(),
            capabilities,
        }
    }

    fn add_profile_variables(&mut self) {
        let Some(Found { host, .. }) = &self.found else { return };
        let variables = Profile::edits(host, &self.workload).env;
        let pairs = variables.iter().filter_map(|entry| entry.split_once('='));
        self.workload
            .env
            .extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    fn binding(&self) -> Result<Binding, Failure> {
        let workload = &self.workload;
        let image = workload.image.as_ref().map(ToString::to_string);
        let rootfs = workload.rootfs.as_ref().map(|path| path.display().to_string());
        Ok(Binding {
            id: self.id.clone(),
            name: workload.name.clone(),
            engine: self.runtime.as_str().to_owned(),
            devices: self.devices.clone(),
            isolation: workload.isolation,
            owner: Owner::current().map_err(|error| Failure::io("cannot read /proc/self", &error))?,
            status: Status::Created,
            pid: None,
            exit_code: None,
            detached: workload.detach,
            image: image.or(rootfs).unwrap_or_default(),
            command: workload.command.clone(),
            created_at: now(),
            finished_at: None,
            bundle: None,
            cgroup: None,
        })
    }
}

/// Shows what takes long before a container starts.
fn show(step: Step, bar: &mut Bar, is_verbose: bool) {
    match step {
        Step::Image(step) => bar.show(step),
        Step::Copy(error) if is_verbose => output::note(&format!(
            "nvbind: the kernel refuses an overlay on the image ({error}): it is copied for this container"
        )),
        Step::Rootless(rootless) if is_verbose => output::note(&rootless_note(rootless.ids)),
        Step::Rootless(_) | Step::Copy(_) | Step::Bound | Step::Created | Step::Running(_) => bar.clear(),
    }
}

/// What protects a container of an ordinary user, and what does not.
fn rootless_note(ids: u32) -> String {
    let ids = match ids {
        1 => "one user id, your own, as its root (more with ranges in /etc/subuid and /etc/subgid, and newuidmap)"
            .to_owned(),
        ids => format!("{ids} user ids"),
    };
    format!(
        "nvbind: without root: the container has {ids}; its device nodes are the host's, bound; no device cgroup stands \
         behind them, no limits hold, and what other users run on the same GPUs is not seen"
    )
}

/// Whether the driver can serve containers at all, and is the one that the workload asks for.
fn check_driver(host: &Host, workload: &Workload) -> Result<(), Failure> {
    let (loaded, gpu) = (host.driver.kind, &workload.gpu);
    let wanted = workload.driver;
    if wanted != DriverChoice::Auto && wanted.as_str() != loaded.word() {
        let message =
            format!("driver '{wanted}' was asked for, and this host runs '{loaded}'; leave --driver out to take it");
        return Err(Failure::new(UNABLE, message));
    }
    if !loaded.is_nvidia() {
        let message =
            format!("cannot give GPUs ('{gpu}'): this host's driver is '{loaded}'; install and load NVIDIA's driver");
        return Err(Failure::new(UNABLE, message));
    }
    Ok(())
}
