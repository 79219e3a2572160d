//! Changes that come back: what nobody confirms is undone in place, whatever happens in between.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use labgate::cli::lab::{Lab, Lines, Options, PATIENCE, settings, verb};
use serde_json::{Value, json};

use crate::support::{HEAD, LABGATE, built_in_with, dig, eventually, home, options, start, web1};

/// Runs a command and tells its exit code last. It waits until it has lost its parents: only then has it no session of the person who runs
/// the tests among its ancestors.
const APART: &str = r#"
until [ "$(cat "/proc/$(cut -d' ' -f4 /proc/$$/stat)/comm")" != setsid ]; do :; done
unset SSH_CONNECTION SSH_TTY
"$@"
echo "exit $?"
"#;

/// A lab with one machine to look from, and the built-in file.
pub fn small() -> Option<Lab> {
    start(options().home(home([web1()])))
}

/// The built-in file with a visible difference: nas is called by another domain.
pub fn renamed(domain: &str) -> String {
    built_in_with("admin     = true", &format!("admin     = true\ndomain = \"{domain}\""))
}

/// Whether the gateway answers for nas in a domain.
pub fn answers(lab: &Lab, domain: &str) -> bool {
    let web1 = lab.host("web1").expect("web1");
    dig(&web1, &["@192.168.30.1", &format!("nas.{domain}")]) == "192.168.1.10"
}

/// A text in a file of its own, and its path.
pub fn text(lab: &Lab, text: &str) -> String {
    let path = lab.work().join("etc/candidate.txt");
    std::fs::write(&path, text).expect("a file");
    path.to_string_lossy().into_owned()
}

/// `labgate status`.
pub fn status(lab: &Lab) -> Value {
    lab.ask(&["status"]).expect("status")
}

/// Runs a verb that must succeed, and gives its document.
#[track_caller]
pub fn done(lab: &Lab, words: &[&str]) -> Value {
    let output = verb(lab, words).expect("a verb").arg("--json").output().expect("a verb");
    assert!(output.status.success(), "{words:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

/// Runs a verb as from the console, and gives what it says and its exit code.
#[track_caller]
pub fn from_the_console(lab: &Lab, words: &[&str]) -> (String, i32) {
    let mut command = lab.router().expect("the gateway").command("setsid");
    command.args(["--fork", "sh", "-c", APART, "sh", LABGATE]).args(words);
    command.envs(settings(lab.work())).stdin(Stdio::null());
    let output = command.output().expect("a shell of its own");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let code = said.lines().find_map(|line| line.strip_prefix("exit ")?.parse().ok());
    (said.clone(), code.unwrap_or_else(|| panic!("no exit code: {said}")))
}

/// The table as the kernel has it.
fn table(lab: &Lab) -> String {
    lab.router().expect("the gateway").run(&["nft", "-s", "list", "table", "inet", "labgate"]).expect("our table")
}

/// Waits until time has passed: here nothing else happens that could be waited for.
fn pass(time: Duration) {
    let over = Instant::now() + time;
    eventually("time passes", 120, || Instant::now() >= over);
}

#[track_caller]
fn says(lines: &Lines, words: &str) {
    let found = lines.wait(0, PATIENCE, |line| line.contains(words));
    assert!(found.is_some(), "{words:?} is not in {:#?}", lines.all());
}

#[test]
fn what_nobody_confirms_is_undone_and_nothing_else_is_touched() {
    let Some(mut lab) = small() else { return };
    let (before, file) = (table(&lab), std::fs::read_to_string(lab.config_path()).expect("the file"));
    let candidate = text(&lab, &renamed("changed.example.net"));
    let applied = done(&lab, &["apply", &candidate, "--confirm", "3s"]);
    assert_eq!((&applied["result"], &applied["revision"]), (&json!("applied"), &json!(2)), "{applied}");
    assert_eq!(applied["waiting"]["base"], 1, "{applied}");
    let notices = lab.gateway().expect("the gateway").notices.clone();
    says(&notices, "STATUS=revision 2 waits for `labgate confirm`");
    says(&lab.log(), "revision 2 is undone, revision 1 runs again: nobody confirmed it in time");
    says(&notices, "STATUS=running");
    assert!(answers(&lab, "home.arpa") && !answers(&lab, "changed.example.net"));
    assert_eq!(table(&lab), before);
    assert_eq!(std::fs::read_to_string(lab.config_path()).expect("the file"), file, "the daemon writes no file");
    let now = status(&lab);
    assert_eq!((&now["state"], &now["revision"], &now["waiting"]), (&json!("good"), &json!(1), &Value::Null), "{now}");
    let history = lab.ask(&["history"]).expect("history");
    assert_eq!((&history[0]["state"], &history[1]["state"]), (&json!("undone"), &json!("running")), "{history}");
    assert_eq!((&history[0]["how"], &history[1]["how"]), (&json!("apply"), &json!("start")), "{history}");
}

#[test]
fn confirmed_it_stays_and_the_file_says_so() {
    let Some(mut lab) = small() else { return };
    let (old, new) = (std::fs::read_to_string(lab.config_path()).expect("the file"), renamed("changed.example.net"));
    let candidate = text(&lab, &new);
    done(&lab, &["apply", &candidate, "--confirm", "120s"]);
    assert!(answers(&lab, "changed.example.net"));
    assert_eq!(std::fs::read_to_string(lab.config_path()).expect("the file"), old, "not before it is confirmed");
    let now = status(&lab);
    assert!(now["waiting"]["seconds-left"].as_u64().is_some_and(|left| left <= 120), "{now}");
    assert!(now["file"].as_str().is_some_and(|words| words.contains("`labgate confirm` writes it")), "{now}");
    let (said, code) = from_the_console(&lab, &["confirm"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("revision 2 is confirmed and stays") && said.contains("wrote /"), "{said}");
    assert_eq!(std::fs::read_to_string(lab.config_path()).expect("the file"), new);
    says(&lab.log(), "revision 2 is confirmed by ");
    // The watcher finds what runs already.
    says(&lab.log(), "nothing changes (edit");
    let (said, code) = from_the_console(&lab, &["confirm"]);
    assert!(code == 1 && said.contains("nothing waits"), "{said}");
    lab.gateway().expect("the gateway").kill().expect("kill -9");
    lab.start_gateway().expect("a new start");
    let now = status(&lab);
    assert_eq!((&now["revision"], &now["file"], &now["state"]), (&json!(2), &Value::Null, &json!("good")), "{now}");
    assert_eq!(lab.ask(&["history"]).expect("history").as_array().map(Vec::len), Some(2));
}

#[test]
fn kill_9_during_the_wait_neither_confirms_nor_forgets() {
    let Some(mut lab) = small() else { return };
    let candidate = text(&lab, &renamed("changed.example.net"));
    done(&lab, &["apply", &candidate, "--confirm", "300s"]);
    lab.gateway().expect("the gateway").kill().expect("kill -9");
    lab.start_gateway().expect("a start in time");
    let now = status(&lab);
    assert_eq!((&now["revision"], &now["waiting"]["base"]), (&json!(2), &json!(1)), "{now}");
    assert!(answers(&lab, "changed.example.net"), "it goes on waiting");
    done(&lab, &["revert"]);
    assert!(answers(&lab, "home.arpa"));

    let wait = Duration::from_secs(8);
    done(&lab, &["apply", &candidate, "--confirm", "8s"]);
    lab.gateway().expect("the gateway").kill().expect("kill -9");
    assert!(!lab.log().all().iter().any(|line| line.contains("revision 3 is undone")), "killed too late to tell");
    pass(wait);
    lab.start_gateway().expect("a start too late");
    says(&lab.log(), "revision 3 is undone, revision 1 runs again: its time to be confirmed ran out");
    assert!(answers(&lab, "home.arpa") && !answers(&lab, "changed.example.net"));
    assert_eq!(status(&lab)["waiting"], Value::Null);
}

/// The machine starts anew: what lies in the state folder is there, the kernel and the runtime folder have forgotten.
fn reboot(lab: &mut Lab, boot: &str) {
    lab.gateway().expect("the gateway").kill().expect("a power cut");
    let router = lab.router().expect("the gateway");
    router.run(&["nft", "flush", "ruleset"]).expect("an empty kernel");
    for interface in ["eth1", "eth2", "eth3", "eth4"] {
        router.run(&["ip", "addr", "flush", "dev", interface]).expect("no addresses");
    }
    let runtime = lab.work().join("run");
    std::fs::remove_dir_all(&runtime).expect("the runtime folder");
    let file = lab.work().join("boot-id");
    let new = !file.exists();
    std::fs::write(&file, boot).expect("a name of the boot");
    if new {
        let path = file.to_string_lossy().into_owned();
        router.run(&["mount", "--bind", &path, "/proc/sys/kernel/random/boot_id"]).expect("another boot");
    }
}

#[test]
fn a_reboot_during_the_wait_neither_confirms_nor_forgets() {
    let Some(mut lab) = small() else { return };
    let candidate = text(&lab, &renamed("changed.example.net"));
    done(&lab, &["apply", &candidate, "--confirm", "300s"]);
    reboot(&mut lab, "the second boot");
    lab.start_gateway().expect("a start in time");
    assert_eq!(status(&lab)["waiting"]["revision"], 2);
    assert!(answers(&lab, "changed.example.net"), "it goes on waiting by the wall clock");
    let (said, code) = from_the_console(&lab, &["confirm"]);
    assert_eq!(code, 0, "after a boot every session is new: {said}");

    std::fs::write(&candidate, renamed("again.example.net")).expect("another text");
    done(&lab, &["apply", &candidate, "--confirm", "8s"]);
    reboot(&mut lab, "the third boot");
    pass(Duration::from_secs(8));
    lab.start_gateway().expect("a start too late");
    says(&lab.log(), "revision 3 is undone, revision 2 runs again: the machine started anew");
    assert!(answers(&lab, "changed.example.net") && !answers(&lab, "again.example.net"));
}

/// The router's own address on lan is what changes.
fn at(address: &str) -> String {
    format!(
        "{HEAD}[apply]\nconfirm = \"6s\"\n[network.lan]\ninterface = \"eth1\"\naddress = \"{address}\"\nadmin = true\n\
         [network.web]\ninterface = \"eth3\"\naddress = \"192.168.30.1/24\"\n"
    )
}

#[test]
fn an_edit_of_the_routers_own_address_comes_back_and_is_not_applied_again_by_itself() {
    let Some(mut lab) = start(Options { config: at("192.168.1.1/24"), ..options().home(home([web1()])) }) else {
        return;
    };
    let has = |lab: &Lab, address: &str| {
        lab.router()
            .expect("the gateway")
            .run(&["ip", "-4", "addr", "show", "eth1"])
            .expect("addresses")
            .contains(address)
    };
    assert!(has(&lab, "192.168.1.1/24"));
    let edited = at("192.168.77.1/24");
    lab.edit(&edited).expect("an edit");
    says(&lab.log(), "revision 2 is in effect (edit, the watched file); revision 2 waits");
    says(&lab.log(), "revision 2 is undone");
    eventually("the old address is back, alone", 10, || has(&lab, "192.168.1.1/24") && !has(&lab, "192.168.77.1"));
    let undone = |lab: &Lab| {
        let now = status(lab);
        assert!(
            now["file"].as_str().is_some_and(|words| words.contains("the file as it stands was undone at ")),
            "{now}"
        );
        assert_eq!((&now["state"], &now["revision"]), (&json!("degraded"), &json!(1)), "{now}");
    };
    undone(&lab);
    assert_eq!(std::fs::read_to_string(lab.config_path()).expect("the file"), edited, "the daemon writes no file");
    lab.gateway().expect("the gateway").kill().expect("kill -9");
    lab.start_gateway().expect("a new start");
    undone(&lab);
    assert!(has(&lab, "192.168.1.1/24") && !has(&lab, "192.168.77.1"));

    // An explicit wish goes the same way once more.
    let again = done(&lab, &["reload"]);
    assert_eq!((&again["result"], &again["waiting"]["base"]), (&json!("applied"), &json!(1)), "{again}");
    eventually("the new address", 10, || has(&lab, "192.168.77.1/24"));
    says(&lab.log(), "is undone");
    eventually("the old address is back, alone", 10, || has(&lab, "192.168.1.1/24") && !has(&lab, "192.168.77.1"));
}

/// A connection to the control socket that stays open.
struct Socket(BufReader<UnixStream>);

impl Socket {
    fn open(lab: &Lab) -> Self {
        let stream = UnixStream::connect(lab.work().join("run/control.sock")).expect("the control socket");
        let mut socket = Socket(BufReader::new(stream));
        assert!(socket.ask(json!({ "verb": "status" }))["ok"].is_object());
        socket
    }

    fn ask(&mut self, request: Value) -> Value {
        writeln!(self.0.get_mut(), "{request}").expect("a request");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).expect("one JSON document")
    }
}

#[test]
fn an_old_connection_or_session_confirms_nothing() {
    let Some(lab) = small() else { return };
    let confirm = json!({ "verb": "confirm", "seat": "local" });
    let mut old = Socket::open(&lab);
    // A shell that a person opened before the change: its server is an ancestor of what they type.
    let server = lab.work().join("sshd");
    std::fs::copy("/bin/sh", &server).expect("a copy of the shell");
    let script = format!("echo ready; read word; {LABGATE} confirm; echo \"exit $?\"");
    let mut session = lab.router().expect("the gateway").command("setsid");
    session.args(["--fork", "sh", "-c", APART, "sh"]).arg(&server).args(["-c", &script]);
    session.envs(settings(lab.work()));
    let mut session =
        session.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a session");
    let said = Lines::default();
    said.follow(session.stdout.take().expect("its output"), |_| {});
    said.follow(session.stderr.take().expect("its errors"), |_| {});
    says(&said, "ready");

    let applied = old.ask(
        json!({ "verb": "apply", "text": renamed("changed.example.net"), "confirm_seconds": 120, "force": false }),
    );
    assert_eq!(applied["ok"]["result"], "applied", "{applied}");
    let answer = old.ask(confirm);
    assert!(
        answer["error"]
            .as_str()
            .is_some_and(|words| words.contains("connection to the control socket was open before")),
        "{answer}"
    );
    writeln!(session.stdin.take().expect("its input"), "now").expect("a word");
    says(&said, "exit 1");
    says(&said, "this session (sshd) was open before the change and proves nothing");
    let _ = session.wait();
    assert_eq!(status(&lab)["waiting"]["revision"], 2, "it still waits");

    let (said, code) = from_the_console(&lab, &["confirm"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(status(&lab)["waiting"], Value::Null);
}
