//! The names of NVIDIA's programs, as links to nvbind's, so that configuration which names them keeps working.

use super::Error;
use super::file::failed;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const RUNTIME: &str = "nvbind-runtime";
const HOOK: &str = "nvbind-hook";

/// A name of NVIDIA's toolkit, and the program of ours that it stands for. docker before version 25 offers `--gpus` only
/// where it finds one of the hook's names on `PATH`; the runtime then takes the hook out again and does its work.
const NAMES: [(&str, &str); 5] = [
    ("nvidia-container-runtime", RUNTIME),
    ("nvidia-container-runtime.cdi", RUNTIME),
    ("nvidia-container-runtime.legacy", RUNTIME),
    ("nvidia-container-runtime-hook", HOOK),
    ("nvidia-container-toolkit", HOOK),
];

/// A link that was made or removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The link.
    pub path: PathBuf,
    /// What it leads to.
    pub target: PathBuf,
}

/// Makes the links in `folder`, to the programs that lie beside `runtime`. All or none: a name that something else has is an
/// error before the first is made. Returns those that were missing.
pub fn link(folder: &Path, runtime: &Path, dry_run: bool) -> Result<Vec<Link>, Error> {
    let programs = runtime.parent().unwrap_or(Path::new("/"));
    let wanted = NAMES.map(|(name, program)| Link {
        path: folder.join(name),
        target: programs.join(program),
    });
    let mut missing = Vec::new();
    for link in wanted {
        match present(&link.path)? {
            Present::Ours(target) if target == link.target => {}
            Present::Ours(_) | Present::Nothing => missing.push(link),
            Present::Other => return Err(Error::Taken(link.path)),
        }
    }
    if !dry_run {
        missing.iter().try_for_each(make)?;
    }
    Ok(missing)
}

/// Removes those of the links that lead to programs of ours. Returns them.
pub fn unlink(folder: &Path, dry_run: bool) -> Result<Vec<Link>, Error> {
    let mut removed = Vec::new();
    for (name, _) in NAMES {
        let path = folder.join(name);
        if let Present::Ours(target) = present(&path)? {
            if !dry_run {
                fs::remove_file(&path).map_err(|error| failed("remove", &path, error))?;
            }
            removed.push(Link { path, target });
        }
    }
    Ok(removed)
}

enum Present {
    Nothing,
    Ours(PathBuf),
    Other,
}

fn present(path: &Path) -> Result<Present, Error> {
    match fs::read_link(path) {
        Ok(target) if target.ends_with(RUNTIME) || target.ends_with(HOOK) => Ok(Present::Ours(target)),
        Ok(_) => Ok(Present::Other),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Present::Nothing),
        // EINVAL: it is no link.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(Present::Other),
        Err(error) => Err(failed("look at", path, error)),
    }
}

/// A link under another name, then a rename: the name is never without a program.
fn make(link: &Link) -> Result<(), Error> {
    let name = link.path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = link
        .path
        .with_file_name(format!(".{name}.nvbind-{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let made = symlink(&link.target, &temporary).and_then(|()| fs::rename(&temporary, &link.path));
    if made.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    made.map_err(|error| failed("make", &link.path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_once_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Path::new("/opt/nvbind-runtime");
        assert_eq!(link(dir.path(), runtime, true).unwrap().len(), 5);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "a dry run makes none");
        assert_eq!(link(dir.path(), runtime, false).unwrap().len(), 5);
        assert_eq!(link(dir.path(), runtime, false).unwrap(), []);
        let target = |name: &str| fs::read_link(dir.path().join(name)).unwrap();
        assert_eq!(target("nvidia-container-runtime.cdi"), runtime);
        assert_eq!(target("nvidia-container-runtime-hook"), Path::new("/opt/nvbind-hook"));
        let moved = Path::new("/usr/bin/nvbind-runtime");
        assert_eq!(link(dir.path(), moved, false).unwrap().len(), 5, "they follow");
        assert_eq!(unlink(dir.path(), false).unwrap().len(), 5);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_ours_stays() {
        let dir = tempfile::tempdir().unwrap();
        let theirs = dir.path().join("nvidia-container-runtime.cdi");
        fs::write(&theirs, "theirs").unwrap();
        let error = link(dir.path(), Path::new("/opt/nvbind-runtime"), false).unwrap_err();
        assert!(error.to_string().contains("is not nvbind's"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "all or none");
        assert_eq!(unlink(dir.path(), false).unwrap(), []);
        assert_eq!(fs::read_to_string(theirs).unwrap(), "theirs");
    }
}
