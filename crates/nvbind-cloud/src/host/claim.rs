//! Who has a host: a file there that appears whole or not at all.

use super::{HostError, Node};
use crate::provider::Order;
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// Who has a host, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Token of the order.
    pub token: String,
    /// Which nvbind state it belongs to.
    pub owner: String,
    /// The deployment.
    pub deployment: String,
    /// Number of the node in it.
    pub node: u32,
    /// Number of the attempt.
    pub attempt: u32,
    /// Name of the order.
    pub name: String,
    /// Seconds since 1970.
    pub created_at: u64,
}

/// Puts the claim of the standard input in place unless there is one, and prints the one that is there.
const CLAIM: &str = r#"
set -eu
umask 077
mkdir -p "$1"
exec 9>"$1/.claim-lock"
flock 9 2>/dev/null || :
new=$(mktemp "$1/.claim-XXXXXX")
trap 'rm -f "$new"' EXIT
cat >"$new"
sync "$new" 2>/dev/null || :
ln "$new" "$1/claim.json" 2>/dev/null || :
cat "$1/claim.json"
"#;

/// Prints the claim; nothing where there is none.
const CLAIMED: &str = r#"if [ -e "$1/claim.json" ]; then cat "$1/claim.json"; fi"#;

/// Removes the claim if it is that of the order with this token.
const UNCLAIM: &str = r#"
set -eu
[ -e "$1/claim.json" ] || exit 0
exec 9>"$1/.claim-lock"
flock 9 2>/dev/null || :
case $(cat "$1/claim.json" 2>/dev/null) in *"\"token\":\"$2\""*) rm -f "$1/claim.json" ;; esac
"#;

impl Claim {
    /// The claim of an order, from now on.
    pub fn of(order: &Order) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            token: order.token.clone(),
            owner: order.owner.clone(),
            deployment: order.deployment.clone(),
            node: order.node,
            attempt: order.attempt,
            name: order.name.clone(),
            created_at: now.as_secs(),
        }
    }
}

impl Node {
    /// Claims the host unless somebody has it; returns who has it now.
    pub fn claim(&self, claim: &Claim) -> Result<Claim, HostError> {
        let text = serde_json::to_vec(claim).unwrap_or_default();
        let output = self.demand("the claim", &["sh", "-c", CLAIM, "sh", &self.state_folder()], &text)?;
        self.parse_claim(&output.text())
    }

    /// Who has the host.
    pub fn claimed(&self) -> Result<Option<Claim>, HostError> {
        let output = self.demand("the claim", &["sh", "-c", CLAIMED, "sh", &self.state_folder()], b"")?;
        match output.text().trim() {
            "" => Ok(None),
            text => self.parse_claim(text).map(Some),
        }
    }

    /// Gives the host back, if it is held by the order with this token.
    pub fn unclaim(&self, token: &str) -> Result<(), HostError> {
        let argv = ["sh", "-c", UNCLAIM, "sh", &self.state_folder(), token];
        self.demand("giving the host back", &argv, b"").map(drop)
    }

    fn parse_claim(&self, text: &str) -> Result<Claim, HostError> {
        serde_json::from_str(text).map_err(|error| HostError::Answer {
            host: self.host().to_owned(),
            what: format!("{}/claim.json", self.state_folder()),
            why: error.to_string(),
        })
    }
}
