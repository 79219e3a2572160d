//! The uplink in its three forms: the system's, the file's, and our own DHCP client against a server that we did not write.

use labgate::cli::lab::{Home, HostSpec, Lab, Options, Outcome, Service, find};

use crate::support::{eventually, home, options, skip, start};

const NETWORKS: &str = "[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\n\
    [host]\nnas = { mac = \"52:54:00:00:01:10\", ip = \"192.168.1.10\" }\n\
    [port-forward]\n\"tcp/443\" = \"nas\"\n";

fn machines() -> Home {
    let nas = HostSpec::client("nas", "lan", "52:54:00:00:01:10").serving(Service::Web(443));
    home([nas, HostSpec::client("laptop", "lan", "52:54:00:00:01:20")])
}

/// A gateway whose system leaves the uplink alone.
fn untouched() -> Home {
    Home { gateway_addresses: Vec::new(), gateway_router: None, ..machines() }
}

/// What the internet sees when the laptop asks, once it is seen.
#[track_caller]
fn seen_as(lab: &Lab, address: &str) {
    let laptop = lab.host("laptop").expect("laptop");
    eventually(&format!("the internet sees {address}"), 40, || {
        laptop.connect("www.example.com:80").is_ok_and(|tried| tried.text == format!("internet: you are {address}"))
    });
}

#[track_caller]
fn forwarded(lab: &Lab, address: &str) {
    for from in ["internet", "laptop"] {
        let attempt = lab.host(from).expect("a machine").connect(&format!("{address}:443")).expect("an attempt");
        assert_eq!(attempt.outcome, Outcome::Connected, "{from} -> {address}:443: {attempt:?}");
    }
}

#[test]
fn a_new_public_address_needs_no_edit_and_no_reload() {
    let config = format!("[wan]\ninterface = \"eth0\"\n{NETWORKS}");
    let Some(lab) = start(Options { config, ..options().home(machines()) }) else { return };
    seen_as(&lab, "203.0.113.2");
    forwarded(&lab, "203.0.113.2");
    let router = lab.router().expect("the gateway");
    router.run(&["ip", "addr", "add", "203.0.113.77/24", "dev", "eth0"]).expect("the new address");
    router.run(&["ip", "addr", "del", "203.0.113.2/24", "dev", "eth0"]).expect("the old one goes");
    router.run(&["ip", "addr", "replace", "203.0.113.77/24", "dev", "eth0"]).expect("the new address stays");
    router.run(&["ip", "route", "replace", "default", "via", "203.0.113.1"]).expect("the way out");
    seen_as(&lab, "203.0.113.77");
    forwarded(&lab, "203.0.113.77");
}

#[test]
fn a_static_uplink_is_set_up_from_the_file() {
    let wan = "[wan]\ninterface = \"eth0\"\naddress = \"203.0.113.5/24\"\ngateway = \"203.0.113.1\"\n[dns]\nupstream = [\"198.51.100.53\"]\n";
    let Some(lab) = start(Options { config: format!("{wan}{NETWORKS}"), ..options().home(untouched()) }) else {
        return;
    };
    seen_as(&lab, "203.0.113.5");
    forwarded(&lab, "203.0.113.5");
}

#[test]
fn our_own_client_gets_address_route_and_resolvers_and_keeps_them_over_a_restart_without_the_server() {
    if find("busybox").is_none() {
        return skip("busybox is not installed, whose udhcpd is the provider's server here");
    }
    let config = format!("[wan]\ninterface = \"eth0\"\naddress = \"dhcp\"\n{NETWORKS}");
    let mut home = untouched();
    let internet = home.host_mut("internet").expect("internet");
    internet.services.push(Service::Provider("eth0".to_owned()));
    let Some(mut lab) = start(Options { config, ..options().home(home) }) else { return };
    seen_as(&lab, "203.0.113.2");
    forwarded(&lab, "203.0.113.2");
    let status = lab.ask(&["status"]).expect("status");
    assert_eq!(status["resolvers"], serde_json::json!(["198.51.100.53"]), "{status}");
    let internet = lab.host("internet").expect("internet");
    internet.run(&["sh", "-c", "kill $(cat /run/udhcpd.pid)"]).expect("the provider's server is ended");
    lab.gateway().expect("the gateway").kill().expect("kill -9");
    lab.router().expect("the gateway").run(&["ip", "addr", "flush", "dev", "eth0"]).expect("as after a boot");
    lab.start_gateway().expect("the gateway starts again");
    seen_as(&lab, "203.0.113.2");
}
