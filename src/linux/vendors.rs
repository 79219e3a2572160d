//! Who made a device, by the prefix of its hardware address, from the registry file of Debian's `ieee-data` where it is installed.

use std::collections::HashMap;

use crate::model::MacAddr;

const REGISTRY: &str = "/usr/share/ieee-data/oui.txt";

/// Vendor names by 24-bit prefix.
#[derive(Default)]
pub struct Vendors(HashMap<[u8; 3], String>);

/// Reads the registry; empty where it is not installed.
pub fn load() -> Vendors {
    parse(&std::fs::read(REGISTRY).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default())
}

/// The lines that matter read `52-54-00   (hex)`, two tabs, the vendor.
fn parse(text: &str) -> Vendors {
    let prefix = |part: &str| -> Option<[u8; 3]> {
        let mut bytes = part.trim().split('-').map(|byte| u8::from_str_radix(byte, 16).ok());
        Some([bytes.next()??, bytes.next()??, bytes.next()??])
    };
    Vendors(
        text.lines()
            .filter_map(|line| line.split_once("(hex)"))
            .filter_map(|(part, name)| Some((prefix(part)?, name.trim().to_owned())))
            .collect(),
    )
}

impl Vendors {
    /// The vendor; `private` for an address that the device made up.
    pub fn name(&self, mac: MacAddr) -> Option<String> {
        if mac.is_local() && !mac.is_multicast() {
            // QEMU's prefix has the local bit although it is assigned by custom.
            return Some(if mac.0[..3] == [0x52, 0x54, 0] { "QEMU" } else { "private" }.to_owned());
        }
        self.0.get(&mac.0[..3]).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_registry() {
        let vendors = parse("OUI\n3C-22-FB   (hex)\t\tApple, Inc.\n3C22FB     (base 16)\t\tApple, Inc.\n");
        assert_eq!(vendors.name("3c:22:fb:aa:10:9e".parse().unwrap()).as_deref(), Some("Apple, Inc."));
        assert_eq!(vendors.name("3e:22:fb:aa:10:9e".parse().unwrap()).as_deref(), Some("private"));
        assert_eq!(vendors.name("00:22:fb:aa:10:9e".parse().unwrap()), None);
    }
}
