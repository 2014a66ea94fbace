//! The driver root of a simulated machine: made once, whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags};
use rustix::io::Errno;

use crate::Error;
use crate::driver;
use crate::elf::Class;
use crate::kernel;
use crate::overlay::Overlay;
use crate::profile::{self, Profile};
use crate::state::{self, FILE_PREFIX, LIBRARY_FOLDER, State};
use crate::store::Store;
use crate::wsl;

/// Changes when what this module makes changes, so that roots made by an older nvbind are made anew.
const LAYOUT: u32 = 2;
/// Tells what a root was made from. Its name keeps it out of the way of everything that looks for a driver.
const STAMP: &str = ".nvbind-sim";

/// The driver root of a simulated machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimRoot {
    path: PathBuf,
}

impl SimRoot {
    /// The folder with `usr/`, `dev/`, `proc/`, `sys/` and `etc/`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes the simulated machine below `base` unless it is there already, made from the same things.
///
/// `profile_or_path` names a profile or a profile file, `library` is the simulated NVML library, `overlay` a folder
/// with a real user-space driver. Any number of callers may do this at once, and any may be killed.
pub fn ensure(base: &Path, profile_or_path: &str, library: &Path, overlay: Option<&Path>) -> Result<SimRoot, Error> {
    // A shipped profile is known by its name and its text; it is read only when the machine has to be made.
    if let Some(text) = profile::shipped_text(profile_or_path) {
        let stamp = stamp(text, library, overlay)?;
        let root = SimRoot {
            path: base.join(profile_or_path),
        };
        if is_made_from(&root.path, &stamp) {
            return Ok(root);
        }
        return make(base, profile::load(profile_or_path)?, library, overlay, &stamp);
    }
    let profile = profile::load(profile_or_path)?;
    // The profile is plain data: it cannot fail to become JSON.
    let stamp = stamp(&serde_json::to_string(&profile).unwrap_or_default(), library, overlay)?;
    make(base, profile, library, overlay, &stamp)
}

/// Makes the root unless it has this stamp.
fn make(base: &Path, profile: Profile, library: &Path, overlay: Option<&Path>, stamp: &str) -> Result<SimRoot, Error> {
    let root = SimRoot {
        path: base.join(&profile.name),
    };
    if is_made_from(&root.path, stamp) {
        return Ok(root);
    }
    fs::create_dir_all(base).map_err(Error::io("make", base))?;
    let _lock = lock(&base.join(format!(".{}.lock", profile.name)))?;
    if !is_made_from(&root.path, stamp) {
        build(base, &root.path, profile, library, overlay, stamp)?;
    }
    Ok(root)
}

/// What a root is made from; two roots with the same stamp are the same.
fn stamp(profile: &str, library: &Path, overlay: Option<&Path>) -> Result<String, Error> {
    let identity = |path: &Path| -> Result<String, Error> {
        let meta = fs::metadata(path).map_err(Error::io("read", path))?;
        let time = format!("{}.{}", meta.mtime(), meta.mtime_nsec());
        Ok(format!(
            "{} {} {} {time} {}",
            path.display(),
            meta.dev(),
            meta.ino(),
            meta.size()
        ))
    };
    let library = identity(library)?;
    let overlay = overlay.map(identity).transpose()?.unwrap_or_default();
    Ok(format!(
        "layout {LAYOUT}\nlibrary {library}\noverlay {overlay}\nprofile {profile}\n"
    ))
}

fn is_made_from(root: &Path, stamp: &str) -> bool {
    fs::read_to_string(root.join(STAMP)).is_ok_and(|found| found == stamp)
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = File::create(path).map_err(Error::io("make", path))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(Error::io("lock", path))?;
    Ok(file)
}

/// Builds beside the root and puts it in place in one step. The caller holds the lock, so whatever an earlier builder
/// left behind is nobody's.
fn build(
    base: &Path,
    root: &Path,
    mut profile: Profile,
    library: &Path,
    overlay: Option<&Path>,
    stamp: &str,
) -> Result<(), Error> {
    let fresh = base.join(format!(".{}.new", profile.name));
    remove(&fresh)?;
    let overlay = overlay.map(Overlay::open).transpose()?;
    if let Some(overlay) = &overlay {
        profile.driver_version.clone_from(&overlay.version);
    }
    let state = kept_state(root, &profile).unwrap_or_else(|| State::new(&profile));
    fs::create_dir_all(&fresh).map_err(Error::io("make", &fresh))?;
    if state.profile.wsl {
        wsl::make(&fresh, library, overlay.as_ref(), &state)?;
    } else {
        if let Some(overlay) = &overlay {
            overlay.lay(&fresh)?;
        }
        driver::make(&fresh, &state, overlay.as_ref())?;
        put_library(&fresh, library, &state)?;
        kernel::make(&fresh, &state)?;
    }
    write_durably(&fresh.join(STAMP), stamp)?;
    put_in_place(&fresh, root)
}

/// The state of the root that is replaced, when the machine in it is the same.
fn kept_state(root: &Path, profile: &Profile) -> Option<State> {
    state::read(root).ok().filter(|state| state.profile == *profile)
}

/// Our NVML library under the name of the real one, and the state file beside it.
fn put_library(root: &Path, library: &Path, state: &State) -> Result<(), Error> {
    let version = &state.profile.driver_version;
    let folder = root.join(LIBRARY_FOLDER);
    fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
    // A copy, not a link: a linker that writes the library anew would change it under running programs.
    let file = format!("libnvidia-ml.so.{version}");
    fs::copy(library, folder.join(&file)).map_err(Error::io("copy", library))?;
    kernel::link(root, &format!("{LIBRARY_FOLDER}/libnvidia-ml.so.1"), &file)?;
    kernel::link(root, &format!("{LIBRARY_FOLDER}/libnvidia-ml.so"), "libnvidia-ml.so.1")?;
    let name = format!("{FILE_PREFIX}{version}");
    let path = folder.join(&name);
    Store::create(&path, &driver::stub(Class::Elf64, &name, &path)?, state)
}

fn write_durably(path: &Path, text: &str) -> Result<(), Error> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(Error::io("write", path))
}

fn put_in_place(fresh: &Path, root: &Path) -> Result<(), Error> {
    match rustix::fs::renameat_with(CWD, fresh, CWD, root, RenameFlags::EXCHANGE) {
        Ok(()) => remove(fresh),
        Err(Errno::NOENT) => fs::rename(fresh, root).map_err(Error::io("put in place", root)),
        // A file system that cannot exchange: for a moment there is no root.
        Err(Errno::INVAL | Errno::NOSYS) => {
            remove(root)?;
            fs::rename(fresh, root).map_err(Error::io("put in place", root))
        }
        Err(error) => Err(Error::io("put in place", root)(error)),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
