//! The one place that asks the clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::model::Now;

/// This moment on both clocks.
pub fn now() -> Now {
    let boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Now { instant: boot, unix }
}

/// Whether the kernel counts the wall clock as set by a time service (`STA_UNSYNC` is clear, ntp_adjtime(3)).
///
/// # Errors
/// What the kernel says.
pub fn synchronised() -> std::io::Result<bool> {
    // SAFETY: `timex` is numbers alone, for which zero is a value; with no mode set the call changes nothing and writes to it alone.
    #[allow(unsafe_code)]
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::ntp_adjtime(&mut timex), timex)
    };
    if state < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(timex.status & libc::STA_UNSYNC == 0)
}

/// The moment on tokio's clock at which [`Now::instant`] will be `instant`; now, where that has passed.
pub fn deadline(instant: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + instant.saturating_sub(now().instant)
}
