//! The resolvers that the operating system uses, as the uplink's own configuration left them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// systemd-resolved's own address: behind it stand the real ones, in another file.
const STUB: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);

/// The files that are read.
pub fn files() -> Vec<PathBuf> {
    vec!["/etc/resolv.conf".into(), "/run/systemd/resolve/resolv.conf".into()]
}

/// The IPv4 resolvers, in order. Loopback addresses are left out: that is this machine, perhaps ourselves.
pub fn resolvers() -> Vec<Ipv4Addr> {
    let [system, behind_stub] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
        .map(|path| parse(&std::fs::read(path).unwrap_or_default()));
    let found = if system.contains(&STUB) { behind_stub } else { system };
    found.into_iter().filter(|address| !address.is_loopback() && !address.is_unspecified()).collect()
}

/// resolv.conf(5): lines `nameserver ADDRESS`.
fn parse(text: &[u8]) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some("nameserver")
            && let Some(Ok(IpAddr::V4(address))) = words.next().map(str::parse)
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_nameservers() {
        let text = b"# comment\nsearch example\nnameserver 9.9.9.9\nnameserver  1.1.1.1 \nnameserver 9.9.9.9\nnameserver ::1\n\
                     nameserver\noptions edns0\n;nameserver 8.8.8.8\nnameserver x\xff\n";
        assert_eq!(parse(text), [Ipv4Addr::new(9, 9, 9, 9), Ipv4Addr::new(1, 1, 1, 1)]);
    }
}
