//! Which server is asked: the quickest that works; others are tried now and then, failing ones after a while.

use std::time::Duration;

use crate::config::Upstream;

/// How much of its smoothed round trip a server that was not asked keeps: so that slow ones are measured again now and then.
const DECAY: f64 = 0.98;
const SHORTEST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_millis(800);
/// A lost packet is no failure yet; several in a row are.
const FAILURES: u32 = 2;
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// How many answers in other case it takes to no longer send mixed case.
const OTHER_CASE: u32 = 3;

/// The servers of one route and how they do.
#[derive(Clone, Debug)]
pub struct Servers {
    list: Vec<Server>,
}

#[derive(Clone, Debug)]
struct Server {
    upstream: Upstream,
    /// Smoothed round trip in seconds; 0 before the first answer.
    round_trip: f64,
    failures: u32,
    /// When a failing server may be tried again.
    retry: Duration,
    other_case: u32,
}

impl Server {
    fn is_failing(&self) -> bool {
        self.failures >= FAILURES
    }
}

/// In which order servers are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Indices, the best first.
    pub order: Vec<usize>,
    /// A failing server that is tried beside the first, to see whether it is back.
    pub probe: Option<usize>,
}

impl Servers {
    /// Servers nothing is known about yet.
    pub fn new(upstreams: &[Upstream]) -> Self {
        let server = |upstream: &Upstream| Server {
            upstream: upstream.clone(),
            round_trip: 0.0,
            failures: 0,
            retry: Duration::ZERO,
            other_case: 0,
        };
        Servers { list: upstreams.iter().map(server).collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// A server.
    pub fn get(&self, index: usize) -> Option<&Upstream> {
        self.list.get(index).map(|server| &server.upstream)
    }

    /// Whether these servers were made from that list.
    pub fn is_made_from(&self, upstreams: &[Upstream]) -> bool {
        self.list.iter().map(|server| &server.upstream).eq(upstreams)
    }

    /// Whom to ask now.
    pub fn plan(&mut self, now: Duration) -> Plan {
        let mut order: Vec<usize> = (0..self.list.len()).collect();
        let list = &self.list;
        order.sort_by(|&a, &b| {
            let (a, b) = (&list[a], &list[b]);
            let failing = a.is_failing().cmp(&b.is_failing());
            let rest = if a.is_failing() { a.retry.cmp(&b.retry) } else { a.round_trip.total_cmp(&b.round_trip) };
            failing.then(rest)
        });
        for &other in order.iter().skip(1) {
            self.list[other].round_trip *= DECAY;
        }
        let probe = order.iter().copied().skip(1).find(|&index| {
            let server = &self.list[index];
            server.is_failing() && server.retry <= now
        });
        if let Some(index) = probe {
            self.list[index].retry = now + backoff(self.list[index].failures);
        }
        Plan { order, probe }
    }

    /// Whether every server fails, so that waiting long for them is in vain.
    pub fn all_fail(&self) -> bool {
        self.list.iter().all(Server::is_failing)
    }

    /// How long to wait for a server before another is asked too.
    pub fn wait(&self, index: usize) -> Duration {
        let known = self.list.get(index).map_or(0.0, |server| server.round_trip);
        if known == 0.0 {
            return LONGEST_WAIT.min(Duration::from_millis(500));
        }
        Duration::from_secs_f64((4.0 * known + 0.05).min(1.0)).clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }

    /// A server answered, whatever it said: NXDOMAIN is no failure.
    pub fn answered(&mut self, index: usize, round_trip: Duration) {
        let Some(server) = self.list.get_mut(index) else { return };
        let new = round_trip.as_secs_f64().max(1e-6);
        let first = server.round_trip == 0.0 || server.is_failing();
        server.round_trip = if first { new } else { 0.7 * server.round_trip + 0.3 * new };
        server.failures = 0;
    }

    /// A server did not answer in time, or said that it cannot.
    pub fn failed(&mut self, index: usize, now: Duration) {
        let Some(server) = self.list.get_mut(index) else { return };
        server.failures = server.failures.saturating_add(1);
        server.round_trip = (server.round_trip * 2.0).clamp(0.1, 2.0);
        server.retry = now + backoff(server.failures);
    }

    /// A server changed the case of the question.
    pub fn changed_case(&mut self, index: usize) {
        if let Some(server) = self.list.get_mut(index) {
            server.other_case = server.other_case.saturating_add(1);
        }
    }

    /// Whether the server is sent mixed case.
    pub fn keeps_case(&self, index: usize) -> bool {
        self.list.get(index).is_none_or(|server| server.other_case < OTHER_CASE)
    }

    /// The servers that fail now, with what they are.
    pub fn failing(&self) -> impl Iterator<Item = &Upstream> {
        self.list.iter().filter(|server| server.is_failing()).map(|server| &server.upstream)
    }
}

fn backoff(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(FAILURES).min(5)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Transport;

    fn servers(count: u8) -> Servers {
        let list: Vec<_> = (1..=count)
            .map(|last| Upstream { transport: Transport::Udp, server: ([192, 0, 2, last], 53).into() })
            .collect();
        Servers::new(&list)
    }

    #[test]
    fn the_quick_one_gets_nearly_all_and_the_slow_one_is_measured_again() {
        let mut servers = servers(2);
        let mut asked = [0, 0];
        for turn in 0..1000 {
            let first = servers.plan(Duration::from_millis(turn)).order[0];
            asked[first] += 1;
            servers.answered(first, Duration::from_millis(if first == 0 { 1 } else { 40 }));
        }
        assert!(asked[0] > 970 && asked[1] >= 3, "{asked:?}");
    }

    #[test]
    fn a_dead_server_is_left_probed_and_taken_back() {
        let mut servers = servers(2);
        let now = Duration::from_secs(100);
        servers.answered(0, Duration::from_millis(1));
        servers.answered(1, Duration::from_millis(5));
        servers.failed(0, now);
        servers.failed(0, now);
        assert_eq!(servers.plan(now), Plan { order: vec![1, 0], probe: None });
        let later = now + Duration::from_secs(1);
        assert_eq!(servers.plan(later), Plan { order: vec![1, 0], probe: Some(0) });
        assert_eq!(servers.plan(later).probe, None, "one probe, no stampede");
        servers.answered(0, Duration::from_millis(1));
        assert_eq!(servers.plan(later).order[0], 0);
        servers.failed(0, later);
        assert!(!servers.all_fail() && servers.failing().next().is_none(), "one lost packet is no failure");
    }
}
