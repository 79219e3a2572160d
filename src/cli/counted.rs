//! `labgate rules` and `labgate forwards` as text.

use crate::daemon::counted::Counted;
use crate::model::UnixSeconds;

use super::show::{self, or_dash};

/// The whole screen: what is written, each row with its hints below it, then what holds with nothing written.
pub fn render(rows: &[Counted], heading: &str, now_unix: UnixSeconds) -> String {
    let (implied, written): (Vec<&Counted>, Vec<&Counted>) = rows.iter().partition(|row| row.implied);
    let mut text = table(&written, heading, now_unix);
    if !implied.is_empty() {
        text.push('\n');
        text.push_str(&table(&implied, "WITH NOTHING WRITTEN", now_unix));
    }
    text
}

fn table(rows: &[&Counted], heading: &str, now_unix: UnixSeconds) -> String {
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            let counts = [row.packets, row.bytes].map(|count| count.to_string());
            let [packets, bytes] = counts;
            [row.place.clone(), row.what.clone(), packets, bytes, last_hit(row, now_unix)]
        })
        .collect();
    let lines = show::columns(["PLACE", heading, "PACKETS", "BYTES", "LAST HIT"], &cells);
    let mut text = String::new();
    for (line, row) in lines.iter().zip([None].into_iter().chain(rows.iter().map(Some))) {
        text.push_str(line);
        text.push('\n');
        for hint in row.iter().flat_map(|row| &row.hints) {
            text.push_str(&format!("    hint: {hint}\n"));
        }
    }
    text
}

fn last_hit(row: &Counted, now_unix: UnixSeconds) -> String {
    let ago = |then: UnixSeconds| show::about(now_unix.saturating_sub(then));
    match (row.last_hit_unix, row.counted_since_unix.map(ago)) {
        (Some(hit), _) => format!("{} ago", ago(hit)),
        (None, Some(since)) => format!("since {since}: never"),
        (None, None) => or_dash(None::<String>),
    }
}
