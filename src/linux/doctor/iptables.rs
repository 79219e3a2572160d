//! Rules as `iptables-save` writes them.

use std::process::Stdio;

use ipnet::Ipv4Net;
use tokio::process::Command;

use crate::desired::doctor::foreign::{Action, Base, Chain, Condition, Hook, Rule, What};

/// Which of the two implementations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tables that nftables holds.
    Nft,
    /// Tables of the old kernel interface.
    Legacy,
}

/// The output of the program; `None` where it is not installed or says no.
pub async fn saved(kind: Kind) -> Option<String> {
    let program = if kind == Kind::Nft { "iptables-nft-save" } else { "iptables-legacy-save" };
    for folder in ["", "/usr/sbin/", "/sbin/"] {
        let mut command = Command::new(format!("{folder}{program}"));
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).output().await;
        if let Ok(output) = output {
            return output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned());
        }
    }
    None
}

/// What was saved.
#[derive(Debug, Default)]
pub struct Saved {
    /// Table, chain, and whether its policy is to drop, for built-in chains.
    policies: Vec<(String, String, Option<bool>)>,
    /// Table, chain, rules.
    pub rules: Vec<(String, String, Vec<Rule>)>,
}

impl Saved {
    /// The chains of legacy tables, at the hooks and priorities that the kernel gives them.
    pub fn into_legacy(self) -> Vec<Chain> {
        let mut chains = Vec::new();
        for (table, name, drops) in self.policies {
            let base = drops.and_then(|drops| {
                let hook = Hook::named(&name.to_lowercase())?;
                Some(Base { hook, nat: table == "nat", priority: priority(&table, hook), drops })
            });
            let rules = self.rules.iter().find(|(of, chain, _)| (of, chain) == (&table, &name));
            let rules = rules.map(|(_, _, rules)| rules.clone()).unwrap_or_default();
            chains.push(Chain { family: "legacy".to_owned(), table, name, base, rules });
        }
        chains
    }
}

/// linux/netfilter_ipv4.h
fn priority(table: &str, hook: Hook) -> i32 {
    match table {
        "raw" => -300,
        "mangle" => -150,
        "nat" if matches!(hook, Hook::Prerouting | Hook::Output) => -100,
        "nat" => 100,
        "security" => 50,
        _ => 0,
    }
}

/// Reads `*table`, `:CHAIN POLICY [0:0]`, `-A CHAIN …`.
pub fn parse(text: &str) -> Saved {
    let mut saved = Saved::default();
    let mut table = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.trim().to_owned();
        } else if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            let (Some(name), Some(policy)) = (words.next(), words.next()) else { continue };
            saved.policies.push((table.clone(), name.to_owned(), (policy != "-").then_some(policy == "DROP")));
            saved.rules.push((table.clone(), name.to_owned(), Vec::new()));
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let Some((name, rest)) = rule.split_once(' ') else { continue };
            let here = |(of, chain, _): &&mut (String, String, Vec<Rule>)| *of == table && chain == name;
            if let Some((_, _, rules)) = saved.rules.iter_mut().find(here) {
                rules.push(read_rule(rest, line));
            }
        }
    }
    saved
}

fn read_rule(rest: &str, line: &str) -> Rule {
    let words = split(rest);
    let mut rule = Rule { conditions: Vec::new(), action: Action::Pass, text: line.to_owned() };
    let (mut at, mut not) = (0, false);
    while at < words.len() {
        let value = words.get(at + 1).map_or("", String::as_str);
        let mut condition = |what: Option<What>| {
            let (what, not) = what.map_or((What::Opaque, false), |what| (what, not));
            rule.conditions.push(Condition { what, not });
        };
        let mut taken = 2;
        match words[at].as_str() {
            "!" => taken = 1,
            "-i" => condition(Some(What::Input(vec![pattern(value)]))),
            "-o" => condition(Some(What::Output(vec![pattern(value)]))),
            "-s" => condition(network(value).map(|net| What::Source(vec![net]))),
            "-d" => condition(network(value).map(|net| What::Destination(vec![net]))),
            "-p" => condition(protocol(value).map(|number| What::Protocol(vec![number]))),
            "--dport" | "--dports" => condition(ports(value).map(What::Port)),
            "--sport" | "--sports" => condition(ports(value).map(What::SourcePort)),
            "--ctstate" | "--state" => {
                condition(Some(What::State(value.split(',').map(str::to_lowercase).collect())));
            }
            "--dst-type" if value == "LOCAL" => condition(Some(What::LocalDestination)),
            // A module announces conditions, and those of these are read one by one. A comment is none.
            "-m" if ["tcp", "udp", "conntrack", "state", "comment", "addrtype", "multiport", "icmp"]
                .contains(&value) => {}
            "--comment" | "--reject-with" | "--to-destination" | "--to-ports" | "--log-prefix" | "--log-level" => {}
            "-j" => {
                rule.action = target(value);
                // What follows belongs to the target.
                break;
            }
            "-g" => {
                rule.action = Action::Goto(value.to_owned());
                break;
            }
            _ => {
                condition(None);
                taken = 1;
            }
        }
        not = words[at] == "!";
        at += taken;
    }
    rule
}

fn target(name: &str) -> Action {
    match name {
        "ACCEPT" => Action::Accept,
        "DROP" | "REJECT" => Action::Drop,
        "RETURN" => Action::Return,
        "DNAT" | "REDIRECT" | "TPROXY" => Action::Redirect,
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "CT" | "MASQUERADE" | "SNAT" | "CHECKSUM" | "TCPMSS" | "NOTRACK"
        | "SET" => Action::Pass,
        chain => Action::Jump(chain.to_owned()),
    }
}

/// Words; a text in double quotes is one.
fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            c => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// iptables writes `eth+` for all interfaces that begin with `eth`.
fn pattern(name: &str) -> String {
    name.strip_suffix('+').map_or(name.to_owned(), |begin| format!("{begin}*"))
}

/// `10.0.0.0/8`, or an address.
pub fn network(text: &str) -> Option<Ipv4Net> {
    text.parse().ok().or_else(|| Some(Ipv4Net::from(text.parse::<std::net::Ipv4Addr>().ok()?)))
}

/// A protocol's number (IANA) by the names that nft and iptables write.
pub fn protocol(name: &str) -> Option<u8> {
    let known =
        [("icmp", 1), ("igmp", 2), ("tcp", 6), ("udp", 17), ("gre", 47), ("esp", 50), ("ah", 51), ("sctp", 132)];
    let by_name = known.iter().chain(&[("ipv6-icmp", 58), ("icmpv6", 58), ("udplite", 136)]);
    by_name.into_iter().find(|(known, _)| *known == name).map(|(_, number)| *number).or_else(|| name.parse().ok())
}

fn ports(text: &str) -> Option<Vec<(u16, u16)>> {
    text.split(',')
        .map(|range| {
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            Some((first.parse().ok()?, last.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_and_ufw_write() {
        let saved = parse(
            "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n\
             -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
             -A FORWARD -i docker0 ! -o docker0 -j ACCEPT\n\
             -A FORWARD -m limit --limit 3/min -m comment --comment \"a b\" -j DROP\nCOMMIT\n\
             *nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80\n",
        );
        let chains = saved.into_legacy();
        let forward = &chains[0];
        assert_eq!(forward.base, Some(Base { hook: Hook::Forward, nat: false, priority: 0, drops: true }));
        assert_eq!(forward.rules[0].action, Action::Jump("DOCKER-USER".into()));
        let is = |what, not| Condition { what, not };
        assert_eq!(
            forward.rules[1].conditions,
            [
                is(What::Output(vec!["docker0".into()]), false),
                is(What::State(vec!["related".into(), "established".into()]), false)
            ]
        );
        assert_eq!(
            forward.rules[2].conditions,
            [is(What::Input(vec!["docker0".into()]), false), is(What::Output(vec!["docker0".into()]), true)]
        );
        assert!(forward.rules[3].conditions.iter().any(|condition| condition.what == What::Opaque));
        assert_eq!(chains[1].base, None);
        let nat = &chains[2];
        assert_eq!(nat.base.unwrap().priority, -100);
        assert_eq!((&nat.rules[0].action, nat.rules[0].conditions[0].not), (&Action::Redirect, true));
    }
}
