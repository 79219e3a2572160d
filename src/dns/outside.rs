//! Names of the outside that rules mention: which addresses each of them has, from what upstreams say. What is known of a name after an answer,
//! a failure and a while is decided here; who asks, and when it is published, is the daemon's.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::entry::Entry;
use super::upstream::is_private;
use super::wire::{ExtendedError, rcode};
use crate::model::{DomainName, Now};

/// How long an address stays after the last answer with it has ended: clients keep what they heard, some of them a little longer.
const GRACE: Duration = Duration::from_secs(60);
/// The most addresses of one name; those that were promised for the shortest time leave.
const MOST_ADDRESSES: usize = 64;
/// A name is asked again when this much of its time is over, in per cent.
const EARLY: u64 = 85;
/// But not more often than this.
const SHORTEST: Duration = Duration::from_secs(5);
/// After failures in a row the wait doubles up to this.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// For how long past their time the last good addresses count as good enough to say nothing.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is known of all names that rules mention or have mentioned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    by_name: HashMap<DomainName, Arc<Resolution>>,
}

impl Resolved {
    /// What is known of a name; `None` before the first word about it.
    pub fn get(&self, name: &DomainName) -> Option<&Resolution> {
        self.by_name.get(name).map(|found| &**found)
    }

    /// Puts in what is known of a name.
    pub fn set(&mut self, name: DomainName, resolution: Resolution) {
        self.by_name.insert(name, Arc::new(resolution));
    }

    /// The addresses of a name, in order.
    pub fn addresses(&self, name: &DomainName) -> impl Iterator<Item = Ipv4Addr> {
        self.get(name).into_iter().flat_map(|found| found.addresses.keys().copied())
    }
}

/// What is known of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Its addresses, each with the moment on the engine's clock until which an answer promised it.
    pub addresses: BTreeMap<Ipv4Addr, Duration>,
    /// The last good answer.
    pub answered: Option<Answered>,
    /// What came instead of a good answer since then.
    pub failure: Option<Failure>,
}

/// A good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// When it came; [`Now::instant`] is zero where that was before this boot.
    pub at: Now,
    /// For how long it holds.
    pub ttl_seconds: u32,
}

/// Lookups that failed in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When the last one did.
    pub last: Now,
    /// How many did.
    pub count: u32,
    /// Why the last one did.
    pub why: &'static str,
}

/// What an answer says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Its addresses, each with the seconds it may be kept, and the seconds after which the answer as a whole is too old.
    Addresses(Vec<(Ipv4Addr, u32)>, u32),
    /// Nothing that a rule could follow, and why.
    Nothing(&'static str),
}

/// Reads the answer to a question for IPv4 addresses. `taken` says which addresses a rule may follow.
pub fn hear(entry: &Entry, taken: impl Fn(Ipv4Addr) -> bool) -> Heard {
    let all = entry.addresses();
    let found: Vec<(Ipv4Addr, u32)> = all.iter().copied().filter(|(address, _)| taken(*address)).collect();
    if !found.is_empty() {
        return Heard::Addresses(found, entry.ttl());
    }
    Heard::Nothing(match entry.rcode() {
        _ if !all.is_empty() || entry.error() == Some(ExtendedError::REBIND) => "its addresses are private ones",
        rcode::NOERROR => "it has no IPv4 address",
        rcode::NXDOMAIN => "it does not exist",
        _ if entry.error() == Some(ExtendedError::NO_UPSTREAM) => "there is no upstream to ask",
        _ => "no upstream answers",
    })
}

/// Whether a rule may follow a name to `address`: never to this router, an own network or nobody, and to a private address only where the
/// person's own servers were asked (`forwarded`).
pub fn is_outside(address: Ipv4Addr, forwarded: bool, own: &[Ipv4Addr], subnets: &[Ipv4Net]) -> bool {
    let nobody = address.is_unspecified() || address.is_loopback() || address.octets()[0] >= 224;
    let ours = own.contains(&address) || subnets.iter().any(|subnet| subnet.contains(&address));
    !nobody && !ours && (forwarded || !is_private(IpAddr::V4(address), own))
}

impl Resolution {
    /// After `heard` came at `now`. A failure takes nothing away; a good answer ends what no answer has promised for a while.
    pub fn after(&self, heard: &Heard, now: Now) -> Resolution {
        let (found, ttl_seconds) = match heard {
            Heard::Addresses(found, ttl) => (found, *ttl),
            Heard::Nothing(why) => {
                let count = self.failure.map_or(0, |failure| failure.count).saturating_add(1);
                return Resolution { failure: Some(Failure { last: now, count, why }), ..self.clone() };
            }
        };
        let mut addresses = self.addresses.clone();
        addresses.retain(|_, until| *until + GRACE > now.instant);
        for (address, seconds) in found {
            let until = addresses.entry(*address).or_default();
            *until = (*until).max(now.instant + Duration::from_secs((*seconds).into()));
        }
        while addresses.len() > MOST_ADDRESSES {
            let first_to_end = addresses.iter().min_by_key(|(_, until)| **until).map(|(address, _)| *address);
            first_to_end.map(|address| addresses.remove(&address));
        }
        Resolution { addresses, answered: Some(Answered { at: now, ttl_seconds }), failure: None }
    }

    /// When it should be asked for again, on the engine's clock.
    pub fn ask_at(&self) -> Duration {
        if let Some(failure) = self.failure {
            let wait = SHORTEST * 2_u32.saturating_pow(failure.count.min(8) - 1);
            return failure.last.instant + wait.min(LONGEST_RETRY);
        }
        self.answered.map_or(Duration::ZERO, |answered| {
            let most = Duration::from_millis(u64::from(answered.ttl_seconds) * 10 * EARLY);
            answered.at.instant + most.max(SHORTEST)
        })
    }

    /// How long ago the last good answer came.
    pub fn age(&self, now: Now) -> Option<Duration> {
        self.answered.map(|answered| match answered.at.instant {
            Duration::ZERO => Duration::from_secs(now.unix.saturating_sub(answered.at.unix)),
            instant => now.instant.saturating_sub(instant),
        })
    }

    /// Whether rules can be content with it: it has addresses that are not far past their time, or nobody has failed to find some yet.
    pub fn is_good(&self, now: Now) -> bool {
        let Some(answered) = self.answered else { return self.failure.is_none() };
        let lasts = Duration::from_secs(answered.ttl_seconds.into()) + PATIENCE;
        self.failure.is_none() || self.age(now).is_some_and(|age| age <= lasts)
    }
}

/// When a name should be asked for next, on the engine's clock: at once where this process has not done so yet. A question under way, sent at
/// `asked`, gets its time.
pub fn ask_at(known: Option<&Resolution>, asked: Option<Duration>) -> Duration {
    asked.map_or(Duration::ZERO, |asked| known.map_or(Duration::ZERO, Resolution::ask_at).max(asked + SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Now = Now { instant: Duration::from_secs(1000), unix: 1_800_000_000 };

    fn at(seconds: u64) -> Now {
        START.after(Duration::from_secs(seconds))
    }

    fn of(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, last)
    }

    fn heard(lasts: &[u8], ttl: u32) -> Heard {
        Heard::Addresses(lasts.iter().map(|last| (of(*last), ttl)).collect(), ttl)
    }

    fn lasts(known: &Resolution) -> Vec<u8> {
        known.addresses.keys().map(|address| address.octets()[3]).collect()
    }

    #[test]
    fn an_address_stays_for_its_time_and_a_grace_after_it_was_last_seen() {
        let known = Resolution::default().after(&heard(&[1, 2], 100), START).after(&heard(&[2, 3], 100), at(85));
        assert_eq!(lasts(&known), [1, 2, 3]);
        let known = known.after(&heard(&[3], 100), at(159));
        assert_eq!(lasts(&known), [1, 2, 3], "the first was promised until 100, and has its grace");
        let known = known.after(&heard(&[3], 100), at(160));
        assert_eq!(lasts(&known), [2, 3]);
        assert_eq!(lasts(&known.after(&heard(&[4], 0), at(1000))), [4]);
    }

    #[test]
    fn a_failure_takes_nothing_and_is_told_once_it_lasts() {
        let good = Resolution::default().after(&heard(&[1], 60), START);
        let mut known = good.clone();
        for seconds in [51, 56, 66, 86, 126, 186, 246, 306, 366] {
            assert_eq!(known.ask_at(), at(seconds).instant, "asked at {seconds}");
            known = known.after(&Heard::Nothing("no upstream answers"), at(seconds));
            assert!(known.is_good(at(360)) && !known.is_good(at(361)));
        }
        assert_eq!(
            (known.failure.unwrap().count, known.age(at(366)), lasts(&known)),
            (9, Some(Duration::from_secs(366)), vec![1])
        );
        let again = known.after(&heard(&[1], 60), at(400));
        assert!(again.failure.is_none() && again.is_good(at(100_000)), "nobody says that it fails");
        let never = Resolution::default();
        assert!(never.is_good(START) && !never.after(&Heard::Nothing("it does not exist"), START).is_good(START));
    }

    #[test]
    fn a_name_of_many_addresses_keeps_those_that_last_longest() {
        let mut known = Resolution::default();
        for round in 0..50_u8 {
            known = known.after(&heard(&[round * 3, round * 3 + 1, round * 3 + 2], 3600), at(round.into()));
        }
        assert_eq!((known.addresses.len(), lasts(&known)[0]), (MOST_ADDRESSES, 150 - 64));
    }

    #[test]
    fn it_is_asked_at_once_and_then_before_its_time_ends() {
        let known = Resolution::default().after(&heard(&[1], 300), START);
        assert_eq!(ask_at(Some(&known), None), Duration::ZERO);
        assert_eq!(ask_at(Some(&known), Some(START.instant)), at(255).instant);
        assert_eq!(ask_at(None, Some(START.instant)), at(5).instant, "the question may have been lost");
        let short = Resolution::default().after(&heard(&[1], 1), START);
        assert_eq!(ask_at(Some(&short), Some(START.instant)), at(5).instant);
    }

    #[test]
    fn an_answer_of_an_earlier_boot_is_as_old_as_the_wall_clock_says() {
        let answered = Answered { at: Now { instant: Duration::ZERO, unix: START.unix - 7200 }, ttl_seconds: 60 };
        let known = Resolution { answered: Some(answered), ..Resolution::default() };
        assert_eq!(known.age(START), Some(Duration::from_secs(7200)));
        assert_eq!(known.age(Now { unix: 9, ..START }), Some(Duration::ZERO), "1970: nobody knows");
    }

    #[test]
    fn no_name_leads_a_rule_home() {
        let own = [Ipv4Addr::new(203, 0, 113, 2)];
        let subnets = ["192.168.1.0/24".parse().unwrap(), "198.18.0.0/24".parse().unwrap()];
        let follows = |address: &str, forwarded| is_outside(address.parse().unwrap(), forwarded, &own, &subnets);
        assert!(follows("198.51.100.80", false) && follows("10.9.9.9", true));
        for never in
            ["192.168.1.10", "198.18.0.9", "203.0.113.2", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"]
        {
            assert!(!follows(never, false) && !follows(never, true), "{never}");
        }
        assert!(!follows("10.9.9.9", false) && !follows("169.254.169.254", false) && !follows("100.64.0.1", false));
    }
}
