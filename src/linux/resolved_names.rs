//! `names.json`: the last good addresses of outside names in rules, kept over a restart.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::network_record::{boot, write_atomically};
use crate::dns::outside::{Answered, Resolution, Resolved};
use crate::model::{DomainName, Now, UnixSeconds};

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Stored {
    version: u32,
    /// The boot whose clock the durations are of.
    boot: String,
    names: BTreeMap<String, StoredName>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct StoredName {
    /// Each with the moment until which it was promised.
    addresses: BTreeMap<Ipv4Addr, Duration>,
    answered: Duration,
    answered_unix: UnixSeconds,
    ttl_seconds: u32,
}

/// Where the file lies below the state folder.
pub fn path(state: &Path) -> PathBuf {
    state.join("names.json")
}

/// What was kept. A file that cannot be understood is none.
pub fn load(state: &Path) -> Resolved {
    let mut resolved = Resolved::default();
    let stored = std::fs::read(path(state)).ok().and_then(|bytes| serde_json::from_slice::<Stored>(&bytes).ok());
    let Some(stored) = stored.filter(|stored| stored.version == VERSION) else { return resolved };
    let same_boot = stored.boot == boot();
    let here = |instant: Duration| if same_boot { instant } else { Duration::ZERO };
    for (name, kept) in stored.names {
        let Ok(name) = DomainName::parse(&name) else { continue };
        let at = Now { instant: here(kept.answered), unix: kept.answered_unix };
        let resolution = Resolution {
            addresses: kept.addresses.into_iter().map(|(address, until)| (address, here(until))).collect(),
            answered: Some(Answered { at, ttl_seconds: kept.ttl_seconds }),
            failure: None,
        };
        resolved.set(name, resolution);
    }
    resolved
}

/// Keeps what is known of `names`.
///
/// # Errors
/// Where the disk refuses.
pub fn save<'a>(state: &Path, resolved: &Resolved, names: impl Iterator<Item = &'a DomainName>) -> io::Result<()> {
    let kept = names.filter_map(|name| {
        let known = resolved.get(name)?;
        let Answered { at, ttl_seconds } = known.answered?;
        let kept = StoredName {
            addresses: known.addresses.clone(),
            answered: at.instant,
            answered_unix: at.unix,
            ttl_seconds,
        };
        Some((name.to_string(), kept))
    });
    let stored = Stored { version: VERSION, boot: boot(), names: kept.collect() };
    write_atomically(&path(state), &serde_json::to_vec_pretty(&stored)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::outside::Heard;

    #[test]
    fn comes_back_with_its_times_within_a_boot_and_without_them_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        assert_eq!(load(state), Resolved::default());
        let now = Now { instant: Duration::from_secs(1000), unix: 1_800_000_000 };
        let [good, bad] = ["good.example.net", "bad.example.net"].map(|name| DomainName::parse(name).unwrap());
        let address = Ipv4Addr::new(198, 51, 100, 80);
        let mut resolved = Resolved::default();
        let known = Resolution::default().after(&Heard::Addresses(vec![(address, 300)], 300), now);
        resolved.set(good.clone(), known.clone());
        resolved.set(bad.clone(), Resolution::default().after(&Heard::Nothing("it does not exist"), now));
        save(state, &resolved, [&good, &bad].into_iter()).unwrap();
        let back = load(state);
        assert_eq!((back.get(&good), back.get(&bad)), (Some(&known), None));

        let text = std::fs::read_to_string(path(state)).unwrap();
        std::fs::write(path(state), text.replace(&boot(), "another boot")).unwrap();
        let back = load(state);
        let after_boot = back.get(&good).unwrap();
        assert_eq!(after_boot.addresses, BTreeMap::from([(address, Duration::ZERO)]));
        assert_eq!(after_boot.age(now.after(Duration::from_secs(7))), Some(Duration::from_secs(7)));

        std::fs::write(path(state), "\0\0").unwrap();
        assert_eq!(load(state), Resolved::default());
    }
}
