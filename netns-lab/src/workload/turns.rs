// SPDX-License-Identifier: Apache-2.0
//! In which order the subjects have their turn in a round.

/// The order of round `round` for `count` subjects: forwards in even rounds, backwards in odd ones, and from another
/// start every two rounds, so that no subject always follows the same other one or always comes first.
pub fn order(round: u32, count: usize) -> Vec<usize> {
    if count == 0 {
        return Vec::new();
    }
    let start = (round / 2) as usize % count;
    let mut turns: Vec<usize> = (0..count).map(|i| (start + i) % count).collect();
    if round % 2 == 1 {
        turns.reverse();
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_go_forwards_then_backwards_and_the_start_rotates() {
        assert_eq!(order(0, 3), [0, 1, 2]);
        assert_eq!(order(1, 3), [2, 1, 0]);
        assert_eq!(order(2, 3), [1, 2, 0]);
        assert_eq!(order(3, 3), [0, 2, 1]);
        assert_eq!(order(6, 3), [0, 1, 2]);
    }

    #[test]
    fn over_a_full_cycle_every_subject_stands_at_every_place_equally_often() {
        for count in 1..8_usize {
            let mut places = vec![vec![0; count]; count];
            for round in 0..2 * count as u32 {
                for (place, subject) in order(round, count).into_iter().enumerate() {
                    places[subject][place] += 1;
                }
            }
            assert!(places.iter().flatten().all(|&n| n == 2), "{count}: {places:?}");
        }
    }

    #[test]
    fn no_subjects_have_no_turns() {
        assert!(order(3, 0).is_empty());
    }
}
