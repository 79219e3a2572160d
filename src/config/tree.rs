//! The TOML tree of all files, in file order, each key and value with its place.

use std::collections::HashMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::context::Context;
use super::report::KEPT;
use super::source::Span;
use super::syntax;
use super::values::shown;

/// A TOML value.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// Types that no key has: a fraction, a date, or a number too large.
    Other(&'static str),
}

impl Value {
    /// The type in words.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(name) => name,
        }
    }
}

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub value: Value,
    pub span: Span,
}

/// One key of a table.
#[derive(Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_span: Span,
    pub node: Node,
}

/// A table, its keys in file order.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub entries: Vec<Entry>,
    /// Written as `{ … }`: a value, which no other file adds to.
    inline: bool,
}

impl Table {
    /// The entry of a key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Adds the keys of a later file; what both files have is merged where both are tables, else refused.
    fn merge(&mut self, later: Table, context: &mut Context) {
        let mut places: HashMap<String, usize> =
            self.entries.iter().enumerate().map(|(index, entry)| (entry.key.clone(), index)).collect();
        for entry in later.entries {
            let Some(index) = places.get(&entry.key).copied() else {
                places.insert(entry.key.clone(), self.entries.len());
                self.entries.push(entry);
                continue;
            };
            let known = &mut self.entries[index];
            match (&mut known.node.value, entry.node.value) {
                (Value::Table(one), Value::Table(other)) if !one.inline && !other.inline => one.merge(other, context),
                _ => {
                    let message = format!("{} is given in two files", shown(&entry.key));
                    context
                        .error("duplicate-key", entry.key_span, message)
                        .label("given again")
                        .also(known.key_span, "first given")
                        .help("keep it in one of them");
                }
            }
        }
    }
}

/// Parses every file and merges the tables.
pub(super) fn parse(context: &mut Context, readable: &[bool]) -> Table {
    let mut root = Table::default();
    for (file, _) in readable.iter().enumerate().filter(|(_, readable)| **readable) {
        let text = context.files()[file].text.clone();
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in errors.iter().take(KEPT) {
            syntax::report(context, file, &text, error);
        }
        context.count_errors(errors.len().saturating_sub(KEPT));
        let table = convert_table(file, &text, table.into_inner(), false);
        root.merge(table, context);
    }
    root
}

fn convert_table(file: usize, text: &str, table: DeTable<'_>, inline: bool) -> Table {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| {
            let range = key.span();
            let key_span = Span { file, start: range.start, end: range.end };
            Entry { key: key.into_inner().into_owned(), key_span, node: convert(file, text, value) }
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    Table { entries, inline }
}

fn convert(file: usize, text: &str, value: Spanned<DeValue<'_>>) -> Node {
    let range = value.span();
    let span = Span { file, start: range.start, end: range.end };
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other("a number beyond 64 bits"),
        },
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::Array(items.into_iter().map(|item| convert(file, text, item)).collect()),
        DeValue::Table(table) => {
            let inline = text.as_bytes().get(span.start) == Some(&b'{');
            Value::Table(convert_table(file, text, table, inline))
        }
    };
    Node { value, span }
}
