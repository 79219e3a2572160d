//! Durable leases: one SQLite file that any SQLite shell opens, one thread that writes it.
//!
//! Commits that wait while another is written share the next one (group commit), and each is on the disk (WAL, `synchronous=FULL`) before
//! it is reported. A file that cannot be read is kept aside, what can be saved of it is saved, and the store starts anew; a file of a newer
//! version is left untouched and refused.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;

use rusqlite::{Connection, OpenFlags, params};
use tokio::sync::oneshot;

use crate::model::{Binding, ClientKey, UnixSeconds};

/// The version of the table's form.
const VERSION: u32 = 1;
/// Commits that share one write to the disk.
const GROUP: usize = 256;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS lease (
    address           TEXT PRIMARY KEY,
    client            TEXT NOT NULL,     -- 00: and the client identifier, or 01: and hardware type and address
    mac               TEXT,
    network           TEXT NOT NULL,
    host_name         TEXT,
    expires_unix      INTEGER,           -- NULL: no end; in the past: the address is kept for this client until another needs it
    acknowledged_unix INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE VIEW IF NOT EXISTS readable AS
    SELECT address, mac, host_name, network,
           datetime(expires_unix, 'unixepoch', 'localtime') AS expires,
           datetime(acknowledged_unix, 'unixepoch', 'localtime') AS acknowledged
    FROM lease ORDER BY network, address;
PRAGMA user_version = 1;
";

const PUT: &str = "INSERT OR REPLACE INTO lease VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// Why a store cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Written by a newer labgate.
    #[error(
        "{path} was written by a newer labgate (version {version}, this one knows {VERSION}); it is left untouched: run the newer labgate, or move the file away"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// No thread could be started.
    #[error("the thread that writes leases could not be started")]
    Thread(#[from] io::Error),
}

/// A store that was opened, and what it held.
#[derive(Debug)]
pub struct Opened {
    /// Where leases are written.
    pub store: LeaseStore,
    /// All leases of the file, those that are over included. [`Binding::expires`] is not known to the store and `None`.
    pub bindings: Vec<Binding>,
    /// What an administrator should know about the file.
    pub notes: Vec<String>,
}

/// One change of the table.
#[derive(Clone, Debug)]
pub enum Row {
    /// A lease as it is now.
    Put(Arc<Binding>),
    /// Nothing is known of the address any more.
    Delete(Ipv4Addr),
}

impl Row {
    /// The address it is about.
    pub fn address(&self) -> Ipv4Addr {
        match self {
            Row::Put(binding) => binding.address,
            Row::Delete(address) => *address,
        }
    }
}

struct Commit {
    rows: Vec<Row>,
    done: oneshot::Sender<Result<(), String>>,
}

/// Where leases are written. Dropping it waits for the commits under way.
#[derive(Debug)]
pub struct LeaseStore {
    commits: Option<mpsc::Sender<Commit>>,
    writer: Option<thread::JoinHandle<()>>,
}

impl Drop for LeaseStore {
    fn drop(&mut self) {
        self.commits = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl LeaseStore {
    /// Opens `leases.db` in the state folder; a store that cannot be written now is opened all the same and tries again at every commit.
    ///
    /// # Errors
    /// [`StoreError`]: the file is of a newer version, or there is no thread.
    pub fn open(state: &Path, now: UnixSeconds) -> Result<Opened, StoreError> {
        let path = state.join("leases.db");
        if let Some(version) = version_on_disk(&path).filter(|version| *version > VERSION) {
            return Err(StoreError::Newer { path, version });
        }
        let mut notes = Vec::new();
        let (connection, bindings) = load(&path, now, &mut notes)?;
        let (commits, queue) = mpsc::channel();
        let writer = thread::Builder::new()
            .name("leases".into())
            .spawn(move || write_until_closed(&path, connection, &queue))?;
        let store = LeaseStore { commits: Some(commits), writer: Some(writer) };
        Ok(Opened { store, bindings, notes })
    }

    /// Writes leases; the receiver hears when they are on the disk, or in words why they are not. Commits end in the order they began.
    pub fn commit(&self, rows: Vec<Row>) -> oneshot::Receiver<Result<(), String>> {
        let (done, receiver) = oneshot::channel();
        // A thread that is gone drops `done`, which the receiver hears.
        let _ = self.commits.as_ref().map(|commits| commits.send(Commit { rows, done }));
        receiver
    }
}

/// The leases of a store as they can be read without touching it; whoever serves opens it and says what is wrong with it.
pub fn peek(state: &Path) -> Vec<Binding> {
    salvage(&state.join("leases.db"))
}

/// The version in the file's header, read without opening it as a database.
fn version_on_disk(path: &Path) -> Option<u32> {
    use std::io::Read;
    let mut header = [0; 100];
    fs::File::open(path).ok()?.read_exact(&mut header).ok()?;
    let version = u32::from_be_bytes([header[60], header[61], header[62], header[63]]);
    header.starts_with(b"SQLite format 3\0").then_some(version)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // SQLite gives its other files the mode of this one.
    let _ = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(std::time::Duration::from_secs(2))?;
    Ok(connection)
}

fn connect_whole(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            Some(verdict),
        ));
    }
    // Only now is anything written: a damaged file is kept as it was found.
    // Leases lie scattered: with small pages a commit writes less. It counts for new files only.
    connection.pragma_update(None, "page_size", 1024)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // 8 MiB of log before it is folded in: what a flood writes again and again is folded in once.
    connection.pragma_update(None, "wal_autocheckpoint", 8192)?;
    // 2 MiB of pages are plenty for any home.
    connection.pragma_update(None, "cache_size", -2048)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Whether the file itself is bad, rather than the disk, the folder or its rights.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, Unknown};
    match error {
        // "no such column" and the like: a table of another form under our name.
        rusqlite::Error::SqliteFailure(error, _) => matches!(error.code, DatabaseCorrupt | NotADatabase | Unknown),
        rusqlite::Error::SqlInputError { .. } | rusqlite::Error::InvalidColumnType(..) => true,
        _ => false,
    }
}

/// Opens the file and reads it, whatever state it is in.
fn load(
    path: &Path,
    now: UnixSeconds,
    notes: &mut Vec<String>,
) -> Result<(Option<Connection>, Vec<Binding>), StoreError> {
    let shown = path.display();
    let emptied = fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() == 0);
    let read = if emptied {
        Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            Some("the file is empty".into()),
        ))
    } else {
        connect_whole(path).and_then(|connection| {
            let rows = read_all(&connection, false)?;
            Ok((connection, rows))
        })
    };
    match read {
        Ok((connection, (rows, skipped))) => {
            if skipped > 0 {
                notes.push(format!("{shown}: {skipped} rows are no leases and were passed over"));
            }
            Ok((Some(connection), rows))
        }
        Err(error) if is_damage(&error) => {
            let saved = if emptied { Vec::new() } else { salvage(path) };
            let kept = set_aside(path, now);
            let aside = match &kept {
                Ok(name) => format!("kept as {}", name.display()),
                Err(error) => format!("and it cannot be moved away ({error})"),
            };
            notes.push(format!("{shown} is damaged ({error}); {aside}; {} leases could be saved", saved.len()));
            let mut connection = connect_whole(path).ok();
            let rows: Vec<Row> = saved.iter().cloned().map(|binding| Row::Put(Arc::new(binding))).collect();
            if let Some(Err(error)) = connection.as_mut().map(|connection| put(connection, &mut rows.iter())) {
                notes.push(format!("{shown} cannot be written: {error}"));
            }
            Ok((connection, saved))
        }
        Err(error) => {
            let saved = salvage(path);
            notes.push(format!("{shown} cannot be opened for writing ({error}); {} leases were read", saved.len()));
            Ok((None, saved))
        }
    }
}

/// What can be read of a file that cannot be trusted or written.
fn salvage(path: &Path) -> Vec<Binding> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    // A log beside a file on a disk that cannot be written can only be left out.
    let unchanging = format!("file:{}?immutable=1", path.display());
    [path.to_path_buf(), PathBuf::from(unchanging)]
        .iter()
        .filter_map(|name| Connection::open_with_flags(name, flags).ok())
        .find_map(|connection| read_all(&connection, true).ok().map(|(rows, _)| rows).filter(|rows| !rows.is_empty()))
        .unwrap_or_default()
}

/// Moves the file and its log away.
fn set_aside(path: &Path, now: UnixSeconds) -> io::Result<PathBuf> {
    let mut kept = PathBuf::from(format!("{}.damaged-{now}", path.display()));
    let mut number = 1;
    while kept.exists() {
        number += 1;
        kept = PathBuf::from(format!("{}.damaged-{now}-{number}", path.display()));
    }
    fs::rename(path, &kept)?;
    for suffix in ["-wal", "-shm"] {
        let side = format!("{}{suffix}", path.display());
        if Path::new(&side).exists() {
            fs::rename(&side, format!("{}{suffix}", kept.display()))?;
        }
    }
    Ok(kept)
}

fn read_all(connection: &Connection, leniently: bool) -> rusqlite::Result<(Vec<Binding>, usize)> {
    let mut query = connection
        .prepare("SELECT address, client, mac, network, host_name, expires_unix, acknowledged_unix FROM lease")?;
    let (mut bindings, mut skipped) = (Vec::new(), 0);
    let mut rows = query.query([])?;
    let mut networks: Vec<Arc<str>> = Vec::new();
    loop {
        match rows.next() {
            Ok(Some(row)) => match read_row(row, &mut networks) {
                Some(binding) => bindings.push(binding),
                None => skipped += 1,
            },
            Ok(None) => return Ok((bindings, skipped)),
            Err(_) if leniently => return Ok((bindings, skipped)),
            Err(error) => return Err(error),
        }
    }
}

fn read_row(row: &rusqlite::Row<'_>, networks: &mut Vec<Arc<str>>) -> Option<Binding> {
    let network: String = row.get(3).ok()?;
    let network = match networks.iter().find(|known| ***known == *network) {
        Some(known) => known.clone(),
        None => {
            networks.push(network.into());
            networks.last()?.clone()
        }
    };
    let seconds =
        |index| row.get::<_, Option<i64>>(index).ok()?.and_then(|seconds| UnixSeconds::try_from(seconds).ok());
    Some(Binding {
        address: row.get::<_, String>(0).ok()?.parse().ok()?,
        client: ClientKey::from_bytes(&from_hexadecimal(&row.get::<_, String>(1).ok()?)?),
        mac: row.get::<_, Option<String>>(2).ok()?.and_then(|mac| mac.parse().ok()),
        network,
        host_name: row.get::<_, Option<String>>(4).ok()?.map(Into::into),
        expires: None,
        expires_unix: seconds(5),
        acknowledged_unix: seconds(6)?,
    })
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    text.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect()
}

fn put(connection: &mut Connection, rows: &mut dyn Iterator<Item = &Row>) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut put = transaction.prepare_cached(PUT)?;
        let mut delete = transaction.prepare_cached("DELETE FROM lease WHERE address = ?1")?;
        for row in rows {
            let binding = match row {
                Row::Put(binding) => binding,
                Row::Delete(address) => {
                    delete.execute([address.to_string()])?;
                    continue;
                }
            };
            put.execute(params![
                binding.address.to_string(),
                format!("{:?}", binding.client),
                binding.mac.map(|mac| mac.to_string()),
                &*binding.network,
                binding.host_name.as_deref(),
                binding.expires_unix.map(|seconds| seconds as i64),
                binding.acknowledged_unix as i64,
            ])?;
        }
    }
    transaction.commit()
}

fn write_until_closed(path: &Path, mut connection: Option<Connection>, queue: &mpsc::Receiver<Commit>) {
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        group.extend(queue.try_iter().take(GROUP - 1));
        let result = write(path, &mut connection, &group).map_err(|error| {
            // The next commit opens the file anew: whatever happened to it may be over.
            connection = None;
            error.to_string()
        });
        for commit in group {
            let _ = commit.done.send(result.clone());
        }
    }
}

fn write(path: &Path, connection: &mut Option<Connection>, group: &[Commit]) -> rusqlite::Result<()> {
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(connect_whole(path)?),
    };
    put(connection, &mut group.iter().flat_map(|commit| &commit.rows))
}

#[cfg(test)]
#[path = "lease_store_tests.rs"]
mod tests;
