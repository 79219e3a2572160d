//! Whether an administrator could still get in: the question that a change must answer before it is applied.

use std::fmt;

use crate::config::{Config, Transport};
use crate::firewall::reach::{Diagrams, Reach, Space};
use crate::firewall::{End, HostAddresses, Policy, Services};

/// Where administrators knock.
const SSH: u16 = 22;

/// Why nobody could get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockOut {
    /// A packet that an administrator would send: `laptop (192.168.1.20) -> router tcp/22`.
    pub packet: String,
    /// Why it is refused, with the line of the file.
    pub reason: String,
}

impl fmt::Display for LockOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "error[lock-out]: after this change no administrator could reach the router\n  {} is refused: {}\n  \
             = help: let one network with `admin = true` reach tcp/22 of the router; `labgate apply --force --confirm 60s` \
             applies it for a minute all the same",
            self.packet, self.reason
        )
    }
}

/// The proof that no address of any admin network can open SSH to the router; `None` where one can.
pub fn lock_out(config: &Config, policy: &Policy, hosts: &HostAddresses) -> Option<LockOut> {
    all_shut(&ways_in(config, policy, hosts)).cloned()
}

/// The first of the proofs, where there is one for every way.
pub(super) fn all_shut(ways: &[(usize, Option<LockOut>)]) -> Option<&LockOut> {
    let open = ways.iter().any(|(_, shut)| shut.is_none());
    ways.iter().find_map(|(_, shut)| shut.as_ref()).filter(|_| !open)
}

/// Each admin network, by index, with the proof that none of its addresses can open SSH to the router, where that is so.
pub(super) fn ways_in(config: &Config, policy: &Policy, hosts: &HostAddresses) -> Vec<(usize, Option<LockOut>)> {
    // What goes elsewhere has no say here, and is most of a large file.
    let mut policy = policy.clone();
    policy.rules.retain(|rule| rule.to.contains(&End::Router));
    policy.forwards.clear();
    let mut all = Diagrams::default();
    let reach = Reach::new(&mut all, Space::new(&policy, Some(hosts), &[], &mut Vec::new(), &[]));
    let ssh = Services::port(Transport::Tcp, SSH);
    let mut shut = |index: usize| {
        let knocks = reach.question(&mut all, &[End::Network(index)], &[End::Router], &ssh, false);
        if !all.is_disjoint(knocks, reach.allowed) {
            return None;
        }
        let point = reach.witness(&all, knocks)?;
        let denial = reach.why_denied(&all, &point).map(|rule| &policy.rules[rule].place);
        let reason = denial.map_or_else(|| "no rule allows it".to_owned(), |place| format!("{place} denies it"));
        Some(LockOut { packet: reach.space.words(&point).to_string(), reason })
    };
    let admin = (0..config.networks.len()).filter(|index| config.networks[*index].admin);
    admin.map(|index| (index, shut(index))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, check};
    use crate::desired::host_addresses;
    use crate::dns::outside::Resolved;
    use crate::model::Bindings;

    const HOME: &str = "[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\nadmin = true\n\
                        [network.iot]\ninterface = \"eth2\"\naddress = \"192.168.20.1/24\"\n\
                        [host]\nlaptop = { mac = \"52:54:00:00:01:20\", ip = \"192.168.1.20\" }\n";

    fn of(more: &str) -> Option<LockOut> {
        let text = format!("{HOME}{more}");
        let checked = check(&[Source { name: "labgate.toml".into(), text: text.into() }]);
        let config = checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)));
        let hosts = host_addresses(&config, &Bindings::default(), &Resolved::default());
        lock_out(&config, &Policy::compile(&config), &hosts)
    }

    #[test]
    fn a_rule_that_shuts_everybody_out_is_found_with_its_packet() {
        assert_eq!(of(""), None);
        let proof = of("[firewall]\ndeny = [{ from = \"lan\", to = \"router\", port = \"tcp/22\" }]\n").unwrap();
        assert_eq!(proof.packet, "laptop (192.168.1.20) -> router tcp/22");
        assert_eq!(proof.reason, "labgate.toml:11 denies it");
    }

    #[test]
    fn one_machine_that_gets_in_is_enough() {
        let half = "[firewall]\ndeny = [{ from = [\"192.168.1.128/25\", \"192.168.1.0/28\", \"192.168.1.16/30\", \"192.168.1.21\", \
                    \"192.168.1.22/31\", \"192.168.1.24/29\", \"192.168.1.32/27\", \"192.168.1.64/26\"], to = \"router\" }]\n";
        assert_eq!(of(half), None, "laptop gets in");
        assert!(of(&half.replace("\"192.168.1.21\"", "\"192.168.1.20/31\"")).is_some());
    }
}
