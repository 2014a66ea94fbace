//! The variables of a container's process.

use nvbind_config::RequestConfig;
use serde_json::Value;

/// The capability that makes a container privileged in the toolkit's sense.
const PRIVILEGE: &str = "CAP_SYS_ADMIN";

/// The variables of the container's process, and whether it is privileged.
pub(super) struct Environment<'a> {
    entries: Vec<(&'a str, &'a str)>,
    is_privileged: bool,
}

impl<'a> Environment<'a> {
    pub(super) fn of(config: &'a Value) -> Self {
        let list = config.pointer("/process/env").and_then(Value::as_array);
        let entries = list
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.as_str()?.split_once('='));
        let bounding = config
            .pointer("/process/capabilities/bounding")
            .and_then(Value::as_array);
        Self {
            entries: entries.collect(),
            is_privileged: bounding.is_some_and(|list| list.iter().any(|name| name == PRIVILEGE)),
        }
    }

    /// The variables alone, of a container that is not privileged.
    pub(super) fn of_pairs(pairs: &'a [(String, String)]) -> Self {
        Self {
            entries: pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
            is_privileged: false,
        }
    }

    /// The value of a variable; the last wins where one is set twice.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.entries
            .iter()
            .rev()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    }

    /// The variables whose names start so, each once.
    pub(super) fn with_prefix(&self, prefix: &str) -> Vec<(&'a str, &'a str)> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for (name, _) in self.entries.iter().filter(|(name, _)| name.starts_with(prefix)) {
            if let (false, Some(value)) = (found.iter().any(|(known, _)| known == name), self.get(name)) {
                found.push((*name, value));
            }
        }
        found
    }

    /// Whether devices may be asked for by variables here.
    pub(super) fn is_heard(&self, heard: &RequestConfig) -> bool {
        self.is_privileged || heard.env_when_unprivileged
    }

    /// An image for nvidia-docker 1: it wants every GPU without asking.
    pub(super) fn is_legacy_cuda_image(&self) -> bool {
        let set = |name| self.get(name).is_some_and(|value| !value.is_empty());
        set("CUDA_VERSION") && !set("NVIDIA_REQUIRE_CUDA")
    }
}
