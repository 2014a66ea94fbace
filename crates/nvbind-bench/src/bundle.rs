//! The bundles that the candidates run.

use crate::Bench;
use crate::measure::must;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CONFIG: &str = "config.json";

pub(crate) fn read(bundle: &Path) -> Value {
    let bytes = fs::read(bundle.join(CONFIG)).expect("read config.json");
    serde_json::from_slice(&bytes).expect("config.json is JSON")
}

pub(crate) fn write(bundle: &Path, config: &Value) {
    fs::write(bundle.join(CONFIG), config.to_string()).expect("write config.json");
}

/// How many entries a list of the configuration has.
pub(crate) fn count(config: &Value, pointer: &str) -> usize {
    config.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len)
}

impl Bench {
    /// A bundle by `runc spec` that runs `true` on a root file system.
    pub(crate) fn bundle(&self, name: &str, rootfs: &Path, environment: &[&str]) -> PathBuf {
        let bundle = self.work.join(name);
        fs::create_dir_all(&bundle).expect("make a bundle");
        let _ = fs::remove_file(bundle.join(CONFIG));
        must(Command::new("runc").arg("spec").current_dir(&bundle));
        let mut config = read(&bundle);
        config["root"] = json!({ "path": rootfs, "readonly": false });
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["true"]);
        let list = config["process"]["env"].as_array_mut().expect("env");
        list.extend(environment.iter().map(|variable| json!(variable)));
        write(&bundle, &config);
        bundle
    }

    /// The bundle that the native engine makes for `true`, so that runc runs the very same.
    pub(crate) fn native_bundle(&self) -> PathBuf {
        let name = "nvbind-bench-bundle";
        let arguments = ["run", "--runtime", "native", "--detach", "--name", name, "--rootfs"];
        must(
            self.nvbind()
                .args(arguments)
                .arg(&self.rootfs)
                .args(["--", "sleep", "60"]),
        );
        let listed = self.nvbind().args(["ps", "--format", "json"]).output();
        let listed: Value = serde_json::from_slice(&listed.expect("nvbind ps").stdout).expect("nvbind ps prints JSON");
        let rows = listed.as_array().expect("nvbind ps prints a list");
        let row = rows.iter().find(|row| row["name"] == name);
        let made = PathBuf::from(
            row.expect("the container is listed")["bundle"]
                .as_str()
                .expect("bundle"),
        );
        let mut config = read(&made);
        must(self.nvbind().args(["rm", "--force", name]));
        config["process"]["args"] = json!(["true"]);
        if let Some(linux) = config["linux"].as_object_mut() {
            linux.remove("cgroupsPath");
        }
        let bundle = self.work.join("native");
        fs::create_dir_all(&bundle).expect("make a bundle");
        write(&bundle, &config);
        bundle
    }
}
