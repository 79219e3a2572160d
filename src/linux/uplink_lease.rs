//! `uplink.json`: the last lease of the uplink, kept over a restart.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::network_record::{boot, write_atomically};
use crate::dhcp::client::{Kept, Lease};
use crate::model::{MacAddr, Now, UnixSeconds};

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Stored {
    version: u32,
    /// The interface and its hardware address: another card is another client.
    interface: String,
    mac: String,
    lease: Lease,
    acknowledged_unix: UnixSeconds,
    /// On the boot clock of `boot`; `None`: never.
    ends: Option<Duration>,
    boot: String,
}

/// Where the lease lies below the state folder.
pub fn path(state: &Path) -> PathBuf {
    state.join("uplink.json")
}

/// The lease that was kept for this interface, if one was. A file that cannot be understood is none.
pub fn load(state: &Path, interface: &str, mac: MacAddr, now: Now) -> Option<Kept> {
    let stored: Stored = serde_json::from_slice(&std::fs::read(path(state)).ok()?).ok()?;
    let ours = stored.version == VERSION && stored.interface == interface && stored.mac == mac.to_string();
    ours.then(|| Kept { remaining: remaining(&stored, &boot(), now), lease: stored.lease })
}

/// Within one boot the boot clock tells; after it the wall clock, where it does not stand before the moment of the lease.
fn remaining(stored: &Stored, boot: &str, now: Now) -> Option<Duration> {
    let Some(ends) = stored.ends else { return Some(Duration::MAX) };
    if stored.boot == boot {
        return Some(ends.saturating_sub(now.instant));
    }
    let past = now.unix.checked_sub(stored.acknowledged_unix)?;
    Some(Duration::from_secs(u64::from(stored.lease.seconds).saturating_sub(past)))
}

/// Keeps a lease.
///
/// # Errors
/// Where the disk refuses.
pub fn save(
    state: &Path,
    interface: &str,
    mac: MacAddr,
    lease: &Lease,
    ends: Option<Duration>,
    now: Now,
) -> io::Result<()> {
    let stored = Stored {
        version: VERSION,
        interface: interface.to_owned(),
        mac: mac.to_string(),
        lease: lease.clone(),
        acknowledged_unix: now.unix,
        ends,
        boot: boot(),
    };
    write_atomically(&path(state), &serde_json::to_vec_pretty(&stored)?)
}

/// Forgets the lease: the server has refused it.
pub fn forget(state: &Path) {
    let _ = std::fs::remove_file(path(state));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const NOW: Now = Now { instant: Duration::from_secs(1000), unix: 1_800_000_000 };

    fn lease() -> Lease {
        Lease {
            address: "203.0.113.5/24".parse().unwrap(),
            server: [203, 0, 113, 1].into(),
            seconds: 3600,
            renewal: None,
            rebinding: None,
            routes: vec![(Default::default(), [203, 0, 113, 1].into())],
            resolvers: vec![[9, 9, 9, 9].into()],
            mtu: Some(1492),
        }
    }

    #[test]
    fn comes_back_for_the_same_card_only() {
        let folder = tempfile::tempdir().unwrap();
        let ends = Some(NOW.instant + Duration::from_secs(3600));
        save(folder.path(), "eth0", MAC, &lease(), ends, NOW).unwrap();
        let later = NOW.after(Duration::from_secs(600));
        let kept = load(folder.path(), "eth0", MAC, later).unwrap();
        assert_eq!((kept.lease, kept.remaining), (lease(), Some(Duration::from_secs(3000))));
        assert_eq!(load(folder.path(), "eth1", MAC, later), None);
        assert_eq!(load(folder.path(), "eth0", MacAddr([2, 0, 0, 0, 0, 2]), later), None);
        std::fs::write(path(folder.path()), "\0\0").unwrap();
        assert_eq!(load(folder.path(), "eth0", MAC, later), None);
    }

    #[test]
    fn after_a_boot_the_wall_clock_tells_if_it_can() {
        let stored = Stored {
            version: VERSION,
            interface: "eth0".to_owned(),
            mac: MAC.to_string(),
            lease: lease(),
            acknowledged_unix: NOW.unix,
            ends: Some(NOW.instant + Duration::from_secs(3600)),
            boot: "before".to_owned(),
        };
        let at = |unix| remaining(&stored, "after", Now { instant: Duration::from_secs(5), unix });
        assert_eq!(at(NOW.unix + 600), Some(Duration::from_secs(3000)));
        assert_eq!(at(NOW.unix + 40_000_000), Some(Duration::ZERO));
        // 1970: nobody knows.
        assert_eq!(at(7), None);
    }
}
