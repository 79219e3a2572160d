//! The opening demonstration: what a person would try first on a new router, tried, and told in plain lines.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use super::home::{Addressing, PROVIDER, PUBLIC, WWW};
use super::host::Host;
use super::reach::Outcome;
use super::running::Lab;

/// One thing that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Whether it went as it should.
    pub ok: bool,
    /// What was tried and what came of it.
    pub words: String,
}

/// Prints steps as they come, or keeps quiet where one JSON document is wanted at the end.
pub struct Show {
    quiet: bool,
    marks: (&'static str, &'static str),
    /// All steps so far.
    pub steps: Vec<Step>,
}

impl Show {
    /// Marks are plain words unless a person with a UTF-8 terminal reads.
    pub fn new(quiet: bool) -> Self {
        let variables = ["LC_ALL", "LC_CTYPE", "LANG"];
        let locale = variables
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .unwrap_or_default()
            .to_ascii_lowercase();
        let fancy = io::stdout().is_terminal() && (locale.contains("utf-8") || locale.contains("utf8"));
        Show { quiet, marks: if fancy { ("✓", "✗") } else { ("ok  ", "FAIL") }, steps: Vec::new() }
    }

    /// A line of its own.
    pub fn say(&self, words: &str) {
        if !self.quiet {
            let _ = writeln!(io::stdout(), "{words}");
        }
    }

    /// One thing that was tried.
    pub fn step(&mut self, ok: bool, words: String) {
        self.say(&format!("  {} {words}", if ok { self.marks.0 } else { self.marks.1 }));
        self.steps.push(Step { ok, words });
    }

    /// Whether all went as it should.
    pub fn good(&self) -> bool {
        self.steps.iter().all(|step| step.ok)
    }

    fn failed(&mut self, what: &str, error: &anyhow::Error) {
        self.step(false, format!("{what}: {error:#}"));
    }
}

/// Leases of all clients.
pub fn leases(lab: &Lab, show: &mut Show) {
    show.say("leases");
    for host in &lab.options().home.hosts {
        if !matches!(host.addressing, Addressing::Dhcp) {
            continue;
        }
        match lab.host(&host.name).and_then(|machine| machine.address()) {
            Ok(address) => show.step(true, format!("{} has {address} on {}", host.name, host.segment)),
            Err(error) => show.failed(&host.name, &error),
        }
    }
}

/// The whole tour of the built-in home.
pub fn tour(lab: &Lab, show: &mut Show) -> Result<()> {
    leases(lab, show);
    show.say("names");
    name(show, &lab.host("laptop")?, "nas", "192.168.1.10");
    name(show, &lab.host("laptop")?, "www.example.com", &WWW.to_string());
    name(show, &lab.host("web1")?, "laptop.home.arpa", &lab.host("laptop")?.address()?.to_string());
    reverse(show, &lab.host("cam")?, "192.168.30.10", "web1.home.arpa");
    show.say("reach");
    let seen_as = |address| format!("internet: you are {address}");
    let laptop = lab.host("laptop")?;
    let mut reach = Reach { lab, show };
    reach.allowed("laptop", "www.example.com:80", &seen_as(PUBLIC), "masqueraded")?;
    reach.allowed("internet", &format!("{PUBLIC}:443"), &format!("nas: you are {PROVIDER}"), "port forward")?;
    reach.allowed("laptop", &format!("{PUBLIC}:443"), "nas: you are ", "port forward from inside")?;
    reach.allowed("laptop", "web1:80", &format!("web1: you are {}", laptop.address()?), "lan may reach web")?;
    reach.allowed("web1", "db1:5432", "db1: you are 192.168.30.10", "web may reach db on tcp/5432")?;
    reach.refused("web1", "db1:22", "no rule allows it")?;
    reach.refused("cam", "nas:443", "iot may not reach lan")?;
    reach.refused("db1", &format!("{WWW}:80"), "db has internet = false")?;
    reach.silent("internet", &format!("{PUBLIC}:22"), "nothing comes in uninvited")
}

/// For a home of the person's own: leases, and what each machine can reach, without a judgement.
pub fn look_around(lab: &Lab, show: &mut Show) -> Result<()> {
    leases(lab, show);
    settle(lab)?;
    show.say("reach");
    let hosts = &lab.options().home.hosts;
    for from in hosts.iter().filter(|host| matches!(host.addressing, Addressing::Dhcp)) {
        let machine = lab.host(&from.name)?;
        for to in hosts.iter().filter(|to| to.name != from.name) {
            let address = if to.name == "internet" { WWW } else { lab.host(&to.name)?.address()? };
            let attempt = machine.connect(&format!("{address}:80"))?;
            let words = match attempt.outcome {
                Outcome::Connected => format!("reaches it: {}", attempt.text),
                Outcome::Refused => "is refused".to_owned(),
                Outcome::Silent | Outcome::NoName => "gets no answer".to_owned(),
            };
            show.step(true, format!("{} -> {} ({address}:80) {words}", from.name, to.name));
        }
    }
    Ok(())
}

/// Waits for an uplink that has to ask for its address first; what is not good after that is shown as it is.
fn settle(lab: &Lab) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while lab.ask(&["status"])?["state"] != "good" && Instant::now() < deadline {}
    Ok(())
}

fn name(show: &mut Show, host: &Host<'_>, name: &str, expected: &str) {
    match host.run(&["getent", "ahostsv4", name]) {
        Ok(out) => {
            let found = out.split_whitespace().next().unwrap_or("nothing");
            show.step(found == expected, format!("{} asks for {name}: {found}", host.name()));
        }
        Err(error) => show.failed(&format!("{} asks for {name}", host.name()), &error),
    }
}

fn reverse(show: &mut Show, host: &Host<'_>, address: &str, expected: &str) {
    match host.run(&["getent", "hosts", address]) {
        Ok(out) => {
            let found = out.split_whitespace().nth(1).unwrap_or("nothing");
            show.step(found == expected, format!("{} asks who {address} is: {found}", host.name()));
        }
        Err(error) => show.failed(&format!("{} asks who {address} is", host.name()), &error),
    }
}

struct Reach<'a> {
    lab: &'a Lab,
    show: &'a mut Show,
}

impl Reach<'_> {
    fn allowed(&mut self, from: &str, to: &str, answer: &str, why: &str) -> Result<()> {
        let attempt = self.lab.host(from)?.connect(to)?;
        let ok = attempt.outcome == Outcome::Connected && attempt.text.starts_with(answer);
        self.show.step(ok, format!("{from} -> {to}  {} ({why})", describe(attempt.outcome, &attempt.text)));
        Ok(())
    }

    fn refused(&mut self, from: &str, to: &str, why: &str) -> Result<()> {
        let attempt = self.lab.host(from)?.connect(to)?;
        let ok = attempt.outcome == Outcome::Refused && attempt.milliseconds < 1000;
        let words = format!("{from} -> {to}  {} in {} ms ({why})", describe(attempt.outcome, ""), attempt.milliseconds);
        self.show.step(ok, words);
        Ok(())
    }

    fn silent(&mut self, from: &str, to: &str, why: &str) -> Result<()> {
        let attempt = self.lab.host(from)?.connect(to)?;
        self.show.step(
            attempt.outcome == Outcome::Silent,
            format!("{from} -> {to}  {} ({why})", describe(attempt.outcome, "")),
        );
        Ok(())
    }
}

fn describe(outcome: Outcome, text: &str) -> String {
    match outcome {
        Outcome::Connected if text.is_empty() => "connected".to_owned(),
        Outcome::Connected => format!("says \"{text}\""),
        Outcome::Refused => "refused".to_owned(),
        Outcome::Silent => "no answer".to_owned(),
        Outcome::NoName => "no such name".to_owned(),
    }
}
