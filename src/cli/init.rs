//! `labgate init`: a first file for this machine.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use ipnet::Ipv4Net;
use nix::net::if_::InterfaceFlags;

use super::{Common, show};
use crate::linux::doctor::first_dhcp_server;

/// Arguments of `labgate init`.
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// The uplink; the interface with the default route where none is given
    #[arg(long)]
    wan: Option<String>,
    /// The home network's interface; another one with a carrier where none is given
    #[arg(long)]
    lan: Option<String>,
    /// Only show the file
    #[arg(long)]
    dry_run: bool,
}

/// How long a DHCP server may take to offer an address.
const SERVER_PATIENCE: Duration = Duration::from_secs(3);

/// Networks that are offered for the home, in this order, where the uplink does not use them.
const OFFERS: [&str; 4] = ["192.168.1.1/24", "192.168.77.1/24", "10.77.0.1/24", "172.20.0.1/24"];

/// `ARPHRD_ETHER` (linux/if_arp.h).
const ETHERNET: u16 = 1;

/// What the machine has.
#[derive(Debug, Default)]
struct Machine {
    /// Name → has a carrier.
    interfaces: BTreeMap<String, bool>,
    default_route: Option<String>,
    /// Addresses by interface.
    addresses: Vec<(String, Ipv4Net)>,
}

/// Finds the interfaces, writes the five-line file and shows it.
pub fn run(common: &Common, args: &InitArgs) -> anyhow::Result<ExitCode> {
    let machine = look()?;
    let (wan, lan) = choose(&machine, args)?;
    let text = compose(&machine, &wan, &lan);
    let server = ask_for_a_server(&lan);
    if let Some(server) = server {
        eprintln!(
            "warning: a DHCP server ({server}) already answers on {lan}; two servers on one network give out the same addresses. Switch it off first."
        );
    }
    if common.json {
        show::json(
            &serde_json::json!({ "file": common.config, "wan": wan, "lan": lan, "text": text, "dhcp-server": server }),
        )?;
    } else {
        show::line(format!("# {}\n{text}", common.config.display()))?;
    }
    if !args.dry_run {
        write_new(&common.config, &text)?;
        if !common.json {
            show::line("Look at it, then: labgate check, and systemctl start labgate")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the network for an address, without taking it, and tells who offers one. Needs `CAP_NET_RAW`; says so where it is missing.
fn ask_for_a_server(interface: &str) -> Option<Ipv4Addr> {
    eprintln!("asking {interface} for {} s whether a DHCP server is already there", SERVER_PATIENCE.as_secs());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let asked = runtime.block_on(first_dhcp_server(interface, SERVER_PATIENCE));
    asked.map(|offered| Some(offered?.server)).unwrap_or_else(|error| {
        eprintln!("could not ask: {error}");
        None
    })
}

/// Writes the file, never over one that is there.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let file = std::fs::File::create_new(path);
    if file.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists) {
        bail!("{} is already there and stays as it is; `--dry-run` only shows what would be written", path.display());
    }
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn look() -> anyhow::Result<Machine> {
    let default_route = default_route(&std::fs::read_to_string("/proc/net/route").unwrap_or_default());
    let mut machine = Machine { default_route, ..Machine::default() };
    for found in nix::ifaddrs::getifaddrs().context("cannot list the interfaces")? {
        let link = found.address.as_ref().and_then(|storage| storage.as_link_addr().map(|link| link.hatype()));
        if link == Some(ETHERNET) && !found.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            let carrier = found.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
            machine.interfaces.insert(found.interface_name.clone(), carrier);
        }
        let address = |storage: Option<nix::sys::socket::SockaddrStorage>| Some(storage?.as_sockaddr_in()?.ip());
        if let (Some(own), Some(mask)) = (address(found.address), address(found.netmask)) {
            machine.addresses.push((found.interface_name, Ipv4Net::with_netmask(own, mask)?));
        }
    }
    Ok(machine)
}

/// The interface of the route to 0.0.0.0/0 with the smallest metric. Columns: interface, destination, gateway, flags, two counters, metric, mask (proc(5)).
fn default_route(text: &str) -> Option<String> {
    let routes = text.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_default = columns.get(1) == Some(&"00000000") && columns.get(7) == Some(&"00000000");
        is_default.then(|| Some((columns.get(6)?.parse::<u32>().ok()?, columns[0].to_owned())))?
    });
    routes.min().map(|(_, interface)| interface)
}

fn choose(machine: &Machine, args: &InitArgs) -> anyhow::Result<(String, String)> {
    let names: Vec<&str> = machine.interfaces.keys().map(String::as_str).collect();
    let list = names.join(", ");
    let wan = args.wan.clone().or_else(|| machine.default_route.clone());
    let Some(wan) = wan else {
        bail!("no interface has the default route; name the uplink with --wan (there are: {list})")
    };
    let free = |carrier: bool| {
        machine.interfaces.iter().find(|(name, has)| **name != wan && **has == carrier).map(|(name, _)| name.clone())
    };
    let lan = args.lan.clone().or_else(|| free(true)).or_else(|| free(false));
    let Some(lan) = lan else {
        bail!("{wan} is the only interface; a router needs a second one for the home (there are: {list})")
    };
    for name in [&wan, &lan] {
        if !machine.interfaces.contains_key(name.as_str()) {
            bail!("there is no interface {name} (there are: {list})");
        }
    }
    if wan == lan {
        bail!("{wan} cannot be the uplink and the home network at once");
    }
    Ok((wan, lan))
}

fn compose(machine: &Machine, wan: &str, lan: &str) -> String {
    let own = machine.addresses.iter().find(|(interface, _)| interface == lan).map(|(_, address)| *address);
    let taken: Vec<Ipv4Net> =
        machine.addresses.iter().filter(|(interface, _)| interface != lan).map(|(_, address)| *address).collect();
    let offers = OFFERS.iter().filter_map(|offer| offer.parse().ok());
    let free =
        |offer: &Ipv4Net| !taken.iter().any(|net| net.contains(&offer.network()) || offer.contains(&net.network()));
    let address = own
        .into_iter()
        .chain(offers)
        .find(free)
        .unwrap_or_else(|| Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 211, 1), 24));
    format!("[wan]\ninterface = \"{wan}\"\n\n[network.lan]\ninterface = \"{lan}\"\naddress = \"{address}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            interfaces: [("eth0".to_owned(), true), ("eth1".to_owned(), false), ("eth2".to_owned(), true)].into(),
            default_route: Some("eth0".to_owned()),
            addresses: vec![("eth0".to_owned(), "192.168.1.23/24".parse().unwrap())],
        }
    }

    #[test]
    fn takes_a_live_interface_and_steps_around_the_uplinks_subnet() {
        let args = InitArgs { wan: None, lan: None, dry_run: true };
        let (wan, lan) = choose(&machine(), &args).unwrap();
        assert_eq!((wan.as_str(), lan.as_str()), ("eth0", "eth2"));
        let text = compose(&machine(), &wan, &lan);
        assert!(text.contains("192.168.77.1/24"), "{text}");
        let checked =
            crate::config::check(&[crate::config::Source { name: "labgate.toml".into(), text: text.into_bytes() }]);
        assert!(checked.config.is_some());
    }

    #[test]
    fn says_what_is_missing() {
        let none = Machine { default_route: None, ..machine() };
        let error = choose(&none, &InitArgs { wan: None, lan: None, dry_run: true }).unwrap_err().to_string();
        assert!(error.contains("--wan") && error.contains("eth2"), "{error}");
        let text = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\neth3 00000000 010A0A0A 0003 0 0 20 00000000 0 0 0\neth0 00000000 010A0A0A 0003 0 0 10 00000000 0 0 0\n";
        assert_eq!(default_route(text).as_deref(), Some("eth0"));
    }
}
