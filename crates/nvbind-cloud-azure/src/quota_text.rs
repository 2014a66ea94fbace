//! Which quota a refusal is about: Azure says so in words alone.

use nvbind_cloud::provider::QuotaNeed;

/// What the message calls a quota, and what the list of usages calls it.
const NAMES: [(&str, &str); 3] = [
    ("LowPriorityCores", "lowPriorityCores"),
    ("Total Regional Spot Cores", "lowPriorityCores"),
    ("Total Regional Cores", "cores"),
];

/// The quota of public addresses, by its name among the usages of the network.
const ADDRESSES: &str = "PublicIPAddresses";

/// Reads "exceeding approved NAME quota. Additional details - ..., Current Limit: 24, Current Usage: 12, Additional Required: 24, ...".
pub(crate) fn need(code: &str, message: &str) -> Option<QuotaNeed> {
    if code == "PublicIPCountLimitReached" {
        return Some(QuotaNeed {
            name: ADDRESSES.to_owned(),
            limit: number_after(message, "more than "),
            need: Some(1.0),
        });
    }
    let text = after(message, "exceeding approved ")?;
    let name = text[..find(text, " quota")?].trim();
    Some(QuotaNeed {
        name: usage_name(name),
        limit: number_after(message, "Current Limit: "),
        need: number_after(message, "Additional Required: "),
    })
}

/// The name among the usages: `cores`, `lowPriorityCores`, or the family without the word "Cores".
fn usage_name(text: &str) -> String {
    let known = NAMES.iter().find(|(words, _)| text.eq_ignore_ascii_case(words));
    let family = text
        .strip_suffix("Cores")
        .or_else(|| text.strip_suffix("cores"))
        .unwrap_or(text);
    known.map_or_else(|| family.trim().to_owned(), |(_, name)| (*name).to_owned())
}

fn number_after(text: &str, words: &str) -> Option<f64> {
    let text = after(text, words)?;
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

fn after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    find(text, words).map(|start| &text[start + words.len()..])
}

/// Whatever the case: the portal and the API write it differently. The words are ASCII.
fn find(text: &str, words: &str) -> Option<usize> {
    text.to_ascii_lowercase().find(&words.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(approved: &str) -> QuotaNeed {
        let message = format!(
            "Operation could not be completed as it results in exceeding approved {approved} quota. Additional details - Deployment Model: \
             Resource Manager, Location: eastus, Current Limit: 24, Current Usage: 12, Additional Required: 48, (Minimum) New Limit \
             Required: 60. Submit a request for Quota increase at https://aka.ms/..."
        );
        need("OperationNotAllowed", &message).unwrap()
    }

    #[test]
    fn every_kind_of_quota_has_the_name_that_usages_have() {
        for (approved, name) in [
            ("standardNCADSA100v4Family Cores", "standardNCADSA100v4Family"),
            ("Standard NCASv3_T4 Family Cores", "Standard NCASv3_T4 Family"),
            ("LowPriorityCores", "lowPriorityCores"),
            ("Total Regional Cores", "cores"),
        ] {
            let need = told(approved);
            assert_eq!(
                (need.name.as_str(), need.limit, need.need),
                (name, Some(24.0), Some(48.0))
            );
        }
    }

    #[test]
    fn addresses_are_counted_too_and_other_words_are_no_quota() {
        let message = "Cannot create more than 10 public IP addresses for this subscription in this region.";
        let found = need("PublicIPCountLimitReached", message).unwrap();
        assert_eq!((found.name.as_str(), found.limit), (ADDRESSES, Some(10.0)));
        assert_eq!(need("QuotaExceeded", "no"), None);
    }
}
