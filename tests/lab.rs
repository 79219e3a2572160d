//! End to end: labgate in the virtual home, with real clients, real packets and the real kernel. Each test has a lab of its own.

#[path = "lab/namespaces.rs"]
mod namespaces;
#[path = "lab/support.rs"]
mod support;
