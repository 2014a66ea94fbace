//! What `--fix` does.

use super::{Remedy, Site};
use crate::failure::{FAILED, Failure, USAGE};
use nvbind_cdi::{Format, GenerateOptions, Spec};
use nvbind_config::Config;
use nvbind_gpu::{KernelNode, SearchOptions, Source};
use std::path::Path;

/// Mends a host that was looked at.
pub(crate) struct Mender<'a> {
    site: &'a Site,
    config: &'a Config,
}

impl<'a> Mender<'a> {
    pub(crate) fn new(site: &'a Site, config: &'a Config) -> Self {
        Self { site, config }
    }

    /// Does it; returns what was done, in a line.
    pub(crate) fn mend(&self, remedy: &Remedy) -> Result<String, Failure> {
        match remedy {
            Remedy::MakeNodes => self.each_node("made", |node| node.make(&self.site.roots)),
            Remedy::LinkNodes => self.each_node("linked by number", |node| node.link_char(&self.site.roots)),
            Remedy::Regenerate(path) => self.regenerate(path),
        }
    }

    fn each_node(
        &self,
        what: &str,
        mend: impl Fn(&KernelNode) -> Result<bool, nvbind_gpu::Error>,
    ) -> Result<String, Failure> {
        let mut done = Vec::new();
        for node in &self.site.nodes {
            if mend(node)? {
                done.push(node.path.display().to_string());
            }
        }
        Ok(format!("{what}: {}", done.join(", ")))
    }

    /// Writes a spec anew, of the same kind, for the same names and no newer version than it had.
    fn regenerate(&self, path: &Path) -> Result<String, Failure> {
        let (site, shown) = (self.site, path.display());
        if site.host.source != Source::Nvml {
            return Err(Failure::new(FAILED, format!("{shown} is kept: NVML does not answer")));
        }
        let old = Spec::from_file(path)?;
        let format = Format::of_file(path).unwrap_or(Format::Yaml);
        let options = self.options(&old)?;
        let files = nvbind_gpu::driver_files(
            &site.roots,
            site.host.driver.version.as_deref(),
            &SearchOptions::default(),
        )?;
        let mut spec = nvbind_cdi::generate(&site.roots, &site.host, &files, &options)?;
        // It may have been made for an engine that reads no newer one.
        if spec.limit_version(&old.cdi_version).is_err() {
            spec.cdi_version = spec.required_version().to_owned();
        }
        spec.write(path, format)?;
        Ok(format!("wrote {shown}: {} device(s)", spec.devices.len()))
    }

    fn options(&self, old: &Spec) -> Result<GenerateOptions, Failure> {
        let (vendor, class) = old
            .kind
            .split_once('/')
            .ok_or_else(|| Failure::new(USAGE, format!("'{}' is no kind", old.kind)))?;
        let mut options = GenerateOptions {
            vendor: vendor.to_owned(),
            class: class.to_owned(),
            no_all_device: !old.devices.iter().any(|device| device.name == "all"),
            ..GenerateOptions::new(self.config.hook_path())
        };
        if old.devices.iter().any(|device| device.name == "gpu0") {
            options.device_name_strategies.push("type-index".parse()?);
        }
        Ok(options)
    }
}
