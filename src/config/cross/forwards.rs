//! Port forwards against each other, and ports against ports.

use crate::config::context::Context;
use crate::config::decode::{ForwardDraft, HostDraft};
use crate::config::source::Span;
use crate::config::types::{PortRange, Service, Transport};

/// Checks the forwards among themselves and their targets.
pub(in crate::config) fn forwards(context: &mut Context, forwards: &[ForwardDraft], hosts: &[HostDraft], wan: bool) {
    for transport in [Transport::Tcp, Transport::Udp] {
        overlaps(context, forwards, transport);
    }
    for forward in forwards {
        let host = &hosts[forward.value.host];
        if !host.has_ip {
            context
                .warn("forward-follows-lease", forward.span, format!("`{}` has no fixed address", host.name))
                .label("works while the host has a lease")
                .also(host.span, "no `ip` here")
                .help("the forward follows the lease; add `ip` to have it always lead to one address");
        }
    }
    if let Some(first) = forwards.first()
        && !wan
    {
        context
            .error("forward-without-uplink", first.span, "there is no uplink to forward from")
            .help("add `[wan]` with its `interface`, or take the forwards out");
    }
}

fn overlaps(context: &mut Context, forwards: &[ForwardDraft], transport: Transport) {
    let mut sorted: Vec<&ForwardDraft> =
        forwards.iter().filter(|forward| forward.value.transports.contains(&transport)).collect();
    sorted.sort_by_key(|forward| forward.value.ports);
    let mut furthest: Option<&ForwardDraft> = None;
    for forward in sorted {
        if let Some(other) = furthest
            && forward.value.ports.first <= other.value.ports.last
        {
            let (first, second) = if other.span < forward.span { (other, forward) } else { (forward, other) };
            // Where both protocols overlap, TCP has already said it.
            let said = transport == Transport::Udp
                && [first, second].iter().all(|forward| forward.value.transports.contains(&Transport::Tcp));
            if !said {
                let name = if transport == Transport::Tcp { "tcp" } else { "udp" };
                let port = forward.value.ports.first;
                context
                    .error("forward-twice", second.span, format!("two forwards take {name}/{port}"))
                    .label("takes it again")
                    .also(first.span, "first taken")
                    .help("an outside port leads to one host");
            }
        }
        if furthest.is_none_or(|other| forward.value.ports.last > other.value.ports.last) {
            furthest = Some(forward);
        }
    }
}

/// Warns of exceptions that take nothing out of a rule, or all of it.
pub(in crate::config) fn except(context: &mut Context, services: &[Service], except: &[(Service, Span)]) {
    if services.is_empty() {
        return;
    }
    for (service, span) in except {
        if !services.iter().any(|allowed| overlap(*allowed, *service)) {
            context
                .warn("except-without-effect", *span, "the rule does not hold these ports")
                .label("takes nothing out")
                .help("take the exception out, or widen `port`");
        }
    }
    let covered = |allowed: &Service| except.iter().any(|(service, _)| covers(*service, *allowed));
    if let Some((_, span)) = except.first()
        && services.iter().all(covered)
    {
        context
            .warn("except-without-effect", *span, "the exceptions take out everything the rule holds")
            .label("nothing is left")
            .help("take the rule out");
    }
}

fn overlap(one: Service, other: Service) -> bool {
    let ranges = |a: PortRange, b: PortRange| a.first <= b.last && b.first <= a.last;
    match (one, other) {
        (Service::Tcp(a), Service::Tcp(b)) | (Service::Udp(a), Service::Udp(b)) => ranges(a, b),
        (Service::Icmp, Service::Icmp) => true,
        _ => false,
    }
}

fn covers(whole: Service, part: Service) -> bool {
    let ranges = |a: PortRange, b: PortRange| a.first <= b.first && b.last <= a.last;
    match (whole, part) {
        (Service::Tcp(a), Service::Tcp(b)) | (Service::Udp(a), Service::Udp(b)) => ranges(a, b),
        (Service::Icmp, Service::Icmp) => true,
        _ => false,
    }
}
