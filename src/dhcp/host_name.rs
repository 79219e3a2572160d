//! What a client calls itself, made fit for DNS: option 12 (RFC 2132 §3.14) and option 81 (RFC 4702).

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::code;
use super::message::Message;
use crate::model::{DomainName, is_ldh_label};

/// One lower-case LDH label out of what a client sent, or `None` where nothing usable is in it.
///
/// White space and `_` become `-`, other characters go, an FQDN is cut at its first dot. An IPv4 address and a name of digits only are
/// refused: neither can be told from an address.
pub fn clean(name: &[u8]) -> Option<Arc<str>> {
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if std::str::from_utf8(name).is_ok_and(|text| text.trim_end_matches('.').parse::<Ipv4Addr>().is_ok()) {
        return None;
    }
    let label = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    let mut text = String::with_capacity(label.len().min(63));
    for byte in label {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => text.push(char::from(*byte)),
            b'A'..=b'Z' => text.push(char::from(byte.to_ascii_lowercase())),
            b'_' | b' ' | b'\t' => text.push('-'),
            _ => {}
        }
    }
    let text = text.trim_matches('-');
    let text = text[..text.len().min(63)].trim_end_matches('-');
    (is_ldh_label(text) && !text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.into())
}

/// Option 81 as the client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fqdn {
    flags: u8,
    name: Option<Arc<str>>,
}

const SERVER_UPDATES: u8 = 1;
const OVERRIDE: u8 = 2;
const WIRE_FORMAT: u8 = 4;
const NO_UPDATES: u8 = 8;

impl Fqdn {
    pub(super) fn read(message: &Message<'_>) -> Option<Self> {
        let data = message.option(code::CLIENT_FQDN)?;
        let (flags, name) = (*data.first()?, data.get(3..)?);
        let name = if flags & WIRE_FORMAT != 0 {
            let (length, rest) = name.split_first().unwrap_or((&0, &[]));
            rest.get(..usize::from(*length)).unwrap_or_default()
        } else {
            name
        };
        Some(Fqdn { flags: flags & 0x0f, name: clean(name) })
    }

    /// The answer (RFC 4702 §4): we publish the name, unless the client wants none published.
    pub(super) fn answer(&self, host_name: Option<&str>, domain: &DomainName) -> Vec<u8> {
        let mut flags = self.flags & WIRE_FORMAT;
        if self.flags & NO_UPDATES != 0 {
            flags |= NO_UPDATES;
        } else if host_name.is_some() {
            flags |= SERVER_UPDATES | if self.flags & SERVER_UPDATES == 0 { OVERRIDE } else { 0 };
        }
        let mut data = vec![flags, 255, 255];
        let Some(host_name) = host_name else { return data };
        if flags & WIRE_FORMAT == 0 {
            data.extend_from_slice(format!("{host_name}.{domain}").as_bytes());
            return data;
        }
        for label in std::iter::once(host_name).chain(domain.labels()) {
            data.push(label.len() as u8);
            data.extend_from_slice(label.as_bytes());
        }
        data.push(0);
        data
    }
}

/// The name the client goes by; option 81 counts before option 12 (RFC 4702 §3.1).
pub(super) fn of(message: &Message<'_>, fqdn: Option<&Fqdn>) -> Option<Arc<str>> {
    if let Some(fqdn) = fqdn {
        if fqdn.flags & NO_UPDATES != 0 {
            return None;
        }
        if fqdn.name.is_some() {
            return fqdn.name.clone();
        }
    }
    clean(&message.option(code::HOST_NAME)?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLIENT_MAC, Packet};
    use super::*;

    #[test]
    fn cleans_names() {
        for (sent, cleaned) in [
            (&b"Laptop"[..], Some("laptop")),
            (b"Anna's iPhone", Some("annas-iphone")),
            (b"my_box", Some("my-box")),
            (b"pc.example.com", Some("pc")),
            (b"nas\0", Some("nas")),
            (b"nas\0evil", Some("nas")),
            (b"B\xfcro", Some("bro")),
            ("Büro".as_bytes(), Some("bro")),
            (b"xn--bro-hoa", Some("xn--bro-hoa")),
            (b"--x--", Some("x")),
            (b"a\nb", Some("ab")),
            (b"../etc", None),
            (b"*", None),
            (b"", None),
            (b"12345", None),
            (b"192.168.1.7", None),
            (b"\"", None),
            (b"3com", Some("3com")),
        ] {
            assert_eq!(clean(sent).as_deref(), cleaned, "{}", sent.escape_ascii());
        }
        assert_eq!(clean(&[b'a'; 255]).unwrap().len(), 63);
        assert_eq!(clean(&[&[b'a'; 62][..], b"-b"].concat()).unwrap().len(), 62);
    }

    fn fqdn(flags: u8, name: &[u8]) -> (Option<Arc<str>>, Vec<u8>) {
        let bytes = Packet::new(CLIENT_MAC).option(12, b"other").option(81, &[&[flags, 0, 0], name].concat()).bytes();
        let message = Message::parse(&bytes).unwrap();
        let fqdn = Fqdn::read(&message).unwrap();
        let name = of(&message, Some(&fqdn));
        let answer = fqdn.answer(name.as_deref(), &DomainName::parse("home.arpa").unwrap());
        (name, answer)
    }

    #[test]
    fn answers_a_client_fqdn() {
        // The client wants to update: we do, and say that we override.
        let (name, answer) = fqdn(0, b"PC.corp.example");
        assert_eq!((name.as_deref(), &answer[..]), (Some("pc"), &b"\x03\xff\xffpc.home.arpa"[..]));
        let (name, answer) = fqdn(5, b"\x02pc\x00");
        assert_eq!((name.as_deref(), &answer[..]), (Some("pc"), &b"\x05\xff\xff\x02pc\x04home\x04arpa\x00"[..]));
        // No updates: nothing is published.
        assert_eq!(fqdn(8, b"pc"), (None, vec![8, 255, 255]));
        // Nothing usable in 81: option 12 counts.
        assert_eq!(fqdn(4, b"\x3fpc").0.as_deref(), Some("other"));
    }
}
