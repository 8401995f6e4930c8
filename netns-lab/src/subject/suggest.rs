// SPDX-License-Identifier: Apache-2.0
//! Names that somebody may have meant.

/// The names nearest to `name`: within three edits, or beginning with it; at most three.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut near: Vec<(usize, &str)> = names
        .map(|candidate| {
            let begins = !name.is_empty() && candidate.starts_with(name);
            (if begins { 0 } else { distance(name, candidate) }, candidate)
        })
        .filter(|(distance, _)| *distance <= 3)
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
    near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// The end of a sentence that proposes these names.
pub(super) fn sentence(nearest: &[String]) -> String {
    match nearest {
        [] => "; `cargo xtask lab subjects` lists them".into(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["loopback", "veth", "routed", "calico-like-0", "calico-like-100"];

    #[test]
    fn a_slip_of_the_finger_finds_the_name() {
        assert_eq!(nearest("rooted", NAMES.into_iter()), ["routed"]);
        assert_eq!(nearest("calico", NAMES.into_iter()), ["calico-like-0", "calico-like-100"]);
        assert_eq!(sentence(&nearest("vet", NAMES.into_iter())), "; did you mean veth?");
    }

    #[test]
    fn nothing_is_proposed_for_something_quite_different() {
        assert_eq!(nearest("wireguard", NAMES.into_iter()), [""; 0]);
        assert_eq!(nearest("", NAMES.into_iter()), [""; 0]);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
