//! A network of several interfaces is a bridge of the gateway's, and bridge netfilter must not cut what stays inside it.

use std::path::Path;

use labgate::cli::lab::home::Segment;
use labgate::cli::lab::{HostSpec, Options, Outcome, Service};

use crate::support::{HEAD, home, options, skip, start};

const BRIDGE_NETFILTER: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

#[test]
fn bridge_netfilter_does_not_cut_a_network_in_two() {
    let config = format!(
        "{HEAD}[network.lan]\ninterface = [\"eth1\", \"eth5\"]\naddress = \"192.168.1.1/24\"\nadmin = true\n\
         [network.iot]\ninterface = \"eth2\"\naddress = \"192.168.20.1/24\"\n"
    );
    let mut home = home([
        HostSpec::client("left", "lan", "52:54:00:00:01:31"),
        HostSpec::client("right", "lan2", "52:54:00:00:01:32").serving(Service::Web(80)),
        HostSpec::client("cam", "iot", "52:54:00:00:20:10"),
    ]);
    home.segments.push(Segment { name: "lan2".to_owned(), port: "eth5".to_owned() });
    let Some(lab) = start(Options { config, ..options().home(home) }) else { return };
    let right = lab.host("right").expect("right").address().expect("a lease over the bridge");
    let left = lab.host("left").expect("left");
    let reach = |setting: &str| {
        let attempt = left.connect(&format!("{right}:80")).expect("an attempt");
        assert_eq!(attempt.outcome, Outcome::Connected, "bridge netfilter {setting}: {attempt:?}");
    };
    let router = lab.router().expect("the gateway");
    if !Path::new(BRIDGE_NETFILTER).exists() {
        reach("absent");
        return skip("the module br_netfilter is not loaded: only the bridge itself was tried");
    }
    for setting in ["0", "1"] {
        router.run(&["sysctl", "-w", &format!("net.bridge.bridge-nf-call-iptables={setting}")]).expect("the setting");
        reach(setting);
    }
    let cam = lab.host("cam").expect("cam");
    assert_eq!(
        cam.connect(&format!("{right}:80")).expect("an attempt").outcome,
        Outcome::Refused,
        "other networks stay out"
    );
}
