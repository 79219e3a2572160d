//! What no table can tell alone: overlaps, doubles, and references between tables. Maps and sorted sweeps only, nothing quadratic.

mod forwards;
mod hosts;
mod networks;
mod outside;
mod pools;

pub(super) use forwards::{except, forwards};
pub(super) use hosts::{Reserved, hosts};
pub(super) use networks::networks;
pub(super) use outside::outside_names;
