//! What of the table looks back: which refused packets the daemon hears of, and which connections were cut.

use super::ruleset::{CUT, CUT_IPV6, Chain, Element, Field, FieldType, LOG_GROUP, Passing, Ruleset, Set};

/// What begins in the middle of a TCP connection. Connection tracking takes such packets up as new connections, in whichever direction they
/// come, so the answer to a connection that was cut could open it again.
pub(super) const MIDSTREAM: &str = "tcp flags & (syn | ack) != syn jump cut_before";

/// The same among the packets of the router itself.
pub(super) const OWN_MIDSTREAM: &str = "tcp flags & (syn | ack) != syn jump own_cut_before";

/// Sources that have been told of lately. When it is full, further ones are not told of until one leaves.
const SOURCES: Passing = Passing { by_packets: true, at_most: 4096, seconds: 60 };

/// As long as connection tracking remembers a connection that says nothing: five days.
const CUT_FOR: Passing = Passing { by_packets: false, at_most: 131_072, seconds: 432_000 };

/// Names of the sets of sources.
const TOLD: [&str; 2] = ["refused_sources", "refused_sources_ipv6"];

/// The chain whose rules log.
const TELL: &str = "tell";

/// What is told of one source.
const EACH: &str = "limit rate 6/minute burst 6 packets";

/// What is told in all: a flood with a new source in every packet makes no flood of lines.
const ALL: &str = "limit rate 10/second burst 20 packets";

impl Ruleset {
    /// The same with these connections cut.
    pub fn keeping_cut(mut self, cut: Vec<Element>) -> Ruleset {
        let (four, six): (Vec<_>, Vec<_>) = cut.into_iter().partition(|one| matches!(one.key[0], Field::Ipv4(..)));
        for (name, elements) in [(CUT, four), (CUT_IPV6, six)] {
            self.sets.iter_mut().filter(|set| &*set.name == name).for_each(|set| set.fixed.clone_from(&elements));
        }
        self
    }

    /// The same for a kernel that cannot log to a group.
    pub fn without_log(mut self) -> Ruleset {
        for chain in self.chains.iter_mut().filter(|chain| chain.name == TELL) {
            chain.rules.clear();
        }
        self
    }
}

/// Sets of sources and of connections.
pub(super) fn sets() -> [Set; 4] {
    use FieldType::{Ipv4, Ipv6, Port};
    let told = "who has been refused lately";
    let cut = "TCP connections that lost their permission";
    [
        Set::of_passing(TOLD[0], told, &[Ipv4], SOURCES),
        Set::of_passing(TOLD[1], told, &[Ipv6], SOURCES),
        Set::of_passing(CUT, cut, &[Ipv4, Port, Ipv4, Port], CUT_FOR),
        Set::of_passing(CUT_IPV6, cut, &[Ipv6, Port, Ipv6, Port], CUT_FOR),
    ]
}

/// Chains that tell, and the one that keeps cut what was cut.
///
/// What comes from the internet is refused without a word, so it never gets here: it is background noise, and its counter says how much.
/// What devices shout at everybody (mDNS, SSDP, NetBIOS) is no refused connection either.
pub(super) fn chains() -> [Chain; 5] {
    let cut = |end: &str| {
        vec![
            format!("ip saddr . tcp sport . ip daddr . tcp dport @{CUT} {end}"),
            format!("ip6 saddr . tcp sport . ip6 daddr . tcp dport @{CUT_IPV6} {end}"),
        ]
    };
    let log = format!("{ALL} log group {LOG_GROUP} snaplen 128");
    let chain = |name: &'static str, comment, rules| Chain { name: name.into(), comment, hook: None, rules };
    [
        chain("cut_before", "a connection that was cut opens with a SYN or not at all", cut("goto hang_up")),
        chain("own_cut_before", "the same for the router's own", cut("reject with tcp reset")),
        chain(
            "hang_up",
            "both ends hear it, and the log has told of it",
            vec!["iifname @networks counter reject with tcp reset".to_owned(), "counter drop".to_owned()],
        ),
        chain(
            "forged",
            "nobody is answered, own networks are told of",
            vec!["iifname @networks jump tell".to_owned(), "drop".to_owned()],
        ),
        chain(
            TELL,
            "the daemon's log, a few lines for each source",
            vec![
                "meta pkttype { broadcast, multicast } return".to_owned(),
                format!("update @{} {{ ip saddr {EACH} }} {log}", TOLD[0]),
                format!("update @{} {{ ip6 saddr & ffff:ffff:ffff:ffff:: {EACH} }} {log}", TOLD[1]),
            ],
        ),
    ]
}
