//! The uplink task: follows `wan.address`. Where the system or the file configures the uplink, it learns the system's resolvers; with
//! `"dhcp"` it drives the client engine. What it knows is the picture `uplink`; the network task puts addresses and routes into the kernel.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::pictures::{Pictures, Uplink};
use crate::config::{Config, WanAddress};
use crate::desired::network::{UplinkAddress, accept};
use crate::dhcp::client::{Client, Identity, Lease, Output, Reason};
use crate::linux::uplink_socket::UplinkSocket;
use crate::linux::{clock, resolv_conf, uplink_lease, watch};
use crate::model::{Link, Links, Now};

/// Until sockets that could not be opened are tried again.
const SOCKET_RETRY: Duration = Duration::from_secs(5);
/// Timers run on the boot clock and are slept on another: they are compared at least so often.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What of the configuration this task follows.
#[derive(Clone, Debug, PartialEq)]
struct Wish {
    wan: Option<(Arc<str>, WanAddress)>,
    host_name: String,
}

impl Wish {
    fn of(config: &Config) -> Self {
        Wish {
            wan: config.wan.as_ref().map(|wan| (wan.interface.clone(), wan.address.clone())),
            host_name: config.gateway.name.to_string(),
        }
    }
}

/// Follows the uplink until `token` ends it. A lease is not given back then: it serves the next start.
///
/// # Errors
/// None at present; a part that fails is tried again.
pub async fn run(pictures: Arc<Pictures>, token: CancellationToken) -> Result<()> {
    let mut config = pictures.config.subscribe();
    loop {
        let wish = Wish::of(&config.borrow_and_update());
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            changed = config.wait_for(|config| Wish::of(config) != wish) => drop(changed?),
            never = follow(&pictures, &wish) => match never {},
        }
    }
}

/// An end that does not come.
enum Never {}

async fn follow(pictures: &Pictures, wish: &Wish) -> Never {
    match &wish.wan {
        None => {
            publish(
                pictures,
                Uplink { state: "there is no uplink".to_owned(), address: UplinkAddress::Nothing, ..Uplink::default() },
            );
            pictures.forget_report("uplink");
            std::future::pending().await
        }
        Some((interface, WanAddress::Dhcp)) => loop {
            hold_lease(pictures, interface, &wish.host_name).await;
        },
        Some((interface, address)) => follow_system(pictures, interface, address).await,
    }
}

fn publish(pictures: &Pictures, news: Uplink) {
    pictures.uplink.send_if_modified(|uplink| {
        let changed = **uplink != news;
        if changed {
            *uplink = Arc::new(news);
        }
        changed
    });
}

/// Resolvers that are not ourselves: asking ourselves would go round in circles.
fn foreign(resolvers: Vec<Ipv4Addr>, config: &Config, links: &Links) -> Vec<Ipv4Addr> {
    let ours = |address: &Ipv4Addr| {
        config.networks.iter().any(|network| network.router() == *address)
            || links.by_name.values().any(|link| link.addresses.iter().any(|own| own.addr() == *address))
    };
    resolvers.into_iter().filter(|address| !ours(address)).collect()
}

/// The system or the file configures the uplink: resolvers come from the system, and the rest is told as it is.
async fn follow_system(pictures: &Pictures, interface: &str, address: &WanAddress) -> Never {
    let mut files = watch::files(resolv_conf::files());
    let mut links = pictures.links.subscribe();
    let mut config = pictures.config.subscribe();
    loop {
        let kernel = links.borrow_and_update().clone();
        let running = config.borrow_and_update().clone();
        let resolvers = foreign(resolv_conf::resolvers(), &running, &kernel);
        let (good, mut state) = describe(interface, &kernel);
        if resolvers.is_empty() && running.dns.upstreams.is_empty() {
            state.push_str("; the system names no resolver, so give `dns.upstream`");
        }
        if *address == WanAddress::System && kernel.by_name.get(interface).is_some_and(|link| link.addresses.is_empty())
        {
            state.push_str("; `wan.address = \"dhcp\"` lets labgate ask for one");
        }
        pictures.report("uplink", good, &state);
        publish(pictures, Uplink { resolvers, state, address: UplinkAddress::Nothing });
        tokio::select! {
            Some(()) = files.recv() => {}
            Ok(()) = links.changed() => {}
            Ok(()) = config.changed() => {}
            else => return std::future::pending().await,
        }
    }
}

fn describe(interface: &str, links: &Links) -> (bool, String) {
    let Some(link) = links.by_name.get(interface) else { return (false, format!("{interface} is not there; waiting")) };
    let through = links.routes.iter().find(|route| route.destination.prefix_len() == 0 && &*route.link == interface);
    let (Some(address), Some(through)) = (link.addresses.first(), through) else {
        let missing = if link.addresses.is_empty() { "address" } else { "default route" };
        return (false, format!("{interface} has no {missing}{}", carrier(link)));
    };
    let router = through.gateway.map(|router| format!(", default route through {router}")).unwrap_or_default();
    (link.carrier, format!("{interface} has {address}{router}{}", carrier(link)))
}

fn carrier(link: &Link) -> &'static str {
    if link.up && !link.carrier { ", and no carrier: is the cable plugged in?" } else { "" }
}

/// Runs the client as long as the interface stays the same one.
async fn hold_lease(pictures: &Pictures, interface: &str, host_name: &str) {
    let mut links = pictures.links.subscribe();
    let ready = |links: &Arc<Links>| links.by_name.get(interface).is_some_and(|link| link.up);
    if !ready(&links.borrow_and_update()) {
        pictures.report("uplink", false, format!("{interface} is not there or not up; waiting"));
        if links.wait_for(ready).await.is_err() {
            return std::future::pending().await;
        }
    }
    let socket = match UplinkSocket::open(interface) {
        Ok(socket) => socket,
        Err(error) => {
            pictures.report("uplink", false, format!("no DHCP on the uplink: {error}"));
            return sleep(SOCKET_RETRY).await;
        }
    };
    let now = clock::now();
    let kept = uplink_lease::load(&pictures.paths.state, interface, socket.mac(), now);
    let identity = Identity { mac: socket.mac(), host_name: host_name.to_owned() };
    let client = Client::new(identity, seed(now), kept, now);
    Holder { pictures, interface, socket, client, lease: None }.hold().await;
}

fn seed(now: Now) -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => now.instant.as_nanos() as u64,
    }
}

struct Holder<'a> {
    pictures: &'a Pictures,
    interface: &'a str,
    socket: UplinkSocket,
    client: Client,
    lease: Option<Lease>,
}

impl Holder<'_> {
    /// Ends when the interface is gone or another one stands in its place.
    async fn hold(mut self) {
        let mut links = self.pictures.links.subscribe();
        let mut config = self.pictures.config.subscribe();
        let mut carrier = self.link(&links.borrow_and_update()).is_some_and(|link| link.carrier);
        loop {
            while let Some(output) = self.client.poll_output() {
                self.obey(output).await;
            }
            let due = self.client.poll_timeout().map(clock::deadline).unwrap_or_else(|| Instant::now() + LONGEST_SLEEP);
            tokio::select! {
                received = self.socket.receive() => match received {
                    Ok(message) => self.client.handle_message(&message, clock::now()),
                    Err(error) => {
                        // The interface went down or away; if it stays the same, its sockets are good again.
                        warn!("uplink: {error}");
                        sleep(Duration::from_secs(1)).await;
                    }
                },
                () = sleep_until(due.min(Instant::now() + LONGEST_SLEEP)) => self.client.handle_timeout(clock::now()),
                // Other networks: what could be used may not be usable now, or the other way round.
                Ok(()) = config.changed() => self.use_lease(),
                changed = links.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                    let now = match self.link(&links.borrow_and_update()) {
                        Some(link) if link.index == self.socket.index() && link.mac == Some(self.socket.mac()) => link.carrier,
                        _ => return,
                    };
                    if now && !std::mem::replace(&mut carrier, now) {
                        self.client.handle_link_up(clock::now());
                    }
                    carrier = now;
                }
            }
        }
    }

    fn link(&self, links: &Links) -> Option<Link> {
        links.by_name.get(self.interface).cloned()
    }

    async fn obey(&mut self, output: Output) {
        match output {
            Output::Send { message, source, destination } => {
                if let Err(error) = self.socket.send(&message, source, destination).await {
                    tracing::debug!("uplink: a DHCP message could not be sent to {destination}: {error}");
                }
                self.tell_search();
            }
            Output::Configure { lease, ends } => self.configure(lease, ends),
            Output::Deconfigure(reason) => self.deconfigure(reason),
        }
    }

    /// As long as there is no lease, the state is told at each message.
    fn tell_search(&self) {
        if matches!(self.client.state_name(), "INIT" | "SELECTING" | "REQUESTING" | "REBOOTING") {
            let words = format!("{} asks for an address by DHCP ({})", self.interface, self.client.state_name());
            self.pictures.report("uplink", false, words);
        }
    }

    fn configure(&mut self, lease: Lease, ends: Option<Duration>) {
        let state = &self.pictures.paths.state;
        if let Err(error) = uplink_lease::save(state, self.interface, self.socket.mac(), &lease, ends, clock::now()) {
            warn!(
                "{} cannot be written ({error}): the next start asks for any address",
                uplink_lease::path(state).display()
            );
        }
        self.lease = Some(lease);
        self.use_lease();
    }

    fn use_lease(&self) {
        let Some(lease) = &self.lease else { return };
        let (links, config) = (self.pictures.links.borrow().clone(), self.pictures.config.borrow().clone());
        let accepted = accept(lease, &config);
        let (good, words) = match &accepted {
            Ok(_) => (true, format!("{} has {} by DHCP from {}", self.interface, lease.address, lease.server)),
            Err(reason) => (false, reason.clone()),
        };
        let address = accepted.unwrap_or(UplinkAddress::Nothing);
        self.pictures.report("uplink", good, &words);
        let mut resolvers = foreign(lease.resolvers.clone(), &config, &links);
        if resolvers.is_empty() {
            resolvers = foreign(resolv_conf::resolvers(), &config, &links);
        }
        publish(self.pictures, Uplink { resolvers, state: words, address });
    }

    fn deconfigure(&mut self, reason: Reason) {
        self.lease = None;
        if matches!(reason, Reason::Refused | Reason::Conflict) {
            uplink_lease::forget(&self.pictures.paths.state);
            warn!("{}: {reason}", self.interface);
        }
        let words = format!("{}: {reason}", self.interface);
        self.pictures.report("uplink", false, &words);
        publish(self.pictures, Uplink { state: words, address: UplinkAddress::Nothing, ..Uplink::default() });
    }
}
