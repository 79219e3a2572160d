//! Rules that do not do what they seem to: denied by others, inside others, or about no packet at all; and names that nothing uses.

use std::collections::{HashMap, HashSet};

use super::policy::{End, Origin, Rule, Verdict};
use super::reach::{Diagrams, IPV4, PacketSet, Reach};
use crate::config::{Config, Endpoint, Place, Remark, Severity};

/// For so many redundant rules the rule they lie inside is looked for; more are only told.
const NAMED: usize = 50;

pub(super) fn lint(all: &mut Diagrams, reach: &Reach<'_>, config: &Config) -> Vec<Remark> {
    let mut lint = Lint { all, reach, config, remarks: Vec::new() };
    let telling = lint.effective_rules();
    let telling = lint.shadowed(telling);
    for verdict in [Verdict::Allow, Verdict::Deny] {
        lint.inside_others(verdict, &telling);
    }
    lint.forwards();
    lint.unused_groups();
    lint.unused_hosts();
    lint.remarks
}

struct Lint<'a> {
    all: &'a mut Diagrams,
    reach: &'a Reach<'a>,
    config: &'a Config,
    remarks: Vec<Remark>,
}

impl<'a> Lint<'a> {
    fn warn(
        &mut self,
        slug: &'static str,
        place: &Place,
        message: String,
        label: &str,
        others: Vec<(Place, String)>,
        help: &str,
    ) {
        self.remarks.push(Remark {
            slug,
            severity: Severity::Warning,
            message,
            place: place.clone(),
            label: label.to_owned(),
            others,
            help: Some(help.to_owned()),
        });
    }

    fn rule(&self, index: usize) -> &'a Rule {
        &self.reach.space.policy.rules[index]
    }

    /// What each rule says something of that is not beyond all rules. Tells of the rules that say nothing.
    fn effective_rules(&mut self) -> Vec<PacketSet> {
        let mut effective = Vec::with_capacity(self.reach.rules.len());
        for (index, set) in self.reach.rules.iter().enumerate() {
            let set = self.all.difference(*set, self.reach.unruled);
            effective.push(set);
            let rule = self.rule(index);
            // Exceptions that leave nothing are told where they stand.
            if !set.is_empty() || rule.origin != Origin::File || rule.services.is_empty() {
                continue;
            }
            let router = rule.from.iter().all(|end| *end == End::Router) && rule.verdict == Verdict::Allow;
            let outside = |ends: &[End]| ends.contains(&End::Internet);
            let uplink = self.reach.space.policy.uplink.is_some();
            let help = match rule {
                _ if router => "what the router itself sends is allowed anyway: take the rule out",
                rule if !uplink && (outside(&rule.from) || outside(&rule.to)) => {
                    "there is no uplink: add `[wan]`, or take the rule out"
                }
                _ => {
                    "inside one network nothing is filtered, and an end without an address is nowhere: change the ends, or take the rule out"
                }
            };
            let message = "no packet can ever match this rule".to_owned();
            self.warn("rule-without-effect", &rule.place, message, "has no effect", Vec::new(), help);
        }
        effective
    }

    /// Rules that allow what others deny. Gives the sets of those that say something more.
    fn shadowed(&mut self, sets: Vec<PacketSet>) -> Vec<PacketSet> {
        let refused = self.all.difference(self.reach.denied, self.reach.unruled);
        let mut left = sets.clone();
        for (index, set) in sets.iter().enumerate() {
            let rule = self.rule(index);
            let file = rule.origin == Origin::File && rule.verdict == Verdict::Allow;
            if !file || set.is_empty() || !self.all.is_subset(*set, refused) {
                continue;
            }
            left[index] = PacketSet::EMPTY;
            let denials = (0..sets.len()).filter(|other| self.rule(*other).verdict == Verdict::Deny);
            let mut denials: Vec<usize> = denials.collect();
            denials.retain(|other| !self.all.is_disjoint(*set, sets[*other]));
            let others =
                denials.iter().take(3).map(|other| (self.rule(*other).place.clone(), "denied here".to_owned()));
            let message = "everything that this rule allows is denied".to_owned();
            let help = "a denial beats an allowance, whatever the order: take one of them out";
            self.warn("rule-shadowed", &rule.place, message, "allows nothing", others.collect(), help);
        }
        left
    }

    /// Rules of one verdict that say nothing that others of it do not say.
    fn inside_others(&mut self, verdict: Verdict, sets: &[PacketSet]) {
        let of = |lint: &Self, index: &usize| lint.rule(*index).verdict == verdict && !sets[*index].is_empty();
        let indexes: Vec<usize> = (0..sets.len()).filter(|index| of(self, index)).collect();
        // Equal rules: the first stays, the others are told.
        let mut first: HashMap<PacketSet, usize> = HashMap::new();
        let mut distinct = Vec::new();
        for index in indexes {
            match first.get(&sets[index]) {
                Some(same) => self.redundant(index, vec![*same]),
                None => {
                    first.insert(sets[index], index);
                    distinct.push(index);
                }
            }
        }
        let members: Vec<PacketSet> = distinct.iter().map(|index| sets[*index]).collect();
        let (twice, _) = self.all.shared(&members);
        self.all.forget_results();
        let mut named = 0;
        for index in distinct.iter().copied() {
            let covered = self.rule(index).origin == Origin::File && self.all.is_subset(sets[index], twice);
            if !covered {
                continue;
            }
            named += 1;
            let around = if named > NAMED { Vec::new() } else { self.around(index, &distinct, sets) };
            self.redundant(index, around);
        }
    }

    /// The rule that a redundant one lies inside, or some of those that it lies inside together.
    fn around(&mut self, index: usize, rules: &[usize], sets: &[PacketSet]) -> Vec<usize> {
        let set = sets[index];
        let whole = rules.iter().copied().find(|other| *other != index && self.all.is_subset(set, sets[*other]));
        match whole {
            Some(whole) => vec![whole],
            None => {
                let touching =
                    rules.iter().copied().filter(|other| *other != index && !self.all.is_disjoint(set, sets[*other]));
                touching.take(3).collect()
            }
        }
    }

    fn redundant(&mut self, index: usize, around: Vec<usize>) {
        let rule = self.rule(index);
        if rule.origin != Origin::File {
            return;
        }
        let words = |other: &usize| match self.rule(*other).origin {
            Origin::File => "said here",
            Origin::Internet => "said here already: `internet` is true",
            Origin::Dns => "every network may ask the router's DNS",
            Origin::Admin => "said here already: `admin` is true",
        };
        let others: Vec<(Place, String)> =
            around.iter().map(|other| (self.rule(*other).place.clone(), words(other).to_owned())).collect();
        let message = match others.len() {
            0 | 1 => "this rule lies inside another one".to_owned(),
            _ => "this rule lies inside others together".to_owned(),
        };
        let help = "it can be taken out, and nothing changes";
        self.warn("rule-inside-another", &rule.place, message, "says nothing new", others, help);
    }

    fn forwards(&mut self) {
        let policy = self.reach.space.policy;
        for (forward, set) in policy.forwards.iter().zip(&self.reach.forwards) {
            let host = &policy.hosts[forward.host];
            let nowhere = self.reach.space.places(End::Host(forward.host), IPV4).is_empty();
            if nowhere && policy.uplink.is_some() {
                let message = format!("the forward leads to nobody: `{}` can never have an address", host.name);
                let others = vec![(host.place.clone(), "has no `ip`, and no network hands addresses out".to_owned())];
                self.warn(
                    "forward-to-nobody",
                    &forward.place,
                    message,
                    "leads nowhere",
                    others,
                    "give the host an `ip`",
                );
            }
            if nowhere || policy.uplink.is_none() || !self.reach.from_internet(self.all, *set).is_empty() {
                continue;
            }
            let message = format!("everything that this forward leads to `{}` from the internet is denied", host.name);
            let help = "a denial beats a forward: take one of them out";
            self.warn("forward-denied", &forward.place, message, "leads nowhere", Vec::new(), help);
        }
    }

    fn endpoints(&self) -> impl Iterator<Item = &'a Endpoint> {
        let firewall = &self.config.firewall;
        let rules = firewall.allow.iter().chain(&firewall.deny).flat_map(|rule| rule.from.iter().chain(&rule.to));
        rules.chain(firewall.expect.iter().flat_map(|expect| expect.from.iter().chain(&expect.to)))
    }

    fn unused_groups(&mut self) {
        let used: HashSet<&Endpoint> = self.endpoints().collect();
        for (index, group) in self.config.groups.iter().enumerate() {
            if !used.contains(&Endpoint::Group(index)) {
                let message = format!("no rule names the group `{}`", group.name);
                let help = "name it in a rule, or take it out";
                self.warn("unused-group", &group.place, message, "is never used", Vec::new(), help);
            }
        }
    }

    /// A host is a reservation and a name as well, so this is only a hint.
    fn unused_hosts(&mut self) {
        let members = self.config.groups.iter().flat_map(|group| &group.members);
        let mut used: HashSet<usize> = HashSet::new();
        for endpoint in self.endpoints().chain(members) {
            if let Endpoint::Host(host) = endpoint {
                used.insert(*host);
            }
        }
        used.extend(self.config.forwards.iter().map(|forward| forward.host));
        for (index, host) in self.config.hosts.iter().enumerate() {
            if !used.contains(&index) {
                self.remarks.push(Remark {
                    slug: "unused-host",
                    severity: Severity::Hint,
                    message: format!("no rule, group or forward names the host `{}`", host.name),
                    place: host.place.clone(),
                    label: "a reservation and a name only".to_owned(),
                    others: Vec::new(),
                    help: None,
                });
            }
        }
    }
}
