//! Room on the heap, taken at once.

#![allow(unsafe_code)]

use std::ffi::c_int;

/// No block that [`take`] asks for is as large: they all lie on the heap (mallopt(3)).
const LARGEST_BLOCK: c_int = 4 << 20;

/// Bytes of the largest pages that Linux has (arm64).
const LARGEST_PAGE: usize = 64 << 10;

/// Takes `bytes` (below 4 MiB) of heap before they are needed.
///
/// A program that lives for milliseconds spends a tenth of them on its heap's pages, each a trap of its own, of two to three
/// microseconds in a virtual machine. The kernel gives them all for a tenth of that when asked once. Where it cannot (before
/// Linux 5.14) nothing is lost.
pub fn take(bytes: usize) {
    keep_blocks_on_the_heap();
    let block: Vec<u8> = Vec::with_capacity(bytes);
    populate(&block);
    // Free again, its pages stay: what is allocated from here on lies in them.
    drop(block);
}

/// Large blocks are the heap's own, and its end is not given back.
#[cfg(target_env = "gnu")]
fn keep_blocks_on_the_heap() {
    // SAFETY: it changes nothing but two numbers of the allocator's; the program has one thread yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_BLOCK);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGEST_BLOCK);
    }
}

/// Other allocators decide for themselves.
#[cfg(not(target_env = "gnu"))]
fn keep_blocks_on_the_heap() {}

fn populate(block: &Vec<u8>) {
    // SAFETY: it reads a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(LARGEST_PAGE);
    let start = block.as_ptr().map_addr(|address| address.next_multiple_of(page));
    let skipped = start.addr() - block.as_ptr().addr();
    let whole = block.capacity().saturating_sub(skipped) / page * page;
    // SAFETY: the pages are the block's own, and their content is not touched (madvise(2)).
    unsafe { libc::madvise(start.cast_mut().cast(), whole, libc::MADV_POPULATE_WRITE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Page faults of this thread so far that read nothing from a disk (proc_pid_stat(5), field 10).
    fn faults() -> usize {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let behind_name = stat.rsplit_once(')').unwrap().1;
        behind_name.split_whitespace().nth(7).unwrap().parse().unwrap()
    }

    #[test]
    fn pages_that_were_taken_are_not_waited_for_again() {
        const BYTES: usize = 1 << 20;
        let filled = |bytes: usize| {
            let before = faults();
            std::hint::black_box(vec![1_u8; bytes]);
            faults() - before
        };
        take(BYTES);
        let taken = filled(BYTES / 2);
        assert!(taken < 16, "{taken} faults for half of what was taken");
    }
}
