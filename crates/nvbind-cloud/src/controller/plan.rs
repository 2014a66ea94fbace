//! What is to be done next for a deployment: a pure function of what is written down and the time.

use crate::attempt::{Attempt, AttemptStatus, EndReason};
use crate::deployment::{Deployment, DeploymentStatus};

/// Something to be done. Steps of one pass are about different attempts, so their order does not matter.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Find a machine for a node, write the order down, and send it.
    Place {
        /// The node.
        node: u32,
    },
    /// Send an order that is written down (again).
    Create(i64),
    /// Ask the provider how the machine is.
    Describe(i64),
    /// See that somebody looks after the machine: prepares it, starts the workload, follows it.
    Attend(i64),
    /// Write down that a machine is to be given back.
    Release(i64, EndReason),
    /// Tell the provider that a machine is given back (again).
    Delete(i64),
    /// Ask the provider whether anything is left of a machine.
    Verify(i64),
    /// Every node is done.
    Complete,
    /// Give back what the machines shared, then the deployment is over.
    CleanUp,
}

/// How long the provider gets to take a machine back after a notice, in milliseconds, before it is given back: AWS announces two minutes,
/// the longest of all.
const NOTICE_MS: i64 = 150_000;

/// What is to be done now for a deployment with these attempts.
pub fn plan(deployment: &Deployment, attempts: &[Attempt], now_ms: i64) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    match deployment.status {
        DeploymentStatus::Active => active(deployment, attempts, now_ms, &mut steps),
        status if status.is_over() => return steps,
        status => ending(status, attempts, &mut steps),
    }
    let released: Vec<i64> = steps.iter().filter_map(released).collect();
    let rest = attempts.iter().filter(|attempt| !released.contains(&attempt.id));
    steps.extend(rest.filter_map(|attempt| next(attempt, now_ms)));
    steps
}

fn released(step: &Step) -> Option<i64> {
    match step {
        Step::Release(id, _) => Some(*id),
        _ => None,
    }
}

/// Steps that only a deployment that is to be kept alive needs.
fn active(deployment: &Deployment, attempts: &[Attempt], now_ms: i64, steps: &mut Vec<Step>) {
    let is_done = |node: u32| {
        let mut of_node = attempts.iter().filter(|attempt| attempt.order.node == node);
        of_node.any(is_done_on)
    };
    let done = (0..deployment.nodes).filter(|node| is_done(*node)).count();
    // A deployment that was scaled to no node at all waits for work.
    if done == deployment.nodes as usize && deployment.nodes > 0 {
        steps.push(Step::Complete);
        return;
    }
    for node in (0..deployment.nodes).filter(|node| !is_done(*node)) {
        if !attempts
            .iter()
            .any(|attempt| attempt.order.node == node && attempt.is_live())
        {
            steps.push(Step::Place { node });
        }
    }
    let up = attempts
        .iter()
        .filter(|attempt| attempt.status < AttemptStatus::Deleting);
    steps.extend(up.filter_map(|attempt| {
        let reason = surplus(deployment, attempts, attempt, now_ms)?;
        Some(Step::Release(attempt.id, reason))
    }));
}

/// Whether the node's work was done there. A workload that ends well because it was told to, at a notice, has only saved its work.
pub(super) fn is_done_on(attempt: &Attempt) -> bool {
    attempt.exit_code == Some(0) && attempt.notice_ms.is_none()
}

/// Why a machine that is up is not needed any more, if it is not.
fn surplus(deployment: &Deployment, attempts: &[Attempt], attempt: &Attempt, now_ms: i64) -> Option<EndReason> {
    if is_done_on(attempt) {
        return Some(EndReason::Done);
    }
    if attempt.order.node >= deployment.nodes {
        return Some(EndReason::NotNeeded);
    }
    if let Some(notice) = attempt.notice_ms {
        // The workload has ended after the notice, or the time is up.
        let is_over = attempt.exit_code.is_some() || now_ms - notice > NOTICE_MS;
        return is_over.then_some(EndReason::Interrupted);
    }
    // Of two live machines of one node, which only a change of mind makes, the newer one stays once it works.
    let newer = attempts.iter().any(|other| {
        other.order.node == attempt.order.node
            && other.id > attempt.id
            && other.is_live()
            && other.status == AttemptStatus::Working
    });
    newer.then_some(EndReason::NotNeeded)
}

/// Steps of a deployment that is to end.
fn ending(status: DeploymentStatus, attempts: &[Attempt], steps: &mut Vec<Step>) {
    if attempts.iter().all(|attempt| attempt.status == AttemptStatus::Ended) {
        steps.push(Step::CleanUp);
        return;
    }
    let up = attempts
        .iter()
        .filter(|attempt| attempt.status < AttemptStatus::Deleting);
    steps.extend(up.map(|attempt| Step::Release(attempt.id, end_reason(status, attempt))));
}

fn end_reason(status: DeploymentStatus, attempt: &Attempt) -> EndReason {
    match (status, attempt.exit_code) {
        (_, Some(0)) => EndReason::Done,
        (_, Some(_)) => EndReason::WorkloadFailed,
        (DeploymentStatus::Stopping, None) => EndReason::Stopped,
        _ => EndReason::NotNeeded,
    }
}

/// What an attempt needs next, whatever becomes of its deployment.
fn next(attempt: &Attempt, now_ms: i64) -> Option<Step> {
    let id = attempt.id;
    let is_due = attempt.wait_until_ms <= now_ms;
    match attempt.status {
        AttemptStatus::Intent => is_due.then_some(Step::Create(id)),
        AttemptStatus::Accepted => is_due.then_some(Step::Describe(id)),
        AttemptStatus::Running | AttemptStatus::Working => Some(Step::Attend(id)),
        AttemptStatus::Deleting => is_due.then_some(Step::Delete(id)),
        AttemptStatus::Deleted => is_due.then_some(Step::Verify(id)),
        AttemptStatus::Ended => None,
    }
}

/// When [`plan`] is to be asked again at the latest, if nothing happens before: milliseconds since 1970.
pub fn next_look_ms(attempts: &[Attempt], now_ms: i64, longest_ms: i64) -> i64 {
    let waits = attempts
        .iter()
        .filter(|attempt| attempt.status != AttemptStatus::Ended)
        .map(|attempt| attempt.wait_until_ms)
        .filter(|until| *until > now_ms);
    waits.min().unwrap_or(i64::MAX).min(now_ms + longest_ms)
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::catalog::{Market, ProviderName};
    use crate::provider::Order;
    use crate::{DeploymentSpec, Requirements};

    pub(in crate::controller) fn deployment(status: DeploymentStatus, nodes: u32) -> Deployment {
        Deployment {
            id: 1,
            spec: DeploymentSpec::new("d", "", Requirements::default()),
            status,
            nodes,
            created_ms: 0,
            ended_ms: None,
            message: String::new(),
        }
    }

    pub(in crate::controller) fn attempt(id: i64, node: u32, status: AttemptStatus) -> Attempt {
        Attempt {
            id,
            deployment: 1,
            provider: ProviderName::Aws,
            order: Order {
                owner: String::new(),
                deployment: "d".to_owned(),
                node,
                attempt: 1,
                token: id.to_string(),
                name: id.to_string(),
                region: "us-east-1".to_owned(),
                zone: None,
                instance_type: "g5.xlarge".to_owned(),
                market: Market::Spot,
                disk_gib: 100,
                image: None,
                user: String::new(),
                public_key: String::new(),
                allow_from: Vec::new(),
                max_run_seconds: None,
            },
            gpu: "A10G".to_owned(),
            gpus: 1.0,
            usd_h: 1.0,
            extras_usd_h: 0.0,
            reason: String::new(),
            status,
            machine_id: None,
            address: None,
            private_address: None,
            intent_ms: 0,
            accepted_ms: None,
            started_ms: None,
            notice_ms: None,
            deleting_ms: None,
            ended_ms: None,
            end: None,
            exit_code: None,
            starts: 0,
            rejoins: 0,
            peers: Vec::new(),
            error: None,
            wait_until_ms: 0,
            tries: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{attempt, deployment};
    use super::*;

    const ACTIVE: DeploymentStatus = DeploymentStatus::Active;

    #[test]
    fn every_node_without_a_machine_gets_one() {
        let lost = attempt(1, 0, AttemptStatus::Deleting);
        let steps = plan(&deployment(ACTIVE, 2), &[lost], 0);
        assert_eq!(
            steps,
            [Step::Place { node: 0 }, Step::Place { node: 1 }, Step::Delete(1)]
        );
    }

    #[test]
    fn an_order_that_is_written_down_is_sent_and_not_doubled() {
        let steps = plan(&deployment(ACTIVE, 1), &[attempt(1, 0, AttemptStatus::Intent)], 0);
        assert_eq!(steps, [Step::Create(1)]);
        let mut patient = attempt(1, 0, AttemptStatus::Intent);
        patient.wait_until_ms = 10;
        assert_eq!(plan(&deployment(ACTIVE, 1), &[patient], 0), []);
    }

    #[test]
    fn one_node_is_replaced_during_its_notice_and_the_other_stays() {
        let mut noticed = attempt(1, 0, AttemptStatus::Working);
        noticed.notice_ms = Some(1000);
        let other = attempt(2, 1, AttemptStatus::Working);
        let steps = plan(&deployment(ACTIVE, 2), &[noticed.clone(), other.clone()], 1000);
        assert_eq!(steps, [Step::Place { node: 0 }, Step::Attend(1), Step::Attend(2)]);
        let late = plan(
            &deployment(ACTIVE, 2),
            &[noticed.clone(), other.clone()],
            1000 + NOTICE_MS + 1,
        );
        assert!(late.contains(&Step::Release(1, EndReason::Interrupted)));
        noticed.exit_code = Some(143);
        let ended = plan(&deployment(ACTIVE, 2), &[noticed, other], 1000);
        assert!(ended.contains(&Step::Release(1, EndReason::Interrupted)));
    }

    #[test]
    fn a_workload_that_ends_well_because_it_was_interrupted_is_not_done() {
        let mut noticed = attempt(1, 0, AttemptStatus::Working);
        (noticed.notice_ms, noticed.exit_code) = (Some(0), Some(0));
        let steps = plan(&deployment(ACTIVE, 1), &[noticed], 0);
        assert!(
            steps.contains(&Step::Place { node: 0 }) && !steps.contains(&Step::Complete),
            "{steps:?}"
        );
    }

    #[test]
    fn a_deployment_whose_nodes_are_done_is_complete() {
        let mut done = attempt(1, 0, AttemptStatus::Working);
        done.exit_code = Some(0);
        assert_eq!(plan(&deployment(ACTIVE, 1), &[done.clone()], 0)[0], Step::Complete);
        let half = plan(
            &deployment(ACTIVE, 2),
            &[done, attempt(2, 1, AttemptStatus::Working)],
            0,
        );
        assert!(
            half.contains(&Step::Release(1, EndReason::Done)) && !half.contains(&Step::Complete),
            "{half:?}"
        );
    }

    #[test]
    fn what_is_to_end_gives_everything_back_and_then_what_was_shared() {
        let stopping = deployment(DeploymentStatus::Stopping, 1);
        let steps = plan(&stopping, &[attempt(1, 0, AttemptStatus::Intent)], 0);
        assert_eq!(steps, [Step::Release(1, EndReason::Stopped)]);
        let steps = plan(&stopping, &[attempt(1, 0, AttemptStatus::Deleted)], 0);
        assert_eq!(steps, [Step::Verify(1)]);
        let steps = plan(&stopping, &[attempt(1, 0, AttemptStatus::Ended)], 0);
        assert_eq!(steps, [Step::CleanUp]);
        assert_eq!(plan(&deployment(DeploymentStatus::Done, 1), &[], 0), []);
    }

    #[test]
    fn no_node_at_all_is_not_the_end() {
        assert_eq!(
            plan(&deployment(ACTIVE, 0), &[attempt(1, 0, AttemptStatus::Ended)], 0),
            []
        );
    }

    #[test]
    fn fewer_nodes_give_the_last_ones_back() {
        let nodes = [
            attempt(1, 0, AttemptStatus::Working),
            attempt(2, 1, AttemptStatus::Working),
        ];
        let steps = plan(&deployment(ACTIVE, 1), &nodes, 0);
        assert_eq!(steps, [Step::Release(2, EndReason::NotNeeded), Step::Attend(1)]);
    }
}
