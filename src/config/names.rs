//! The names that rules, groups and forwards use: one namespace for networks, hosts and groups.

use std::collections::HashMap;

use super::context::Context;
use super::source::Span;
use super::tree::{Table, Value};
use super::types::{Endpoint, OutsideName};
use super::values::{self, shown};
use crate::model::DomainName;

/// Words that rules understand themselves.
const RESERVED: &[&str] = &["internet", "router", "localhost"];

/// All names of the file, with what they stand for.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<String, (Endpoint, Span)>,
    /// Names in file order, for suggestions.
    order: Vec<String>,
    /// Alias → name of its host, for hints only: rules use the name itself.
    pub aliases: HashMap<String, String>,
}

impl Names {
    /// Reads the keys of the three tables; what a key holds does not matter here.
    pub fn collect(context: &mut Context, root: &Table) -> Self {
        let mut names = Names::default();
        names.add_table(context, root, "network", Endpoint::Network);
        names.add_table(context, root, "host", Endpoint::Host);
        names.add_table(context, root, "group", Endpoint::Group);
        names
    }

    fn add_table(&mut self, context: &mut Context, root: &Table, table: &str, endpoint: fn(usize) -> Endpoint) {
        let Some(Value::Table(table)) = root.get(table).map(|entry| &entry.node.value) else { return };
        for (index, entry) in table.entries.iter().enumerate() {
            self.add(context, &entry.key, entry.key_span, endpoint(index));
        }
    }

    fn add(&mut self, context: &mut Context, key: &str, span: Span, endpoint: Endpoint) {
        let name = match values::label(key) {
            Ok(name) => name,
            Err(wrong) => {
                context.error(wrong.slug, span, wrong.message).help = wrong.help;
                key.to_lowercase()
            }
        };
        if RESERVED.contains(&name.as_str()) {
            context
                .error("reserved-name", span, format!("`{name}` cannot be the name of a {}", kind(&endpoint)))
                .label("has a meaning of its own")
                .help("choose another name");
        }
        if name.parse::<u64>().is_ok() {
            context
                .error("bad-name", span, format!("`{name}` is a number, and no name"))
                .help(format!("`{}-{name}` would do", kind(&endpoint)));
        }
        let new = kind(&endpoint);
        if let Some((older, first)) = self.known.get(&name) {
            let (older, first) = (kind(older), *first);
            let message = match older == new {
                true => format!("two {new}s have the name {}", shown(&name)),
                false => format!("{} is the name of a {older} and of a {new}", shown(&name)),
            };
            context
                .error("name-collision", span, message)
                .label(format!("given again to a {new}"))
                .also(first, format!("first given to a {older}"))
                .help("rules could not tell them apart: rename one");
            return;
        }
        self.order.push(name.clone());
        self.known.insert(name, (endpoint, span));
    }

    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<&Endpoint> {
        match self.known.get(name) {
            Some((endpoint, _)) => Some(endpoint),
            None => self.known.get(&name.to_ascii_lowercase()).map(|(endpoint, _)| endpoint),
        }
    }

    /// Reports a name that nothing has. `choice` says what would have been right.
    pub fn unknown(&self, context: &mut Context, span: Span, name: &str, choice: &str) {
        let lower = name.to_lowercase();
        let help = match self.aliases.get(&lower) {
            Some(host) => Some(format!("it is an alias: write `{host}`")),
            None => {
                let words = self.order.iter().map(String::as_str).chain(["internet", "router"]);
                context.nearest(name, words).map(|near| format!("did you mean `{near}`?"))
            }
        };
        let help = help.unwrap_or_else(|| format!("name {choice} of this file"));
        let message =
            if name.is_empty() { "the name is empty".to_owned() } else { format!("nothing is called {}", shown(name)) };
        context.error("unknown-name", span, message).label("unknown").help(help);
    }
}

/// Names of the outside that rules and groups mention.
#[derive(Debug, Default)]
pub(super) struct OutsideNames {
    /// Each once, with the place to mark.
    pub found: Vec<(OutsideName, Span)>,
    by_name: HashMap<DomainName, usize>,
}

impl OutsideNames {
    /// The index of a name; its first mention gives it one.
    pub fn index(&mut self, context: &Context, name: DomainName, span: Span) -> usize {
        *self.by_name.entry(name).or_insert_with_key(|name| {
            self.found.push((OutsideName { name: name.clone(), place: context.place(span) }, span));
            self.found.len() - 1
        })
    }
}

/// The kind of a named thing in words.
pub(super) fn kind(endpoint: &Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Network(_) => "network",
        Endpoint::Host(_) => "host",
        Endpoint::Group(_) => "group",
        Endpoint::Internet | Endpoint::Router => "reserved word",
        Endpoint::Cidr(_) => "literal address",
        Endpoint::Name(_) => "outside name",
    }
}
