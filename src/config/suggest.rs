//! "Did you mean": the nearest of some words.

/// The word of `candidates` nearest to `word`: within two changes, within one for short words.
pub(super) fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_ascii_lowercase();
    let limit = if word.chars().count() < 4 { 1 } else { 2 };
    candidates
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= limit && word.len() <= 64)
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters inserted, deleted, replaced, or swapped with their neighbour (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before = vec![0; other.len() + 1];
    let mut previous: Vec<usize> = (0..=other.len()).collect();
    for i in 0..one.len() {
        let mut current = vec![i + 1; other.len() + 1];
        for j in 0..other.len() {
            let changed = usize::from(one[i] != other[j]);
            let mut cost = (previous[j] + changed).min(previous[j + 1] + 1).min(current[j] + 1);
            if i > 0 && j > 0 && one[i] == other[j - 1] && one[i - 1] == other[j] {
                cost = cost.min(before[j - 1] + 1);
            }
            current[j + 1] = cost;
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let words = ["interface", "address", "dhcp", "lan", "iot"];
        let near = |word| nearest(word, words.into_iter());
        assert_eq!(near("intreface"), Some("interface"));
        assert_eq!(near("Adress"), Some("address"));
        assert_eq!(near("dcph"), None);
        assert_eq!(near("dchp"), Some("dhcp"));
        assert_eq!(near("wan"), Some("lan"));
        assert_eq!(near("web"), None);
        assert_eq!(distance("abcd", "abcd"), 0);
        assert_eq!(distance("", "abc"), 3);
    }
}
