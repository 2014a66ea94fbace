//! The options of a mount, as `ro`.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// The options of a mount, as `ro` or `mode=755`. Those that a driver's two hundred files have in common are one list for all
/// of them.
pub type MountOptions = Cow<'static, [MountOption]>;

/// One option.
pub(crate) type MountOption = Cow<'static, str>;

/// Options of a mounted driver file.
pub(crate) const FILE: &[MountOption] = &[
    Cow::Borrowed("ro"),
    Cow::Borrowed("nosuid"),
    Cow::Borrowed("nodev"),
    Cow::Borrowed("rbind"),
    Cow::Borrowed("rprivate"),
];

/// Options of a mounted socket. Without `ro`: a container within the container could not mount it again.
pub(crate) const SOCKET: &[MountOption] = &[
    Cow::Borrowed("nosuid"),
    Cow::Borrowed("nodev"),
    Cow::Borrowed("rbind"),
    Cow::Borrowed("rprivate"),
    Cow::Borrowed("noexec"),
];

pub(crate) fn is_empty(options: &MountOptions) -> bool {
    options.is_empty()
}

/// Reads a list of options.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MountOptions, D::Error> {
    let read = Vec::<Read>::deserialize(deserializer)?;
    let is_read = |known: &&[MountOption]| read.iter().map(|option| &option.0).eq(known.iter());
    let known = [FILE, SOCKET].into_iter().find(is_read);
    Ok(match known {
        Some(known) => Cow::Borrowed(known),
        None => read.into_iter().map(|option| option.0).collect(),
    })
}

/// An option as read: a known one without a text of its own.
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
        let known = FILE.iter().chain(SOCKET).find(|known| *known == text);
        Ok(Read(known.map_or_else(|| Cow::Owned(text.to_owned()), Cow::clone)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mount;
    use serde_json::{Value, json};

    fn mount(options: &Value) -> Mount {
        let text = json!({ "hostPath": "/a", "containerPath": "/a", "options": options });
        let mount: Mount = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&mount).unwrap(), text);
        mount
    }

    #[test]
    fn the_options_of_driver_files_are_one_list() {
        let file = mount(&json!(["ro", "nosuid", "nodev", "rbind", "rprivate"]));
        assert!(matches!(file.options, Cow::Borrowed(list) if list == FILE));
    }

    #[test]
    fn other_options_are_kept_as_they_are() {
        let mount = mount(&json!(["ro", "mode=755"]));
        assert!(matches!(&mount.options[..], [Cow::Borrowed("ro"), Cow::Owned(mode)] if mode == "mode=755"));
    }
}
