//! Ethernet hardware addresses.

use std::fmt;
use std::str::FromStr;

/// A 48-bit Ethernet address (IEEE 802). Read from `52:54:00:00:01:10` or with dashes, shown in lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Whether the address was made up by the device (the locally administered bit is set), as phones do for privacy.
    pub fn is_local(self) -> bool {
        self.0[0] & 0b10 != 0
    }

    /// Whether the group bit is set: such an address never belongs to one device.
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a MAC address is six pairs of hexadecimal digits, as in 52:54:00:00:01:10";
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or(WRONG)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(WRONG);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| WRONG)?;
        }
        if parts.next().is_some() {
            return Err(WRONG);
        }
        Ok(MacAddr(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shows() {
        let mac: MacAddr = "52-54-00-00-01-AF".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:00:01:af");
        assert!(mac.is_local() && !mac.is_multicast());
        for wrong in
            ["", "52:54:00:00:01", "52:54:00:00:01:10:11", "52:54:00:00:01:1", "+2:54:00:00:01:10", "zz:54:00:00:01:10"]
        {
            assert!(wrong.parse::<MacAddr>().is_err(), "{wrong}");
        }
    }
}
