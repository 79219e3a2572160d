//! The network and uplink tasks against the real kernel, in a namespace of each test's own.

#[path = "network/gateway.rs"]
mod gateway;
#[path = "common/netns.rs"]
mod netns;
#[path = "network/uplink.rs"]
mod uplink;

use std::time::{Duration, Instant};

use gateway::{Gateway, close, has, run};
use labgate::linux::network::teardown;
use netns::{Peer, in_namespace, sh};

const ONE: &str = "[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\n";

fn state() -> tempfile::TempDir {
    tempfile::tempdir().expect("a state folder")
}

/// Waits until the kernel itself is as wished, for what the picture may never show.
async fn kernel(what: &str, wished: impl Fn(&labgate::model::Links) -> bool) {
    let netlink = labgate::linux::netlink::Netlink::open().expect("netlink");
    let waiting = async {
        while !wished(&netlink.links().await.expect("a dump")) {
            netlink.changed().await;
        }
    };
    tokio::time::timeout(gateway::PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A cable whose near end is down. It was up once: the kernel shows that for ever. IPv6 gives itself addresses in its own time, so it is off.
fn cable(near: &str, far: &str) {
    sh("for f in all default; do echo 1 > /proc/sys/net/ipv6/conf/$f/disable_ipv6; done");
    sh(&format!(
        "ip link add {near} type veth peer name {far}; ip link set {far} up; ip link set {near} up; ip link set {near} down"
    ));
}

/// Everything a teardown must put back. The kernel sets the operational state in its own time, and the far ends are not ours.
fn snapshot() -> String {
    let files =
        "/proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/conf/*/forwarding";
    let all = sh(&format!("ip -j -d link; ip -j addr; ip -j route; grep . {files}")).replace("},{", "},\n{");
    let mut kept = String::new();
    for line in all.lines().filter(|line| !line.contains("\"ifname\":\"far")) {
        for word in line.split(',') {
            kept.push_str(if word.starts_with("\"operstate\"") { "" } else { word });
            kept.push(',');
        }
        kept.push('\n');
    }
    kept
}

#[track_caller]
fn assert_restored(before: &str) {
    let after = snapshot();
    let changed: Vec<_> = before.lines().zip(after.lines()).filter(|(before, after)| before != after).collect();
    assert!(before == after, "not as it was: {changed:#?}");
}

#[test]
fn an_address_is_added_changed_kept_and_removed() {
    in_namespace(|| {
        run(async {
            cable("eth1", "far1");
            let (state, before) = (state(), snapshot());
            let gateway = Gateway::start(state.path(), ONE, true).await;
            gateway.links("the address", |links| has(links, "eth1", "192.168.1.1/24")).await;
            gateway.health("network lan", true, "eth1 has 192.168.1.1/24").await;
            assert!(sh("ip addr show eth1").contains("192.168.1.1/24 brd 192.168.1.255"));

            gateway.edit(&ONE.replace("192.168.1.1/24", "192.168.1.2/24"));
            gateway
                .links("the other address alone", |links| {
                    has(links, "eth1", "192.168.1.2/24") && !has(links, "eth1", "192.168.1.1/24")
                })
                .await;
            // Somebody takes it away: it comes back.
            sh("ip addr flush dev eth1");
            kernel("the address again", |links| has(links, "eth1", "192.168.1.2/24")).await;
            // A stop leaves all as it is; a start finds it and changes nothing.
            gateway.stop().await;
            assert!(sh("ip addr show eth1").contains("192.168.1.2/24"));
            let gateway = Gateway::start(state.path(), &ONE.replace("192.168.1.1/24", "192.168.1.2/24"), true).await;
            gateway.stop().await;
            teardown(state.path()).await.unwrap();
            assert_restored(&before);
            assert!(!state.path().join("network.json").exists());
        });
    });
}

#[test]
fn what_was_there_before_stays_after_teardown() {
    in_namespace(|| {
        run(async {
            sh("ip link add eth1 type veth peer name far1; ip link set far1 up; ip link set eth1 up");
            sh(
                "ip addr add 192.168.1.1/24 dev eth1; ip addr add 10.9.9.9/32 dev eth1; echo 1 > /proc/sys/net/ipv4/ip_forward",
            );
            let (state, before) = (state(), sh("ip -j addr show eth1; ip -j route"));
            let gateway = Gateway::start(state.path(), ONE, true).await;
            gateway.health("network lan", true, "192.168.1.1/24").await;
            gateway.stop().await;
            teardown(state.path()).await.unwrap();
            assert_eq!(sh("ip -j addr show eth1; ip -j route"), before);
            assert_eq!(sh("cat /proc/sys/net/ipv4/ip_forward"), "1\n");
            assert_eq!(teardown(state.path()).await.unwrap(), [""; 0]);
        });
    });
}

#[test]
fn forwarding_waits_for_the_firewall() {
    in_namespace(|| {
        run(async {
            cable("eth1", "far1");
            let state = state();
            let gateway = Gateway::start(state.path(), ONE, false).await;
            gateway.health("network", true, "off until the firewall is closed").await;
            gateway.links("the address", |links| has(links, "eth1", "192.168.1.1/24")).await;
            let read = || sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/eth1/rp_filter");
            assert_eq!(read(), "0\n1\n");
            close(&gateway.pictures);
            gateway.health("network", true, "forwarding is on").await;
            assert_eq!(read(), "1\n1\n");
            gateway.stop().await;
        });
    });
}

#[test]
fn a_bridge_from_a_list() {
    in_namespace(|| {
        run(async {
            for (near, far) in [("eth1", "far1"), ("eth2", "far2"), ("eth3", "far3")] {
                cable(near, far);
            }
            let (state, before) = (state(), snapshot());
            let text = "[network.lan]\ninterface = [\"eth1\", \"eth2\"]\naddress = \"192.168.1.1/24\"\n";
            let gateway = Gateway::start(state.path(), text, true).await;
            let member =
                |links: &labgate::model::Links, name: &str| links.by_name[name].master.as_deref() == Some("br-lan");
            gateway
                .links("both in the bridge", |links| {
                    member(links, "eth1") && member(links, "eth2") && has(links, "br-lan", "192.168.1.1/24")
                })
                .await;
            gateway.health("network lan", true, "br-lan has 192.168.1.1/24").await;
            // Another list: the old member goes, the bridge stays the same one.
            let index = gateway.pictures.links.borrow().by_name["br-lan"].index;
            gateway.edit(&text.replace("eth2", "eth3"));
            gateway.links("the other member", |links| member(links, "eth3") && !member(links, "eth2")).await;
            assert_eq!(gateway.pictures.links.borrow().by_name["br-lan"].index, index);
            // No list any more: the bridge goes with what we put there.
            gateway.edit(ONE);
            gateway
                .links("no bridge", |links| {
                    !links.by_name.contains_key("br-lan") && has(links, "eth1", "192.168.1.1/24")
                })
                .await;
            gateway.stop().await;
            teardown(state.path()).await.unwrap();
            assert_restored(&before);
        });
    });
}

#[test]
fn an_interface_comes_and_goes() {
    in_namespace(|| {
        run(async {
            let state = state();
            let gateway = Gateway::start(state.path(), ONE, true).await;
            gateway.health("network lan", false, "eth1 is not there; waiting").await;
            for _ in 0..3 {
                cable("eth1", "far1");
                let appeared = Instant::now();
                gateway.links("served", |links| has(links, "eth1", "192.168.1.1/24") && links.by_name["eth1"].up).await;
                assert!(appeared.elapsed() < Duration::from_secs(2), "{:?}", appeared.elapsed());
                gateway.health("network lan", true, "192.168.1.1/24").await;
                sh("ip link del eth1");
                gateway.links("gone", |links| !links.by_name.contains_key("eth1")).await;
                gateway.health("network lan", false, "waiting").await;
            }
            // Renamed away and back.
            cable("eth1", "far1");
            gateway.links("served", |links| has(links, "eth1", "192.168.1.1/24")).await;
            sh("ip link set eth1 down; ip link set eth1 name spare");
            gateway
                .links("our address taken from the renamed one", |links| {
                    links.by_name.contains_key("spare") && !has(links, "spare", "192.168.1.1/24")
                })
                .await;
            sh("ip link set spare name eth1");
            gateway.links("back", |links| has(links, "eth1", "192.168.1.1/24")).await;
            gateway.stop().await;
        });
    });
}

#[test]
fn set_down_by_hand_it_stays_down() {
    in_namespace(|| {
        run(async {
            cable("eth1", "far1");
            let state = state();
            let gateway = Gateway::start(state.path(), ONE, true).await;
            gateway.health("network", true, "forwarding is on").await;
            sh("ip link set eth1 down");
            gateway.health("network lan", false, "set down by hand").await;
            assert!(!gateway.pictures.links.borrow().by_name["eth1"].up);
            sh("ip link set eth1 up");
            gateway.health("network lan", true, "192.168.1.1/24").await;
            gateway.stop().await;
        });
    });
}

#[test]
fn a_vlan_is_made_or_the_kernel_s_refusal_is_told() {
    in_namespace(|| {
        run(async {
            cable("eth1", "far1");
            let (state, before) = (state(), snapshot());
            let text =
                format!("{ONE}admin = true\n[network.iot]\ninterface = \"eth1.20\"\naddress = \"192.168.20.1/24\"\n");
            let possible = std::process::Command::new("sh")
                .args(["-c", "ip link add link eth1 name probe type vlan id 99 && ip link del probe"])
                .output()
                .is_ok_and(|output| output.status.success());
            let gateway = Gateway::start(state.path(), &text, true).await;
            gateway.links("lan is served whatever happens to iot", |links| has(links, "eth1", "192.168.1.1/24")).await;
            if !possible {
                gateway
                    .health(
                        "network iot",
                        false,
                        "eth1.20 cannot be made: this kernel has no 802.1Q VLANs loaded; run `modprobe 8021q`",
                    )
                    .await;
                // Made by somebody else, it is as good.
                sh("ip link add eth1.20 type veth peer name far2; ip link set far2 up");
            }
            gateway.health("network iot", true, "eth1.20 has 192.168.20.1/24").await;
            gateway.stop().await;
            teardown(state.path()).await.unwrap();
            if !possible {
                sh("ip link del eth1.20");
            }
            assert_restored(&before);
        });
    });
}

#[test]
fn a_static_uplink_with_its_default_route() {
    in_namespace(|| {
        run(async {
            cable("eth0", "far0");
            cable("eth1", "far1");
            let (state, before) = (state(), snapshot());
            let text = |address: &str, router: &str| {
                format!("[wan]\ninterface = \"eth0\"\naddress = \"{address}\"\ngateway = \"{router}\"\n{ONE}")
            };
            let gateway = Gateway::start(state.path(), &text("203.0.113.5/24", "203.0.113.1"), true).await;
            gateway.health("uplink", true, "eth0 has 203.0.113.5/24, default route through 203.0.113.1").await;
            assert!(sh("ip route").contains("default via 203.0.113.1 dev eth0 proto static"));
            gateway.edit(&text("198.51.100.5/24", "198.51.100.1"));
            gateway.health("uplink", true, "eth0 has 198.51.100.5/24, default route through 198.51.100.1").await;
            gateway.links("the old address gone", |links| !has(links, "eth0", "203.0.113.5/24")).await;
            gateway.stop().await;
            teardown(state.path()).await.unwrap();
            assert_restored(&before);
        });
    });
}

/// A router that takes the place of another is found at once.
#[test]
fn the_neighbours_are_told_of_a_new_address() {
    in_namespace(|| {
        run(async {
            let peer = Peer::new();
            sh(&format!("ip link add eth1 type veth peer name far1 netns {}", peer.handle()));
            peer.inside(|| {
                sh("ip addr add 192.168.1.50/24 dev far1; ip link set far1 up");
                sh("ip neigh add 192.168.1.1 lladdr 02:00:00:00:00:99 dev far1 nud stale");
            });
            let (mut monitor, lines) = peer.listen("ip", &["monitor", "neigh"]);
            // It hears as soon as it tells of a neighbour of no importance.
            while lines.recv_timeout(Duration::from_millis(100)).is_err() {
                peer.inside(|| sh("ip neigh replace 192.168.1.77 lladdr 02:00:00:00:00:77 dev far1; ip neigh del 192.168.1.77 dev far1"));
            }
            let state = state();
            let gateway = Gateway::start(state.path(), ONE, true).await;
            gateway.links("the address", |links| has(links, "eth1", "192.168.1.1/24")).await;
            let mac = gateway.pictures.links.borrow().by_name["eth1"].mac.expect("Ethernet").to_string();
            let told = move || lines.iter().find(|line| line.starts_with("192.168.1.1 ") && line.contains(&mac));
            let heard = tokio::time::timeout(gateway::PATIENCE, tokio::task::spawn_blocking(told)).await;
            monitor.end();
            assert!(heard.expect("an announcement").expect("a reader").is_some());
            gateway.stop().await;
        });
    });
}

#[test]
fn a_state_folder_that_cannot_be_written_keeps_nothing_down() {
    in_namespace(|| {
        run(async {
            cable("eth1", "far1");
            // Not even root makes a folder there.
            let gateway = Gateway::start(std::path::Path::new("/proc/labgate"), ONE, true).await;
            gateway.links("served", |links| has(links, "eth1", "192.168.1.1/24")).await;
            gateway.health("network", false, "network.json cannot be written").await;
            gateway.stop().await;
        });
    });
}

#[test]
fn a_storm_of_changes_does_not_keep_it_busy() {
    in_namespace(|| {
        run(async {
            cable("eth1", "far1");
            let state = state();
            let gateway = Gateway::start(state.path(), ONE, true).await;
            gateway.links("served", |links| has(links, "eth1", "192.168.1.1/24")).await;
            let storm = tokio::task::spawn_blocking(|| {
                sh(
                    "for i in $(seq 300); do echo link set far1 down; echo link set far1 up; done | ip -batch -; ip addr flush dev eth1",
                )
            });
            storm.await.unwrap();
            gateway
                .links("served again", |links| has(links, "eth1", "192.168.1.1/24") && links.by_name["eth1"].carrier)
                .await;
            gateway.stop().await;
        });
    });
}
