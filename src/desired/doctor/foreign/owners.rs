//! Whose chain it is, by the names that each tool uses, and what that tool wants to be told.

use super::chains::Chain;
use super::packets::Packet;
use super::walk::Ruling;

/// Who made a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Docker,
    Firewalld,
    Ufw,
    Libvirt,
    Tailscale,
    Kubernetes,
    Podman,
    Fail2ban,
    /// Somebody, by `iptables`.
    Iptables,
    /// Somebody, by `nft`.
    Nft,
}

use Owner::{Docker, Fail2ban, Firewalld, Iptables, Kubernetes, Libvirt, Nft, Podman, Tailscale, Ufw};

/// Who decided. The policy of a shared chain is asked of whoever's chains stand in its table; ufw sets one for itself, Docker when it switches
/// forwarding on.
pub(super) fn of(ruling: &Ruling<'_>, chains: &[Chain]) -> Owner {
    let (chain, base) = (ruling.chain, ruling.base);
    if let Some(owner) = by_table(&base.table).or_else(|| by_chain(&chain.name)) {
        return owner;
    }
    let jumps = ruling.rule.map(|rule| rule.text.as_str()).unwrap_or_default();
    if let Some(owner) = jumps.split_whitespace().find_map(by_chain) {
        return owner;
    }
    let beside = |wanted: Owner| {
        let same = |other: &&Chain| other.family == base.family && other.table == base.table;
        chains.iter().filter(same).any(|other| by_chain(&other.name) == Some(wanted))
    };
    let by_tool = base.family == "legacy" || (base.family == "ip" && base.name == base.name.to_uppercase());
    [Ufw, Docker, Libvirt, Kubernetes].into_iter().find(|owner| beside(*owner)).unwrap_or(if by_tool {
        Iptables
    } else {
        Nft
    })
}

fn by_table(name: &str) -> Option<Owner> {
    Some(match name {
        "firewalld" => Firewalld,
        "docker-bridges" => Docker,
        "libvirt_network" => Libvirt,
        "netavark" => Podman,
        "kube-proxy" => Kubernetes,
        name if name.starts_with("f2b-") => Fail2ban,
        _ => return None,
    })
}

fn by_chain(name: &str) -> Option<Owner> {
    let begins = [
        ("DOCKER", Docker),
        ("ufw-", Ufw),
        ("LIBVIRT_", Libvirt),
        ("ts-", Tailscale),
        ("KUBE-", Kubernetes),
        ("CNI-", Podman),
        ("NETAVARK", Podman),
        ("f2b-", Fail2ban),
    ];
    begins.into_iter().find(|(begin, _)| name.starts_with(begin)).map(|(_, owner)| owner)
}

/// What narrows a fix: answers alone, and from outside one port of one host.
fn iptables_words(packet: &Packet) -> String {
    if packet.reply {
        return " -m conntrack --ctstate RELATED,ESTABLISHED".to_owned();
    }
    match packet.service().split_once('/') {
        Some((protocol, port)) if packet.is_from_outside() => {
            format!(" -d {} -p {protocol} --dport {port}", packet.destination)
        }
        _ => String::new(),
    }
}

fn ufw_words(packet: &Packet) -> String {
    match packet.service().split_once('/') {
        Some((protocol, port)) if packet.is_from_outside() => {
            format!(" to {} port {port} proto {protocol}", packet.destination)
        }
        _ => String::new(),
    }
}

impl Owner {
    fn name(self) -> &'static str {
        match self {
            Docker => "Docker",
            Firewalld => "firewalld",
            Ufw => "ufw",
            Libvirt => "libvirt",
            Tailscale => "Tailscale",
            Kubernetes => "Kubernetes",
            Podman => "Podman",
            Fail2ban => "fail2ban",
            Iptables => "iptables rules of somebody's",
            Nft => "nftables rules of somebody's (/etc/nftables.conf?)",
        }
    }

    /// What lets this packet pass, one command or sentence each.
    pub fn fixes(self, packet: &Packet) -> Vec<String> {
        let (input, output) = (packet.input.as_deref(), packet.output.as_deref());
        match (self, input, output) {
            // ufw and firewalld let answers through by themselves.
            (Ufw | Firewalld, ..) if packet.reply => Vec::new(),
            // Docker's own place for the rules of others: it never rewrites this chain.
            (Docker, Some(input), Some(output)) => vec![
                format!("Docker: iptables -I DOCKER-USER -i {input} -o {output}{} -j ACCEPT", iptables_words(packet)),
                "Docker, for good: `\"iptables\": false` in /etc/docker/daemon.json where no port is published; else the lines above in a \
                 unit that runs after docker.service"
                    .to_owned(),
            ],
            (Ufw, Some(input), Some(output)) => vec![
                format!("ufw: ufw route allow in on {input} out on {output}{}", ufw_words(packet)),
                "ufw, for good: ufw disable (labgate filters what it would)".to_owned(),
            ],
            (Ufw, Some(input), None) => vec![
                format!("ufw: ufw allow in on {input}"),
                "ufw, for good: ufw disable (labgate filters what it would)".to_owned(),
            ],
            (Firewalld, Some(link), _) => vec![
                format!("firewalld: firewall-cmd --permanent --zone=trusted --add-interface={link} && firewall-cmd --reload"),
                "firewalld, for good: systemctl disable --now firewalld (labgate filters what it would)".to_owned(),
            ],
            (Iptables, Some(input), Some(output)) => {
                vec![format!("iptables: iptables -I FORWARD -i {input} -o {output}{} -j ACCEPT, or take that rule out", iptables_words(packet))]
            }
            (Iptables, Some(input), None) => vec![format!("iptables: iptables -I INPUT -i {input} -j ACCEPT, or take that rule out")],
            (Nft, ..) => vec![
                "nftables: accept these interfaces in that chain; or remove that table (nft delete table …), and in /etc/nftables.conf, \
                 if labgate is to be the only firewall"
                    .to_owned(),
            ],
            (owner, ..) => {
                vec![format!("{}: accept these interfaces in that chain, or stop it from filtering here", owner.name())]
            }
        }
    }

    /// What gives a port back that was redirected.
    pub fn unpublish(self, packet: &Packet) -> String {
        let service = packet.service();
        match self {
            Docker => format!(
                "Docker: publish another port than {service} (`docker ps` shows who has it), or another in the file"
            ),
            owner => {
                format!("{}: take the redirection of {service} out, or use another port in the file", owner.name())
            }
        }
    }
}
