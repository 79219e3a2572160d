//! Floor 3: config + bindings + hosts → names, ruleset, set elements, and what the network should look like.

pub mod network;
