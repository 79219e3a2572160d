//! Domain names in presentation form.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// A domain name: lower case, dots between labels, none at the end (`nas.home.arpa`). Cheap to clone.
/// The root is the empty string.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Arc<str>);

/// Why a text is no domain name (RFC 1035 §2.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Two dots in a row, or one at the beginning.
    #[error("a label of the name is empty")]
    EmptyLabel,
    /// A label over 63 octets.
    #[error("a label of the name is longer than 63 characters")]
    LongLabel,
    /// Over 253 characters.
    #[error("the name is longer than 253 characters")]
    LongName,
    /// A character other than letters, digits, `-`, `_`, or `*` as a whole first label.
    #[error("a name holds letters, digits, `-` and `_` only")]
    Character,
}

impl DomainName {
    /// Reads a name; upper case is folded and one dot at the end is dropped.
    ///
    /// # Errors
    /// What is wrong with the text, as [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Ok(DomainName("".into()));
        }
        if text.len() > 253 {
            return Err(NameError::LongName);
        }
        for (index, label) in text.split('.').enumerate() {
            if label.is_empty() {
                return Err(NameError::EmptyLabel);
            }
            if label.len() > 63 {
                return Err(NameError::LongLabel);
            }
            let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            let wildcard = index == 0 && label == "*";
            if !plain && !wildcard {
                return Err(NameError::Character);
            }
        }
        Ok(DomainName(text.to_ascii_lowercase().into()))
    }

    /// The reverse name of an address: `10.1.168.192.in-addr.arpa` (RFC 1035 §3.5).
    pub fn reverse(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        DomainName(format!("{d}.{c}.{b}.{a}.in-addr.arpa").into())
    }

    /// This name below `domain`: `nas` and `home.arpa` give `nas.home.arpa`.
    ///
    /// # Errors
    /// [`NameError::LongName`] where the two together are too long.
    pub fn below(&self, domain: &DomainName) -> Result<Self, NameError> {
        DomainName::parse(&format!("{self}.{domain}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels from the left.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.').filter(|label| !label.is_empty())
    }

    /// Whether this name is `zone` or stands below it.
    pub fn is_within(&self, zone: &DomainName) -> bool {
        zone.0.is_empty() || self.0.strip_suffix(&*zone.0).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for DomainName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Whether `label` is a host label: letters, digits and inner hyphens, 1 to 63 characters (RFC 952, RFC 1123 §2.1).
pub fn is_ldh_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_relates() {
        let name = DomainName::parse("NAS.home.arpa.").unwrap();
        assert_eq!(name.as_str(), "nas.home.arpa");
        assert!(name.is_within(&DomainName::parse("home.arpa").unwrap()));
        assert!(!DomainName::parse("xhome.arpa").unwrap().is_within(&DomainName::parse("home.arpa").unwrap()));
        assert_eq!(DomainName::parse("a..b"), Err(NameError::EmptyLabel));
        assert_eq!(DomainName::parse(&"a".repeat(64)), Err(NameError::LongLabel));
        assert_eq!(DomainName::parse("a b"), Err(NameError::Character));
        assert_eq!(DomainName::reverse(Ipv4Addr::new(192, 168, 1, 10)).as_str(), "10.1.168.192.in-addr.arpa");
    }
}
