//! Every chain that sees IPv4: those of nftables by `nft -j`, those of iptables by `iptables-save`, which knows the conditions that nft
//! shows only as "xt".

use std::collections::HashMap;

use serde_json::Value;

use super::iptables;
use crate::desired::doctor::foreign::{Action, Base, Chain, Condition, Hook, Rule, What};
use crate::linux::nft;

/// Reads all chains, our own too.
///
/// # Errors
/// Where nft cannot list.
pub async fn read() -> anyhow::Result<Vec<Chain>> {
    let listing: Value = serde_json::from_str(&nft::list(&["-j", "-t", "list", "ruleset"]).await?)?;
    let texts = rule_texts(&nft::list(&["-a", "-t", "list", "ruleset"]).await?);
    let (mut chains, opaque) = parse(&listing, &texts);
    // Asked only where such tables are: the program would load its modules else.
    if !opaque.is_empty()
        && let Some(saved) = iptables::saved(iptables::Kind::Nft).await
    {
        for (table, name, rules) in iptables::parse(&saved).rules {
            let here = |chain: &&mut Chain| chain.family == "ip" && chain.table == table && chain.name == name;
            if let Some(chain) = chains.iter_mut().find(here) {
                chain.rules = rules;
            }
        }
    }
    if std::fs::read_to_string("/proc/net/ip_tables_names").is_ok_and(|names| !names.trim().is_empty())
        && let Some(saved) = iptables::saved(iptables::Kind::Legacy).await
    {
        chains.extend(iptables::parse(&saved).into_legacy());
    }
    Ok(chains)
}

/// Rules as nft writes them, by family, table and handle.
fn rule_texts(listing: &str) -> HashMap<(String, String, u64), String> {
    let mut found = HashMap::new();
    let mut table = (String::new(), String::new());
    for line in listing.lines().map(str::trim) {
        let Some((text, handle)) = line.rsplit_once("# handle ") else { continue };
        let words: Vec<&str> = text.split_whitespace().collect();
        match (&words[..], handle.trim().parse()) {
            (["table", family, name, ..], _) => table = ((*family).to_owned(), (*name).to_owned()),
            (_, Ok(handle)) => {
                found.insert((table.0.clone(), table.1.clone(), handle), without_counters(&words));
            }
            _ => {}
        }
    }
    found
}

/// Counters change with every packet: a rule is to read the same twice.
fn without_counters(words: &[&str]) -> String {
    let mut kept: Vec<&str> = Vec::with_capacity(words.len());
    let mut at = 0;
    while at < words.len() {
        if words[at] == "counter" && words.get(at + 1) == Some(&"packets") {
            at += 5;
        } else {
            kept.push(words[at]);
            at += 1;
        }
    }
    kept.join(" ")
}

/// The chains, and the tables of family `ip` with rules that only iptables can show.
fn parse(listing: &Value, texts: &HashMap<(String, String, u64), String>) -> (Vec<Chain>, Vec<String>) {
    let mut chains: Vec<Chain> = Vec::new();
    let mut opaque = Vec::new();
    let objects = listing["nftables"].as_array().map_or(&[][..], |list| list);
    let text = |object: &Value, key: &str| object[key].as_str().unwrap_or_default().to_owned();
    for object in objects {
        let (chain, rule) = (&object["chain"], &object["rule"]);
        let (family, table) = match (chain.is_object(), rule.is_object()) {
            (true, _) => (text(chain, "family"), text(chain, "table")),
            (_, true) => (text(rule, "family"), text(rule, "table")),
            _ => continue,
        };
        if family != "ip" && family != "inet" {
            continue;
        }
        if chain.is_object() {
            let base = chain["hook"].as_str().and_then(Hook::named).map(|hook| Base {
                hook,
                nat: chain["type"] == "nat",
                priority: chain["prio"].as_i64().and_then(|number| number.try_into().ok()).unwrap_or(0),
                drops: chain["policy"] == "drop",
            });
            chains.push(Chain { family, table, name: text(chain, "name"), base, rules: Vec::new() });
            continue;
        }
        let expressions = rule["expr"].as_array().map_or(&[][..], |list| list);
        if family == "ip"
            && !opaque.contains(&table)
            && expressions.iter().any(|expression| expression["xt"].is_object())
        {
            opaque.push(table.clone());
        }
        let name = text(rule, "chain");
        let shown = texts.get(&(family.clone(), table.clone(), rule["handle"].as_u64().unwrap_or(0)));
        let shown = shown.cloned().unwrap_or_default();
        let here = |chain: &&mut Chain| chain.family == family && chain.table == table && chain.name == name;
        if let Some(chain) = chains.iter_mut().find(here) {
            let read = rules(expressions, &shown);
            // Ours are counted and not walked: one rule is one.
            let kept = if chain.is_ours() { 1 } else { read.len() };
            chain.rules.extend(read.into_iter().take(kept));
        }
    }
    (chains, opaque)
}

/// One rule; more than one where a verdict map decides.
fn rules(expressions: &[Value], text: &str) -> Vec<Rule> {
    let mut conditions: Vec<Condition> = Vec::new();
    let mut action = Action::Pass;
    for expression in expressions {
        if let Some(map) = expression["vmap"].as_object() {
            let pairs = map["data"]["set"].as_array().map_or(&[][..], |list| list);
            let mapped = pairs.iter().filter_map(|pair| {
                let condition = matching(&map["key"], pair.get(0)?, false);
                Some(Rule {
                    conditions: [&conditions[..], &condition].concat(),
                    action: verdict(pair.get(1)?)?,
                    text: text.to_owned(),
                })
            });
            let mapped: Vec<Rule> = mapped.collect();
            // A named map: whether it has an element for the packet, and which, is not read here.
            return if mapped.is_empty() { doubtful(conditions, text) } else { mapped };
        }
        if expression["match"].is_object() {
            let compared = &expression["match"];
            conditions.extend(matching(&compared["left"], &compared["right"], compared["op"] == "!="));
        } else if let Some(found) = verdict(expression) {
            action = found;
        } else if !harmless(expression) {
            conditions.push(opaque());
        }
    }
    vec![Rule { conditions, action, text: text.to_owned() }]
}

/// Both ways open.
fn doubtful(mut conditions: Vec<Condition>, text: &str) -> Vec<Rule> {
    conditions.push(opaque());
    let rule = |action| Rule { conditions: conditions.clone(), action, text: text.to_owned() };
    vec![rule(Action::Accept), rule(Action::Drop)]
}

fn opaque() -> Condition {
    Condition { what: What::Opaque, not: false }
}

/// Statements that neither decide nor compare.
fn harmless(expression: &Value) -> bool {
    const WORDS: [&str; 10] =
        ["counter", "log", "mangle", "masquerade", "snat", "notrack", "flow", "ct helper", "dup", "comment"];
    WORDS.iter().any(|word| !expression[*word].is_null() || expression.get(*word).is_some())
}

fn verdict(expression: &Value) -> Option<Action> {
    let (name, value) = expression.as_object()?.iter().next()?;
    let target = || value["target"].as_str().unwrap_or_default().to_owned();
    Some(match name.as_str() {
        "accept" => Action::Accept,
        "drop" | "reject" => Action::Drop,
        "return" => Action::Return,
        "jump" => Action::Jump(target()),
        "goto" => Action::Goto(target()),
        "dnat" | "redirect" | "tproxy" => Action::Redirect,
        // Of iptables' targets the JSON tells the name alone.
        "xt" if value["type"] == "target" => match value["name"].as_str()? {
            "REJECT" => Action::Drop,
            "DNAT" | "REDIRECT" | "TPROXY" => Action::Redirect,
            _ => Action::Pass,
        },
        _ => return None,
    })
}

fn matching(left: &Value, right: &Value, not: bool) -> Vec<Condition> {
    let one = |what| vec![Condition { what, not }];
    let meta = left["meta"]["key"].as_str();
    let payload = (left["payload"]["protocol"].as_str(), left["payload"]["field"].as_str());
    let found = match (meta, payload) {
        (Some("iifname" | "iif"), _) => names(right).map(What::Input),
        (Some("oifname" | "oif"), _) => names(right).map(What::Output),
        (Some("l4proto"), _) => protocols(right).map(What::Protocol),
        (Some("nfproto"), _) if right == "ipv6" => Some(What::Ipv6),
        (Some("nfproto"), _) if right == "ipv4" => return one_of_ipv4(not),
        (_, (Some("ip"), Some("saddr"))) => networks(right).map(What::Source),
        (_, (Some("ip"), Some("daddr"))) => networks(right).map(What::Destination),
        (_, (Some("ip"), Some("protocol"))) => protocols(right).map(What::Protocol),
        (_, (Some("ip6" | "icmpv6"), _)) => return vec![Condition { what: What::Ipv6, not: false }],
        (_, (Some(transport @ ("tcp" | "udp" | "th")), Some(side @ ("dport" | "sport")))) => {
            return with_port(transport, side, right, not);
        }
        _ if left["ct"]["key"] == "state" => names(right).map(What::State),
        _ if left["fib"]["result"] == "type" && right == "local" => Some(What::LocalDestination),
        _ => None,
    };
    found.map_or_else(|| vec![opaque()], one)
}

/// Every witness is IPv4: `!= ipv4` never holds.
fn one_of_ipv4(not: bool) -> Vec<Condition> {
    if not { vec![Condition { what: What::Ipv6, not: false }] } else { Vec::new() }
}

/// A comparison of ports implies the protocol.
fn with_port(transport: &str, side: &str, right: &Value, not: bool) -> Vec<Condition> {
    let ports = ranges(right).map_or(What::Opaque, if side == "dport" { What::Port } else { What::SourcePort });
    let not = not && ports != What::Opaque;
    let mut conditions = vec![Condition { what: ports, not }];
    if let Some(number) = iptables::protocol(transport) {
        conditions.push(Condition { what: What::Protocol(vec![number]), not: false });
    }
    conditions
}

/// What stands on the right: one thing, a set, or a list. A named set (`@blocked`) is not read here.
fn members(right: &Value) -> Vec<&Value> {
    match right {
        Value::Object(object) if object.contains_key("set") => object["set"].as_array().into_iter().flatten().collect(),
        Value::Array(list) => list.iter().collect(),
        other => vec![other],
    }
}

fn each<T>(right: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    members(right).into_iter().map(read).collect()
}

fn names(right: &Value) -> Option<Vec<String>> {
    each(right, |value| value.as_str().filter(|name| !name.starts_with('@')).map(str::to_owned))
}

fn protocols(right: &Value) -> Option<Vec<u8>> {
    each(right, |value| match value {
        Value::Number(number) => number.as_u64()?.try_into().ok(),
        other => iptables::protocol(other.as_str()?),
    })
}

fn networks(right: &Value) -> Option<Vec<ipnet::Ipv4Net>> {
    each(right, |value| {
        let prefix = &value["prefix"];
        match prefix["addr"].as_str() {
            Some(address) => format!("{address}/{}", prefix["len"]).parse().ok(),
            None => iptables::network(value.as_str()?),
        }
    })
}

fn ranges(right: &Value) -> Option<Vec<(u16, u16)>> {
    let port = |value: &Value| value.as_u64()?.try_into().ok();
    each(right, |value| match &value["range"] {
        Value::Array(ends) => Some((port(ends.first()?)?, port(ends.get(1)?)?)),
        _ => port(value).map(|port| (port, port)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_chains_rules_and_maps() {
        let match_ = |left: Value, right: Value| json!({"match": {"op": "==", "left": left, "right": right}});
        let input = json!({"meta": {"key": "iifname"}});
        let listing = json!({"nftables": [
            {"metainfo": {}},
            {"chain": {"family": "inet", "table": "t", "name": "c", "handle": 1, "type": "filter", "hook": "forward", "prio": 10, "policy": "drop"}},
            {"chain": {"family": "ip6", "table": "t", "name": "c", "handle": 1, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
            {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 2, "expr": [
                match_(input.clone(), json!({"set": ["a", "b"]})), {"counter": {"packets": 1, "bytes": 9}}, {"accept": null}]}},
            {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 3, "expr": [
                {"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["invalid", {"drop": null}], ["established", {"accept": null}]]}}}]}},
            {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 4, "expr": [
                match_(json!({"payload": {"protocol": "tcp", "field": "dport"}}), json!({"set": [22, {"range": [80, 90]}]})),
                {"limit": {"rate": 1}}, {"drop": null}]}},
            {"brand-new": {}},
        ]});
        let text = "table inet t { # handle 3\n\tchain c { # handle 1\n\t\tiifname { \"a\", \"b\" } counter packets 1 bytes 9 accept # handle 2\n";
        let (chains, opaque) = parse(&listing, &rule_texts(text));
        assert!(opaque.is_empty());
        assert_eq!(chains.len(), 1, "IPv6 alone is not read");
        let chain = &chains[0];
        assert_eq!(chain.base, Some(Base { hook: Hook::Forward, nat: false, priority: 10, drops: true }));
        assert_eq!(chain.rules.len(), 4);
        assert_eq!(chain.rules[0].text, "iifname { \"a\", \"b\" } accept");
        assert_eq!(
            chain.rules[0].conditions,
            [Condition { what: What::Input(vec!["a".into(), "b".into()]), not: false }]
        );
        assert_eq!(chain.rules[1].action, Action::Drop);
        let last = &chain.rules[3];
        assert_eq!(last.conditions[0].what, What::Port(vec![(22, 22), (80, 90)]));
        assert_eq!(last.conditions[1].what, What::Protocol(vec![6]));
        assert_eq!(last.conditions[2].what, What::Opaque, "a limit is a condition");
    }
}
