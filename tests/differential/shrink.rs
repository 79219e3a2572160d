//! A case on which model and kernel differ, made as small as it goes.

use super::case::Case;
use super::trial::{Outcome, run};

/// The smallest case found with one of the packets that went wrong, and what goes wrong there; `None` where none does alone.
pub fn smallest(case: &Case, outcome: &Outcome) -> Option<(Case, String)> {
    let mut indexes: Vec<usize> = outcome.disagreements.iter().map(|(index, _)| *index).collect();
    indexes.dedup();
    let alone = |index: &usize| case.with_packets(vec![case.packets[*index].clone()]);
    let (mut small, mut words) =
        indexes.iter().take(5).map(alone).find_map(|case| Some((case.clone(), wrong(&case, None)?)))?;
    // Whole tables first, then single lines, then entries of lists, until nothing can go any more.
    loop {
        let smaller = candidates(&small).into_iter().find_map(|case| Some((case.clone(), wrong(&case, Some(&words))?)));
        match smaller {
            Some(found) => (small, words) = found,
            None => return Some((small, words)),
        }
    }
}

/// What is wrong with a case, of the same kind as before.
fn wrong(case: &Case, before: Option<&str>) -> Option<String> {
    let outcome = run(case)?;
    outcome
        .disagreements
        .into_iter()
        .map(|(_, words)| words)
        .find(|words| before.is_none_or(|before| kind(before) == kind(words)))
}

/// What the model has said, in one word.
fn kind(words: &str) -> Option<&str> {
    words.split("the model: ").nth(1)?.split([' ', '(', '\n']).next()
}

/// Everything that has one thing less.
fn candidates(case: &Case) -> Vec<Case> {
    let lines: Vec<&str> = case.text.lines().collect();
    let with = |text: Vec<&str>| Case { text: text.iter().map(|line| format!("{line}\n")).collect(), ..case.clone() };
    let mut found = Vec::new();
    let starts: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with('[')).chain([lines.len()]).collect();
    for pair in starts.windows(2) {
        found.push(with([&lines[..pair[0]], &lines[pair[1]..]].concat()));
    }
    for at in 0..lines.len() {
        found.push(with([&lines[..at], &lines[at + 1..]].concat()));
    }
    for at in 0..case.leases.len() {
        let mut less = case.clone();
        less.leases.remove(at);
        found.push(less);
    }
    for (at, line) in lines.iter().enumerate() {
        for shorter in shorter_lines(line) {
            let mut text = lines.clone();
            text[at] = &shorter;
            found.push(with(text));
        }
    }
    found
}

/// The line without one of the words of its lists, or without one of its optional keys.
fn shorter_lines(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices(", \"") {
        let end = line[at + 3..].find('"').map(|length| at + 4 + length);
        found.extend(end.map(|end| format!("{}{}", &line[..at], &line[end..])));
    }
    for (at, _) in line.match_indices("[\"") {
        let end = line[at + 2..].find("\", ").map(|length| at + 5 + length);
        found.extend(end.map(|end| format!("{}{}", &line[..=at], &line[end..])));
    }
    for key in [", port = [", ", except = [", ", from = ["] {
        if let Some(at) = line.find(key) {
            let end = line[at..].find(']').map(|length| at + length + 1);
            found.extend(end.map(|end| format!("{}{}", &line[..at], &line[end..])));
        }
    }
    found
}
