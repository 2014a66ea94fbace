//! The systemd units and the udev rule, as `make install-units` puts them.

use nvbind_testkit::{check, temp_dir};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The units as installed below a folder, with `nvbind` where they say.
fn installed(root: &Path) -> String {
    let repository = nvbind_testkit::checkout();
    let prefix = root.display().to_string();
    check(
        Command::new("make")
            .arg("--no-print-directory")
            .arg("-C")
            .arg(repository)
            .args(["install-units", &format!("PREFIX={prefix}"), "DESTDIR="]),
    );
    fs::create_dir(root.join("bin")).expect("folder");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_nvbind"), root.join("bin/nvbind")).expect("link");
    prefix
}

#[test]
fn systemd_accepts_the_unit_and_it_is_ordered_before_the_engines() {
    let dir = temp_dir("units");
    let prefix = installed(dir.path());
    let unit = format!("{prefix}/lib/systemd/system/nvbind-cdi-watch.service");
    let output = Command::new("systemd-analyze")
        .args(["verify", &unit])
        .output()
        .expect("systemd-analyze");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
    let text = fs::read_to_string(&unit).expect("unit");
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap_or_default()
            .to_owned()
    };
    for engine in ["docker", "containerd", "crio", "podman", "kubelet"] {
        let name = format!("{engine}.service");
        assert!(value("Before=").split(' ').any(|word| word == name), "{name}: {text}");
    }
    assert!(value("After=").contains("systemd-udev-settle.service"), "{text}");
    assert_eq!(
        (value("Type="), value("Restart=")),
        ("notify".to_owned(), "on-failure".to_owned())
    );
}

#[test]
fn the_command_of_the_unit_is_one_that_nvbind_takes() {
    let dir = temp_dir("units");
    let prefix = installed(dir.path());
    let text = fs::read_to_string(format!("{prefix}/lib/systemd/system/nvbind-cdi-watch.service")).expect("unit");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .expect("ExecStart");
    let mut words = line.split(' ').filter(|word| !word.starts_with('$'));
    let program = words.next().expect("program");
    assert_eq!(program, format!("{prefix}/bin/nvbind"));
    let help = check(Command::new(program).args(words).arg("--help"));
    assert!(help.contains("--load-kernel-modules"), "{help}");
}

#[cfg(feature = "cloud")]
#[test]
fn the_unit_of_deployments_is_one_for_users_and_its_command_is_one_that_nvbind_takes() {
    let dir = temp_dir("units");
    let prefix = installed(dir.path());
    let unit = format!("{prefix}/lib/systemd/user/nvbind-cloud.service");
    let verify = Command::new("systemd-analyze")
        .env("XDG_RUNTIME_DIR", dir.path())
        .args(["--user", "verify", &unit])
        .output()
        .expect("systemd-analyze");
    let said = String::from_utf8_lossy(&verify.stderr);
    assert!(
        verify.status.success() && !said.contains("nvbind-cloud.service"),
        "{said}"
    );
    let text = fs::read_to_string(&unit).expect("unit");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .expect("ExecStart");
    let mut words = line.split(' ');
    let program = words.next().expect("program");
    assert_eq!(program, format!("{prefix}/bin/nvbind"));
    let help = check(Command::new(program).args(words).arg("--help"));
    assert!(help.contains("--interval"), "{help}");
}

#[test]
fn every_term_of_the_udev_rule_is_one() {
    let dir = temp_dir("units");
    let prefix = installed(dir.path());
    let text = fs::read_to_string(format!("{prefix}/lib/udev/rules.d/60-nvbind.rules")).expect("rule");
    let rules: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    assert_eq!(rules.len(), 1);
    for term in rules[0].split(", ") {
        let (key, value) = ["==", "+="]
            .iter()
            .find_map(|operator| term.split_once(operator))
            .expect(term);
        let known = ["ACTION", "SUBSYSTEM", "KERNEL", "TAG", "ENV{SYSTEMD_WANTS}"];
        assert!(
            known.contains(&key) && value.starts_with('"') && value.ends_with('"'),
            "{term}"
        );
    }
    assert!(rules[0].contains("nvbind-cdi-watch.service"));
}
