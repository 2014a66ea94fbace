//! The bundle of a container: the folder that `libcontainer` reads, made from a workload and its device edits.

use crate::config::{self, Place};
use crate::image::{Hold, Image, Sources, Store};
use crate::native::dirs::check_id;
use crate::native::run::{Request, Step};
use crate::native::userns::{self, Rootless};
use crate::native::{Dirs, Error, cgroup, rootfs, user};
use nvbind_workload::{Network, Volume, Workload};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Name of our own part of a bundle.
const FILE: &str = "nvbind.json";
/// Files of the host that say how names become addresses.
const RESOLVER_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];
/// What the kernel allows at most when nobody says otherwise (`fs.nr_open`).
const OPEN_FILES: u64 = 1 << 20;

/// A bundle that is ready to be made a container of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Id of container and binding.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// The folder with `config.json`.
    pub bundle: PathBuf,
    /// Cgroup path.
    pub cgroup: String,
    /// The program, for messages.
    pub command: String,
    /// The command gets a terminal.
    pub tty: bool,
    /// Standard input is passed through.
    pub stdin: bool,
    /// The container has a network namespace of its own, whose loopback is to be taken up.
    pub own_network: bool,
    /// The layers of the image, topmost first, over which an overlay is to be mounted; none when the root is a folder of the
    /// user's.
    pub lowers: Vec<PathBuf>,
    /// What is to be held so that the image stays.
    pub hold: Option<PathBuf>,
    /// Root file system.
    pub rootfs: PathBuf,
    /// Working directory to make when it is missing.
    pub workdir: Option<PathBuf>,
}

/// A bundle that is in use: held by nvbind and by every process of the container's start that is not in its cgroup yet.
/// It is let go when the last of them has ended or has become the command.
#[derive(Debug)]
pub(super) struct Lock {
    _fd: OwnedFd,
}

impl Lock {
    /// Makes the bundle's folder and holds it.
    pub(super) fn create(bundle: &Path) -> Result<Self, Error> {
        use std::os::unix::fs::DirBuilderExt;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(bundle);
        made.map_err(Error::io("make folder", bundle))?;
        Self::hold(bundle)
    }

    /// Holds a bundle, when all others have let it go.
    pub(super) fn hold(bundle: &Path) -> Result<Self, Error> {
        let fd = open_folder(bundle)?;
        flock(&fd, FlockOperation::LockExclusive).map_err(Error::io("lock", bundle))?;
        Ok(Self { _fd: fd })
    }

    /// Whether nobody holds the bundle (any more).
    pub(super) fn is_free(bundle: &Path) -> bool {
        open_folder(bundle).map_or(true, |fd| flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok())
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd, Error> {
    open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(Error::io("open", path))
}

/// What a request comes down to before anything is changed on the host: the workload with the image's own settings in
/// it, and the files of the image.
pub(super) struct Resolved {
    pub(super) workload: Workload,
    image: Option<Image>,
}

/// Checks what the workload names and unpacks its image when that is new.
pub(super) fn resolve(
    request: &Request<'_>,
    dirs: &Dirs,
    on_step: &mut (dyn FnMut(Step) + Send),
) -> Result<Resolved, Error> {
    check_id(request.id)?;
    let mut workload = request.workload.clone();
    for volume in &mut workload.volumes {
        *volume = absolute(volume)?;
    }
    let image = match (workload.rootfs.take(), workload.image.clone()) {
        (Some(rootfs), image) => {
            workload.image = image;
            workload.rootfs = Some(folder("root file system", &rootfs)?);
            None
        }
        (None, Some(name)) => {
            let sources = Sources {
                registries: request.registries,
                pull: workload.pull,
            };
            let wanted = Store::new(dirs.images()).obtain(&name, sources, &mut |step| on_step(Step::Image(step)))?;
            wanted.image.config.fill(&mut workload);
            // Complete: 'nvbind image rm' tells by it who is in the way.
            workload.image = wanted.name.parse().ok();
            Some(wanted.image)
        }
        (None, None) => return Err(Error::NoRoot),
    };
    if workload.command.is_empty() {
        return Err(Error::NoCommand);
    }
    if let Some(facts) = request.facts {
        nvbind_oci::check_requirements(&workload.env, facts)?;
    }
    Ok(Resolved { workload, image })
}

fn absolute(volume: &Volume) -> Result<Volume, Error> {
    let path = &volume.source;
    let source = path.canonicalize().map_err(|source| Error::Missing {
        what: "the volume's host path",
        path: path.clone(),
        source,
    })?;
    Ok(Volume {
        source,
        ..volume.clone()
    })
}

fn folder(what: &'static str, path: &Path) -> Result<PathBuf, Error> {
    let missing = |source| Error::Missing {
        what,
        path: path.to_owned(),
        source,
    };
    let absolute = path.canonicalize().map_err(missing)?;
    if absolute.is_dir() {
        Ok(absolute)
    } else {
        Err(Error::Kind {
            what,
            path: absolute,
            expected: "a folder",
        })
    }
}

/// Writes the bundle into its folder, which is there and held.
pub(super) fn write(request: &Request<'_>, resolved: &Resolved, dirs: &Dirs) -> Result<Prepared, Error> {
    let Resolved { workload, image } = resolved;
    let overlay = rootfs::overlay_root(dirs, request.id);
    let rootfs = workload.rootfs.clone().filter(|_| image.is_none()).unwrap_or(overlay);
    let prepared = Prepared {
        id: request.id.to_owned(),
        name: workload.name.clone(),
        bundle: dirs.bundle(request.id),
        cgroup: cgroup::path(request.id),
        command: workload.command.first().cloned().unwrap_or_default(),
        tty: workload.tty,
        stdin: workload.stdin,
        own_network: workload.network == Network::None,
        lowers: image.as_ref().map(|image| image.lowers.clone()).unwrap_or_default(),
        hold: image.as_ref().map(|image| image.hold.path().to_owned()),
        rootfs,
        workdir: workload.workdir.clone(),
    };
    let rootless = userns::current();
    let place = Place {
        rootfs: prepared.rootfs.clone(),
        cgroup: prepared.cgroup.clone(),
        user: rootfs::look_inside(&prepared, |root| user::find(root, workload.user.as_deref()))?,
        open_files: getrlimit(Resource::Nofile)
            .maximum
            .unwrap_or(OPEN_FILES)
            .min(OPEN_FILES),
        unified_cgroups: cgroup::unified() && rootless.is_none(),
        rootless: rootless.map(|rootless| rootless.ids),
        resolver_files: RESOLVER_FILES
            .iter()
            .map(PathBuf::from)
            .filter(|file| file.exists())
            .collect(),
    };
    if let Some(Rootless { ids }) = rootless.filter(|rootless| place.user.uid >= rootless.ids) {
        let (uid, name) = (place.user.uid, std::env::var("USER").unwrap_or("USER".to_owned()));
        return Err(Error::NotMapped { uid, ids, name });
    }
    let mut value = config::build(workload, &place);
    match rootless {
        Some(rootless) => nvbind_oci::apply(&mut value, &userns::edits(request.edits, rootless))?,
        None => nvbind_oci::apply(&mut value, request.edits)?,
    }
    let file = prepared.bundle.join("config.json");
    std::fs::write(&file, value.to_string()).map_err(Error::io("write", &file))?;
    Ok(prepared)
}

impl Prepared {
    /// Writes down what another process needs to go on from here.
    pub(super) fn save(&self) -> Result<(), Error> {
        let file = self.bundle.join(FILE);
        let text = serde_json::to_vec(self).map_err(Error::io("write", &file))?;
        std::fs::write(&file, text).map_err(Error::io("write", &file))
    }

    /// Keeps the image from being removed, in a process that did not fetch it.
    pub(super) fn hold_image(&self) -> Result<Option<Hold>, Error> {
        Ok(self.hold.as_deref().map(Hold::of).transpose()?)
    }

    /// Reads what [`Prepared::save`] wrote.
    pub(super) fn load(bundle: &Path) -> Result<Self, Error> {
        let file = bundle.join(FILE);
        let text = std::fs::read(&file).map_err(Error::io("read", &file))?;
        serde_json::from_slice(&text).map_err(Error::io("read", &file))
    }
}
