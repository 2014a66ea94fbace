//! Images by their full names, as containerd has them.

use super::{Error, ctr};
use crate::Context;
use crate::image::Reference;
use nvbind_workload::{ImageRef, Pull, Workload};
use std::process::Stdio;

/// The full name of a workload's image, which containerd then has; pulls it as the workload says.
pub(super) fn provide(workload: &Workload, context: &Context<'_>) -> Result<String, Error> {
    let name = match &workload.image {
        Some(ImageRef::Name(name)) => Reference::parse(name)?.to_string(),
        Some(layout) => {
            let what = layout.to_string();
            return Err(Error::Image { what });
        }
        None => {
            let what = format!("'{}' without an image", workload.name);
            return Err(Error::Image { what });
        }
    };
    match workload.pull {
        Pull::Always => {}
        _ if is_there(&name)? => return Ok(name),
        Pull::Never => {
            let why = "it is not there, and --pull never was given".to_owned();
            return Err(Error::ImageNotFound { image: name, why });
        }
        Pull::Missing => {}
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

fn is_there(name: &str) -> Result<bool, Error> {
    let listed = ctr::ask(["image", "ls", "-q", &format!("name==\"{name}\"")])?;
    Ok(!listed.unwrap_or_default().trim().is_empty())
}
