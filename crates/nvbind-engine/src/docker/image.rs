//! The image of a container: pulled when the daemon does not have it.

use super::Error;
use super::error::{is_status, text};
use bollard::Docker;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;
use nvbind_workload::Pull;

/// HTTP status of "there is no such thing".
const NOT_FOUND: u16 = 404;

/// Sees to it that the daemon has the image.
pub(super) async fn ensure(api: &Docker, image: &str, when: Pull, progress: &dyn Fn(&str)) -> Result<(), Error> {
    if when == Pull::Always {
        return pull(api, image, progress).await;
    }
    match api.inspect_image(image).await {
        Ok(_) => Ok(()),
        Err(error) if is_status(&error, NOT_FOUND) && when == Pull::Never => Err(Error::ImageNotFound {
            image: image.to_owned(),
            why: "it is not there, and --pull never was given".to_owned(),
        }),
        Err(error) if is_status(&error, NOT_FOUND) => pull(api, image, progress).await,
        Err(error) => Err(Error::api("look up image", image)(error)),
    }
}

async fn pull(api: &Docker, image: &str, progress: &dyn Fn(&str)) -> Result<(), Error> {
    progress(&format!("pulling image '{image}'"));
    let (name, tag) = split(image);
    let options = CreateImageOptionsBuilder::default().from_image(name).tag(tag).build();
    let pulled = api.create_image(Some(options), None, None).try_for_each(|step| {
        report(&step, progress);
        std::future::ready(Ok(()))
    });
    pulled.await.map_err(|error| Error::ImageNotFound {
        image: image.to_owned(),
        why: text(&error),
    })
}

/// Passes on what the daemon says of a layer or of the whole; not the bytes, which come many times a second.
fn report(step: &CreateImageInfo, progress: &dyn Fn(&str)) {
    let counts_bytes = step
        .progress_detail
        .as_ref()
        .is_some_and(|detail| detail.total.is_some());
    if let Some(status) = step.status.as_deref().filter(|_| !counts_bytes) {
        match step.id.as_deref() {
            Some(id) => progress(&format!("{id}: {status}")),
            None => progress(status),
        }
    }
}

/// Name, and tag or digest. Without one docker would pull every tag there is.
fn split(image: &str) -> (&str, &str) {
    if let Some(parts) = image.split_once('@') {
        return parts;
    }
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_a_tag() {
        assert_eq!(split("debian"), ("debian", "latest"));
        assert_eq!(split("debian:12"), ("debian", "12"));
        assert_eq!(split("localhost:5000/a/b"), ("localhost:5000/a/b", "latest"));
        assert_eq!(split("localhost:5000/a/b:1"), ("localhost:5000/a/b", "1"));
        assert_eq!(split("a@sha256:00"), ("a", "sha256:00"));
    }
}
