//! Floor 0: the words of the house. Plain values without behaviour of their own; every floor may use them, and they use only `std`.

mod binding;
mod flow;
mod links;
mod mac;
mod name;
mod shared_map;
mod time;

pub use binding::{Binding, Bindings, ClientKey};
pub use flow::{Flow, Ports, TCP, Tuple, UDP};
pub use links::{Link, LinkKind, Links, Route};
pub use mac::MacAddr;
pub use name::{DomainName, NameError, is_ldh_label};
pub use shared_map::SharedMap;
pub use time::{Now, UnixSeconds, span_text, utc_text};
