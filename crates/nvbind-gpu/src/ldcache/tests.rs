use super::*;
use proptest::prelude::*;
use std::process::Command;

const HOST_CACHE: &str = "/etc/ld.so.cache";

fn host_cache() -> Vec<u8> {
    std::fs::read(HOST_CACHE).unwrap()
}

/// What `ldconfig -p` says of a cache file.
fn ldconfig_prints(file: &str) -> Vec<String> {
    let output = Command::new("/sbin/ldconfig")
        .args(["-p", "-C", file])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_hosts_cache_reads_as_ldconfig_prints_it() {
    let cache = parse(&host_cache()).unwrap();
    let printed: Vec<(String, String)> = ldconfig_prints(HOST_CACHE)
        .iter()
        .filter_map(|line| line.trim().split_once(" => "))
        .map(|(name, path)| (name.split(' ').next().unwrap().to_owned(), path.to_owned()))
        .collect();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let read: Vec<(String, String)> = cache.entries.iter().map(|e| (text(&e.key), text(&e.value))).collect();
    assert_eq!(read, printed);
    assert!(!cache.generator.is_empty());
}

#[test]
fn a_rewritten_cache_is_the_same_to_ldconfig() {
    let cache = parse(&host_cache()).unwrap();
    let bytes = cache.to_bytes();
    assert_eq!(parse(&bytes).unwrap(), cache, "ldconfig's own order is ours");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let (ours, theirs) = (
        ldconfig_prints(file.path().to_str().unwrap()),
        ldconfig_prints(HOST_CACHE),
    );
    assert_eq!(ours[1..], theirs[1..], "all but the line that names the file");
}

#[test]
fn a_name_is_looked_up_without_reading_the_rest() {
    let bytes = host_cache();
    let libc = parse(&bytes).unwrap().find(b"libc.so.6").unwrap().value.clone();
    assert!(lookup(&bytes, b"libc.so.6").unwrap().contains(&libc.as_slice()));
    assert_eq!(
        lookup(&bytes, b"libc.so").unwrap_or_default().len(),
        parse(&bytes).unwrap().find(b"libc.so").iter().len()
    );
    assert_eq!(lookup(&bytes, b"libnone.so.1"), Ok(Vec::new()));
    assert_eq!(lookup(b"rubbish", b"libc.so.6"), Err(Error::Magic));
}

#[test]
fn hwcaps_entries_keep_their_names_and_come_first() {
    let mut cache = LdCache {
        hwcaps: vec![b"x86-64-v2".to_vec(), b"x86-64-v3".to_vec()],
        ..LdCache::default()
    };
    cache.add(b"libz.so.1", b"/lib/libz.so.1", 0x303);
    for index in [1u64, 0] {
        let value = b"/lib/glibc-hwcaps/libz.so.1".to_vec();
        let hwcap = HWCAP_EXTENSION | index;
        cache.entries.push(Entry {
            flags: 0x303,
            key: b"libz.so.1".to_vec(),
            value,
            osversion: 0,
            hwcap,
        });
    }
    let again = parse(&cache.to_bytes()).unwrap();
    assert_eq!(again.hwcaps, cache.hwcaps);
    let order: Vec<Option<usize>> = again.entries.iter().map(Entry::hwcaps_index).collect();
    assert_eq!(order, [Some(0), Some(1), None]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), cache.to_bytes()).unwrap();
    let printed = ldconfig_prints(file.path().to_str().unwrap()).join("\n");
    assert!(
        printed.contains("x86-64-v3") && printed.contains("3 libs found"),
        "{printed}"
    );
}

#[test]
fn an_added_library_takes_the_place_of_the_old_one() {
    let mut cache = parse(&host_cache()).unwrap();
    let before = cache.entries.len();
    cache.add(b"libcuda.so.1", b"/a/libcuda.so.1", 0x303);
    let mut cache = parse(&cache.to_bytes()).unwrap();
    assert_eq!(cache.entries.len(), before + 1);
    cache.add(b"libcuda.so.1", b"/b/libcuda.so.1", 0x303);
    let cache = parse(&cache.to_bytes()).unwrap();
    assert_eq!(cache.entries.len(), before + 1);
    assert_eq!(cache.find(b"libcuda.so.1").unwrap().value, b"/b/libcuda.so.1");
}

#[test]
fn the_real_loader_finds_an_added_library() {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("libnvbind-test-only.so.1");
    let libz = parse(&host_cache()).unwrap().find(b"libc.so.6").unwrap().value.clone();
    std::fs::copy(String::from_utf8(libz).unwrap(), &library).unwrap();
    let mut cache = parse(&host_cache()).unwrap();
    let flags = flags_of_elf(&std::fs::read(&library).unwrap()).unwrap();
    cache.add(b"libnvbind-test-only.so.1", library.to_str().unwrap().as_bytes(), flags);
    let file = dir.path().join("cache");
    std::fs::write(&file, cache.to_bytes()).unwrap();
    // A mount namespace of its own shows the loader our cache; LD_PRELOAD by bare name makes it search there.
    let script = format!(
        "mount --bind {} /etc/ld.so.cache && LD_PRELOAD=libnvbind-test-only.so.1 LD_DEBUG=libs /bin/true",
        file.display()
    );
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .output()
        .unwrap();
    let debug = String::from_utf8_lossy(&output.stderr);
    assert!(debug.contains(&format!("trying file={}", library.display())), "{debug}");
}

#[test]
fn the_old_format_before_the_new_one_is_skipped() {
    let new = host_cache();
    let mut bytes = b"ld.so-1.7.0\0".to_vec();
    bytes.extend_from_slice(&1u32.to_ne_bytes());
    bytes.extend_from_slice(&[0; 12]);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(&new);
    assert_eq!(parse(&bytes), parse(&new));
}

#[test]
fn what_is_no_cache_is_refused() {
    let host = host_cache();
    let mut foreign = host.clone();
    foreign[28] = 5 - BYTE_ORDER_HERE;
    let mut huge = host.clone();
    huge[20..24].fill(0xff);
    let mut outside = host.clone();
    outside[48 + 4..48 + 8].fill(0xff);
    let cases: [(&[u8], Error); 7] = [
        (b"", Error::Magic),
        (b"hello", Error::Magic),
        (&host[..47], Error::Truncated),
        (&host[..100], Error::Truncated),
        (&foreign, Error::ByteOrder),
        (&huge, Error::TooLarge),
        (&outside, Error::String),
    ];
    for (bytes, error) in cases {
        assert_eq!(parse(bytes), Err(error));
    }
}

const BYTE_ORDER_HERE: u8 = if cfg!(target_endian = "big") { 3 } else { 2 };

#[test]
fn overlapping_strings_do_not_blow_up() {
    let entries = 200_000u32;
    let mut bytes = b"glibc-ld.so.cache1.1".to_vec();
    bytes.extend_from_slice(&entries.to_ne_bytes());
    bytes.resize(48 + entries as usize * 24, 0);
    let text = (bytes.len() as u32).to_ne_bytes();
    for raw in bytes[48..].chunks_exact_mut(24) {
        raw[4..8].copy_from_slice(&text);
        raw[8..12].copy_from_slice(&text);
    }
    bytes.extend_from_slice(&[b'a'; 4000]);
    bytes.push(0);
    assert_eq!(parse(&bytes), Err(Error::TooLarge));
}

#[test]
fn names_sort_as_glibc_sorts_them() {
    let ascending = [
        "liba.so",
        "liba.so.1",
        "liba.so.2",
        "liba.so.10",
        "liba.so.10.1",
        "libz.so",
        "libz2.so",
    ];
    for pair in ascending.windows(2) {
        assert!(
            order::compare_names(pair[0].as_bytes(), pair[1].as_bytes()).is_lt(),
            "{pair:?}"
        );
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let name = proptest::collection::vec(1u8.., 1..20);
    let path = proptest::collection::vec(1u8.., 1..40);
    (any::<i32>(), name, path, any::<u32>(), 0u64..4).prop_map(|(flags, key, value, osversion, hwcap)| Entry {
        flags,
        key,
        value,
        osversion,
        hwcap,
    })
}

proptest! {
    #[test]
    fn round_trip(entries in proptest::collection::vec(entry(), 0..60), generator in "[a-z]{0,20}") {
        let cache = LdCache { entries, hwcaps: vec![b"x86-64-v2".to_vec()], generator: generator.into_bytes(), added: Vec::new() };
        let once = parse(&cache.to_bytes()).unwrap();
        for entry in &cache.entries {
            prop_assert!(once.entries.iter().any(|e| (&e.key, e.flags, e.hwcap) == (&entry.key, entry.flags, entry.hwcap)));
        }
        prop_assert_eq!(&once.hwcaps, &cache.hwcaps);
        prop_assert_eq!(parse(&once.to_bytes()).unwrap(), once);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), old in any::<bool>()) {
        let magic: &[u8] = if old { b"ld.so-1.7.0\0" } else { b"glibc-ld.so.cache1.1" };
        let _ = parse(&bytes);
        let _ = lookup(&[magic, &bytes].concat(), b"");
        let _ = parse(&[magic, &bytes].concat());
    }

    #[test]
    fn a_damaged_cache_never_panics(at in 0usize..2000, value in any::<u8>(), cut in 0usize..40_000) {
        let mut bytes = host_cache();
        let at = at.min(bytes.len() - 1);
        bytes[at] = value;
        bytes.truncate(cut);
        if let Ok(cache) = parse(&bytes) {
            let _ = parse(&cache.to_bytes());
        }
    }
}
