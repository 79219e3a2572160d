//! Rules and forwards name hosts: they follow the lease at once, without a reload.

use labgate::cli::lab::{Client, HostSpec, Options, Outcome, PATIENCE, Service};

use crate::support::{HEAD, eventually, fixed, home, options, start};

#[test]
fn rules_and_forwards_follow_a_host_without_a_fixed_address_to_its_lease_and_leave_with_it() {
    let config = format!(
        "{HEAD}[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\nadmin = true\n\
         [network.iot]\ninterface = \"eth2\"\naddress = \"192.168.20.1/24\"\n\
         [host]\nphone = {{ mac = \"52:54:00:00:20:77\" }}\n\
         [firewall]\nallow = [{{ from = \"phone\", to = \"lan\", port = \"tcp/443\" }}]\n\
         [port-forward]\n\"tcp/8080\" = \"phone:80\"\n"
    );
    let phone = HostSpec::client("phone", "iot", "52:54:00:00:20:77").silent().serving(Service::Web(80));
    let nas = fixed("nas", "lan", "52:54:00:00:01:10", "192.168.1.10").serving(Service::Web(443));
    let cam = HostSpec::client("cam", "iot", "52:54:00:00:20:10");
    let Some(lab) = start(Options { config, ..options().home(home([phone, nas, cam])) }) else { return };
    let tried = |from: &str, to: &str| lab.host(from).expect("a machine").connect(to).expect("an attempt").outcome;
    assert_eq!(tried("internet", "203.0.113.2:8080"), Outcome::Silent, "there is nobody to forward to yet");
    let rules = || lab.router().expect("the gateway").run(&["nft", "-s", "list", "chains", "inet"]).expect("chains");
    let before = rules();

    let phone = lab.host("phone").expect("phone");
    let mut client = Client::start(&phone).expect("a client");
    let address = client.bound(PATIENCE).expect("a lease");
    eventually("the rule follows", 2, || tried("phone", "192.168.1.10:443") == Outcome::Connected);
    eventually("the forward follows", 2, || tried("internet", "203.0.113.2:8080") == Outcome::Connected);
    assert_eq!(tried("phone", "192.168.1.10:80"), Outcome::Refused, "the rule gives one port");
    assert_eq!(tried("cam", "192.168.1.10:443"), Outcome::Refused, "the rule is for the phone alone");
    assert_eq!(rules(), before, "a lease changes no chain");

    client.release(&phone).expect("a release");
    // The address stays in use without a lease, as if another machine had taken it.
    phone.run(&["ip", "addr", "replace", &format!("{address}/24"), "dev", "eth0"]).expect("the old address");
    phone.run(&["ip", "route", "replace", "default", "via", "192.168.20.1"]).expect("a route");
    eventually("the rule leaves with the lease", 5, || tried("phone", "192.168.1.10:443") == Outcome::Refused);
    eventually("the forward leaves too", 5, || tried("internet", "203.0.113.2:8080") == Outcome::Silent);
}
