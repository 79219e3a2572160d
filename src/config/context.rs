//! Collecting problems while a check runs, and the small readers that report what they cannot read.

use std::collections::HashSet;
use std::time::Duration;

use super::keys::{Keys, Status};
use super::report::{KEPT, Report, Severity};
use super::source::{File, Span};
use super::suggest;
use super::tree::{Entry, Node, Table, Value};
use super::types::{Place, Stretch};
use super::values::{Parsed, shown};

/// A problem while it is being written.
#[derive(Debug)]
pub(super) struct Finding {
    pub slug: &'static str,
    pub severity: Severity,
    pub message: String,
    pub span: Span,
    pub label: String,
    pub others: Vec<(Span, String)>,
    pub help: Option<String>,
}

impl Finding {
    fn new(severity: Severity, slug: &'static str, span: Span, message: String) -> Self {
        Finding { slug, severity, message, span, label: String::new(), others: Vec::new(), help: None }
    }

    /// Words beside the mark.
    pub fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = label.into();
        self
    }

    /// A further place.
    pub fn also(&mut self, span: Span, label: impl Into<String>) -> &mut Self {
        self.others.push((span, label.into()));
        self
    }

    /// What to do.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }
}

/// Kinds that report something as absent: worthless while a syntax error may hide what is missing.
const ABSENCES: &[&str] =
    &["missing-key", "unknown-name", "no-admin", "no-network", "outside-every-network", "forward-without-uplink"];

/// All files, and what was found so far.
#[derive(Debug)]
pub(super) struct Context {
    files: Vec<File>,
    findings: Vec<Finding>,
    spare: Option<Finding>,
    /// Lines that the TOML parser refused: whatever else they seem to say is noise.
    broken_lines: HashSet<(usize, usize)>,
    errors: usize,
    warnings: usize,
    /// How many more searches through everything are allowed.
    searches_left: usize,
}

impl Context {
    pub fn new(files: Vec<File>) -> Self {
        Context {
            files,
            findings: Vec::new(),
            spare: None,
            broken_lines: HashSet::new(),
            errors: 0,
            warnings: 0,
            searches_left: 120,
        }
    }

    pub fn files(&self) -> &[File] {
        &self.files
    }

    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Counts errors that are not kept with their words.
    pub fn count_errors(&mut self, more: usize) {
        self.errors += more;
    }

    /// Reports an error; labels and help are added to what comes back.
    pub fn error(&mut self, slug: &'static str, span: Span, message: impl Into<String>) -> &mut Finding {
        self.push(Severity::Error, slug, span, message.into())
    }

    /// Reports a warning.
    pub fn warn(&mut self, slug: &'static str, span: Span, message: impl Into<String>) -> &mut Finding {
        self.push(Severity::Warning, slug, span, message.into())
    }

    /// Reports a syntax error and marks its line as broken.
    pub fn syntax(&mut self, span: Span, message: impl Into<String>) -> &mut Finding {
        let line = self.files[span.file].line_of(span.start);
        self.broken_lines.insert((span.file, line));
        let again =
            |last: &Finding| last.slug == "syntax" && (last.span.file, last.span.start) == (span.file, span.start);
        if self.findings.last().is_some_and(again) {
            return self.spare.insert(Finding::new(Severity::Error, "syntax", span, message.into()));
        }
        self.push(Severity::Error, "syntax", span, message.into())
    }

    fn push(&mut self, severity: Severity, slug: &'static str, span: Span, message: String) -> &mut Finding {
        debug_assert!(super::slugs::find(slug).is_some(), "{slug} is explained nowhere");
        let finding = Finding::new(severity, slug, span, message);
        let line = self.files[span.file].line_of(span.start);
        let noise = !self.broken_lines.is_empty()
            && slug != "syntax"
            && (self.broken_lines.contains(&(span.file, line)) || ABSENCES.contains(&slug));
        if !noise {
            match severity {
                Severity::Error => self.errors += 1,
                Severity::Warning => self.warnings += 1,
                Severity::Hint => {}
            }
        }
        if noise || self.findings.len() >= KEPT {
            return self.spare.insert(finding);
        }
        self.findings.push(finding);
        self.findings.last_mut().expect("just pushed")
    }

    /// Sorts what was found by place.
    pub fn finish(mut self) -> Report {
        self.findings.sort_by_key(|finding| (finding.span, finding.severity));
        Report::new(self.files, self.findings, self.errors, self.warnings)
    }

    /// The line of `span`, for later messages.
    pub fn place(&self, span: Span) -> Place {
        let file = &self.files[span.file];
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Place {
            file: file.base_name.clone(),
            line: small(file.line_of(span.start) + 1),
            stretch: Stretch { file: small(span.file), start: small(span.start), end: small(span.end) },
        }
    }

    /// Whether one more search through everything is allowed: a hopeless file must not take quadratic time.
    pub fn may_search(&mut self) -> bool {
        let allowed = self.searches_left > 0;
        self.searches_left = self.searches_left.saturating_sub(1);
        allowed
    }

    /// The nearest of `candidates` to `word`, while there is time for it.
    pub fn nearest<'c>(&mut self, word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
        if self.may_search() { suggest::nearest(word, candidates) } else { None }
    }

    /// Opens a table: reports every key that `keys` does not have, or not yet.
    pub fn fields<'t>(&mut self, table: &'t Table, keys: &'static Keys, title: &str) -> Fields<'t> {
        let mut misspelt = 0;
        for entry in &table.entries {
            match keys.keys.iter().find(|key| key.name == entry.key) {
                Some(key) if key.status == Status::NotYet => self.not_yet(entry.key_span, title, &entry.key),
                Some(key) if key.status == Status::OnlyFalse && matches!(entry.node.value, Value::Boolean(true)) => {
                    self.not_yet(entry.node.span, title, &format!("{} = true", entry.key));
                }
                Some(_) => {}
                None => misspelt |= self.unknown_key(entry, keys, title),
            }
        }
        Fields { table, keys, misspelt }
    }

    /// Refuses something that is understood but has no effect yet.
    fn not_yet(&mut self, span: Span, title: &str, key: &str) {
        let name = match title {
            "" => format!("`{key}`"),
            _ if is_words(title) => format!("`{key}` of {title}"),
            _ => format!("`{title}.{key}`"),
        };
        self.error("not-supported-yet", span, format!("{name} is not supported yet"))
            .label("this version would ignore it")
            .help("take it out; a later version will have it");
    }

    /// Reports a key that `keys` does not have; gives the bit of the one that was meant.
    fn unknown_key(&mut self, entry: &Entry, keys: &'static Keys, title: &str) -> u64 {
        let near = self.nearest(&entry.key, keys.keys.iter().map(|key| key.name));
        let message = match title {
            "" => format!("{} is no table of the configuration", shown(&entry.key)),
            _ => format!("{} has no key {}", titled(title), shown(&entry.key)),
        };
        let names: Vec<&str> = keys.keys.iter().filter(|key| key.status == Status::Now).map(|key| key.name).collect();
        let finding = self.error("unknown-key", entry.key_span, message);
        match near {
            Some(near) => finding.label("unknown").help(format!("did you mean `{near}`?")),
            None => finding.label("unknown").help(format!("known here: {}", names.join(", "))),
        };
        near.map_or(0, |near| key_bit(keys, near))
    }

    /// Reports a value of the wrong type.
    pub fn wrong_type(&mut self, node: &Node, key: &str, expected: &str) -> &mut Finding {
        let message = format!("{} must be {expected}, not {}", shown(key), node.value.type_name());
        self.error("wrong-type", node.span, message).label(format!("expected {expected}"))
    }

    /// Reads a text.
    pub fn text<'t>(&mut self, node: &'t Node, key: &str) -> Option<&'t str> {
        match &node.value {
            Value::Text(text) if text.chars().any(char::is_control) => {
                self.error("control-character", node.span, format!("{} holds a control character", shown(key)))
                    .label("written here with a backslash")
                    .help("line feeds, tabs and the like never belong into a name or address");
                None
            }
            Value::Text(text) => Some(text),
            _ => {
                self.wrong_type(node, key, "a text in quotes");
                None
            }
        }
    }

    /// Reads a text with `parse`, and reports what that refuses.
    pub fn parse<T>(&mut self, node: &Node, key: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        let text = self.text(node, key)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(wrong) => {
                let finding = self.error(wrong.slug, node.span, wrong.message);
                finding.help = wrong.help;
                None
            }
        }
    }

    /// Reads a duration with `parse`; a number without a unit is told what it lacks.
    pub fn duration(
        &mut self,
        node: &Node,
        key: &str,
        parse: impl FnOnce(&str) -> Parsed<Duration>,
    ) -> Option<Duration> {
        if let Value::Integer(number) = node.value {
            self.error("bad-duration", node.span, format!("{} has no unit", shown(&number.to_string())))
                .help(format!("write `\"{number}s\"`, `\"{number}m\"` or `\"{number}h\"`"));
            return None;
        }
        self.parse(node, key, parse)
    }

    /// Reads `true` or `false`.
    pub fn boolean(&mut self, node: &Node, key: &str) -> Option<bool> {
        match &node.value {
            Value::Boolean(value) => Some(*value),
            other => {
                let quoted = matches!(other, Value::Text(text) if text == "true" || text == "false");
                let finding = self.wrong_type(node, key, "true or false");
                if quoted {
                    finding.help("take the quotes away");
                }
                None
            }
        }
    }

    /// Reads a whole number between `low` and `high`.
    pub fn integer(&mut self, node: &Node, key: &str, low: i64, high: i64) -> Option<i64> {
        match &node.value {
            Value::Integer(value) if (low..=high).contains(value) => Some(*value),
            Value::Integer(value) => {
                self.error("bad-number", node.span, format!("{} is {value}", shown(key)))
                    .label(format!("expected {low} to {high}"));
                None
            }
            _ => {
                self.wrong_type(node, key, "a whole number");
                None
            }
        }
    }

    /// Reads a table.
    pub fn table<'t>(&mut self, node: &'t Node, key: &str) -> Option<&'t Table> {
        match &node.value {
            Value::Table(table) => Some(table),
            _ => {
                self.wrong_type(node, key, "a table");
                None
            }
        }
    }

    /// Reads one value or a list of them, which must not be empty.
    pub fn one_or_many<'t>(&mut self, node: &'t Node, key: &str) -> &'t [Node] {
        match &node.value {
            Value::Array(items) => {
                if items.is_empty() {
                    self.error("empty-list", node.span, format!("{} is an empty list", shown(key)))
                        .label("stands for nothing")
                        .help(match key {
                            "interface" | "from" | "to" => "name at least one",
                            _ => "leave the key out, or name at least one",
                        });
                }
                items
            }
            _ => std::slice::from_ref(node),
        }
    }
}

/// Whether a title is said in words, as `a rule`, and not the name of a table.
fn is_words(title: &str) -> bool {
    title.starts_with("a ")
}

fn key_bit(keys: &Keys, name: &str) -> u64 {
    keys.keys.iter().position(|key| key.name == name).map_or(0, |index| 1 << index)
}

fn titled(title: &str) -> String {
    if is_words(title) { title.to_owned() } else { format!("`{title}`") }
}

/// A table whose keys are known.
#[derive(Clone, Copy)]
pub(super) struct Fields<'t> {
    table: &'t Table,
    keys: &'static Keys,
    /// Bit by bit the keys that are there, misspelt: they are not missing as well.
    misspelt: u64,
}

impl<'t> Fields<'t> {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&'t Node> {
        debug_assert!(self.keys.keys.iter().any(|known| known.name == key), "{key} stands in no table of keys");
        self.table.get(key).map(|entry| &entry.node)
    }

    /// The value of `key`, or an error at `owner`.
    pub fn require(&self, context: &mut Context, key: &str, title: &str, owner: Span) -> Option<&'t Node> {
        let found = self.get(key);
        if found.is_none() && self.misspelt & key_bit(self.keys, key) == 0 {
            let example = self.keys.keys.iter().find(|known| known.name == key).map_or("", |known| known.example);
            context
                .error("missing-key", owner, format!("{} lacks `{key}`", titled(title)))
                .label(format!("needs `{key}`"))
                .help(format!("add `{key} = {example}`"));
        }
        found
    }
}
