//! Refusals, history, and damage.

use labgate::cli::lab::{Lab, Options, verb};
use serde_json::{Value, json};

use crate::apply::{answers, done, from_the_console, renamed, small, status, text};
use crate::support::{built_in_with, eventually, home, lay, options, web1};

/// The built-in file with nobody let in.
fn locked() -> String {
    built_in_with("allow = [", "deny = [{ from = \"lan\", to = \"router\", port = \"ssh\" }]\nallow = [")
}

/// Runs a verb, and gives what it says and its exit code.
fn said(lab: &Lab, words: &[&str]) -> (String, Option<i32>) {
    let output = verb(lab, words).expect("a verb").output().expect("a verb");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (text, output.status.code())
}

#[test]
fn an_edit_that_locks_everybody_out_is_refused_with_the_packet() {
    let Some(lab) = small() else { return };
    let line = locked().lines().position(|line| line.starts_with("deny")).expect("the rule") + 1;
    lab.edit(&locked()).expect("an edit");
    eventually("status tells the packet and the line", 10, || {
        let now = status(&lab);
        now["rejected"]
            .as_str()
            .is_some_and(|words| words.contains(&format!("-> router tcp/22 is refused: labgate.toml:{line} denies it")))
    });
    let (words, code) = said(&lab, &["apply"]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("-> router tcp/22") && words.contains("--force"), "{words}");
    assert_eq!(status(&lab)["revision"], 1);

    // By force it comes, and by itself it goes.
    let applied = done(&lab, &["apply", "--force", "--confirm", "3s"]);
    assert_eq!(applied["result"], "applied", "{applied}");
    eventually("it came back", 20, || status(&lab)["revision"] == 1);
    let now = status(&lab);
    assert!(now["file"].as_str().is_some_and(|words| words.contains("was undone at")), "{now}");
}

#[test]
fn history_diff_and_undo() {
    let Some(lab) = small() else { return };
    let first = std::fs::read_to_string(lab.config_path()).expect("the file");
    let candidate = text(&lab, &renamed("two.example.net"));
    let (words, code) = said(&lab, &["apply", &candidate]);
    assert!(code == Some(0) && words.contains("revision 2 is in effect") && words.contains("wrote /"), "{words}");
    assert_eq!(std::fs::read_to_string(lab.config_path()).expect("the file"), renamed("two.example.net"));
    let (words, _) = said(&lab, &["diff", "2"]);
    assert!(
        words.contains("--- labgate.toml (revision 1)") && words.contains("\n+domain = \"two.example.net\""),
        "{words}"
    );
    let (words, _) = said(&lab, &["diff", "2", "1"]);
    assert!(words.contains("\n-domain = \"two.example.net\""), "{words}");
    assert_eq!(said(&lab, &["diff"]), (String::new(), Some(0)), "the file says what runs");

    let (words, code) = said(&lab, &["undo"]);
    assert!(code == Some(0) && words.contains("revision 3 is in effect"), "{words}");
    assert_eq!(std::fs::read_to_string(lab.config_path()).expect("the file"), first);
    assert!(answers(&lab, "home.arpa"));
    done(&lab, &["undo", "2"]);
    assert!(answers(&lab, "two.example.net"));
    let (words, _) = said(&lab, &["history"]);
    let rows: Vec<&str> = words.lines().collect();
    assert!(
        rows[1].starts_with("4 ")
            && rows[1].contains("undo")
            && rows[1].contains(" +1 -0 ")
            && rows[1].ends_with("  running"),
        "{words}"
    );
    assert!(rows[4].starts_with("1 ") && rows[4].contains("start") && rows[4].ends_with("confirmed"), "{words}");
    assert!(rows[1].contains("(uid 0)") && rows[1].contains(" UTC"), "{words}");
    let (words, code) = said(&lab, &["undo", "99"]);
    assert!(code == Some(1) && words.contains("000099.json"), "{words}");
}

#[test]
fn two_changes_while_one_waits_go_back_to_the_same_base() {
    let Some(lab) = small() else { return };
    let candidate = text(&lab, &renamed("two.example.net"));
    done(&lab, &["apply", &candidate, "--confirm", "300s"]);
    let same = done(&lab, &["apply", &candidate, "--confirm", "300s"]);
    assert_eq!((&same["result"], &same["waiting"]["revision"]), (&json!("unchanged"), &json!(2)), "{same}");
    std::fs::write(&candidate, renamed("three.example.net")).expect("another text");
    let second = done(&lab, &["apply", &candidate]);
    assert_eq!(second["waiting"]["base"], 1, "it waits as the first did: {second}");
    assert!(answers(&lab, "three.example.net"));
    let (words, code) = said(&lab, &["undo"]);
    assert!(code == Some(1) && words.contains("`labgate revert`"), "{words}");
    done(&lab, &["revert"]);
    assert!(answers(&lab, "home.arpa"));
    assert_eq!((&status(&lab)["revision"], &status(&lab)["state"]), (&json!(1), &json!("good")));
    let (words, code) = said(&lab, &["revert"]);
    assert!(code == Some(1) && words.contains("nothing waits"), "{words}");
}

#[test]
fn damaged_and_torn_files_of_ours_never_keep_it_from_starting() {
    let Some(mut lab) = small() else { return };
    let candidate = text(&lab, &renamed("two.example.net"));
    done(&lab, &["apply", &candidate]);
    let state = lab.work().join("state");
    let (record, history) = (state.join("revisions.json"), state.join("history"));
    let whole = std::fs::read(&record).expect("the record");

    // Torn while it was written: the old one counts.
    lab.gateway().expect("the gateway").kill().expect("kill -9");
    std::fs::write(state.join("revisions.json.new"), &whole[..whole.len() / 2]).expect("half a record");
    std::fs::write(history.join("000003.json.new"), "{").expect("half a revision");
    lab.start_gateway().expect("a start beside torn files");
    assert_eq!(status(&lab)["revision"], 2);

    // The record is gone bad: the file decides, and nobody's number is used again.
    lab.gateway().expect("the gateway").kill().expect("kill -9");
    std::fs::write(&record, [0; 128]).expect("a bad sector");
    lab.start_gateway().expect("a start without a record");
    assert!(state.join("revisions.json.damaged").exists());
    let log = lab.log().all().join("\n");
    assert!(log.contains("which revision stands is not known") && log.contains("revisions.json.damaged"), "{log}");
    assert_eq!((&status(&lab)["revision"], &status(&lab)["state"]), (&json!(3), &json!("good")));

    // The file is broken, and so is the revision that ran: the one before it runs.
    lab.gateway().expect("the gateway").kill().expect("kill -9");
    std::fs::write(history.join("000003.json"), "").expect("an empty revision");
    std::fs::write(lab.config_path(), "[network.lan").expect("a broken file");
    lab.start_gateway().expect("a start with the last that is whole");
    assert!(history.join("000003.json.damaged").exists());
    let now = status(&lab);
    assert_eq!((&now["revision"], &now["state"]), (&json!(2), &json!("degraded")), "{now}");
    assert!(answers(&lab, "two.example.net"));

    // And nobody knows any more what ran: better the newest text than none.
    lab.gateway().expect("the gateway").kill().expect("kill -9");
    std::fs::write(&record, "{}").expect("a record of nothing");
    lab.start_gateway().expect("a start with the newest text");
    assert_eq!((&status(&lab)["revision"], &status(&lab)["state"]), (&json!(2), &json!("degraded")));
}

#[test]
fn a_single_mounted_file_is_written_in_place() {
    let Some(mut lab) = lay(options().home(home([web1()]))) else { return };
    let outside = lab.work().join("outside.toml");
    std::fs::copy(lab.config_path(), &outside).expect("a file");
    let (from, to) = (outside.to_string_lossy().into_owned(), lab.config_path().to_string_lossy().into_owned());
    lab.router().expect("the gateway").run(&["mount", "--bind", &from, &to]).expect("a bind mount");
    lab.start_gateway().expect("the gateway starts");
    let candidate = text(&lab, &renamed("two.example.net"));
    done(&lab, &["apply", &candidate]);
    assert_eq!(std::fs::read_to_string(&outside).expect("the file outside"), renamed("two.example.net"));
    assert_eq!(status(&lab)["file"], Value::Null);
}

#[test]
fn a_broken_text_is_refused_and_a_file_with_a_confirmation_asks_for_it() {
    let confirmed = format!("{}\n[apply]\nconfirm = \"300s\"\n", renamed("two.example.net"));
    let Some(lab) = crate::support::start(Options { config: confirmed, ..options().home(home([web1()])) }) else {
        return;
    };
    assert_eq!(status(&lab)["waiting"], Value::Null, "nothing ran before the first");
    let candidate = text(&lab, "[network.lan]\ninterface = 7\n");
    let (words, code) = said(&lab, &["apply", &candidate]);
    assert!(code == Some(1) && words.contains("labgate.toml:2:13"), "{words}");
    std::fs::write(&candidate, format!("{}\n[apply]\nconfirm = \"300s\"\n", renamed("three.example.net")))
        .expect("a text");
    let applied = done(&lab, &["apply", &candidate]);
    assert_eq!(applied["waiting"]["revision"], 2, "{applied}");
    let (words, code) = from_the_console(&lab, &["confirm"]);
    assert_eq!(code, 0, "{words}");
}
