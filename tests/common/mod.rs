//! What several test files share: commands in a fresh network namespace, as root or in a user namespace.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use labgate::config::{self, Config};
use labgate::linux::nft;

/// `unshare` with what it takes to own a fresh network namespace here; `None` where the machine allows none.
pub fn unshare() -> Option<&'static [&'static str]> {
    const WAYS: [&[&str]; 2] = [&["unshare", "-n"], &["unshare", "-Urn"]];
    WAYS.into_iter().find(|way| {
        let tried = Command::new(way[0]).args(&way[1..]).args(["nft", "add", "table", "inet", "probe"]).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

/// Runs a shell script in a fresh network namespace, with `input` as its standard input.
/// `None`, and a word on standard error, where this machine allows no namespace or has no nft.
pub fn in_namespace(script: &str, input: &str) -> Option<Output> {
    let Some(way) = unshare() else {
        eprintln!("skipped: no network namespace or no nft here");
        return None;
    };
    let mut child = Command::new(way[0])
        .args(&way[1..])
        .args(["sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_owned();
    let feed = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("the script ends");
    let _ = feed.join();
    Some(output)
}

/// Runs the rest of the test called `name` in a network namespace of its own, by starting this test program again inside one.
/// `true` there; `false` in the outer run, which has judged the inner one or says why it skips.
pub fn inside_namespace(name: &str) -> bool {
    const MARK: &str = "LABGATE_TEST_INSIDE_NAMESPACE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let Some(way) = unshare() else {
        eprintln!("skipped: no network namespace or no nft here");
        return false;
    };
    let program = std::env::current_exe().expect("this program has a path");
    let status = Command::new(way[0])
        .args(&way[1..])
        .arg(program)
        .args(["--exact", name, "--nocapture"])
        .env(MARK, "1")
        .status()
        .expect("unshare starts");
    assert!(status.success(), "{name} failed inside its namespace");
    false
}

/// The configuration that a right text says.
pub fn configuration(text: &str) -> Config {
    let checked = config::check(&[config::Source { name: "labgate.toml".into(), text: text.into() }]);
    checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)))
}

/// What nft lists, in an order of its own: sets and their elements sorted, chains by name with their rules in order.
pub async fn listed() -> String {
    let text = nft::list_table().await.expect("the table");
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with('\t') && !line.starts_with("\t\t") && line.ends_with('{') {
            blocks.push(String::new());
        }
        let Some(block) = blocks.last_mut() else { continue };
        *block += &format!("{}\n", line.trim().trim_start_matches("elements = { ").trim_end_matches([',', ' ', '}']));
    }
    for block in blocks.iter_mut().filter(|block| !block.starts_with("chain ")) {
        let mut lines: Vec<&str> = block.lines().filter(|line| !line.is_empty()).collect();
        lines[1..].sort_unstable();
        *block = lines.join("\n");
    }
    blocks.sort_unstable();
    blocks.join("\n\n")
}
