//! Lines of the log, bounded: a flood of messages is no flood of lines.

use std::collections::HashMap;
use std::time::Duration;

use crate::desired::names::NameEvent;
use crate::dhcp::{Ended, Event};
use crate::model::{Binding, Now};

const LINES_PER_SECOND: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// What has been told lately.
#[derive(Default)]
pub(super) struct Teller {
    second: Duration,
    lines: u32,
    untold: u32,
    causes: HashMap<&'static str, (Duration, u32)>,
}

impl Teller {
    /// Whether one more line may be told this second.
    fn may_tell(&mut self, now: Now) -> bool {
        if now.instant >= self.second + Duration::from_secs(1) {
            if self.untold > 0 {
                tracing::info!("dhcp: {} more lines about leases and names were left out", self.untold);
            }
            (self.second, self.lines, self.untold) = (now.instant, 0, 0);
        }
        if self.lines >= LINES_PER_SECOND {
            self.untold += 1;
            return false;
        }
        self.lines += 1;
        true
    }

    /// A line about a name.
    pub fn name(&mut self, event: &NameEvent, now: Now) {
        if self.may_tell(now) {
            tracing::info!("dns: {event}");
        }
    }

    /// A line about a lease.
    pub fn lease(&mut self, what: &str, binding: &Binding, now: Now) {
        if !self.may_tell(now) {
            return;
        }
        let name = binding.host_name.as_deref().unwrap_or("no name");
        match binding.mac {
            Some(mac) => tracing::info!("dhcp {}: {} {what} {mac} ({name})", binding.network, binding.address),
            None => {
                tracing::info!("dhcp {}: {} {what} {:?} ({name})", binding.network, binding.address, binding.client)
            }
        }
    }

    pub fn ended(&mut self, ended: &Ended, now: Now) {
        self.lease(&format!("{} by", ended.reason), &ended.binding, now);
    }

    /// A warning: one line per cause and minute.
    pub fn event(&mut self, event: &Event, now: Now) {
        self.warn(event.cause(), &format!("dhcp: {event}"), now);
    }

    pub fn warn(&mut self, cause: &'static str, words: &str, now: Now) {
        match self.causes.get_mut(cause) {
            Some((until, untold)) if now.instant < *until => *untold += 1,
            told => {
                let untold = told.map_or(0, |(_, untold)| *untold);
                match untold {
                    0 => tracing::warn!("{words}"),
                    _ => tracing::warn!("{words} ({untold} more of this kind in the last minute)"),
                }
                self.causes.insert(cause, (now.instant + MINUTE, 0));
            }
        }
    }
}
