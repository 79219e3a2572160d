//! Who loses the permission loses the connection, and nobody else loses a byte.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Duration;

use labgate::cli::lab::{Client, Home, Host, HostSpec, Lab, Lines, Options, Outcome, PATIENCE, Service};

use crate::change::Tool;
use crate::support::{HEAD, eventually, fixed, home, lease_of, options, start};

/// More than a round over all connections takes on a busy machine.
const ROUND: Duration = Duration::from_secs(60);

const NETWORKS: &str = "[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\nadmin = true\n\
    [network.iot]\ninterface = \"eth2\"\naddress = \"192.168.20.1/24\"\n";

/// `many` in iot and `nas` with an echo port in lan.
fn two(many: HostSpec) -> Home {
    home([many, fixed("nas", "lan", "52:54:00:00:01:10", "192.168.1.10").serving(Service::Echo(7))])
}

fn effect(lab: &Lab, from: usize, words: &str) {
    let seen = lab.log().wait(from, PATIENCE, |line| line.contains(words));
    seen.unwrap_or_else(|| panic!("no {words:?}: {:#?}", lab.log().all()));
}

/// The groups of `round LABEL=ALIVE …; 0 broken`.
#[track_caller]
fn round(tool: &mut Tool) -> Vec<(String, usize)> {
    let from = tool.lines.len();
    tool.tell("round");
    let line = tool.says(from, ROUND, "round ");
    let groups = line.strip_prefix("round ").and_then(|line| line.strip_suffix("; 0 broken"));
    let groups = groups.unwrap_or_else(|| panic!("{line}: {:#?}", tool.lines.all()));
    let group = |words: &str| {
        let (label, alive) = words.split_once('=').expect("LABEL=ALIVE");
        (label.to_owned(), alive.parse().expect("a number"))
    };
    groups.split(' ').map(group).collect()
}

fn open(tool: &mut Tool, label: &str, source: &str, count: usize) {
    let from = tool.lines.len();
    tool.tell(&format!("open {label} {source} 192.168.1.10:7 {count}"));
    tool.says(from, ROUND, &format!("opened {label} {count}"));
}

#[test]
fn an_edit_cuts_exactly_the_connections_that_lost_permission() {
    let nightly = std::env::var_os("LABGATE_NIGHTLY").is_some();
    let (groups, each, edits) = if nightly { (20, 50, 100) } else { (4, 50, 10) };
    let source = |group: usize| format!("192.168.20.{}", 100 + group);
    // All groups but one may; lan may always go to iot, as the answers do.
    let config = |without: usize| {
        let mut text = format!("{HEAD}{NETWORKS}[firewall]\nallow = [\n  {{ from = \"lan\", to = \"iot\" }},\n");
        for group in (0..=groups).filter(|group| *group != without) {
            text += &format!("  {{ from = \"{}\", to = \"192.168.1.10\", port = \"tcp/7\" }},\n", source(group));
        }
        text + "]\n"
    };
    let many = fixed("many", "iot", "52:54:00:00:20:10", "192.168.20.10");
    let Some(lab) = start(Options { config: config(groups), ..options().home(two(many)) }) else { return };
    let many = lab.host("many").expect("many");
    for group in 0..=groups {
        many.run(&["ip", "addr", "add", &format!("{}/24", source(group)), "dev", "eth0"]).expect("an address");
    }
    let mut tool = Tool::start(&many, &["hold-open"]);
    for group in 0..groups {
        open(&mut tool, &source(group), &source(group), each);
    }
    let mut without = groups;
    for edit in 0..edits {
        let gone = edit % groups;
        let gone = if gone == without { groups } else { gone };
        let from = lab.log().len();
        lab.edit(&config(gone)).expect("the edit");
        effect(&lab, from, &format!("cut {each} connections that lost permission: {} (iot) -> ", source(gone)));
        effect(&lab, from, "is in effect");
        open(&mut tool, &source(without), &source(without), each);
        for (label, alive) in round(&mut tool) {
            assert_eq!(alive, if label == source(gone) { 0 } else { each }, "{label} after edit {edit}");
        }
        without = gone;
    }
}

#[test]
fn a_lease_that_ends_takes_the_connections_of_its_host_along() {
    let config = format!(
        "{HEAD}{NETWORKS}[host]\nphone = {{ mac = \"52:54:00:00:20:77\" }}\n[firewall]\nallow = [\n\
         {{ from = \"phone\", to = \"lan\", port = \"tcp/7\" }},\n{{ from = \"192.168.20.10\", to = \"lan\" }},\n]\n"
    );
    let mut home = two(HostSpec::client("phone", "iot", "52:54:00:00:20:77").silent());
    home.hosts.push(fixed("cam", "iot", "52:54:00:00:20:10", "192.168.20.10"));
    let Some(lab) = start(Options { config, ..options().home(home) }) else { return };
    let phone = lab.host("phone").expect("phone");
    let mut client = Client::start(&phone).expect("a client");
    let address = client.bound(PATIENCE).expect("a lease").to_string();
    let mut tools = [&phone, &lab.host("cam").expect("cam")].map(|host| Tool::start(host, &["hold-open"]));
    // The rule follows the lease a moment after the client has it.
    eventually("the rule follows", 5, || {
        let tried = phone.connect("192.168.1.10:7").expect("an attempt");
        tried.outcome == Outcome::Connected
    });
    tools.iter_mut().for_each(|tool| open(tool, "held", "-", 5));

    let from = lab.log().len();
    client.release(&phone).expect("a release");
    // The address stays in use without a lease, as if another machine had taken it.
    phone.run(&["ip", "addr", "replace", &format!("{address}/24"), "dev", "eth0"]).expect("the old address");
    phone.run(&["ip", "route", "replace", "default", "via", "192.168.20.1"]).expect("a route");
    effect(&lab, from, &format!("cut 5 connections that lost permission: {address} (iot) -> 192.168.1.10 (lan) tcp/7"));
    assert!(lease_of(&lab, &address).is_none());
    let held = |alive| vec![("held".to_owned(), alive)];
    assert_eq!(round(&mut tools[0]), held(0));
    assert_eq!(round(&mut tools[1]), held(5));
}

#[test]
fn a_file_edited_while_the_gateway_was_down_holds_for_open_connections_too() {
    let config = |rules: &str| {
        let host = "[host]\nphone = { mac = \"52:54:00:00:20:77\" }\n";
        format!("{HEAD}{NETWORKS}{host}[firewall]\nallow = [\n{rules}]\n")
    };
    let (stays, goes) = (
        "{ from = \"phone\", to = \"lan\", port = \"tcp/7\" },\n",
        "{ from = \"192.168.20.10\", to = \"lan\", port = \"tcp/7\" },\n",
    );
    let mut home = two(HostSpec::client("phone", "iot", "52:54:00:00:20:77"));
    home.hosts.push(fixed("cam", "iot", "52:54:00:00:20:10", "192.168.20.10"));
    let text = config(&format!("{stays}{goes}"));
    let Some(mut lab) = start(Options { config: text, ..options().home(home) }) else { return };
    let mut tools = ["phone", "cam"].map(|name| {
        let mut tool = Tool::start(&lab.host(name).expect("a machine"), &["hold-open"]);
        open(&mut tool, "held", "-", 3);
        tool
    });
    lab.gateway().expect("the gateway").kill().expect("kill -9");
    lab.edit(&config(stays)).expect("the edit");
    lab.start_gateway().expect("the gateway starts");
    effect(&lab, 0, "cut 3 connections that lost permission: 192.168.20.10 (iot) -> ");
    for (tool, alive) in tools.iter_mut().zip([3, 0]) {
        assert_eq!(round(tool), [("held".to_owned(), alive)]);
    }
}

/// What the kernel looks members of ranges up by is there a moment after the rules: a table made whole refuses what such a set permits, and
/// lets in what it denies. Many edits, each of which moves the line of every rule, under connections that come all the time.
#[test]
fn no_edit_refuses_a_new_connection_that_is_allowed_or_lets_in_one_that_is_denied() {
    let nightly = std::env::var_os("LABGATE_NIGHTLY").is_some();
    let edits = if nightly { 100 } else { 8 };
    let config = |lines: usize| {
        let moved = "# one more line\n".repeat(lines);
        // More of them make the moment longer.
        let port = |index: usize| {
            format!("{{ from = \"192.168.20.200\", to = \"lan\", port = \"tcp/{index}0-{index}9\" }},\n")
        };
        let others: String = (1000..1300).map(port).collect();
        format!(
            "{HEAD}{NETWORKS}{moved}[firewall]\nallow = [\n{others}  {{ from = \"192.168.20.0/25\", to = \"lan\", port = \"tcp/1-100\" }},\n\
             {{ from = \"iot\", to = \"lan\", port = \"tcp/8\" }},\n]\n\
             deny = [\n  {{ from = \"192.168.20.0/28\", to = \"lan\", port = \"tcp/8-90\" }},\n]\n"
        )
    };
    let mut home = two(fixed("cam", "iot", "52:54:00:00:20:10", "192.168.20.10"));
    home.hosts.iter_mut().filter(|host| &*host.name == "nas").for_each(|nas| nas.services.push(Service::Echo(8)));
    let Some(lab) = start(Options { config: config(0), ..options().home(home) }) else { return };
    let cam = lab.host("cam").expect("cam");
    let doors = [("192.168.20.1:53", true), ("192.168.1.10:7", true), ("192.168.1.10:8", false)];
    for (target, open) in doors {
        let wished = if open { Outcome::Connected } else { Outcome::Refused };
        eventually(target, 10, || cam.connect(target).expect("an attempt").outcome == wished);
    }
    let mut tools = doors.map(|(target, _)| Tool::start(&cam, &["knock", target]));
    tools.iter().for_each(|tool| drop(tool.says(0, PATIENCE, "knocking")));
    for edit in 1..=edits {
        let from = lab.log().len();
        lab.edit(&config(edit)).expect("the edit");
        effect(&lab, from, "is in effect");
    }
    for (tool, (target, open)) in tools.iter_mut().zip(doors) {
        tool.finish();
        let line = tool.says(0, PATIENCE, "in ");
        let counts = line.split(": ").next().and_then(|line| line.strip_prefix("in "));
        let (inside, outside) = counts.and_then(|line| line.split_once(", out ")).expect("counts");
        let (right, wrong) = if open { (inside, outside) } else { (outside, inside) };
        let [right, wrong] = [right, wrong].map(|count| count.parse::<u32>().expect("a number"));
        // A busy machine may let one of some thousands wait for longer than the patience.
        assert!(right > 0 && wrong <= u32::from(open), "{target}: {line}");
    }
}

/// A server that says what is written to its fifo, and a client that hears it.
struct Chat {
    server: Child,
    fifo: std::fs::File,
    client: Child,
    heard: Lines,
}

impl Chat {
    fn begin(server: &Host<'_>, target: &str, client: &Host<'_>) -> Self {
        server.run(&["mkfifo", "/run/words"]).expect("a fifo");
        let mut listening = server.command("sh");
        listening.args(["-c", "exec busybox nc -l -p 9 </run/words"]).stdin(Stdio::null()).stdout(Stdio::null());
        let listening = listening.spawn().expect("a server");
        let fifo = OpenOptions::new().write(true).open(server.folder().join("run/words")).expect("the fifo");
        let heard = Lines::default();
        let mut client = client.command("sh");
        client.args(["-c", &format!("until busybox nc {target} 9 </run/never; do :; done")]);
        let mut client = client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("nc");
        heard.follow(client.stdout.take().expect("output"), |_| {});
        Chat { server: listening, fifo, client, heard }
    }

    /// All in one write: the server may be gone after the first.
    fn say(&mut self, words: &str) {
        self.fifo.write_all(format!("{words}\n").as_bytes()).expect("the server listens");
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.client] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn the_answer_to_a_cut_connection_does_not_open_it_again() {
    let config =
        |rules: &str| format!("{HEAD}{NETWORKS}[firewall]\nallow = [\n{{ from = \"lan\", to = \"iot\" }},\n{rules}]\n");
    let open = "{ from = \"iot\", to = [\"lan\", \"router\"], port = \"tcp/9\" },\n";
    let cam = fixed("cam", "iot", "52:54:00:00:20:10", "192.168.20.10");
    let Some(lab) = start(Options { config: config(open), ..options().home(two(cam)) }) else { return };
    let cam = lab.host("cam").expect("cam");
    cam.run(&["mkfifo", "/run/never"]).expect("a fifo");
    let _never = OpenOptions::new().read(true).write(true).open(cam.folder().join("run/never")).expect("the fifo");
    for (server, target) in [("nas", "192.168.1.10"), ("gateway", "192.168.20.1")] {
        let from = lab.log().len();
        let mut chat = Chat::begin(&lab.host(server).expect("a machine"), target, &cam);
        chat.say("before");
        chat.heard.wait(0, PATIENCE, |line| line == "before").expect("the words before");
        lab.edit(&config("")).expect("the edit");
        effect(&lab, from, "cut 1 connection that lost permission: 192.168.20.10 (iot) -> ");
        effect(&lab, from, "is in effect");
        chat.say("after");
        eventually("the server is told", 20, || chat.server.try_wait().expect("its end").is_some());
        assert_eq!(chat.heard.all(), ["before"], "{server}");
        let from = lab.log().len();
        lab.edit(&config(open)).expect("the edit");
        effect(&lab, from, "is in effect");
    }
}

#[test]
fn an_ipv6_connection_that_loses_permission_is_cut_too() {
    let config = |ports: &str| {
        format!("{HEAD}{NETWORKS}[firewall]\nallow = [{{ from = \"iot\", to = \"fd00:1::10\", port = [{ports}] }}]\n")
    };
    let nas =
        fixed("nas", "lan", "52:54:00:00:01:10", "192.168.1.10").serving(Service::Echo(7)).serving(Service::Echo(8));
    let many = fixed("many", "iot", "52:54:00:00:20:99", "192.168.20.100");
    let options = Options { config: config("\"tcp/7\", \"tcp/8\""), ..options().home(home([many, nas])) };
    let Some(lab) = start(options) else { return };
    let router = lab.router().expect("the gateway");
    if router.run(&["sysctl", "-w", "net.ipv6.conf.all.forwarding=1"]).is_err() {
        return crate::support::skip("this kernel has no IPv6");
    }
    for (host, interface, net, address) in [("nas", "eth1", "fd00:1", "10"), ("many", "eth2", "fd00:2", "99")] {
        router.run(&["ip", "addr", "add", &format!("{net}::1/64"), "dev", interface, "nodad"]).expect("an address");
        let host = lab.host(host).expect("the machine");
        host.run(&["ip", "addr", "add", &format!("{net}::{address}/64"), "dev", "eth0", "nodad"]).expect("an address");
        host.run(&["ip", "-6", "route", "add", "default", "via", &format!("{net}::1")]).expect("a route");
    }
    let mut tool = Tool::start(&lab.host("many").expect("many"), &["hold-open"]);
    for (label, port) in [("goes", 7), ("stays", 8)] {
        let from = tool.lines.len();
        tool.tell(&format!("open {label} - [fd00:1::10]:{port} 5"));
        tool.says(from, ROUND, &format!("opened {label} 5"));
    }
    let both = |gone: usize| vec![("goes".to_owned(), gone), ("stays".to_owned(), 5)];
    assert_eq!(round(&mut tool), both(5));
    let from = lab.log().len();
    lab.edit(&config("\"tcp/8\"")).expect("the edit");
    effect(&lab, from, "cut 5 connections");
    eventually("exactly those are cut", 20, || round(&mut tool) == both(0));
}
