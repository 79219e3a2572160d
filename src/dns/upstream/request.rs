//! A question for an upstream, and whether an answer belongs to it.

use crate::dns::wire::{CLASS_IN, HEADER, Key, UDP_LIMIT, flag, read_u16, rtype};

/// A question as it is sent. Identifier, case of the letters and source port are what a forger has to guess (RFC 5452).
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    question_end: usize,
}

/// Whether what arrived is the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Believed {
    /// It is.
    Yes,
    /// All but the case of the letters: a forger, or a server that does not keep the case.
    OtherCase,
    /// It is not, and waiting goes on.
    No,
}

impl Request {
    /// The question of `key` with EDNS. Every letter takes its case from one bit of `case` (draft-vixie-dnsext-dns0x20).
    pub fn new(key: &Key, id: u16, case: &[u8; 32]) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + key.name().len() + 4 + 11);
        let flags = flag::RD | if key.checking_disabled() { flag::CD } else { 0 };
        for word in [id, flags, 1, 0, 0, 1] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        for (index, byte) in key.name().iter().enumerate() {
            let upper = case[index / 8 % 32] >> (index % 8) & 1 != 0;
            bytes.push(if upper { byte.to_ascii_uppercase() } else { *byte });
        }
        for word in [key.qtype(), CLASS_IN] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        let question_end = bytes.len();
        let [size, kind] = [UDP_LIMIT as u16, rtype::OPT].map(u16::to_be_bytes);
        let bits = if key.dnssec_ok() { 0x80 } else { 0 };
        bytes.extend_from_slice(&[0, kind[0], kind[1], size[0], size[1], 0, 0, bits, 0, 0, 0]);
        Request { bytes, question_end }
    }

    /// The message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Without EDNS, for a server that answers FORMERR to it (RFC 6891 §6.2.2).
    pub fn without_edns(mut self) -> Self {
        self.bytes.truncate(self.question_end);
        self.bytes[11] = 0;
        self
    }

    /// Whether `answer`, which came from the right address and port, answers this question.
    pub fn believes(&self, answer: &[u8]) -> Believed {
        let Some(question) = answer.get(HEADER..self.question_end) else { return Believed::No };
        let flags = read_u16(answer, 2).unwrap_or(0);
        let ours = &self.bytes[HEADER..self.question_end];
        if answer[..2] != self.bytes[..2]
            || flags & flag::QR == 0
            || flags & flag::OPCODE != 0
            || read_u16(answer, 4) != Some(1)
            || !question.eq_ignore_ascii_case(ours)
        {
            return Believed::No;
        }
        // Type and class hold no case: their octets have to be equal, whatever letters they look like.
        let (name, numbers) = question.split_at(question.len() - 4);
        let (our_name, our_numbers) = ours.split_at(ours.len() - 4);
        match (numbers == our_numbers, name == our_name) {
            (true, true) => Believed::Yes,
            (true, false) => Believed::OtherCase,
            (false, _) => Believed::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_true_answer_is_believed() {
        let key = Key::new(b"\x03www\x07example\x00", 1, true, false).unwrap();
        let request = Request::new(&key, 0x1234, &[0b1010_0110; 32]);
        let mut right = request.as_bytes().to_vec();
        right[2] |= 0x80;
        assert_eq!(request.believes(&right), Believed::Yes);
        let changed = |at: usize, value: u8| {
            let mut other = right.clone();
            other[at] = value;
            request.believes(&other)
        };
        assert_eq!(changed(0, 0x99), Believed::No, "identifier");
        assert_eq!(changed(2, 0x01), Believed::No, "QR");
        assert_eq!(changed(2, 0xa1), Believed::No, "opcode");
        assert_eq!(changed(5, 0), Believed::No, "no question");
        assert_eq!(changed(5, 2), Believed::No, "two questions");
        assert_eq!(changed(14, b'x'), Believed::No, "name");
        assert_eq!(changed(13, right[13] ^ 0x20), Believed::OtherCase);
        assert_eq!(changed(request.question_end - 3, 28), Believed::No, "type");
        assert_eq!(changed(request.question_end - 1, 3), Believed::No, "class");
        assert_eq!(request.believes(&right[..20]), Believed::No, "short");
        assert_eq!(request.clone().without_edns().as_bytes().len(), request.question_end);
    }
}
