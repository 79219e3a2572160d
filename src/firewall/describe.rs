//! Rules and forwards in words, as a person would say them.

use crate::config::{Config, Endpoint, PortForward, PortRange, Rule, Service, Transport};

use super::HostAddresses;
use super::policy::{self, Origin, Policy};
use super::tally::service_words;

/// `web -> db tcp/5432`, as it stands in the file.
pub fn describe_rule(config: &Config, rule: &Rule) -> String {
    let mut words = format!("{} -> {}", endpoints(config, &rule.from), endpoints(config, &rule.to));
    if !rule.services.is_empty() {
        words = format!("{words} {}", describe_services(&rule.services));
    }
    if !rule.except.is_empty() {
        words = format!("{words} except {}", describe_services(&rule.except));
    }
    rule.name.as_ref().map_or(words.clone(), |name| format!("{words} ({name})"))
}

/// `allow lan -> router udp/53 (dns)`: a rule that holds with nothing written.
pub fn describe_implied(policy: &Policy, rule: &policy::Rule) -> String {
    let ends =
        |ends: &[policy::End]| ends.iter().map(|end| policy.end_name(*end).to_string()).collect::<Vec<_>>().join(", ");
    let services: Vec<String> = rule.services.pieces().iter().map(|piece| service_words(*piece)).collect();
    let words = format!("allow {} -> {} {}", ends(&rule.from), ends(&rule.to), services.join(", "));
    let words = words.trim_end();
    match rule.origin {
        Origin::File | Origin::Internet => words.to_owned(),
        Origin::Dns => format!("{words} (dns)"),
        Origin::Admin => format!("{words} (admin)"),
    }
}

/// `tcp/443 -> nas 192.168.1.10:443`, with the address the target has now.
pub fn describe_forward(config: &Config, addresses: &HostAddresses, forward: &PortForward) -> String {
    let transports: Vec<_> = forward.transports.iter().map(|transport| transport_name(*transport)).collect();
    let port = forward.target_port.map_or_else(|| range(forward.ports), |port| port.to_string());
    let target =
        addresses.get(forward.host).map_or_else(|| "no address yet".to_owned(), |address| format!("{address}:{port}"));
    let words =
        format!("{}/{} -> {} {target}", transports.join("+"), range(forward.ports), config.hosts[forward.host].name);
    forward.name.as_ref().map_or(words.clone(), |name| format!("{words} ({name})"))
}

/// `lan, nas`.
pub(super) fn endpoints(config: &Config, ends: &[Endpoint]) -> String {
    ends.iter().map(|end| endpoint(config, end)).collect::<Vec<_>>().join(", ")
}

/// `tcp/443, icmp`.
pub(super) fn describe_services(services: &[Service]) -> String {
    services.iter().map(service).collect::<Vec<_>>().join(", ")
}

fn endpoint(config: &Config, end: &Endpoint) -> String {
    match end {
        Endpoint::Network(index) => config.networks[*index].name.to_string(),
        Endpoint::Host(index) => config.hosts[*index].name.to_string(),
        Endpoint::Group(index) => config.groups[*index].name.to_string(),
        Endpoint::Name(index) => config.outside_names[*index].name.to_string(),
        Endpoint::Internet => "internet".to_owned(),
        Endpoint::Router => "router".to_owned(),
        Endpoint::Cidr(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
        Endpoint::Cidr(net) => net.to_string(),
    }
}

fn service(service: &Service) -> String {
    match service {
        Service::Tcp(ports) => with_ports("tcp", *ports),
        Service::Udp(ports) => with_ports("udp", *ports),
        Service::Icmp => "icmp".to_owned(),
    }
}

fn with_ports(protocol: &str, ports: PortRange) -> String {
    if ports.last == u16::MAX && ports.first <= 1 {
        protocol.to_owned()
    } else {
        format!("{protocol}/{}", range(ports))
    }
}

pub(super) fn range(ports: PortRange) -> String {
    if ports.first == ports.last { ports.first.to_string() } else { format!("{}-{}", ports.first, ports.last) }
}

pub(super) fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}
