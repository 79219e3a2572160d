//! `labgate plan` asked of a running gateway: it knows leases and open connections, and changes nothing.

use labgate::cli::lab::home::BUILT_IN_CONFIG;
use labgate::cli::lab::{Lab, PATIENCE, verb};

use crate::change::Tool;
use crate::support::{built_in_with, options, start};

/// The plan for a text, as a document, and the exit code.
#[track_caller]
fn plan(lab: &Lab, text: &str) -> (serde_json::Value, Option<i32>) {
    let file = lab.work().join("new.toml");
    std::fs::write(&file, text).expect("the new file");
    let words = ["plan", &file.to_string_lossy(), "--json"];
    let output =
        verb(lab, &words).expect("the verb").env("SSH_CONNECTION", "192.168.1.20 50000 192.168.1.1 22").output();
    let output = output.expect("plan runs");
    let said = String::from_utf8_lossy(&output.stdout);
    (serde_json::from_str(&said).unwrap_or_else(|_| panic!("no document: {said}")), output.status.code())
}

fn words(plan: &serde_json::Value, subject: &str) -> Vec<String> {
    let effects = plan["effects"].as_array().expect("effects");
    let text = |effect: &serde_json::Value| {
        format!("{} {}", effect["sign"].as_str().unwrap_or("?"), effect["words"].as_str().unwrap_or(""))
    };
    effects.iter().filter(|effect| effect["subject"] == subject).map(text).collect()
}

#[test]
fn a_plan_names_flows_leases_connections_and_ways_in() {
    let Some(lab) = start(options()) else { return };
    let (same, code) = plan(&lab, BUILT_IN_CONFIG);
    assert_eq!((same["effects"].as_array().map(Vec::len), code), (Some(0), Some(0)), "{same}");
    assert!(same["applied-unix"].as_u64().is_some());

    // An open connection by the rule that goes, and one by a rule that stays.
    let web1 = lab.host("web1").expect("web1");
    let to_db = Tool::start(&web1, &["transfer", "192.168.40.10:5432"]);
    to_db.says(0, PATIENCE, "moving");
    let (mut out, was) = (Tool::start(&web1, &["transfer", "198.51.100.80:7"]), lab.ask(&["status"]).expect("status"));
    out.says(0, PATIENCE, "moving");
    let text = built_in_with("port = \"tcp/5432\"", "port = \"tcp/5433\"").replace("192.168.1.10\"", "192.168.1.12\"");
    let (found, code) = plan(&lab, &text);
    assert_eq!(code, Some(2), "{found}");
    let reachability = words(&found, "reachability");
    assert!(reachability.contains(&"- web -> db   tcp/5432".to_owned()), "{reachability:?}");
    assert!(reachability.contains(&"+ web -> db   tcp/5433".to_owned()), "{reachability:?}");
    assert_eq!(words(&found, "host nas"), ["~ ip 192.168.1.10 -> .12"]);
    assert_eq!(words(&found, "forward tcp/443"), ["~ nas 192.168.1.10 -> .12"]);
    assert_eq!(found["cut"].as_array().map(Vec::len), Some(1), "{found}");
    assert!(found["cut"][0].as_str().is_some_and(|cut| cut.contains("web1") && cut.contains("tcp/5432")), "{found}");
    let ways = found["ways-in"].to_string();
    assert!(ways.contains("192.168.1.20 over ssh stays allowed (network lan, admin)"), "{ways}");

    // Nothing has happened.
    assert_eq!(lab.ask(&["status"]).expect("status")["revision"], was["revision"]);
    out.finish();
    out.says(0, PATIENCE, "whole");

    // A wrong text is told as `check` tells it.
    std::fs::write(lab.work().join("new.toml"), BUILT_IN_CONFIG.replace("to = \"db\"", "to = \"bd\""))
        .expect("a wrong file");
    let wrong = verb(&lab, &["plan", &lab.work().join("new.toml").to_string_lossy()]).expect("the verb").output();
    let wrong = wrong.expect("plan runs");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stdout).contains("did you mean `db`?"), "{wrong:?}");
}
