//! The whole check of a configuration: what the text says, and what the policy made from it means.

use crate::config::{self, Checked, Source};
use crate::firewall::{self, Policy};

/// Reads and checks a configuration, its expectations and rules included. Pure: looks at nothing but its arguments. Only a file that
/// passes is ever applied.
pub fn check(sources: &[Source]) -> Checked {
    let mut checked = config::check(sources);
    if let Some(config) = &checked.config {
        checked.report.extend(firewall::review(config, &Policy::compile(config)));
        if checked.report.errors > 0 {
            checked.config = None;
        }
    }
    checked
}
