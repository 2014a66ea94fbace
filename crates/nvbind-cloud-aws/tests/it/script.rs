//! The script that a machine runs when it first starts: run for real, where it can do no harm.

use super::*;
use nvbind_testkit::check;
use std::os::unix::fs::PermissionsExt;

/// Runs `$0/script` where systemd's units, homes and sudo's rules are folders of their own and `shutdown`, `systemctl` and
/// `useradd` only say what they are told.
const HARNESS: &str = r#"
set -eu
for dir in /etc/systemd/system /home /etc/sudoers.d; do
    mkdir -p $dir
    mount -t tmpfs none $dir
done
mkdir -p /home/ubuntu/.ssh
echo "$1" >/home/ubuntu/.ssh/authorized_keys
PATH="$0/stubs:$PATH" sh "$0/script"
cat /etc/systemd/system/nvbind-end.timer
systemd-analyze verify /etc/systemd/system/nvbind-end.timer
"#;

fn script_of(order: &Order) -> String {
    let mut cloud = Cloud::start();
    cloud.create(order);
    let script = cloud.emulator.machines()[0]["user_data"].as_str().unwrap().to_owned();
    cloud.clear();
    script
}

#[test]
fn the_machine_ends_by_itself_even_after_it_was_started_anew() {
    let script = script_of(&Order {
        max_run_seconds: Some(3_650),
        ..order(1)
    });
    let dir = nvbind_testkit::temp_dir("aws-script");
    let stubs = dir.path().join("stubs");
    std::fs::create_dir(&stubs).unwrap();
    for name in ["shutdown", "systemctl"] {
        let stub = stubs.join(name);
        std::fs::write(&stub, format!("#!/bin/sh\necho ran {name} \"$@\"\n")).unwrap();
        std::fs::set_permissions(&stub, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::write(dir.path().join("script"), script).unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-c", HARNESS]);
    let output = check(unshare.arg(dir.path()).arg(PUBLIC_KEY));
    assert!(output.contains("ran shutdown -h +61"), "{output}");
    assert!(
        output.contains("ran systemctl enable --now nvbind-end.timer"),
        "{output}"
    );
    let date = output
        .lines()
        .find_map(|line| line.strip_prefix("OnCalendar="))
        .unwrap();
    let seconds = |date: &str| -> u64 {
        check(Command::new("date").args(["-d", date, "+%s"]))
            .trim()
            .parse()
            .unwrap()
    };
    let left = seconds(date) - seconds("now");
    assert!((3_600..=3_660).contains(&left), "{left}");
}

#[test]
fn the_script_holds_no_secret_and_no_timer_that_was_not_asked_for() {
    let script = script_of(&Order {
        user: "alice".to_owned(),
        ..order(1)
    });
    assert!(script.contains("\nuser=alice\n"), "{script}");
    for word in [SECRET, "AKIA", "shutdown", PUBLIC_KEY] {
        assert!(!script.contains(word), "{script}");
    }
    let dir = nvbind_testkit::temp_dir("aws-script");
    let file = dir.path().join("script");
    std::fs::write(&file, script).unwrap();
    check(Command::new("sh").arg("-n").arg(&file));
}
