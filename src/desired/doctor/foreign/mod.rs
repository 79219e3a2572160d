//! The chains of others. A packet has to pass every base chain at its hook, whoever made it, so one foreign chain may refuse what ours
//! accepts. Each thing that the file permits gets a witness packet (`packets`), and the witness is sent through the chains as values
//! (`walk`): what is told is then a packet, a table, a chain and a rule, and goes away as soon as the rules do let it pass.

mod chains;
mod owners;
mod packets;
mod walk;

use super::{Facts, Finding};
use crate::config::{Config, Network};
use packets::Packet;
use walk::{Passage, Ruling};

pub use chains::{Action, Base, Chain, Condition, Hook, Rule, What};

/// Chains that refuse what the file permits.
pub(super) fn vetoes(config: &Config, facts: &Facts) -> Finding {
    const NAME: &str = "other firewalls";
    let chains = match &facts.chains {
        Ok(chains) => chains,
        Err(words) => return Finding::unknown(NAME, format!("cannot look: {words}")),
    };
    let passages: Vec<(Packet, Passage)> = packets::all(config)
        .into_iter()
        .map(|packet| {
            let passage = walk::through(chains, &packet);
            (packet, passage)
        })
        .collect();
    let (mut bad, mut fixes) = (Vec::new(), Vec::new());
    for (packet, passage) in &passages {
        if let Some(ruling) = passage.refusal.as_ref().filter(|_| passage.certain) {
            tell(&mut bad, packet, ruling);
            let owner = owners::of(ruling, chains);
            for fix in owner.fixes(packet) {
                if !fixes.contains(&fix) {
                    fixes.push(fix);
                }
            }
        }
    }
    if !bad.is_empty() {
        let evidence =
            bad.into_iter().map(|(ruling, packets)| format!("{ruling} refuses {}", some(&packets))).collect();
        return Finding { name: NAME.to_owned(), verdict: super::Verdict::Bad, evidence, fix: fixes };
    }
    let mut doubtful: Vec<(String, Vec<String>)> = Vec::new();
    for (packet, passage) in &passages {
        if let Some(ruling) = &passage.refusal {
            tell(&mut doubtful, packet, ruling);
        }
    }
    match doubtful.first() {
        Some((ruling, packets)) => Finding::unknown(
            NAME,
            format!("{ruling} may refuse {}; its rules have conditions that only the kernel can judge", some(packets)),
        ),
        None => Finding::good(NAME, presence(chains)),
    }
}

fn tell(told: &mut Vec<(String, Vec<String>)>, packet: &Packet, ruling: &Ruling) {
    let (words, packet) = (ruling.to_string(), packet.to_string());
    match told.iter_mut().find(|(known, _)| *known == words) {
        Some((_, packets)) => packets.push(packet),
        None => told.push((words, vec![packet])),
    }
}

/// The first few, for a reader.
fn some(packets: &[String]) -> String {
    const FEW: usize = 4;
    let shown = packets.iter().take(FEW).cloned().collect::<Vec<_>>().join("; ");
    match packets.len().checked_sub(FEW) {
        None | Some(0) => shown,
        Some(more) => format!("{shown}; and {more} more"),
    }
}

/// Who else filters here, for a reader who wonders.
fn presence(chains: &[Chain]) -> String {
    let others = chains.iter().filter(|chain| !chain.is_ours() && chain.base.is_some());
    let mut names: Vec<String> = others.map(|chain| format!("{} {}", chain.family, chain.table)).collect();
    names.sort();
    names.dedup();
    match names.is_empty() {
        true => "no other table filters or translates".to_owned(),
        false => format!("beside ours stand {}: none refuses what the file permits", names.join(", ")),
    }
}

/// Chains that change the destination of what we serve or forward before ours see it.
pub(super) fn translations(config: &Config, facts: &Facts) -> Finding {
    const NAME: &str = "other translations";
    let chains = match &facts.chains {
        Ok(chains) => chains,
        Err(words) => return Finding::unknown(NAME, format!("cannot look: {words}")),
    };
    let mut bad = Vec::new();
    for packet in packets::all(config).iter().filter(|packet| packet.local) {
        if let Some(ruling) = walk::through(chains, packet).translation {
            bad.push((
                format!("{ruling} redirects {packet} before our rules see it"),
                owners::of(&ruling, chains).unpublish(packet),
            ));
        }
    }
    Finding::of(NAME, "nobody redirects what the file serves or forwards", bad)
}

/// What refuses packets that stay inside a bridge, in words.
pub(super) fn refused_inside(network: &Network, facts: &Facts) -> Vec<String> {
    let Ok(chains) = &facts.chains else { return Vec::new() };
    let packet = packets::inside(network);
    let passage = walk::through(chains, &packet);
    passage.refusal.filter(|_| passage.certain).map(|ruling| format!("{ruling} refuses {packet}")).into_iter().collect()
}
