//! Rules, services and forwards in the words of the file.

use std::fmt::{self, Write as _};

use super::hosts::HostAddresses;
use crate::config::{Config, Endpoint, PortForward, PortRange, Rule, Service, Transport};

/// A rule as the file writes it, in short: `web -> db tcp/5432`.
pub fn describe_rule(config: &Config, rule: &Rule) -> String {
    let mut text = format!("{} -> {}", ends(config, &rule.from), ends(config, &rule.to));
    if !rule.services.is_empty() {
        let _ = write!(text, " {}", services(&rule.services));
    }
    if !rule.except.is_empty() {
        let _ = write!(text, " except {}", services(&rule.except));
    }
    named(text, rule.name.as_deref())
}

/// A forward in short: `tcp/443 -> nas (192.168.1.10)`.
pub fn describe_forward(config: &Config, hosts: &HostAddresses, forward: &PortForward) -> String {
    let transports: Vec<&str> = forward.transports.iter().map(|transport| transport_name(*transport)).collect();
    let mut text = format!("{}/{} -> {}", transports.join("+"), Ports(forward.ports), config.hosts[forward.host].name);
    if let Some(port) = forward.target_port {
        let _ = write!(text, ":{port}");
    }
    match hosts.get(forward.host) {
        Some(address) => drop(write!(text, " ({address})")),
        None => text.push_str(" (no address now)"),
    }
    if !forward.from.is_empty() {
        let sources: Vec<String> = forward.from.iter().map(ToString::to_string).collect();
        let _ = write!(text, " from {}", sources.join(", "));
    }
    named(text, forward.name.as_deref())
}

fn named(text: String, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{text} \"{name}\""),
        None => text,
    }
}

fn ends(config: &Config, endpoints: &[Endpoint]) -> String {
    let shown: Vec<String> = endpoints.iter().map(|endpoint| end(config, endpoint)).collect();
    shown.join(", ")
}

fn end(config: &Config, endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Network(index) => config.networks[*index].name.to_string(),
        Endpoint::Host(index) => config.hosts[*index].name.to_string(),
        Endpoint::Group(index) => config.groups[*index].name.to_string(),
        Endpoint::Internet => "internet".to_owned(),
        Endpoint::Router => "router".to_owned(),
        Endpoint::Cidr(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
        Endpoint::Cidr(net) => net.to_string(),
    }
}

fn services(services: &[Service]) -> String {
    let shown: Vec<String> = services
        .iter()
        .map(|service| match service {
            Service::Tcp(super::ALL_PORTS) => "tcp".to_owned(),
            Service::Udp(super::ALL_PORTS) => "udp".to_owned(),
            Service::Tcp(range) => format!("tcp/{}", Ports(*range)),
            Service::Udp(range) => format!("udp/{}", Ports(*range)),
            Service::Icmp => "icmp".to_owned(),
        })
        .collect();
    shown.join(", ")
}

/// `tcp` or `udp`.
pub(super) fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

/// `443` or `1000-2000`.
pub(super) struct Ports(pub PortRange);

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.first == self.0.last {
            return self.0.first.fmt(f);
        }
        write!(f, "{}-{}", self.0.first, self.0.last)
    }
}
