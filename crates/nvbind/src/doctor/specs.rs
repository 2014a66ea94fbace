//! Are the CDI specs there, true, and where the engines look for them?

use super::engine::CdiSupport;
use super::{Finding, Remedy, Site};
use nvbind_cdi::{Spec, SpecFile};
use nvbind_gpu::{Health, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The vendor whose specs are looked at closely.
const VENDOR: &str = "nvidia.com/";
/// The kind that `--device nvidia.com/gpu=0` means.
const USUAL_KIND: &str = "nvidia.com/gpu";
const MEND: &str = "nvbind doctor --fix";

pub(super) fn check(site: &Site) -> Vec<Finding> {
    let mut findings: Vec<Finding> = site
        .registry
        .errors()
        .iter()
        .map(|error| Finding::trouble("specs.unreadable", error.to_string()))
        .collect();
    findings.extend(misnamed(site));
    findings.extend(folders(site));
    let ours: Vec<&SpecFile> = site
        .registry
        .specs()
        .iter()
        .filter(|file| file.spec.kind.starts_with(VENDOR))
        .collect();
    if site.has_driver() && !ours.iter().any(|file| file.spec.kind == USUAL_KIND) {
        findings.push(absent(site));
    }
    for file in &ours {
        let troubles = [stale(site, file), too_new(site, file)];
        let before = findings.len();
        findings.extend(troubles.into_iter().flatten());
        if findings.len() == before {
            let (path, count) = (file.path.display(), file.spec.devices.len());
            findings.push(Finding::ok("specs", format!("{path} is right: {count} device(s)")));
        }
    }
    findings.extend(duplicates(&ours));
    findings
}

fn absent(site: &Site) -> Finding {
    let folders: Vec<String> = site.spec_dirs.iter().map(|dir| dir.display().to_string()).collect();
    let message = format!(
        "no CDI spec of {USUAL_KIND} in {}: `--device {USUAL_KIND}=0` does not work; nvbind-runtime and nvbind run need none",
        folders.join(", ")
    );
    Finding::advice("specs.absent", message)
        .command("systemctl enable --now nvbind-cdi-watch, or nvbind cdi watch --once")
}

/// What of the host is not as the spec says.
fn stale(site: &Site, file: &SpecFile) -> Option<Finding> {
    let why = file.spec.stale().or_else(|| other_devices(site, &file.spec))?;
    let message = format!("{} is out of date: {why}", file.path.display());
    let is_ours = file.spec.kind == USUAL_KIND;
    let finding = Finding::trouble("specs.stale", message);
    // Specs of other kinds may come from other tools, with options that are not known here.
    Some(match is_ours && site.has_driver() {
        true => finding
            .command(format!(
                "{MEND}; to keep it so: systemctl enable --now nvbind-cdi-watch"
            ))
            .remedy(Remedy::Regenerate(file.path.clone())),
        false => finding.command("generate it anew with what made it"),
    })
}

/// GPUs and MIG devices that the host has and the spec does not, or the other way round.
fn other_devices(site: &Site, spec: &Spec) -> Option<String> {
    if site.host.source != Source::Nvml || spec.kind != USUAL_KIND {
        return None;
    }
    let named: BTreeSet<&str> = spec
        .devices
        .iter()
        .map(|device| device.name.as_str())
        .filter(|name| name.starts_with("GPU-") || name.starts_with("MIG-"))
        .collect();
    // A spec without UUIDs, or one for chosen GPUs, was made so.
    if named.is_empty() || !spec.devices.iter().any(|device| device.name == "all") {
        return None;
    }
    let there: BTreeSet<&str> = site
        .host
        .gpus
        .iter()
        .filter(|gpu| gpu.health != Health::Lost)
        .flat_map(|gpu| match gpu.mig.enabled {
            true => gpu.mig.devices.iter().map(|mig| mig.uuid.as_str()).collect(),
            false => vec![gpu.uuid.as_str()],
        })
        .collect();
    if let Some(gone) = named.difference(&there).next() {
        return Some(format!("{gone} cannot be given any more"));
    }
    there.difference(&named).next().map(|new| format!("{new} is not in it"))
}

fn too_new(site: &Site, file: &SpecFile) -> Option<Finding> {
    let needed = file.spec.cdi_version.as_str();
    let is_too_new = |limit: &str| numbers(needed) > numbers(limit);
    let engines: Vec<String> = site
        .engines
        .iter()
        .filter_map(|engine| match engine.cdi() {
            CdiSupport::UpTo(limit) if is_too_new(limit) => Some(format!("{engine} reads up to {limit}")),
            _ => None,
        })
        .collect();
    let lowest = site.engines.iter().filter_map(|engine| match engine.cdi() {
        CdiSupport::UpTo(limit) if is_too_new(limit) => Some(limit),
        _ => None,
    });
    let lowest = lowest.min_by_key(|limit| numbers(limit))?;
    let path = file.path.display();
    let message = format!("{path} is of CDI version {needed}, too new for {}", engines.join(", "));
    Some(
        Finding::trouble("specs.version", message)
            .command(format!("nvbind cdi generate --cdi-version {lowest} --output {path}")),
    )
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// A device that two files define: the file of the later folder wins, and the other one is edited in vain.
fn duplicates(files: &[&SpecFile]) -> Vec<Finding> {
    let mut first: BTreeMap<String, &SpecFile> = BTreeMap::new();
    let mut pairs: BTreeMap<(PathBuf, PathBuf), String> = BTreeMap::new();
    for file in files {
        for device in &file.spec.devices {
            let name = format!("{}={}", file.spec.kind, device.name);
            match first.get(&name) {
                Some(other) if other.priority != file.priority => {
                    pairs.entry((other.path.clone(), file.path.clone())).or_insert(name);
                }
                Some(_) => {}
                None => drop(first.insert(name, file)),
            }
        }
    }
    let finding = |((hidden, winner), name): ((PathBuf, PathBuf), String)| {
        let message = format!(
            "{name} is in {} and in {}: the second counts",
            hidden.display(),
            winner.display()
        );
        Finding::trouble("specs.duplicate", message).command(format!("keep one: rm {}", hidden.display()))
    };
    pairs.into_iter().map(finding).collect()
}

/// Specs with names that no engine reads.
fn misnamed(site: &Site) -> Vec<Finding> {
    let entries = |dir: &PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let is_yml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yml");
    let paths = site.spec_dirs.iter().flat_map(entries).map(|entry| entry.path());
    let finding = |path: PathBuf| {
        let message = format!("{} is read by no engine: only .yaml and .json are", path.display());
        Finding::trouble("specs.name", message).command(format!(
            "mv {} {}",
            path.display(),
            path.with_extension("yaml").display()
        ))
    };
    paths.filter(is_yml).map(finding).collect()
}

/// Whether every engine looks where the specs are.
fn folders(site: &Site) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !is_run_linked(site) && site.path("/run/cdi").is_dir() {
        findings.push(
            Finding::trouble(
                "specs.folder",
                "/run/cdi and /var/run/cdi are two folders here, and engines read the second: specs in /run/cdi are not found",
            )
            .command("mv /run/cdi/* /var/run/cdi/, or make /var/run a link to /run"),
        );
    }
    let used = used_folders(site);
    for (file, key, read) in configured_folders(site) {
        let unread = used.iter().filter(|folder| !read.contains(*folder));
        findings.extend(unread.map(|folder| {
            let message = format!("{file} sets {key}, and {folder} is not in it: the specs there are not found");
            Finding::trouble("specs.folder", message).command(format!("add \"{folder}\" to {key} in {file}"))
        }));
    }
    findings
}

/// Where distributions follow the standard, `/var/run` is a link to `/run`.
fn is_run_linked(site: &Site) -> bool {
    std::fs::read_link(site.path("/var/run")).is_ok_and(|target| target.ends_with("run"))
}

/// A folder by the name that all have for it.
fn usual_name(site: &Site, folder: &str) -> String {
    match folder.strip_prefix("/run/") {
        Some(rest) if is_run_linked(site) => format!("/var/run/{rest}"),
        _ => folder.trim_end_matches('/').to_owned(),
    }
}

/// The folders that hold specs of NVIDIA devices.
fn used_folders(site: &Site) -> BTreeSet<String> {
    let on_host = |file: &SpecFile| {
        let folder = file.path.parent()?.strip_prefix(&site.host_root).ok()?;
        Some(usual_name(site, &Path::new("/").join(folder).display().to_string()))
    };
    let specs = site
        .registry
        .specs()
        .iter()
        .filter(|file| file.spec.kind.starts_with(VENDOR));
    specs.filter_map(on_host).collect()
}

/// Engines that are told which folders to read, in place of `/etc/cdi` and `/var/run/cdi`: the file, the key and the
/// folders.
fn configured_folders(site: &Site) -> Vec<(&'static str, &'static str, Vec<String>)> {
    let words = |value: Option<&toml::Value>| -> Option<Vec<String>> {
        let all = value?.as_array()?.iter();
        Some(all.filter_map(|word| Some(usual_name(site, word.as_str()?))).collect())
    };
    let mut found = Vec::new();
    let docker = "/etc/docker/daemon.json";
    let daemon: Option<serde_json::Value> = site.text(docker).and_then(|text| serde_json::from_str(&text).ok());
    if let Some(all) = daemon
        .as_ref()
        .and_then(|settings| settings["cdi-spec-dirs"].as_array())
    {
        let all = all.iter().filter_map(|word| Some(usual_name(site, word.as_str()?)));
        found.push((docker, "cdi-spec-dirs", all.collect()));
    }
    let podman = "/etc/containers/containers.conf";
    let config = site.text(podman).and_then(|text| text.parse::<toml::Table>().ok());
    if let Some(all) = words(
        config
            .as_ref()
            .and_then(|config| config.get("engine")?.get("cdi_spec_dirs")),
    ) {
        found.push((podman, "engine.cdi_spec_dirs", all));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::engine::{Engine, EngineKind};
    use super::super::testing::{Fake, levels, only};
    use super::*;

    fn spec(version: &str, node: &str) -> String {
        format!(
            r#"{{"cdiVersion": "{version}", "kind": "nvidia.com/gpu", "devices": [{{"name": "gpu0", "containerEdits":
            {{"deviceNodes": [{{"path": "{node}"}}]}}}}], "containerEdits": {{}}}}"#
        )
    }

    #[test]
    fn absent_right_and_stale() {
        let fake = Fake::with_driver("535.1.1");
        assert_eq!(only(check(&fake.site()), "specs.absent").level, Level::Advice);
        fake.file("etc/cdi/nvidia.json", &spec("0.5.0", "/dev/null"));
        assert_eq!(only(check(&fake.site()), "specs").level, Level::Ok);
        fake.file("etc/cdi/nvidia.json", &spec("0.5.0", "/dev/nonexistent"));
        let finding = only(check(&fake.site()), "specs.stale");
        let path = fake.path("etc/cdi/nvidia.json");
        assert_eq!(
            (finding.level, finding.remedy),
            (Level::Trouble, Some(Remedy::Regenerate(path)))
        );
    }

    #[test]
    fn broken_writable_and_misnamed() {
        let fake = Fake::with_driver("535.1.1");
        fake.file("etc/cdi/a.json", "{");
        fake.file("etc/cdi/b.yml", "");
        fake.file("etc/cdi/c.json", &spec("0.5.0", "/dev/null"));
        fake.mode("etc/cdi/c.json", 0o666);
        let findings = check(&fake.site());
        assert_eq!(levels(&findings, "specs.unreadable"), [Level::Trouble; 2]);
        assert!(
            findings.iter().any(|finding| finding.message.contains("chmod go-w")),
            "{findings:?}"
        );
        assert!(only(findings, "specs.name").command.unwrap().starts_with("mv "));
    }

    #[test]
    fn two_copies() {
        let fake = Fake::with_driver("535.1.1");
        fake.file("etc/cdi/nvidia.json", &spec("0.5.0", "/dev/null"));
        fake.file("var/run/cdi/nvidia.json", &spec("0.5.0", "/dev/null"));
        let finding = only(check(&fake.site()), "specs.duplicate");
        assert!(
            finding.command.unwrap().contains("rm ") && finding.remedy.is_none(),
            "only advised"
        );
    }

    #[test]
    fn too_new_for_an_engine() {
        let fake = Fake::with_driver("535.1.1");
        fake.file("etc/cdi/nvidia.json", &spec("0.7.0", "/dev/null"));
        let mut site = fake.site();
        let podman = |version| {
            vec![Engine {
                kind: EngineKind::Podman,
                version: Some(version),
            }]
        };
        site.engines = podman((4, 3, 1));
        let finding = only(check(&site), "specs.version");
        assert!(finding.command.unwrap().contains("--cdi-version 0.5.0"));
        site.engines = podman((5, 2, 0));
        assert!(levels(&check(&site), "specs.version").is_empty());
    }

    #[test]
    fn folders_that_engines_do_not_read() {
        let fake = Fake::with_driver("535.1.1");
        fake.folder("run/cdi");
        fake.folder("var/run/cdi");
        assert_eq!(only(check(&fake.site()), "specs.folder").level, Level::Trouble);
        fake.remove("run/cdi");
        fake.file("etc/cdi/nvidia.json", &spec("0.5.0", "/dev/null"));
        fake.file("etc/docker/daemon.json", r#"{"cdi-spec-dirs": ["/run/cdi"]}"#);
        let finding = only(check(&fake.site()), "specs.folder");
        assert!(finding.message.contains("/etc/docker/daemon.json") && finding.message.contains("/etc/cdi"));
        fake.file("etc/docker/daemon.json", r#"{"cdi-spec-dirs": ["/etc/cdi/"]}"#);
        fake.file(
            "etc/containers/containers.conf",
            "[engine]\ncdi_spec_dirs = [\"/opt/cdi\"]\n",
        );
        assert!(
            only(check(&fake.site()), "specs.folder")
                .message
                .contains("engine.cdi_spec_dirs")
        );
    }
}
