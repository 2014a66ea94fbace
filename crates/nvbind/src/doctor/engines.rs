//! Is what the engines are told about runtimes true?

use super::engine::{CdiSupport, Engine, EngineKind, find};
use super::{Finding, Site};
use serde_json::Value;
use std::path::{Path, PathBuf};

const DAEMON_JSON: &str = "/etc/docker/daemon.json";
/// containerd's own configuration, and those of the Kubernetes distributions that bring a containerd along.
const CONTAINERD_CONFIGS: [&str; 3] = [
    "/etc/containerd/config.toml",
    "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
    "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
];
const CRIO_FOLDER: &str = "/etc/crio/crio.conf.d";
const TOOLKIT_CONFIG: &str = "/etc/nvidia-container-runtime/config.toml";
/// The first docker in which CDI is on without being asked for (release notes of 28.2).
const DOCKER_WITH_CDI_ON: (u32, u32, u32) = (28, 2, 0);
/// The first containerd in which it is (release notes of 2.0).
const CONTAINERD_WITH_CDI_ON: (u32, u32, u32) = (2, 0, 0);

pub(super) fn check(site: &Site) -> Vec<Finding> {
    let mut findings: Vec<Finding> = site.engines.iter().map(introduce).collect();
    findings.extend(docker(site));
    for path in CONTAINERD_CONFIGS {
        findings.extend(containerd(site, path));
    }
    findings.extend(crio(site));
    findings.extend(toolkit(site));
    findings
}

/// How devices get into the containers of an engine.
fn introduce(engine: &Engine) -> Finding {
    match engine.cdi() {
        CdiSupport::None => Finding::advice(
            "engines.cdi",
            format!("{engine} knows no CDI: `--device nvidia.com/gpu=0` does not work there"),
        )
        .command(match engine.kind {
            EngineKind::Docker => "nvbind runtime configure --runtime docker; then docker run --runtime nvbind",
            _ => "use nvbind-runtime as its OCI runtime",
        }),
        CdiSupport::UpTo(version) => Finding::ok("engines.cdi", format!("{engine} reads CDI specs up to {version}")),
        CdiSupport::Unknown => Finding::ok("engines.cdi", format!("{engine} is installed")),
    }
}

fn docker(site: &Site) -> Vec<Finding> {
    let mut findings = Vec::new();
    if ["/var/snap/docker", "/snap/docker"]
        .iter()
        .any(|path| site.path(path).exists())
    {
        findings.push(
            Finding::trouble(
                "engines.snap",
                "docker comes from a snap: it sees another /usr than the host's, so neither the driver's files nor the runtime are found",
            )
            .command("snap remove docker; apt install docker.io"),
        );
    }
    let Some(text) = site.text(DAEMON_JSON).filter(|text| !text.trim().is_empty()) else {
        return findings;
    };
    match serde_json::from_str::<Value>(&text) {
        Ok(settings) => findings.extend(daemon(site, &settings)),
        Err(error) => findings.push(
            Finding::trouble(
                "engines.docker",
                format!("{DAEMON_JSON} is not JSON, so docker does not start: {error}"),
            )
            .command(format!("edit {DAEMON_JSON}; dockerd --validate")),
        ),
    }
    findings
}

fn daemon(site: &Site, settings: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let runtimes = settings["runtimes"].as_object();
    for (name, runtime) in runtimes.into_iter().flatten() {
        let path = runtime["path"].as_str().unwrap_or_default();
        if !path.is_empty() && !exists(site, path) {
            findings.push(missing_runtime("docker", name, path, DAEMON_JSON));
        }
    }
    let default = settings["default-runtime"].as_str();
    let is_known = |name: &str| {
        name == "runc" || name.starts_with("io.containerd.") || runtimes.is_some_and(|all| all.contains_key(name))
    };
    if let Some(name) = default.filter(|name| !is_known(name)) {
        let message = format!("docker's default runtime '{name}' is not among its runtimes: docker does not start");
        findings.push(Finding::trouble("engines.docker", message).command(format!("edit {DAEMON_JSON}")));
    }
    let version = site
        .engines
        .iter()
        .find(|engine| engine.kind == EngineKind::Docker)
        .and_then(|engine| engine.version);
    let is_optional = version.is_some_and(|version| version >= (25, 0, 0) && version < DOCKER_WITH_CDI_ON);
    if is_optional && settings["features"]["cdi"].as_bool() != Some(true) {
        findings.push(
            Finding::advice("engines.docker", "this docker reads CDI specs only when it is told to").command(format!(
                "add \"features\": {{\"cdi\": true}} to {DAEMON_JSON}; systemctl restart docker"
            )),
        );
    }
    findings
}

fn containerd(site: &Site, path: &str) -> Vec<Finding> {
    let Some(text) = site.text(path) else {
        return Vec::new();
    };
    let config = match text.parse::<toml::Table>() {
        Ok(config) => toml::Value::Table(config),
        Err(error) => {
            let message = format!("{path} is not TOML, so containerd does not start: {}", error.message());
            return vec![Finding::trouble("engines.containerd", message).command("containerd config dump")];
        }
    };
    let mut findings = Vec::new();
    each(&config, "BinaryName", &mut |name, value| {
        if let Some(program) = value
            .as_str()
            .filter(|program| !program.is_empty() && !exists(site, program))
        {
            findings.push(missing_runtime("containerd", name, program, path));
        }
    });
    let version = site
        .engines
        .iter()
        .find(|engine| engine.kind == EngineKind::Containerd)
        .and_then(|engine| engine.version);
    let mut is_on = version.is_none_or(|version| version < (1, 7, 0) || version >= CONTAINERD_WITH_CDI_ON);
    each(&config, "enable_cdi", &mut |_, value| {
        is_on = value.as_bool() == Some(true);
    });
    if !is_on {
        findings.push(
            Finding::advice(
                "engines.containerd",
                format!("{path} does not turn CDI on: pods are given no CDI devices"),
            )
            .command("enable_cdi = true in the CRI section; systemctl restart containerd"),
        );
    }
    findings
}

/// Every value of that key, anywhere in a configuration, with the name of the nearest runtime above it.
fn each(value: &toml::Value, key: &str, found: &mut impl FnMut(&str, &toml::Value)) {
    fn walk(value: &toml::Value, key: &str, name: &str, found: &mut dyn FnMut(&str, &toml::Value)) {
        for (inner, value) in value.as_table().into_iter().flatten() {
            match inner == key {
                true => found(name, value),
                false => walk(value, key, if inner == "options" { name } else { inner }, found),
            }
        }
    }
    walk(value, key, "", found);
}

fn crio(site: &Site) -> Vec<Finding> {
    let entries = std::fs::read_dir(site.path(CRIO_FOLDER))
        .into_iter()
        .flatten()
        .flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    let mut findings = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let Ok(config) = text.parse::<toml::Table>() else {
            let message = format!("{} is not TOML, so cri-o does not start", path.display());
            findings.push(Finding::trouble("engines.crio", message).command("crio config"));
            continue;
        };
        each(&toml::Value::Table(config), "runtime_path", &mut |name, value| {
            if let Some(program) = value
                .as_str()
                .filter(|program| !program.is_empty() && !exists(site, program))
            {
                findings.push(missing_runtime("crio", name, program, &path.display().to_string()));
            }
        });
    }
    findings
}

/// One setting of NVIDIA's toolkit serves root and rootless engines alike, and cannot be right for both.
fn toolkit(site: &Site) -> Option<Finding> {
    let config = site.text(TOOLKIT_CONFIG)?.parse::<toml::Table>().ok()?;
    let is_off = config.get("nvidia-container-cli")?.get("no-cgroups")?.as_bool()?;
    is_off.then(|| {
        Finding::advice(
            "engines.toolkit",
            format!("{TOOLKIT_CONFIG} has no-cgroups = true: NVIDIA's legacy hook then gives root's containers no device rights"),
        )
        .command("nvbind needs no such setting: use nvbind-runtime or CDI")
    })
}

fn missing_runtime(engine: &str, name: &str, path: &str, file: &str) -> Finding {
    let message = format!("{engine}'s runtime '{name}' is '{path}', which is not there: its containers do not start");
    Finding::trouble("engines.runtime", message).command(format!("install it, or edit {file}"))
}

/// Whether a program that a configuration names is there, by path or on `PATH`.
fn exists(site: &Site, program: &str) -> bool {
    match Path::new(program).is_absolute() {
        true => site.path(program).is_file(),
        false => find(&site.host_root, program).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::testing::{Fake, levels, only};
    use super::*;

    #[test]
    fn a_runtime_that_is_not_there() {
        let fake = Fake::with_driver("535.1.1");
        fake.file(
            "etc/docker/daemon.json",
            r#"{"runtimes": {"nvbind": {"path": "/usr/bin/nvbind-runtime"}}}"#,
        );
        let finding = only(check(&fake.site()), "engines.runtime");
        assert!(
            finding.level == Level::Trouble && finding.message.contains("'/usr/bin/nvbind-runtime'"),
            "{finding:?}"
        );
        fake.file("usr/bin/nvbind-runtime", "");
        assert!(levels(&check(&fake.site()), "engines.runtime").is_empty());
    }

    #[test]
    fn docker_that_will_not_start() {
        let fake = Fake::with_driver("535.1.1");
        fake.file("etc/docker/daemon.json", "{");
        assert_eq!(only(check(&fake.site()), "engines.docker").level, Level::Trouble);
        fake.file("etc/docker/daemon.json", r#"{"default-runtime": "nvidia"}"#);
        assert!(only(check(&fake.site()), "engines.docker").message.contains("'nvidia'"));
        fake.file("etc/docker/daemon.json", r#"{"default-runtime": "runc"}"#);
        assert!(levels(&check(&fake.site()), "engines.docker").is_empty());
        fake.folder("var/snap/docker");
        assert_eq!(levels(&check(&fake.site()), "engines.snap"), [Level::Trouble]);
    }

    #[test]
    fn cdi_that_is_off() {
        let fake = Fake::with_driver("535.1.1");
        let with = |kind, version, file: &str, text: &str| {
            fake.file(file, text);
            let mut site = fake.site();
            site.engines = vec![Engine {
                kind,
                version: Some(version),
            }];
            let level = check(&site).iter().map(|finding| finding.level).max();
            fake.remove(file);
            level
        };
        let docker = |version, text: &str| with(EngineKind::Docker, version, "etc/docker/daemon.json", text);
        assert_eq!(docker((27, 0, 0), "{}"), Some(Level::Advice));
        assert_eq!(docker((27, 0, 0), r#"{"features": {"cdi": true}}"#), Some(Level::Ok));
        assert_eq!(docker((28, 3, 0), "{}"), Some(Level::Ok));
        let containerd =
            |version, text: &str| with(EngineKind::Containerd, version, "etc/containerd/config.toml", text);
        let cri = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\n";
        assert_eq!(containerd((1, 7, 20), cri), Some(Level::Advice));
        assert_eq!(
            containerd((1, 7, 20), &format!("{cri}enable_cdi = true\n")),
            Some(Level::Ok)
        );
        assert_eq!(containerd((2, 0, 0), cri), Some(Level::Ok));
    }

    #[test]
    fn runtimes_of_containerd_and_crio() {
        let fake = Fake::with_driver("535.1.1");
        let runtime = "[plugins.cri.containerd.runtimes.nvbind.options]\nBinaryName = \"/opt/nvbind-runtime\"\n";
        fake.file("etc/containerd/config.toml", runtime);
        assert!(
            only(check(&fake.site()), "engines.runtime")
                .message
                .contains("runtime 'nvbind' is '/opt/nvbind-runtime'")
        );
        fake.file("etc/containerd/config.toml", "[");
        assert_eq!(only(check(&fake.site()), "engines.containerd").level, Level::Trouble);
        fake.remove("etc/containerd");
        fake.file(
            "etc/crio/crio.conf.d/99.conf",
            "[crio.runtime.runtimes.nvbind]\nruntime_path = \"/opt/x\"\n",
        );
        assert!(
            only(check(&fake.site()), "engines.runtime")
                .message
                .contains("crio's runtime 'nvbind'")
        );
    }

    #[test]
    fn a_setting_that_cannot_serve_both() {
        let fake = Fake::with_driver("535.1.1");
        fake.file(
            "etc/nvidia-container-runtime/config.toml",
            "[nvidia-container-cli]\nno-cgroups = true\n",
        );
        assert_eq!(only(check(&fake.site()), "engines.toolkit").level, Level::Advice);
        fake.file(
            "etc/nvidia-container-runtime/config.toml",
            "[nvidia-container-cli]\n#no-cgroups = true\n",
        );
        assert!(levels(&check(&fake.site()), "engines.toolkit").is_empty());
    }
}
