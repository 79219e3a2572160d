//! Which connections go and which stay.

use super::*;
use crate::config::{Config, Endpoint};
use crate::firewall::testing::{config, forward, host, outside_name, rule, tcp};
use std::net::Ipv4Addr;

const PUBLIC: &str = "203.0.113.2";
const NONE: [usize; 0] = [];

/// A home with a nas in `lan` that is forwarded to, and a camera in `iot` that follows its lease.
struct Home {
    config: Config,
    cam: Option<Ipv4Addr>,
    uplink: bool,
}

fn home() -> Home {
    let mut config = config();
    config.hosts =
        vec![host("nas", Some([192, 168, 1, 10])), host("cam", None), host("other", Some([192, 168, 1, 11]))];
    config.firewall.allow = vec![rule(&[Endpoint::Host(1)], &[Endpoint::Host(0)], &[tcp(443)], 30)];
    config.forwards = vec![forward(8080, 0, 40)];
    Home { config, cam: Some(Ipv4Addr::new(192, 168, 20, 44)), uplink: true }
}

impl Home {
    fn law<T>(&self, then: impl FnOnce(Law<'_>) -> T) -> T {
        let policy = Policy::compile(&self.config);
        let reserved: Vec<_> = self.config.hosts.iter().map(|host| host.ip).collect();
        let around = Surroundings {
            hosts: HostAddresses::new(&reserved, &[None, self.cam, None]),
            uplink: if self.uplink { vec![format!("{PUBLIC}/24").parse().unwrap()] } else { Vec::new() },
            ..Surroundings::default()
        };
        then(Law { policy: &policy, around: &around })
    }
}

fn tuple(protocol: u8, from: (&str, u16), to: (&str, u16)) -> Tuple {
    Tuple {
        source: from.0.parse().unwrap(),
        destination: to.0.parse().unwrap(),
        protocol,
        ports: Ports::Of { source: from.1, destination: to.1 },
    }
}

fn flow(from: (&str, u16), to: (&str, u16)) -> Flow {
    through(from, to, to)
}

/// A connection whose destination is translated.
fn through(from: (&str, u16), asked: (&str, u16), answers: (&str, u16)) -> Flow {
    Flow {
        original: tuple(TCP, from, asked),
        reply: tuple(TCP, answers, from),
        id: 1,
        zone: 0,
        expected: false,
        picked_up: false,
        ended: false,
    }
}

const CAM: (&str, u16) = ("192.168.20.44", 50_000);
const NAS: (&str, u16) = ("192.168.1.10", 443);

#[track_caller]
fn cut(now: &Home, before: Option<&Home>, flows: &[Flow]) -> Vec<usize> {
    now.law(|now| match before {
        Some(before) => before.law(|before| refused(now, Some(before), flows)),
        None => refused(now, None, flows),
    })
}

#[test]
fn a_rule_that_goes_takes_its_connections_and_no_other() {
    let (before, mut now) = (home(), home());
    now.config.firewall.allow.clear();
    let flows = [
        flow(CAM, NAS),
        flow(CAM, ("198.51.100.7", 443)),
        flow(("192.168.20.45", 50_000), NAS),
        through(("198.51.100.9", 1), (PUBLIC, 8080), ("192.168.1.10", 8080)),
    ];
    assert_eq!(cut(&now, Some(&before), &flows), [0], "the third never had a permission");
    assert_eq!(cut(&before, Some(&now), &flows), NONE);
    assert_eq!(cut(&now, None, &flows), [0, 2], "without a former law the present one decides");
}

#[test]
fn a_denial_cuts_also_what_a_forward_let_in() {
    let (before, mut now) = (home(), home());
    now.config.firewall.deny = vec![rule(&[Endpoint::Internet], &[Endpoint::Host(0)], &[], 50)];
    let flows = [flow(CAM, NAS), through(("198.51.100.9", 1), (PUBLIC, 8080), ("192.168.1.10", 8080))];
    assert_eq!(cut(&now, Some(&before), &flows), [1]);
}

#[test]
fn a_forward_that_moves_keeps_its_connections_and_one_that_goes_does_not() {
    let (before, mut now) = (home(), home());
    let flows = [
        through(("198.51.100.9", 1), (PUBLIC, 8080), ("192.168.1.10", 8080)),
        through(("198.51.100.9", 1), (PUBLIC, 9090), ("192.168.1.11", 9090)),
    ];
    now.config.forwards[0].host = 2;
    assert_eq!(cut(&now, Some(&before), &flows), NONE);
    now.config.forwards.clear();
    assert_eq!(cut(&now, Some(&before), &flows), [0], "the second is the work of another table");
    // While the uplink has no address nobody can tell.
    now.uplink = false;
    assert_eq!(cut(&now, Some(&before), &flows), NONE);
}

#[test]
fn what_another_table_translates_is_judged_where_it_goes() {
    let (mut before, mut now) = (home(), home());
    before.config.firewall.allow.push(rule(&[Endpoint::Internet], &[Endpoint::Host(2)], &[tcp(9090)], 31));
    now.config = before.config.clone();
    let flows = [through(("198.51.100.9", 1), (PUBLIC, 9999), ("192.168.1.11", 9090))];
    assert_eq!(cut(&now, None, &flows), NONE);
    now.config.firewall.allow.pop();
    assert_eq!(cut(&now, Some(&before), &flows), [0]);
}

#[test]
fn a_lease_that_moves_takes_its_permission_along() {
    let (before, mut now) = (home(), home());
    now.cam = Some(Ipv4Addr::new(192, 168, 20, 45));
    let flows = [flow(CAM, NAS), flow(CAM, ("198.51.100.7", 443)), flow(("192.168.20.45", 1), NAS)];
    assert_eq!(cut(&now, Some(&before), &flows), [0]);
    let moved = before.law(|before| now.law(|now| moved(&before.around.hosts, &now.around.hosts)));
    let ends: HashSet<IpAddr> = ["192.168.20.44", "192.168.20.45"].map(|end| end.parse().unwrap()).into();
    assert_eq!(moved, ends);
    let elsewhere = flow(("192.168.20.46", 1), NAS);
    let by_forward = through(("198.51.100.9", 1), (PUBLIC, 8080), ("192.168.20.44", 8080));
    assert_eq!(
        [flows[0], flows[2], by_forward, elsewhere].map(|flow| touches(&flow, &moved)),
        [true, true, true, false]
    );
}

#[test]
fn what_is_not_the_policys_stays() {
    let mut now = home();
    now.config.firewall.allow.clear();
    let refused = flow(CAM, NAS);
    let kept = [
        Flow { expected: true, ..refused },
        Flow { ended: true, ..refused },
        Flow { zone: 7, ..refused },
        flow(("198.51.100.9", 1), ("198.51.100.10", 2)),
        flow(("172.17.0.2", 1), ("198.51.100.10", 2)),
        flow((PUBLIC, 1), ("198.51.100.10", 2)),
        flow(("192.168.1.1", 1), ("192.168.20.1", 2)),
        flow(("127.0.0.1", 1), ("127.0.0.1", 2)),
        flow(("192.168.1.5", 5353), ("224.0.0.251", 5353)),
        flow(("192.168.1.5", 5), ("192.168.1.10", 6)),
        flow(("2001:db8::1", 5), ("2001:db8::2", 6)),
        flow(("192.168.1.5", 68), ("192.168.1.1", 67)),
    ];
    let kept: Vec<Flow> = kept
        .into_iter()
        .map(|flow| match flow.original.ports {
            Ports::Of { destination: 67 | 5353, .. } => Flow {
                original: Tuple { protocol: UDP, ..flow.original },
                reply: Tuple { protocol: UDP, ..flow.reply },
                ..flow
            },
            _ => flow,
        })
        .collect();
    assert_eq!(cut(&now, None, &kept), NONE);
    assert_eq!(cut(&now, None, &[refused]), [0]);
}

#[test]
fn the_uplink_that_leaves_the_file_takes_its_connections() {
    let (before, mut now) = (home(), home());
    now.config.wan = None;
    let flows = [flow(CAM, ("198.51.100.7", 443)), flow(("192.168.1.5", 9), ("10.8.0.2", 22))];
    assert_eq!(cut(&now, Some(&before), &flows), [0, 1]);
    assert_eq!(cut(&now, None, &flows), NONE, "alone, it only knows that it knows no way there");
}

#[test]
fn of_a_connection_picked_up_in_its_middle_nobody_knows_who_opened_it() {
    let (mut before, mut now) = (home(), home());
    // lan may go to iot; for a while iot could also go to lan.
    let out = rule(&[Endpoint::Network(0)], &[Endpoint::Network(1)], &[], 31);
    before.config.firewall.allow = vec![out.clone(), rule(&[Endpoint::Network(1)], &[Endpoint::Network(0)], &[], 32)];
    now.config.firewall.allow = vec![out];
    let answer_first = Flow { picked_up: true, ..flow(("192.168.20.44", 22), ("192.168.1.5", 50_000)) };
    let opened_there = Flow { picked_up: false, ..answer_first };
    assert_eq!(cut(&now, Some(&before), &[answer_first, opened_there]), [1]);
    now.config.firewall.allow.clear();
    assert_eq!(cut(&now, Some(&before), &[answer_first, opened_there]), [0, 1], "neither direction is permitted");
}

#[test]
fn what_is_cut_is_known_in_both_directions() {
    let flow = through(("198.51.100.9", 1), (PUBLIC, 8080), ("192.168.1.10", 80));
    let mut shown: Vec<String> = barriers(&[flow, flow])
        .iter()
        .map(|change| {
            assert!(change.add && &*change.set == CUT && !change.interval);
            format!("{:?}", crate::firewall::wire_lower(&change.element.key))
        })
        .collect();
    shown.sort();
    let key = |from: [u8; 4], from_port: [u8; 2], to: [u8; 4], to_port: [u8; 2]| {
        format!("{:?}", [&from[..], &from_port, &[0; 2], &to, &to_port, &[0; 2]].concat())
    };
    let (client, public, nas) = ([198, 51, 100, 9], [203, 0, 113, 2], [192, 168, 1, 10]);
    let mut wished =
        [key(client, [0, 1], public, [31, 144]), key(client, [0, 1], nas, [0, 80]), key(nas, [0, 80], client, [0, 1])];
    wished.sort();
    assert_eq!(shown, wished);
    let udp = Flow { original: Tuple { protocol: UDP, ..flow.original }, ..flow };
    assert!(barriers(&[udp]).is_empty(), "the next packet is a new question, and the rules answer it");
}

#[test]
fn only_what_takes_away_is_a_reason_to_look() {
    let before = home();
    let mut now = home();
    now.cam = None;
    let changes = |from: &Home, to: &Home| {
        let elements = |home: &Home| home.law(|law| crate::desired::elements(law.policy, &law.around.hosts));
        crate::firewall::SetElements::difference(&elements(from), &elements(to))
    };
    assert!(may_refuse(&changes(&before, &now)));
    assert!(!may_refuse(&changes(&now, &before)));
    let (mut before, mut now) = (before, now);
    for home in [&mut before, &mut now] {
        home.config.firewall.deny = std::mem::take(&mut home.config.firewall.allow);
    }
    assert!(!may_refuse(&changes(&before, &now)), "a denial that goes takes nothing away");
    assert!(may_refuse(&changes(&now, &before)));
}

#[test]
fn a_restart_cuts_no_connection_to_an_address_that_its_name_has_left() {
    let mut now = home();
    now.config.outside_names = vec![outside_name("updates.example.net")];
    now.config.networks[1].internet = false;
    let iot = rule(&[Endpoint::Network(1)], &[Endpoint::Name(0)], &[tcp(443)], 33);
    now.config.firewall.allow.push(iot);
    let flows = [flow(CAM, ("198.51.100.7", 443)), flow(CAM, ("198.51.100.7", 80)), flow(CAM, NAS)];
    assert_eq!(cut(&now, None, &flows), [0, 1]);
    assert_eq!(now.law(|law| refused_at_start(law, &flows)), [1]);
}
