//! Hooks: every one with an environment of its own, ours merged into one process.

use super::json::{self, Object};
use crate::Error;
use nvbind_cdi::Hook;
use serde_json::{Value, json};
use std::path::Path;

/// Stages of the OCI runtime specification.
const STAGES: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

/// Environment of a hook whose spec gives none. A hook without a list of its own inherits the image's variables in
/// runc, `LD_PRELOAD` among them (CVE-2025-23266).
const DEFAULT_ENV: [&str; 1] = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];

/// File name and first argument of our own hook.
const OURS: (&str, &str) = ("nvbind-hook", "create-container");

/// Appends the hooks to their stages; one that is already there, word for word, is not repeated.
pub(super) fn apply(root: &mut Object, hooks: &[Hook]) -> Result<(), Error> {
    for hook in hooks {
        if !STAGES.contains(&hook.hook_name.as_str()) {
            return Err(Error::HookStage {
                path: hook.path.clone(),
                stage: hook.hook_name.clone(),
            });
        }
        let list = json::array(json::object(root, "hooks")?, &hook.hook_name)?;
        let entry = oci_hook(hook)?;
        let mergeable = |old: &Value| is_ours(old) && is_ours(&entry) && old["path"] == entry["path"];
        if let Some(old) = list.iter_mut().find(|old| mergeable(old)) {
            add_arguments(old, &hook.args);
            if old.get("env").and_then(Value::as_array).is_none_or(Vec::is_empty) {
                old["env"] = entry["env"].clone();
            }
        } else if !list.contains(&entry) {
            list.push(entry);
        }
    }
    Ok(())
}

fn oci_hook(hook: &Hook) -> Result<Value, Error> {
    let env = if hook.env.is_empty() {
        DEFAULT_ENV.map(str::to_owned).to_vec()
    } else {
        hook.env.clone()
    };
    let mut entry = json!({ "path": json::text(&hook.path)? });
    if !hook.args.is_empty() {
        entry["args"] = json!(hook.args);
    }
    entry["env"] = json!(env);
    if let Some(timeout) = hook.timeout {
        entry["timeout"] = timeout.into();
    }
    Ok(entry)
}

fn is_ours(entry: &Value) -> bool {
    let program = json::string(entry, "path").and_then(|path| Path::new(path).file_name());
    let command = entry.get("args").and_then(|args| args.get(1)).and_then(Value::as_str);
    program.is_some_and(|name| name == OURS.0) && command == Some(OURS.1)
}

/// Adds the arguments that the hook does not have yet; the program's name and the command stand first in both.
fn add_arguments(entry: &mut Value, args: &[String]) {
    let Some(list) = entry.get_mut("args").and_then(Value::as_array_mut) else {
        return;
    };
    for argument in args {
        if !list.iter().any(|old| old.as_str() == Some(argument)) {
            list.push(Value::from(argument.as_str()));
        }
    }
}
