//! Network namespaces without names, one per test: nothing of the machine is touched, and nothing is left behind.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use nix::sched::{CloneFlags, setns, unshare};

const INSIDE: &str = "LABGATE_TEST_INSIDE_USER_NAMESPACE";

/// Runs a test in a network namespace of its own, where this machine allows one; else says why it is skipped. An ordinary user's test starts
/// itself again in a user namespace.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() && std::env::var_os(INSIDE).is_none() {
        return again_as_root_of_a_user_namespace();
    }
    let thread = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("SKIPPED: no network namespace here ({error})");
            return;
        }
        sh("ip link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn again_as_root_of_a_user_namespace() {
    let name = std::thread::current().name().expect("the test's name").to_owned();
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--net"]);
    let possible = unshare.arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !possible {
        eprintln!("SKIPPED: neither root nor user namespaces here");
        return;
    }
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", &name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare");
    assert!(status.success(), "failed inside the user namespace, see above");
}

/// Runs a shell command in the namespace of this thread; its output. Fails the test where it fails.
#[track_caller]
pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-ec", command]).output().expect("sh");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A second namespace: the other end of a cable.
pub struct Peer(File);

impl Peer {
    /// A namespace with nothing but a loopback interface, set up.
    pub fn new() -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a second network namespace");
            sh("ip link set lo up");
            File::open("/proc/thread-self/ns/net").expect("its handle")
        });
        Peer(made.join().expect("a second network namespace"))
    }

    /// What `ip link … netns` takes for it.
    pub fn handle(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Does something inside.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("into the second network namespace");
                act()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a program inside.
    pub fn start(&self, program: &str, arguments: &[String]) -> Running {
        let child =
            self.inside(|| Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn());
        Running(child.unwrap_or_else(|error| panic!("{program}: {error}")))
    }

    /// Starts a program inside whose lines are read as they come.
    pub fn listen(&self, program: &str, arguments: &[&str]) -> (Running, Receiver<String>) {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = self.inside(|| command.spawn()).unwrap_or_else(|error| panic!("{program}: {error}"));
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        (Running(child), lines)
    }
}

/// A program that ends with the test.
pub struct Running(Child);

impl Running {
    /// Ends it now.
    pub fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
