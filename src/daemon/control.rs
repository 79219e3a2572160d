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

use super::change::{self, Change, Outcome, Texts};
use super::pending::{self, Caller};
use super::pictures::Pictures;
use super::{plan, revisions, views};
use crate::desired::plan::Session;
use crate::desired::revision::Seat;
use crate::linux::history::How;
use crate::linux::{clock, session};

/// The longest request that is read, in octets: a whole configuration may come, with its line ends written as two.
const REQUEST_LIMIT: u64 = 16 << 20;
/// How many conversations go on at once; further ones wait.
const CONVERSATIONS: usize = 32;
/// How long a client may take to say what it wants, and we to answer.
const PATIENCE: Duration = Duration::from_secs(60);

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
    /// What a text would change.
    Plan {
        /// As in `apply`.
        text: Option<String>,
        /// The remote session of whoever asks.
        session: Option<Session>,
    },
    /// Reads the file again; answers when it is in effect or refused.
    Reload,
    /// Puts a text into effect; answers when it is or is refused.
    Apply {
        /// It stands in the place of the main file; `None`: the file as it lies there.
        text: Option<String>,
        /// How long it waits to be confirmed; `None`: as its file says.
        confirm_seconds: Option<u64>,
        /// Although it locks the administrators out.
        force: bool,
    },
    /// What waits stays.
    Confirm {
        /// From where the person speaks.
        seat: Seat,
    },
    /// What waits is taken back.
    Revert,
    /// Puts an earlier revision into effect again.
    Undo {
        /// Its number; `None`: the one before what runs.
        number: Option<u64>,
        /// As in `apply`.
        confirm_seconds: Option<u64>,
        /// As in `apply`.
        force: bool,
    },
    /// All revisions that are kept.
    History,
    /// The texts of one revision.
    Revision {
        /// Its number; `None`: what runs.
        number: Option<u64>,
    },
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

/// Who opened a connection that was just accepted.
fn caller(stream: &UnixStream) -> anyhow::Result<Caller> {
    let peer = stream.peer_cred()?;
    Ok(Caller {
        who: session::user_name(peer.uid()),
        accepted: clock::now().instant,
        seat: peer.pid().and_then(session::seat_of),
    })
}

async fn converse(stream: UnixStream, pictures: &Arc<Pictures>) -> anyhow::Result<()> {
    let caller = caller(&stream)?;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(REQUEST_LIMIT)).lines();
    while let Some(line) = lines.next_line().await? {
        let response = match serde_json::from_str(&line) {
            Ok(request) => answer(request, &caller, pictures).await,
            Err(error) => Response::Error(format!("the request is not understood: {error}")),
        };
        let mut text = serde_json::to_vec(&response)?;
        text.push(b'\n');
        write.write_all(&text).await?;
    }
    Ok(())
}

async fn answer(request: Request, caller: &Caller, pictures: &Arc<Pictures>) -> Response {
    let document = match request {
        Request::Status => document(&views::status(pictures)),
        Request::Leases => document(&views::leases(pictures)),
        Request::Hosts => document(&views::hosts(pictures)),
        Request::Rules { all } => document(&views::rules(pictures, all).await),
        Request::Forwards => document(&views::forwards(pictures).await),
        Request::Explain { from, to, proto } => {
            views::explain(pictures, &from, &to, &proto).await.and_then(|view| document(&view))
        }
        Request::Plan { text, session } => plan::ask(pictures, text, session).await.and_then(|plan| document(&plan)),
        Request::Reload => document(&wish(pictures, caller, (How::Reload, Texts::File), None, false).await),
        Request::Apply { text, confirm_seconds, force } => {
            let texts = text.map_or(Texts::File, Texts::Main);
            document(&wish(pictures, caller, (How::Apply, texts), confirm_seconds, force).await)
        }
        Request::Undo { number, confirm_seconds, force } => match revisions::to_undo(pictures, number).await {
            Ok(number) => {
                document(&wish(pictures, caller, (How::Undo, Texts::Revision(number)), confirm_seconds, force).await)
            }
            Err(error) => Err(error),
        },
        Request::Confirm { seat } => said(pending::confirm(pictures, caller, seat).await),
        Request::Revert => said(pending::revert(pictures, caller).await),
        Request::History => revisions::history(pictures).await.and_then(|view| document(&view)),
        Request::Revision { number } => revisions::texts(pictures, number).await.and_then(|view| document(&view)),
    };
    match document {
        Ok(document) => Response::Ok(document),
        Err(error) => Response::Error(format!("{error:#}")),
    }
}

async fn wish(
    pictures: &Arc<Pictures>,
    caller: &Caller,
    (how, texts): (How, Texts),
    confirm_seconds: Option<u64>,
    force: bool,
) -> Outcome {
    let confirm = confirm_seconds.map(Duration::from_secs);
    change::change(pictures, Change { texts, how, who: caller.who.clone(), confirm, force }).await
}

fn said(outcome: Result<Outcome, String>) -> anyhow::Result<Value> {
    document(&outcome.map_err(|words| anyhow::anyhow!(words))?)
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
