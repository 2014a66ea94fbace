//! The file that holds the state: two slots behind a real ELF stub, written in turn.
//!
//! The file is bind-mounted into containers, so it is changed in place: a rename would leave the
//! containers with the old file. A writer fills the slot that is not current and readers take the
//! whole slot with the highest number, so a reader needs no lock and a writer may be killed at any byte.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::Error;
use crate::state::State;

/// Where the first slot begins. The ELF stub before it is smaller than a page.
const FIRST_SLOT: u64 = 4096;
/// Bytes per slot; the file is sparse.
const SLOT_SIZE: u64 = 1 << 20;
/// Bytes of a slot's header: magic, checksum, sequence number, length.
const HEADER: usize = 24;
const MAGIC: [u8; 4] = *b"NVS1";
/// How often a reader looks again when a writer was faster than it.
const READ_TRIES: usize = 64;

/// An open state file.
#[derive(Debug)]
pub struct Store {
    file: File,
    path: PathBuf,
}

/// The header of a slot.
#[derive(Clone, Copy)]
struct Header {
    checksum: u32,
    sequence: u64,
    length: u64,
}

impl Header {
    fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (length, _) = rest.split_first_chunk::<8>()?;
        let header = Self {
            checksum: u32::from_le_bytes(*checksum),
            sequence: u64::from_le_bytes(*sequence),
            length: u64::from_le_bytes(*length),
        };
        (*magic == MAGIC && header.length <= SLOT_SIZE - HEADER as u64).then_some(header)
    }

    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }
}

/// Covers the sequence number too: a torn header must not make an old payload look new.
fn checksum(sequence: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&sequence.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

impl Store {
    /// Opens the file, for writing too when asked.
    pub fn open(path: &Path, write: bool) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .read(true)
            .write(write)
            .open(path)
            .map_err(Error::io("open", path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Makes the file: the ELF stub, then `state` in the first slot.
    pub(crate) fn create(path: &Path, stub: &[u8], state: &State) -> Result<(), Error> {
        std::fs::write(path, stub).map_err(Error::io("write", path))?;
        let store = Self::open(path, true)?;
        store
            .file
            .set_len(FIRST_SLOT + 2 * SLOT_SIZE)
            .map_err(Error::io("extend", path))?;
        store.write(state)
    }

    /// Takes the writers' lock until the store is dropped.
    pub(crate) fn lock(&self) -> Result<(), Error> {
        rustix::fs::flock(&self.file, FlockOperation::LockExclusive).map_err(Error::io("lock", &self.path))
    }

    /// Whether there is a state newer than the one of that number. Cheap: a newer one fills the other slot first.
    pub fn has_newer(&self, sequence: u64) -> bool {
        let next = sequence.wrapping_add(1);
        self.header(next % 2).is_some_and(|header| header.sequence > sequence)
    }

    /// The newest whole state.
    pub fn read(&self) -> Result<State, Error> {
        self.read_with_sequence().map(|(_, state)| state)
    }

    /// The newest whole state with its number.
    pub fn read_with_sequence(&self) -> Result<(u64, State), Error> {
        let payload = (0..READ_TRIES).find_map(|_| self.newest_payload());
        let (sequence, payload) = payload.ok_or_else(|| self.broken("it holds no whole state"))?;
        let state = serde_json::from_slice(&payload).map_err(|error| self.broken(&error.to_string()))?;
        Ok((sequence, state))
    }

    /// Writes the state into the slot that is not current. The caller holds the lock.
    pub(crate) fn write(&self, state: &State) -> Result<(), Error> {
        let payload = serde_json::to_vec(state).map_err(|error| self.broken(&error.to_string()))?;
        if payload.len() as u64 > SLOT_SIZE - HEADER as u64 {
            return Err(self.broken("its state would no longer fit"));
        }
        let current = self.newest_payload().map_or(0, |(sequence, _)| sequence);
        let sequence = current + 1;
        let header = Header {
            checksum: checksum(sequence, &payload),
            sequence,
            length: payload.len() as u64,
        };
        let offset = FIRST_SLOT + sequence % 2 * SLOT_SIZE;
        let io = Error::io("write", &self.path);
        let written = self.file.write_all_at(&payload, offset + HEADER as u64);
        written
            .and_then(|()| self.file.write_all_at(&header.to_bytes(), offset))
            .map_err(io)
    }

    fn headers(&self) -> [Option<Header>; 2] {
        [0, 1].map(|slot| self.header(slot))
    }

    fn header(&self, slot: u64) -> Option<Header> {
        let mut bytes = [0; HEADER];
        self.file
            .read_exact_at(&mut bytes, FIRST_SLOT + slot * SLOT_SIZE)
            .ok()?;
        Header::parse(&bytes)
    }

    /// The payload of the newest slot that is whole.
    fn newest_payload(&self) -> Option<(u64, Vec<u8>)> {
        let mut headers: Vec<Header> = self.headers().into_iter().flatten().collect();
        headers.sort_by_key(|header| std::cmp::Reverse(header.sequence));
        headers.into_iter().find_map(|header| {
            let mut payload = vec![0; usize::try_from(header.length).ok()?];
            let offset = FIRST_SLOT + header.sequence % 2 * SLOT_SIZE + HEADER as u64;
            self.file.read_exact_at(&mut payload, offset).ok()?;
            (checksum(header.sequence, &payload) == header.checksum).then_some((header.sequence, payload))
        })
    }

    fn broken(&self, reason: &str) -> Error {
        // <root>/usr/lib/<triple>/<file>
        let root = self.path.ancestors().nth(4).unwrap_or(&self.path);
        Error::NoState {
            root: root.to_owned(),
            reason: format!("its state cannot be used: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;

    fn scratch(name: &str) -> (PathBuf, Store, State) {
        let path = std::env::temp_dir().join(format!("nvbind-sim-store-{name}-{}", std::process::id()));
        let state = State::new(profile::by_name("t4").unwrap());
        Store::create(&path, b"stub", &state).unwrap();
        (path.clone(), Store::open(&path, true).unwrap(), state)
    }

    /// Whatever part of the next state was written when the writer died, the last whole one is read.
    #[test]
    fn a_write_that_broke_off_at_any_byte_leaves_the_state_before_it() {
        let (path, store, mut state) = scratch("torn");
        for round in 0..4 {
            let before = std::fs::read(&path).unwrap();
            let old = state.clone();
            state.gpus[0].utilization = 10 + round;
            store.write(&state).unwrap();
            let after = std::fs::read(&path).unwrap();
            let sequence = store.read_with_sequence().unwrap().0;
            assert!(store.has_newer(sequence - 1) && !store.has_newer(sequence));
            let slot = (FIRST_SLOT + sequence % 2 * SLOT_SIZE) as usize;
            let length = Header::parse(after[slot..slot + HEADER].try_into().unwrap())
                .unwrap()
                .length as usize;
            // The order in which bytes reach the file: payload first, then header.
            let order: Vec<usize> = (slot + HEADER..slot + HEADER + length)
                .chain(slot..slot + HEADER)
                .collect();
            for cut in (0..order.len()).step_by(97).chain(order.len() - HEADER..order.len()) {
                let mut torn = before.clone();
                order[..cut].iter().for_each(|&at| torn[at] = after[at]);
                std::fs::write(&path, &torn).unwrap();
                let read = store.read().unwrap();
                assert!(read == old || read == state, "cut at {cut}");
            }
            std::fs::write(&path, &after).unwrap();
            assert_eq!(store.read().unwrap(), state);
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn readers_never_see_half_a_state() {
        let (path, store, mut state) = scratch("live");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let reader = Store::open(&path, false).unwrap();
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let seen = reader.read().unwrap();
                    assert_eq!(seen.gpus[0].utilization, seen.gpus[3].utilization);
                }
            });
            for round in 0..400 {
                state.gpus.iter_mut().for_each(|gpu| gpu.utilization = round % 100);
                store.write(&state).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_without_a_state_is_told() {
        let (path, store, _) = scratch("empty");
        std::fs::write(&path, b"nothing").unwrap();
        assert!(matches!(store.read(), Err(Error::NoState { .. })));
        std::fs::remove_file(path).unwrap();
    }
}
