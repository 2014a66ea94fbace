//! Nodes that work together: each is told the addresses of all.

use super::Controller;
use super::plan::is_done_on;
use crate::attempt::{Attempt, AttemptStatus};
use crate::deployment::Deployment;
use crate::state::StateError;

/// The addresses of the nodes among themselves, by their numbers, as far as they are known.
pub(super) fn addresses(attempts: &[Attempt], nodes: u32) -> Vec<String> {
    (0..nodes).filter_map(|node| address(attempts, node)).collect()
}

fn address(attempts: &[Attempt], node: u32) -> Option<String> {
    let live = attempts
        .iter()
        .rfind(|attempt| attempt.order.node == node && attempt.is_live())?;
    live.private_address.clone().or_else(|| live.address.clone())
}

/// What the workload is told of the other nodes when it is started now; empty where nodes work by themselves.
pub(super) fn peers(deployment: &Deployment, attempts: &[Attempt]) -> Vec<String> {
    match deployment.spec.is_gang() {
        true => addresses(attempts, deployment.nodes),
        false => Vec::new(),
    }
}

/// Whether the workload of a node can be started: where nodes work together, each has an address, or its work is done.
pub(super) fn is_complete(deployment: &Deployment, attempts: &[Attempt]) -> bool {
    let is_known = |node: u32| {
        let mut of_node = attempts.iter().filter(|attempt| attempt.order.node == node);
        address(attempts, node).is_some() || of_node.any(is_done_on)
    };
    !deployment.spec.is_gang() || (0..deployment.nodes).all(is_known)
}

/// Whether a node was told of machines that are no longer those of the other nodes. One whose work is done is missed by nobody.
fn is_behind(deployment: &Deployment, attempts: &[Attempt], attempt: &Attempt) -> bool {
    let is_told = deployment.spec.restart_on_replacement && !attempt.peers.is_empty();
    is_told
        && (0..deployment.nodes).any(|node| {
            let mut of_node = attempts.iter().filter(|other| other.order.node == node);
            let is_known = |address: &String| attempt.peers.contains(address);
            !of_node.any(is_done_on) && !address(attempts, node).as_ref().is_some_and(is_known)
        })
}

impl Controller {
    /// Starts the workload of a node again where another node has got another machine in the meantime; whether it does.
    pub(super) fn rejoined(
        &mut self,
        deployment: &Deployment,
        attempts: &[Attempt],
        attempt: &Attempt,
    ) -> Result<bool, StateError> {
        let is_up = attempt.status == AttemptStatus::Working && attempt.is_live() && attempt.exit_code.is_none();
        let is_due = is_up && is_complete(deployment, attempts) && is_behind(deployment, attempts, attempt);
        if is_due {
            self.rejoin(attempt.clone(), "another node has another machine")?;
        }
        Ok(is_due)
    }

    /// Whether a workload that failed may have done so because a node that it works with is gone: then it is no fault of its own.
    pub(super) fn is_torn(&self, attempt: &Attempt) -> Result<bool, StateError> {
        let deployment = self.state.deployment(self.deployment)?;
        Ok(is_behind(&deployment, &self.state.attempts(self.deployment)?, attempt))
    }

    /// The workload of a node is to be started again, once all nodes have addresses.
    pub(super) fn rejoin(&mut self, mut attempt: Attempt, why: &str) -> Result<(), StateError> {
        attempt.starts += 1;
        attempt.rejoins += 1;
        attempt.status = AttemptStatus::Running;
        self.save(&attempt, "rejoin", why)
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::testing::{attempt, deployment};
    use super::*;
    use crate::deployment::DeploymentStatus::Active;

    fn pair() -> (Deployment, [Attempt; 2]) {
        let mut pair = deployment(Active, 2);
        pair.spec.requirements.nodes = 2;
        pair.spec.restart_on_replacement = true;
        let mut nodes = [
            attempt(1, 0, AttemptStatus::Working),
            attempt(2, 1, AttemptStatus::Working),
        ];
        for (node, address) in nodes.iter_mut().zip(["10.0.0.1", "10.0.0.2"]) {
            node.private_address = Some(address.to_owned());
            node.peers = vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()];
        }
        (pair, nodes)
    }

    #[test]
    fn a_node_is_behind_once_another_one_is_gone_or_elsewhere() {
        let (mut pair, mut nodes) = pair();
        let is_behind = |pair: &Deployment, nodes: &[Attempt]| super::is_behind(pair, nodes, &nodes[0]);
        assert!(is_complete(&pair, &nodes) && !is_behind(&pair, &nodes));
        nodes[1].status = AttemptStatus::Deleting;
        assert!(!is_complete(&pair, &nodes) && is_behind(&pair, &nodes));
        let mut new = attempt(3, 1, AttemptStatus::Running);
        new.private_address = Some("10.0.0.3".to_owned());
        let all = [nodes[0].clone(), nodes[1].clone(), new];
        assert!(is_complete(&pair, &all) && is_behind(&pair, &all));
        assert_eq!(peers(&pair, &all), ["10.0.0.1", "10.0.0.3"]);
        pair.spec.restart_on_replacement = false;
        assert!(!is_behind(&pair, &all));
    }

    #[test]
    fn nobody_waits_for_a_node_whose_work_is_done() {
        let (pair, mut nodes) = pair();
        (nodes[1].status, nodes[1].exit_code) = (AttemptStatus::Ended, Some(0));
        assert!(is_complete(&pair, &nodes) && !is_behind(&pair, &nodes, &nodes[0]));
    }
}
