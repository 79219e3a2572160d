//! What all workers share: settings, names, the cache in shards.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::FixedState;

use crate::config::Config;
use crate::daemon::forwarder::Settings;
use crate::daemon::pictures::Pictures;
use crate::dns::cache::{Cache, Hit};
use crate::dns::wire::{Incoming, Key, read_query, write_refusal};
use crate::dns::{Answer, Ask, Asker, Entry, LocalNames, answer};

const SHARDS: usize = 16;

/// Shared by all workers and the forwarder.
pub struct Engine {
    /// Names come from here.
    pub pictures: Arc<Pictures>,
    /// What the running configuration means.
    pub settings: ArcSwap<Settings>,
    shards: Box<[Mutex<Cache>]>,
    /// Chooses the shard. Its seed is random, as that of the shards is.
    hasher: FixedState,
}

/// What becomes of a message.
// As `Answer`: on the stack, once per question.
#[allow(clippy::large_enum_variant)]
pub enum Handled {
    /// The answer is written; none where nothing was.
    Done,
    /// An upstream has to be asked.
    Miss(Ask),
}

impl Engine {
    /// An engine with an empty cache.
    ///
    /// # Errors
    /// Where the kernel gives no random numbers.
    pub fn new(pictures: Arc<Pictures>, config: &Config, settings: Settings) -> anyhow::Result<Self> {
        let mut seeds = [0; 16];
        getrandom::fill(&mut seeds).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
        let [low, high] = [0, 8].map(|at| seeds[at..at + 8].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)));
        let shard = || Mutex::new(Cache::new(shard_size(config), config.dns.cache_stale, low));
        Ok(Engine {
            pictures,
            settings: ArcSwap::from_pointee(settings),
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: FixedState::with_seed(high),
        })
    }

    /// Takes a new configuration. The cache stays, unless answers may now come from elsewhere.
    pub fn apply(&self, config: &Config, settings: Settings) {
        let differ = self.settings.load().zones.answers_differ(&settings.zones);
        self.settings.store(Arc::new(settings));
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.set_limits(shard_size(config), config.dns.cache_stale);
            if differ {
                shard.clear();
            }
        }
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Cache> {
        lock(&self.shards[(self.hasher.hash_one(key) >> 40) as usize % SHARDS])
    }

    /// Looks into the cache.
    pub fn look_up(&self, key: &Key, now: Duration) -> Option<Hit> {
        self.shard(key.as_bytes()).get(key, now)
    }

    /// Puts an answer into the cache.
    pub fn keep(&self, entry: Entry, now: Duration) {
        self.shard(entry.key()).insert(entry, now);
    }

    /// How many answers are cached.
    pub fn cached(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Answers one message into `out`, or says what has to be asked. `limit` is that of the transport, `None` for UDP, where the client tells it.
    pub fn handle(
        &self,
        message: &[u8],
        network: usize,
        limit: Option<usize>,
        (names, settings, now): (&LocalNames, &Settings, Duration),
        out: &mut Vec<u8>,
    ) -> Handled {
        match read_query(message) {
            Incoming::Ignore => Handled::Done,
            Incoming::Refuse(refusal) => {
                write_refusal(&refusal, out);
                Handled::Done
            }
            Incoming::Query(query) => {
                let asker = Asker { network: Some(network), limit: limit.unwrap_or_else(|| query.udp_limit()) };
                match answer(&query, &asker, names, &settings.zones, |key| self.look_up(key, now), out) {
                    Answer::Ready(_) => Handled::Done,
                    Answer::Ask(ask) => {
                        out.clear();
                        Handled::Miss(ask)
                    }
                }
            }
        }
    }
}

fn lock(shard: &Mutex<Cache>) -> MutexGuard<'_, Cache> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An eighth more than its share: names do not fall into the shards evenly, and as many names as the file says must fit.
fn shard_size(config: &Config) -> usize {
    let size = config.dns.cache_size;
    (size + size / 8).div_ceil(SHARDS)
}
