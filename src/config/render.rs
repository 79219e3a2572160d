//! Problems as a person reads them: the line, a caret, the reason, a hint.

use annotate_snippets::renderer::Renderer;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Snippet};

use super::report::{Mark, Problem, Report, Severity};
use super::source::File;

/// So many problems are shown; errors go before warnings when there are more.
const SHOWN: usize = 100;
/// Marks further apart than this get an excerpt each.
const APART: usize = 40;
/// A line longer than this is not shown.
const LONG_LINE: usize = 1000;

impl Report {
    /// The problems in file order, each with its lines; ends with a line feed unless it is empty. The closing line is [`Report::summary`].
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut chosen: Vec<usize> = (0..self.problems.len()).collect();
        if chosen.len() > SHOWN {
            chosen.sort_by_key(|index| self.problems[*index].severity);
            chosen.truncate(SHOWN);
            chosen.sort_unstable();
        }
        let mut text = String::new();
        for index in &chosen {
            text.push_str(&self.render_one(&renderer, &self.problems[*index]));
            text.push_str("\n\n");
        }
        let more = (self.errors + self.warnings).saturating_sub(chosen.len());
        if more > 0 {
            text.push_str(&format!("… and {more} more\n\n"));
        }
        text
    }

    /// The hints, as [`Report::render`] shows problems.
    pub fn render_hints(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        self.hints.iter().take(SHOWN).map(|hint| self.render_one(&renderer, hint) + "\n\n").collect()
    }

    fn render_one(&self, renderer: &Renderer, problem: &Problem) -> String {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Hint => Level::NOTE,
        };
        let mut group = Group::with_title(level.primary_title(problem.message.as_str()).id(problem.slug));
        group = group.elements(self.excerpts(problem));
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        // The renderer shows C0 controls as pictures and lets C1 through, of which one starts a terminal's commands.
        renderer.render(&[group]).replace(|c: char| ('\u{80}'..='\u{9f}').contains(&c), "\u{fffd}")
    }

    fn excerpts<'a>(&'a self, problem: &'a Problem) -> Vec<Element<'a>> {
        let mut rest: Vec<(&Mark, AnnotationKind)> = vec![(&problem.place, AnnotationKind::Primary)];
        rest.extend(problem.others.iter().map(|mark| (mark, AnnotationKind::Context)));
        let mut elements = Vec::new();
        while let Some((head, _)) = rest.first().copied() {
            let near = |mark: &Mark| mark.source == head.source && mark.line.abs_diff(head.line) <= APART;
            let (together, others) = rest.into_iter().partition(|(mark, _)| near(mark));
            rest = others;
            elements.push(excerpt(&self.files[head.source], head, together));
        }
        elements
    }
}

/// One excerpt with all its marks, cut to the lines it needs: the renderer reads all it is given, and files are long.
fn excerpt<'a>(file: &'a File, head: &'a Mark, marks: Vec<(&'a Mark, AnnotationKind)>) -> Element<'a> {
    let first = marks.iter().map(|(mark, _)| mark.line - 1).min().unwrap_or(0);
    let last = marks.iter().map(|(mark, _)| mark.line - 1).max().unwrap_or(0);
    let long = marks.iter().any(|(mark, _)| {
        let (start, end) = file.line_bounds(mark.line - 1);
        end - start > LONG_LINE
    });
    let (from, to) = (file.line_bounds(first).0, file.line_bounds(last).1);
    if long || to - from > (APART + 1) * LONG_LINE {
        return Origin::path(head.file.as_str()).line(head.line).char_column(head.column).into();
    }
    let annotations = marks.into_iter().map(|(mark, kind)| {
        // A mark over several lines is cut at the end of its first.
        let line_end = file.line_bounds(mark.line - 1).1;
        let start = mark.start.min(line_end);
        let end = mark.end.clamp(start, line_end);
        let annotation = kind.span(start - from..end - from);
        if mark.label.is_empty() { annotation } else { annotation.label(mark.label.as_str()) }
    });
    Snippet::source(&file.text[from..to]).line_start(first + 1).path(head.file.as_str()).annotations(annotations).into()
}
