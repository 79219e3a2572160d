//! Floor 2: the policy.

/// Set elements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SetElements {}
