//! Policy → table.

use crate::firewall::{Policy, Ruleset};

/// Sets and chains of the table: they change with the configuration only.
pub fn ruleset(policy: &Policy) -> Ruleset {
    policy.ruleset()
}
