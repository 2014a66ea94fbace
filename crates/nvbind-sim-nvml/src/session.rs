//! The machine that this library answers for, from `nvmlInit` to `nvmlShutdown`.

use std::ffi::{CStr, OsStr, c_void};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nvbind_sim::state::FILE_PREFIX;
use nvbind_sim::{State, Store};

use crate::error::{Answer, Code};

/// What `nvmlInit` found.
pub(crate) struct Session {
    /// The driver root that this library lies in: `/` in a container.
    pub(crate) root: PathBuf,
    /// The GPUs whose nodes can be opened, by their place in the machine. Their order gives NVML's indices.
    pub(crate) visible: Vec<usize>,
    store: Store,
    /// The state as last read, with its number.
    cached: Mutex<(u64, Arc<State>)>,
}

/// The session and how often it was asked for.
static SESSION: Mutex<(u32, Option<Arc<Session>>)> = Mutex::new((0, None));

/// A panic cannot leave these half changed: they are set in one step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `nvmlInit`: counted, as the real one is.
pub(crate) fn init() -> Answer<()> {
    let mut session = locked(&SESSION);
    if session.1.is_none() {
        session.1 = Some(Arc::new(Session::open()?));
    }
    session.0 += 1;
    Ok(())
}

/// `nvmlShutdown`.
pub(crate) fn shutdown() -> Answer<()> {
    let mut session = locked(&SESSION);
    session.0 = session.0.checked_sub(1).ok_or(Code::UNINITIALIZED)?;
    if session.0 == 0 {
        session.1 = None;
    }
    Ok(())
}

/// The session, once there was an `nvmlInit`.
pub(crate) fn current() -> Answer<Arc<Session>> {
    locked(&SESSION).1.clone().ok_or(Code::UNINITIALIZED)
}

impl Session {
    fn open() -> Answer<Self> {
        let library = own_path().ok_or(Code::DRIVER_NOT_LOADED)?;
        let store = Store::open(&state_path(&library)?, false).map_err(|_| Code::DRIVER_NOT_LOADED)?;
        let (sequence, state) = store.read_with_sequence().map_err(|_| Code::DRIVER_NOT_LOADED)?;
        let root = root_of(&library);
        match node_access(&root.join(control_node(&state))) {
            Access::Given => {}
            Access::Denied => return Err(Code::NO_PERMISSION),
            Access::Missing => return Err(Code::DRIVER_NOT_LOADED),
        }
        let is_visible = |index: &usize| {
            if state.profile.wsl {
                return true;
            }
            let node = root.join(format!("dev/nvidia{}", state.gpus[*index].minor));
            node_access(&node) == Access::Given
        };
        let visible = (0..state.gpus.len()).filter(is_visible).collect();
        Ok(Self {
            root,
            visible,
            store,
            cached: Mutex::new((sequence, Arc::new(state))),
        })
    }

    /// The state now. Cheap when it has not changed.
    pub(crate) fn state(&self) -> Answer<Arc<State>> {
        let mut cached = locked(&self.cached);
        if self.store.has_newer(cached.0) {
            let (sequence, state) = self.store.read_with_sequence().map_err(|_| Code::UNKNOWN)?;
            *cached = (sequence, Arc::new(state));
        }
        Ok(Arc::clone(&cached.1))
    }

    /// Whether a capability of a MIG instance can be opened.
    pub(crate) fn has_capability(&self, minor: u32) -> bool {
        node_access(&self.root.join(format!("dev/nvidia-caps/nvidia-cap{minor}"))) == Access::Given
    }
}

/// The node without which nothing works. A WSL2 machine has one node for all that its GPUs do.
fn control_node(state: &State) -> &'static str {
    if state.profile.wsl { "dev/dxg" } else { "dev/nvidiactl" }
}

/// What comes of opening a device node.
#[derive(PartialEq, Eq)]
enum Access {
    Given,
    Denied,
    Missing,
}

/// A simulated node has no driver behind it, so opening one that is given fails all the same, but with another error
/// than one that is denied or not there.
fn node_access(path: &Path) -> Access {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Access::Missing,
        // EPERM (device cgroup) and EACCES (file mode).
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Access::Denied,
        _ => Access::Given,
    }
}

/// The file of this library, all links resolved.
pub(crate) fn own_path() -> Option<PathBuf> {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    let address: *const c_void = (init as fn() -> Answer<()>) as *const c_void;
    // SAFETY: the address lies in this library and `info` is a Dl_info that may be written.
    let found = unsafe { libc::dladdr(address, &raw mut info) };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr gave a string that lives as long as the library is loaded, and this code is in it.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    std::fs::canonicalize(OsStr::from_bytes(name.to_bytes())).ok()
}

/// The state file lies beside the library and ends with the same driver version.
fn state_path(library: &Path) -> Answer<PathBuf> {
    let name = library.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let version = name.strip_prefix("libnvidia-ml.so.").ok_or(Code::DRIVER_NOT_LOADED)?;
    Ok(library.with_file_name(format!("{FILE_PREFIX}{version}")))
}

/// The driver root: what comes before `/usr/lib`.
pub(crate) fn root_of(library: &Path) -> PathBuf {
    let below = |folder: &&Path| folder.ends_with("usr/lib") || folder.ends_with("usr/lib64");
    let found = library.ancestors().find(below).and_then(|lib| lib.ancestors().nth(2));
    found.unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_what_comes_before_usr_lib() {
        let root = |path: &str| root_of(Path::new(path));
        assert_eq!(
            root("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.535.309.01"),
            Path::new("/")
        );
        assert_eq!(
            root("/a/b/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.535.309.01"),
            Path::new("/a/b")
        );
        assert_eq!(root("/opt/libnvidia-ml.so.535.309.01"), Path::new("/"));
    }
}
