//! How many nodes a deployment should have, from the load.

use crate::Scale;
use serde::Serialize;

/// The load, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Load {
    /// Mean utilization of each node's GPUs in percent, by number of the node; one value a node, the newest.
    pub gpu_percent: Vec<(u32, f64)>,
    /// How much waits; `None` when nobody was asked or the answer was no number.
    pub queue: Option<f64>,
}

/// Load beyond the aim, or below it, that is no reason to change anything: the tolerance of the Kubernetes horizontal pod
/// autoscaler (kubernetes.io/docs, "Horizontal Pod Autoscaling", algorithm details).
const TOLERANCE: f64 = 0.1;
/// Nodes are given back only when those that stay would have at most this share of the load that is aimed at.
const ROOM: f64 = 0.9;
/// At most this share of the nodes is given back at once.
const STEP_IN: f64 = 0.5;

/// How many nodes there should be.
///
/// The most that any of the signals asks for. Out as soon as one asks for it: a node that does not answer counts as idle there,
/// since it may be coming up. In only when every node has answered, every signal that was asked for is known, what stays has room,
/// and then by half at most. Nothing changes before the cool-down is over, except into the bounds.
pub fn desired_nodes(scale: &Scale, now_nodes: u32, load: &Load, last_change_ms: i64, now_ms: i64) -> u32 {
    let most = scale.max.max(scale.min);
    let bounded = now_nodes.clamp(scale.min, most);
    if bounded != now_nodes || now_nodes == 0 {
        return bounded
            .max(u32::from(now_nodes == 0 && load.queue.is_some_and(|queue| queue > 0.0)))
            .min(most);
    }
    let cooldown = i64::try_from(scale.cooldown_seconds)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000);
    if now_ms.saturating_sub(last_change_ms) < cooldown {
        return now_nodes;
    }
    let out = [Some(by_gpu(scale, now_nodes, load)), Some(by_queue(scale, load))];
    let wanted = out
        .into_iter()
        .flatten()
        .flatten()
        .fold(None, |most: Option<f64>, load| {
            Some(most.map_or(load, |most| most.max(load)))
        });
    let Some(wanted) = wanted else { return now_nodes };
    let now = f64::from(now_nodes);
    // Only a queue can tell that there is work again, so only an empty one sends the last node away.
    if now_nodes == 1 && scale.min == 0 && by_queue(scale, load) == Some(0.0) && wanted == 0.0 {
        return 0;
    }
    if wanted > now * (1.0 + TOLERANCE) {
        return whole(wanted.ceil()).clamp(now_nodes, most);
    }
    if wanted < now * (1.0 - TOLERANCE) && is_sure(scale, now_nodes, load) {
        let least = (now * STEP_IN).floor().max(1.0);
        return whole((wanted / ROOM).ceil().max(least)).clamp(scale.min, now_nodes);
    }
    now_nodes
}

/// Nodes that the utilization asks for, not rounded; `None` when it is not aimed at or nobody answered.
fn by_gpu(scale: &Scale, now_nodes: u32, load: &Load) -> Option<f64> {
    let aim = scale.gpu_utilization.filter(|aim| *aim > 0.0)?;
    let percents = newest(now_nodes, load);
    (!percents.is_empty()).then(|| percents.iter().sum::<f64>() / aim)
}

/// Nodes that the queue asks for, not rounded; `None` when it is not aimed at or not known.
fn by_queue(scale: &Scale, load: &Load) -> Option<f64> {
    let each = scale.queue_per_node.filter(|each| *each > 0.0)?;
    let queue = load.queue.filter(|queue| queue.is_finite() && *queue >= 0.0)?;
    Some(queue / each)
}

/// The samples of nodes that are there, in percent.
fn newest(now_nodes: u32, load: &Load) -> Vec<f64> {
    let known = load
        .gpu_percent
        .iter()
        .filter(|(node, percent)| *node < now_nodes && percent.is_finite());
    known.map(|(_, percent)| percent.clamp(0.0, 100.0)).collect()
}

/// Whether everything is known that nodes may be given back upon.
fn is_sure(scale: &Scale, now_nodes: u32, load: &Load) -> bool {
    let all_answered = newest(now_nodes, load).len() >= now_nodes as usize;
    let knows_gpus = scale.gpu_utilization.is_none() || all_answered;
    let knows_queue = scale.queue_per_node.is_none() || by_queue(scale, load).is_some();
    knows_gpus && knows_queue
}

/// A number of nodes; the largest there is where it is larger.
fn whole(nodes: f64) -> u32 {
    nodes.clamp(0.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scale(min: u32, max: u32, gpu_utilization: Option<f64>, queue_per_node: Option<f64>) -> Scale {
        Scale {
            min,
            max,
            gpu_utilization,
            queue_command: None,
            queue_per_node,
            cooldown_seconds: 300,
        }
    }

    fn gpus(percents: &[f64]) -> Load {
        Load {
            gpu_percent: (0..).zip(percents.iter().copied()).collect(),
            queue: None,
        }
    }

    fn queue(length: f64) -> Load {
        Load {
            gpu_percent: Vec::new(),
            queue: Some(length),
        }
    }

    const LATER: i64 = 300_000;

    #[test]
    fn nodes_follow_the_utilization() {
        let scale = scale(1, 8, Some(70.0), None);
        let nodes = |now: u32, percents: &[f64]| desired_nodes(&scale, now, &gpus(percents), 0, LATER);
        assert_eq!(nodes(2, &[95.0, 97.0]), 3);
        assert_eq!(nodes(2, &[75.0, 70.0]), 2);
        assert_eq!(nodes(4, &[30.0, 30.0, 30.0, 30.0]), 2);
        assert_eq!(nodes(8, &[100.0; 8]), 8);
        assert_eq!(nodes(8, &[0.0; 8]), 4);
        assert_eq!(nodes(1, &[0.0]), 1);
        // 2 x 34 % on one node would be 68 %: too near to the 70 % that are aimed at.
        assert_eq!(nodes(2, &[34.0, 34.0]), 2);
        assert_eq!(nodes(2, &[30.0, 30.0]), 1);
    }

    #[test]
    fn nodes_follow_the_queue() {
        let scale = scale(0, 10, None, Some(5.0));
        let nodes = |now, length| desired_nodes(&scale, now, &queue(length), 0, LATER);
        assert_eq!(nodes(2, 31.0), 7);
        assert_eq!(nodes(2, 1e9), 10);
        assert_eq!(nodes(4, 0.0), 2);
        assert_eq!(nodes(1, 0.0), 0);
        assert_eq!(nodes(1, 0.1), 1);
        assert_eq!(nodes(0, 0.0), 0);
        assert_eq!(nodes(0, 3.0), 1);
        assert_eq!(nodes(2, f64::NAN), 2);
    }

    #[test]
    fn the_last_node_goes_only_for_an_empty_queue() {
        let idle = |scale: &Scale| desired_nodes(scale, 1, &gpus(&[0.0]), 0, LATER);
        assert_eq!(idle(&scale(0, 4, Some(50.0), None)), 1);
        assert_eq!(idle(&scale(0, 4, Some(50.0), Some(5.0))), 1);
        let empty = Load {
            queue: Some(0.0),
            ..gpus(&[0.0])
        };
        assert_eq!(
            desired_nodes(&scale(0, 4, Some(50.0), Some(5.0)), 1, &empty, 0, LATER),
            0
        );
        assert_eq!(
            desired_nodes(&scale(0, 4, Some(50.0), Some(5.0)), 1, &empty, 1, LATER),
            1
        );
        assert_eq!(desired_nodes(&scale(1, 4, None, Some(5.0)), 1, &empty, 0, LATER), 1);
    }

    #[test]
    fn who_does_not_answer_keeps_nodes_but_asks_for_none() {
        let scale = scale(1, 8, Some(50.0), None);
        assert_eq!(desired_nodes(&scale, 3, &gpus(&[1.0, 1.0]), 0, LATER), 3);
        assert_eq!(desired_nodes(&scale, 3, &gpus(&[]), 0, LATER), 3);
        // Two that answer are busy, the third comes up: 200 % of 50 % are four.
        assert_eq!(desired_nodes(&scale, 3, &gpus(&[100.0, 100.0]), 0, LATER), 4);
        // A node that is gone does not count.
        let old = Load {
            gpu_percent: vec![(0, 0.0), (7, 0.0)],
            queue: None,
        };
        assert_eq!(desired_nodes(&scale, 2, &old, 0, LATER), 2);
    }

    #[test]
    fn the_busier_signal_decides() {
        let scale = scale(1, 9, Some(50.0), Some(10.0));
        let load = |percent: f64, length| Load {
            queue: length,
            ..gpus(&[percent; 2])
        };
        assert_eq!(desired_nodes(&scale, 2, &load(5.0, Some(60.0)), 0, LATER), 6);
        assert_eq!(desired_nodes(&scale, 2, &load(100.0, Some(0.0)), 0, LATER), 4);
        assert_eq!(desired_nodes(&scale, 2, &load(5.0, Some(0.0)), 0, LATER), 1);
        // The queue is asked for and not known: nothing is given back.
        assert_eq!(desired_nodes(&scale, 2, &load(5.0, None), 0, LATER), 2);
    }

    #[test]
    fn nothing_changes_in_the_cool_down_except_into_the_bounds() {
        let scale = scale(2, 4, Some(50.0), None);
        assert_eq!(desired_nodes(&scale, 3, &gpus(&[100.0; 3]), 0, LATER - 1), 3);
        assert_eq!(desired_nodes(&scale, 3, &gpus(&[100.0; 3]), 0, LATER), 4);
        assert_eq!(desired_nodes(&scale, 9, &gpus(&[100.0; 9]), LATER, LATER), 4);
        assert_eq!(desired_nodes(&scale, 1, &gpus(&[]), LATER, LATER), 2);
    }

    fn loads() -> impl Strategy<Value = (Vec<f64>, Option<f64>)> {
        (
            prop::collection::vec(-10.0..150.0_f64, 0..12),
            prop::option::of(-5.0..500.0_f64),
        )
    }

    proptest! {
        #[test]
        fn nodes_stay_in_their_bounds(
            (percents, length) in loads(),
            min in 0_u32..5, more in 0_u32..8, now in 0_u32..20,
            aim in prop::option::of(1.0..100.0_f64), each in prop::option::of(0.5..50.0_f64),
            elapsed in 0_i64..1_000_000,
        ) {
            let scale = scale(min, min + more, aim, each);
            let load = Load { queue: length, ..gpus(&percents) };
            let nodes = desired_nodes(&scale, now, &load, 0, elapsed);
            prop_assert!((min..=min + more).contains(&nodes), "{nodes}");
            if elapsed < LATER && (min..=min + more).contains(&now) && now > 0 {
                prop_assert_eq!(nodes, now);
            }
        }

        /// More load never asks for fewer nodes.
        #[test]
        fn more_load_is_never_fewer_nodes(
            percents in prop::collection::vec(0.0..100.0_f64, 1..8),
            more in 0.0..50.0_f64, length in 0.0..200.0_f64, longer in 0.0..100.0_f64,
        ) {
            let scale = scale(1, 50, Some(60.0), Some(8.0));
            let now = percents.len() as u32;
            let nodes = |percents: &[f64], length| {
                desired_nodes(&scale, now, &Load { queue: Some(length), ..gpus(percents) }, 0, LATER)
            };
            let busier: Vec<f64> = percents.iter().map(|percent| percent + more).collect();
            prop_assert!(nodes(&busier, length + longer) >= nodes(&percents, length));
        }

        /// A load that stays as it is leads to a number of nodes that stays as it is: no swinging.
        #[test]
        fn a_steady_load_comes_to_rest(work in 0.0..2000.0_f64, start in 1_u32..40, aim in 20.0..95.0_f64) {
            let scale = scale(1, 40, Some(aim), None);
            let mut nodes = start;
            let mut changes = Vec::new();
            for _ in 0..30 {
                let percent = (work / f64::from(nodes)).min(100.0);
                let next = desired_nodes(&scale, nodes, &gpus(&vec![percent; nodes as usize]), 0, LATER);
                if next != nodes {
                    changes.push(next > nodes);
                }
                nodes = next;
            }
            let percent = (work / f64::from(nodes)).min(100.0);
            prop_assert_eq!(desired_nodes(&scale, nodes, &gpus(&vec![percent; nodes as usize]), 0, LATER), nodes);
            let turns = changes.windows(2).filter(|pair| pair[0] != pair[1]).count();
            prop_assert!(turns <= 1, "{changes:?}");
        }
    }
}
