//! The judgement on facts that are made up.

use std::net::Ipv4Addr;

use super::foreign::{Action, Base, Chain, Condition, Hook, Rule, What};
use super::*;
use crate::config::{self, Source};
use crate::model::{Link, Links};

const FILE: &str = "[wan]\ninterface = \"eth0\"\n[network.lan]\ninterface = \"eth1\"\naddress = \"192.168.1.1/24\"\nadmin = true\n\
                    [network.iot]\ninterface = \"eth2\"\naddress = \"192.168.20.1/24\"\ninternet = false\n\
                    [host]\nnas = { mac = \"52:54:00:00:01:10\", ip = \"192.168.1.10\" }\n\
                    [firewall]\nallow = [{ from = \"lan\", to = \"iot\", port = \"tcp/80\" }]\n\
                    [port-forward]\n\"tcp/443\" = \"nas\"\n";

fn configuration(text: &str) -> Config {
    let checked = config::check(&[Source { name: "labgate.toml".to_owned(), text: text.into() }]);
    checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)))
}

fn link(index: u32, address: &str) -> Link {
    let addresses = vec![address.parse().unwrap()];
    Link { index, up: true, carrier: true, addresses, mtu: 1500, ..Link::default() }
}

fn own_chains(config: &Config) -> Vec<Chain> {
    let rule = |text: &String| Rule { conditions: Vec::new(), action: Action::Drop, text: text.clone() };
    let wanted = crate::desired::ruleset(&crate::firewall::Policy::compile(config)).chains;
    let base = Some(Base { hook: Hook::Forward, nat: false, priority: 0, drops: true });
    wanted
        .iter()
        .map(|chain| Chain {
            family: "inet".to_owned(),
            table: "labgate".to_owned(),
            name: chain.name.to_string(),
            base: base.filter(|_| chain.hook.is_some()),
            rules: chain.rules.iter().map(rule).collect(),
        })
        .collect()
}

/// A machine on which all is well.
fn good(config: &Config) -> Facts {
    let mut links = Links::default();
    for (name, link) in
        [("eth0", link(1, "203.0.113.2/24")), ("eth1", link(2, "192.168.1.1/24")), ("eth2", link(3, "192.168.20.1/24"))]
    {
        links.by_name.insert(name.into(), link);
    }
    links.default_route = Some((Some(Ipv4Addr::new(203, 0, 113, 1)), "eth0".into()));
    let holder = |address: Option<Ipv4Addr>, port, transport| Holder {
        transport,
        port,
        address,
        link: None,
        process: Some(Process { pid: 7, name: "labgate".to_owned() }),
    };
    let mut holders = vec![holder(None, 67, Transport::Udp)];
    for network in &config.networks {
        holders.push(holder(Some(network.router()), 53, Transport::Udp));
        holders.push(holder(Some(network.router()), 53, Transport::Tcp));
    }
    Facts {
        configuration: Ok("no problems".to_owned()),
        daemon: Daemon::Running {
            pid: 7,
            health: vec![("dns".to_owned(), true, "answers".to_owned())],
            rejected: None,
        },
        now_unix: 1_900_000_000,
        clock_synchronised: Ok(true),
        links: Ok(links),
        settings: [("net/ipv4/ip_forward".to_owned(), "1".to_owned())].into(),
        chains: Ok(own_chains(config)),
        holders: Ok(holders),
        offers: config.networks.iter().map(|network| (network.name.clone(), Ok(Vec::new()))).collect(),
        upstreams: vec![("9.9.9.9:53".parse().unwrap(), Ok(()))],
    }
}

/// What fails when the good machine is changed in one way.
fn failures(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let config = configuration(FILE);
    let mut facts = good(&config);
    change(&mut facts);
    judge(Some(&config), &facts).into_iter().filter(|finding| finding.verdict == Verdict::Bad).collect()
}

#[track_caller]
fn only(name: &str, words: &str, change: impl FnOnce(&mut Facts)) -> Finding {
    let failed = failures(change);
    assert_eq!(failed.iter().map(|finding| &*finding.name).collect::<Vec<_>>(), [name]);
    let finding = failed.into_iter().next().unwrap();
    assert!(finding.evidence.iter().any(|evidence| evidence.contains(words)), "{words:?} is not in {finding:#?}");
    assert!(!finding.fix.is_empty(), "a failure has a fix");
    finding
}

fn foreign(name: &str, hook: Hook, drops: bool, rules: Vec<Rule>) -> Chain {
    let base = Some(Base { hook, nat: false, priority: 0, drops });
    Chain { family: "ip".to_owned(), table: "filter".to_owned(), name: name.to_owned(), base, rules }
}

fn rule(conditions: Vec<What>, action: Action) -> Rule {
    let conditions = conditions.into_iter().map(|what| Condition { what, not: false }).collect();
    Rule { conditions, action, text: "the rule".to_owned() }
}

fn add(facts: &mut Facts, chains: impl IntoIterator<Item = Chain>) {
    facts.chains.as_mut().unwrap().extend(chains);
}

#[test]
fn a_good_machine_is_good() {
    assert_eq!(failures(|_| {}), []);
    let config = configuration(FILE);
    let chain = judge(Some(&config), &good(&config));
    assert!(chain.iter().all(|finding| finding.verdict == Verdict::Good), "{chain:#?}");
    let mut names: Vec<&str> = chain.iter().map(|finding| finding.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), chain.len(), "every check has a name of its own");
}

#[test]
fn each_fault_of_the_machine_is_named_alone() {
    only("configuration", "labgate.toml:3", |facts| facts.configuration = Err("labgate.toml:3: no".to_owned()));
    only("daemon", "no gateway is running", |facts| {
        facts.daemon = Daemon::Absent;
        facts.holders = Ok(Vec::new());
    });
    only("clock", "before this labgate was made", |facts| facts.now_unix = 86_400);
    only("forwarding", "ip_forward is 0", |facts| {
        facts.settings.insert("net/ipv4/ip_forward".to_owned(), "0".to_owned());
    });
    let strict = failures(|facts| {
        facts.settings.insert("net/ipv4/conf/eth0/rp_filter".to_owned(), "1".to_owned());
        facts.links.as_mut().unwrap().default_route = Some((None, "eth9".into()));
    });
    assert_eq!(
        strict.iter().map(|finding| &*finding.name).collect::<Vec<_>>(),
        ["default route", "reverse path filter"]
    );
}

#[test]
fn the_first_failure_is_the_cause() {
    let failed = failures(|facts| {
        facts.links.as_mut().unwrap().by_name.remove("eth0");
        facts.links.as_mut().unwrap().default_route = None;
        facts.upstreams[0].1 = Err("no answer".to_owned());
        facts.daemon =
            Daemon::Running { pid: 7, health: vec![("dns".to_owned(), false, "no".to_owned())], rejected: None };
    });
    let names: Vec<&str> = failed.iter().map(|finding| finding.name.as_str()).collect();
    assert_eq!(names, ["interface wan", "default route", "upstreams", "status dns"]);
}

#[test]
fn what_cannot_be_looked_at_fails_nothing() {
    let config = configuration(FILE);
    let mut facts = good(&config);
    let no = || "run as root".to_owned();
    (facts.chains, facts.holders, facts.links) = (Err(no()), Err(no()), Err(no()));
    facts.daemon = Daemon::Hidden(no());
    facts.clock_synchronised = Ok(false);
    facts.offers.values_mut().for_each(|offers| *offers = Err(no()));
    let chain = judge(Some(&config), &facts);
    assert!(chain.iter().all(|finding| finding.verdict != Verdict::Bad), "{chain:#?}");
    assert!(chain.iter().filter(|finding| finding.verdict == Verdict::Unknown).count() > 8, "{chain:#?}");
}

#[test]
fn a_policy_refuses_what_no_rule_accepts() {
    let docker = |facts: &mut Facts, rules: Vec<Rule>| {
        let jump = rule(Vec::new(), Action::Jump("DOCKER-USER".to_owned()));
        let user = Chain { base: None, ..foreign("DOCKER-USER", Hook::Forward, false, rules) };
        add(facts, [foreign("FORWARD", Hook::Forward, true, vec![jump]), user]);
    };
    let pair = |input: &str, output: &str| vec![What::Input(vec![input.into()]), What::Output(vec![output.into()])];
    let answers = |input, output| [pair(input, output), vec![What::State(vec!["established".into()])]].concat();
    let found = only("other firewalls", "chain FORWARD (priority 0), policy drop", |facts| docker(facts, Vec::new()));
    assert!(found.fix.contains(&"Docker: iptables -I DOCKER-USER -i eth1 -o eth0 -j ACCEPT".to_owned()), "{found:#?}");
    let forwarded = "Docker: iptables -I DOCKER-USER -i eth0 -o eth1 -d 192.168.1.10 -p tcp --dport 443 -j ACCEPT";
    assert!(found.fix.contains(&forwarded.to_owned()), "from outside no more than the file permits: {found:#?}");
    let all = |with_answers: bool| {
        let mut rules = vec![
            rule(pair("eth1", "eth0"), Action::Accept),
            rule(pair("eth1", "eth2"), Action::Accept),
            rule([pair("eth0", "eth1"), vec![What::Port(vec![(443, 443)])]].concat(), Action::Accept),
        ];
        if with_answers {
            rules.extend(["eth0", "eth2"].map(|from| rule(answers(from, "eth1"), Action::Accept)));
            rules.push(rule(answers("eth1", "eth0"), Action::Accept));
        }
        rules
    };
    only("other firewalls", "the answers to lan -> iot", |facts| docker(facts, all(false)));
    assert_eq!(failures(|facts| docker(facts, all(true))), []);
}

#[test]
fn rules_that_do_not_concern_us_are_passed_by() {
    let other = |action| rule(vec![What::Input(vec!["docker*".into()])], action);
    let blocked = rule(vec![What::Opaque], Action::Drop);
    let chain = |rules| foreign("forward", Hook::Forward, false, rules);
    assert_eq!(failures(|facts| add(facts, [chain(vec![other(Action::Drop)])])), []);
    assert_eq!(
        failures(|facts| add(facts, [chain(vec![rule(vec![What::State(vec!["invalid".into()])], Action::Drop)])])),
        []
    );
    assert_eq!(failures(|facts| add(facts, [chain(vec![blocked.clone()])])), [], "a block list is no veto");
    only("other firewalls", "rule `the rule`", |facts| {
        add(facts, [chain(vec![other(Action::Accept), rule(Vec::new(), Action::Drop)])]);
    });
    only("other firewalls", "DHCP (udp/67) from lan", |facts| {
        let udp = rule(vec![What::Protocol(vec![17]), What::Port(vec![(67, 67)])], Action::Drop);
        add(facts, [foreign("input", Hook::Input, false, vec![udp])]);
    });
    // A chain that jumps in a circle, or to nowhere, is no reason to hang.
    let circle = rule(Vec::new(), Action::Jump("forward".to_owned()));
    assert_eq!(failures(|facts| add(facts, [chain(vec![circle])])), []);
}

#[test]
fn a_published_port_that_is_forwarded_is_told() {
    let published = |port: u16| {
        let dnat = rule(vec![What::LocalDestination, What::Port(vec![(port, port)])], Action::Redirect);
        let mut chain = foreign("PREROUTING", Hook::Prerouting, false, vec![dnat]);
        chain.base.as_mut().unwrap().nat = true;
        chain
    };
    only("other translations", "the forwarded port tcp/443", |facts| add(facts, [published(443)]));
    assert_eq!(failures(|facts| add(facts, [published(8443)])), []);
}

#[test]
fn our_own_table_is_compared() {
    let ours = |facts: &mut Facts, change: &dyn Fn(&mut Vec<Chain>)| change(facts.chains.as_mut().unwrap());
    only("own table", "is not there", |facts| ours(facts, &|chains| chains.clear()));
    only("own table", "chain input has", |facts| {
        ours(facts, &|chains| chains.iter_mut().find(|chain| chain.name == "input").unwrap().rules.truncate(1));
    });
    only("own table", "chain mine is not of the file's making", |facts| {
        ours(facts, &|chains| {
            let mine = Chain { name: "mine".to_owned(), ..chains[0].clone() };
            chains.push(mine);
        });
    });
}

#[test]
fn holders_of_our_ports_are_told_and_others_are_not() {
    let holder = |name: &str, port, address: Option<[u8; 4]>, link| Holder {
        transport: Transport::Udp,
        port,
        address: address.map(Ipv4Addr::from),
        link,
        process: Some(Process { pid: 99, name: name.to_owned() }),
    };
    let hold = |holder: Holder| move |facts: &mut Facts| facts.holders.as_mut().unwrap().push(holder);
    only("port 53", "named (pid 99)", hold(holder("named", 53, Some([192, 168, 1, 1]), None)));
    assert_eq!(failures(hold(holder("systemd-resolve", 53, Some([127, 0, 0, 53]), None))), []);
    assert_eq!(failures(hold(holder("dnsmasq", 53, None, None))), [], "ours is at the very address and is heard first");
    only("port 53", "every address", |facts| {
        facts.holders = Ok(vec![holder("dnsmasq", 53, None, None), holder("labgate", 67, None, Some(2))]);
        facts.holders.as_mut().unwrap()[1].process.as_mut().unwrap().pid = 7;
    });
    only("port 67", "dnsmasq (pid 99)", hold(holder("dnsmasq", 67, None, None)));
    only("port 67", "dnsmasq (pid 99)", hold(holder("dnsmasq", 67, None, Some(2))));
    assert_eq!(failures(hold(holder("dnsmasq", 67, None, Some(9)))), [], "libvirt's, tied to its own bridge");
}

#[test]
fn other_servers_sizes_and_full_tables() {
    only("dhcp server lan", "192.168.1.9 offered 192.168.1.77", |facts| {
        let offered = Offered { server: [192, 168, 1, 9].into(), address: [192, 168, 1, 77].into() };
        facts.offers.insert("lan".into(), Ok(vec![offered]));
    });
    only("packet size", "eth1 takes 1400", |facts| {
        facts.links.as_mut().unwrap().by_name.get_mut("eth1").unwrap().mtu = 1400;
    });
    let pppoe = |facts: &mut Facts| facts.links.as_mut().unwrap().by_name.get_mut("eth0").unwrap().mtu = 1492;
    assert_eq!(failures(pppoe), [], "the clamp tells TCP");
    let without_clamp = failures(|facts| {
        pppoe(facts);
        facts.chains.as_mut().unwrap().retain(|chain| chain.name != "mss");
    });
    assert_eq!(without_clamp.iter().map(|finding| &*finding.name).collect::<Vec<_>>(), ["own table", "packet size"]);
    only("connection tracking", "900 of 1000", |facts| {
        for (name, value) in [("count", "900"), ("max", "1000")] {
            facts.settings.insert(format!("net/netfilter/nf_conntrack_{name}"), value.to_owned());
        }
    });
}
