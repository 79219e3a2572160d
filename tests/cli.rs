//! The command line as a person or a script uses it, without a running gateway.

use std::path::Path;
use std::process::{Command, Output};

fn labgate(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_labgate"))
        .args(arguments)
        .current_dir(folder)
        .env("LABGATE_RUNTIME_DIR", folder.join("run"))
        .env("LABGATE_STATE_DIR", folder.join("state"))
        .env("NO_COLOR", "1")
        .output()
        .expect("labgate starts")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const GOOD: &str = "[wan]\ninterface = \"eth0\"\n\n[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\n";

#[test]
fn check_tells_good_from_wrong_by_words_and_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.toml"), GOOD).unwrap();
    std::fs::write(folder.path().join("wrong.toml"), GOOD.replace("address", "adress")).unwrap();
    let good = labgate(&["check", "good.toml"], folder.path());
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    let wrong = labgate(&["check", "wrong.toml"], folder.path());
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong).contains("wrong.toml:6:1") && text(&wrong).contains("address"), "{}", text(&wrong));
    let absent = labgate(&["check", "absent.toml"], folder.path());
    assert_eq!(absent.status.code(), Some(1));
    assert!(text(&absent).contains("absent.toml"), "{}", text(&absent));
}

#[test]
fn check_speaks_json() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wrong.toml"), GOOD.replace("192.168.1.1/24", "192.168.1.300/24")).unwrap();
    let output = labgate(&["check", "wrong.toml", "--json"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(document["errors"], 1, "{document}");
    assert_eq!(document["problems"][0]["severity"], "error", "{document}");
}

#[test]
fn explain_works_on_a_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.toml"), GOOD).unwrap();
    let open = labgate(&["explain", "lan", "198.51.100.7:443", "--config", "good.toml"], folder.path());
    assert_eq!(open.status.code(), Some(0), "{}", text(&open));
    let closed = labgate(&["explain", "internet", "router:22", "--config", "good.toml"], folder.path());
    assert_eq!(closed.status.code(), Some(3), "{}", text(&closed));
    assert!(text(&closed).contains("DENY"), "{}", text(&closed));
    let unknown = labgate(&["explain", "lam", "router:22", "--config", "good.toml"], folder.path());
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown).contains("lam"), "{}", text(&unknown));
}

#[test]
fn an_unknown_verb_gets_the_near_name() {
    let folder = tempfile::tempdir().unwrap();
    let output = labgate(&["leasse"], folder.path());
    assert!(!output.status.success());
    assert!(text(&output).contains("leases"), "{}", text(&output));
}

#[test]
fn the_verbs_that_need_a_gateway_say_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    for verb in ["status", "leases", "hosts", "rules", "forwards", "reload"] {
        let output = labgate(&[verb], folder.path());
        assert_eq!(output.status.code(), Some(1), "{verb}");
        assert!(text(&output).contains("labgate run"), "{verb}: {}", text(&output));
        let output = labgate(&[verb, "--json"], folder.path());
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert!(document["error"].is_string(), "{verb}: {document}");
    }
}

#[test]
fn schema_completions_manual_and_help_come_from_the_same_definitions() {
    let folder = tempfile::tempdir().unwrap();
    let schema = labgate(&["schema"], folder.path());
    let document: serde_json::Value = serde_json::from_slice(&schema.stdout).expect("one JSON document");
    assert!(document["properties"]["network"].is_object(), "{document}");
    assert!(text(&labgate(&["completions", "bash"], folder.path())).contains("teardown"));
    assert!(text(&labgate(&["man"], folder.path())).contains("labgate"));
    let slug = labgate(&["help", "duplicate-address"], folder.path());
    assert_eq!(slug.status.code(), Some(0));
    assert!(text(&slug).contains("address"), "{}", text(&slug));
    assert_eq!(labgate(&["help", "no-such-slug"], folder.path()).status.code(), Some(1));
}

#[test]
fn init_never_writes_over_a_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.toml"), GOOD).unwrap();
    let output = labgate(&["init", "--wan", "lo", "--lan", "lo", "--config", "mine.toml"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(folder.path().join("mine.toml")).unwrap(), GOOD);
}
