//! A spec for another root: the driver lies elsewhere on the host than where the spec was made, or in the container.

use crate::{DeviceNode, Edits, Error, Hook, Spec};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Hooks that run in the container's namespaces: their arguments are paths in the container.
const CONTAINER_HOOKS: [&str; 2] = ["createContainer", "startContainer"];
/// The hook whose program is one of the container's.
const CONTAINER_PROGRAM: &str = "startContainer";

/// Whose paths are meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RelativeTo {
    /// Those that the engine looks up on the host.
    #[default]
    Host,
    /// Those in the container.
    Container,
}

impl FromStr for RelativeTo {
    type Err = Error;

    /// Reads the value of `--relative-to`.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "host" => Ok(Self::Host),
            "container" => Ok(Self::Container),
            _ => Err(Error::Option {
                option: "relative-to",
                value: text.to_owned(),
                wanted: "host or container",
            }),
        }
    }
}

/// The root that paths begin with, and the one that they are to begin with.
struct Root<'a> {
    from: &'a Path,
    to: &'a Path,
}

impl Spec {
    /// Puts `to` in the place of `from` wherever a path begins with it, as `nvidia-ctk cdi transform root` does.
    pub fn transform_root(&mut self, from: &Path, to: &Path, relative_to: RelativeTo) {
        let root = Root { from, to };
        let apply = match relative_to {
            RelativeTo::Host => Root::to_host_paths,
            RelativeTo::Container => Root::to_container_paths,
        };
        apply(&root, &mut self.container_edits);
        for device in &mut self.devices {
            apply(&root, &mut device.container_edits);
        }
    }
}

impl Root<'_> {
    fn to_host_paths(&self, edits: &mut Edits) {
        for node in &mut edits.device_nodes {
            let host = self.path(node.host_path.as_deref().unwrap_or(&node.path));
            set_host_path(node, host);
        }
        for mount in &mut edits.mounts {
            mount.host_path = self.path(&mount.host_path);
        }
        for hook in &mut edits.hooks {
            if hook.hook_name != CONTAINER_PROGRAM {
                hook.path = self.path(&hook.path);
            }
            if !CONTAINER_HOOKS.contains(&hook.hook_name.as_str()) {
                self.to_arguments(hook);
            }
        }
    }

    fn to_container_paths(&self, edits: &mut Edits) {
        for node in &mut edits.device_nodes {
            // The node on the host stays where it is.
            let host = node.host_path.take().unwrap_or_else(|| node.path.clone());
            node.path = self.path(&node.path);
            set_host_path(node, host);
        }
        for mount in &mut edits.mounts {
            mount.container_path = self.path(&mount.container_path);
        }
        for hook in &mut edits.hooks {
            if hook.hook_name == CONTAINER_PROGRAM {
                hook.path = self.path(&hook.path);
            }
            if CONTAINER_HOOKS.contains(&hook.hook_name.as_str()) {
                self.to_arguments(hook);
            }
        }
    }

    fn to_arguments(&self, hook: &mut Hook) {
        for argument in &mut hook.args {
            *argument = self.argument(argument);
        }
    }

    /// A path, `TARGET::LINK`, or either behind `--flag=`.
    fn argument(&self, argument: &str) -> String {
        let is_flag = argument.starts_with("--");
        match argument.split_once('=').filter(|_| is_flag) {
            Some((flag, value)) => format!("{flag}={}", self.value(value)),
            None => self.value(argument),
        }
    }

    fn value(&self, value: &str) -> String {
        let paths: Vec<String> = value
            .splitn(2, "::")
            .map(|path| self.path(Path::new(path)).to_string_lossy().into_owned())
            .collect();
        paths.join("::")
    }

    /// By whole names: `/run/nvidia` is not the beginning of `/run/nvidia-persistenced`.
    fn path(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(self.from) {
            Ok(rest) if rest.as_os_str().is_empty() => self.to.to_owned(),
            Ok(rest) => self.to.join(rest),
            Err(_) => path.to_owned(),
        }
    }
}

fn set_host_path(node: &mut DeviceNode, host: PathBuf) {
    node.host_path = Some(host).filter(|host| *host != node.path);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec() -> Spec {
        let hook =
            |name: &str, args: &[&str]| json!({ "hookName": name, "path": "/run/driver/bin/hook", "args": args });
        serde_json::from_value(json!({
            "cdiVersion": "0.5.0", "kind": "nvidia.com/gpu",
            "devices": [{ "name": "0", "containerEdits": { "deviceNodes": [
                { "path": "/dev/nvidia0", "hostPath": "/run/driver/dev/nvidia0" }, { "path": "/dev/dxg" } ] } }],
            "containerEdits": {
                "mounts": [
                    { "hostPath": "/run/driver/usr/lib/a.so", "containerPath": "/usr/lib/a.so" },
                    { "hostPath": "/run/driver-2/b", "containerPath": "/b" } ],
                "hooks": [
                    hook("createContainer", &["hook", "create-container", "--link=a.so.1::/usr/lib/a.so", "--library=/usr/lib/a.so"]),
                    hook("startContainer", &[]),
                    hook("prestart", &["/run/driver/x", "/run/driver/a::/b", "--folder=/run/driver/usr"]) ] } }))
        .unwrap()
    }

    fn transformed(from: &str, to: &str, relative_to: RelativeTo) -> serde_json::Value {
        let mut spec = spec();
        spec.transform_root(Path::new(from), Path::new(to), relative_to);
        spec.validate().unwrap();
        serde_json::to_value(spec).unwrap()
    }

    #[test]
    fn paths_of_the_host() {
        let spec = transformed("/run/driver", "/", RelativeTo::Host);
        let common = &spec["containerEdits"];
        assert_eq!(
            spec["devices"][0]["containerEdits"]["deviceNodes"],
            json!([{ "path": "/dev/nvidia0" }, { "path": "/dev/dxg" }])
        );
        assert_eq!(common["mounts"][0]["hostPath"], "/usr/lib/a.so");
        assert_eq!(common["mounts"][0]["containerPath"], "/usr/lib/a.so");
        assert_eq!(common["mounts"][1]["hostPath"], "/run/driver-2/b");
        let paths: Vec<_> = common["hooks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hook| &hook["path"])
            .collect();
        assert_eq!(paths, ["/bin/hook", "/run/driver/bin/hook", "/bin/hook"]);
        assert_eq!(common["hooks"][0]["args"][2], "--link=a.so.1::/usr/lib/a.so");
        assert_eq!(common["hooks"][2]["args"], json!(["/x", "/a::/b", "--folder=/usr"]));
    }

    #[test]
    fn paths_of_the_container() {
        let spec = transformed("/usr/lib", "/opt/lib", RelativeTo::Container);
        let common = &spec["containerEdits"];
        assert_eq!(common["mounts"][0]["containerPath"], "/opt/lib/a.so");
        assert_eq!(common["mounts"][0]["hostPath"], "/run/driver/usr/lib/a.so");
        assert_eq!(common["hooks"][0]["args"][2], "--link=a.so.1::/opt/lib/a.so");
        assert_eq!(common["hooks"][0]["args"][3], "--library=/opt/lib/a.so");
        assert_eq!(common["hooks"][0]["path"], "/run/driver/bin/hook");
        let spec = transformed("/dev", "/nodes", RelativeTo::Container);
        assert_eq!(
            spec["devices"][0]["containerEdits"]["deviceNodes"],
            json!([{ "path": "/nodes/nvidia0", "hostPath": "/run/driver/dev/nvidia0" }, { "path": "/nodes/dxg", "hostPath": "/dev/dxg" }])
        );
    }
}
