//! Floor 6: the verbs.
