//! What is passed on, and what is not.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;

use super::*;
use crate::dns::testing::{answers, question, read};
use crate::dns::wire::{Incoming, Query, read_query};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn record(owner: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(name(owner), ttl, data)
}

fn a(owner: &str, ttl: u32, address: [u8; 4]) -> Record {
    record(owner, ttl, RData::A(A(address.into())))
}

fn cname(owner: &str, target: &str) -> Record {
    record(owner, 300, RData::CNAME(CNAME(name(target))))
}

fn soa(owner: &str, ttl: u32, minimum: u32) -> Record {
    record(owner, ttl, RData::SOA(SOA::new(name("ns.example."), name("h.example."), 1, 2, 3, 4, minimum)))
}

/// What the answer that `change` makes comes to, for A of www.example.
fn outcome(rebind: Rebind<'_>, change: impl FnOnce(&mut Message)) -> (Scrubbed, Vec<u8>) {
    let asked = question("www.example", RecordType::A, true);
    let mut message = Message::from_vec(&asked).unwrap();
    message.metadata.message_type = hickory_proto::op::MessageType::Response;
    change(&mut message);
    let Incoming::Query(query) = read_query(&asked) else { panic!() };
    (scrub(&query.key, &message.to_vec().unwrap(), rebind), asked.clone())
}

fn given(rebind: Rebind<'_>, change: impl FnOnce(&mut Message)) -> (Entry, Vec<u8>) {
    match outcome(rebind, change) {
        (Scrubbed::Good(entry), asked) => {
            let Incoming::Query(query) = read_query(&asked) else { panic!() };
            let mut out = Vec::new();
            entry.write(&query, 0, None, 1232, &mut out);
            (entry, out)
        }
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn only_what_belongs_to_the_question_passes() {
    let (entry, out) = given(None, |message| {
        message.add_answer(cname("WWW.example.", "a.cdn.example."));
        message.add_answer(a("bank.example.", 900, [198, 51, 100, 66]));
        message.add_answer(cname("a.cdn.example.", "b.cdn.example."));
        message.add_answer(a("b.cdn.example.", 60, [192, 0, 2, 1]));
        message.add_answer(record("b.cdn.example.", 60, RData::AAAA(AAAA("2001:db8::1".parse().unwrap()))));
        message.add_authority(record("example.", 900, RData::NS(NS(name("evil.example.")))));
        message.add_authority(soa("example.", 900, 900));
        message.add_additional(a("evil.example.", 900, [198, 51, 100, 66]));
    });
    assert_eq!(answers(&out), ["CNAME a.cdn.example.", "CNAME b.cdn.example.", "A 192.0.2.1"]);
    let read = read(&out);
    assert!(read.authorities.is_empty() && read.additionals.is_empty());
    assert_eq!(entry.ttl(), 60);
}

#[test]
fn alias_chains_are_bounded() {
    let ends = |change: &dyn Fn(&mut Message)| outcome(None, |message| change(message)).0;
    assert_eq!(
        ends(&|m| {
            m.add_answer(cname("www.example.", "www.example."));
        }),
        Scrubbed::AliasChain
    );
    let two = |m: &mut Message| {
        m.add_answer(cname("www.example.", "b.example."));
        m.add_answer(cname("b.example.", "www.example."));
    };
    assert_eq!(ends(&two), Scrubbed::AliasChain);
    let chain = |length: usize| {
        move |m: &mut Message| {
            m.add_answer(cname("www.example.", "n1.example."));
            for number in 1..length {
                m.add_answer(cname(&format!("n{number}.example."), &format!("n{}.example.", number + 1)));
            }
            m.add_answer(a(&format!("n{length}.example."), 60, [192, 0, 2, 1]));
        }
    };
    assert_eq!(ends(&chain(50)), Scrubbed::AliasChain);
    assert!(matches!(ends(&chain(16)), Scrubbed::Good(_)));
}

#[test]
fn ttls_are_capped_and_negative_answers_follow_their_soa() {
    let ttl = |ttl: u32| {
        given(None, |m| {
            m.add_answer(a("www.example.", ttl, [192, 0, 2, 1]));
        })
        .0
        .ttl()
    };
    assert_eq!([ttl(0), ttl(60), ttl(0x7fff_ffff), ttl(0x8000_0001), ttl(u32::MAX)], [0, 60, 86_400, 0, 0]);
    let negative = |ttl: u32, minimum: u32| {
        let (entry, out) = given(None, |m| {
            m.metadata.response_code = ResponseCode::NXDomain;
            m.add_authority(soa("example.", ttl, minimum));
        });
        assert_eq!(read(&out).metadata.response_code, ResponseCode::NXDomain);
        (entry.ttl(), read(&out).authorities[0].ttl)
    };
    assert_eq!(negative(900, 60), (60, 60));
    assert_eq!(negative(30, 60), (30, 30));
    assert_eq!(negative(1_000_000, 1_000_000), (3600, 3600));
    let foreign = given(None, |m| {
        m.add_authority(soa("other.", 900, 60));
    });
    assert_eq!(foreign.0.ttl(), 0, "no SOA of ours: not kept");
    assert!(read(&foreign.1).authorities.is_empty());
}

#[test]
fn private_addresses_are_dropped_with_a_word() {
    let own: &[Ipv4Addr] = &[Ipv4Addr::new(203, 0, 113, 5)];
    let (entry, out) = given(Some(own), |m| {
        m.add_answer(a("www.example.", 900, [192, 168, 1, 1]));
        m.add_answer(a("www.example.", 900, [192, 0, 2, 1]));
    });
    assert_eq!((answers(&out), entry.error()), (vec!["A 192.0.2.1".to_owned()], Some(ExtendedError::REBIND)));
    let (_, out) = given(Some(own), |m| {
        m.add_answer(a("www.example.", 900, [203, 0, 113, 5]));
    });
    assert!(answers(&out).is_empty());
    let (_, out) = given(None, |m| {
        m.add_answer(a("www.example.", 900, [192, 168, 1, 1]));
    });
    assert_eq!(answers(&out).len(), 1);
    for private in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "172.31.0.1",
        "192.168.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "::192.168.1.1",
        "64:ff9b::192.168.1.1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "fec0::1",
    ] {
        assert!(is_private(private.parse().unwrap(), own), "{private}");
    }
    for public in
        ["8.8.8.8", "100.128.0.1", "172.32.0.1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2001:db8::1", "ff02::1"]
    {
        assert!(!is_private(public.parse().unwrap(), own), "{public}");
    }
}

#[test]
fn a_server_that_cannot_is_told_from_one_that_knows() {
    let code = |code| outcome(None, |m| m.metadata.response_code = code).0;
    assert_eq!(code(ResponseCode::ServFail), Scrubbed::Failed { rcode: rcode::SERVFAIL });
    assert_eq!(code(ResponseCode::Refused), Scrubbed::Failed { rcode: rcode::REFUSED });
    assert_eq!(outcome(None, |m| m.metadata.truncation = true).0, Scrubbed::Truncated);
    let referral = outcome(None, |m| {
        m.add_authority(record("example.", 9, RData::NS(NS(name("ns.example.")))));
    });
    assert_eq!(referral.0, Scrubbed::Failed { rcode: rcode::REFUSED });
    assert_eq!(scrub(&key(), b"short", None), Scrubbed::Malformed);
}

fn key() -> Key {
    let asked = question("www.example", RecordType::A, true);
    let Incoming::Query(Query { key, .. }) = read_query(&asked) else { panic!() };
    key
}

#[test]
fn ten_thousand_records_cost_nothing() {
    let mut message = question("www.example", RecordType::A, false);
    message[2] |= 0x80;
    message[6..8].copy_from_slice(&10_000u16.to_be_bytes());
    for _ in 0..10_000 {
        message.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x00");
    }
    assert_eq!(scrub(&key(), &message, None), Scrubbed::Malformed);
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic_or_write_nonsense(damage in proptest::collection::vec((12usize..260, any::<u8>()), 0..8), signed: bool) {
        let asked = question("www.example", RecordType::A, true);
        let mut message = Message::from_vec(&asked).unwrap();
        message.metadata.message_type = hickory_proto::op::MessageType::Response;
        message.add_answer(cname("www.example.", "a.cdn.example."));
        message.add_answer(cname("a.cdn.example.", "b.cdn.example."));
        message.add_answer(a("b.cdn.example.", 60, [192, 0, 2, 1]));
        message.add_authority(soa("example.", 900, 900));
        let mut bytes = message.to_vec().unwrap();
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let key = Key::new(key().name(), 1, signed, false).unwrap();
        if let Scrubbed::Good(entry) = scrub(&key, &bytes, Some(&[])) {
            let Incoming::Query(query) = read_query(&asked) else { panic!() };
            let mut out = Vec::new();
            entry.write(&query, 5, None, 65_535, &mut out);
            prop_assert!(crate::dns::wire::Message::read(&out).is_some());
        }
    }
}
