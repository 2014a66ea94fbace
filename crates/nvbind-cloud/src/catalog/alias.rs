//! Names of machines that are asked for and do not exist, or no longer.

use super::{Catalog, Instance};

/// Names that mean another one, with what is to be known about it.
const ALIASES: [(&str, &str, &str); 2] = [
    (
        "n1-highmem-8-v100-1",
        "n1-highmem-8+1xnvidia-tesla-v100",
        "there is no such machine type: it is an n1-highmem-8 with one nvidia-tesla-v100 attached",
    ),
    (
        "Standard_ND96asr_A100_v4",
        "Standard_ND96asr_v4",
        "another name of the same machine in the price list; its A100s have 40 GB, those of Standard_ND96amsr_A100_v4 80 GB",
    ),
];

/// A machine by a name, with what is to be said about the name.
#[derive(Debug, Clone, PartialEq)]
pub struct Known<'catalog> {
    /// The machine.
    pub instance: &'catalog Instance,
    /// Why it is not simply the one asked for.
    pub note: Option<String>,
}

/// A name that is no machine of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown instance type '{asked}': did you mean {nearest}?")]
pub struct UnknownInstance {
    /// What was asked for.
    pub asked: String,
    /// The name that comes nearest.
    pub nearest: String,
}

impl UnknownInstance {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        4
    }
}

impl Catalog {
    /// The machine of that name, Azure's also without `Standard_`, whatever the case.
    pub fn instance(&self, asked: &str) -> Result<Known<'_>, UnknownInstance> {
        let same = |name: &str| {
            let short = name.strip_prefix("Standard_").unwrap_or(name);
            name.eq_ignore_ascii_case(asked) || short.eq_ignore_ascii_case(asked)
        };
        let alias = ALIASES.iter().find(|(name, ..)| same(name));
        let name = |instance: &&Instance| match alias {
            Some((_, means, _)) => instance.instance_type == *means,
            None => same(&instance.instance_type),
        };
        let Some(instance) = self.instances().iter().find(name) else {
            return Err(self.unknown(asked));
        };
        let note = match alias {
            Some((name, means, why)) => Some(format!("'{name}' is {means}: {why}")),
            None => instance.warning(),
        };
        Ok(Known { instance, note })
    }

    fn unknown(&self, asked: &str) -> UnknownInstance {
        let near =
            |instance: &&Instance| strsim::jaro_winkler(&asked.to_lowercase(), &instance.instance_type.to_lowercase());
        let nearest = self.instances().iter().max_by(|a, b| near(a).total_cmp(&near(b)));
        UnknownInstance {
            asked: asked.to_owned(),
            nearest: nearest
                .map(|instance| instance.instance_type.clone())
                .unwrap_or_default(),
        }
    }
}
