//! The decision: who answers a question, in one order, with the reason beside each line.

use std::net::{IpAddr, Ipv4Addr};

use super::cache::{Freshness, Hit};
use super::names::{Data, Local, LocalNames, Source};
use super::wire::{
    ExtendedError, Key, NameBuf, Owner, Query, Section, WireName, Writer, labels, rcode, reverse_address, rtype,
};
use super::zones::{Kind, Special, Zones};

/// TTL of what the file says.
const FIXED_TTL: u32 = 60;
/// TTL of what a lease says, and of the news that a local name does not exist: it may within seconds.
const LEASE_TTL: u32 = 10;
/// TTL of names that never exist.
const SPECIAL_TTL: u32 = 3600;
/// The longest chain of local aliases.
const MOST_ALIASES: usize = 16;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Index of the network the question came from; `None` for the router itself.
    pub network: Option<usize>,
    /// The longest answer it can take.
    pub limit: usize,
}

/// What becomes of a question.
// Made on the stack once per question; a box would cost the miss an allocation for nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The answer is written.
    Ready(Reason),
    /// Somebody else has to be asked, and what he says put into the cache; then decide again.
    Ask(Ask),
}

/// A question for an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What is asked: the client's question, or the one that a local alias leads to.
    pub key: Key,
    /// Who is asked.
    pub route: Route,
    /// An expired answer, for the case that upstreams fail.
    pub stale: bool,
}

/// Which servers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// `dns.upstream`, or what the uplink learned.
    Upstream,
    /// `dns.forward`: index into [`Zones::forward`].
    Forward(usize),
}

/// Why an answer is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A special-use name is never forwarded.
    Special(Special),
    /// A name of the file, of a hosts file, or of a lease.
    Local(Source),
    /// An address of an own network or of the file, asked for its name.
    Reverse,
    /// A name below an own domain that nobody has.
    OwnDomain,
    /// ANY is answered minimally (RFC 8482).
    Minimal,
    /// The client wants no recursion, and the name is not local.
    NotRecursive,
    /// An earlier answer of an upstream.
    Cache,
    /// An expired one, because upstreams fail.
    Stale,
    /// A local alias loops.
    AliasLoop,
}

/// Decides about `query` and writes the answer into `out`, or says who is to be asked.
/// `cached` looks into the cache. The order is that of the lines below; the first that applies decides.
pub fn answer(
    query: &Query<'_>,
    asker: &Asker,
    names: &LocalNames,
    zones: &Zones,
    mut cached: impl FnMut(&Key) -> Option<Hit>,
    out: &mut Vec<u8>,
) -> Answer {
    let name = query.key.name();
    let zone = zones.find(name);
    let decision = Decision { query, asker, names, zones };

    // 1. localhost, invalid, onion: what they mean is written in RFCs, and no file changes it.
    if let Some((Kind::Special(special @ (Special::Localhost | Special::Invalid | Special::Onion)), apex)) = zone {
        return decision.fixed_meaning(special, apex, out);
    }
    // 2. Own records, hosts, hosts files; 3. lease names. Bare names are looked for in the own domains. A domain's own SOA, NS and DS are not the file's.
    let of_domain = matches!(query.key.qtype(), rtype::SOA | rtype::NS | rtype::DS);
    let is_apex = of_domain && zone.is_some_and(|(kind, apex)| kind == Kind::Own && apex == name);
    if let Some(local) = decision.find_local(name).filter(|_| !is_apex) {
        return decision.local(local, &mut cached, out);
    }
    // 4. Reverse names: those of the file and of leases, then every other address of an own network.
    if let Some(answer) = decision.reverse(zone, out) {
        return answer;
    }
    match zone {
        // The proof that home.arpa is unsigned comes from outside (RFC 8375 §4).
        Some((Kind::Own | Kind::Special(_), apex)) if query.key.qtype() == rtype::DS && apex == name => {}
        // 5. What is not known below an own domain does not exist.
        Some((Kind::Own, apex)) => return decision.own_domain(apex, out),
        // 6. Other special-use names and private reverse zones stay here.
        Some((Kind::Special(special), apex)) => {
            return decision.negative(apex, rcode::NXDOMAIN, SPECIAL_TTL, Reason::Special(special), out);
        }
        // A single label means something at home or nothing. Validators ask for the keys of top-level domains, nobody else does.
        None if labels(name).count() == 1 && !matches!(query.key.qtype(), rtype::DS | rtype::DNSKEY) => {
            let reason = Reason::Special(Special::SingleLabel);
            return decision.negative(name, rcode::NXDOMAIN, LEASE_TTL, reason, out);
        }
        _ => {}
    }
    // 7. ANY gets one record; the rest is for clients that want recursion.
    if query.key.qtype() == rtype::ANY {
        return decision.minimal(out);
    }
    if !query.recursion_desired() {
        let writer = Writer::new(query, out);
        writer.finish(query, asker.limit, false, rcode::REFUSED, Some(ExtendedError::NOT_AUTHORITATIVE));
        return Answer::Ready(Reason::NotRecursive);
    }
    // 8. Cache.
    let hit = cached(&query.key);
    if let Some(hit) = hit.as_ref().filter(|hit| hit.freshness != Freshness::Stale) {
        hit.entry.write(query, hit.age, hit.stale_ttl(), asker.limit, out);
        return Answer::Ready(if hit.freshness == Freshness::Fresh { Reason::Cache } else { Reason::Stale });
    }
    // 9. Conditional forwarding; 10. upstream.
    Answer::Ask(Ask { key: query.key, route: route(zone), stale: hit.is_some() })
}

fn route(zone: Option<(Kind, &[u8])>) -> Route {
    match zone {
        Some((Kind::Forward(index), _)) => Route::Forward(index),
        _ => Route::Upstream,
    }
}

struct Decision<'a> {
    query: &'a Query<'a>,
    asker: &'a Asker,
    names: &'a LocalNames,
    zones: &'a Zones,
}

impl<'a> Decision<'a> {
    fn find_local(&self, name: &[u8]) -> Option<Local<'a>> {
        if let Some(local) = self.names.find(name) {
            return Some(local);
        }
        let mut all = labels(name);
        let (Some(label), None) = (all.next(), all.next()) else { return None };
        self.names.fixed().search(self.asker.network).find_map(|domain| {
            let mut full = NameBuf::new();
            full.push_label(label)?;
            full.push_suffix(domain.as_bytes())?;
            self.names.find(full.as_bytes())
        })
    }

    fn fixed_meaning(&self, special: Special, apex: &[u8], out: &mut Vec<u8>) -> Answer {
        let (name, qtype) = (self.query.key.name(), self.query.key.qtype());
        let reason = Reason::Special(special);
        if special != Special::Localhost {
            return self.negative(apex, rcode::NXDOMAIN, SPECIAL_TTL, reason, out);
        }
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let reverse = apex.ends_with(b"\x07in-addr\x04arpa\x00");
        let mut writer = Writer::new(self.query, out);
        match qtype {
            rtype::A if !reverse => {
                writer.record(Section::Answer, Owner::Question, qtype, SPECIAL_TTL, |to| to.octets(&[127, 0, 0, 1]));
            }
            rtype::AAAA if !reverse => {
                let octets = std::net::Ipv6Addr::LOCALHOST.octets();
                writer.record(Section::Answer, Owner::Question, qtype, SPECIAL_TTL, |to| to.octets(&octets));
            }
            rtype::PTR if reverse_address(name) == Some(loopback) => {
                writer.record(Section::Answer, Owner::Question, qtype, SPECIAL_TTL, |to| to.name(b"\x09localhost\x00"));
            }
            _ => {
                let exists = !reverse || name == apex || reverse_address(name) == Some(loopback);
                let code = if exists { rcode::NOERROR } else { rcode::NXDOMAIN };
                return self.negative(apex, code, SPECIAL_TTL, reason, out);
            }
        }
        writer.finish(self.query, self.asker.limit, true, rcode::NOERROR, None);
        Answer::Ready(reason)
    }

    /// Answers from local data, following local aliases; one that leads outside is answered together with what the cache knows.
    fn local(&self, first: Local<'a>, cached: &mut impl FnMut(&Key) -> Option<Hit>, out: &mut Vec<u8>) -> Answer {
        let qtype = self.query.key.qtype();
        let reason = Reason::Local(first.source);
        if qtype == rtype::ANY {
            return self.minimal(out);
        }
        let mut writer = Writer::new(self.query, out);
        let mut owner: Option<WireName> = None;
        let mut local = first;
        for _ in 0..MOST_ALIASES {
            let target = local.data.iter().find_map(|data| match data {
                Data::Alias(target) => Some(target),
                _ => None,
            });
            let at = owner.as_ref().map_or(Owner::Question, |name| Owner::Name(name.as_bytes()));
            let Some(target) = target.filter(|_| qtype != rtype::CNAME) else {
                if self.records(&local, at, &mut writer) == 0 {
                    let name = owner.as_ref().map_or(self.query.key.name(), WireName::as_bytes);
                    self.soa(&mut writer, self.apex(name), LEASE_TTL);
                }
                writer.finish(self.query, self.asker.limit, true, rcode::NOERROR, None);
                return Answer::Ready(reason);
            };
            writer.record(Section::Answer, at, rtype::CNAME, FIXED_TTL, |to| to.name(target.as_bytes()));
            owner = Some(target.clone());
            match self.names.find(target.as_bytes()) {
                Some(next) => local = next,
                None => return self.outside_alias(target, reason, writer, cached),
            }
        }
        writer.finish(self.query, self.asker.limit, false, rcode::SERVFAIL, Some(ExtendedError::ALIAS_CHAIN));
        Answer::Ready(Reason::AliasLoop)
    }

    /// The target of a local alias is no local name.
    fn outside_alias(
        &self,
        target: &WireName,
        reason: Reason,
        mut writer: Writer<'_>,
        cached: &mut impl FnMut(&Key) -> Option<Hit>,
    ) -> Answer {
        let (query, limit, name) = (self.query, self.asker.limit, target.as_bytes());
        let zone = self.zones.find(name);
        if let Some((Kind::Own | Kind::Special(_), apex)) = zone {
            self.soa(&mut writer, apex, LEASE_TTL);
            writer.finish(query, limit, true, rcode::NXDOMAIN, None);
            return Answer::Ready(reason);
        }
        let key = Key::new(name, query.key.qtype(), query.key.dnssec_ok(), query.key.checking_disabled());
        let (Some(key), true) = (key, query.recursion_desired()) else {
            writer.finish(query, limit, true, rcode::NOERROR, None);
            return Answer::Ready(reason);
        };
        let hit = cached(&key);
        if let Some(hit) = hit.as_ref().filter(|hit| hit.freshness != Freshness::Stale) {
            hit.entry.append(&mut writer, hit.age, hit.stale_ttl());
            writer.finish(query, limit, false, hit.entry.rcode(), hit.entry.error());
            return Answer::Ready(reason);
        }
        Answer::Ask(Ask { key, route: route(zone), stale: hit.is_some() })
    }

    /// Writes what of `local` is of the type asked for; gives how many records that were.
    fn records(&self, local: &Local<'a>, owner: Owner<'_>, writer: &mut Writer<'_>) -> usize {
        let qtype = self.query.key.qtype();
        let before = writer.counts()[0];
        let mut put = |rtype: u16, ttl: u32, octets: &[u8]| {
            if rtype == qtype {
                writer.record(Section::Answer, owner, rtype, ttl, |to| to.octets(octets));
            }
        };
        for data in local.data {
            match data {
                Data::A(address) => put(rtype::A, FIXED_TTL, &address.octets()),
                Data::Aaaa(address) => put(rtype::AAAA, FIXED_TTL, &address.octets()),
                Data::Router => {
                    if let Some(address) = self.names.fixed().router_address(self.asker.network) {
                        put(rtype::A, FIXED_TTL, &address.octets());
                    }
                }
                Data::Follow { host, domain } => {
                    for follower in self.names.followers(host) {
                        if domain.as_ref().is_none_or(|domain| *domain == follower.domain) {
                            put(rtype::A, LEASE_TTL, &follower.address.octets());
                        }
                    }
                }
                Data::Txt(strings) => put(rtype::TXT, FIXED_TTL, strings),
                Data::Srv([priority, weight, port], target) => {
                    let numbers = [priority, weight, port].map(|number| number.to_be_bytes()).concat();
                    put(rtype::SRV, FIXED_TTL, &[&numbers[..], target.as_bytes()].concat());
                }
                Data::Mx(preference, exchange) => {
                    put(rtype::MX, FIXED_TTL, &[&preference.to_be_bytes()[..], exchange.as_bytes()].concat());
                }
                Data::Alias(target) => put(rtype::CNAME, FIXED_TTL, target.as_bytes()),
            }
        }
        if let Some(address) = local.lease {
            put(rtype::A, LEASE_TTL, &address.octets());
        }
        if let Some(addresses) = &local.hosts {
            let known = |given: &Data| local.data.contains(given);
            addresses.v4().filter(|&a| !known(&Data::A(a))).for_each(|a| put(rtype::A, FIXED_TTL, &a.octets()));
            addresses.v6().filter(|&a| !known(&Data::Aaaa(a))).for_each(|a| put(rtype::AAAA, FIXED_TTL, &a.octets()));
        }
        usize::from(writer.counts()[0] - before)
    }

    fn reverse(&self, zone: Option<(Kind, &[u8])>, out: &mut Vec<u8>) -> Option<Answer> {
        let address = reverse_address(self.query.key.name())?;
        let mut writer = Writer::new(self.query, out);
        let wanted = self.query.key.qtype() == rtype::PTR;
        let source = self.names.find_reverse(address, |name| {
            if wanted {
                writer.record(Section::Answer, Owner::Question, rtype::PTR, LEASE_TTL, |to| to.name(name));
            }
        });
        if let Some(source) = source {
            if !wanted {
                self.soa(&mut writer, self.apex(self.query.key.name()), LEASE_TTL);
            }
            writer.finish(self.query, self.asker.limit, true, rcode::NOERROR, None);
            return Some(Answer::Ready(Reason::Local(source)));
        }
        let forward = match zone {
            Some((Kind::Forward(_), suffix)) => Some(suffix),
            _ => None,
        };
        self.zones.is_own_address(address, forward).then(|| {
            let apex = self.apex(self.query.key.name());
            self.negative(apex, rcode::NXDOMAIN, LEASE_TTL, Reason::Reverse, out)
        })
    }

    /// A name below an own domain that nobody has; the domain itself has SOA and NS.
    fn own_domain(&self, apex: &[u8], out: &mut Vec<u8>) -> Answer {
        let (name, qtype) = (self.query.key.name(), self.query.key.qtype());
        if name != apex {
            return self.negative(apex, rcode::NXDOMAIN, LEASE_TTL, Reason::OwnDomain, out);
        }
        let mut writer = Writer::new(self.query, out);
        match (qtype, self.names.fixed().router()) {
            (rtype::SOA, _) => self.soa_in(Section::Answer, &mut writer, apex, LEASE_TTL),
            (rtype::NS, Some(router)) => {
                writer.record(Section::Answer, Owner::Question, qtype, FIXED_TTL, |to| to.name(router.as_bytes()));
            }
            (rtype::ANY, _) => return self.minimal(out),
            _ => return self.negative(apex, rcode::NOERROR, LEASE_TTL, Reason::OwnDomain, out),
        }
        writer.finish(self.query, self.asker.limit, true, rcode::NOERROR, None);
        Answer::Ready(Reason::OwnDomain)
    }

    /// RFC 8482 §4.2: one HINFO record.
    fn minimal(&self, out: &mut Vec<u8>) -> Answer {
        let mut writer = Writer::new(self.query, out);
        writer.record(Section::Answer, Owner::Question, rtype::HINFO, SPECIAL_TTL, |to| to.octets(b"\x07RFC8482\x00"));
        writer.finish(self.query, self.asker.limit, false, rcode::NOERROR, None);
        Answer::Ready(Reason::Minimal)
    }

    fn negative(&self, apex: &[u8], code: u16, ttl: u32, reason: Reason, out: &mut Vec<u8>) -> Answer {
        let mut writer = Writer::new(self.query, out);
        self.soa(&mut writer, apex, ttl);
        writer.finish(self.query, self.asker.limit, true, code, None);
        Answer::Ready(reason)
    }

    /// The domain that a local name belongs to: an own or special one above it, else the name itself.
    fn apex<'n>(&self, name: &'n [u8]) -> &'n [u8] {
        match self.zones.find(name) {
            Some((Kind::Own | Kind::Special(_), apex)) => apex,
            _ => name,
        }
    }

    fn soa(&self, writer: &mut Writer<'_>, apex: &[u8], ttl: u32) {
        self.soa_in(Section::Authority, writer, apex, ttl);
    }

    fn soa_in(&self, section: Section, writer: &mut Writer<'_>, apex: &[u8], ttl: u32) {
        let router = self.names.fixed().router().map_or(&b"\x09localhost\x00"[..], WireName::as_bytes);
        let owner = if apex == self.query.key.name() { Owner::Question } else { Owner::Name(apex) };
        writer.record(section, owner, rtype::SOA, ttl, |to| {
            to.name(router);
            to.name(b"\x06nobody\x07invalid\x00");
            // Serial, refresh, retry, expire: nobody transfers this zone. Minimum: how long a negative answer lives (RFC 2308).
            for number in [1, 3600, 600, 86_400, ttl] {
                to.octets(&number.to_be_bytes());
            }
        });
    }
}

#[cfg(test)]
mod tests;
