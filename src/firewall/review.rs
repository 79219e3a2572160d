//! What can be said about a policy before any packet comes: expectations that do not hold, and rules that do not do what they seem to.

use super::expect;
use super::lint;
use super::policy::{self, Policy};
use super::reach::{Diagrams, Reach, Space};
use crate::config::{Config, Remark};

/// Proves every expectation of the file over all its packets, and looks for rules without effect. Where leases are not known a host that
/// follows its lease may be anywhere that a lease can take it, so what is proved holds wherever it comes.
pub fn review(config: &Config, policy: &Policy) -> Vec<Remark> {
    let mut all = Diagrams::default();
    let written = config.firewall.expect.iter().flat_map(|expectation| expectation.from.iter().chain(&expectation.to));
    let ends = policy::ends(config, written);
    let space = Space::new(policy, None, &[], &mut Vec::new(), &ends);
    let reach = Reach::new(&mut all, space);
    let mut remarks = expect::prove(&mut all, &reach, config);
    remarks.extend(lint::lint(&mut all, &reach, config));
    remarks
}
