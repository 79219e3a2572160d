//! The texts of a check, and places in them.

use std::sync::Arc;

use super::types::Stretch;

/// A stretch of one file, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Span {
    /// Index of the file.
    pub file: usize,
    /// First octet.
    pub start: usize,
    /// Octet after the last.
    pub end: usize,
}

impl From<Stretch> for Span {
    fn from(stretch: Stretch) -> Self {
        Span { file: stretch.file as usize, start: stretch.start as usize, end: stretch.end as usize }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

/// One file as text, with its lines counted once.
#[derive(Debug)]
pub(super) struct File {
    /// The name messages show.
    pub name: Arc<str>,
    /// The name without folders, for [`super::Place`].
    pub base_name: Arc<str>,
    /// The text, without a byte order mark.
    pub text: Arc<str>,
    line_starts: Vec<usize>,
}

impl File {
    /// Counts the lines of `text`.
    pub fn new(name: &str, text: String) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(ends).collect();
        let base_name = name.rsplit('/').next().unwrap_or(name);
        File { name: name.into(), base_name: base_name.into(), line_starts, text: text.into() }
    }

    /// The line an octet stands in, from 0.
    pub fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// Where a line starts and where its text ends, without the line end.
    pub fn line_bounds(&self, line: usize) -> (usize, usize) {
        let start = self.line_starts.get(line).copied().unwrap_or(self.text.len());
        let next = self.line_starts.get(line + 1).copied().unwrap_or(self.text.len());
        (start, start + self.text[start..next].trim_end_matches(['\r', '\n']).len())
    }

    /// Line and column, in characters, both from 1.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.floor(offset);
        let line = self.line_of(offset);
        (line + 1, self.text[self.line_starts[line]..offset].chars().count() + 1)
    }

    /// The last character boundary at or before `offset`.
    pub fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}
