//! What the TOML parser refuses, in the words of this program and with the mistake it most likely was.

use super::context::Context;
use super::source::Span;
use super::values::shown;

/// Reports what the parser says.
pub(super) fn report(context: &mut Context, file: usize, text: &str, error: &toml::de::Error) {
    let range = error.span().unwrap_or(0..0);
    let span = Span { file, start: range.start, end: range.end };
    let message = error.message();
    match message {
        "duplicate key" => duplicate(context, span, text),
        _ if is_bare_value(message) => bare_value(context, span, text),
        _ if message.starts_with("key with no value") => {
            context
                .syntax(span, "a key without a value")
                .label("expected `=`")
                .help("a line is `key = value`, a table is `[name]`");
        }
        _ if message.starts_with("missing comma") => {
            context
                .syntax(span, "a comma is missing here")
                .label("expected `,`")
                .help("or the line before lacks its closing `}` or `]`");
        }
        _ if message.contains("string, expected") => {
            let at = text[span.start..].chars().next();
            if at.is_some_and(|at| at.is_control() && !matches!(at, '\r' | '\n')) {
                context.syntax(span, "a control character in a text");
            } else {
                context.syntax(span, "the text in quotes does not end").label("expected the closing quote");
            }
        }
        _ if message.starts_with("missing escaped value") => {
            let help = "write the backslash twice, or the text in single quotes";
            context.syntax(span, "a backslash stands before something that has no such form").help(help);
        }
        _ if message.contains("recur") => {
            context.syntax(span, "tables and lists are nested too deeply");
        }
        _ => {
            let (words, expected) = message.split_once(", expected ").unwrap_or((message, ""));
            let finding = context.syntax(span, words);
            if !matches!(expected, "" | "nothing") {
                finding.label(format!("expected {expected}"));
            }
        }
    }
}

/// Whether the parser read something unquoted as a number, a time or a word.
fn is_bare_value(message: &str) -> bool {
    const STARTS: &[&str] = &[
        "string values must be quoted",
        "invalid float",
        "invalid time",
        "invalid date",
        "invalid boolean",
        "invalid integer",
        "invalid number",
        "unexpected leading zero",
    ];
    STARTS.iter().any(|start| message.starts_with(start))
}

/// A value without its quotes: the whole of it is marked, and shown with them.
fn bare_value(context: &mut Context, span: Span, text: &str) {
    let start = text[..span.start].rfind(['=', '[', '{', ',', '\n']).map_or(0, |at| at + 1);
    let end = text[span.start..].find([',', ']', '}', '#', '\n']).map_or(text.len(), |at| span.start + at);
    let whole = &text[start..end.max(start)];
    let value = whole.trim();
    if value.is_empty() {
        context.syntax(span, "a value is missing").label("expected a value");
        return;
    }
    let start = start + (whole.len() - whole.trim_start().len());
    let span = Span { start, end: start + value.len(), ..span };
    if ["tru", "fals", "true", "false", "yes", "no", "on", "off"].contains(&value.to_ascii_lowercase().as_str()) {
        context
            .syntax(span, format!("{} is neither `true` nor `false`", shown(value)))
            .help("both are written in lower case, without quotes");
        return;
    }
    let plain = value.trim_matches(['“', '”', '„', '‘', '’', '\'', '"', ';']);
    let message = if value.starts_with(['“', '„', '‘']) {
        "these quotes are not the straight ones"
    } else {
        "a text needs quotes"
    };
    context.syntax(span, message).help(format!("write {}", shown(&format!("\"{plain}\""))));
}

fn duplicate(context: &mut Context, span: Span, text: &str) {
    let key = text.get(span.start..span.end).unwrap_or_default();
    let first = context.may_search().then(|| first_of_two(text, span.start, key)).flatten();
    let what = if in_header(text, span.start) { "table" } else { "key" };
    let name = shown(key.trim_matches(['"', '\'']));
    let finding = context.error("duplicate-key", span, format!("the {what} {name} is given twice"));
    finding.label("given again").help("keep one of them");
    if let Some(start) = first {
        finding.also(Span { start, end: start + key.len(), ..span }, "first given");
    }
}

fn in_header(text: &str, offset: usize) -> bool {
    let line = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    text[line..].trim_start().starts_with('[')
}

/// Where a key that is given twice stands first. The parser keeps only the second place, so this searches back:
/// for a table the same header line, for a key the same word before `=` in the same table.
fn first_of_two(text: &str, second: usize, key: &str) -> Option<usize> {
    if key.is_empty() {
        return None;
    }
    let line_start = text[..second].rfind('\n').map_or(0, |at| at + 1);
    if in_header(text, second) {
        let header = |line: &str| line.split(']').next().map(|head| head.replace([' ', '"', '\''], ""));
        let wanted = header(text[line_start..].lines().next()?);
        let mut at = 0;
        for line in text[..line_start].split_inclusive('\n') {
            if line.trim_start().starts_with('[') && header(line) == wanted {
                return Some(at + line.rfind(key)?);
            }
            at += line.len();
        }
        return None;
    }
    let section = text[..second].rfind("\n[").map_or(0, |at| at + 1);
    text[section..second].rmatch_indices(key).map(|(at, _)| section + at).find(|at| {
        let word_before = text[..*at].ends_with(|before: char| before.is_alphanumeric() || "-_.\"'".contains(before));
        !word_before && text[at + key.len()..].trim_start_matches([' ', '\t']).starts_with('=')
    })
}
