//! Images by their full names, as containerd has them.

use super::{Error, ctr};
use crate::Context;
use nvbind_workload::{ImageRef, Workload};
use std::process::Stdio;

/// The registry of names that name none, and the folder there of names without one.
const REGISTRY: &str = "docker.io";
const LIBRARY: &str = "library";
const TAG: &str = "latest";

/// The full name of a workload's image, which containerd then has; pulls it when it is not there.
pub(super) fn provide(workload: &Workload, context: &Context<'_>) -> Result<String, Error> {
    let name = match &workload.image {
        Some(ImageRef::Name(name)) => full_name(name),
        Some(layout) => {
            return Err(Error::Image {
                what: layout.to_string(),
            });
        }
        None => {
            let what = format!("'{}' without an image", workload.name);
            return Err(Error::Image { what });
        }
    };
    let listed = ctr::ask(["image", "ls", "-q", &format!("name=={name}")])?;
    if !listed.unwrap_or_default().trim().is_empty() {
        return Ok(name);
    }
    (context.progress)(&format!("pulling {name}"));
    // Its progress bars are for a person's eyes and not part of the container's output.
    let pulled = ctr::command()
        .args(["image", "pull", &name])
        .stdin(Stdio::null())
        .output();
    let pulled = pulled.map_err(ctr::start)?;
    if pulled.status.success() {
        return Ok(name);
    }
    let said = String::from_utf8_lossy(&pulled.stderr);
    let why = said
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("the pull failed");
    Err(Error::ImageNotFound {
        image: name,
        why: why.trim_start_matches("ctr: ").to_owned(),
    })
}

/// `docker.io/library/debian:latest` of `debian`, by docker's rules.
fn full_name(name: &str) -> String {
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest.to_owned()),
        Some(_) => (REGISTRY, name.to_owned()),
        None => (REGISTRY, format!("{LIBRARY}/{name}")),
    };
    let last = path.rsplit('/').next().unwrap_or_default();
    let tag = if last.contains([':', '@']) {
        String::new()
    } else {
        format!(":{TAG}")
    };
    format!("{registry}/{path}{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_does() {
        let table = [
            ("debian", "docker.io/library/debian:latest"),
            ("debian:12", "docker.io/library/debian:12"),
            ("nvidia/cuda:12.2.0-base", "docker.io/nvidia/cuda:12.2.0-base"),
            ("nvcr.io/nvidia/pytorch", "nvcr.io/nvidia/pytorch:latest"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("localhost/a:1", "localhost/a:1"),
            ("debian@sha256:0011", "docker.io/library/debian@sha256:0011"),
        ];
        for (name, wanted) in table {
            assert_eq!(full_name(name), wanted);
        }
    }
}
