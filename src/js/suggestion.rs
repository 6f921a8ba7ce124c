//! "Did you mean …?" for misspelled names.

/// The known name that `given` was most probably meant to be, if any is close.
pub(super) fn closest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| -> Vec<char> {
        name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let given = plain(given);
    known
        .iter()
        .map(|name| (distance(&given, &plain(name)), *name))
        // A third of the letters may be wrong.
        .filter(|(distance, name)| *distance * 3 <= name.len().max(given.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string
/// alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, other) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(letter != other);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *letter == b[j - 1] && a[i - 1] == *other {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn finds_what_was_meant() {
        let known = ["lockWaitMs", "deadlineMs", "dataDir", "limit"];
        assert_eq!(closest("lockWaitMS", &known), Some("lockWaitMs"));
        assert_eq!(closest("lock_wait_ms", &known), Some("lockWaitMs"));
        assert_eq!(closest("datadir", &known), Some("dataDir"));
        assert_eq!(closest("ilmit", &known), Some("limit"));
        assert_eq!(closest("deadline", &known), Some("deadlineMs"));
        assert_eq!(closest("banana", &known), None);
        assert_eq!(closest("", &known), None);
    }
}
