//! Two hosts of the user's own, and an nvbind that uses them.

use super::account::{bake, programs};
use super::client::Client;
use nvbind_testkit::{Machines, check, temp_dir};
use std::ops::Deref;
use std::process::Command;
use tempfile::TempDir;

/// Two hosts with simulated GPUs, and an nvbind that knows them.
pub(crate) struct Hosts {
    pub(crate) machines: Machines,
    pub(crate) addresses: [String; 2],
    client: Client,
    _dir: TempDir,
}

impl Hosts {
    pub(crate) fn new() -> Self {
        let dir = temp_dir("hosts");
        let image = dir.path().join("image");
        bake(&image);
        let machines = Machines::with_images(&[("NVBIND_SIM", "dgx-a100")], &[&image]);
        let addresses = ["h1", "h2"].map(|name| machines.boot(name, "root", None));
        let config = machines.ssh_config("root", &addresses.each_ref().map(String::as_str));
        let client = Client {
            programs: programs().to_owned(),
            dir: dir.path().to_owned(),
            variables: vec![
                ("NVBIND_CLOUD_PROVIDERS", "hosts".to_owned()),
                ("NVBIND_CLOUD_HOSTS", addresses.join(",")),
                ("NVBIND_CLOUD_SSH_CONFIG", config.display().to_string()),
            ],
        };
        Self {
            machines,
            addresses,
            client,
            _dir: dir,
        }
    }

    /// What a shell on a host prints.
    pub(crate) fn shell(&self, address: &str, script: &str) -> String {
        let config = self.machines.dir().join("ssh_config");
        check(Command::new("ssh").arg("-F").arg(config).args([address, script]))
    }

    /// Whether somebody follows what the agent on a host reports.
    pub(crate) fn is_followed(&self, address: &str) -> bool {
        let commands = self.shell(address, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
        commands.contains("agent follow ")
    }

    /// How many of the workload's processes a host has.
    pub(crate) fn sleeps(&self, address: &str) -> usize {
        let names = self.shell(address, "cat /proc/[0-9]*/comm");
        names.lines().filter(|name| *name == "sleep").count()
    }
}

impl Deref for Hosts {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}
