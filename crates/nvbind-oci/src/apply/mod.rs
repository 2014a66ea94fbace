//! Edits into an OCI `config.json`: order and members that are not ours stay as they are.

mod device;
mod hook;
mod json;
mod linux;
mod mount;
mod process;

#[cfg(test)]
mod tests;

use crate::Error;
use nvbind_cdi::Edits;
use serde_json::Value;

/// Puts `edits` into the OCI configuration `config`. Applying the same edits again changes nothing.
///
/// Nothing is read but the host's device nodes, for the numbers, mode and owner that the edits leave out.
///
/// # Errors
///
/// When a member of the configuration has the wrong type or a device node is not there; `config` may then hold a part
/// of the edits and must be thrown away.
pub fn apply(config: &mut Value, edits: &Edits) -> Result<(), Error> {
    let root = json::root(config)?;
    let mut binds = device::apply(root, &edits.device_nodes)?;
    binds.extend_from_slice(&edits.mounts);
    mount::apply(root, &binds)?;
    linux::add_net_devices(root, &edits.net_devices)?;
    linux::set_intel_rdt(root, edits.intel_rdt.as_ref())?;
    process::add_env(root, &edits.env)?;
    process::add_groups(root, &edits.additional_gids)?;
    hook::apply(root, &edits.hooks)
}
