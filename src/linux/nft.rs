//! Runs `nft`: whole tables are replaced by its text form. Its words are kept for the error.

use std::process::Stdio;

use anyhow::{Context as _, bail};
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

/// What nft lists, by the words of its command line.
///
/// # Errors
/// Where nft is not there or the kernel does not tell.
pub async fn list(arguments: &[&str]) -> anyhow::Result<String> {
    run(arguments, "").await
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
    fn a_refusal_is_headed_by_the_place() {
        let said = "/dev/stdin:9:3-9: Error: Could not process rule: No such file\n 1 . 2 comment \"labgate.toml:9 a -> b\",\n ^^^^\n";
        assert!(words(said).starts_with("nft refuses `labgate.toml:9 a -> b`:\n/dev/stdin"));
        assert_eq!(words(""), "nft failed without a word");
    }
}
