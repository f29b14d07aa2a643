//! "Did you mean": the nearest of several names.

/// The candidate nearest to `name`, if one is near enough to be meant, or else one that holds it as a part.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.replace(['-', '_', ' '], "").to_lowercase();
    let wanted = plain(name);
    let (_, best) = candidates
        .into_iter()
        .filter_map(|candidate| {
            let given = plain(candidate);
            let distance = distance(&wanted, &given);
            if distance <= 1.max(given.len().max(wanted.len()) / 3) {
                Some((distance, candidate))
            } else {
                (wanted.len() >= PART && given.contains(&wanted)).then_some((usize::MAX, candidate))
            }
        })
        .min_by_key(|(distance, _)| *distance)?;
    Some(best)
}

/// Shortest part of a name that says which one is meant.
const PART: usize = 4;

/// Insertions, deletions, replacements and swaps of neighbours that make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Rows of the table: two above, one above, this one.
    let mut above = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut best = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped && x != y {
                best = best.min(at(&above, j - 1) + 1);
            }
            row.push(best);
        }
        above = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 4] = ["display_name", "destination", "enabled", "retry_policy"];

    #[test]
    fn slips_find_what_was_meant() {
        for (slip, meant) in [
            ("destnation", "destination"),
            ("enabeld", "enabled"),
            ("retry-policy", "retry_policy"),
            ("displayname", "display_name"),
            ("policy", "retry_policy"),
            ("destinatoin", "destination"),
        ] {
            assert_eq!(nearest(slip, FIELDS), Some(meant));
        }
    }

    #[test]
    fn what_is_near_to_nothing_finds_nothing() {
        assert_eq!(nearest("url", FIELDS), None);
        assert_eq!(nearest("x", FIELDS), None);
        assert_eq!(nearest("anything", []), None);
    }
}
