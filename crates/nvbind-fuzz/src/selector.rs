//! GPU selectors, as Bolt and command lines pass them on.

use nvbind_workload::Selector;

/// A selector that was understood is understood again from its own words.
pub(crate) fn selector(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(selector) = text.parse::<Selector>() else { return };
    assert_eq!(selector.to_string().parse::<Selector>().as_ref(), Ok(&selector));
}
