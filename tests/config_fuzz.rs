//! Whatever a file holds, a check ends with a report: it never panics, and an error always keeps the file out.

use labgate::config::{Source, check};
use proptest::prelude::*;

const SEEDS: &[&str] = &[
    include_str!("../config/labgate.toml"),
    include_str!("../config/examples/home.toml"),
    include_str!("../config/examples/five-line.toml"),
];

/// Pieces that mean something to the parser or the decoder.
const PIECES: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    "\"",
    "'",
    "\"\"\"",
    "#",
    "\n",
    "\r\n",
    ".",
    "\\",
    "\u{feff}",
    "\0",
    "[network.lan]",
    "[host]",
    "host.nas.ip = ",
    "0",
    "-1",
    "99999999999999999999",
    "1.5",
    "1979-05-27",
    "true",
    "\"192.168.1.1/24\"",
    "\"0.0.0.0/0\"",
    "\"255.255.255.255/1\"",
    "\"tcp/0-65535\"",
    "\"tcp/65536\"",
    "\"internet\"",
    "\"router\"",
    "{}",
    "[]",
    "\"hex:\"",
    "\"hex:é\"",
    "\"::1\"",
    "\"é.ü\"",
    "\"*\"",
    "\"..\"",
    "\"999999999999999999w\"",
    "\"0.0.0.0-255.255.255.255\"",
    "[network]",
    "[network.lan.dhcp.options]",
    "255 = ",
];

fn said(texts: &[Vec<u8>]) {
    let sources: Vec<Source> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| Source { name: format!("{index}.toml"), text: text.clone() })
        .collect();
    let checked = check(&sources);
    assert_eq!(checked.config.is_none(), checked.report.errors > 0);
    checked.report.render(false);
    checked.report.render(true);
    checked.report.summary();
    serde_json::to_string(&checked.report).expect("JSON");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        said(&[text]);
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        said(&[text.into_bytes()]);
    }

    #[test]
    fn pieces_in_any_order(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..60)) {
        said(&[pieces.concat().into_bytes()]);
    }

    #[test]
    fn right_files_with_changes(
        seed in proptest::sample::select(SEEDS),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..12usize, proptest::sample::select(PIECES)), 1..6),
    ) {
        let mut text = seed.to_owned();
        for (at, cut, piece) in changes {
            let starts: Vec<usize> = text.char_indices().map(|(start, _)| start).chain([text.len()]).collect();
            let at = at.index(starts.len());
            let end = (at + cut).min(starts.len() - 1);
            text.replace_range(starts[at]..starts[end], piece);
        }
        said(&[text.into_bytes()]);
    }

    #[test]
    fn right_files_with_flipped_octets(
        seed in proptest::sample::select(SEEDS),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut text = seed.as_bytes().to_vec();
        for (at, octet) in flips {
            let at = at.index(text.len());
            text[at] = octet;
        }
        said(&[text]);
    }

    #[test]
    fn values_changed_for_others(
        seed in proptest::sample::select(SEEDS),
        swaps in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
    ) {
        // Lines change places: keys land in tables that do not have them, and tables come twice.
        let mut lines: Vec<&str> = seed.lines().collect();
        for (one, other) in swaps {
            let (one, other) = (one.index(lines.len()), other.index(lines.len()));
            lines[one] = lines[other];
        }
        said(&[lines.join("\n").into_bytes(), SEEDS[2].as_bytes().to_vec()]);
    }
}
