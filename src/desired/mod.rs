//! Floor desired.
