// SPDX-License-Identifier: Apache-2.0
//! Waiting once instead of many times: to attach a program, and to change a map of maps, the kernel waits until no packet
//! uses what was there before (an RCU grace period, some 10 ms). Waits that begin together end together.

use std::sync::Mutex;
use std::thread;

/// Waits at a time.
const THREADS: usize = 16;

/// Does all the work, several pieces at a time. The results are in the order of the pieces.
pub fn each<T: Send, R: Send>(pieces: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    if pieces.len() < 2 {
        return pieces.into_iter().map(work).collect();
    }
    let threads = pieces.len().min(THREADS);
    let queue = Mutex::new(pieces.into_iter().enumerate());
    let take = || queue.lock().ok().and_then(|mut queue| queue.next());
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let worker = || {
            let mut results = Vec::new();
            while let Some((index, piece)) = take() {
                results.push((index, work(piece)));
            }
            results
        };
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(worker)).collect();
        let mut results = worker();
        for worker in workers {
            results.append(&mut worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_pieces() {
        let pieces: Vec<u32> = (0..100).collect();
        assert_eq!(each(pieces.clone(), |n| n * 2), pieces.iter().map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(each(vec![7], |n| n + 1), [8]);
        assert!(each(Vec::<u32>::new(), |n| n).is_empty());
    }
}
