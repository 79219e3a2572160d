//! The fixed part: configuration and hosts files.

use std::net::IpAddr;

use crate::config::{Config, Host, RecordData};
use crate::dns::wire::WireName;
use crate::dns::{Data, FixedNames, Hosts};
use crate::model::{Binding, DomainName};

/// The names that do not follow leases.
pub fn fixed(config: &Config, hosts: &Hosts) -> FixedNames {
    let (label, domain) = (&config.gateway.name, &config.gateway.domain);
    let networks = config.networks.iter().map(|network| (WireName::new(&network.domain), network.router())).collect();
    let router = below(label, domain).unwrap_or_else(|| WireName::new(domain));
    let mut names = FixedNames::new(WireName::new(domain), router.clone(), networks, hosts.clone());

    names.add(&router, Data::Router);
    for network in &config.networks {
        let name = below(label, &network.domain).unwrap_or_else(|| router.clone());
        names.add(&name, Data::Router);
        names.add_reverse(IpAddr::V4(network.router()), &name);
    }
    for (index, host) in config.hosts.iter().enumerate() {
        add_host(config, host, &mut names);
        for mac in &host.macs {
            names.add_client(&[&[1], &mac.0[..]].concat(), index);
        }
        if let Some(identifier) = &host.client_id {
            names.add_client(&[&[0], &identifier[..]].concat(), index);
        }
    }
    for record in &config.dns.records {
        let name = WireName::new(&record.name);
        match &record.data {
            RecordData::Address(IpAddr::V4(address)) => names.add(&name, Data::A(*address)),
            RecordData::Address(IpAddr::V6(address)) => names.add(&name, Data::Aaaa(*address)),
            RecordData::Host(index) => {
                if let Some(host) = config.hosts.get(*index) {
                    names.add(&name, data_of(host, None));
                }
            }
            RecordData::Alias(target) => names.add(&name, Data::Alias(WireName::new(target))),
            RecordData::Txt(strings) => names.add(&name, Data::Txt(character_strings(strings))),
            RecordData::Srv { priority, weight, port, target } => {
                names.add(&name, Data::Srv([*priority, *weight, *port], WireName::new(target)));
            }
            RecordData::Mx { preference, exchange } => {
                names.add(&name, Data::Mx(*preference, WireName::new(exchange)));
            }
        }
    }
    names
}

/// A host's name and aliases: below the domain of its network, or below every own domain where it has no fixed address.
fn add_host(config: &Config, host: &Host, names: &mut FixedNames) {
    let Ok(label) = DomainName::parse(&host.name) else { return };
    let home = host.network.and_then(|index| config.networks.get(index)).map(|network| &network.domain);
    if let (Some(domain), Some(address)) = (home, host.ip) {
        for name in [&label].into_iter().chain(&host.aliases) {
            add_name(config, name, domain, data_of(host, None), names);
        }
        if let Some(full) = below(&label, domain) {
            names.add_reverse(IpAddr::V4(address), &full);
        }
        return;
    }
    for name in [&label].into_iter().chain(&host.aliases) {
        add_name(config, name, &config.gateway.domain, data_of(host, None), names);
        for network in config.networks.iter().filter(|network| network.domain != config.gateway.domain) {
            if let Some(full) = below(name, &network.domain) {
                names.add(&full, data_of(host, Some(&network.domain)));
            }
        }
    }
}

/// An alias of several labels is also meant as it stands; within an own domain it is meant only so.
fn add_name(config: &Config, name: &DomainName, domain: &DomainName, data: Data, names: &mut FixedNames) {
    let own = config.networks.iter().map(|network| &network.domain).chain([&config.gateway.domain]);
    let absolute = own.into_iter().any(|domain| name.is_within(domain));
    if name.labels().count() > 1 {
        names.add(&WireName::new(name), data.clone());
    }
    if let (false, Some(full)) = (absolute, below(name, domain)) {
        names.add(&full, data);
    }
}

fn data_of(host: &Host, domain: Option<&DomainName>) -> Data {
    match host.ip {
        Some(address) => Data::A(address),
        None => Data::Follow { host: host.name.clone(), domain: domain.map(WireName::new) },
    }
}

/// The configured host that holds a binding: by client identifier, else by hardware address.
pub(super) fn host_of<'a>(names: &FixedNames, config: &'a Config, binding: &Binding) -> Option<&'a Host> {
    let by_identifier = binding.client.identifier().and_then(|id| names.host_of(&[&[0], id].concat()));
    let by_mac = || binding.mac.and_then(|mac| names.host_of(&[&[1], &mac.0[..]].concat()));
    config.hosts.get(by_identifier.or_else(by_mac)?)
}

/// `name` below `domain`; `None` where that is too long.
pub(super) fn below(name: &DomainName, domain: &DomainName) -> Option<WireName> {
    name.below(domain).ok().map(|full| WireName::new(&full))
}

/// TXT RDATA: every text in pieces of at most 255 octets.
fn character_strings(texts: &[String]) -> Box<[u8]> {
    let mut rdata = Vec::new();
    for text in texts {
        if text.is_empty() {
            rdata.push(0);
        }
        for piece in text.as_bytes().chunks(255) {
            rdata.push(piece.len() as u8);
            rdata.extend_from_slice(piece);
        }
    }
    rdata.into()
}
