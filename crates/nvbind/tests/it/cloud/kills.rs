//! `kill -9` at every step of a deployment's life: nothing is orphaned, nothing doubled, no record lost.
//!
//! The emulated cloud kills nvbind itself, just before a call has its effect or just after, before the answer; now and then a clock
//! does. Each time another nvbind goes on, and is killed as well, until it gets through.

use super::account::Account;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Kills of each provider's test; there are three.
const KILLS: usize = 70;
/// A workload that never ends by itself.
const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
/// Lives of each provider's test, at least: one machine is taken back with a notice, one dies silently.
const LIVES: usize = 2;
/// Longest time that one nvbind may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where it could go on for ever and makes no call more, it is killed then.
const LONGEST: Duration = Duration::from_secs(25);

/// Kills, in a sequence that is the same each time.
struct Killer<'account> {
    account: &'account Account,
    runs: u64,
    kills: usize,
    /// Runs since something was got through.
    tries: u64,
}

impl Killer<'_> {
    /// Runs `nvbind cloud`, killed somewhere; whether it got through all the same.
    fn run(&mut self, arguments: &[&str]) -> bool {
        self.runs += 1;
        self.tries += 1;
        // It stops itself before it becomes nvbind, so that the rule is there before its first call.
        let nvbind = self.account.nvbind();
        let mut command = Command::new("sh");
        command.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]);
        command.arg(nvbind.get_program()).arg("cloud").args(arguments);
        command.envs(nvbind.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env_remove("NVBIND_SIM").stdin(Stdio::null());
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start");
        let pid = Pid::from_child(&child);
        wait_until_stopped(&child);
        self.account.emulator.reset();
        let clock = self
            .aim(child.id())
            .or(arguments.contains(&"--wait").then_some(LONGEST));
        kill_process(pid, Signal::CONT).expect("continue");
        let status = wait(&mut child, clock);
        let is_killed = status.signal() == Some(9);
        self.kills += usize::from(is_killed);
        self.check();
        if status.success() {
            self.tries = 0;
        }
        assert!(
            is_killed || status.success(),
            "{arguments:?}: {status}: {:#?}",
            self.account.emulator.log()
        );
        status.success()
    }

    /// Chooses where this run is killed: at a call, or by a clock. Each try goes a call further than the one before, since what needs more
    /// calls than were ever let through would never be got through, and what comes after it never killed.
    fn aim(&self, pid: u32) -> Option<Duration> {
        let (runs, tries) = (self.runs, self.tries);
        if tries % 4 == 3 {
            return Some(Duration::from_millis(runs * 131 % (700 + 100 * tries)));
        }
        let when = if runs.is_multiple_of(2) { "before" } else { "after" };
        let rule = json!({"call": "*", "when": when, "do": "kill", "nth": tries, "count": 1, "pid": pid});
        self.account.emulator.rule(&rule);
        None
    }

    /// Whatever the cloud has is in the records, and no order has made two machines.
    fn check(&self) {
        if !self.account.state().join("cloud.db").exists() || !self.is_known() {
            assert_eq!(self.account.emulator.machines(), Vec::<Value>::new(), "an orphan");
            return;
        }
        let open = self.account.open_tokens("d");
        let mut machines: BTreeMap<String, usize> = BTreeMap::new();
        for machine in self.account.emulator.machines() {
            let token = machine["tags"]["nvbind-token"].as_str().expect("a token").to_owned();
            *machines.entry(token).or_default() += 1;
        }
        for (token, count) in machines {
            assert_eq!(count, 1, "a double of order {token}");
            assert!(
                open.contains(&token),
                "an orphan of order {token}: {:#}",
                self.account.status("d")
            );
        }
    }

    fn is_known(&self) -> bool {
        let listed = self.account.ok(&["list", "--all", "--format", "json"]);
        serde_json::from_str::<Value>(&listed).is_ok_and(|list| list != json!([]))
    }
}

fn wait_until_stopped(child: &Child) {
    let stat = format!("/proc/{}/stat", child.id());
    nvbind_testkit::wait_until("a stopped shell", || {
        let text = std::fs::read_to_string(&stat).unwrap_or_default();
        text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    });
}

fn wait(child: &mut Child, clock: Option<Duration>) -> std::process::ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return status;
        }
        let is_time = clock.is_some_and(|clock| start.elapsed() > clock);
        if is_time {
            child.kill().expect("kill");
        }
        assert!(start.elapsed() < PATIENCE, "nvbind does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A deployment from its first order over a failover to its end, killed all along.
fn live(killer: &mut Killer<'_>, is_noticed: bool) {
    let account = killer.account;
    let arguments = account.deploy("d", FOREVER, &["--spot", "only", "--retry"]);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let before = rows(account);
    if !killer.run(&words) {
        if rows(account) == before {
            // It did not live to write anything down, so there is nothing to go on with.
            return;
        }
        while !killer.run(&["resume", "d"]) {}
    }
    let machines = account.emulator.machines();
    let [machine] = &machines[..] else {
        panic!("one machine: {machines:#?}")
    };
    let id = machine["id"].as_str().expect("id");
    match is_noticed {
        true => account.emulator.interrupt(id, 60.0),
        false => account.emulator.kill(id),
    }
    let token = machine["tags"]["nvbind-token"].clone();
    let is_replaced = || {
        let attempts = account.status("d")["attempts"].as_array().cloned().unwrap_or_default();
        let replaced = attempts.iter().find(|attempt| attempt["order"]["token"] == token);
        replaced.is_some_and(|attempt| !attempt["notice_ms"].is_null() || !attempt["deleting_ms"].is_null())
    };
    killer.tries = 0;
    while !is_replaced() {
        killer.run(&["resume", "--wait", "d"]);
    }
    while !killer.run(&["resume", "d"]) {}
    while !killer.run(&["down", "d"]) {}
    let status = account.status("d");
    assert_eq!(status["status"], "stopped", "{status:#}");
    let attempts = status["attempts"].as_array().expect("attempts");
    assert!(
        attempts.iter().all(|attempt| !attempt["ended_ms"].is_null()),
        "a lost record: {status:#}"
    );
    assert_eq!(account.emulator.everything(), Vec::<Value>::new(), "left behind");
}

fn rows(account: &Account) -> usize {
    match account.state().join("cloud.db").exists() {
        true => {
            let listed = account.ok(&["list", "--all", "--format", "json"]);
            serde_json::from_str::<Value>(&listed)
                .ok()
                .and_then(|list| Some(list.as_array()?.len()))
                .unwrap_or(0)
        }
        false => 0,
    }
}

fn survives_kills(provider: &'static str) {
    let account = Account::new(provider);
    let mut killer = Killer {
        account: &account,
        runs: 0,
        kills: 0,
        tries: 0,
    };
    let mut lives = 0;
    while killer.kills < KILLS || lives < LIVES {
        live(&mut killer, lives % 2 == 0);
        lives += 1;
    }
    eprintln!(
        "{provider}: {} kills in {lives} lives, {} runs: 0 orphans, 0 doubles, 0 lost records",
        killer.kills, killer.runs
    );
}

#[test]
fn aws_survives_kills() {
    survives_kills("aws");
}

#[test]
fn gcp_survives_kills() {
    survives_kills("gcp");
}

#[test]
fn azure_survives_kills() {
    survives_kills("azure");
}
