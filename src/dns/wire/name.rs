//! Names in wire form.

use std::borrow::Borrow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::model::DomainName;

/// The longest name, its root label included (RFC 1035 §2.3.4).
const LONGEST: usize = 255;
/// How many compression pointers one name may follow. Honest messages need one or two.
const POINTERS: usize = 32;

/// A name in wire form, uncompressed, lower case: length octet and label, …, 0. Cheap to clone, looked up by its bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WireName(Arc<[u8]>);

impl WireName {
    /// The name of presentation form.
    pub fn new(name: &DomainName) -> Self {
        let mut bytes = Vec::with_capacity(name.as_str().len() + 2);
        for label in name.labels() {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        WireName(bytes.into())
    }

    /// The name whose wire form is `bytes`, which must be whole and in lower case.
    pub fn from_wire(bytes: &[u8]) -> Self {
        WireName(bytes.into())
    }

    /// The wire form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for WireName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, f)
    }
}

impl fmt::Debug for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, f)
    }
}

/// A name in wire form on the stack.
#[derive(Clone, Copy)]
pub struct NameBuf {
    bytes: [u8; LONGEST],
    len: u8,
}

impl NameBuf {
    /// No label yet, not even the root: to be filled by [`NameBuf::push_label`] and [`NameBuf::push_suffix`].
    pub fn new() -> Self {
        NameBuf { bytes: [0; LONGEST], len: 0 }
    }

    /// The wire form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Adds one label; `None` where the name becomes too long.
    #[must_use = "a name that is too long is no name"]
    pub fn push_label(&mut self, label: &[u8]) -> Option<()> {
        let length = u8::try_from(label.len()).ok().filter(|&length| length <= 63)?;
        self.push_suffix(&[length])?;
        self.push_suffix(label)
    }

    /// Adds a whole wire form: the rest of the name.
    #[must_use = "a name that is too long is no name"]
    pub fn push_suffix(&mut self, wire: &[u8]) -> Option<()> {
        let start = usize::from(self.len);
        self.bytes.get_mut(start..start + wire.len())?.copy_from_slice(wire);
        self.len += wire.len() as u8;
        Some(())
    }

    /// Folds the letters to lower case.
    pub fn make_lower(&mut self) {
        // Length octets are below 64, so no letter.
        self.bytes[..usize::from(self.len)].make_ascii_lowercase();
    }
}

impl Default for NameBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.as_bytes(), f)
    }
}

/// Shows a wire form in presentation form; octets other than printable ASCII are escaped (RFC 4343 §2.1).
fn show(wire: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if wire.len() <= 1 {
        return f.write_str(".");
    }
    for (index, label) in labels(wire).enumerate() {
        if index > 0 {
            f.write_str(".")?;
        }
        for &byte in label {
            match byte {
                b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                0x21..=0x7e => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\{byte:03}")?,
            }
        }
    }
    Ok(())
}

/// The labels of a wire form, from the left, without the root.
pub(crate) fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let (&length, after) = rest.split_first()?;
        let label = after.get(..usize::from(length)).filter(|label| !label.is_empty())?;
        rest = &after[label.len()..];
        Some(label)
    })
}

/// The name itself and every ancestor down to the root, as wire forms.
pub(crate) fn suffixes(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(wire);
    std::iter::from_fn(move || {
        let now = rest?;
        let length = usize::from(*now.first()?);
        rest = (length > 0).then(|| now.get(length + 1..)).flatten();
        Some(now)
    })
}

/// Whether the wire form `name` is `zone` or stands below it; both in lower case.
pub(crate) fn is_within(name: &[u8], zone: &[u8]) -> bool {
    name.len() >= zone.len() && suffixes(name).any(|suffix| suffix == zone)
}

/// Reads the name at `at`, following compression pointers. Gives the name, its case kept, and where the message goes on.
/// Bounded: pointers only lead backwards, at most 32 of them, and a name has at most 255 octets.
pub fn read_name(message: &[u8], at: usize) -> Option<(NameBuf, usize)> {
    let mut name = NameBuf::new();
    let (mut position, mut segment, mut end, mut pointers) = (at, at, None, 0);
    loop {
        let length = *message.get(position)?;
        match length {
            0 => {
                name.push_suffix(&[0])?;
                return Some((name, end.unwrap_or(position + 1)));
            }
            1..=63 => {
                let next = position + 1 + usize::from(length);
                name.push_suffix(message.get(position..next)?)?;
                position = next;
            }
            0xc0..=0xff => {
                let target = usize::from(length & 0x3f) << 8 | usize::from(*message.get(position + 1)?);
                pointers += 1;
                if target >= segment || pointers > POINTERS {
                    return None;
                }
                end = end.or(Some(position + 2));
                (position, segment) = (target, target);
            }
            _ => return None,
        }
    }
}

/// Where the message goes on after the name at `at`. Pointers are not followed.
pub fn skip_name(message: &[u8], at: usize) -> Option<usize> {
    let mut position = at;
    loop {
        match *message.get(position)? {
            0 => return Some(position + 1),
            length @ 1..=63 => position += 1 + usize::from(length),
            0xc0..=0xff => return (position + 2 <= message.len()).then_some(position + 2),
            _ => return None,
        }
        if position - at > LONGEST {
            return None;
        }
    }
}

/// The address that a reverse name (`10.1.168.192.in-addr.arpa`, `….ip6.arpa`), in wire form and lower case, asks for.
/// `None` for other names, and for names that stand for a whole block.
pub fn reverse_address(wire: &[u8]) -> Option<IpAddr> {
    if let Some(rest) = wire.strip_suffix(b"\x07in-addr\x04arpa\x00") {
        let mut octets = [0; 4];
        let mut found = 0;
        for label in labels(rest) {
            let plain =
                label.len() <= 3 && label.iter().all(u8::is_ascii_digit) && (label.len() == 1 || label[0] != b'0');
            let text = std::str::from_utf8(label).ok().filter(|_| plain)?;
            *octets.get_mut(3usize.checked_sub(found)?)? = text.parse().ok()?;
            found += 1;
        }
        return (found == 4).then(|| IpAddr::V4(Ipv4Addr::from(octets)));
    }
    let rest = wire.strip_suffix(b"\x03ip6\x04arpa\x00")?;
    let (mut value, mut found) = (0u128, 0);
    for label in labels(rest) {
        let &[digit] = label else { return None };
        if found == 32 {
            return None;
        }
        value |= u128::from(char::from(digit).to_digit(16)?) << (4 * found);
        found += 1;
    }
    (found == 32).then(|| IpAddr::V6(Ipv6Addr::from(value)))
}
