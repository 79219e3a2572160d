//! Clients that other people wrote: each gets, renews and gives back its lease, and its name answers at once from another network.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use labgate::cli::lab::{Client, Host, HostSpec, Lab, Options, find};

use crate::support::{HEAD, dig, eventually, home, lease_of, leases, options, skip, start, web1};

const SOON: Duration = Duration::from_secs(20);

/// One network with options of every kind, one to look from.
fn file(lease_time: &str) -> String {
    format!(
        r#"{HEAD}
[network.lan]
interface = "eth1"
address = "192.168.1.1/24"
admin = true
[network.lan.dhcp]
pool = "192.168.1.50-192.168.1.59"
lease-time = "{lease_time}"
[network.lan.dhcp.options]
ntp-servers = ["192.168.1.123", "192.168.1.124"]
interface-mtu = 1400
43 = [1, 2, 170]
[network.web]
interface = "eth3"
address = "192.168.30.1/24"
"#
    )
}

fn lab(lease_time: &str) -> Option<Lab> {
    let visitor = HostSpec::client("visitor", "lan", "52:54:00:00:01:20").silent();
    start(Options { config: file(lease_time), ..options().home(home([visitor, web1()])) })
}

fn in_pool(address: &str) -> bool {
    address
        .strip_prefix("192.168.1.")
        .and_then(|last| last.parse().ok())
        .is_some_and(|last: u8| (50..60).contains(&last))
}

/// The first question after the lease, from another network, in both directions.
#[track_caller]
fn name_answers(lab: &Lab, address: &str) {
    let web1 = lab.host("web1").expect("web1");
    assert_eq!(dig(&web1, &["@192.168.30.1", "visitor.home.arpa"]), address);
    assert_eq!(dig(&web1, &["@192.168.30.1", "-x", address]), "visitor.home.arpa.");
}

#[track_caller]
fn given_back(lab: &Lab, address: &str) {
    eventually("the lease is given back", 5, || lease_of(lab, address).is_none());
    let web1 = lab.host("web1").expect("web1");
    eventually("the name is gone with the lease", 5, || dig(&web1, &["@192.168.30.1", "visitor.home.arpa"]).is_empty());
}

/// The end of a lease on the wall clock.
fn end(lab: &Lab, address: &str) -> u64 {
    lease_of(lab, address).and_then(|lease| lease["expires-unix"].as_u64()).expect("a lease with an end")
}

#[test]
fn udhcpc_gets_renews_and_releases_and_sees_the_options_of_the_file() {
    if find("udhcpc").is_none() {
        return skip("udhcpc is not installed (package udhcpc)");
    }
    let Some(lab) = lab("10m") else { return };
    let visitor = lab.host("visitor").expect("visitor");
    let mut client =
        Client::udhcpc(&visitor, &["-O", "ntpsrv", "-O", "mtu", "-O", "lease", "-O", "0x2b"]).expect("udhcpc starts");
    let address = client.bound(SOON).expect("a lease").to_string();
    name_answers(&lab, &address);
    assert!(in_pool(&address), "{address}");
    let told = fs::read_to_string(visitor.folder().join("run/lease.env")).expect("what the script was told");
    let expected = [
        "router=192.168.1.1",
        "mask=24",
        "dns=192.168.1.1",
        "domain=home.arpa",
        "lease=600",
        "ntpsrv=192.168.1.123 192.168.1.124",
        "mtu=1400",
        "opt43=0102aa",
        "serverid=192.168.1.1",
    ];
    for line in expected {
        assert!(told.lines().any(|other| other == line), "{line} is missing in\n{told}");
    }
    let before = end(&lab, &address);
    eventually("a second passes on the wall clock", 5, || now_unix() + 600 > before);
    assert_eq!(client.renew(SOON).expect("a renewal").to_string(), address);
    assert!(end(&lab, &address) > before, "the lease was not made longer");
    client.release(&visitor).expect("a release");
    given_back(&lab, &address);
}

#[test]
fn dhclient_gets_renews_and_releases() {
    if find("dhclient").is_none() {
        return skip("dhclient is not installed (package isc-dhcp-client)");
    }
    let Some(lab) = lab("10m") else { return };
    let visitor = lab.host("visitor").expect("visitor");
    let mut client = Client::dhclient(&visitor, &[]).expect("dhclient starts");
    let address = client.bound(SOON).expect("a lease").to_string();
    name_answers(&lab, &address);
    assert!(in_pool(&address), "{address}");
    let told = fs::read_to_string(visitor.folder().join("run/lease.env")).expect("what the script was told");
    for line in [
        "new_routers=192.168.1.1",
        "new_subnet_mask=255.255.255.0",
        "new_domain_name_servers=192.168.1.1",
        "new_domain_name=home.arpa",
        "new_ntp_servers=192.168.1.123 192.168.1.124",
        "new_interface_mtu=1400",
        "new_dhcp_lease_time=600",
    ] {
        assert!(told.lines().any(|other| other == line), "{line} is missing in\n{told}");
    }
    let before = end(&lab, &address);
    eventually("a second passes on the wall clock", 5, || now_unix() + 600 > before);
    // dhclient cannot be told to renew; started again it asks for the address it had (INIT-REBOOT).
    drop(client);
    let mut again = Client::dhclient(&visitor, &[]).expect("dhclient starts again");
    assert_eq!(again.bound(SOON).expect("the lease again").to_string(), address);
    assert!(end(&lab, &address) > before, "the lease was not made longer");
    again.release(&visitor).expect("a release");
    given_back(&lab, &address);
}

#[test]
fn dhclient_renews_by_its_own_clock_at_half_of_a_short_lease() {
    if find("dhclient").is_none() {
        return skip("dhclient is not installed (package isc-dhcp-client)");
    }
    let Some(lab) = lab("30s") else { return };
    let visitor = lab.host("visitor").expect("visitor");
    let mut client = Client::dhclient(&visitor, &[]).expect("dhclient starts");
    let address = client.bound(SOON).expect("a lease");
    let before = end(&lab, &address.to_string());
    assert_eq!(client.bound(Duration::from_secs(40)).expect("a renewal"), address);
    assert!(end(&lab, &address.to_string()) > before, "the lease was not made longer");
}

#[test]
fn dhcpcd_gets_renews_and_releases() {
    if find("dhcpcd").is_none() {
        return skip("dhcpcd is not installed (package dhcpcd-base)");
    }
    let Some(lab) = lab("10m") else { return };
    let visitor = lab.host("visitor").expect("visitor");
    let folder = visitor.folder().join("run");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("readable for dhcpcd's own user");
    fs::write(folder.join("dhcpcd.conf"), "hostname visitor\nnoipv4ll\nnoarp\noption ntp_servers, interface_mtu, domain_name_servers\nrequire dhcp_server_identifier\nscript /bin/true\n")
        .expect("dhcpcd.conf");
    let mut client = Daemon::start(&visitor, &["dhcpcd", "-4", "-B", "-f", "/run/dhcpcd.conf", "eth0"]);
    let address = client.address(&visitor);
    name_answers(&lab, &address);
    assert!(in_pool(&address), "{address}");
    let before = end(&lab, &address);
    eventually("a second passes on the wall clock", 5, || now_unix() + 600 > before);
    visitor.run(&["dhcpcd", "-4", "-f", "/run/dhcpcd.conf", "-N", "eth0"]).expect("dhcpcd is told to renew");
    eventually("the lease was made longer", 20, || end(&lab, &address) > before);
    visitor.run(&["dhcpcd", "-4", "-f", "/run/dhcpcd.conf", "-k", "eth0"]).expect("dhcpcd is told to release");
    given_back(&lab, &address);
    client.end();
}

#[test]
fn systemd_networkd_gets_a_lease_without_systemd_as_the_first_process() {
    const NETWORKD: &str = "/lib/systemd/systemd-networkd";
    if !std::path::Path::new(NETWORKD).exists() {
        return skip("systemd-networkd is not installed");
    }
    if !nix::unistd::geteuid().is_root() {
        return skip("systemd-networkd becomes the user systemd-network, which a rootless lab does not have");
    }
    let Some(lab) = lab("10m") else { return };
    let visitor = lab.host("visitor").expect("visitor");
    let folder = visitor.folder().join("run");
    let network = folder.join("systemd/network");
    fs::create_dir_all(&network).expect("its folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("readable for its own user");
    fs::write(
        network.join("10-eth0.network"),
        "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n[DHCPv4]\nHostname=visitor\nSendRelease=yes\nClientIdentifier=mac\n",
    )
    .expect("its file");
    visitor
        .run(&[
            "install",
            "-d",
            "-o",
            "systemd-network",
            "-g",
            "systemd-network",
            "/run/systemd/netif",
            "/run/systemd/netif/leases",
            "/run/systemd/netif/links",
            "/run/systemd/netif/lldp",
        ])
        .expect("its state folders");
    let mut client = Daemon::start(&visitor, &[NETWORKD]);
    let address = client.address(&visitor);
    name_answers(&lab, &address);
    assert!(in_pool(&address), "{address}");
    // Without systemd's bus there is no `networkctl renew`; a new start asks for the same address.
    client.end();
    let mut again = Daemon::start(&visitor, &[NETWORKD]);
    assert_eq!(again.address(&visitor), address);
    assert_eq!(leases(&lab).len(), 1);
    again.end();
}

fn now_unix() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

/// A client that tells nothing: the kernel is asked what it did.
struct Daemon {
    child: Child,
    log: std::path::PathBuf,
}

impl Daemon {
    fn start(host: &Host<'_>, words: &[&str]) -> Self {
        let log = host.folder().join("client.log");
        let file = fs::File::create(&log).expect("a log");
        let child = host
            .command(words[0])
            .args(&words[1..])
            .env("SYSTEMD_LOG_LEVEL", "debug")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn()
            .expect("the client starts");
        Daemon { child, log }
    }

    #[track_caller]
    fn address(&mut self, host: &Host<'_>) -> String {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(address) = host.address() {
                return address.to_string();
            }
            let ended = self.child.try_wait().expect("its state");
            if ended.is_some() || std::time::Instant::now() > deadline {
                panic!("no address ({ended:?}):\n{}", fs::read_to_string(&self.log).unwrap_or_default());
            }
        }
    }

    /// Ends it as a service manager does.
    fn end(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
