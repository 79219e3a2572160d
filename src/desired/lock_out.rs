//! Whether an administrator could still get in: the question that a change must answer before it is applied.

use std::fmt;
use std::net::Ipv4Addr;

use crate::config::Config;
use crate::firewall::{self, HostAddresses, Party, Policy, Protocol, Query};

/// Where administrators knock.
const SSH: u16 = 22;
/// How many addresses of each admin network are looked at, besides those of its hosts.
const LOOKED_AT: u32 = 256;

/// Why nobody could get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockOut {
    /// A packet that an administrator would send: `192.168.1.254 (lan) -> router tcp/22`.
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

/// The proof that no admin network can open SSH to the router; `None` where some address of one can.
pub fn lock_out(config: &Config, policy: &Policy, hosts: &HostAddresses) -> Option<LockOut> {
    let mut proof = None;
    for (index, network) in config.networks.iter().enumerate().filter(|(_, network)| network.admin) {
        let named = (0..config.hosts.len()).filter_map(|host| hosts.get(host));
        let named = named.filter(|address| network.address.contains(address));
        let (first, last) = (u32::from(network.address.network()), u32::from(network.address.broadcast()));
        let step = ((last - first) / LOOKED_AT).max(1);
        let others = (first + 1..last).step_by(step as usize).map(Ipv4Addr::from);
        let others = named.chain(others).filter(|address| *address != network.router());
        let asked = std::iter::once(Party::Network(index)).chain(others.map(Party::Address));
        for from in asked {
            let explanation = firewall::explain(policy, hosts, &knock(from, &network.name));
            if explanation.allowed {
                return None;
            }
            proof.get_or_insert_with(|| LockOut {
                packet: format!("{} -> router tcp/{SSH}", explanation.source),
                reason: explanation.reason.unwrap_or_default(),
            });
        }
    }
    proof
}

fn knock(from: Party, network: &str) -> Query {
    Query {
        from_text: match from {
            Party::Address(address) => address.to_string(),
            _ => network.to_owned(),
        },
        to_text: "router".to_owned(),
        from,
        to: Party::Router,
        protocol: Protocol::Tcp,
        port: Some(SSH),
    }
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
        assert!(proof.packet.contains("192.168.1.254") && proof.packet.ends_with("-> router tcp/22"), "{proof}");
        assert!(proof.reason.starts_with("labgate.toml:11 says deny lan -> router"), "{proof}");
    }

    #[test]
    fn one_machine_that_gets_in_is_enough() {
        let half = "[firewall]\ndeny = [{ from = [\"192.168.1.128/25\", \"192.168.1.0/28\", \"192.168.1.16/30\", \"192.168.1.21\", \
                    \"192.168.1.22/31\", \"192.168.1.24/29\", \"192.168.1.32/27\", \"192.168.1.64/26\"], to = \"router\" }]\n";
        assert_eq!(of(half), None, "laptop gets in");
        assert!(of(&half.replace("\"192.168.1.21\"", "\"192.168.1.20/31\"")).is_some());
    }
}
