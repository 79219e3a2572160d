//! Floor 1: the text of the file → [`Config`], or every problem of it, in file order.
//!
//! The way: `tree` (TOML of all files, with places) → `decode` (table by table, every problem reported and survived) → `cross` (what no
//! table can tell alone) → [`Config`]. `keys` holds every key once; [`slugs`] explains every kind of problem.

mod context;
mod cross;
mod decode;
mod keys;
mod names;
mod options;
mod pools;
mod render;
mod report;
mod schema;
mod services;
pub mod slugs;
mod source;
mod suggest;
mod syntax;
mod tree;
mod types;
mod values;

pub use pools::default_pool;
pub use report::{Mark, Problem, Remark, Report, Severity};
pub use schema::schema;
pub use types::*;

pub(crate) use suggest::nearest;

use context::Context;
use source::{File, Span};

/// All files together may be so large.
const LARGEST: usize = 4 << 20;

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

/// Reads and checks a configuration. Pure: looks at nothing but its arguments.
pub fn check(sources: &[Source]) -> Checked {
    let mut size = 0;
    let mut broken = Vec::new();
    let mut files = Vec::new();
    for source in sources {
        size += source.text.len();
        let (text, problem) =
            if size > LARGEST { (String::new(), Some(Unreadable::TooLarge)) } else { text_of(&source.text) };
        files.push(File::new(&source.name, text));
        broken.push(problem);
    }
    if files.is_empty() {
        files.push(File::new("labgate.toml", String::new()));
        broken.push(None);
    }
    let mut context = Context::new(files);
    for (file, problem) in broken.iter().enumerate() {
        match problem {
            None => {}
            Some(Unreadable::TooLarge) => {
                context
                    .error("too-large", Span { file, start: 0, end: 0 }, "the configuration is larger than 4 MB")
                    .help("long lists belong into files of their own, which the configuration names");
            }
            Some(Unreadable::NotUtf8(at)) => {
                context
                    .error("not-utf8", Span { file, start: *at, end: *at + 1 }, "the file is not UTF-8 here")
                    .label("first wrong octet")
                    .help("save it as UTF-8; `iconv -f latin1 -t utf8` converts an old file");
            }
        }
    }
    let readable: Vec<bool> = broken.iter().map(Option::is_none).collect();
    let root = tree::parse(&mut context, &readable);
    let hopeless = readable.iter().any(|readable| !readable);
    let config = if hopeless { None } else { decode::config(&mut context, &root) };
    let config = config.filter(|_| context.errors() == 0);
    Checked { config, report: context.finish() }
}

enum Unreadable {
    TooLarge,
    /// The first wrong octet.
    NotUtf8(usize),
}

fn text_of(bytes: &[u8]) -> (String, Option<Unreadable>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(wrong) => (String::from_utf8_lossy(bytes).into_owned(), Some(Unreadable::NotUtf8(wrong.valid_up_to()))),
    }
}
