//! The key that a deployment's machines are reached with.

use crate::state::State;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of a deployment's own key.
pub(super) fn key_folder(state: &State, deployment: i64) -> PathBuf {
    state.folder().join("cloud-keys").join(deployment.to_string())
}

/// The public key of a deployment; made when it is not there yet. Empty when it cannot be made, which the first login then tells.
pub(super) fn public_key(state: &State, deployment: i64) -> String {
    let folder = key_folder(state, deployment);
    let made = make_key(&folder);
    let read = made.and_then(|()| std::fs::read_to_string(folder.join("id_ed25519.pub")));
    read.unwrap_or_default().trim().to_owned()
}

/// Makes a key pair by `ssh-keygen`, below a name of its own first: a key that was killed half-way is never used.
fn make_key(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if folder.join("id_ed25519.pub").exists() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = folder.join(format!("draft-{}", std::process::id()));
    let _ = std::fs::remove_file(&draft);
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "nvbind", "-f"])
        .arg(&draft);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err(io::Error::other("ssh-keygen failed"));
    }
    std::fs::rename(&draft, folder.join("id_ed25519"))?;
    std::fs::rename(draft.with_extension("pub"), folder.join("id_ed25519.pub"))
}

/// Forgets the key of a deployment that is over.
pub(super) fn forget(state: &State, deployment: i64) {
    // What stays is a key that opens nothing any more.
    let _ = std::fs::remove_dir_all(key_folder(state, deployment));
}
