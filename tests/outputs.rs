//! What the verbs say about the home lab of the manual, screen by screen: `tests/golden/VERB.txt`. `UPDATE=1` writes them anew.
//! (`rules.txt` is held where its counters come from.)

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use labgate::config::Source;
use labgate::desired::revision::Record;
use labgate::linux::history::{History, How, Revision};

/// 2026-11-20 21:14:00 UTC.
const APPLIED_UNIX: u64 = 1_795_209_240;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn home() -> String {
    fs::read_to_string(root().join("config/examples/home.toml")).expect("the example")
}

/// The home with other words at some places.
#[track_caller]
fn changed(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(home(), |text, (old, new)| {
        assert!(text.contains(old), "the example has no {old:?}");
        text.replacen(old, new, 1)
    })
}

/// The screen of a command: its line, what it prints, its exit code where that says something.
fn screen(folder: &Path, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_labgate"))
        .args(words)
        .current_dir(folder)
        .env("LABGATE_CONFIG", folder.join("labgate.toml"))
        .env("LABGATE_RUNTIME_DIR", folder.join("run"))
        .env("LABGATE_STATE_DIR", folder.join("state"))
        .env("NO_COLOR", "1")
        .env_remove("SSH_CONNECTION")
        .output()
        .expect("labgate starts");
    let mut text = format!("$ labgate {}\n", words.join(" "));
    text.push_str(&String::from_utf8_lossy(&output.stdout));
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) => {}
        code => writeln!(text, "[exit {}]", code.unwrap_or(-1)).expect("text"),
    }
    text + "\n"
}

fn holds(name: &str, text: &str) {
    let golden = root().join("tests/golden").join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&golden, text).expect("the golden file is written");
    }
    assert_eq!(
        fs::read_to_string(&golden).unwrap_or_default(),
        text,
        "{name}: UPDATE=1 writes it anew where it is right"
    );
}

#[test]
fn explain() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("labgate.toml"), home()).unwrap();
    let asked: [&[&str]; 14] = [
        &["web1", "db1:5432"],
        &["iot", "nas:443"],
        &["web1", "db1:22"],
        &["web1", "db1"],
        &["lan", "web1"],
        &["internet", "nas:443"],
        &["internet", "router:443"],
        &["internet", "router:22"],
        &["lan", "router:22"],
        &["iot", "router:53", "--proto", "udp"],
        &["db", "internet:443"],
        &["nas", "printer:631"],
        &["lan", "2001:db8::1"],
        &["router", "internet:443"],
    ];
    let screens = asked.iter().map(|words| screen(folder.path(), &[&["explain"], *words].concat()));
    holds("explain.txt", &screens.collect::<String>());
}

#[test]
fn check() {
    let folder = tempfile::tempdir().unwrap();
    let with = |name: &str, changes: &[(&str, &str)]| fs::write(folder.path().join(name), changed(changes)).unwrap();
    with("labgate.toml", &[]);
    let expectations = "[firewall]\nexpect = [\n  { from = \"iot\",      to = \"nas:443\",   result = \"deny\" },\n  \
                        { from = \"web1\",     to = \"db1:5432\",  result = \"allow\" },\n  \
                        { from = \"internet\", to = \"router:22\", result = \"deny\" },\n  \
                        { from = \"iot\",      to = \"db\",        result = \"deny\" },\n]";
    with("holds.toml", &[("[firewall]", expectations)]);
    let iot = "  { from = [\"iot\", \"web\"], to = \"db\", port = \"tcp/5432\" },";
    with(
        "broken.toml",
        &[("[firewall]", expectations), ("  { from = \"web\", to = \"db\", port = \"tcp/5432\" },", iot)],
    );
    with("inside.toml", &[("allow = [", "allow = [\n  { from = \"nas\", to = \"web1\", port = \"https\" },")]);
    let asked: [&[&str]; 5] =
        [&["labgate.toml"], &["labgate.toml", "--hints"], &["holds.toml"], &["broken.toml"], &["inside.toml"]];
    let screens = asked.iter().map(|words| screen(folder.path(), &[&["check"], *words].concat()));
    holds("check.txt", &screens.collect::<String>());
}

#[test]
fn plan() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(&folder.path().join("state")).history;
    let before = changed(&[("internet  = false\n", "")]);
    let sources = [Source { name: "labgate.toml".to_owned(), text: before.clone().into_bytes() }];
    let revision = Revision::new(1, APPLIED_UNIX, (How::Edit, "the watched file"), (38, 0), &sources);
    history.keep(&revision).unwrap();
    history.stand(&Record { confirmed: 1, seen: Some(1), ..Record::default() }).unwrap();
    let with = |name: &str, changes: &[(&str, &str)]| fs::write(folder.path().join(name), changed(changes)).unwrap();
    fs::write(folder.path().join("labgate.toml"), before).unwrap();
    with("db.toml", &[("\"192.168.1.10\"", "\"192.168.1.12\"")]);
    with(
        "guest.toml",
        &[
            ("internet  = false\n", "\n[network.guest]\ninterface = \"eth1.50\"\naddress   = \"192.168.50.1/24\"\n"),
            ("allow = [", "allow = [\n  { from = \"guest\", to = \"printer\", port = \"ipp\" },"),
            ("\"tcp/443\" = \"nas\"", "\"tcp/443\" = \"web1\"\n\"udp/27000-27100\" = \"nas\""),
        ],
    );
    with(
        "shut.toml",
        &[
            ("internet  = false\n", ""),
            ("[firewall]", "[firewall]\ndeny = [{ from = \"lan\", to = \"router\", port = \"ssh\" }]"),
        ],
    );
    let asked: [&[&str]; 4] = [&[], &["db.toml"], &["guest.toml"], &["shut.toml"]];
    let screens = asked.iter().map(|words| screen(folder.path(), &[&["plan"], *words].concat()));
    holds("plan.txt", &screens.collect::<String>());
}
