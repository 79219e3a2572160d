//! End to end: labgate in the virtual home, with real clients, real packets and the real kernel. Each test has a lab of its own.

#[path = "lab/support.rs"]
mod support;

#[path = "lab/apply.rs"]
mod apply;
#[path = "lab/bridge.rs"]
mod bridge;
#[path = "lab/change.rs"]
mod change;
#[path = "lab/clients.rs"]
mod clients;
#[path = "lab/counters.rs"]
mod counters;
#[path = "lab/crash.rs"]
mod crash;
#[path = "lab/cut.rs"]
mod cut;
#[path = "lab/doctor.rs"]
mod doctor;
#[path = "lab/faults.rs"]
mod faults;
#[path = "lab/follow.rs"]
mod follow;
#[path = "lab/namespaces.rs"]
mod namespaces;
#[path = "lab/names.rs"]
mod names;
#[path = "lab/others.rs"]
mod others;
#[path = "lab/plan.rs"]
mod plan;
#[path = "lab/reach.rs"]
mod reach;
#[path = "lab/revisions.rs"]
mod revisions;
#[path = "lab/refused.rs"]
mod refused;
#[path = "lab/uplink.rs"]
mod uplink;
#[path = "lab/verb.rs"]
mod verb;
