//! What is copied to a host.

use super::HostError;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What runs containers on a host.
const PROGRAMS: [&str; 3] = ["nvbind", "nvbind-runtime", "nvbind-hook"];
/// The simulated NVML; only hosts that are simulated need it.
const SIMULATOR: &str = "libnvbind_sim_nvml.so";
/// Folders that may hold the other programs, from the folder of `nvbind`.
const BESIDE: [&str; 2] = [".", "../lib/nvbind"];
/// So many hexadecimal digits of the checksum are in the name of the folder there.
const DIGITS: usize = 12;

/// The programs that a host needs, with their checksums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kit {
    /// Machine architecture as `uname -m` has it.
    pub arch: String,
    /// What every host gets.
    pub(super) programs: Vec<Part>,
    /// What a simulated host gets, too, where this machine has it.
    pub(super) simulator: Option<Part>,
}

/// A file of a kit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its name there.
    pub(super) name: &'static str,
    /// Where it lies here.
    pub(super) path: PathBuf,
    /// SHA-256, hexadecimal.
    pub(super) checksum: String,
}

impl Kit {
    /// The `nvbind` at `program` with what lies beside it.
    pub fn beside(program: &Path) -> Result<Self, HostError> {
        let folder = program.parent().unwrap_or(Path::new("/"));
        let find = |name: &'static str| {
            let mut candidates = BESIDE.iter().map(|below| folder.join(below).join(name));
            candidates.find(|path| path.is_file())
        };
        let programs = PROGRAMS.iter().map(|name| {
            let path = match *name {
                "nvbind" => Some(program.to_owned()),
                name => find(name),
            };
            let missing = || HostError::Local {
                what: format!("cannot prepare a host: no {name} beside '{}'", program.display()),
                source: io::ErrorKind::NotFound.into(),
            };
            Part::of(name, path.ok_or_else(missing)?)
        });
        Ok(Self {
            arch: std::env::consts::ARCH.to_owned(),
            programs: programs.collect::<Result<_, _>>()?,
            simulator: find(SIMULATOR).map(|path| Part::of(SIMULATOR, path)).transpose()?,
        })
    }

    /// The kit of the program that runs.
    pub fn of_this_program() -> Result<Self, HostError> {
        let program = std::env::current_exe().map_err(|source| HostError::Local {
            what: "cannot find the running nvbind".to_owned(),
            source,
        })?;
        Self::beside(&program)
    }

    /// The files for a host.
    pub(super) fn parts(&self, is_simulated: bool) -> Vec<&Part> {
        let simulator = self.simulator.iter().filter(|_| is_simulated);
        self.programs.iter().chain(simulator).collect()
    }

    /// Name of the folder there: another build has another one.
    pub(super) fn folder(&self) -> String {
        let mut all = Sha256::new();
        self.programs.iter().for_each(|part| all.update(&part.checksum));
        let digits = hex(&all.finalize());
        format!("nvbind-{}-{}", env!("CARGO_PKG_VERSION"), &digits[..DIGITS])
    }
}

impl Part {
    fn of(name: &'static str, path: PathBuf) -> Result<Self, HostError> {
        let read = |path: &Path| {
            let mut sum = Sha256::new();
            io::copy(&mut File::open(path)?, &mut sum)?;
            Ok(hex(&sum.finalize()))
        };
        match read(&path) {
            Ok(checksum) => Ok(Self { name, path, checksum }),
            Err(source) => Err(HostError::Local {
                what: format!("cannot read '{}'", path.display()),
                source,
            }),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kit_is_what_lies_beside_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("nvbind");
        std::fs::write(&program, "abc").unwrap();
        let error = Kit::beside(&program).unwrap_err().to_string();
        assert!(error.contains("nvbind-runtime"), "{error}");
        for name in &PROGRAMS[1..] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let kit = Kit::beside(&program).unwrap();
        // Of FIPS 180-2, B.1.
        assert_eq!(kit.programs[0].checksum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((kit.parts(true).len(), kit.simulator.is_none()), (3, true));
        let name = kit.folder();
        std::fs::write(&program, "abd").unwrap();
        assert_ne!(Kit::beside(&program).unwrap().folder(), name);
    }
}
