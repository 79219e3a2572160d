//! What a check has to say, as data.

use serde::Serialize;

use super::context::Finding;
use super::source::{File, Span};

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
        let mark = |span: Span, label: String| {
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
        };
        let problems = findings
            .into_iter()
            .map(|finding| Problem {
                slug: finding.slug,
                severity: finding.severity,
                message: harmless(finding.message),
                place: mark(finding.span, finding.label),
                others: finding.others.into_iter().map(|(span, label)| mark(span, label)).collect(),
                help: finding.help.map(harmless),
            })
            .collect();
        Report { errors, warnings, problems, files }
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
