//! An emulated Azure with its provider, and orders for it.

use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{Machine, MachineRef, MachineState, Order, Provider, Resource, ResourceKind};
use nvbind_cloud_azure::{Azure, Config, ENDPOINT, PRICES_ENDPOINT, SUBSCRIPTION};
use nvbind_testkit::{Emulator, wait_until};
use serde_json::{Value, json};

/// What the emulator takes for the secret of an application.
pub(crate) const SECRET: &str = "emulated-secret";
/// Whose machines they are.
pub(crate) const OWNER: &str = "0123456789abcdef";
/// A machine type with one GPU.
pub(crate) const T4: &str = "Standard_NC4as_T4_v3";
/// One with 24 virtual CPUs.
pub(crate) const A100: &str = "Standard_NC24ads_A100_v4";
/// A region with zones.
pub(crate) const REGION: &str = "eastus";

/// An emulated Azure with its provider.
pub(crate) struct Cloud {
    pub(crate) emulator: Emulator,
    pub(crate) azure: Azure,
}

impl Cloud {
    pub(crate) fn start() -> Self {
        let emulator = Emulator::start("azure", &[]);
        let azure = azure(&emulator);
        Self { emulator, azure }
    }

    /// Everything of one call: `{"call": ..., "do": ...}`.
    pub(crate) fn rule(&self, rule: &Value) {
        self.emulator.rule(rule);
    }

    pub(crate) fn create(&mut self, order: &Order) -> Machine {
        self.azure.create(order).unwrap_or_else(|error| panic!("{error:?}"))
    }

    pub(crate) fn describe(&mut self, order: &Order) -> Option<Machine> {
        let described = self.azure.describe(&by_name(order));
        described.unwrap_or_else(|error| panic!("{error:?}"))
    }

    pub(crate) fn list(&mut self) -> Vec<Resource> {
        let listed = self.azure.list(OWNER, &[REGION.to_owned()]);
        listed.unwrap_or_else(|error| panic!("{error:?}"))
    }

    pub(crate) fn of_kind(&mut self, kind: ResourceKind) -> Vec<Resource> {
        self.list()
            .into_iter()
            .filter(|resource| resource.kind == kind)
            .collect()
    }

    /// Waits until the machine of an order is in that state.
    pub(crate) fn wait_for(&mut self, order: &Order, state: MachineState) -> Machine {
        let mut found = None;
        wait_until(&format!("{state:?}"), || {
            found = self.describe(order).filter(|machine| machine.state == state);
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("no machine"))
    }

    /// Gives back everything that is listed: machines, then what they were in; counts what the cloud still has.
    pub(crate) fn delete_all(&mut self) -> usize {
        for kind in [ResourceKind::Machine, ResourceKind::Group] {
            for resource in self.of_kind(kind) {
                self.azure.delete(&resource).unwrap_or_else(|error| panic!("{error:?}"));
            }
        }
        wait_until("an empty list", || self.list().is_empty());
        self.emulator.everything().len()
    }
}

/// A provider for that emulator.
pub(crate) fn azure(emulator: &Emulator) -> Azure {
    azure_with(emulator, &[])
}

/// The same with other variables.
pub(crate) fn azure_with(emulator: &Emulator, other: &[(&str, &str)]) -> Azure {
    let variables = variables(emulator);
    let config = Config::from_variables(|name| {
        let other = other
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| (*value).to_owned());
        let usual = || {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.clone())
        };
        other.or_else(usual)
    });
    Azure::new(&config).unwrap_or_else(|error| panic!("{error}"))
}

/// What a user sets, for that emulator.
pub(crate) fn variables(emulator: &Emulator) -> Vec<(&'static str, String)> {
    vec![
        (SUBSCRIPTION, "00000000-0000-0000-0000-000000000001".to_owned()),
        ("AZURE_TENANT_ID", "00000000-0000-0000-0000-000000000002".to_owned()),
        ("AZURE_CLIENT_ID", "00000000-0000-0000-0000-000000000003".to_owned()),
        ("AZURE_CLIENT_SECRET", SECRET.to_owned()),
        (ENDPOINT, emulator.url()),
        (PRICES_ENDPOINT, emulator.url()),
    ]
}

/// An order for one GPU on demand.
pub(crate) fn order(attempt: u32) -> Order {
    Order {
        owner: OWNER.to_owned(),
        deployment: "train".to_owned(),
        node: 0,
        attempt,
        token: format!("{attempt:032x}"),
        name: format!("nvbind-train-0-{attempt}"),
        region: REGION.to_owned(),
        zone: None,
        instance_type: T4.to_owned(),
        market: Market::OnDemand,
        disk_gib: 128,
        image: None,
        user: "nvbind".to_owned(),
        public_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ nvbind".to_owned(),
        allow_from: vec!["198.51.100.7/32".to_owned()],
        max_run_seconds: None,
    }
}

/// The same on spot, in a zone.
pub(crate) fn spot(attempt: u32) -> Order {
    Order {
        zone: Some("2".to_owned()),
        market: Market::Spot,
        ..order(attempt)
    }
}

/// The machine of an order whose answer was lost.
pub(crate) fn by_name(order: &Order) -> MachineRef {
    MachineRef {
        region: order.region.clone(),
        zone: order.zone.clone(),
        name: order.name.clone(),
        token: order.token.clone(),
        id: None,
    }
}

/// A rule that answers an operation with an error.
pub(crate) fn refusal(call: &str, status: u16, code: &str, message: &str) -> Value {
    json!({ "call": call, "do": "error", "status": status, "code": code, "message": message })
}
