//! The file, the daemon, the clock, and settings of the whole machine.

use super::{Daemon, Facts, Finding};
use crate::config::{Config, NetworkInterface};
use crate::desired::network::IP_FORWARD;

/// Two weeks before this version was made (2026-11-12): a clock that shows less is wrong. Raised at a release.
const MADE_UNIX: u64 = 1_794_441_600;
const BRIDGE_FILTER: &str = "net/bridge/bridge-nf-call-iptables";
const TRACKED: &str = "net/netfilter/nf_conntrack_count";
const TRACKED_MAX: &str = "net/netfilter/nf_conntrack_max";
/// From this share of the table on new connections are in danger, in per cent.
const NEARLY_FULL: u64 = 90;

/// The kernel settings that are judged, as paths below `/proc/sys`.
pub fn settings(config: Option<&Config>) -> Vec<String> {
    let mut names: Vec<String> = [IP_FORWARD, BRIDGE_FILTER, TRACKED, TRACKED_MAX].map(str::to_owned).to_vec();
    let networks = config.iter().flat_map(|config| config.networks.iter().map(|network| network.link()));
    let links = networks.chain(config.and_then(|config| config.wan.as_ref()).map(|wan| &wan.interface));
    for link in links.map(|link| &**link).chain(["all"]) {
        names.extend(["forwarding", "rp_filter"].map(|setting| of_link(link, setting)));
    }
    names
}

/// The path of a setting of one interface.
pub(super) fn of_link(link: &str, setting: &str) -> String {
    format!("net/ipv4/conf/{link}/{setting}")
}

pub(super) fn configuration(facts: &Facts) -> Finding {
    const NAME: &str = "configuration";
    let rejected = match &facts.daemon {
        Daemon::Running { rejected: Some(words), .. } => Some(words),
        _ => None,
    };
    match (&facts.configuration, rejected) {
        (Err(words), _) => Finding::bad(NAME, words.trim(), "correct the file; `labgate check` shows it the same way"),
        (Ok(_), Some(words)) => Finding::bad(
            NAME,
            format!("the file is good by itself, but the running gateway refused it: {}", words.trim()),
            "`labgate reload` tries it again and says why not",
        ),
        (Ok(words), None) => Finding::good(NAME, words),
    }
}

pub(super) fn daemon(facts: &Facts) -> Finding {
    const NAME: &str = "daemon";
    match &facts.daemon {
        Daemon::Running { pid, .. } => Finding::good(NAME, format!("running, pid {pid}")),
        Daemon::Hidden(words) => Finding::unknown(NAME, format!("cannot look: {words}")),
        Daemon::Silent(words) => Finding::bad(
            NAME,
            format!("a gateway holds the lock and does not answer: {words}"),
            "systemctl restart labgate",
        ),
        Daemon::Absent => Finding::bad(
            NAME,
            "no gateway is running: nobody gives out addresses and answers names; a ruleset that stands, stays",
            "systemctl start labgate, and look at `journalctl -u labgate` where it does not stay up",
        ),
    }
}

pub(super) fn clock(facts: &Facts) -> Finding {
    const NAME: &str = "clock";
    const FIX: &str = "let a time service run: systemd-timesyncd, chrony or ntpd";
    if facts.now_unix < MADE_UNIX {
        let days = (MADE_UNIX - facts.now_unix) / 86_400;
        let seen = format!("the clock shows a time {days} days before this labgate was made");
        return Finding::bad(NAME, seen, FIX);
    }
    match &facts.clock_synchronised {
        Ok(true) => Finding::good(NAME, "set by a time service"),
        Ok(false) => Finding::unknown(NAME, "plausible, but no time service has set it").with_fix(FIX),
        Err(words) => Finding::unknown(NAME, format!("plausible; cannot look who set it: {words}")),
    }
}

/// Frames inside a bridge pass the chains too where the module is loaded: fatal where another table refuses them.
pub(super) fn bridge_filter(config: &Config, facts: &Facts) -> Option<Finding> {
    const NAME: &str = "bridge filter";
    let mut bridges =
        config.networks.iter().filter(|network| matches!(network.interface, NetworkInterface::Bridge { .. }));
    let network = bridges.next()?;
    Some(match facts.settings.get(BRIDGE_FILTER).map(String::as_str) {
        Some("1") => {
            let inside: Vec<String> = super::foreign::refused_inside(network, facts);
            let seen = "bridge-nf-call-iptables is 1: what stays inside a bridge passes the packet filter as well";
            match inside.first() {
                None => Finding::good(NAME, format!("{seen}, and no other table refuses it")),
                Some(refusal) => {
                    Finding::bad(NAME, format!("{seen}; {refusal}"), "sysctl -w net.bridge.bridge-nf-call-iptables=0")
                }
            }
        }
        _ => Finding::good(NAME, "what stays inside a bridge does not pass the packet filter"),
    })
}

pub(super) fn connection_tracking(facts: &Facts) -> Option<Finding> {
    const NAME: &str = "connection tracking";
    let number = |name: &str| facts.settings.get(name)?.parse::<u64>().ok();
    let (count, max) = (number(TRACKED)?, number(TRACKED_MAX)?);
    let seen = format!("{count} of {max} connections");
    if max > 0 && count.saturating_mul(100) >= max.saturating_mul(NEARLY_FULL) {
        let seen = format!("{seen}: when the table is full, new connections are dropped");
        let fix = format!("sysctl -w net.netfilter.nf_conntrack_max={}; `conntrack -L` shows who has so many", max * 4);
        return Some(Finding::bad(NAME, seen, fix));
    }
    Some(Finding::good(NAME, seen))
}

pub(super) fn health(facts: &Facts) -> Vec<Finding> {
    let Daemon::Running { health, .. } = &facts.daemon else { return Vec::new() };
    let row = |(name, good, words): &(String, bool, String)| {
        let name = format!("status {name}");
        if *good {
            Finding::good(name, words)
        } else {
            Finding::bad(name, words, "what the sentence says; `labgate status`")
        }
    };
    health.iter().map(row).collect()
}
