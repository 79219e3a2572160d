//! Lines that a process writes, kept and waited for: what a lab knows, it knows from these and not from the clock.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// All lines of a process so far, shared between its reader and whoever waits.
#[derive(Clone, Default)]
pub struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: usize,
    sources: usize,
}

impl Lines {
    /// Reads `source` to its end on a thread of its own; `show` sees every line as it comes.
    pub fn follow(&self, source: impl Read + Send + 'static, mut show: impl FnMut(&str) + Send + 'static) {
        self.state().sources += 1;
        let own = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(std::result::Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                show(&line);
                own.push(line);
            }
            own.state().ended += 1;
            own.0.changed.notify_all();
        });
    }

    /// Adds a line.
    pub fn push(&self, line: String) {
        self.state().lines.push(line);
        self.0.changed.notify_all();
    }

    /// How many lines there are: a place to wait from.
    pub fn len(&self) -> usize {
        self.state().lines.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.state().lines.clone()
    }

    /// The first line at or after `from` that `wanted` likes; waits for it until the deadline, or until the process stops writing.
    pub fn wait(&self, from: usize, within: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + within;
        let mut state = self.state();
        let mut seen = from;
        loop {
            if let Some(found) = state.lines.iter().skip(seen).find(|line| wanted(line)) {
                return Some(found.clone());
            }
            seen = seen.max(state.lines.len());
            let left = deadline.checked_duration_since(Instant::now())?;
            if state.sources > 0 && state.ended == state.sources {
                return None;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_a_line_and_gives_up_at_the_end_of_the_source() {
        let lines = Lines::default();
        lines.follow(&b"one\ntwo\n"[..], |_| {});
        let long = Duration::from_secs(60);
        assert_eq!(lines.wait(0, long, |line| line == "two").as_deref(), Some("two"));
        assert_eq!(lines.wait(0, long, |line| line == "three"), None);
        assert_eq!(lines.wait(2, long, |line| line == "two"), None);
    }
}
