//! From a table that stands to the next one: only what differs is touched, and no packet meets a table that is half there.
//!
//! Rules, and members of hash sets, take effect at one moment. Members of a set of ranges do not: the kernel publishes what it looks them
//! up by at the end of the transaction, a moment after the rules. In a table that is made whole such a set is empty for that moment: what
//! it permits is refused, and what it denies gets in. So a set of ranges stays, and its members are changed; one that is new is made in a
//! transaction of its own, before any rule asks it. What stays also goes on counting.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::ruleset::{Chain, Counters, Element, Key, Ruleset, Set, SetElements, TABLE};
use super::text::{kind, write_chain, write_element, write_key, write_set};
use super::wire;

/// A table: chains and sets, and the members that follow addresses.
pub type Table<'a> = (&'a Ruleset, &'a SetElements);

/// What turns one table into another. Both are complete: [`Replacement::first`], then [`Replacement::text`].
#[derive(Debug)]
pub struct Replacement<'a> {
    elements: &'a SetElements,
    chains: &'a [Chain],
    gone_chains: Vec<&'a Chain>,
    gone_sets: Vec<&'a Set>,
    /// Sets of ranges that are new.
    first: Vec<&'a Set>,
    /// Other sets that are new or of another shape.
    made: Vec<&'a Set>,
    changed: Vec<Changed<'a>>,
}

/// A set that stays, and its members that do not.
#[derive(Debug)]
struct Changed<'a> {
    set: &'a Set,
    gone: Vec<&'a Element>,
    come: Vec<&'a Element>,
    stays: HashSet<&'a Key>,
}

impl<'a> Replacement<'a> {
    /// Compares.
    pub fn new((old, old_elements): Table<'a>, (new, elements): Table<'a>) -> Self {
        let mut replacement = Replacement {
            elements,
            chains: &new.chains,
            gone_chains: Vec::new(),
            gone_sets: Vec::new(),
            first: Vec::new(),
            made: Vec::new(),
            changed: Vec::new(),
        };
        // The hook of a chain cannot be changed.
        let stays = |chain: &Chain| new.chains.iter().any(|now| now.name == chain.name && now.hook == chain.hook);
        replacement.gone_chains.extend(old.chains.iter().filter(|chain| !stays(chain)));
        let standing: HashMap<&str, &Set> = old.sets.iter().map(|set| (&*set.name, set)).collect();
        for set in &new.sets {
            match standing.get(&*set.name) {
                Some(before) if before.is_declared_as(set) => {
                    replacement.changed.push(Changed::new(set, members(before, old_elements), members(set, elements)));
                }
                Some(before) => {
                    replacement.gone_sets.push(before);
                    replacement.made.push(set);
                }
                None if set.interval => replacement.first.push(set),
                None => replacement.made.push(set),
            }
        }
        let names: HashSet<&str> = new.sets.iter().map(|set| &*set.name).collect();
        replacement.gone_sets.extend(old.sets.iter().filter(|set| !names.contains(&*set.name)));
        replacement
    }

    /// Whether this member of a set stands now and stays, with its counter.
    pub fn stays(&self, set: &str, key: &Key) -> bool {
        self.changed.iter().any(|changed| &*changed.set.name == set && changed.stays.contains(key))
    }

    /// What comes first, in a transaction of its own: it makes sets that no rule asks yet. What an attempt that failed has left of them goes.
    pub fn first(&self, counters: &Counters) -> Option<String> {
        if self.first.is_empty() {
            return None;
        }
        let mut text = String::with_capacity(4096);
        for set in &self.first {
            let bare = Set { fixed: Vec::new(), following: Vec::new(), ..(*set).clone() };
            in_table(&mut text, |text| write_set(text, &bare, &SetElements::default(), &Counters::new()));
            let _ = writeln!(text, "delete {} inet {TABLE} {}", kind(set), set.name);
        }
        in_table(&mut text, |text| self.first.iter().for_each(|set| write_set(text, set, self.elements, counters)));
        Some(text)
    }

    /// The transaction after which the next table stands.
    pub fn text(&self, counters: &Counters) -> String {
        let mut text = String::with_capacity(16_384);
        let _ = writeln!(text, "flush table inet {TABLE}");
        for chain in &self.gone_chains {
            let _ = writeln!(text, "delete chain inet {TABLE} {}", chain.name);
        }
        for set in &self.gone_sets {
            let _ = writeln!(text, "delete {} inet {TABLE} {}", kind(set), set.name);
        }
        for changed in &self.changed {
            listed(&mut text, "delete", changed.set, &changed.gone, |text, element| write_key(text, &element.key));
        }
        for changed in &self.changed {
            let counters = counters.get(&changed.set.name);
            listed(&mut text, "add", changed.set, &changed.come, |text, element| {
                let counter = counters.and_then(|by_key| by_key.get(&wire::lower(&element.key)[..]).copied());
                write_element(text, element, counter);
            });
        }
        in_table(&mut text, |text| {
            self.made.iter().for_each(|set| write_set(text, set, self.elements, counters));
            self.chains.iter().for_each(|chain| write_chain(text, chain));
        });
        text
    }

    /// Both as one text, to be checked.
    pub fn whole(&self) -> String {
        let counters = Counters::new();
        self.first(&counters).unwrap_or_default() + &self.text(&counters)
    }
}

impl<'a> Changed<'a> {
    fn new(set: &'a Set, before: HashMap<&'a Key, &'a Element>, after: HashMap<&'a Key, &'a Element>) -> Self {
        let same = |one: &Element, other: &Element| {
            let tallies = [one, other].map(|element| element.tally.as_ref().map(|tally| &*tally.name));
            one.data == other.data && one.comment == other.comment && tallies[0] == tallies[1]
        };
        let stays: HashSet<&Key> = after
            .iter()
            .filter(|(key, element)| before.get(*key).is_some_and(|old| same(old, element)))
            .map(|(key, _)| *key)
            .collect();
        let differ = |members: HashMap<&'a Key, &'a Element>| {
            let mut differ: Vec<&Element> =
                members.into_values().filter(|element| !stays.contains(&element.key)).collect();
            differ.sort_by(|one, other| one.key.cmp(&other.key));
            differ
        };
        let (gone, come) = (differ(before), differ(after));
        Changed { set, gone, come, stays }
    }
}

/// By key. What a set is filled with while it stands is no member of either table, and stays.
fn members<'a>(set: &'a Set, elements: &'a SetElements) -> HashMap<&'a Key, &'a Element> {
    let fixed = if set.passing.is_some() { &[][..] } else { &set.fixed };
    fixed.iter().chain(elements.members(&set.name)).map(|element| (&element.key, element)).collect()
}

fn in_table(text: &mut String, write: impl FnOnce(&mut String)) {
    let _ = writeln!(text, "table inet {TABLE} {{");
    write(text);
    text.push_str("}\n");
}

fn listed(
    text: &mut String,
    verb: &str,
    set: &Set,
    elements: &[&Element],
    mut write: impl FnMut(&mut String, &Element),
) {
    if elements.is_empty() {
        return;
    }
    let _ = writeln!(text, "{verb} element inet {TABLE} {} {{", set.name);
    for element in elements {
        text.push('\t');
        write(text, element);
        text.push_str(",\n");
    }
    text.push_str("}\n");
}
