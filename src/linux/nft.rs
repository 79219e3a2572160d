//! Runs `nft`: whole tables are replaced by its text form, and foreign tables are read by its JSON form. Its words are kept for the error.

use std::collections::HashMap;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use nftables::schema::{NfListObject, NfObject};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::nfnetlink::Channel;
use crate::firewall::{LOG_GROUP, TABLE};

/// Where `nft` is looked for, in this order: a service's search path may lack the folder of system programs.
const PROGRAMS: [&str; 3] = ["nft", "/usr/sbin/nft", "/sbin/nft"];

/// Whether nft and the kernel would take this text. Changes nothing.
///
/// # Errors
/// What they say, with the line of the person's file where it is known.
pub async fn check(text: &str) -> anyhow::Result<()> {
    run(&["-c", "-f", "-"], text).await.map(drop)
}

/// Hands this text to nft as one transaction: all of it takes effect, or nothing.
///
/// # Errors
/// What nft or the kernel says, with the line of the person's file where it is known.
pub async fn apply(text: &str) -> anyhow::Result<()> {
    run(&["-f", "-"], text).await.map(drop)
}

/// Whether the kernel hands packets to a listener that asks for them by their group (its module `nfnetlink_log`).
///
/// # Errors
/// Where nft cannot be run at all.
pub async fn can_log() -> anyhow::Result<bool> {
    let log = format!("log group {LOG_GROUP}");
    check("table inet labgate_probe { chain c { }\n}\n").await?;
    Ok(check(&format!("table inet labgate_probe {{ chain c {{ {log}\n }}\n}}\n")).await.is_ok())
}

/// Removes our table; no error where there is none.
///
/// # Errors
/// What the kernel says.
pub async fn delete_table() -> anyhow::Result<()> {
    apply(&format!("add table inet {TABLE}\ndelete table inet {TABLE}\n")).await
}

/// Our table as nft lists it.
///
/// # Errors
/// Where there is none, or the kernel does not tell.
pub async fn list_table() -> anyhow::Result<String> {
    run(&["list", "table", "inet", TABLE], "").await
}

/// Whether our table stands in the kernel. Costs microseconds: no process is started.
///
/// # Errors
/// Where the kernel cannot be asked.
pub async fn table_present() -> anyhow::Result<bool> {
    Ok(Channel::open()?.table_present(TABLE)?)
}

/// Packets and octets counted by the elements of our table, by the place in the file (`labgate.toml:36`).
///
/// # Errors
/// Where the kernel cannot be asked.
pub async fn counters() -> anyhow::Result<HashMap<String, (u64, u64)>> {
    let mut by_place: HashMap<String, (u64, u64)> = HashMap::new();
    let mut channel = Channel::open()?;
    for set in channel.set_names(TABLE)? {
        // Where a forward ends is counted once more than where it begins.
        if set.starts_with("forward_targets") {
            continue;
        }
        for element in channel.elements(TABLE, &set)? {
            let (Some(counter), Some(place)) = (element.counter, element.comment.as_deref().and_then(place)) else {
                continue;
            };
            let sum = by_place.entry(place.to_owned()).or_default();
            sum.0 += counter.packets;
            sum.1 += counter.bytes;
        }
    }
    Ok(by_place)
}

/// The place at the beginning of an element's comment: up to the line number.
fn place(comment: &str) -> Option<&str> {
    let mut from = 0;
    while let Some(colon) = comment[from..].find(':') {
        let digits = from + colon + 1;
        let length = comment[digits..].bytes().take_while(u8::is_ascii_digit).count();
        let end = digits + length;
        if length > 0 && comment[end..].chars().next().is_none_or(|next| next == ' ') {
            return Some(&comment[..end]);
        }
        from = digits;
    }
    None
}

/// A base chain of another table, which may refuse what ours accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignChain {
    /// Address family of its table.
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// The hook it stands at.
    pub hook: String,
    /// Its priority there.
    pub priority: i32,
    /// Whether it refuses what none of its rules accepts.
    pub drops: bool,
}

/// Base chains of other tables. An object that the schema does not know hides no other one.
///
/// # Errors
/// Where nft cannot list.
pub async fn foreign_base_chains() -> anyhow::Result<Vec<ForeignChain>> {
    let listing: serde_json::Value = serde_json::from_str(&run(&["-j", "list", "chains"], "").await?)?;
    let objects = listing.get("nftables").and_then(|list| list.as_array()).map_or(&[][..], |list| list);
    Ok(objects.iter().filter_map(foreign_base_chain).collect())
}

fn foreign_base_chain(object: &serde_json::Value) -> Option<ForeignChain> {
    let NfObject::ListObject(NfListObject::Chain(chain)) = NfObject::deserialize(object).ok()? else { return None };
    let word = |value: serde_json::Value| value.as_str().map(str::to_owned);
    let family = word(serde_json::to_value(chain.family).ok()?)?;
    if chain.table == TABLE && family == "inet" {
        return None;
    }
    Some(ForeignChain {
        family,
        table: chain.table.into_owned(),
        name: chain.name.into_owned(),
        hook: word(serde_json::to_value(chain.hook?).ok()?)?,
        priority: chain.prio.unwrap_or(0),
        drops: matches!(chain.policy, Some(nftables::types::NfChainPolicy::Drop)),
    })
}

async fn run(arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let mut child = start(arguments)?;
    let mut stdin = child.stdin.take().context("nft has no standard input")?;
    let feed = async {
        // nft stops reading at a syntax error; its words say more than the broken pipe.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let output = output.context("waiting for nft")?;
    if !output.status.success() {
        bail!("{}", words(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn start(arguments: &[&str]) -> anyhow::Result<tokio::process::Child> {
    for program in PROGRAMS {
        let started = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        match started {
            Ok(child) => return Ok(child),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("starting {program}")),
        }
    }
    bail!("the program nft is not installed (Debian: apt install nftables)")
}

/// What nft said, headed by the place in the person's file where the offending element shows it.
fn words(stderr: &str) -> String {
    let said: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).take(12).collect();
    let quoted = said.iter().find_map(|line| line.split_once("comment \"")?.1.split('"').next());
    match quoted {
        Some(comment) => format!("nft refuses `{comment}`:\n{}", said.join("\n")),
        None if said.is_empty() => "nft failed without a word".to_owned(),
        None => format!("nft: {}", said.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_words() {
        assert_eq!(place("labgate.toml:36 web -> db"), Some("labgate.toml:36"));
        assert_eq!(place("a:b c.toml:7"), Some("a:b c.toml:7"));
        assert_eq!(place("own source"), None);
        let said = "/dev/stdin:9:3-9: Error: Could not process rule: No such file\n 1 . 2 comment \"labgate.toml:9 a -> b\",\n ^^^^\n";
        assert!(words(said).starts_with("nft refuses `labgate.toml:9 a -> b`:\n/dev/stdin"));
        assert_eq!(words(""), "nft failed without a word");
    }

    #[test]
    fn foreign_chains_are_read_object_by_object() {
        let chain = |table: &str, hook: &str| serde_json::json!({"chain": {"family": "inet", "table": table, "name": "x", "handle": 1, "type": "filter", "hook": hook, "prio": 0, "policy": "drop"}});
        let found = foreign_base_chain(&chain("docker", "forward")).unwrap();
        assert_eq!((&*found.table, &*found.hook, found.drops, &*found.family), ("docker", "forward", true, "inet"));
        assert_eq!(foreign_base_chain(&chain("labgate", "forward")), None);
        assert_eq!(foreign_base_chain(&serde_json::json!({"brand-new": {}})), None);
    }
}
