//! Refused packets in the log: who wanted what, and why not. Few lines, whatever comes.

use labgate::cli::lab::{Host, Lab, Outcome, PATIENCE};

use crate::support::{eventually, options, start};

fn told(lab: &Lab, words: &str) -> Vec<String> {
    lab.log().all().into_iter().filter(|line| line.contains("refused: ") && line.contains(words)).collect()
}

#[track_caller]
fn tells(lab: &Lab, words: &str) -> String {
    let line = lab.log().wait(0, PATIENCE, |line| line.contains(words));
    line.unwrap_or_else(|| panic!("no {words:?}: {:#?}", lab.log().all()))
}

/// Sends packets to a UDP port, each from a port of its own.
fn flood(host: &Host<'_>, target: &str, count: u32) {
    let script = format!("for i in $(seq {count}); do echo x >/dev/udp/{target} || true; done");
    host.run(&["bash", "-c", &script]).expect("a flood");
}

#[test]
fn a_refused_packet_is_told_with_names_and_reason_and_a_flood_in_few_lines() {
    let Some(lab) = start(options()) else { return };
    let machine = |name: &str| lab.host(name).expect("a machine");
    let (cam, laptop) = (machine("cam"), machine("laptop"));
    assert_eq!(cam.connect("192.168.1.10:443").expect("an attempt").outcome, Outcome::Refused);
    let line = tells(&lab, "-> nas (192.168.1.10, lan) tcp/443: no rule allows iot -> lan; the nearest is");
    assert!(line.contains("refused: cam (192.168.20."), "{line}");
    assert!(line.contains("labgate.toml:"), "{line}");
    assert_eq!(cam.connect("192.168.20.1:22").expect("an attempt").outcome, Outcome::Refused);
    tells(&lab, "-> router (192.168.20.1) tcp/22: no rule allows iot -> router");

    // A source that belongs to another network is known by its hardware address. The gateway is kept from setting `rp_filter`, as it
    // is in a container with a read-only /proc/sys: the kernel would drop the packet before the table sees it, and tell nobody.
    let lenient = "mkdir /run/sys && mount --rbind /proc/sys /run/sys
        for interface in all eth1; do
            setting=net/ipv4/conf/$interface/rp_filter
            mount --bind /proc/sys/$setting /proc/sys/$setting
            mount -o remount,bind,ro /proc/sys/$setting
            echo 0 >/run/sys/$setting
        done";
    lab.router().expect("the gateway").run(&["sh", "-ec", lenient]).expect("no filter before the table");
    laptop.run(&["ip", "addr", "add", "192.168.40.77/32", "dev", "lo"]).expect("an address to forge with");
    laptop.output(&["ping", "-c", "1", "-W", "1", "-I", "192.168.40.77", "192.168.30.10"]).expect("ping");
    let line = tells(&lab, "it came from lan, where this source does not belong, from 52:54:00:00:01:20");
    assert!(line.ends_with("(laptop)"), "{line}");

    // A device that the file does not name is asked about by the name that the log gives it.
    for name in ["laptop", "laptop.home.arpa"] {
        let explained = lab.ask(&["explain", name, "web1:80"]).expect("an explanation");
        let source = explained["source"].as_str().expect("a source");
        assert!(
            source.starts_with(&format!("{name} (192.168.1.")) && source.ends_with(", network lan)"),
            "{explained}"
        );
        assert_eq!(explained["place"], "labgate.toml:33", "{explained}");
    }

    // The internet is noise, and a flood from inside is a few lines.
    machine("internet").connect("203.0.113.2:444").expect("an attempt");
    let before = told(&lab, "cam (").len();
    flood(&cam, "192.168.30.10/9", 1000);
    machine("web1").connect("192.168.1.10:443").expect("an attempt");
    tells(&lab, "refused: web1 (192.168.30.10, web) -> nas (192.168.1.10, lan) tcp/443");
    let lines = told(&lab, "cam (").len() - before;
    assert!((1..=12).contains(&lines), "{lines} lines: {:#?}", lab.log().all());
    assert!(told(&lab, "internet").is_empty(), "{:#?}", told(&lab, "internet"));
    eventually("status has a row", 5, || {
        let status = lab.ask(&["status"]).expect("status");
        status["subsystems"]["refusals"]["good"] == true
    });
}
