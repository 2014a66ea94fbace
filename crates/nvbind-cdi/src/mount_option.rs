//! An option of a mount, as `ro`.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// An option of a mount, as `ro` or `mode=755`. The usual ones are not allocated for each of a driver's two hundred files.
pub type MountOption = Cow<'static, str>;

/// Options that mounts of driver files and device nodes have (mount(8)).
const USUAL: [&str; 9] = [
    "ro", "nosuid", "nodev", "rbind", "rprivate", "noexec", "bind", "rw", "private",
];

/// Reads a list of options.
pub(crate) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<MountOption>, D::Error> {
    let read = Vec::<Read>::deserialize(deserializer)?;
    Ok(read.into_iter().map(|option| option.0).collect())
}

/// An option as read.
struct Read(MountOption);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Reader)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mount option")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Read, E> {
        let usual = USUAL.into_iter().find(|usual| *usual == text);
        Ok(Read(usual.map_or_else(|| Cow::Owned(text.to_owned()), Cow::Borrowed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mount;
    use serde_json::json;

    #[test]
    fn only_unusual_options_are_kept_as_texts_of_their_own() {
        let mount = json!({ "hostPath": "/a", "containerPath": "/a", "options": ["ro", "mode=755"] });
        let read: Mount = serde_json::from_value(mount.clone()).unwrap();
        assert!(matches!(&read.options[..], [Cow::Borrowed("ro"), Cow::Owned(mode)] if mode == "mode=755"));
        assert_eq!(serde_json::to_value(&read).unwrap(), mount);
    }
}
