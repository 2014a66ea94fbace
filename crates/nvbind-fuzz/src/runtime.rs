//! `config.json`, much of which is the image's word.

use nvbind_cdi::Edits;
use nvbind_config::RequestConfig;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Edits of every kind.
static EDITS: LazyLock<Edits> = LazyLock::new(|| {
    let edits = json!({
        "env": ["NVIDIA_VISIBLE_DEVICES=void"],
        "deviceNodes": [{ "path": "/dev/nvidia0", "hostPath": "/dev/null" }],
        "mounts": [{ "hostPath": "/usr/lib/libcuda.so.1", "containerPath": "/usr/lib/libcuda.so.1", "options": ["ro"] }],
        "hooks": [{ "hookName": "createContainer", "path": "/usr/bin/nvbind-hook", "args": ["nvbind-hook", "create-container", "--link=a::/b"] }],
        "additionalGids": [44],
    });
    serde_json::from_value(edits).unwrap()
});

/// Edits are all there after they were applied, and applying them again changes nothing. No hook is without an
/// environment.
pub(crate) fn config_json(data: &[u8]) {
    let Ok(mut config) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let _ = nvbind_oci::request(&config, &RequestConfig::default());
    if nvbind_oci::apply(&mut config, &EDITS).is_err() {
        return;
    }
    let once = config.clone();
    nvbind_oci::apply(&mut config, &EDITS).unwrap();
    assert_eq!(config, once);
    let hooks = config["hooks"]["createContainer"].as_array().unwrap();
    let is_ours = |hook: &&Value| hook["path"] == "/usr/bin/nvbind-hook" && hook["args"][1] == "create-container";
    let ours = hooks.iter().find(is_ours).unwrap();
    assert!(ours["env"].as_array().is_some_and(|env| !env.is_empty()));
}
