//! Attempts for the tests.

use crate::catalog::{Market, ProviderName};
use crate::provider::Order;
use crate::{Attempt, AttemptStatus};

/// An hour in milliseconds.
pub(super) const HOUR: i64 = 3_600_000;

/// An attempt of a deployment, accepted at and ended at those hours; 2 USD an hour for the machine and 0.5 for the rest.
pub(super) fn attempt(deployment: &str, provider: ProviderName, accepted: Option<i64>, ended: Option<i64>) -> Attempt {
    Attempt {
        id: 1,
        deployment: 1,
        provider,
        order: Order {
            owner: "0123456789abcdef".to_owned(),
            deployment: deployment.to_owned(),
            node: 0,
            attempt: 1,
            token: "0".repeat(32),
            name: format!("nvb-{deployment}-0"),
            region: "us-east-1".to_owned(),
            zone: None,
            instance_type: "g5.xlarge".to_owned(),
            market: Market::Spot,
            disk_gib: 100,
            image: None,
            user: "ubuntu".to_owned(),
            public_key: String::new(),
            allow_from: Vec::new(),
            max_run_seconds: None,
        },
        gpu: "A10G".to_owned(),
        gpus: 4.0,
        usd_h: 2.0,
        extras_usd_h: 0.5,
        reason: String::new(),
        status: match ended {
            Some(_) => AttemptStatus::Ended,
            None => AttemptStatus::Working,
        },
        machine_id: None,
        address: None,
        private_address: None,
        intent_ms: accepted.unwrap_or_default() * HOUR,
        accepted_ms: accepted.map(|hour| hour * HOUR),
        started_ms: None,
        notice_ms: None,
        deleting_ms: None,
        ended_ms: ended.map(|hour| hour * HOUR),
        end: None,
        exit_code: None,
        starts: 1,
        rejoins: 0,
        peers: Vec::new(),
        error: None,
        wait_until_ms: 0,
        tries: 0,
    }
}
