//! Where a symbolic link leads, by its text alone.

use std::path::{Component, Path, PathBuf};

/// The path that a link leads to, without looking at the file system.
pub(crate) fn resolve(link: &Path, target: &Path) -> PathBuf {
    let mut path = link.parent().unwrap_or(Path::new("/")).to_owned();
    for component in target.components() {
        match component {
            Component::RootDir => path = PathBuf::from("/"),
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::Prefix(_) => (),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let resolved = |link: &str, target: &str| resolve(Path::new(link), Path::new(target)).display().to_string();
        assert_eq!(resolved("/usr/lib/libcuda.so", "libcuda.so.1"), "/usr/lib/libcuda.so.1");
        assert_eq!(
            resolved("/usr/lib/gbm/nvidia-drm_gbm.so", "../libnvidia-allocator.so.1"),
            "/usr/lib/libnvidia-allocator.so.1"
        );
        assert_eq!(resolved("/usr/lib/libGL.so", "/opt/./x"), "/opt/x");
        assert_eq!(resolved("/a", "../../../b"), "/b");
    }
}
