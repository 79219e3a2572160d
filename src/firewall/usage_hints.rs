//! What the book says of one rule: how much it was used, and whether it is wider than its use.

use std::collections::HashMap;

use super::policy::{Origin, Policy, Rule, Verdict};
use super::ruleset::Counter;
use super::services::Piece;
use super::tally::{Owner, forward_piece, rule_piece, service_words};
use super::usage::{Seen, Usage};
use crate::model::{Now, UnixSeconds};

/// How long nothing may use a part of a rule before a hint says so, in days and in seconds of the book's clock.
const WINDOW_DAYS: u64 = 30;
const WINDOW: u64 = WINDOW_DAYS * 86_400;
/// How many parts a hint lists.
const LISTED: usize = 4;

/// How much one rule or forward was used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// First packets of connections that it decided.
    pub total: Counter,
    /// When the last of them was noticed.
    pub last_hit_unix: Option<UnixSeconds>,
    /// Since when all of it is counted; `None` where nothing of it is, because earlier rules say it all.
    pub counted_since_unix: Option<UnixSeconds>,
    /// Parts that nothing used within the last 30 days, or since they are counted where that is shorter.
    pub unused: Vec<String>,
    /// What a person might want to do about it.
    pub hints: Vec<String>,
}

/// A part of a rule that a hint can name.
struct Part {
    words: String,
    /// Seconds for which all of it is counted.
    counted: u64,
    /// Seconds for which nothing has used it.
    idle: u64,
}

impl Part {
    fn lies_idle(&self) -> bool {
        self.idle >= self.counted.min(WINDOW)
    }
}

impl Usage {
    /// By index of [`Policy::rules`].
    pub fn of_rules(&self, policy: &Policy, now: Now) -> Vec<Used> {
        let owners = owners(policy);
        let rules = policy.rules.iter().enumerate();
        rules.map(|(index, rule)| self.of_rule(policy, &owners, index, rule, now)).collect()
    }

    /// By index of [`Policy::forwards`].
    pub fn of_forwards(&self, policy: &Policy, now: Now) -> Vec<Used> {
        let of = |index: usize| {
            let transports = policy.forwards[index].transports.iter();
            let names: Vec<String> = transports.map(|transport| forward_piece(policy, index, *transport)).collect();
            let seen: Vec<&Seen> = names.iter().filter_map(|name| self.seen(name)).collect();
            let parts = Vec::from_iter(self.part("forward".to_owned(), &seen, now));
            let mut used = self.used(&seen, now);
            used.hints = hints("forward", &parts);
            used
        };
        (0..policy.forwards.len()).map(of).collect()
    }

    fn of_rule(&self, policy: &Policy, owners: &HashMap<&str, Owner>, index: usize, rule: &Rule, now: Now) -> Used {
        let pieces = rule.services.pieces();
        // Where everything goes but what is excepted, the protocols are no list that could be shorter.
        let by_service = pieces.len() > 1 && !pieces.contains(&Piece::Other);
        let (mut all, mut parts) = (Vec::new(), Vec::new());
        for from in &rule.from {
            for to in &rule.to {
                let owned = |piece: &Piece| {
                    let name = rule_piece(policy, rule, *from, *to, *piece);
                    let ours = owners.get(&*name) == Some(&Owner::Rule(index));
                    Some((*piece, self.seen(&name).filter(|_| ours)?))
                };
                let owned: Vec<(Piece, &Seen)> = pieces.iter().filter_map(owned).collect();
                let seen: Vec<&Seen> = owned.iter().map(|(_, seen)| *seen).collect();
                let pair = format!("{} -> {}", policy.end_name(*from), policy.end_name(*to));
                let whole = self.part(pair.clone(), &seen, now);
                let used = whole.as_ref().is_some_and(|part| !part.lies_idle());
                if by_service && used {
                    let single = |(piece, seen): &(Piece, &Seen)| {
                        self.part(format!("{pair} {}", service_words(*piece)), &[*seen], now)
                    };
                    parts.extend(owned.iter().filter_map(single));
                } else {
                    parts.extend(whole);
                }
                all.extend(seen);
            }
        }
        let mut used = self.used(&all, now);
        if rule.origin == Origin::File {
            used.unused = parts.iter().filter(|part| part.lies_idle()).map(|part| part.words.clone()).collect();
            // A denial is there for what should not happen.
            if rule.verdict == Verdict::Allow {
                used.hints = hints("rule", &parts);
            }
        }
        used
    }

    fn used(&self, seen: &[&Seen], now: Now) -> Used {
        let last = seen.iter().filter_map(|seen| seen.last).max_by_key(|moment| moment.0);
        let first = seen.iter().map(|seen| seen.first).max_by_key(|moment| moment.0);
        Used {
            total: seen.iter().fold(Counter::default(), |sum, seen| sum.plus(seen.total)),
            last_hit_unix: last.map(|moment| self.unix(moment, now)),
            counted_since_unix: first.map(|moment| self.unix(moment, now)),
            ..Used::default()
        }
    }

    /// `None` where nothing is counted.
    fn part(&self, words: String, seen: &[&Seen], now: Now) -> Option<Part> {
        let clock = self.clock(now);
        let counted = seen.iter().map(|seen| clock.saturating_sub(seen.first.0)).min()?;
        let since = |seen: &&Seen| seen.last.map_or(counted, |last| clock.saturating_sub(last.0));
        Some(Part { words, counted, idle: seen.iter().map(since).min()? })
    }
}

/// Whose tally each name is.
fn owners(policy: &Policy) -> HashMap<&str, Owner> {
    policy.tallies().filter_map(|tally| Some((&*tally.name, tally.owner?))).collect()
}

/// A hint where some parts lay idle for the whole window.
fn hints(what: &str, parts: &[Part]) -> Vec<String> {
    let (idle, other): (Vec<&Part>, Vec<&Part>) =
        parts.iter().partition(|part| part.lies_idle() && part.counted >= WINDOW);
    let used: Vec<&Part> = other.iter().filter(|part| !part.lies_idle()).copied().collect();
    // Where nothing was used and a part is too young to judge, there is nothing to say yet.
    if idle.is_empty() || used.is_empty() && !other.is_empty() {
        return Vec::new();
    }
    if other.is_empty() {
        return vec![format!("nothing used this {what} in {WINDOW_DAYS} days")];
    }
    let verb = if used.len() == 1 { "was" } else { "were" };
    let (idle, only) = (list(&idle), list(&used));
    vec![format!("wider than used: in {WINDOW_DAYS} days nothing went {idle}; only {only} {verb} used")]
}

fn list(parts: &[&Part]) -> String {
    let words: Vec<&str> = parts.iter().take(LISTED).map(|part| &*part.words).collect();
    match parts.len().saturating_sub(LISTED) {
        0 => words.join(", "),
        more => format!("{} and {more} more", words.join(", ")),
    }
}
