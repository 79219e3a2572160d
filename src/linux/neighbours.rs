//! Who answered ARP lately, as the kernel's neighbour table tells.

use std::net::Ipv4Addr;

use crate::model::MacAddr;

/// One neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its hardware address.
    pub mac: MacAddr,
    /// The interface it was seen on.
    pub interface: String,
}

/// The IPv4 neighbours that the kernel knows a hardware address of.
pub fn read() -> Vec<Neighbour> {
    parse(&std::fs::read_to_string("/proc/net/arp").unwrap_or_default())
}

/// The columns are: address, hardware type, flags, hardware address, mask, device (proc(5)). Flag 2 says that the entry is complete.
fn parse(text: &str) -> Vec<Neighbour> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let flags = u32::from_str_radix(columns.get(2)?.strip_prefix("0x")?, 16).ok()?;
            let mac: MacAddr = columns.get(3)?.parse().ok()?;
            (flags & 2 != 0 && mac.0 != [0; 6]).then_some(())?;
            Some(Neighbour { address: columns[0].parse().ok()?, mac, interface: (*columns.get(5)?).to_owned() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_complete_entries_only() {
        let text = "IP address       HW type     Flags       HW address            Mask     Device\n\
                    192.168.1.10     0x1         0x2         52:54:00:00:01:10     *        eth1\n\
                    192.168.1.11     0x1         0x0         00:00:00:00:00:00     *        eth1\n";
        let found = parse(text);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].address, &*found[0].interface), (Ipv4Addr::new(192, 168, 1, 10), "eth1"));
    }
}
