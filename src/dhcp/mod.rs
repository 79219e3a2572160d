//! Floor 2: DHCPv4 (RFC 2131, RFC 2132).
//!
//! [`Server`] is a machine of values: datagrams, answers to probes and the time go in, [`Output`]s come out, and
//! `poll_output()` is called until it gives `None` after every input. It has no clock, no socket and no disk. The effects of a
//! lease that belong together are one value, [`Grant`]: the shell makes the binding durable, publishes it, and only then sends
//! the acknowledgement.
//!
//! | File | What |
//! |---|---|
//! | `message` | bytes → [`message::Message`], or the reason why not |
//! | `server` | inputs, timers |
//! | `exchange` | what each message type does |
//! | `choose` | which address a client gets |
//! | `newcomers` | what strangers get while addresses run out |
//! | `table`, `pool` | who holds which address; which are free |
//! | `scope` | the configuration as the server needs it |
//! | `answer`, `reply` | options of a reply; reply → bytes |
//! | `host_name` | what a client calls itself |
//! | `restore` | restarts, and wall clocks that jump |
//!
//! [`client`] is the other side: the uplink's own client, a machine of the same kind.
//! | `client` | the other side: the client engine of the uplink |

mod answer;
mod choose;
pub mod client;
pub mod code;
mod counters;
mod exchange;
pub mod host_name;
pub mod message;
mod newcomers;
mod output;
mod pool;
mod reply;
mod restore;
mod scope;
mod server;
mod table;
#[cfg(test)]
mod testing;

pub use code::MessageType;
pub use counters::{Counters, Dropped};
pub use output::{EndReason, Ended, Event, Grant, Output};
pub use reply::{Destination, Reply};
pub use server::{Received, Server};
