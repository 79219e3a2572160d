//! Floor desired.

pub mod names;
