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

/// A moment of the wall clock for people: `2026-11-26 04:10:05 UTC`.
pub fn utc_text(unix: UnixSeconds) -> String {
    let (days, second) = (unix / 86_400, unix % 86_400);
    // The calendar repeats every 400 years of 146,097 days; its years are counted from March, so that the leap day ends one.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day_of_month:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// A span for people, by its two largest units: `5 h 12 m`.
pub fn span_text(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} m {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} m"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::{span_text, utc_text};

    #[test]
    fn spans_in_words() {
        assert_eq!([9, 61, 18_720, 90_000].map(span_text), ["9 s", "1 m 1 s", "5 h 12 m", "1 d 1 h"]);
    }

    #[test]
    fn the_calendar_is_right_around_leap_days_and_centuries() {
        assert_eq!(utc_text(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc_text(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(utc_text(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc_text(1_735_689_599), "2024-12-31 23:59:59 UTC");
        assert_eq!(utc_text(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }
}
