//! The driver's parameters as the container sees them: its libraries are told to leave device nodes alone.
//!
//! The driver's user-space libraries make the device nodes of all GPUs, and change those that there are, when the kernel
//! module says `ModifyDeviceFiles: 1` (`nvidia-modprobe-utils.c`). In a container that would be nodes of GPUs that were not
//! given. They cannot be opened, but programs that list nodes would be misled.

use super::Warnings;
use super::root::Root;
use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// What the kernel module tells.
pub(crate) const PARAMS: &str = "/proc/driver/nvidia/params";
/// The line that lets libraries change nodes, and the one that does not.
const MODIFIED: &str = "ModifyDeviceFiles: 1";
const LEFT_ALONE: &str = "ModifyDeviceFiles: 0";
/// Most bytes of parameters that are read; real ones are about one thousand.
const MAX_BYTES: u64 = 64 << 10;
/// The file's name in a file system of its own.
const NAME: &str = "params";

/// The parameters with device nodes left alone; `None` where they are already, or are not parameters.
pub(crate) fn with_nodes_left_alone(mut params: impl Read) -> Option<String> {
    let mut text = String::new();
    params.by_ref().take(MAX_BYTES).read_to_string(&mut text).ok()?;
    let is_modified = text.lines().any(|line| line == MODIFIED);
    is_modified.then(|| text.replace(MODIFIED, LEFT_ALONE))
}

/// Puts a changed copy over the parameters in the container. Where there are none, nothing is to be done.
pub(super) fn protect(root: &Root, warnings: &mut Warnings) {
    let Ok(file) = root.file(Path::new(PARAMS)) else {
        return;
    };
    let Some(text) = with_nodes_left_alone(file) else {
        return;
    };
    if let Err(error) = cover(root, &text) {
        warnings.add(format!("{PARAMS}: cannot be covered: {error}"));
    }
}

/// Mounts a file of that text over the parameters, from a read-only file system that has no other place: by handles alone,
/// so that no path of the image or of the host is looked up.
fn cover(root: &Root, text: &str) -> Result<(), Errno> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "size", "64k")?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(&mount, NAME, flags, Mode::from_raw_mode(0o444))?);
    file.write_all(text.as_bytes())
        .map_err(|error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))?;
    drop(file);
    rustix::mount::fsconfig_set_flag(context.as_fd(), "ro")?;
    rustix::mount::fsconfig_reconfigure(context.as_fd())?;
    let copy = rustix::mount::open_tree(
        &mount,
        NAME,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )?;
    let target = root.place(Path::new(PARAMS))?;
    let by_handle = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(&copy, "", &target, "", by_handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_line_changes() {
        let changed = with_nodes_left_alone("RmLogonRC: 1\nModifyDeviceFiles: 1\nDeviceFileUID: 0\n".as_bytes());
        assert_eq!(
            changed.as_deref(),
            Some("RmLogonRC: 1\nModifyDeviceFiles: 0\nDeviceFileUID: 0\n")
        );
        for text in [
            "",
            "ModifyDeviceFiles: 0\n",
            "XModifyDeviceFiles: 1\n",
            "ModifyDeviceFiles: 10\n",
        ] {
            assert_eq!(with_nodes_left_alone(text.as_bytes()), None, "{text}");
        }
        assert_eq!(with_nodes_left_alone(&b"\xff\nModifyDeviceFiles: 1\n"[..]), None);
    }
}
