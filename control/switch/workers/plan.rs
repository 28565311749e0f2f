// SPDX-License-Identifier: MIT
//! Which worker polls which rx queue: where a new one goes, and who should have which, by what they take.

use crate::switch::numa::Socket;

/// Shares of a worker's time that a move has to win for the pair of workers: less is noise.
const LEAST_GAIN: f64 = 0.01;

/// An rx queue, for a plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weighed {
    /// The worker that has it.
    pub(super) worker: usize,
    /// Where its device is.
    pub(super) socket: Socket,
    /// It stays.
    pub(super) pinned: bool,
    /// Share of a worker's time.
    pub(super) share: f64,
}

/// The workers that a device's queues are for: those of its NUMA node, if there are any.
pub(super) fn near(workers: &[Socket], device: Socket) -> Vec<usize> {
    let local = |at: &usize| device.is_some() && workers[*at] == device;
    let near: Vec<_> = (0..workers.len()).filter(local).collect();
    match near.is_empty() {
        true => (0..workers.len()).collect(),
        false => near,
    }
}

/// Each worker's load, as the sum of its queues' shares.
pub(super) fn loads(workers: usize, queues: &[Weighed]) -> Vec<f64> {
    let mut loads = vec![0.0; workers];
    for queue in queues {
        loads[queue.worker] += queue.share;
    }
    loads
}

/// The worker that each queue should be with, in their order. As few as possible move: first those on the wrong NUMA node, then, as
/// long as it helps, the one whose move takes most off a worker's load and does not make another's as high. Good, not always the
/// best: that is a knapsack.
pub(super) fn plan(workers: &[Socket], queues: &[Weighed]) -> Vec<usize> {
    let mut queues = queues.to_vec();
    let near: Vec<_> = queues.iter().map(|it| near(workers, it.socket)).collect();
    let free = |at: &usize, queues: &[Weighed]| !queues[*at].pinned;
    for at in 0..queues.len() {
        if free(&at, &queues) && !near[at].contains(&queues[at].worker) {
            let loads = loads(workers.len(), &queues);
            let least = near[at]
                .iter()
                .min_by(|a, b| loads[**a].total_cmp(&loads[**b]));
            queues[at].worker = *least.unwrap_or(&queues[at].worker);
        }
    }
    // Each move lowers the higher load of two, so there is an end; the bound is for numbers that are none.
    for _ in 0..queues.len() * workers.len() {
        let loads = loads(workers.len(), &queues);
        let gain = |at: usize, to: usize| {
            let Weighed { worker, share, .. } = queues[at];
            loads[worker] - (loads[worker] - share).max(loads[to] + share)
        };
        let moves = (0..queues.len()).filter(|at| free(at, &queues));
        let moves = moves.flat_map(|at| near[at].iter().map(move |to| (at, *to)));
        let others = moves.filter(|(at, to)| queues[*at].worker != *to);
        let best = others.max_by(|a, b| gain(a.0, a.1).total_cmp(&gain(b.0, b.1)));
        match best {
            Some((at, to)) if gain(at, to) >= LEAST_GAIN => queues[at].worker = to,
            _ => break,
        }
    }
    queues.iter().map(|queue| queue.worker).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queue(worker: usize, share: f64) -> Weighed {
        Weighed {
            worker,
            socket: None,
            pinned: false,
            share,
        }
    }

    fn highest(workers: usize, queues: &[Weighed]) -> f64 {
        loads(workers, queues).into_iter().fold(0.0, f64::max)
    }

    fn moved(queues: &[Weighed], plan: &[usize]) -> Vec<Weighed> {
        let planned = queues.iter().zip(plan);
        planned
            .map(|(it, &worker)| Weighed { worker, ..*it })
            .collect()
    }

    #[test]
    fn what_is_too_much_for_one_is_spread_and_nothing_else_moves() {
        let any = [None, None];
        let queues = [queue(0, 0.5), queue(0, 0.4), queue(1, 0.05)];
        assert_eq!(plan(&any, &queues), [0, 1, 1]);
        let even = [queue(0, 0.5), queue(1, 0.5), queue(0, 0.0)];
        assert_eq!(plan(&any, &even), [0, 1, 0], "nothing to win");
        let one = [queue(0, 0.9), queue(0, 0.0)];
        assert_eq!(plan(&any, &one), [0, 0], "one queue is one worker's");
        assert_eq!(plan(&any, &[]), [0; 0]);
    }

    #[test]
    fn pinned_queues_stay_and_count() {
        let pinned = Weighed {
            pinned: true,
            ..queue(0, 0.6)
        };
        let queues = [pinned, queue(0, 0.3), queue(1, 0.1)];
        assert_eq!(plan(&[None, None], &queues), [0, 1, 1]);
    }

    #[test]
    fn queues_are_with_workers_of_their_devices_node_if_it_has_any() {
        let workers = [Some(0), Some(0), Some(1)];
        let of = |socket, worker, share| Weighed {
            socket,
            ..queue(worker, share)
        };
        assert_eq!(near(&workers, Some(0)), [0, 1]);
        assert_eq!(near(&workers, Some(1)), [2]);
        assert_eq!(near(&workers, Some(2)), [0, 1, 2], "no worker there");
        assert_eq!(near(&workers, None), [0, 1, 2]);
        assert_eq!(near(&[None, None], Some(0)), [0, 1], "unknown");
        // One from the wrong node to the less busy on its own; one may go anywhere; one is better off but stays on its node.
        let queues = [
            of(Some(0), 2, 0.2),
            of(Some(0), 0, 0.5),
            of(None, 0, 0.2),
            of(Some(1), 2, 0.9),
            of(Some(1), 2, 0.8),
        ];
        assert_eq!(plan(&workers, &queues), [1, 0, 1, 2, 2]);
    }

    proptest! {
        #[test]
        fn no_plan_is_worse_and_none_breaks_a_rule(
            workers in proptest::collection::vec(proptest::option::of(0u32..2), 1..6),
            queues in proptest::collection::vec((0usize..6, proptest::option::of(0u32..3), any::<bool>(), 0.0f64..1.0), 0..24),
        ) {
            let queues: Vec<_> = queues
                .into_iter()
                .map(|(worker, socket, pinned, share)| Weighed { worker: worker % workers.len(), socket, pinned, share })
                .collect();
            let planned = moved(&queues, &plan(&workers, &queues));
            for (before, after) in queues.iter().zip(&planned) {
                if before.pinned {
                    prop_assert_eq!(before.worker, after.worker);
                } else {
                    prop_assert!(near(&workers, after.socket).contains(&after.worker));
                }
            }
            let all_near = queues.iter().all(|it| it.pinned || near(&workers, it.socket).contains(&it.worker));
            if all_near {
                prop_assert!(highest(workers.len(), &planned) <= highest(workers.len(), &queues) + 1e-9);
            }
            prop_assert_eq!(plan(&workers, &planned), planned.iter().map(|it| it.worker).collect::<Vec<_>>(), "it is done");
        }
    }
}
