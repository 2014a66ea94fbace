//! Content under its digest: nothing is believed before it was counted and hashed.

use crate::image::Error;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// `sha256:<64 hexadecimal digits>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Digest(String);

impl Digest {
    /// Reads `sha256:...`; other algorithms are not spoken.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        let sound = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        sound.then(|| Self(hex.to_owned()))
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        Self::from_hash(Sha256::new_with_prefix(bytes))
    }

    fn from_hash(hash: Sha256) -> Self {
        use std::fmt::Write;
        let mut hex = String::with_capacity(64);
        for byte in hash.finalize() {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// The digits, fit for a file name.
    pub(super) fn hex(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// A reader that hashes and counts what goes through it.
pub(super) struct Checked<R> {
    inner: R,
    hash: Sha256,
    length: u64,
}

impl<R: Read> Checked<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            length: 0,
        }
    }

    /// Reads to the end and compares; the length in bytes. `size` is compared where it is known.
    pub(super) fn verify(mut self, image: &str, digest: &Digest, size: Option<u64>) -> Result<u64, Error> {
        io::copy(&mut self, &mut io::sink())
            .map_err(Error::io(std::path::Path::new(image), format!("cannot read {digest}")))?;
        let damaged = |why: String| Error::Digest {
            image: image.to_owned(),
            digest: digest.to_string(),
            why,
        };
        if let Some(size) = size.filter(|size| *size != self.length) {
            return Err(damaged(format!("{} bytes instead of {size}", self.length)));
        }
        let found = Digest::from_hash(self.hash);
        if found == *digest {
            Ok(self.length)
        } else {
            Err(damaged(format!("its digest is {found}")))
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.length += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_a_sha256_and_nothing_else() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::parse(empty).unwrap(), Digest::of(b""));
        for bad in [
            "",
            "sha256:",
            "sha512:e3b0",
            "sha256:../../../etc/passwd",
            &empty.to_uppercase(),
        ] {
            assert!(Digest::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_differs_is_said() {
        let check = |size| {
            Checked::new(&b"abc"[..])
                .verify("i", &Digest::of(b"abd"), size)
                .unwrap_err()
        };
        assert!(check(Some(4)).to_string().contains("3 bytes instead of 4"));
        assert!(check(None).to_string().contains("its digest is sha256:ba7816bf"));
        Checked::new(&b"abc"[..])
            .verify("i", &Digest::of(b"abc"), Some(3))
            .unwrap();
    }
}
