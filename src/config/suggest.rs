//! "Did you mean": the nearest of some words.

/// Longer words are not compared.
const LONGEST: usize = 64;

/// The word of `candidates` nearest to `word`: within two changes, within one for short words.
pub(crate) fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_ascii_lowercase();
    let limit = if word.len() < 4 { 1 } else { 2 };
    candidates
        .filter_map(|candidate| Some((distance(word.as_bytes(), candidate.as_bytes(), limit)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Octets inserted, deleted, replaced, or swapped with their neighbour (optimal string alignment); `None` beyond `limit`.
/// Compares one word with thousands, so it allocates nothing and stops early.
fn distance(one: &[u8], other: &[u8], limit: usize) -> Option<usize> {
    if one.len().abs_diff(other.len()) > limit || one.len() > LONGEST || other.len() > LONGEST {
        return None;
    }
    let mut before = [0; LONGEST + 1];
    let mut previous: [usize; LONGEST + 1] = std::array::from_fn(|index| index);
    for i in 0..one.len() {
        let mut current = [i + 1; LONGEST + 1];
        let mut least = i + 1;
        for j in 0..other.len() {
            let changed = usize::from(one[i] != other[j]);
            let mut cost = (previous[j] + changed).min(previous[j + 1] + 1).min(current[j] + 1);
            if i > 0 && j > 0 && one[i] == other[j - 1] && one[i - 1] == other[j] {
                cost = cost.min(before[j - 1] + 1);
            }
            current[j + 1] = cost;
            least = least.min(cost);
        }
        if least > limit + 1 {
            return None;
        }
        before = previous;
        previous = current;
    }
    Some(previous[other.len()]).filter(|distance| *distance <= limit)
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
        assert_eq!(near("dcph"), Some("dhcp"));
        assert_eq!(near("dpch"), Some("dhcp"));
        assert_eq!(near("dns"), None);
        assert_eq!(near("dchp"), Some("dhcp"));
        assert_eq!(near("wan"), Some("lan"));
        assert_eq!(near("web"), None);
        assert_eq!(distance(b"abcd", b"abcd", 2), Some(0));
        assert_eq!(distance(b"", b"abc", 3), Some(3));
        assert_eq!(distance(b"", b"abc", 2), None);
    }
}
