//! The control socket: one line of JSON in, one line of JSON out, over `control.sock` in the runtime folder.
//! Whoever may open the socket may speak: it belongs to the daemon's user and group, mode 0660.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::pictures::Pictures;
use super::{reload, views};

/// The longest request that is read, in octets.
const REQUEST_LIMIT: u64 = 64 * 1024;
/// How many conversations go on at once; further ones wait.
const CONVERSATIONS: usize = 32;
/// How long a client may take to say what it wants, and we to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What can be asked of a running daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Request {
    /// How everything is.
    Status,
    /// All live leases.
    Leases,
    /// Every device that is configured, leased to or seen.
    Hosts,
    /// Rules with their counters.
    Rules {
        /// Also those that hold with nothing written.
        #[serde(default)]
        all: bool,
    },
    /// Port forwards with their counters.
    Forwards,
    /// The way of one packet through the running policy.
    Explain {
        /// Host, network, address, `internet` or `router`.
        from: String,
        /// The same, with `:port`.
        to: String,
        /// `tcp`, `udp`, `icmp`.
        proto: String,
    },
    /// Reads the file again; answers when it is in effect or refused.
    Reload,
}

/// The answer: a document, or an error in words.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// The document that was asked for.
    Ok(Value),
    /// What went wrong.
    Error(String),
}

/// Where the socket of an instance is.
pub fn socket_path(runtime: &Path) -> PathBuf {
    runtime.join("control.sock")
}

/// Opens the socket. A left-over of a process that is gone is replaced; the caller holds the instance's lock.
///
/// # Errors
/// Where the socket cannot be made.
pub fn listen(runtime: &Path) -> anyhow::Result<UnixListener> {
    let path = socket_path(runtime);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove the old {}", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Answers until the token ends.
///
/// # Errors
/// Never by itself: a conversation that fails concerns only its client.
pub async fn run(listener: UnixListener, pictures: Arc<Pictures>, token: CancellationToken) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(CONVERSATIONS));
    loop {
        let place = places.clone().acquire_owned().await?;
        let stream = tokio::select! {
            () = token.cancelled() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let pictures = pictures.clone();
        tokio::spawn(async move {
            let _ = tokio::time::timeout(PATIENCE, converse(stream, &pictures)).await;
            drop(place);
        });
    }
}

async fn converse(stream: UnixStream, pictures: &Arc<Pictures>) -> anyhow::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(REQUEST_LIMIT)).lines();
    while let Some(line) = lines.next_line().await? {
        let response = match serde_json::from_str(&line) {
            Ok(request) => answer(request, pictures).await,
            Err(error) => Response::Error(format!("the request is not understood: {error}")),
        };
        let mut text = serde_json::to_vec(&response)?;
        text.push(b'\n');
        write.write_all(&text).await?;
    }
    Ok(())
}

async fn answer(request: Request, pictures: &Arc<Pictures>) -> Response {
    let document = match request {
        Request::Status => document(&views::status(pictures)),
        Request::Leases => document(&views::leases(pictures)),
        Request::Hosts => document(&views::hosts(pictures)),
        Request::Rules { all } => document(&views::rules(pictures, all).await),
        Request::Forwards => document(&views::forwards(pictures).await),
        Request::Explain { from, to, proto } => {
            views::explain(pictures, &from, &to, &proto).await.and_then(|view| document(&view))
        }
        Request::Reload => document(&reload::reload(pictures).await),
    };
    match document {
        Ok(document) => Response::Ok(document),
        Err(error) => Response::Error(format!("{error:#}")),
    }
}

fn document(view: &impl Serialize) -> anyhow::Result<Value> {
    Ok(serde_json::to_value(view)?)
}

/// Asks a running daemon.
///
/// # Errors
/// Where no daemon answers, with the words that help; and what the daemon itself says of the request.
pub async fn ask(runtime: &Path, request: &Request) -> anyhow::Result<Value> {
    let path = socket_path(runtime);
    let mut stream = UnixStream::connect(&path).await.with_context(|| {
        format!(
            "no gateway answers at {}; is `labgate run` (or labgate.service) running, and may you open the socket?",
            path.display()
        )
    })?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text).await?;
    match serde_json::from_str(&text).context("the gateway closed the conversation without an answer")? {
        Response::Ok(document) => Ok(document),
        Response::Error(words) => Err(anyhow::anyhow!(words)),
    }
}
