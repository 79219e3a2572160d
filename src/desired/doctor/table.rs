//! Our own table: there, and with the chains and rules that the file makes.

use super::{Facts, Finding};
use crate::config::Config;
use crate::desired;
use crate::firewall::Policy;

pub(super) fn own_table(config: &Config, facts: &Facts) -> Finding {
    const NAME: &str = "own table";
    let chains = match &facts.chains {
        Ok(chains) => chains,
        Err(words) => return Finding::unknown(NAME, format!("cannot look: {words}")),
    };
    let again = match facts.daemon.pid() {
        Some(_) => "nft delete table inet labgate: the running gateway puts it back whole at once",
        None => "systemctl start labgate",
    };
    let ours: Vec<_> = chains.iter().filter(|chain| chain.is_ours()).collect();
    if ours.is_empty() {
        let seen = "the table inet labgate is not there: nothing is filtered, nothing is translated";
        return Finding::bad(NAME, seen, "systemctl restart labgate");
    }
    let wanted = desired::ruleset(&Policy::compile(config)).chains;
    let mut bad = Vec::new();
    for chain in &wanted {
        let rules = ours.iter().find(|own| own.name == chain.name).map(|own| own.rules.len());
        if rules != Some(chain.rules.len()) {
            let has = rules.map_or("is not there".to_owned(), |rules| format!("has {rules} rules"));
            let seen = format!("chain {} {has}, the file makes {} rules", chain.name, chain.rules.len());
            bad.push((seen, again.to_owned()));
        }
    }
    for own in ours.iter().filter(|own| !wanted.iter().any(|chain| chain.name == own.name)) {
        bad.push((format!("chain {} is not of the file's making", own.name), again.to_owned()));
    }
    Finding::of(NAME, format!("{} chains, as the file makes them", ours.len()), bad)
}
