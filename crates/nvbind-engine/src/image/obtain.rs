//! From the name of an image to the image, unpacked: out of the store, out of a layout, or out of a registry.

use crate::image::layout::Layout;
use crate::image::manifest::{self, Contents};
use crate::image::names::Named;
use crate::image::registry::{Registries, Session};
use crate::image::store::Store;
use crate::image::unpack::Plan;
use crate::image::{Error, Image, Listed, Progress, Reference};
use nvbind_workload::{ImageRef, Pull};

/// Where images may come from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// What is to be known of registries.
    pub registries: &'a Registries,
    /// Whether registries are asked.
    pub pull: Pull,
}

/// An image that was asked for, under its complete name.
#[derive(Debug)]
pub struct Wanted {
    /// The image.
    pub image: Image,
    /// Its complete name.
    pub name: String,
}

impl Store {
    /// The image of this name, fetched and unpacked as far as need be.
    pub fn obtain(&self, image: &ImageRef, sources: Sources<'_>, progress: &mut Progress<'_>) -> Result<Wanted, Error> {
        let wanted = match image {
            ImageRef::Layout { .. } => self.import(image, progress)?,
            ImageRef::Name(text) => self.named_or_pulled(&Reference::parse(text)?, sources, progress)?,
        };
        Ok(wanted)
    }

    /// Fetches what a name stands for in its registry now.
    pub fn pull(&self, name: &str, registries: &Registries, progress: &mut Progress<'_>) -> Result<Listed, Error> {
        let reference = Reference::parse(name)?;
        let wanted = self.fetch(&reference, registries, progress)?;
        let listed = self.list()?.into_iter().find(|image| image.name == wanted.name);
        drop(wanted.image);
        self.tidy();
        listed.ok_or(Error::Unknown { name: wanted.name })
    }

    fn named_or_pulled(
        &self,
        reference: &Reference,
        sources: Sources<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<Wanted, Error> {
        if sources.pull != Pull::Always {
            let name = reference.to_string();
            let _lock = self.enter()?;
            let config = self.named(&name)?.and_then(|image| image.config());
            let image = config.map(|config| self.image(&name, &config)).transpose()?.flatten();
            if let Some(image) = image {
                return Ok(Wanted { image, name });
            }
            if sources.pull == Pull::Never {
                return Err(Error::NotPulled { name });
            }
        }
        let wanted = self.fetch(reference, sources.registries, progress)?;
        self.tidy();
        Ok(wanted)
    }

    fn fetch(
        &self,
        reference: &Reference,
        registries: &Registries,
        progress: &mut Progress<'_>,
    ) -> Result<Wanted, Error> {
        let _lock = self.enter()?;
        let name = reference.to_string();
        let session = Session::open(reference, registries)?;
        let (bytes, digest) = session.manifest()?;
        let contents = manifest::read(&session, &digest, &bytes)?;
        if let Some(plan) = Plan::of(self, &contents) {
            session.download(self, plan.layers(), progress)?;
            // No thread may be left when a container is made.
            drop(session);
            plan.carry_out(self, &Layout::of_store(self.dir(), &name), progress)?;
        }
        self.keep_as(&name, Some(digest), &contents)
    }

    /// The image of a layout, unpacked into the store unless it is there. Asks nothing of the layers when it is.
    fn import(&self, image: &ImageRef, progress: &mut Progress<'_>) -> Result<Wanted, Error> {
        let ImageRef::Layout { path, reference } = image else {
            return Err(Error::Unknown {
                name: image.to_string(),
            });
        };
        let layout = Layout::open(path)?;
        let contents = layout.contents(reference.as_deref())?;
        let _lock = self.enter()?;
        if let Some(plan) = Plan::of(self, &contents) {
            plan.carry_out(self, &layout, progress)?;
        }
        let path = std::path::absolute(path).map_err(Error::io(path, "has no absolute path"))?;
        let name = ImageRef::Layout {
            path,
            reference: reference.clone(),
        };
        self.keep_as(&name.to_string(), None, &contents)
    }

    /// Writes down what an image is called, once it is there.
    fn keep_as(&self, name: &str, manifest: Option<String>, contents: &Contents) -> Result<Wanted, Error> {
        self.keep(&contents.id, &contents.configuration)?;
        let image = self.image(name, &contents.id)?;
        let image = image.ok_or_else(|| Error::Unknown { name: name.to_owned() })?;
        self.give_name(&Named::new(name.to_owned(), manifest, &contents.id))?;
        Ok(Wanted {
            image,
            name: name.to_owned(),
        })
    }
}
