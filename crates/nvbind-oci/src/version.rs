//! Versions as drivers and CUDA have them: numbers between dots.

use std::cmp::Ordering;

/// The numbers; `None` when there is something else.
pub(crate) fn parse(text: &str) -> Option<Vec<u64>> {
    text.split('.').map(|number| number.parse().ok()).collect()
}

/// Compares number by number; what is left out counts as 0.
pub(crate) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (mut a, mut b) = (parse(a)?, parse(b)?);
    let length = a.len().max(b.len());
    a.resize(length, 0);
    b.resize(length, 0);
    Some(a.cmp(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_number() {
        let table = [
            ("12.2", "12.10", Some(Ordering::Less)),
            ("535", "535.0.0", Some(Ordering::Equal)),
            ("550.1", "535.183.01", Some(Ordering::Greater)),
            ("12.x", "12", None),
            ("", "1", None),
        ];
        for (a, b, order) in table {
            assert_eq!(compare(a, b), order, "{a} {b}");
        }
    }
}
