//! Floor 2: the DNS decision.

/// Names answered locally.
#[derive(Clone, Debug, Default)]
pub struct LocalNames {}
