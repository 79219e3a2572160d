//! What rules and forwards have counted goes on, whatever happens to the table, the daemon and the machine.

use labgate::cli::lab::{Client, HostSpec, Lab, Options, Outcome, PATIENCE, Service};

use crate::support::{HEAD, eventually, fixed, home, options, start};

/// Packets of the one rule and of the one forward.
#[track_caller]
fn counted(lab: &Lab) -> (u64, u64) {
    let of = |verb: &str| {
        let rows = lab.ask(&[verb]).expect("the rows");
        rows[0]["packets"].as_u64().unwrap_or_else(|| panic!("{verb}: {rows}"))
    };
    (of("rules"), of("forwards"))
}

/// One connection over the rule, one over the forward.
#[track_caller]
fn connect(lab: &Lab) {
    for (from, to) in [("phone", "192.168.1.10:443"), ("internet", "203.0.113.2:8080")] {
        let tried = lab.host(from).expect("a machine").connect(to).expect("an attempt");
        assert_eq!(tried.outcome, Outcome::Connected, "{from} -> {to}: {tried:?}");
    }
}

/// Whether the kernel has the elements that follow the phone's lease.
fn follows(lab: &Lab) -> bool {
    let listed = lab.router().expect("the gateway").run(&["nft", "list", "table", "inet", "labgate"]);
    listed.is_ok_and(|text| text.contains(" phone -> lan\"") && text.contains(" : 192.168.20."))
}

/// Connects, and looks whether just that was added to `before`.
#[track_caller]
fn goes_on(lab: &Lab, before: (u64, u64), after_what: &str) -> (u64, u64) {
    eventually("rule and forward follow the lease", 10, || follows(lab));
    assert_eq!(counted(lab), before, "{after_what}");
    connect(lab);
    let now = counted(lab);
    assert!(now.0 > before.0 && now.1 > before.1, "{after_what}: {before:?}, then {now:?}");
    now
}

fn remove_table(lab: &Lab) {
    lab.router().expect("the gateway").run(&["nft", "delete", "table", "inet", "labgate"]).expect("nft");
}

#[test]
fn rule_counters_outlive_edits_restarts_kills_strangers_reboots_and_leases() {
    let config = format!(
        "{HEAD}[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\nadmin = true\n\
         [network.iot]\ninterface = \"eth2\"\naddress = \"192.168.20.1/24\"\n\
         [host]\nphone = {{ mac = \"52:54:00:00:20:77\" }}\n\
         [firewall]\nallow = [{{ from = \"phone\", to = \"lan\", port = \"tcp/443\" }}]\n\
         [port-forward]\n\"tcp/8080\" = \"phone:80\"\n"
    );
    let phone = HostSpec::client("phone", "iot", "52:54:00:00:20:77").silent().serving(Service::Web(80));
    let nas = fixed("nas", "lan", "52:54:00:00:01:10", "192.168.1.10").serving(Service::Web(443));
    let Some(mut lab) = start(Options { config: config.clone(), ..options().home(home([phone, nas])) }) else {
        return;
    };
    assert_eq!(lab.ask(&["rules"]).expect("rules")[0]["last-hit-unix"], serde_json::Value::Null);
    let reaches = |lab: &Lab| {
        lab.host("phone").expect("phone").connect("192.168.1.10:443").expect("an attempt").outcome == Outcome::Connected
    };
    let mut client = Client::start(&lab.host("phone").expect("phone")).expect("a client");
    client.bound(PATIENCE).expect("a lease");
    eventually("the rule follows", 5, || reaches(&lab));
    connect(&lab);
    let mut now = counted(&lab);
    assert!(now.0 >= 2 && now.1 >= 1, "{now:?}");

    // An edit that moves every line and adds a rule.
    let place = lab.ask(&["rules"]).expect("rules")[0]["place"].clone();
    let from = lab.log().len();
    lab.edit(&format!("# A line more.\n{}", config.replace("allow = [", "allow = [\n  "))).expect("the edit");
    lab.log().wait(from, PATIENCE, |line| line.contains("is in effect")).expect("the edit is applied");
    assert_ne!(lab.ask(&["rules"]).expect("rules")[0]["place"], place);
    now = goes_on(&lab, now, "an edit");

    // A restart, and connections while no daemon runs: the table counts on.
    lab.gateway().expect("the gateway").terminate().expect("a clean end");
    connect(&lab);
    lab.start_gateway().expect("a start");
    assert_eq!(counted(&lab), (now.0 + 1, now.1 + 1), "a restart");
    now = goes_on(&lab, (now.0 + 1, now.1 + 1), "a restart");

    // A kill: the table stands, so nothing is lost although nothing was stored.
    lab.gateway().expect("the gateway").kill().expect("kill -9");
    connect(&lab);
    lab.start_gateway().expect("a start after kill -9");
    now = goes_on(&lab, (now.0 + 1, now.1 + 1), "kill -9");

    // A stranger removes the table; what nft lists goes on as well.
    let from = lab.log().len();
    remove_table(&lab);
    lab.log().wait(from, PATIENCE, |line| line.contains("putting it back")).expect("it is noticed");
    let shown = format!("counter packets {} ", now.0);
    eventually("the table is back, with its counts", 10, || {
        let list = ["nft", "list", "map", "inet", "labgate", "forwards"];
        let listed = lab.router().expect("the gateway").run(&list);
        listed.is_ok_and(|text| text.contains(&format!("counter packets {} ", now.1)))
    });
    let listed = lab.router().expect("the gateway").run(&["nft", "list", "table", "inet", "labgate"]).expect("a list");
    assert!(listed.contains(&shown), "{shown:?} is not in {listed}");
    now = goes_on(&lab, now, "a stranger's nft delete table");

    // A reboot: the end is clean, the table is gone.
    lab.gateway().expect("the gateway").terminate().expect("a clean end");
    remove_table(&lab);
    lab.start_gateway().expect("a start after a reboot");
    let stored = now;
    goes_on(&lab, now, "a reboot");

    // The power is cut: what was counted since the book was stored last is lost, and no more.
    lab.gateway().expect("the gateway").kill().expect("kill -9");
    remove_table(&lab);
    lab.start_gateway().expect("a start after a power cut");
    now = goes_on(&lab, stored, "a power cut");

    // The lease leaves with an unread connection on its counters, and comes back.
    connect(&lab);
    let phone = lab.host("phone").expect("phone");
    client.release(&phone).expect("a release");
    eventually("the elements leave", 5, || !follows(&lab));
    client = Client::start(&phone).expect("a client");
    client.bound(PATIENCE).expect("a lease again");
    goes_on(&lab, (now.0 + 1, now.1 + 1), "a lease that came back");
    drop(client);
    let row = lab.ask(&["rules"]).expect("rules")[0].clone();
    let hit = row["last-hit-unix"].as_u64().expect("a time");
    let since = row["counted-since-unix"].as_u64().expect("a time");
    assert!(since <= hit && row["unused"] == serde_json::json!([]), "{row}");
    let all = lab.ask(&["rules", "--all"]).expect("rules --all");
    assert!(all.as_array().expect("rows").iter().any(|row| row["implied"] == true), "{all}");
}
