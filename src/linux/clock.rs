//! The one place that asks the clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use super::network_record::boot;
use crate::desired::revision::Moment;
use crate::model::Now;

/// This moment on both clocks.
pub fn now() -> Now {
    let boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Now { instant: boot, unix }
}

/// This moment, so that it can be told after a restart and after a boot.
pub fn moment() -> Moment {
    Moment::new(&boot(), now())
}

/// The moment on tokio's clock at which [`Now::instant`] will be `instant`; now, where that has passed.
pub fn deadline(instant: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + instant.saturating_sub(now().instant)
}
