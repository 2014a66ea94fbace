//! Options that take one word of a fixed list.

/// A word that an option does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} '{word}': use {}", .known.join(", "))]
pub struct UnknownWord {
    /// What the word was to name, as `profile`.
    pub what: &'static str,
    /// The word that was given.
    pub word: String,
    /// The words that are known.
    pub known: Vec<&'static str>,
}

/// Gives an enum its words: `WORDS`, `as_str`, `FromStr`, `Display` and the matching `Deserialize`.
macro_rules! words {
    ($type:ident, $what:literal, { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// Every value with the word that names it in options and files.
            pub const WORDS: &'static [(Self, &'static str)] = &[$((Self::$variant, $word)),+];

            /// The word that names this value in options and files.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::UnknownWord;

            fn from_str(word: &str) -> Result<Self, $crate::UnknownWord> {
                let found = Self::WORDS.iter().find(|(_, known)| *known == word);
                found.map(|(value, _)| *value).ok_or_else(|| $crate::UnknownWord {
                    what: $what,
                    word: word.to_owned(),
                    known: Self::WORDS.iter().map(|(_, known)| *known).collect(),
                })
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use words;
