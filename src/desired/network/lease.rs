//! What of the uplink's lease may be used. A provider's server is a stranger: it may hand out what would cut off our own networks.

use ipnet::Ipv4Net;

use super::UplinkAddress;
use crate::config::Config;
use crate::dhcp::client::Lease;

/// The lease as the network plan uses it. Routes into our own networks are left out, whoever asks for them.
///
/// # Errors
/// Why the lease cannot be used: its network is one of ours, so that one of the two could not be reached.
pub fn accept(lease: &Lease, config: &Config) -> Result<UplinkAddress, String> {
    let outside = lease.address.trunc();
    if let Some(network) = config.networks.iter().find(|network| overlap(&network.address.trunc(), &outside)) {
        return Err(format!(
            "the uplink was given {}, which overlaps network {} ({}); give `network.{}.address` another range",
            lease.address,
            network.name,
            network.address.trunc(),
            network.name
        ));
    }
    let ours = |destination: &Ipv4Net| {
        destination.prefix_len() > 0
            && config.networks.iter().any(|network| overlap(&network.address.trunc(), destination))
    };
    let routes = lease.routes.iter().filter(|(destination, _)| !ours(destination)).copied().collect();
    Ok(UplinkAddress::Lease { address: lease.address, routes, mtu: lease.mtu })
}

fn overlap(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(b) || b.contains(a)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, check};

    fn lease(address: &str, routes: &[(&str, &str)]) -> Lease {
        Lease {
            address: address.parse().unwrap(),
            server: [203, 0, 113, 1].into(),
            seconds: 3600,
            renewal: None,
            rebinding: None,
            routes: routes.iter().map(|(to, by)| (to.parse().unwrap(), by.parse().unwrap())).collect(),
            resolvers: Vec::new(),
            mtu: None,
        }
    }

    #[test]
    fn what_would_cut_off_our_networks_is_refused() {
        let text = b"[wan]\ninterface = \"eth0\"\naddress = \"dhcp\"\n[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\n";
        let config = check(&[Source { name: "labgate.toml".to_owned(), text: text.to_vec() }]).config.unwrap();
        let routes = [
            ("0.0.0.0/0", "203.0.113.1"),
            ("192.168.1.10/32", "203.0.113.66"),
            ("192.168.0.0/16", "203.0.113.66"),
            ("10.0.0.0/8", "203.0.113.1"),
        ];
        let Ok(UplinkAddress::Lease { routes, .. }) = accept(&lease("203.0.113.5/24", &routes), &config) else {
            panic!()
        };
        let kept: Vec<String> = routes.iter().map(|(to, _)| to.to_string()).collect();
        assert_eq!(kept, ["0.0.0.0/0", "10.0.0.0/8"]);
        for address in ["192.168.1.77/24", "192.168.1.1/32", "192.168.5.5/16"] {
            let words = accept(&lease(address, &[]), &config).unwrap_err();
            assert!(words.contains("overlaps network lan (192.168.1.0/24)"), "{words}");
        }
    }
}
