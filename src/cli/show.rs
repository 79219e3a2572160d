//! Text for a person: columns, times, colours where a terminal reads along.

use std::io::{IsTerminal, Write};

/// Prints a line to standard output.
///
/// # Errors
/// Where the reader went away.
pub fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// Prints one JSON document.
///
/// # Errors
/// Where the reader went away.
pub fn json(document: &impl serde::Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(document)?)
}

/// Whether standard output wants colours: a terminal, and `NO_COLOR` unset (no-color.org).
pub fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints rows under a heading, each column as wide as its widest cell.
///
/// # Errors
/// Where the reader went away.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> anyhow::Result<()> {
    columns(heading, rows).iter().try_for_each(line)
}

/// The lines of such a table, the heading first.
pub fn columns<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let mut widths = heading.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let text: String = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        text.trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| std::array::from_fn(|column| row[column].as_str()));
    [heading].into_iter().chain(rows).map(line).collect()
}

/// A span by its largest unit: `5 h`.
pub fn about(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} m", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A cell that may be empty.
pub fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::about;

    #[test]
    fn spans_by_their_largest_unit() {
        assert_eq!([9, 3599, 18_720, 90_000].map(about), ["9 s", "59 m", "5 h", "1 d"]);
    }
}
