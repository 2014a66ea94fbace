//! The program, as nvbind starts it.

use crate::cloud::{REGION, SECRET, by_name, order, variables};
use nvbind_cloud::provider::{ErrorClass, MachineState, Order, Provider, Remote};
use nvbind_testkit::{Emulator, wait_until};
use serde_json::json;
use std::process::Command;
use std::time::Instant;

fn remote(variables: &[(&str, String)]) -> Remote {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind-provider-azure"));
    command.env_clear();
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    Remote::start(command).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_program_serves_a_whole_life() {
    let emulator = Emulator::start("azure", &[]);
    let start = Instant::now();
    let mut azure = remote(&variables(&emulator));
    eprintln!("start of the program: {:?}", start.elapsed());
    assert!(azure.check().unwrap().identity.starts_with("application"));
    let made = azure.create(&order(1)).unwrap();
    assert_eq!(azure.create(&order(1)).unwrap().id, made.id);
    let mut running = None;
    wait_until("the machine", || {
        running = azure.describe(&by_name(&order(1))).unwrap();
        running
            .as_ref()
            .is_some_and(|machine| machine.state == MachineState::Running)
    });
    let listed = azure.list(&order(1).owner, &[REGION.to_owned()]).unwrap();
    for wanted in [true, false] {
        for resource in listed
            .iter()
            .filter(|resource| resource.instance_type.is_some() == wanted)
        {
            wait_until("the deletion", || match azure.delete(resource) {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error.class, ErrorClass::Transient, "{error:?}");
                    false
                }
            });
        }
    }
    wait_until("the end", || emulator.everything().is_empty());
    assert!(!azure.quotas(REGION).unwrap().is_empty());
}

#[test]
fn a_killed_program_leaves_a_machine_that_the_next_one_finds() {
    let emulator = Emulator::start("azure", &[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind-provider-azure"));
    command.env_clear().envs(variables(&emulator));
    // A shell tells the number of the process that it becomes.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "echo $$ >\"$0\"; exec \"$1\""])
        .arg(&file)
        .arg(command.get_program());
    shell.env_clear().envs(variables(&emulator));
    let mut azure = Remote::start(shell).unwrap();
    let pid: u32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    emulator.rule(&json!({ "call": "PUT virtualMachines", "when": "after", "do": "kill", "pid": pid }));
    let order = Order {
        max_run_seconds: Some(3600),
        ..order(1)
    };
    let error = azure.create(&order).unwrap_err();
    assert!(error.is_ambiguous && error.code == "ProviderGone", "{error:?}");
    let mut next = remote(&variables(&emulator));
    assert!(next.describe(&by_name(&order)).unwrap().is_some());
    next.create(&order).unwrap();
    assert_eq!(emulator.machines().len(), 1);
    // Its end was set by the second: the first was gone before.
    assert_eq!(emulator.calls("POST virtualMachinesSubmitDeallocate"), 1);
}

#[test]
fn a_bad_configuration_is_an_answer_not_a_crash() {
    let in_the_clear = [("NVBIND_AZURE_ENDPOINT", "http://192.0.2.1".to_owned())];
    let error = remote(&in_the_clear).check().unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Invalid, "InvalidConfiguration")
    );
    assert!(error.message.contains("in the clear"), "{error}");
    let error = remote(&[]).check().unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Credentials, "NoSubscription")
    );
}

#[test]
fn no_credentials_at_all_is_told_quickly() {
    let emulator = Emulator::start("azure", &[]);
    let keep = |(name, _): &(&str, String)| !name.contains("CLIENT") && !name.contains("TENANT");
    let variables: Vec<_> = variables(&emulator).into_iter().filter(keep).collect();
    let start = Instant::now();
    let error = remote(&variables).check().unwrap_err();
    assert_eq!(error.class, ErrorClass::Credentials, "{error:?}");
    assert!(
        error.message.contains("az login") && !error.message.contains(SECRET),
        "{error}"
    );
    assert!(start.elapsed().as_secs() < 15, "{:?}", start.elapsed());
}
