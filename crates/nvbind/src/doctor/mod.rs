//! What is wrong on this host? Checks that only look, and what `--fix` mends.
//!
//! Each family of checks is a file: a function from what was gathered ([`Site`]) to findings. The troubles are those that
//! users of NVIDIA's container toolkit report; `docs/pains.md` lists them.

mod container;
mod driver;
mod engine;
mod engines;
mod finding;
mod gpus;
mod graphics;
mod nodes;
mod platform;
mod remedy;
mod rights;
mod site;
mod specs;
#[cfg(test)]
mod testing;

pub(crate) use finding::{Finding, Level, Remedy};
pub(crate) use remedy::Mender;
pub(crate) use site::Site;

use serde::Serialize;

/// A family of checks.
type Family = fn(&Site) -> Vec<Finding>;

/// Every family, in the order in which a person would look.
const FAMILIES: [Family; 9] = [
    driver::check,
    nodes::check,
    gpus::check,
    specs::check,
    engines::check,
    container::check,
    rights::check,
    graphics::check,
    platform::check,
];

/// What all checks found together.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The worst that was found.
    pub(crate) verdict: Level,
    pub(crate) findings: Vec<Finding>,
    /// What `--fix` has done, a line each.
    pub(crate) mended: Vec<String>,
}

/// Runs every check. Whatever a check says on a host without a driver, the verdict is that of the driver.
pub(crate) fn examine(site: &Site) -> Report {
    let findings: Vec<Finding> = FAMILIES.iter().flat_map(|family| family(site)).collect();
    Report {
        verdict: findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok),
        findings,
        mended: Vec::new(),
    }
}

impl Report {
    /// 0 well (advice does not count), 1 trouble, 5 this system cannot do it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.verdict {
            Level::Ok | Level::Advice => 0,
            Level::Trouble => 1,
            Level::Unable => 5,
        }
    }

    /// What can be mended, each once.
    pub(crate) fn remedies(&self) -> Vec<Remedy> {
        let mut remedies: Vec<Remedy> = Vec::new();
        for remedy in self.findings.iter().filter_map(|finding| finding.remedy.as_ref()) {
            if !remedies.contains(remedy) {
                remedies.push(remedy.clone());
            }
        }
        remedies
    }

    /// How many findings are of that level.
    pub(crate) fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}
