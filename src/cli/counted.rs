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
        (None, Some(_)) if row.counted_since_unix.is_some_and(|since| now_unix < since + 60) => "never".to_owned(),
        (None, Some(since)) => format!("since {since}: never"),
        (None, None) => or_dash(None::<String>),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::cli::lab::home::BUILT_IN_CONFIG;
    use crate::config;
    use crate::daemon::counted::{forwards, rules};
    use crate::desired;
    use crate::dns::outside::Resolved;
    use crate::firewall::{Policy, SetElements, Usage};
    use crate::model::{Bindings, Now};

    /// A book of 40 days, in which 3 minutes ago somebody went from lan to iot.
    const BOOK: &str = r#"{"version":1,"clock_seconds":3456000,"tallies":{
        "allow lan -> iot":[1204,72240,[0,1796544000],[3455820,1799999820],null],
        "allow lan -> web":[0,0,[0,1796544000],null,null],
        "allow web -> db tcp/5432":[0,0,[2419200,1798963200],null,null],
        "allow lan -> internet":[81230,5198720,[0,1796544000],[3455991,1799999991],null],
        "forward tcp/443 -> nas":[7,420,[0,1796544000],[86400,1796630400],null]}}"#;

    #[test]
    fn the_home_lab_looks_as_expected() {
        let sources = [config::Source { name: "labgate.toml".into(), text: BUILT_IN_CONFIG.into() }];
        let config = config::check(&sources).config.expect("the built-in file is good");
        let policy = Policy::compile(&config);
        let now = Now { instant: Duration::from_secs(5), unix: 1_800_000_000 };
        let mut usage = Usage::load(BOOK.as_bytes(), now).expect("a book");
        let planned = usage.plan(&policy, &SetElements::default(), |_, _| false);
        usage.replaced(&policy, planned, now);
        let addresses = desired::host_addresses(&config, &Bindings::default(), &Resolved::default());
        let screens = [
            ("rules", render(&rules(&config, &policy, &usage, false, now), "RULE", now.unix)),
            ("rules --all", render(&rules(&config, &policy, &usage, true, now), "RULE", now.unix)),
            ("forwards", render(&forwards(&config, &policy, &addresses, &usage, now), "FORWARD", now.unix)),
        ];
        let text: String = screens.iter().map(|(verb, text)| format!("$ labgate {verb}\n{text}\n")).collect();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rules.txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &text).expect("the golden file is written");
        }
        assert_eq!(std::fs::read_to_string(&golden).unwrap_or_default(), text);
    }
}
