//! The program `nvbind-provider-aws` against an emulated AWS, over the wire: through `Remote`, as nvbind uses it.
#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod accounts;
mod codes;
mod life;
mod money;
mod once;
mod script;

use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{
    Machine, MachineRef, MachineState, Order, Provider, Remote, Resource, ResourceKind, TAG_OWNER,
};
use nvbind_testkit::{Emulator, wait_until};
use std::process::Command;

const OWNER: &str = "0123456789abcdef";
const REGION: &str = "us-east-1";
/// What must be seen nowhere.
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFkbJGN4FaotBvTwPNVQD8NAlCEIqQYtAQ6/bR0r8DTq nvbind";

/// An emulated AWS and a provider that talks to it.
struct Cloud {
    emulator: Emulator,
    aws: Remote,
}

impl Cloud {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// With these variables in the emulator's environment.
    fn start_with(environment: &[(&str, &str)]) -> Self {
        let emulator = Emulator::start("aws", environment);
        let aws = provider(&emulator.url());
        Self { emulator, aws }
    }

    fn create(&mut self, order: &Order) -> Machine {
        self.aws.create(order).unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn describe(&mut self, machine: &MachineRef) -> Option<Machine> {
        self.aws.describe(machine).unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn list(&mut self) -> Vec<Resource> {
        let regions = [REGION.to_owned(), "us-west-2".to_owned()];
        self.aws
            .list(OWNER, &regions)
            .unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// Kinds of what is listed, in order.
    fn kinds(&mut self) -> Vec<ResourceKind> {
        let mut kinds: Vec<_> = self.list().iter().map(|resource| resource.kind).collect();
        kinds.sort();
        kinds
    }

    fn wait_for(&mut self, machine: &MachineRef, state: MachineState) -> Machine {
        let mut last = None;
        wait_until(&format!("{state:?}"), || {
            last = self.describe(machine);
            last.as_ref().is_some_and(|machine| machine.state == state)
        });
        last.unwrap()
    }

    /// Gives everything back and looks whether anything is left.
    fn clear(&mut self) {
        wait_until("giving everything back", || {
            let list = self.list();
            for resource in &list {
                let _ = self.aws.delete(resource);
            }
            list.is_empty()
        });
        assert_eq!(self.emulator.everything(), Vec::<serde_json::Value>::new());
    }
}

/// The environment of the program: nothing of the machine that the test runs on.
fn command(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind-provider-aws"));
    command
        .env_clear()
        .env("AWS_ENDPOINT_URL", url)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_REGION", REGION);
    command
}

fn provider(url: &str) -> Remote {
    let mut command = command(url);
    command.env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
    command.env("AWS_SECRET_ACCESS_KEY", SECRET);
    Remote::start(command).unwrap_or_else(|error| panic!("{error}"))
}

/// An order for a p4d.24xlarge; each number has a token and a name of its own.
fn order(number: u32) -> Order {
    Order {
        owner: OWNER.to_owned(),
        deployment: "train".to_owned(),
        node: 0,
        attempt: number,
        token: format!("{number:032x}"),
        name: format!("train-0-{number}"),
        region: REGION.to_owned(),
        zone: None,
        instance_type: "p4d.24xlarge".to_owned(),
        market: Market::OnDemand,
        disk_gib: 100,
        image: None,
        user: "ubuntu".to_owned(),
        public_key: PUBLIC_KEY.to_owned(),
        allow_from: vec!["198.51.100.0/24".to_owned()],
        max_run_seconds: None,
    }
}

fn spot_order(number: u32) -> Order {
    Order {
        market: Market::Spot,
        ..order(number)
    }
}

/// The machine as only its order tells.
fn ordered(order: &Order) -> MachineRef {
    MachineRef {
        region: order.region.clone(),
        zone: order.zone.clone(),
        name: order.name.clone(),
        token: order.token.clone(),
        id: None,
    }
}

/// The machine by the id that AWS gave it.
fn made(order: &Order, machine: &Machine) -> MachineRef {
    MachineRef {
        id: Some(machine.id.clone()),
        ..ordered(order)
    }
}

/// A machine as `delete` takes it.
fn resource(machine: &Machine) -> Resource {
    Resource {
        kind: ResourceKind::Machine,
        id: machine.id.clone(),
        name: machine.name.clone(),
        region: machine.region.clone(),
        zone: machine.zone.clone(),
        tags: [(TAG_OWNER.to_owned(), OWNER.to_owned())].into(),
        instance_type: None,
        market: None,
        state: None,
        created_at: None,
    }
}
