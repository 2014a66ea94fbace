//! What the command shows of itself: help, completions, manual pages, version; specs that other programs read.

use crate::support::{Machine, stderr, stdout};
use std::process::Command;

fn nvbind(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_nvbind"))
        .args(arguments)
        .output()
        .expect("nvbind")
}

/// The subcommands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    let rows = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    rows.filter(|row| row.starts_with("  ") && !row.starts_with("   "))
        .filter_map(|row| row.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn help_lists_commands_that_exist_and_each_has_help() {
    let help = stdout(&nvbind(&["--help"]));
    let commands = listed(&help);
    for wanted in [
        "info",
        "doctor",
        "cdi",
        "run",
        "ps",
        "logs",
        "stop",
        "rm",
        "sim",
        "completions",
        "man",
    ] {
        assert!(
            commands.iter().any(|command| command == wanted),
            "{wanted} is not in:\n{help}"
        );
    }
    for command in commands.iter().filter(|command| *command != "help") {
        let own = nvbind(&[command, "--help"]);
        assert!(
            own.status.success() && stdout(&own).contains("Usage:"),
            "{command}: {}",
            stderr(&own)
        );
    }
}

#[test]
fn completions_and_manual_pages_come_from_the_same_definitions() {
    let commands = listed(&stdout(&nvbind(&["--help"])));
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&nvbind(&["completions", shell]));
        assert!(
            commands.iter().all(|command| script.contains(command.as_str())),
            "{shell}"
        );
        assert!(!script.contains("supervise"), "{shell} offers a hidden command");
    }
    let dir = nvbind_testkit::temp_dir("man");
    assert!(
        nvbind(&["man", "--output", &dir.path().display().to_string()])
            .status
            .success()
    );
    for command in commands.iter().filter(|command| *command != "help") {
        let page = dir.path().join(format!("nvbind-{command}.1"));
        assert!(page.exists(), "{} is missing", page.display());
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let machine = Machine::new("dgx-a100");
    let mut command = Command::new("bash");
    command.envs(machine.vars()).arg("-c").arg(format!(
        "{} cdi generate | head -1; exit ${{PIPESTATUS[1]}}",
        env!("CARGO_BIN_EXE_nvbind")
    ));
    let output = command.output().expect("bash");
    assert!(
        output.status.success() && !stderr(&output).contains("panic"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn generated_specs_validate_and_list() {
    let machine = Machine::new("dgx-a100");
    for format in ["json", "yaml"] {
        let path = machine.dir().join(format!("nvidia.{format}"));
        let path = path.display().to_string();
        machine.ok(&["cdi", "generate", "--output", &path]);
        machine.ok(&["cdi", "validate", &path]);
    }
    machine.cdi_spec();
    let names = machine.ok(&["cdi", "list"]);
    for name in [
        "nvidia.com/gpu=0",
        "nvidia.com/gpu=7",
        "nvidia.com/gpu=all",
        &format!("nvidia.com/gpu={}", machine.uuids()[3]),
    ] {
        assert!(
            names.lines().any(|line| line.trim() == name),
            "{name} is not in:\n{names}"
        );
    }
}

#[test]
fn the_lowest_version_that_the_content_needs_is_written() {
    let machine = Machine::new("t4");
    let version = |arguments: &[&str]| {
        let mut all = vec!["cdi", "generate", "--format", "json"];
        all.extend(arguments);
        let spec: serde_json::Value = serde_json::from_str(&machine.ok(&all)).expect("JSON");
        spec["cdiVersion"].as_str().expect("cdiVersion").to_owned()
    };
    // The nodes of the display engine belong to a group, so users other than root need `additionalGids`.
    assert_eq!(version(&[]), "0.7.0");
    let without_groups = ["--feature-flag", "no-additional-gids-for-device-nodes"];
    assert_eq!(version(&without_groups), "0.5.0");
    assert_eq!(
        version(&[&without_groups[..], &["--class", "gpu.coherent"]].concat()),
        "0.6.0"
    );
}
