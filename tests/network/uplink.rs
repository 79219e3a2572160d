//! The uplink's DHCP client against servers that were not written here, over a cable between two namespaces.

use std::path::Path;
use std::process::Command;

use crate::gateway::{Gateway, PATIENCE, has, run};
use crate::netns::{Peer, Running, in_namespace, sh};
use labgate::desired::network::UplinkAddress;

const FILE: &str = "[wan]\ninterface = \"eth0\"\naddress = \"dhcp\"\n[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\n";

/// Both interfaces of the gateway, and the provider at the other end of the uplink.
fn provider() -> Peer {
    let peer = Peer::new();
    sh(&format!("ip link add eth0 type veth peer name isp0 netns {}", peer.handle()));
    sh("ip link add eth1 type veth peer name far1; ip link set far1 up");
    peer.inside(|| sh("ip addr add 203.0.113.1/24 dev isp0; ip link set isp0 up"));
    peer
}

fn is_there(program: &str) -> bool {
    let there =
        Command::new("sh").args(["-c", &format!("command -v {program} || [ -x /usr/sbin/{program} ]")]).output();
    let there = there.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("SKIPPED: {program} is not installed");
    }
    there
}

fn dnsmasq(peer: &Peer, folder: &Path, range: &str, options: &[&str]) -> Running {
    let mut arguments: Vec<String> = [
        "--no-daemon", // and stay who you are: a user namespace has no group to change to
        "--conf-file=/dev/null",
        "--port=0",
        "--interface=isp0",
        "--bind-interfaces",
        "--dhcp-authoritative",
        "--no-ping",
        "--user=root",
        "--log-facility=-",
        "--dhcp-option=6,9.9.9.9,203.0.113.1",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(format!("--dhcp-range={range},2m"));
    arguments.push(format!("--dhcp-leasefile={}", folder.join("dnsmasq.leases").display()));
    arguments.push(format!("--pid-file={}", folder.join("dnsmasq.pid").display()));
    arguments.extend(options.iter().map(|option| (*option).to_owned()));
    peer.start("/usr/sbin/dnsmasq", &arguments)
}

fn udhcpd(peer: &Peer, folder: &Path, seconds: u32) -> Running {
    let file = folder.join("udhcpd.conf");
    let leases = folder.join("udhcpd.leases");
    std::fs::write(&leases, "").expect("a lease file");
    let text = format!(
        "start 203.0.113.60\nend 203.0.113.69\ninterface isp0\nmin_lease 1\nlease_file {}\npidfile {}\n\
         opt subnet 255.255.255.0\nopt router 203.0.113.1\nopt dns 9.9.9.9\nopt lease {seconds}\n",
        leases.display(),
        folder.join("udhcpd.pid").display(),
    );
    std::fs::write(&file, text).expect("a configuration");
    peer.start("busybox", &["udhcpd".to_owned(), "-f".to_owned(), file.display().to_string()])
}

impl Gateway {
    /// The address of the uplink, once it has one that is as wished.
    async fn leased(&self, wished: impl Fn(&str) -> bool) -> String {
        let mut uplink = self.pictures.uplink.subscribe();
        let address = |uplink: &labgate::daemon::pictures::Uplink| match &uplink.address {
            UplinkAddress::Lease { address, .. } => Some(address.to_string()).filter(|address| wished(address)),
            _ => None,
        };
        let found = tokio::time::timeout(PATIENCE, uplink.wait_for(|uplink| address(uplink).is_some())).await;
        let found = found.unwrap_or_else(|_| panic!("no lease; health {:#?}", self.pictures.health.borrow()));
        address(&found.expect("the uplink task lives")).expect("seen above")
    }

    async fn without_lease(&self) {
        let mut uplink = self.pictures.uplink.subscribe();
        let gone =
            tokio::time::timeout(PATIENCE, uplink.wait_for(|uplink| uplink.address == UplinkAddress::Nothing)).await;
        gone.expect("the lease ends").expect("the uplink task lives");
    }
}

fn default_route() -> String {
    sh("ip route show default").trim().to_owned()
}

/// Waits until the log of the lease says that it was acknowledged anew.
async fn kept_anew(state: &Path) {
    let file = state.join("uplink.json");
    let mut changes = labgate::linux::watch::files(vec![file]);
    tokio::time::timeout(PATIENCE, changes.recv()).await.expect("a renewal within the time");
}

#[test]
fn a_lease_with_route_and_resolvers_outlives_a_restart() {
    in_namespace(|| {
        run(async {
            if !is_there("dnsmasq") {
                return;
            }
            let (peer, state, folder) = (provider(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let range = "203.0.113.100,203.0.113.200";
            // Without a server yet: told, not fatal.
            let gateway = Gateway::start(state.path(), FILE, true).await;
            gateway.health("uplink", false, "eth0 asks for an address by DHCP (SELECTING)").await;
            let mut server = dnsmasq(&peer, folder.path(), range, &["--dhcp-option=26,1400"]);
            let address = gateway.leased(|_| true).await;
            gateway
                .links("the address on the link", |links| has(links, "eth0", &address) && links.default_route.is_some())
                .await;
            gateway.health("uplink", true, "by DHCP from 203.0.113.1").await;
            assert_eq!(gateway.pictures.uplink.borrow().resolvers[0].to_string(), "9.9.9.9");
            assert!(default_route().starts_with("default via 203.0.113.1 dev eth0"), "{}", default_route());
            gateway.links("the MTU", |links| links.by_name["eth0"].mtu == 1400).await;
            assert!(sh("ping -c1 -W5 203.0.113.1").contains("1 received"));

            // A stop leaves it, and the next start asks for the same one, without a moment in between.
            gateway.stop().await;
            let route = default_route();
            let gateway = Gateway::start(state.path(), FILE, true).await;
            assert_eq!((gateway.leased(|_| true).await, default_route()), (address.clone(), route));
            gateway.stop().await;
            // Nobody answers at the start after that: the lease still lasts, so it is used.
            server.end();
            let gateway = Gateway::start(state.path(), FILE, true).await;
            assert_eq!(gateway.leased(|_| true).await, address);
            gateway.stop().await;
            labgate::linux::network::teardown(state.path()).await.unwrap();
            assert_eq!((default_route().as_str(), sh("ip -4 -o addr show eth0").as_str()), ("", ""));
            assert!(sh("ip link show eth0").contains("mtu 1500"));
        });
    });
}

#[test]
fn it_renews_and_another_server_takes_over_by_rebinding_or_refusal() {
    in_namespace(|| {
        run(async {
            if !is_there("dnsmasq") {
                return;
            }
            let (peer, state, folder) = (provider(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let fast = ["--dhcp-option=58,2", "--dhcp-option=59,4"];
            let mut server = dnsmasq(&peer, folder.path(), "203.0.113.100,203.0.113.150", &fast);
            let gateway = Gateway::start(state.path(), FILE, true).await;
            let address = gateway.leased(|_| true).await;
            kept_anew(state.path()).await;
            assert_eq!(gateway.leased(|_| true).await, address);
            // The provider's network is another one now, and its new server says no to the old address.
            server.end();
            peer.inside(|| sh("ip addr flush dev isp0; ip addr add 198.51.100.1/24 dev isp0"));
            let _other = dnsmasq(&peer, folder.path(), "198.51.100.100,198.51.100.150", &fast);
            let moved = gateway.leased(|address| address.starts_with("198.51.100.")).await;
            gateway
                .links("only the new address", |links| has(links, "eth0", &moved) && !has(links, "eth0", &address))
                .await;
            assert!(default_route().starts_with("default via 198.51.100.1 dev eth0"), "{}", default_route());
            gateway.stop().await;
        });
    });
}

#[test]
fn a_short_lease_renews_and_ends_when_its_server_is_gone() {
    in_namespace(|| {
        run(async {
            if !is_there("busybox") {
                return;
            }
            let (peer, state, folder) = (provider(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let mut server = udhcpd(&peer, folder.path(), 6);
            let gateway = Gateway::start(state.path(), FILE, true).await;
            let address = gateway.leased(|_| true).await;
            gateway.links("the address", |links| has(links, "eth0", &address)).await;
            kept_anew(state.path()).await;
            server.end();
            gateway.without_lease().await;
            gateway
                .links("nothing on the link", |links| {
                    links.by_name["eth0"].addresses.is_empty() && links.default_route.is_none()
                })
                .await;
            gateway.health("uplink", false, "eth0").await;
            let _server = udhcpd(&peer, folder.path(), 60);
            gateway.leased(|_| true).await;
            gateway.stop().await;
        });
    });
}

#[test]
fn a_lease_inside_our_own_network_is_not_used() {
    in_namespace(|| {
        run(async {
            if !is_there("dnsmasq") {
                return;
            }
            let (peer, state, folder) = (provider(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let _server = dnsmasq(&peer, folder.path(), "203.0.113.100,203.0.113.200", &[]);
            let clash = FILE.replace("192.168.1.1/24", "203.0.113.254/24");
            let gateway = Gateway::start(state.path(), &clash, true).await;
            gateway
                .health(
                    "uplink",
                    false,
                    "overlaps network lan (203.0.113.0/24); give `network.lan.address` another range",
                )
                .await;
            gateway.health("network lan", true, "eth1 has 203.0.113.254/24").await;
            // The file is put right while the lease is held: it is used at once.
            gateway.edit(FILE);
            let address = gateway.leased(|_| true).await;
            gateway.links("the address", |links| has(links, "eth0", &address) && links.default_route.is_some()).await;
            gateway.stop().await;
        });
    });
}

#[test]
fn the_uplink_s_interface_comes_and_goes() {
    in_namespace(|| {
        run(async {
            if !is_there("dnsmasq") {
                return;
            }
            let (state, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            sh("ip link add eth1 type veth peer name far1; ip link set far1 up");
            let gateway = Gateway::start(state.path(), FILE, true).await;
            gateway.health("uplink", false, "eth0 is not there or not up; waiting").await;
            let peer = Peer::new();
            for _ in 0..2 {
                sh(&format!(
                    "ip link add eth0 address 02:00:00:00:00:10 type veth peer name isp0 netns {}",
                    peer.handle()
                ));
                peer.inside(|| sh("ip addr add 203.0.113.1/24 dev isp0; ip link set isp0 up"));
                let _server = dnsmasq(&peer, folder.path(), "203.0.113.100,203.0.113.200", &[]);
                let address = gateway.leased(|_| true).await;
                gateway
                    .links("the address", |links| has(links, "eth0", &address) && links.default_route.is_some())
                    .await;
                gateway.health("uplink", true, "by DHCP").await;
                sh("ip link del eth0");
                gateway.links("gone", |links| !links.by_name.contains_key("eth0")).await;
                gateway.health("uplink", false, "waiting").await;
            }
            // From DHCP to the system's own configuration: what was ours goes.
            sh(&format!("ip link add eth0 address 02:00:00:00:00:10 type veth peer name isp0 netns {}", peer.handle()));
            peer.inside(|| sh("ip addr add 203.0.113.1/24 dev isp0; ip link set isp0 up"));
            gateway
                .links("the lease at once", |links| {
                    links.by_name.get("eth0").is_some_and(|link| !link.addresses.is_empty())
                })
                .await;
            gateway.edit(&FILE.replace("address = \"dhcp\"\n", ""));
            gateway.health("uplink", false, "eth0 has no address").await;
            sh("ip addr add 203.0.113.9/24 dev eth0; ip route add default via 203.0.113.1");
            gateway.health("uplink", true, "eth0 has 203.0.113.9/24, default route through 203.0.113.1").await;
            gateway.stop().await;
        });
    });
}
