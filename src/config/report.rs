//! What a check has to say, as data.

use serde::Serialize;

use super::context::Finding;
use super::source::{File, Span};
use super::types::Place;

/// So many problems are kept with their words; what comes after is only counted.
pub(super) const KEPT: usize = 10_000;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is not applied.
    Error,
    /// The file is applied.
    Warning,
    /// Nothing is wrong; told to whoever asks.
    Hint,
}

/// A problem that a later floor finds, by places of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Remark {
    /// See [`Problem::slug`].
    pub slug: &'static str,
    /// See [`Problem::severity`].
    pub severity: Severity,
    /// See [`Problem::message`].
    pub message: String,
    /// Where it is.
    pub place: Place,
    /// Words beside the mark; may be empty.
    pub label: String,
    /// Further places that take part, each with its words.
    pub others: Vec<(Place, String)>,
    /// See [`Problem::help`].
    pub help: Option<String>,
}

/// A marked stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// The file's name, as given to [`super::check`].
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// First octet (after a byte order mark).
    pub start: usize,
    /// Octet after the last.
    pub end: usize,
    /// Words beside the mark; may be empty.
    pub label: String,
    /// Index of the file.
    #[serde(skip)]
    pub(super) source: usize,
}

/// One thing that is wrong, or suspicious.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its kind: `labgate help SLUG` explains it.
    pub slug: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// Where it is.
    pub place: Mark,
    /// Further places that take part, such as the first of two equal values.
    pub others: Vec<Mark>,
    /// What to do about it.
    pub help: Option<String>,
}

/// Problems in file order, able to show themselves.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// How many errors.
    pub errors: usize,
    /// How many warnings.
    pub warnings: usize,
    /// The problems, the main file's first; of a hopeless file only the first ten thousand.
    pub problems: Vec<Problem>,
    /// What nobody has to mend, in file order.
    pub hints: Vec<Problem>,
    #[serde(skip)]
    pub(super) files: Vec<File>,
}

impl Report {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.errors + self.warnings == 0
    }

    /// `2 errors, 1 warning in labgate.toml`; a clean check says `no problems in labgate.toml`.
    pub fn summary(&self) -> String {
        let count = |number: usize, word: &str| match number {
            0 => None,
            1 => Some(format!("1 {word}")),
            _ => Some(format!("{number} {word}s")),
        };
        let counts: Vec<String> =
            [count(self.errors, "error"), count(self.warnings, "warning")].into_iter().flatten().collect();
        let counts = if counts.is_empty() { "no problems".to_owned() } else { counts.join(", ") };
        let mut names: Vec<&str> = self.problems.iter().map(|problem| problem.place.file.as_str()).collect();
        names.dedup();
        if names.is_empty() {
            names = self.files.iter().map(|file| &*file.name).collect();
        }
        match names.as_slice() {
            [] => counts,
            [name] => format!("{counts} in {name}"),
            [names @ .., last] => format!("{counts} in {} and {last}", names.join(", ")),
        }
    }

    /// [`Report::summary`] for a file that a running daemon refuses.
    pub fn refusal(&self) -> String {
        format!("{}; nothing was changed, the running configuration stays", self.summary())
    }

    pub(super) fn new(files: Vec<File>, findings: Vec<Finding>, errors: usize, warnings: usize) -> Self {
        let problems = findings.into_iter().map(|finding| Problem {
            slug: finding.slug,
            severity: finding.severity,
            message: harmless(finding.message),
            place: mark(&files, finding.span, finding.label),
            others: finding.others.into_iter().map(|(span, label)| mark(&files, span, label)).collect(),
            help: finding.help.map(harmless),
        });
        Report { errors, warnings, problems: problems.collect(), hints: Vec::new(), files }
    }

    /// Takes in what a later floor has found. The places are those of the configuration that was checked with this report.
    pub fn extend(&mut self, remarks: Vec<Remark>) {
        for remark in remarks {
            let counted = match remark.severity {
                Severity::Error => Some(&mut self.errors),
                Severity::Warning => Some(&mut self.warnings),
                Severity::Hint => None,
            };
            let list = if counted.is_some() { &mut self.problems } else { &mut self.hints };
            if let Some(count) = counted {
                *count += 1;
            }
            if list.len() >= KEPT {
                continue;
            }
            let files = &self.files;
            let mark = |place: &Place, label| mark(files, place.stretch.into(), label);
            list.push(Problem {
                slug: remark.slug,
                severity: remark.severity,
                message: harmless(remark.message),
                place: mark(&remark.place, remark.label),
                others: remark.others.into_iter().map(|(place, label)| mark(&place, label)).collect(),
                help: remark.help.map(harmless),
            });
        }
        for list in [&mut self.problems, &mut self.hints] {
            list.sort_by_key(|problem| (problem.place.source, problem.place.start, problem.severity));
        }
    }
}

fn mark(files: &[File], span: Span, label: String) -> Mark {
    let file = &files[span.file];
    let (line, column) = file.position(span.start);
    Mark {
        file: file.name.to_string(),
        line,
        column,
        start: file.floor(span.start),
        end: file.floor(span.end),
        label: harmless(label),
        source: span.file,
    }
}

/// Words that a terminal can show: the keys of a broken file hold anything.
fn harmless(text: String) -> String {
    let control = |c: char| c.is_control() && c != '\n';
    if !text.contains(control) {
        return text;
    }
    text.chars().map(|c| if control(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}
