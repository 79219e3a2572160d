//! Arbitrary octets never panic; what is written is read by another parser.

use std::net::IpAddr;

use hickory_proto::op::{Message as Oracle, ResponseCode};
use hickory_proto::rr::RecordType;
use proptest::prelude::*;

use super::*;
use crate::dns::testing::question;
use crate::model::DomainName;

fn refusal(message: &[u8]) -> Option<Vec<u8>> {
    let Incoming::Refuse(refusal) = read_query(message) else { return None };
    let mut out = Vec::new();
    write_refusal(&refusal, &mut out);
    Some(out)
}

fn code(message: &[u8]) -> Option<u16> {
    let out = refusal(message)?;
    let oracle = Oracle::from_vec(&out).unwrap();
    Some(u16::from(oracle.metadata.response_code) | oracle.edns.map_or(0, |edns| u16::from(edns.rcode_high()) << 4))
}

#[test]
fn garbage_is_answered_as_rfc_8906_says() {
    let good = question("www.example.net", RecordType::A, true);
    let changed = |at: usize, value: u8| {
        let mut message = good.clone();
        message[at] = value;
        message
    };
    assert!(matches!(read_query(&good), Incoming::Query(_)));
    assert!(matches!(read_query(&good[..11]), Incoming::Ignore));
    assert!(matches!(read_query(&changed(2, 0x81)), Incoming::Ignore), "an answer");
    assert_eq!(code(&changed(2, 0x09)), Some(rcode::NOTIMP), "inverse query");
    assert_eq!(code(&changed(2, 0x79)), Some(rcode::NOTIMP), "opcode 15");
    assert_eq!(code(&good[..12]), Some(rcode::FORMERR), "header only");
    assert_eq!(code(&changed(5, 0)), Some(rcode::FORMERR), "no question");
    assert_eq!(code(&changed(5, 2)), Some(rcode::FORMERR), "two questions");
    assert_eq!(code(&changed(7, 1)), Some(rcode::FORMERR), "counts lie");
    assert_eq!(code(&changed(12, 0xc0)), Some(rcode::FORMERR), "a pointer in the question");
    assert_eq!(code(&changed(12, 0x41)), Some(rcode::FORMERR), "an unknown label type");
    assert_eq!(code(&[&good[..], b"x"].concat()), Some(rcode::FORMERR), "trailing octets");
    assert_eq!(code(&changed(32, 3)), Some(rcode::REFUSED), "class CHAOS");
    assert_eq!(code(&changed(30, 252)), Some(rcode::REFUSED), "AXFR");
    let version = good.len() - 5;
    assert_eq!(code(&changed(version, 1)), Some(rcode::BADVERS));
    let answer = refusal(&changed(version, 1)).unwrap();
    assert_eq!(Oracle::from_vec(&answer).unwrap().edns.unwrap().version(), 0);
}

#[test]
fn pointers_lead_backwards_and_end() {
    let mut message = vec![0; 12];
    message.extend_from_slice(b"\x01a\x00\xc0\x0c\x01b\xc0\x0f\xc0\x14\xc0\x16");
    let read = |at: usize| read_name(&message, at).map(|(name, next)| (name.as_bytes().to_vec(), next));
    assert_eq!(read(12), Some((b"\x01a\x00".to_vec(), 15)));
    assert_eq!(read(15), Some((b"\x01a\x00".to_vec(), 17)));
    assert_eq!(read(17), Some((b"\x01b\x01a\x00".to_vec(), 21)));
    assert_eq!(read(21), None, "into the middle of a pointer, to itself in the end");
    assert_eq!(read(23), None, "forward");
    // A chain of pointers that is as long as a message can hold ends at once.
    let chain: Vec<u8> = (0..4000u16).flat_map(|i| (0xc000 | (2 * i).saturating_sub(2)).to_be_bytes()).collect();
    assert!(read_name(&chain, 7998).is_none());
}

#[test]
fn reverse_names_are_addresses_only_when_whole() {
    let address = |text: &str| reverse_address(WireName::new(&DomainName::parse(text).unwrap()).as_bytes());
    assert_eq!(address("10.1.168.192.in-addr.arpa"), Some("192.168.1.10".parse().unwrap()));
    for other in [
        "1.168.192.in-addr.arpa",
        "1.10.1.168.192.in-addr.arpa",
        "010.1.168.192.in-addr.arpa",
        "256.1.1.1.in-addr.arpa",
        "in-addr.arpa",
    ] {
        assert_eq!(address(other), None, "{other}");
    }
    let v6 = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    assert_eq!(address(v6), Some("2001:db8::5".parse::<IpAddr>().unwrap()));
    assert_eq!(address(&v6[2..]), None);
}

#[test]
fn an_answer_that_does_not_fit_is_cut_to_its_question() {
    let message = question("www.example.net", RecordType::A, true);
    let Incoming::Query(query) = read_query(&message) else { panic!() };
    let mut out = Vec::new();
    let mut writer = Writer::new(&query, &mut out);
    for last in 0..100 {
        writer.record(Section::Answer, Owner::Question, rtype::A, 60, |to| to.octets(&[192, 0, 2, last]));
    }
    writer.finish(&query, query.udp_limit(), false, rcode::NOERROR, Some(ExtendedError::STALE));
    let oracle = Oracle::from_vec(&out).unwrap();
    assert!(oracle.metadata.truncation && oracle.answers.is_empty() && oracle.edns.is_some());
    assert_eq!(oracle.metadata.response_code, ResponseCode::NoError);
}

fn label() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9]{1,12}"
}

fn full_name() -> impl Strategy<Value = String> {
    proptest::collection::vec(label(), 1..6).prop_map(|labels| labels.join("."))
}

proptest! {
    #[test]
    fn no_octets_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..300) {
        let _ = code(&bytes);
        let _ = read_name(&bytes, at);
        let _ = skip_name(&bytes, at);
        if let Some(message) = Message::read(&bytes) {
            for record in &message.records {
                let _ = rdata_parts(&bytes, record);
            }
        }
    }

    #[test]
    fn no_damage_to_a_real_message_makes_it_panic(
        name in full_name(),
        damage in proptest::collection::vec((0usize..80, any::<u8>()), 0..6),
    ) {
        let mut message = question(&name, RecordType::MX, true);
        for (at, value) in damage {
            let at = at % message.len();
            message[at] = value;
        }
        match read_query(&message) {
            Incoming::Ignore => {}
            Incoming::Refuse(refusal) => {
                let mut out = Vec::new();
                write_refusal(&refusal, &mut out);
                prop_assert!(out.len() <= message.len() + 11);
            }
            Incoming::Query(query) => {
                let mut out = Vec::new();
                Writer::new(&query, &mut out).finish(&query, 512, false, rcode::REFUSED, None);
                prop_assert_eq!(&out[12..query.head_len()], &message[12..query.head_len()]);
            }
        }
    }

    #[test]
    fn compressed_names_are_read_by_another_parser(names in proptest::collection::vec(full_name(), 1..30)) {
        let message = question(&names[0], RecordType::MX, true);
        let Incoming::Query(query) = read_query(&message) else { panic!() };
        let mut out = Vec::new();
        let mut writer = Writer::new(&query, &mut out);
        let wires: Vec<WireName> = names.iter().map(|name| WireName::new(&DomainName::parse(name).unwrap())).collect();
        for name in &wires {
            writer.record(Section::Answer, Owner::Name(name.as_bytes()), rtype::MX, 60, |to| {
                to.octets(&[0, 10]);
                to.name(name.as_bytes());
            });
        }
        writer.finish(&query, 65_535, false, rcode::NOERROR, None);
        let oracle = Oracle::from_vec(&out).unwrap();
        prop_assert_eq!(oracle.answers.len(), names.len());
        for (record, name) in oracle.answers.iter().zip(&names) {
            prop_assert_eq!(record.name.to_ascii().to_lowercase(), format!("{}.", name.to_lowercase()));
            prop_assert_eq!(record.data.to_string().to_lowercase(), format!("10 {}.", name.to_lowercase()));
        }
        let own = Message::read(&out).unwrap();
        prop_assert_eq!(own.records.len(), names.len() + 1);
    }
}
