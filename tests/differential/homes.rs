//! Random configurations, one rule, host or forward a line.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::case::{Case, provider};
use super::random::Random;

/// Networks of every kind: private, shared, public, wide and narrow.
const SUBNETS: [&str; 7] = [
    "192.168.1.0/24",
    "192.168.20.0/24",
    "10.1.0.0/16",
    "172.16.5.0/28",
    "198.51.100.0/28",
    "100.64.7.0/25",
    "192.168.40.0/30",
];

const NAMES: [&str; 4] = ["lan", "iot", "dmz", "guest"];

/// Addresses that rules name beside those of the home.
const FOREIGN: [&str; 12] = [
    "8.8.8.8",
    "203.0.113.0/24",
    "203.0.113.5",
    "192.168.0.0/16",
    "0.0.0.0/0",
    "198.51.100.0/24",
    "2001:db8:1::/64",
    "2001:db8:1::10",
    "2001:db8:2::/48",
    "2001:db8::/32",
    "2001:db8:ffff::9",
    "::/0",
];

/// Outside names that rules may name; each has some of these addresses.
const OUTSIDE: [&str; 2] = ["www.example.net", "mirror.example.org"];
const OUTSIDE_ADDRESSES: [[u8; 4]; 4] = [[8, 8, 8, 8], [203, 0, 113, 9], [198, 51, 100, 2], [192, 168, 1, 2]];

const SERVICES: [&str; 16] = [
    "tcp/22",
    "tcp/443",
    "udp/53",
    "tcp/53",
    "tcp/1000-2000",
    "tcp/1500-3000",
    "udp/5000-5010",
    "tcp",
    "udp",
    "icmp",
    "tcp+udp/6881",
    "https",
    "udp/67",
    "tcp/8443",
    "udp/27005",
    "tcp/1-1023",
];

const FORWARDS: [&str; 8] =
    ["tcp/443", "tcp/8443", "udp/1194", "tcp+udp/6881", "udp/27000-27010", "tcp/3000-3010", "tcp/2222", "tcp+udp/53"];

/// A random case without packets; its configuration is valid but for rare slips.
pub fn home(random: &mut Random) -> Case {
    let mut case = Case { text: String::new(), leases: Vec::new(), uplink: Vec::new(), packets: Vec::new() };
    write_uplink(random, &mut case);
    let subnets: Vec<Ipv4Net> =
        random.some(&SUBNETS, 1, NAMES.len()).iter().map(|net| net.parse().expect("a subnet")).collect();
    let admin = random.below(subnets.len());
    let mut routers = Vec::new();
    for (index, subnet) in subnets.iter().enumerate() {
        let router = if random.chance(70) { nth(*subnet, 1) } else { nth(*subnet, -2) };
        routers.push(router);
        let _ = writeln!(
            case.text,
            "[network.{}]\ninterface = \"eth{}\"\naddress = \"{router}/{}\"",
            NAMES[index],
            index + 1,
            subnet.prefix_len()
        );
        for (key, percent) in [("internet = false", 30), ("dhcp = false", 30)] {
            if random.chance(percent) {
                let _ = writeln!(case.text, "{key}");
            }
        }
        if index == admin || random.chance(15) {
            case.text.push_str("admin = true\n");
        }
    }
    let hosts = write_hosts(random, &mut case, &subnets, &routers);
    for name in OUTSIDE {
        let addresses = random.some(&OUTSIDE_ADDRESSES, 0, 3);
        case.leases.extend(addresses.into_iter().map(|address| (name.to_owned(), address.into())));
    }
    let mut ends = ends(random, &subnets, &routers, &hosts);
    let groups = write_groups(random, &mut case, &ends);
    ends.extend(groups);
    case.text.push_str("[firewall]\n");
    for (key, most) in [("allow", 8), ("deny", 5)] {
        let _ = writeln!(case.text, "{key} = [");
        for _ in 0..random.below(most + 1) {
            let line = rule(random, &ends);
            let _ = writeln!(case.text, "  {line},");
        }
        case.text.push_str("]\n");
    }
    if !case.uplink.is_empty() && !hosts.is_empty() {
        case.text.push_str("[port-forward]\n");
        for outside in random.some(&FORWARDS, 0, 5) {
            let line = forward(random, outside, &hosts);
            let _ = writeln!(case.text, "{line}");
        }
    }
    case
}

fn nth(subnet: Ipv4Net, offset: i32) -> Ipv4Addr {
    let from = if offset < 0 { u32::from(subnet.broadcast()).wrapping_add(1) } else { subnet.network().into() };
    Ipv4Addr::from(from.wrapping_add_signed(offset))
}

/// None, or one the file fixes, or one it learns; sometimes with a second address.
fn write_uplink(random: &mut Random, case: &mut Case) {
    if random.chance(10) {
        return;
    }
    let nets = [["203.0.113.5/24", "203.0.113.6/24"], ["10.99.0.2/24", "198.18.0.9/24"]];
    let nets = random.pick(&nets);
    let count = if random.chance(25) { 2 } else { 1 };
    case.uplink = nets[..count].iter().map(|net| net.parse().expect("an address")).collect();
    case.text.push_str("[wan]\ninterface = \"eth0\"\n");
    match random.below(3) {
        0 => case.text.push_str("address = \"dhcp\"\n"),
        1 => {}
        _ => {
            let gateway = provider(&case.uplink).expect("a provider");
            let _ = writeln!(case.text, "address = \"{}\"\ngateway = \"{gateway}\"", case.uplink[0]);
        }
    }
}

fn write_hosts(random: &mut Random, case: &mut Case, subnets: &[Ipv4Net], routers: &[Ipv4Addr]) -> Vec<String> {
    case.text.push_str("[host]\n");
    let mut names = Vec::new();
    for (subnet, router) in subnets.iter().zip(routers) {
        let mut free: Vec<Ipv4Addr> = subnet.hosts().take(60).filter(|address| address != router).collect();
        for _ in 0..random.below(4) {
            if free.is_empty() {
                break;
            }
            let address = free.remove(random.below(free.len()));
            let name = format!("h{}", names.len());
            let mac = format!("02:00:00:00:10:{:02x}", names.len());
            if random.chance(60) {
                let _ = writeln!(case.text, "{name} = {{ mac = \"{mac}\", ip = \"{address}\" }}");
            } else {
                let _ = writeln!(case.text, "{name} = {{ mac = \"{mac}\" }}");
                // Somewhere else than its neighbours: in the network it visits, or nowhere at all.
                let visits = *random.pick(subnets);
                match random.below(100) {
                    0..65 => case.leases.push((name.clone(), address)),
                    65..75 if nth(visits, 2) != *router => case.leases.push((name.clone(), nth(visits, 2))),
                    _ => {}
                }
            }
            names.push(name);
        }
    }
    names
}

/// What rules may name.
fn ends(random: &mut Random, subnets: &[Ipv4Net], routers: &[Ipv4Addr], hosts: &[String]) -> Vec<String> {
    let mut ends: Vec<String> = NAMES[..subnets.len()].iter().map(|name| (*name).to_owned()).collect();
    ends.extend(ends.clone());
    ends.extend(hosts.iter().cloned());
    for subnet in subnets {
        let half = Ipv4Net::new(subnet.network(), subnet.prefix_len() + 1).expect("half a subnet");
        ends.extend([half.to_string(), subnet.to_string(), nth(*subnet, 2).to_string()]);
    }
    ends.extend(random.some(&FOREIGN, 2, 6).into_iter().map(str::to_owned));
    ends.push(random.pick(routers).to_string());
    ends.extend(OUTSIDE.map(str::to_owned));
    ends.extend(["internet", "internet", "router", "router"].map(str::to_owned));
    ends
}

fn write_groups(random: &mut Random, case: &mut Case, ends: &[String]) -> Vec<String> {
    let members: Vec<String> = ends.iter().filter(|end| !matches!(&***end, "internet" | "router")).cloned().collect();
    let names: Vec<String> = (0..random.below(3)).map(|number| format!("g{number}")).collect();
    case.text.push_str("[group]\n");
    for name in &names {
        let _ = writeln!(case.text, "{name} = [{}]", quoted(&random.some(&members, 1, 3)));
    }
    names
}

fn rule(random: &mut Random, ends: &[String]) -> String {
    let side = |random: &mut Random| {
        let count = if random.chance(70) { 1 } else { 2 };
        let chosen: Vec<String> = (0..count).map(|_| random.pick(ends).clone()).collect();
        format!("[{}]", quoted(&chosen))
    };
    let mut line = format!("{{ from = {}, to = {}", side(random), side(random));
    if random.chance(65) {
        let _ = write!(line, ", port = [{}]", quoted(&random.some(&SERVICES, 1, 3)));
    }
    if random.chance(30) {
        let _ = write!(line, ", except = [{}]", quoted(&random.some(&SERVICES, 1, 2)));
    }
    line + " }"
}

fn forward(random: &mut Random, outside: &str, hosts: &[String]) -> String {
    let host = random.pick(hosts);
    let to = if !outside.contains('-') && random.chance(40) { format!("{host}:8080") } else { host.clone() };
    if random.chance(35) {
        return format!("\"{outside}\" = {{ to = \"{to}\", from = [\"8.8.8.0/24\", \"203.0.113.9/32\"] }}");
    }
    format!("\"{outside}\" = \"{to}\"")
}

fn quoted<T: AsRef<str>>(words: &[T]) -> String {
    words.iter().map(|word| format!("\"{}\"", word.as_ref())).collect::<Vec<_>>().join(", ")
}
