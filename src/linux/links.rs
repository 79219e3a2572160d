//! The picture of the kernel's interfaces, addresses and default route: the value is of floor 0, so that the wish can be compared with it;
//! `linux::netlink` reads it.

pub use crate::model::{Link, LinkKind, Links, Route};
