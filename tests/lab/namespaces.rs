//! The lab itself, without a gateway: cables, services, and that nothing stays behind.

use std::os::unix::fs::MetadataExt;

use labgate::cli::lab::{Home, HostSpec, Outcome};

use crate::support::{eventually, lay, options, skip};

#[test]
fn machines_on_one_segment_reach_one_another_and_each_has_its_own_run() {
    let Some(lab) = lay(options().home(Home::built_in())) else { return };
    let (nas, laptop) = (lab.host("nas").expect("nas"), lab.host("laptop").expect("laptop"));
    nas.run(&["ip", "addr", "add", "10.9.9.1/24", "dev", "eth0"]).expect("address");
    laptop.run(&["ip", "addr", "add", "10.9.9.2/24", "dev", "eth0"]).expect("address");
    let attempt = laptop.connect("10.9.9.1:443").expect("an attempt");
    assert_eq!(attempt.outcome, Outcome::Connected);
    assert_eq!(attempt.text, "nas: you are 10.9.9.2");
    assert_eq!(laptop.connect("10.9.9.1:80").expect("an attempt").outcome, Outcome::Refused);
    nas.run(&["touch", "/run/mine"]).expect("touch");
    assert!(!laptop.output(&["test", "-e", "/run/mine"]).expect("test").status.success());
}

#[test]
fn the_end_of_a_lab_ends_its_daemons_too() {
    let Some(lab) = lay(options()) else { return };
    let laptop = lab.host("laptop").expect("laptop");
    laptop.run(&["sh", "-c", "setsid -f sleep 1000 >/dev/null 2>&1"]).expect("a daemon starts");
    let inode = lab.kept().machines["laptop"].inode;
    let inhabited = || {
        let processes = std::fs::read_dir("/proc").expect("/proc");
        processes.flatten().any(|entry| {
            let found = std::fs::metadata(entry.path().join("ns/net"));
            found.is_ok_and(|namespace| namespace.ino() == inode)
        })
    };
    assert!(inhabited());
    let work = lab.work().to_owned();
    drop(lab);
    eventually("the daemon is gone", 5, || !inhabited());
    assert!(!work.exists());
}

#[test]
fn an_ordinary_user_gets_the_same_home_in_a_user_namespace() {
    if std::fs::read_to_string("/proc/sys/user/max_user_namespaces").is_ok_and(|text| text.trim() == "0") {
        return skip("user namespaces are switched off (user.max_user_namespaces = 0)");
    }
    let mut options = options().home(Home::built_in().with(HostSpec::client("guest", "lan", "52:54:00:00:01:77")));
    options.rootless = true;
    let Some(lab) = lay(options) else { return };
    let guest = lab.host("guest").expect("guest");
    assert_eq!(guest.run(&["id", "-u"]).expect("id").trim(), "0");
    guest.run(&["nft", "add", "table", "inet", "probe"]).expect("nft works rootless");
    let attempt = lab.host("internet").expect("internet").connect("198.51.100.80:80").expect("an attempt");
    assert_eq!(attempt.text, "internet: you are 198.51.100.80");
}

#[test]
fn the_upstream_answers_over_udp_and_tcp_and_counts_questions() {
    let Some(lab) = lay(options()) else { return };
    let internet = lab.host("internet").expect("internet");
    let ask = |words: &[&str]| internet.run(&[&["dig", "+short", "@198.51.100.53"], words].concat()).expect("dig");
    assert_eq!(ask(&["www.example.com"]).trim(), "198.51.100.80");
    assert_eq!(ask(&["-x", "198.51.100.80"]).trim(), "www.example.com.");
    assert_eq!(ask(&["v6.example.com", "AAAA"]).trim(), "2001:db8::80");
    assert_eq!(ask(&["alias.example.com"]).lines().count(), 2);
    assert_eq!(ask(&["big.example.com", "TXT"]).lines().count(), 12);
    assert_eq!(lab.upstream_queries("big.example.com"), 2);
}
