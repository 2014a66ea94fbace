//! The image that a machine starts from: NVIDIA's driver is in it.

use crate::answer;
use crate::client::Clients;
use nvbind_cloud::catalog::{Arch, Catalog};
use nvbind_cloud::provider::{ErrorClass, ProviderError};
use std::collections::HashMap;

/// The first compute capability, times ten, that NVIDIA's open kernel modules drive: Turing's
/// (github.com/NVIDIA/open-gpu-kernel-modules, README).
const OPEN_MODULES_FROM: u16 = 75;

/// How EC2 itself writes that an image's id is the value of a parameter.
const PARAMETER_PREFIX: &str = "resolve:ssm:";

/// An image as a launch needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) id: String,
    /// Name of the device that it boots from; a disk under another name would be a second one.
    pub(crate) root_device: String,
    /// GiB that it needs at least.
    pub(crate) disk_gib: i32,
}

/// Images by region and name, asked for once in the life of the program.
#[derive(Debug, Default)]
pub(crate) struct Images {
    known: HashMap<(String, String), Image>,
}

impl Images {
    /// The image of that name (`ami-...` or `resolve:ssm:...`) in a region.
    pub(crate) async fn find(&mut self, clients: &Clients, region: &str, name: &str) -> Result<Image, ProviderError> {
        let key = (region.to_owned(), name.to_owned());
        if let Some(image) = self.known.get(&key) {
            return Ok(image.clone());
        }
        let id = match name.strip_prefix(PARAMETER_PREFIX) {
            Some(parameter) => parameter_value(clients, region, parameter).await?,
            None => name.to_owned(),
        };
        let image = describe(clients, region, &id).await?;
        self.known.insert(key, image.clone());
        Ok(image)
    }
}

/// AWS's own image with NVIDIA's driver for a machine type (docs.aws.amazon.com/dlami, "Finding the ID of a DLAMI"). GPUs before
/// Turing need the driver with closed kernel modules.
pub(crate) fn default_image(catalog: &Catalog, instance_type: &str) -> String {
    let known = catalog
        .instances()
        .iter()
        .find(|instance| instance.instance_type == instance_type);
    let arch = known.map_or(Arch::X86_64, |instance| instance.arch);
    let is_old = known.is_some_and(|instance| instance.gpu.model().capability < OPEN_MODULES_FROM);
    let driver = if is_old { "proprietary" } else { "oss" };
    format!(
        "{PARAMETER_PREFIX}/aws/service/deeplearning/ami/{arch}/base-{driver}-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
    )
}

async fn parameter_value(clients: &Clients, region: &str, name: &str) -> Result<String, ProviderError> {
    let answer = clients.parameters(region).get_parameter().name(name).send().await;
    let answer = answer.map_err(answer::read)?;
    let value = answer.parameter.and_then(|parameter| parameter.value);
    value.ok_or_else(|| {
        ProviderError::new(
            ErrorClass::Invalid,
            "ParameterNotFound",
            format!("parameter {name} has no value in {region}"),
        )
    })
}

async fn describe(clients: &Clients, region: &str, id: &str) -> Result<Image, ProviderError> {
    let answer = clients.ec2(region).describe_images().image_ids(id).send().await;
    let answer = answer.map_err(answer::read)?;
    let Some(image) = answer.images().first() else {
        return Err(ProviderError::new(
            ErrorClass::Invalid,
            "InvalidAMIID.NotFound",
            format!("there is no image {id} in {region}"),
        ));
    };
    let root_device = image.root_device_name().unwrap_or("/dev/sda1");
    let disk = image
        .block_device_mappings()
        .iter()
        .find(|disk| disk.device_name() == Some(root_device));
    Ok(Image {
        id: id.to_owned(),
        root_device: root_device.to_owned(),
        disk_gib: disk
            .and_then(|disk| disk.ebs())
            .and_then(aws_sdk_ec2::types::EbsBlockDevice::volume_size)
            .unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_fits_the_gpu() {
        let catalog = Catalog::embedded().unwrap();
        for (instance_type, part) in [
            ("p4d.24xlarge", "/x86_64/base-oss-nvidia"),
            ("g5g.xlarge", "/arm64/base-oss-nvidia"),
            ("p3dn.24xlarge", "/x86_64/base-proprietary-nvidia"),
            ("m7i.large", "/x86_64/base-oss-nvidia"),
        ] {
            let image = default_image(&catalog, instance_type);
            assert!(image.contains(part), "{instance_type}: {image}");
        }
    }
}
