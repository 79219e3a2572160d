//! What a scenario expects: answers, leases, events.

use std::net::Ipv4Addr;

use labgate::dhcp::{Destination, Reply};
use labgate::model::MacAddr;

use crate::lines::{Line, address, duration, number, option_value};
use crate::packet::Read;
use crate::world::World;

impl World {
    pub fn expect(&mut self, line: &Line<'_>) -> Result<(), String> {
        let what = line.word(1)?;
        if what == "silence" {
            self.nothing_left()?;
            return match line.words.get(2) {
                Some(reason) if !self.dropped.iter().any(|dropped| dropped.name() == *reason) => {
                    Err(format!("dropped because of {:?}", self.dropped))
                }
                _ => Ok(()),
            };
        }
        let reply = self.replies.front().cloned().ok_or_else(|| format!("no answer: {:?}", self.dropped))?;
        let read = self.take_offer()?;
        let wanted = match what {
            "offer" => 2,
            "ack" => 5,
            "nak" => 6,
            _ => return Err(format!("no answer is called `{what}`")),
        };
        if read.kind != wanted {
            return Err(format!(
                "{} {} {:?}",
                reply.kind.name(),
                Ipv4Addr::from(read.yiaddr),
                read.option(56).map(<[u8]>::escape_ascii).map(|text| text.to_string())
            ));
        }
        if wanted == 5 {
            self.take_ack(&reply)?;
        }
        if let Some(word) = line.words.get(2) {
            self.same(word, read.yiaddr.into())?;
        }
        line.keys.iter().try_for_each(|(key, value)| self.expect_key(key, value, &reply, &read))
    }

    fn expect_key(&mut self, key: &str, value: &str, reply: &Reply, read: &Read) -> Result<(), String> {
        if key == "to" {
            let to = match reply.destination {
                Destination::Broadcast => "broadcast",
                Destination::Hardware(..) => "hardware",
                Destination::Unicast(_) => "unicast",
                Destination::Relay(_) => "relay",
            };
            return if to == value { Ok(()) } else { Err(format!("sent to {:?}", reply.destination)) };
        }
        if key == "siaddr" {
            return self.same(value, read.siaddr.into());
        }
        let code = if key == "lease" { 51 } else { number(key)? };
        match (read.option(code), value) {
            (None, "absent") => Ok(()),
            (None, _) => Err(format!("option {code} is absent")),
            (Some(data), "absent") => Err(format!("option {code} is {}", data.escape_ascii())),
            (Some(data), value) => {
                let wanted = option_value(value, data.len())?;
                if wanted == data { Ok(()) } else { Err(format!("option {code} is {data:?}, not {wanted:?}")) }
            }
        }
    }

    /// Binds a variable, or compares.
    fn same(&mut self, word: &str, found: Ipv4Addr) -> Result<(), String> {
        let wanted = match word.strip_prefix('$') {
            Some(name) => *self.variables.entry(name.to_owned()).or_insert(found),
            None => address(word)?,
        };
        if wanted == found { Ok(()) } else { Err(format!("{found}, not {wanted}")) }
    }

    pub fn look(&mut self, line: &Line<'_>) -> Result<(), String> {
        let fail = |good: bool, words: String| if good { Ok(()) } else { Err(words) };
        match (line.words[0], line.word(1)?) {
            ("no", "probe") => fail(self.probes.is_empty(), format!("{:?}", self.probes)),
            ("no", "event") => fail(self.events.is_empty(), format!("{:?}", self.events)),
            ("no", _) => {
                let address = self.value(line.word(2)?)?;
                fail(!self.shown.contains_key(&address), "it is leased".into())
            }
            ("leases", count) => {
                let live = self.server()?.live();
                let count: usize = number(count)?;
                fail(self.shown.len() == count && live == count, format!("{} shown, {live} live", self.shown.len()))
            }
            ("granted", range) => {
                let (low, high) = range.split_once("..").ok_or("LOW..HIGH")?;
                fail((number(low)?..=number(high)?).contains(&self.granted), format!("{} were granted", self.granted))
            }
            ("event", cause) => {
                fail(self.events.iter().any(|event| event.cause() == cause), format!("told: {:?}", self.events))
            }
            (what, word) => {
                let address = self.value(word)?;
                let third = line.word(2).unwrap_or_default();
                self.look_at(what, address, third)
            }
        }
    }

    fn look_at(&mut self, what: &str, address: Ipv4Addr, third: &str) -> Result<(), String> {
        let binding = self.shown.get(&address);
        match what {
            "probe" => self.probes.contains(&address).then_some(()).ok_or_else(|| format!("asked: {:?}", self.probes)),
            "ended" => {
                let reasons: Vec<String> = self
                    .ended
                    .iter()
                    .filter(|ended| ended.binding.address == address)
                    .map(|ended| ended.reason.to_string())
                    .collect();
                reasons
                    .iter()
                    .any(|reason| reason == third)
                    .then_some(())
                    .ok_or_else(|| format!("ended: {:?}", self.ended))
            }
            "lease" => {
                let mac = MacAddr(self.clients.get(third).ok_or("no such client")?.mac);
                let holder = binding.map(|binding| binding.mac);
                (holder == Some(Some(mac))).then_some(()).ok_or_else(|| format!("held by {holder:?}"))
            }
            "host-name" => {
                let name = binding.ok_or("no lease")?.host_name.as_deref().unwrap_or("-");
                (name == third).then_some(()).ok_or_else(|| format!("it is `{name}`"))
            }
            "remaining" => {
                let binding = binding.ok_or("no lease")?;
                let wanted = duration(third)?.as_secs();
                let left = binding.expires.map(|at| at.saturating_sub(self.now.instant).as_secs());
                let shown = binding.expires_unix.map(|at| at.saturating_sub(self.now.unix));
                let near = |left: Option<u64>| left.is_some_and(|left| left.abs_diff(wanted) <= 2);
                (near(left) && near(shown))
                    .then_some(())
                    .ok_or_else(|| format!("{left:?} s by one clock, {shown:?} s by the other"))
            }
            _ => Err(format!("nothing is called `{what}`")),
        }
    }
}
