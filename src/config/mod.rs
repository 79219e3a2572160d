//! Floor 1: the text of the file → [`Config`], or every problem of it, in file order.

mod types;

pub use types::*;

/// One file of the configuration: the main file first, then the fragments of `labgate.d` by name.
#[derive(Clone, Debug)]
pub struct Source {
    /// Name shown in messages, without its folder for places, e.g. `labgate.toml` or `labgate.d/10-iot.toml`.
    pub name: String,
    /// Its bytes; anything but UTF-8 is a problem with a place.
    pub text: Vec<u8>,
}

/// What a check finds: the configuration where there is no error, and what is to be said.
#[derive(Debug)]
pub struct Checked {
    /// `Some` exactly where no problem is an error.
    pub config: Option<Config>,
    /// Errors and warnings, in file order.
    pub report: Report,
}

/// Problems in file order, able to show themselves.
#[derive(Debug, Default)]
pub struct Report {
    /// How many errors.
    pub errors: usize,
    /// How many warnings.
    pub warnings: usize,
}

/// Reads and checks a configuration. Pure: looks at nothing but its arguments.
pub fn check(_sources: &[Source]) -> Checked {
    todo!()
}
