//! Prints what discovery finds below a root, and how long each step takes: `probe [ROOT] [ROUNDS]`.

use nvbind_config::Roots;
use nvbind_gpu::{SearchOptions, discover, driver_files, ldcache};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let roots = arguments
        .next()
        .map_or_else(Roots::host, |root| Roots::under(root.as_ref()));
    let rounds = arguments.next().map_or(Ok(1), |rounds| rounds.parse())?;

    let (host, discovery) = timed(rounds, || discover(&roots));
    let host = host?;
    println!("{host:#?}");
    let version = host.driver.version.as_deref();
    let (files, search) = timed(rounds, || driver_files(&roots, version, &SearchOptions::default()));
    match &files {
        Ok(files) => println!("{files:#?}"),
        Err(error) => println!("{error}"),
    }
    let cache = std::fs::read(roots.driver.join("etc/ld.so.cache")).or_else(|_| std::fs::read("/etc/ld.so.cache"))?;
    let (entries, rewrite) = timed(rounds, || rewrite(&cache));
    eprintln!(
        "discover {discovery:?}, driver_files {search:?}, ld.so.cache of {} entries {rewrite:?}",
        entries?
    );
    Ok(())
}

fn rewrite(bytes: &[u8]) -> Result<usize, ldcache::Error> {
    let mut cache = ldcache::parse(bytes)?;
    for number in 0..60 {
        let name = format!("libnvbind{number}.so.1");
        cache.add(name.as_bytes(), format!("/usr/lib/{name}").as_bytes(), 0x303);
    }
    std::hint::black_box(cache.to_bytes());
    Ok(cache.entries.len())
}

/// The last answer, and the shortest time of all rounds.
fn timed<T>(rounds: u32, mut call: impl FnMut() -> T) -> (T, Duration) {
    let mut once = || {
        let start = Instant::now();
        (call(), start.elapsed())
    };
    let first = once();
    (1..rounds).fold(first, |(_, best), _| {
        let (answer, time) = once();
        (answer, time.min(best))
    })
}
