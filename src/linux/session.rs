//! Who speaks, and from which session: what the kernel tells of the process at the other end, and of its ancestors.

use std::time::Duration;

use nix::unistd::{SysconfVar, Uid, User, sysconf};

use crate::desired::revision::Seat;

/// Programs that serve sessions over the network, by the start of their names: OpenSSH's (`sshd`, `sshd-session`) and Dropbear.
const SERVERS: [&str; 2] = ["sshd", "dropbear"];
/// No process has more ancestors than this.
const MOST_ANCESTORS: usize = 1000;

/// `alice (uid 1000)`.
pub fn user_name(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => format!("{} (uid {uid})", user.name),
        _ => format!("uid {uid}"),
    }
}

/// Where a process sits, as far as its ancestors are visible; `None` where they are hidden from us.
pub fn seat_of(pid: i32) -> Option<Seat> {
    let mut pid = pid;
    for _ in 0..MOST_ANCESTORS {
        if pid <= 1 {
            return Some(Seat::Local);
        }
        let process = Process::read(pid)?;
        if SERVERS.iter().any(|server| process.name.starts_with(server)) {
            return Some(Seat::Remote { server: process.name, began: process.began });
        }
        pid = process.parent;
    }
    None
}

/// Where this process sits. A shell inside a terminal multiplexer has no server among its ancestors and is still `marked` by one.
pub fn own_seat(marked: bool) -> Seat {
    match seat_of(std::process::id().cast_signed()) {
        Some(seat @ Seat::Remote { .. }) => seat,
        _ if marked => Seat::Detached,
        _ => Seat::Local,
    }
}

struct Process {
    name: String,
    parent: i32,
    /// On the boot clock.
    began: Duration,
}

impl Process {
    fn read(pid: i32) -> Option<Process> {
        Process::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?, ticks_per_second())
    }

    /// Fields 2 (name, in brackets, with anything in it), 4 and 22 of proc(5). A tick is rounded up: who began in the tick of a change began
    /// after it.
    fn parse(text: &str, ticks_per_second: u64) -> Option<Process> {
        let (head, tail) = text.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let ticks: u64 = fields.get(19)?.parse().ok()?;
        let began = Duration::from_millis((ticks + 1) * 1000 / ticks_per_second);
        Some(Process { name: name.to_owned(), parent: fields.get(1)?.parse().ok()?, began })
    }
}

fn ticks_per_second() -> u64 {
    sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::clock;

    #[test]
    fn reads_a_line_of_the_kernel_whatever_the_name() {
        let line = "4242 (sshd: a) b() S 4200 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 1 2 3";
        let process = Process::parse(line, 100).unwrap();
        assert_eq!((process.name.as_str(), process.parent), ("sshd: a) b(", 4200));
        assert_eq!(process.began, Duration::from_millis(1_234_570));
        assert!(Process::parse("1 (x) S", 100).is_none());
    }

    #[test]
    fn this_process_began_before_now_on_the_boot_clock() {
        let own = Process::read(std::process::id().cast_signed()).unwrap();
        let now = clock::now().instant;
        assert!(own.began <= now + Duration::from_millis(20), "{:?} is after {now:?}", own.began);
        assert!(now - own.began.min(now) < Duration::from_secs(3600));
    }

    #[test]
    fn users_by_name_where_they_have_one() {
        assert_eq!(user_name(0), "root (uid 0)");
        assert_eq!(user_name(4_000_000_000), "uid 4000000000");
    }
}
