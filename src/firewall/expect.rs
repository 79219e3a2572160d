//! Expectations of the file: each is a statement about every packet from one place to another, proved or refuted with a packet.

use super::describe::{describe_services, endpoints};
use super::policy::{self, Origin, Verdict};
use super::reach::{Diagrams, PacketSet, Point, Reach, Why};
use super::services::Services;
use crate::config::{Config, Expectation, Place, Remark, Severity};

/// The expectations that do not hold, each with a packet that shows it and the line that decides about the packet.
pub(super) fn prove(all: &mut Diagrams, reach: &Reach<'_>, config: &Config) -> Vec<Remark> {
    config.firewall.expect.iter().filter_map(|expectation| refute(all, reach, config, expectation)).collect()
}

fn refute(all: &mut Diagrams, reach: &Reach<'_>, config: &Config, expectation: &Expectation) -> Option<Remark> {
    let from = policy::ends(config, &expectation.from);
    let to = policy::ends(config, &expectation.to);
    let services = Services::of_rule(&expectation.services, &[]);
    // IPv6 is closed unless a rule opens it: "allowed" is about IPv4 where nobody names an IPv6 address.
    let whole = reach.question(all, &from, &to, &services, !expectation.allowed);
    // "router" is this machine itself: what a forward takes from the public address is a matter of its host.
    let asked = all.difference(whole, reach.not_the_router);
    let words = Words { all: &*all, reach, config, expectation };
    if whole.is_empty() {
        return Some(words.about_nothing());
    }
    if asked.is_empty() {
        let point = reach.witness(all, whole).filter(|_| expectation.allowed)?;
        return Some(words.forwarded(&point));
    }
    let broken =
        if expectation.allowed { all.difference(asked, reach.allowed) } else { all.intersection(asked, reach.allowed) };
    let point = reach.witness(all, broken)?;
    let whole = expectation.allowed && broken == asked;
    let words = Words { all: &*all, reach, config, expectation };
    Some(if expectation.allowed { words.refused(&point, whole) } else { words.passes(&point) })
}

struct Words<'a> {
    all: &'a Diagrams,
    reach: &'a Reach<'a>,
    config: &'a Config,
    expectation: &'a Expectation,
}

impl Words<'_> {
    fn remark(&self, message: String, label: String, others: Vec<(Place, String)>, help: Option<String>) -> Remark {
        let place = self.expectation.place.clone();
        Remark { slug: "expectation", severity: Severity::Error, message, place, label, others, help }
    }

    /// `iot -> nas tcp/443`.
    fn asked(&self) -> String {
        let ends = |ends| endpoints(self.config, ends);
        let services = describe_services(&self.expectation.services);
        let words = format!("{} -> {}", ends(&self.expectation.from), ends(&self.expectation.to));
        if services.is_empty() { words } else { format!("{words} {services}") }
    }

    fn about_nothing(&self) -> Remark {
        let message = format!("nothing can go {}, so this expectation says nothing", self.asked());
        let help = "an end of it has no address, or no uplink leads there";
        self.remark(message, "about no packet".to_owned(), Vec::new(), Some(help.to_owned()))
    }

    fn forwarded(&self, point: &Point) -> Remark {
        let witness = self.reach.space.words(point);
        let message = format!("{} should be allowed, and {witness} never comes to the router", self.asked());
        let policy = self.reach.space.policy;
        let (others, help) = match self.reach.why_allowed(self.all, point) {
            Why::Forward(index) => {
                let forward = &policy.forwards[index];
                let host = &policy.hosts[forward.host].name;
                (
                    vec![(forward.place.clone(), "forwarded here".to_owned())],
                    format!("name the host: `to = \"{host}\"`"),
                )
            }
            _ => (Vec::new(), "name the host that it is forwarded to".to_owned()),
        };
        self.remark(message, "expected here".to_owned(), others, Some(help))
    }

    fn passes(&self, point: &Point) -> Remark {
        let witness = self.reach.space.words(point);
        let message = format!("{} should be denied, and {witness} is allowed", self.asked());
        let policy = self.reach.space.policy;
        let (others, help) = match self.reach.why_allowed(self.all, point) {
            Why::Rule(index) => {
                let rule = &policy.rules[index];
                let why = match rule.origin {
                    Origin::Internet => "allowed here: `internet` is true",
                    Origin::Dns => "allowed: every network may ask the router's DNS",
                    Origin::Admin => "allowed here: `admin` is true",
                    Origin::File => "allowed here",
                };
                (vec![(rule.place.clone(), why.to_owned())], None)
            }
            Why::Forward(index) => (vec![(policy.forwards[index].place.clone(), "forwarded here".to_owned())], None),
            Why::Unruled => (Vec::new(), Some("inside one network nothing is filtered, and the router answers DHCP")),
            Why::Free => (
                Vec::new(),
                Some("the router's own packets are free, and own networks may ping it; a `deny` takes that away"),
            ),
        };
        self.remark(message, "expected here".to_owned(), others, help.map(str::to_owned))
    }

    fn refused(&self, point: &Point, whole: bool) -> Remark {
        let witness = self.reach.space.words(point);
        let message = match whole {
            true => format!("{} should be allowed, and is denied: {witness}", self.asked()),
            false => format!("{} should be allowed, and {witness} is denied", self.asked()),
        };
        let policy = self.reach.space.policy;
        let (others, help) = match self.reach.why_denied(self.all, point) {
            Some(index) => (vec![(policy.rules[index].place.clone(), "denied here".to_owned())], None),
            None => {
                let near = self.nearest(point).map(|place| (place, "the nearest rule".to_owned()));
                (near.into_iter().collect(), Some(format!("no rule allows it; to allow:  {}", self.rule_to_write())))
            }
        };
        self.remark(message, "expected here".to_owned(), others, help)
    }

    /// The rule of the file that allows the same ends another service.
    fn nearest(&self, point: &Point) -> Option<Place> {
        let policy = self.reach.space.policy;
        let mut other = *point;
        let found = policy.rules.iter().zip(&self.reach.rules).find(|(rule, set)| {
            rule.origin == Origin::File && rule.verdict == Verdict::Allow && self.somewhere(**set, &mut other)
        });
        found.map(|(rule, _)| rule.place.clone())
    }

    /// Whether a set has a packet between the ends of `point`, whatever the service.
    fn somewhere(&self, set: PacketSet, point: &mut Point) -> bool {
        let ends = *point;
        self.all.pick(set, |field, _| vec![ends[field]]).is_some_and(|found| found[..7] == ends[..7])
    }

    fn rule_to_write(&self) -> String {
        let list = |words: String| match words.contains(", ") {
            true => format!("[\"{}\"]", words.replace(", ", "\", \"")),
            false => format!("\"{words}\""),
        };
        let ends = |ends| list(endpoints(self.config, ends));
        let services = describe_services(&self.expectation.services);
        let port = if services.is_empty() { String::new() } else { format!(", port = {}", list(services)) };
        format!("{{ from = {}, to = {}{port} }}", ends(&self.expectation.from), ends(&self.expectation.to))
    }
}
