//! Pauses between looks at what is about to be done.

use std::time::Duration;

/// The first pause; each one is twice the one before, up to the longest.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// How long something is looked at without regard to the pause that the service asks for.
const SOON: Duration = Duration::from_secs(8);

/// Pauses that grow: 50 ms, 100 ms, 200 ms and so on to 2 s.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    count: u32,
    waited: Duration,
}

impl Waits {
    /// The next pause, no longer than what is `left`; `None` when nothing is. After eight seconds it is the one that the service `asked` for.
    pub(crate) fn next(&mut self, asked: Option<Duration>, left: Duration) -> Option<Duration> {
        if left.is_zero() {
            return None;
        }
        let own = FIRST.saturating_mul(1 << self.count.min(10)).min(LONGEST);
        let wait = match asked {
            Some(asked) if self.waited >= SOON => asked.max(own),
            _ => own,
        };
        let wait = wait.min(left);
        self.count += 1;
        self.waited += wait;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGES: Duration = Duration::from_secs(600);

    fn pauses(asked: Option<Duration>, count: usize) -> Vec<u128> {
        let mut waits = Waits::default();
        let pauses = (0..count).filter_map(|_| waits.next(asked, AGES));
        pauses.map(|pause| pause.as_millis()).collect()
    }

    #[test]
    fn pauses_grow_and_then_are_those_that_were_asked_for() {
        let soon = [50, 100, 200, 400, 800, 1600, 2000, 2000, 2000];
        assert_eq!(pauses(None, 10), [&soon[..], &[2000]].concat());
        assert_eq!(
            pauses(Some(Duration::from_secs(10)), 10),
            [&soon[..], &[10_000]].concat()
        );
    }

    #[test]
    fn the_last_pause_ends_when_patience_does() {
        let mut waits = Waits::default();
        let left = Duration::from_millis(20);
        assert_eq!(waits.next(None, left), Some(left));
        assert_eq!(waits.next(None, Duration::ZERO), None);
    }
}
