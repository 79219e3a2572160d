//! Watches the person's files and says when their content has changed.
//!
//! Editors write in place, write aside and rename, or truncate first; Kubernetes swaps a symbolic link; Docker binds a single file. So the
//! folders are watched, links are followed, a burst is waited out, and what counts in the end is a hash of the content. A slow look at
//! size, time and number of each file finds what no event tells (network file systems, a bind mount changed from the other side).

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::Config;

/// Quiet for so long, and a burst is over.
const SETTLE: Duration = Duration::from_millis(200);
/// A burst that never ends is looked at all the same.
const LONGEST_BURST: Duration = Duration::from_secs(1);
/// How often files are looked at without an event.
const LOOK: Duration = Duration::from_secs(3);

/// Ticks each time the content of the configuration changes: the file, its fragments in `labgate.d` beside it, and the hosts files that the
/// running configuration names. Must be called inside a runtime; ends when the receiver is dropped.
pub fn watch(config: &Path, running: watch::Receiver<Arc<Config>>) -> mpsc::Receiver<()> {
    let hosts_files = move |running: &watch::Receiver<Arc<Config>>| running.borrow().dns.hosts_files.clone();
    follow(Some(config.to_owned()), running, hosts_files)
}

/// Ticks each time the content of one of `files` changes. Must be called inside a runtime; ends when the receiver is dropped.
pub fn files(files: Vec<PathBuf>) -> mpsc::Receiver<()> {
    let (_, nothing_to_follow) = watch::channel(());
    follow(None, nothing_to_follow, move |_| files.clone())
}

/// [`watch`] for a list of further files that comes from any picture.
fn follow<T, F>(config: Option<PathBuf>, mut picture: watch::Receiver<T>, further: F) -> mpsc::Receiver<()>
where
    T: Send + Sync + 'static,
    F: Fn(&watch::Receiver<T>) -> Vec<PathBuf> + Send + 'static,
{
    let (ticks, receiver) = mpsc::channel(1);
    // Taken before the task runs: an edit right after this call is a change.
    picture.mark_unchanged();
    let mut files = Files { config, further: further(&picture) };
    let mut ears = Ears::new();
    ears.listen_to(&files);
    let mut known = files.content();
    tokio::spawn(async move {
        let mut looks = files.looks();
        loop {
            tokio::select! {
                () = ticks.closed() => return,
                () = ears.news.notified() => wait_out(&ears.news).await,
                () = sleep(LOOK) => {
                    if std::mem::replace(&mut looks, files.looks()) == looks {
                        continue;
                    }
                }
                Ok(()) = picture.changed() => {
                    let further = further(&picture);
                    if further != files.further {
                        files.further = further;
                        ears.listen_to(&files);
                        // The reload that brought the new list has read the files on it.
                        let added = files.content();
                        known.retain(|file, _| added.contains_key(file));
                        for (file, hash) in added {
                            known.entry(file).or_insert(hash);
                        }
                    }
                }
            }
            ears.listen_to(&files);
            let content = files.content();
            looks = files.looks();
            if content != known {
                known = content;
                if let Err(mpsc::error::TrySendError::Closed(())) = ticks.try_send(()) {
                    return;
                }
            }
        }
    });
    receiver
}

/// Waits until no news has come for a while.
async fn wait_out(news: &Notify) {
    let end = Instant::now() + LONGEST_BURST;
    while timeout_at((Instant::now() + SETTLE).min(end), news.notified()).await.is_ok() {}
}

struct Files {
    config: Option<PathBuf>,
    further: Vec<PathBuf>,
}

/// Inode, size and time of change.
type Look = Option<(u64, u64, i64, i64)>;

impl Files {
    fn fragments(&self) -> Option<PathBuf> {
        Some(self.config.as_ref()?.parent().unwrap_or(Path::new(".")).join("labgate.d"))
    }

    /// All files that are there or should be.
    fn all(&self) -> BTreeSet<PathBuf> {
        let mut all: BTreeSet<PathBuf> = self.further.iter().cloned().collect();
        all.extend(self.config.clone());
        if let Some(Ok(entries)) = self.fragments().map(std::fs::read_dir) {
            let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
            all.extend(paths.filter(|path| path.extension().is_some_and(|ending| ending == "toml")));
        }
        all
    }

    /// A hash of each file's content; `None` where it cannot be read.
    fn content(&self) -> BTreeMap<PathBuf, Option<u64>> {
        self.all().into_iter().map(|path| (path.clone(), hash(&path))).collect()
    }

    fn looks(&self) -> BTreeMap<PathBuf, Look> {
        let look = |path: &Path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
        };
        self.all().into_iter().map(|path| (path.clone(), look(&path))).collect()
    }

    /// Where events are to be heard: each file, its folder, and the same behind symbolic links.
    fn places(&self) -> BTreeSet<PathBuf> {
        let mut places = BTreeSet::from_iter(self.fragments());
        for file in self.all() {
            for path in [file.canonicalize().ok(), Some(file)].into_iter().flatten() {
                places.extend(
                    path.parent()
                        .map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder }.to_owned()),
                );
                places.insert(path);
            }
        }
        places
    }
}

/// Reads piece by piece: a hosts file may be large.
fn hash(path: &Path) -> Option<u64> {
    let mut file = std::fs::File::open(path).ok()?;
    let (mut hasher, mut piece) = (DefaultHasher::new(), [0; 16 * 1024]);
    loop {
        match file.read(&mut piece).ok()? {
            0 => return Some(hasher.finish()),
            length => hasher.write(&piece[..length]),
        }
    }
}

/// What hears events. Where inotify is not to be had, the slow look remains.
struct Ears {
    watcher: Option<RecommendedWatcher>,
    places: BTreeMap<PathBuf, Option<u64>>,
    news: Arc<Notify>,
}

impl Ears {
    fn new() -> Self {
        let news = Arc::new(Notify::new());
        let heard = news.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading must not wake us.
            let reading = |kind: AccessKind| kind != AccessKind::Close(AccessMode::Write);
            if !matches!(event, Ok(notify::Event { kind: EventKind::Access(kind), .. }) if reading(kind)) {
                heard.notify_one();
            }
        });
        if let Err(error) = &watcher {
            tracing::warn!(
                "files are looked at every {} s only, because the kernel gives no inotify: {error}",
                LOOK.as_secs()
            );
        }
        Ears { watcher: watcher.ok(), places: BTreeMap::new(), news }
    }

    /// Listens to the places of `files`; one whose inode is another than before is listened to anew.
    fn listen_to(&mut self, files: &Files) {
        let Some(watcher) = &mut self.watcher else { return };
        let inode = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.ino());
        let wanted: BTreeMap<PathBuf, Option<u64>> =
            files.places().into_iter().map(|path| (path.clone(), inode(&path))).collect();
        for (old, was) in &self.places {
            if wanted.get(old) != Some(was) {
                let _ = watcher.unwatch(old);
            }
        }
        for (new, is) in &wanted {
            if self.places.get(new) != Some(is) && is.is_some() {
                let _ = watcher.watch(new, RecursiveMode::NonRecursive);
            }
        }
        self.places = wanted;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    struct Watched {
        folder: tempfile::TempDir,
        picture: watch::Sender<Vec<PathBuf>>,
        ticks: mpsc::Receiver<()>,
    }

    impl Watched {
        /// A watched `labgate.toml` in a folder that `prepare` has filled.
        fn new(prepare: impl FnOnce(&Path)) -> Self {
            let folder = tempfile::tempdir().unwrap();
            prepare(folder.path());
            let (picture, receiver) = watch::channel(Vec::new());
            let ticks = follow(Some(folder.path().join("labgate.toml")), receiver, |picture| picture.borrow().clone());
            Watched { folder, picture, ticks }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        async fn tick(&mut self) {
            let tick = tokio::time::timeout(Duration::from_secs(10), self.ticks.recv()).await;
            assert_eq!(tick.expect("a tick"), Some(()));
        }

        /// Nothing ticks for what was just done: the next real change gives one tick, not two.
        async fn nothing_but(&mut self, change: impl FnOnce(&Path)) {
            sleep_for_a_settle().await;
            assert!(self.ticks.try_recv().is_err());
            change(self.folder.path());
            self.tick().await;
        }
    }

    /// The one wait that cannot be an event: that nothing happens.
    async fn sleep_for_a_settle() {
        sleep(SETTLE * 3).await;
    }

    fn plain(folder: &Path) {
        fs::write(folder.join("labgate.toml"), "a").unwrap();
    }

    #[tokio::test]
    async fn written_in_place_and_truncated_first() {
        let mut watched = Watched::new(plain);
        fs::write(watched.path("labgate.toml"), "b").unwrap();
        watched.tick().await;
        // Touched, or written with what was there: no change.
        fs::write(watched.path("labgate.toml"), "b").unwrap();
        watched.nothing_but(|folder| fs::write(folder.join("labgate.toml"), "c").unwrap()).await;
    }

    #[tokio::test]
    async fn written_aside_and_renamed_again_and_again() {
        let mut watched = Watched::new(plain);
        for text in ["b", "c", "d"] {
            fs::write(watched.path(".labgate.toml.swp"), text).unwrap();
            fs::rename(watched.path(".labgate.toml.swp"), watched.path("labgate.toml")).unwrap();
            watched.tick().await;
        }
        // Vim keeps the old one aside first; a backup file itself is nothing.
        fs::rename(watched.path("labgate.toml"), watched.path("labgate.toml~")).unwrap();
        fs::write(watched.path("labgate.toml"), "e").unwrap();
        watched.tick().await;
        fs::write(watched.path("labgate.toml~"), "x").unwrap();
        watched.nothing_but(|folder| fs::write(folder.join("labgate.toml"), "f").unwrap()).await;
    }

    #[tokio::test]
    async fn a_hundred_saves_are_few_ticks() {
        let mut watched = Watched::new(plain);
        for number in 0..100 {
            fs::write(watched.path("labgate.toml"), number.to_string()).unwrap();
        }
        watched.tick().await;
        sleep_for_a_settle().await;
        assert!(watched.ticks.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_symbolic_link_is_swapped_or_its_target_changes() {
        let mut watched = Watched::new(|folder| {
            fs::create_dir(folder.join("..1")).unwrap();
            fs::create_dir(folder.join("..2")).unwrap();
            fs::write(folder.join("..1/labgate.toml"), "a").unwrap();
            fs::write(folder.join("..2/labgate.toml"), "b").unwrap();
            symlink("..1", folder.join("..data")).unwrap();
            symlink("..data/labgate.toml", folder.join("labgate.toml")).unwrap();
        });
        symlink("..2", watched.path("..new")).unwrap();
        fs::rename(watched.path("..new"), watched.path("..data")).unwrap();
        watched.tick().await;
        fs::write(watched.path("..2/labgate.toml"), "c").unwrap();
        watched.tick().await;
    }

    /// As Docker binds a single file: the inode is shared, the folder is not.
    #[tokio::test]
    async fn written_through_another_folder() {
        let elsewhere = tempfile::tempdir().unwrap();
        let original = elsewhere.path().join("labgate.toml");
        fs::write(&original, "a").unwrap();
        let mut watched = Watched::new(|folder| fs::hard_link(&original, folder.join("labgate.toml")).unwrap());
        fs::write(&original, "b").unwrap();
        watched.tick().await;
    }

    #[tokio::test]
    async fn deleted_and_back() {
        let mut watched = Watched::new(plain);
        fs::remove_file(watched.path("labgate.toml")).unwrap();
        watched.tick().await;
        plain(watched.folder.path());
        watched.tick().await;
        fs::write(watched.path("labgate.toml"), "b").unwrap();
        watched.tick().await;
    }

    #[tokio::test]
    async fn fragments_come_and_change_and_go() {
        let mut watched = Watched::new(plain);
        fs::create_dir(watched.path("labgate.d")).unwrap();
        fs::write(watched.path("labgate.d/10-iot.toml"), "x").unwrap();
        watched.tick().await;
        fs::write(watched.path("labgate.d/10-iot.toml"), "y").unwrap();
        watched.tick().await;
        fs::write(watched.path("labgate.d/README"), "not ours").unwrap();
        watched.nothing_but(|folder| fs::remove_file(folder.join("labgate.d/10-iot.toml")).unwrap()).await;
    }

    #[tokio::test]
    async fn hosts_files_follow_the_running_configuration() {
        let mut watched = Watched::new(plain);
        let elsewhere = tempfile::tempdir().unwrap();
        let hosts = elsewhere.path().join("hosts");
        fs::write(&hosts, "192.168.1.10 nas").unwrap();
        watched.picture.send_replace(vec![hosts.clone()]);
        watched.nothing_but(|_| fs::write(&hosts, "192.168.1.11 nas").unwrap()).await;
        watched.picture.send_replace(Vec::new());
        sleep_for_a_settle().await;
        fs::write(&hosts, "192.168.1.12 nas").unwrap();
        watched.nothing_but(plain_with_b).await;
    }

    fn plain_with_b(folder: &Path) {
        fs::write(folder.join("labgate.toml"), "b").unwrap();
    }

    #[tokio::test]
    async fn it_ends_with_its_receiver() {
        let watched = Watched::new(plain);
        drop(watched.ticks);
        // The task lets go of the picture when it ends.
        tokio::time::timeout(Duration::from_secs(5), watched.picture.closed()).await.unwrap();
    }
}
