//! Time as the engines see it: handed in, never asked for.

use std::time::Duration;

/// Seconds since 1970-01-01T00:00:00Z, as the wall clock tells them. The wall clock of a router without a battery starts in 1970 and jumps.
pub type UnixSeconds = u64;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since boot, suspended time included (`CLOCK_BOOTTIME`). It never jumps: every timer is measured on it.
    pub instant: Duration,
    /// The wall clock. Used only for what is stored or shown.
    pub unix: UnixSeconds,
}

impl Now {
    /// This moment moved forward by `by` on both clocks.
    pub fn after(self, by: Duration) -> Now {
        Now { instant: self.instant + by, unix: self.unix + by.as_secs() }
    }
}
