//! The network and uplink tasks of a gateway, in the namespace of the test.

use std::sync::Arc;
use std::time::Duration;

use labgate::config::{self, Config, Source};
use labgate::daemon::pictures::Applied;
use labgate::daemon::{Paths, Pictures, network, uplink};
use labgate::model::Links;
use tokio_util::sync::CancellationToken;

/// More than anything here should take.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// Both tasks, running.
pub struct Gateway {
    pub pictures: Arc<Pictures>,
    token: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

/// Reads a configuration that must be right.
#[track_caller]
pub fn configuration(text: &str) -> Arc<Config> {
    let checked = config::check(&[Source { name: "labgate.toml".to_owned(), text: text.into() }]);
    Arc::new(checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false))))
}

/// Runs a test on a runtime whose threads are all in this namespace.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
}

impl Gateway {
    /// Starts with a state folder; the firewall counts as closed where `closed` says so.
    pub async fn start(state: &std::path::Path, text: &str, closed: bool) -> Self {
        let paths = Paths { config: state.join("labgate.toml"), state: state.to_owned(), runtime: state.to_owned() };
        let pictures = Arc::new(Pictures::new(paths, configuration(text)));
        network::first_pass(&pictures).await.expect("the first pass");
        if closed {
            close(&pictures);
        }
        let token = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(network::run(pictures.clone(), token.clone())),
            tokio::spawn(uplink::run(pictures.clone(), token.clone())),
        ];
        Gateway { pictures, token, tasks }
    }

    /// Puts another file into effect.
    pub fn edit(&self, text: &str) {
        self.pictures.config.send_replace(configuration(text));
    }

    /// Waits until the picture of the links is as wished.
    #[track_caller]
    pub fn links(&self, what: &str, wished: impl Fn(&Links) -> bool) -> impl Future<Output = ()> {
        let mut links = self.pictures.links.subscribe();
        let (what, pictures) = (what.to_owned(), self.pictures.clone());
        async move {
            let waiting = links.wait_for(|links| wished(links));
            if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
                panic!("never: {what}; links {:#?}, health {:#?}", pictures.links.borrow(), pictures.health.borrow());
            }
        }
    }

    /// Waits until a row of the health table is as wished.
    pub async fn health(&self, row: &str, good: bool, words: &str) {
        let mut health = self.pictures.health.subscribe();
        let is_so = |table: &Arc<std::collections::BTreeMap<String, labgate::daemon::pictures::Health>>| {
            table.get(row).is_some_and(|health| health.good == good && health.words.contains(words))
        };
        if tokio::time::timeout(PATIENCE, health.wait_for(is_so)).await.is_err() {
            panic!("never: {row} {good} {words}; health {:#?}", self.pictures.health.borrow());
        }
    }

    /// Ends the tasks, as SIGTERM does.
    pub async fn stop(self) {
        self.token.cancel();
        for task in self.tasks {
            tokio::time::timeout(PATIENCE, task).await.expect("an end").expect("no panic").expect("no error");
        }
    }
}

/// Says that the ruleset is in the kernel.
pub fn close(pictures: &Pictures) {
    let config = pictures.config.borrow().clone();
    pictures.applied.send_modify(|applied| *applied = Applied { config: Some(config), ..Applied::default() });
}

/// Whether a link has an address.
pub fn has(links: &Links, link: &str, address: &str) -> bool {
    links.by_name.get(link).is_some_and(|link| link.addresses.iter().any(|own| own.to_string() == address))
}
