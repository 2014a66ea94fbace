//! Taking images away, and everything that no image needs (any more).

use crate::image::blob::Digest;
use crate::image::manifest::chains_of;
use crate::image::names::Named;
use crate::image::store::Store;
use crate::image::{Error, Progress, Step};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What was taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names of images.
    pub names: Vec<String>,
    /// Bytes of files that are gone.
    pub bytes: u64,
}

impl Store {
    /// Takes an image away, by its name or the beginning of its id. `holders` tells which containers run on a name.
    pub fn remove(
        &self,
        key: &str,
        holders: &dyn Fn(&str) -> Vec<String>,
        progress: &mut Progress<'_>,
    ) -> Result<Removed, Error> {
        let _alone = self.alone(&mut || progress(Step::Wait))?;
        let names = self.names()?;
        let image = self.find(&names, key)?;
        let config = image.config();
        let is_last = names.iter().filter(|other| other.config == image.config).count() == 1;
        if is_last && config.is_some_and(|config| self.is_held(&config)) {
            return Err(Error::InUse {
                containers: holders(&image.name),
                name: image.name.clone(),
            });
        }
        self.take_names(&[&image.name])?;
        Ok(Removed {
            names: vec![image.name.clone()],
            bytes: self.collect()?,
        })
    }

    /// Takes away what no image needs; with `all` also images that no container runs on.
    pub fn prune(&self, all: bool, progress: &mut Progress<'_>) -> Result<Removed, Error> {
        let _alone = self.alone(&mut || progress(Step::Wait))?;
        let names = self.names()?;
        let is_unused = |image: &&Named| all && !image.config().is_some_and(|config| self.is_held(&config));
        let unused: Vec<&str> = names
            .iter()
            .filter(is_unused)
            .map(|image| image.name.as_str())
            .collect();
        if !unused.is_empty() {
            self.take_names(&unused)?;
        }
        Ok(Removed {
            names: unused.into_iter().map(str::to_owned).collect(),
            bytes: self.collect()?,
        })
    }

    /// Takes away what no image needs, if nobody uses the store: what is left now is found the next time.
    pub(super) fn tidy(&self) {
        if let Ok(Some(_alone)) = self.try_alone() {
            let _ = self.collect();
        }
    }

    /// Takes away everything that no named image and no container needs; how many bytes that were. To be called alone.
    fn collect(&self) -> Result<u64, Error> {
        let mut configs: HashSet<Digest> = self.names()?.iter().filter_map(Named::config).collect();
        let blobs = entries(&self.blobs())?;
        let digest = |path: &Path| Digest::parse(&format!("sha256:{}", path.file_name()?.to_str()?));
        // A container may run on an image whose name went to another.
        configs.extend(
            blobs
                .iter()
                .filter_map(|path| digest(path))
                .filter(|config| self.is_held(config)),
        );
        let mut chains = HashSet::new();
        for config in &configs {
            let document = self.document(config)?.unwrap_or_default();
            chains.extend(chains_of(&document).into_iter().flatten());
        }
        let kept = |path: &Path, set: &HashSet<Digest>| digest(path).is_some_and(|digest| set.contains(&digest));
        let blobs = blobs.into_iter().filter(|path| !kept(path, &configs));
        let layers = entries(&self.layers())?.into_iter().filter(|path| !kept(path, &chains));
        let own = ["images.json", "blobs", "layers", "incoming"];
        let is_own = |path: &PathBuf| own.iter().any(|name| path.ends_with(name));
        let strays = entries(self.dir())?.into_iter().filter(|path| !is_own(path));
        let incoming = entries(&self.incoming())?.into_iter();
        blobs
            .chain(layers)
            .chain(incoming)
            .chain(strays)
            .map(|path| self.discard(&path))
            .sum()
    }

    /// Removes a file or a folder. A folder loses its name first: half a layer must not look like one.
    fn discard(&self, path: &Path) -> Result<u64, Error> {
        let failed = || Error::store(path, "cannot be removed");
        let metadata = fs::symlink_metadata(path).map_err(failed())?;
        if !metadata.is_dir() {
            fs::remove_file(path).map_err(failed())?;
            return Ok(metadata.len());
        }
        let size = fs::read_to_string(path.join("size"))
            .ok()
            .and_then(|text| text.parse().ok());
        let doomed = match path.starts_with(self.layers()) {
            true => self
                .incoming()
                .join(format!("doomed-{}", path.file_name().unwrap_or_default().display())),
            false => path.to_owned(),
        };
        if doomed != path {
            fs::rename(path, &doomed).map_err(failed())?;
        }
        fs::remove_dir_all(&doomed).map_err(failed())?;
        Ok(size.unwrap_or(0))
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = || Error::store(folder, "cannot be read");
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(failed())?,
    };
    listed
        .map(|entry| entry.map(|entry| entry.path()).map_err(failed()))
        .collect()
}
