//! `ssh` and what it says.

use crate::support::fresh;
use nvbind_cloud::host::{HostError, Ssh, Target};
use nvbind_testkit::Machines;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

fn own(machines: &Machines, address: &str, known: &[&str]) -> Target {
    let mut target = Target::own(address).unwrap();
    target.config = Some(machines.ssh_config("root", known));
    target
}

#[test]
fn words_arrive_as_they_are_and_streams_are_carried() {
    let machines = Machines::new(&[("WORD", "a b\"c")]);
    let address = machines.boot("m1", "ubuntu", None);
    let known = machines.dir().join("known");
    let target = Target::fresh("ubuntu", &address, machines.key(), known, "m1").unwrap();
    let ssh = Ssh::connect(target).unwrap();
    for word in ["", "a b", "it's", "\"", "$HOME `id` \\", "two\nlines", "-x", "*", "!!", "ü"] {
        let output = ssh.run(&["printf", "%s", word], b"", LIMIT).unwrap();
        assert_eq!((output.code, output.text().as_str()), (0, word));
    }
    let input: Vec<u8> = (0..300_000u32).map(|number| number as u8).collect();
    assert_eq!(ssh.run(&["cat"], &input, LIMIT).unwrap().stdout, input);
    let output = ssh.run(&["sh", "-c", "echo $WORD; id -un; echo no >&2; exit 7"], b"", LIMIT).unwrap();
    assert_eq!((output.code, output.text().as_str(), output.stderr.as_str()), (7, "a b\"c\nubuntu\n", "no\n"));
    assert!(ssh.run(&["a\0b"], b"", LIMIT).is_err());
    let failed = ssh.demand("it", &["sh", "-c", "echo because >&2; exit 3"], b"", LIMIT);
    assert!(matches!(failed, Err(HostError::Failed { code: 3, why, .. }) if why == "because"));
}

#[test]
fn a_command_that_takes_too_long_is_ended_here() {
    let machines = Machines::new(&[]);
    let address = machines.boot("m1", "root", None);
    let ssh = Ssh::connect(fresh(&machines, &address, "m1")).unwrap();
    let start = Instant::now();
    let outcome = ssh.run(&["sleep", "60"], b"", Duration::from_millis(500));
    assert!(matches!(outcome, Err(HostError::Silent { .. })), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(ssh.run(&["true"], b"", LIMIT).unwrap().code, 0);
}

#[test]
fn own_hosts_must_be_known_and_stay_the_same() {
    let machines = Machines::new(&[]);
    let first = machines.boot("m1", "root", None);
    let unknown = Ssh::connect(own(&machines, &first, &[])).unwrap_err();
    assert!(matches!(&unknown, HostError::HostKey { .. }), "{unknown}");
    assert!(unknown.to_string().contains("not in known_hosts"), "{unknown}");
    let known = own(&machines, &first, &[&first]);
    Ssh::connect(known.clone()).unwrap();
    // Another machine gets the address: the smallest free one.
    machines.kill("m1");
    let mut names = (2..).map(|number| format!("m{number}"));
    let again = names.find(|name| machines.boot(name, "root", None) == first);
    assert!(again.is_some());
    let changed = Ssh::connect(known).unwrap_err();
    assert!(changed.to_string().contains("not the one in known_hosts"), "{changed}");
}

#[test]
fn a_fresh_machine_is_trusted_once() {
    let machines = Machines::new(&[]);
    let (first, second) = (machines.boot("m1", "root", None), machines.boot("m2", "root", None));
    Ssh::connect(fresh(&machines, &first, "token-1")).unwrap();
    Ssh::connect(fresh(&machines, &first, "token-1")).unwrap();
    let other = Ssh::connect(fresh(&machines, &second, "token-1")).unwrap_err();
    assert!(matches!(&other, HostError::HostKey { .. }), "{other}");
    Ssh::connect(fresh(&machines, &second, "token-2")).unwrap();
}

#[test]
fn who_is_not_let_in_is_told_so() {
    let machines = Machines::new(&[]);
    let others = Machines::new(&[]);
    let address = machines.boot("m1", "root", None);
    let denied = Ssh::connect(fresh(&others, &address, "m1")).unwrap_err();
    assert!(matches!(&denied, HostError::Denied { .. }), "{denied}");
}

#[test]
fn where_nobody_answers_is_told_so() {
    let machines = Machines::new(&[]);
    for destination in ["ssh://root@127.0.0.1:1", "no-such-host.invalid"] {
        let error = Ssh::connect(own(&machines, destination, &[])).unwrap_err();
        assert!(matches!(&error, HostError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains(destination), "{error}");
    }
    let address = machines.boot("m1", "root", None);
    machines.cut("m1");
    let start = Instant::now();
    let error = Ssh::connect(fresh(&machines, &address, "m1")).unwrap_err();
    assert!(matches!(&error, HostError::Unreachable { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(15));
    machines.heal("m1");
    Ssh::connect(fresh(&machines, &address, "m1")).unwrap();
}

#[test]
fn a_cut_is_seen_in_the_middle_of_a_command() {
    let machines = Machines::new(&[]);
    let address = machines.boot("m1", "root", None);
    let mut ssh = Ssh::connect(fresh(&machines, &address, "m1")).unwrap();
    assert!(ssh.is_connected());
    std::thread::scope(|scope| {
        let command = scope.spawn(|| (ssh.run(&["sleep", "60"], b"", Duration::from_secs(60)), Instant::now()));
        std::thread::sleep(Duration::from_millis(500));
        machines.cut("m1");
        let cut = Instant::now();
        let (outcome, seen) = command.join().unwrap();
        let took = seen - cut;
        eprintln!("a cut is seen by ssh after {:.1} s", took.as_secs_f64());
        assert!(matches!(&outcome, Err(HostError::Lost { .. })), "{outcome:?}");
        assert!(took < Duration::from_secs(15), "{took:?}");
    });
    assert!(!ssh.is_connected());
}

#[test]
fn the_connection_ends_with_its_owner() {
    let machines = Machines::new(&[]);
    let address = machines.boot("m1", "root", None);
    let watcher = Ssh::connect(fresh(&machines, &address, "m1")).unwrap();
    let count = || {
        let script = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'root@notty'";
        watcher.run(&["sh", "-c", script], b"", LIMIT).unwrap().text().trim().parse::<u32>().unwrap()
    };
    let before = count();
    let other = Ssh::connect(fresh(&machines, &address, "m1")).unwrap();
    assert!(count() > before);
    drop(other);
    nvbind_testkit::wait_until("the end of the connection", || count() == before);
}
