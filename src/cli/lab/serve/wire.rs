//! As much of the DNS message format (RFC 1035 §4) as the lab's upstream needs, apart from labgate's own so that one checks the other.

use super::zone::{Answer, Data, kind};

/// A question as it came.
pub struct Question<'a> {
    id: [u8; 2],
    recursion_desired: bool,
    /// Octets of the question section, echoed with the case the asker chose.
    section: &'a [u8],
    /// The name, lower case, without its last dot.
    pub name: String,
    /// The type.
    pub kind: u16,
    /// The largest UDP answer the asker takes; `None` without EDNS.
    edns_size: Option<u16>,
}

impl<'a> Question<'a> {
    /// Reads a message with exactly one question; anything else is nothing.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let header = message.get(..12)?;
        let is_query = header[2] & 0xf8 == 0;
        if !is_query || header[4..6] != [0, 1] {
            return None;
        }
        let mut at = 12;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            if length > 63 {
                return None;
            }
            labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase());
            at += length;
        }
        let fixed = message.get(at..at + 4)?;
        let additional = message.get(at + 4..).unwrap_or_default();
        let edns_size = match additional {
            [0, 0, 41, high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        };
        Some(Question {
            id: [header[0], header[1]],
            recursion_desired: header[2] & 1 == 1,
            section: &message[12..at + 4],
            name: labels.join("."),
            kind: u16::from_be_bytes([fixed[0], fixed[1]]),
            edns_size,
        })
    }

    /// The answer as octets, truncated where it is too long for UDP.
    pub fn answer(&self, answer: &Answer, udp: bool) -> Vec<u8> {
        let whole = self.encode(answer, false);
        let limit = usize::from(self.edns_size.unwrap_or(512).max(512));
        if udp && whole.len() > limit {
            return self.encode(&Answer::Records(0, Vec::new()), true);
        }
        whole
    }

    fn encode(&self, answer: &Answer, truncated: bool) -> Vec<u8> {
        let (code, ttl, records) = match answer {
            Answer::Records(ttl, records) => (0, *ttl, records.as_slice()),
            Answer::NxDomain => (3, 0, &[][..]),
            Answer::Failure => (2, 0, &[][..]),
        };
        let negative = records.is_empty() && !truncated && *answer != Answer::Failure;
        let mut out = Vec::with_capacity(512);
        out.extend(self.id);
        out.push(0x80 | u8::from(truncated) << 1 | u8::from(self.recursion_desired));
        out.push(0x80 | code);
        for count in [1, records.len(), usize::from(negative), usize::from(self.edns_size.is_some())] {
            out.extend(u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
        }
        out.extend(self.section);
        let mut owner = vec![0xc0, 12];
        for record in records {
            match record {
                Data::Octets(kind, octets) => push_record(&mut out, &owner, *kind, ttl, octets),
                Data::Name(kind, name) => {
                    push_record(&mut out, &owner, *kind, ttl, &encode_name(name));
                    if *kind == super::zone::kind::CNAME {
                        owner = encode_name(name);
                    }
                }
            }
        }
        if negative {
            let mut soa = [encode_name("ns.example.com"), encode_name("hostmaster.example.com")].concat();
            for number in [1_u32, 7200, 3600, 86_400, 60] {
                soa.extend(number.to_be_bytes());
            }
            push_record(&mut out, &encode_name("test"), kind::SOA, 60, &soa);
        }
        if self.edns_size.is_some() {
            out.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
        }
        out
    }
}

fn push_record(out: &mut Vec<u8>, owner: &[u8], kind: u16, ttl: u32, data: &[u8]) {
    out.extend(owner);
    out.extend(kind.to_be_bytes());
    out.extend([0, 1]);
    out.extend(ttl.to_be_bytes());
    out.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(data);
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap_or(0));
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

#[cfg(test)]
mod tests {
    use super::super::zone::look_up;
    use super::*;

    fn query(name: &str, kind: u16, edns: bool) -> Vec<u8> {
        let mut out = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
        out.extend(encode_name(name));
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        if edns {
            out.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
        }
        out
    }

    #[test]
    fn answers_an_address_in_the_case_of_the_asker() {
        let message = query("wWw.Example.com", kind::A, false);
        let question = Question::parse(&message).expect("a question");
        assert_eq!(question.name, "www.example.com");
        let out = question.answer(&look_up(&question.name, question.kind), true);
        assert_eq!(out[..4], [0xab, 0xcd, 0x81, 0x80]);
        assert!(out.windows(4).any(|four| four == b"Exam"));
        assert_eq!(out[out.len() - 4..], [198, 51, 100, 80]);
    }

    #[test]
    fn a_large_answer_is_truncated_over_udp_only() {
        let message = query("big.example.com", kind::TXT, false);
        let question = Question::parse(&message).expect("a question");
        let answer = look_up(&question.name, question.kind);
        assert_eq!(question.answer(&answer, true)[2] & 2, 2);
        assert!(question.answer(&answer, false).len() > 2000);
    }

    #[test]
    fn an_unknown_name_does_not_exist_and_says_for_how_long() {
        let message = query("nowhere.test", kind::A, true);
        let question = Question::parse(&message).expect("a question");
        let out = question.answer(&look_up(&question.name, question.kind), true);
        assert_eq!(out[3] & 15, 3);
        assert_eq!(out[8..12], [0, 1, 0, 1]);
    }

    #[test]
    fn a_response_or_a_torn_message_is_no_question() {
        let mut message = query("www.example.com", kind::A, false);
        assert!(Question::parse(&message[..20]).is_none());
        message[2] |= 0x80;
        assert!(Question::parse(&message).is_none());
    }
}
