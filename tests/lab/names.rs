//! Rules name names of the outside: they follow what the upstream says, before the client that asked hears it.

use labgate::cli::lab::{Home, Host, HostSpec, Lab, Options, Outcome};

use crate::support::{HEAD, dig, eventually, fixed, home, options, start};

fn config() -> String {
    format!(
        "{HEAD}[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\nadmin = true\n\
         [network.iot]\ninterface = \"eth2\"\naddress = \"192.168.20.1/24\"\ninternet = false\n\
         [network.web]\ninterface = \"eth3\"\naddress = \"192.168.30.1/24\"\ninternet = false\n\
         [group]\nupdates = [\"updates.example.com\", \"alias.example.com\", \"rebind.example.com\"]\n\
         [firewall]\nallow = [{{ from = \"iot\", to = [\"updates\", \"cdn.example.com\"], port = \"http\" }}]\n\
         [log]\nlevel = \"debug\"\n"
    )
}

fn machines() -> Home {
    let cam: HostSpec = fixed("cam", "iot", "52:54:00:00:20:10", "192.168.20.10");
    home([cam, fixed("web1", "web", "52:54:00:00:30:10", "192.168.30.10")])
}

#[track_caller]
fn tried(host: &Host<'_>, to: &str) -> Outcome {
    host.connect(to).expect("an attempt").outcome
}

fn health(lab: &Lab) -> (bool, String) {
    let status = lab.ask(&["status"]).expect("status");
    let row = &status["subsystems"]["names"];
    (row["good"] == true, row["words"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn rules_follow_outside_names_through_changes_failures_and_restarts() {
    let Some(mut lab) = start(Options { config: config(), ..options().home(machines()) }) else { return };
    let internet = lab.host("internet").expect("internet");
    for last in 81..=84 {
        internet.run(&["ip", "addr", "add", &format!("198.51.100.{last}/32"), "dev", "lo"]).expect("an address");
    }
    lab.tell_upstream("updates.example.com 0 198.51.100.81\ncdn.example.com 6 198.51.100.83\n").expect("a zone");
    let (cam, web1) = (lab.host("cam").expect("cam"), lab.host("web1").expect("web1"));
    let chains = || lab.router().expect("the gateway").run(&["nft", "-s", "list", "chains", "inet"]).expect("chains");
    let before = chains();

    // Whoever hears an address may go there at once, also where it has just changed; nobody else may, and nowhere else.
    for last in [81, 82] {
        lab.tell_upstream(&format!("updates.example.com 0 198.51.100.{last}\ncdn.example.com 6 198.51.100.83\n"))
            .expect("a zone");
        assert_eq!(dig(&cam, &["@192.168.20.1", "updates.example.com"]), format!("198.51.100.{last}"));
        assert_eq!(tried(&cam, &format!("198.51.100.{last}:80")), Outcome::Connected);
        assert_eq!(tried(&web1, &format!("198.51.100.{last}:80")), Outcome::Refused);
    }
    assert_eq!(tried(&cam, "198.51.100.82:7"), Outcome::Refused, "the rule gives one port");
    assert_eq!(tried(&cam, "198.51.100.81:80"), Outcome::Connected, "who heard the older address goes on");
    assert!(dig(&cam, &["@192.168.20.1", "alias.example.com"]).contains("198.51.100.80"));
    assert_eq!(tried(&cam, "198.51.100.80:80"), Outcome::Connected, "the name is an alias of another one");
    let explained = lab.ask(&["explain", "192.168.20.10", "alias.example.com:80"]).expect("an explanation");
    assert_eq!((&explained["allowed"], &explained["place"]), (&true.into(), &"labgate.toml:20".into()), "{explained}");

    // Nobody asks, and the rule follows all the same before the time of the old answer ends.
    eventually("the first address is known", 10, || tried(&cam, "198.51.100.83:80") == Outcome::Connected);
    assert_eq!(tried(&cam, "198.51.100.84:80"), Outcome::Refused);
    lab.tell_upstream("cdn.example.com 6 198.51.100.84\n").expect("a zone");
    eventually("the rule follows by itself", 10, || tried(&cam, "198.51.100.84:80") == Outcome::Connected);
    assert_eq!(chains(), before, "a name changes no chain");

    // A public name never leads to a machine at home, and is told.
    let (good, words) = health(&lab);
    assert!(!good && words.contains("rebind.example.com: its addresses are private ones"), "{words}");

    // The upstream fails: what was good last stays, and its age is told.
    let dead = "updates.example.com failure\ncdn.example.com failure\nalias.example.com failure\n";
    lab.tell_upstream(dead).expect("a zone");
    eventually("the failure is told", 30, || {
        health(&lab).1.contains("cdn.example.com: no upstream answers, its addresses are 0 min old")
    });
    assert_eq!(tried(&cam, "198.51.100.84:80"), Outcome::Connected);
    let status = lab.ask(&["status"]).expect("status");
    let rows = status["names"].as_array().expect("the names");
    let cdn = rows.iter().find(|row| row["name"] == "cdn.example.com").expect("the name");
    assert!(cdn["addresses"].as_array().is_some_and(|all| all.contains(&"198.51.100.84".into())), "{cdn}");
    assert!(cdn["age-seconds"].is_u64() && cdn["failure"] == "no upstream answers", "{cdn}");
    let micros: Vec<String> =
        lab.log().all().into_iter().filter(|line| line.contains("rules know the addresses")).collect();
    eprintln!("from the answer to the kernel's set:\n{}", micros.join("\n"));
    assert!(!micros.is_empty());

    // A restart during the outage keeps them.
    assert!(lab.gateway().expect("the gateway").terminate().expect("an end").success());
    lab.start_gateway().expect("it starts again");
    let cam = lab.host("cam").expect("cam");
    assert_eq!(tried(&cam, "198.51.100.84:80"), Outcome::Connected);
    assert_eq!(tried(&cam, "198.51.100.80:80"), Outcome::Connected);
    assert_eq!(tried(&lab.host("web1").expect("web1"), "198.51.100.84:80"), Outcome::Refused);
}
