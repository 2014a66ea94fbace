//! `nvbind-runtime` for engines that clear its environment: a script that carries nvbind's settings to it.

use crate::failure::Failure;
use nvbind_config::{Config, Roots};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// File name of the script; engines know the shim by it.
const NAME: &str = "nvbind-runtime";

/// Writes the script into `folder`, which stays as long as the container. `None` when there is no shim.
pub(crate) fn wrapped(folder: &Path, config: &Config, roots: &Roots) -> Result<Option<PathBuf>, Failure> {
    let Some(shim) = nvbind_engine::find_shim() else {
        return Ok(None);
    };
    let script = folder.join(NAME);
    let failed = |error| Failure::io(format!("cannot write '{}'", script.display()), &error);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    fs::write(&script, text(&shim, config, roots)).map_err(failed)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    Ok(Some(script))
}

fn text(shim: &Path, config: &Config, roots: &Roots) -> String {
    let list = |paths: &[PathBuf]| {
        paths
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let settings = [
        ("NVBIND_HOST_DRIVER_ROOT", roots.driver.display().to_string()),
        ("NVBIND_HOST_DEV_ROOT", roots.dev.display().to_string()),
        ("NVBIND_HOST_PROC_ROOT", roots.proc.display().to_string()),
        ("NVBIND_HOST_SYS_ROOT", roots.sys.display().to_string()),
        ("NVBIND_CDI_SPEC_DIRS", list(&config.cdi.spec_dirs)),
        ("NVBIND_RUNTIME_RUNTIMES", config.runtime.runtimes.join(",")),
        ("NVBIND_HOOK_PATH", config.hook_path().display().to_string()),
    ];
    let exports = settings
        .iter()
        .map(|(name, value)| format!("export {name}={}\n", quoted(value)));
    format!(
        "#!/bin/sh\n{}exec {} \"$@\"\n",
        exports.collect::<String>(),
        quoted(&shim.display().to_string())
    )
}

/// A word that the shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_carries_the_roots() {
        let text = text(
            Path::new("/opt/it's/nvbind-runtime"),
            &Config::default(),
            &Roots::under(Path::new("/sim")),
        );
        assert!(
            text.starts_with("#!/bin/sh\nexport NVBIND_HOST_DRIVER_ROOT='/sim'\n"),
            "{text}"
        );
        assert!(
            text.contains("export NVBIND_CDI_SPEC_DIRS='/etc/cdi,/var/run/cdi'\n"),
            "{text}"
        );
        assert!(text.ends_with("exec '/opt/it'\\''s/nvbind-runtime' \"$@\"\n"), "{text}");
    }
}
