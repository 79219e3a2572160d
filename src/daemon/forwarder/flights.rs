//! Which questions are under way, who waits for them, and how many there may be.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::Ipv4Addr;

use foldhash::fast::RandomState;

use super::Waiter;
use crate::dns::wire::Key;
use crate::dns::{Ask, Route};

/// The most questions under way.
const MOST: usize = 4096;
/// How many descriptors one question may take in the worst case, with as many left over for everything else.
const DESCRIPTORS_EACH: usize = 8;
/// The share of one domain: one whose servers do not answer must not keep others from being asked.
const SHARES: usize = 4;
/// Clients that wait, together, and from one address.
const MOST_WAITERS: usize = 16_384;
const MOST_PER_CLIENT: usize = 2048;

/// What becomes of a client's wish.
pub(super) enum Admission {
    /// The question is new: ask it.
    First,
    /// It is under way.
    Joined,
    /// Too many wait.
    Refused(Box<Waiter>),
}

pub(super) struct Flights {
    most: usize,
    under_way: HashMap<(Key, Route), Vec<Waiter>, RandomState>,
    per_domain: HashMap<u64, usize, RandomState>,
    per_client: HashMap<Ipv4Addr, usize, RandomState>,
    waiters: usize,
}

impl Flights {
    /// None under way, in a process that may open `descriptors`.
    pub(super) fn new(descriptors: usize) -> Self {
        Flights {
            most: (descriptors / DESCRIPTORS_EACH).clamp(64, MOST),
            under_way: HashMap::default(),
            per_domain: HashMap::default(),
            per_client: HashMap::default(),
            waiters: 0,
        }
    }

    pub(super) fn admit(&mut self, ask: &Ask, waiter: Waiter) -> Admission {
        let client = waiter.client;
        let waits = self.per_client.get(&client).copied().unwrap_or(0);
        if self.waiters >= MOST_WAITERS || waits >= MOST_PER_CLIENT {
            return Admission::Refused(Box::new(waiter));
        }
        let id = (ask.key, ask.route);
        let admission = match self.under_way.get_mut(&id) {
            Some(waiters) => {
                waiters.push(waiter);
                Admission::Joined
            }
            None => {
                let domain = self.domain(&ask.key);
                let of_domain = self.per_domain.get(&domain).copied().unwrap_or(0);
                if self.under_way.len() >= self.most || of_domain >= self.most / SHARES {
                    return Admission::Refused(Box::new(waiter));
                }
                self.per_domain.insert(domain, of_domain + 1);
                self.under_way.insert(id, vec![waiter]);
                Admission::First
            }
        };
        self.per_client.insert(client, waits + 1);
        self.waiters += 1;
        admission
    }

    /// Ends a question; gives who waited for it.
    pub(super) fn land(&mut self, ask: &Ask) -> Vec<Waiter> {
        let waiters = self.under_way.remove(&(ask.key, ask.route)).unwrap_or_default();
        let domain = self.domain(&ask.key);
        decrease(&mut self.per_domain, domain);
        for waiter in &waiters {
            decrease(&mut self.per_client, waiter.client);
        }
        self.waiters = self.waiters.saturating_sub(waiters.len());
        waiters
    }

    /// What most likely is run by one hand: the last two labels, or three where the second is short, as in `co.uk`.
    fn domain(&self, key: &Key) -> u64 {
        let tails: Vec<&[u8]> = crate::dns::wire::suffixes(key.name()).collect();
        let from_end = |labels: usize| tails.len().checked_sub(labels + 1).map(|index| tails[index]);
        let country = from_end(1).is_some_and(|top| top[0] == 2);
        let domain = match (from_end(2), from_end(3)) {
            (Some(two), Some(three)) if country && two[0] <= 3 => Some(three),
            (two, _) => two,
        };
        self.per_domain.hasher().hash_one(domain.unwrap_or(key.name()))
    }
}

fn decrease<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize, RandomState>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::forwarder::Reply;
    use crate::dns::Asker;
    use crate::dns::wire::WireName;
    use crate::model::DomainName;

    fn ask(name: &str) -> Ask {
        let name = WireName::new(&DomainName::parse(name).unwrap());
        Ask { key: Key::new(name.as_bytes(), 1, false, false).unwrap(), route: Route::Upstream, stale: false }
    }

    fn waiter(last: u8) -> Waiter {
        let (sender, _) = tokio::sync::mpsc::channel(1);
        let asker = Asker { network: Some(0), limit: 512 };
        Waiter { message: Box::default(), asker, client: Ipv4Addr::new(10, 0, 0, last), reply: Reply::Tcp(sender) }
    }

    #[test]
    fn one_bad_domain_leaves_room_for_others() {
        let mut flights = Flights::new(65_536);
        let share = MOST / SHARES;
        for number in 0..share {
            let last = (number / 512) as u8;
            assert!(matches!(flights.admit(&ask(&format!("n{number}.bad.example")), waiter(last)), Admission::First));
        }
        assert!(matches!(flights.admit(&ask("more.bad.example"), waiter(9)), Admission::Refused(_)));
        assert!(matches!(flights.admit(&ask("n1.bad.example"), waiter(9)), Admission::Joined));
        assert!(matches!(flights.admit(&ask("www.good.example"), waiter(9)), Admission::First));
        assert!(matches!(flights.admit(&ask("a.one.co.uk"), waiter(9)), Admission::First));
        assert_eq!(flights.land(&ask("n1.bad.example")).len(), 2);
        assert!(matches!(flights.admit(&ask("more.bad.example"), waiter(9)), Admission::First));
        for number in 0..share {
            flights.land(&ask(&format!("n{number}.bad.example")));
        }
        for name in ["more.bad.example", "www.good.example", "a.one.co.uk"] {
            flights.land(&ask(name));
        }
        assert_eq!((flights.waiters, flights.per_domain.len(), flights.per_client.len()), (0, 0, 0));
    }
}
