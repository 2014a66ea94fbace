//! An emulated Google Cloud with nothing in it, and the program that asks it.

use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{Machine, MachineRef, MachineState, Order, Provider, Remote, Resource};
use nvbind_testkit::{Emulator, wait_until};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Who all the tests are.
pub(crate) const OWNER: &str = "0123456789abcdef";
/// One V100 on an N1.
pub(crate) const V100: &str = "n1-highmem-8+1xnvidia-tesla-v100";
/// Eight A100.
pub(crate) const A100: &str = "a2-highgpu-8g";

/// The emulator and the program.
pub(crate) struct Cloud {
    pub(crate) emulator: Emulator,
    pub(crate) gcp: Remote,
}

impl Cloud {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With these variables in the emulator's environment.
    pub(crate) fn with(environment: &[(&str, &str)]) -> Self {
        let emulator = Emulator::start("gcp", environment);
        let gcp = Remote::start(program(&emulator)).unwrap();
        Self { emulator, gcp }
    }

    /// The program anew, as after a crash.
    pub(crate) fn restart(&mut self) {
        self.gcp = Remote::start(program(&self.emulator)).unwrap();
    }

    pub(crate) fn describe(&mut self, order: &Order) -> Option<Machine> {
        self.gcp.describe(&reference(order)).unwrap()
    }

    /// Waits until the order's machine is in that state.
    pub(crate) fn wait_for(&mut self, order: &Order, state: MachineState) -> Machine {
        let mut found = None;
        wait_until("the machine's state", || {
            found = self.describe(order).filter(|machine| machine.state == state);
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until the provider knows nothing of the order's machine.
    pub(crate) fn wait_until_gone(&mut self, order: &Order) {
        wait_until("the machine's end", || self.describe(order).is_none());
    }

    /// Deletes all that is ours, until nothing is left in the emulator.
    pub(crate) fn delete_all(&mut self) {
        wait_until("the end of everything", || {
            for resource in self.gcp.list(OWNER, &[]).unwrap() {
                self.gcp.delete(&resource).unwrap();
            }
            self.emulator.everything().is_empty()
        });
    }
}

/// The program with the emulator's address and nothing else of Google's in its environment.
pub(crate) fn program(emulator: &Emulator) -> Command {
    let mut command = bare_program();
    command.env("GOOGLE_CLOUD_PROJECT", "nvbind-test");
    command.env("NVBIND_GCP_ENDPOINT", emulator.url());
    command
}

/// The program with no settings at all.
pub(crate) fn bare_program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind-provider-gcp"));
    command.env_clear().env("HOME", "/nonexistent");
    command
}

/// A new order, with a token and a name of its own, that leaves the zone to the provider.
pub(crate) fn order(instance_type: &str, market: Market) -> Order {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Order {
        owner: OWNER.to_owned(),
        deployment: "train".to_owned(),
        node: 0,
        attempt: number,
        token: format!("{:032x}", u128::from(number) * 0x1234_5678_9abc_def1_2345),
        name: format!("nvbind-train-0-{number}"),
        region: "us-central1".to_owned(),
        zone: None,
        instance_type: instance_type.to_owned(),
        market,
        disk_gib: 100,
        image: None,
        user: "nvbind".to_owned(),
        public_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIexample nvbind\n".to_owned(),
        allow_from: vec!["198.51.100.7/32".to_owned()],
        max_run_seconds: Some(86_400),
    }
}

/// What is known of an order's machine before its answer came.
pub(crate) fn reference(order: &Order) -> MachineRef {
    MachineRef {
        region: order.region.clone(),
        zone: order.zone.clone(),
        name: order.name.clone(),
        token: order.token.clone(),
        id: None,
    }
}

/// A machine of a list as the one to be deleted.
pub(crate) fn resource(machine: &Machine) -> Resource {
    Resource {
        kind: nvbind_cloud::provider::ResourceKind::Machine,
        id: machine.id.clone(),
        name: machine.name.clone(),
        region: machine.region.clone(),
        zone: machine.zone.clone(),
        tags: std::collections::BTreeMap::new(),
        instance_type: None,
        market: None,
        state: None,
        created_at: None,
    }
}
