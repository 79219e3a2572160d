use super::*;
use crate::model::MacAddr;

type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);

fn binding(last: u8) -> Arc<Binding> {
    Arc::new(Binding {
        address: Ipv4Addr::new(192, 168, 1, last),
        client: ClientKey::from_identifier(&[1, 0x52, 0x54, 0, 0, 0, last]),
        mac: Some(MacAddr([0x52, 0x54, 0, 0, 0, last])),
        network: "lan".into(),
        host_name: last.is_multiple_of(2).then(|| format!("host-{last}").into()),
        expires: None,
        expires_unix: (last != 9).then_some(2_000_000_000),
        acknowledged_unix: 1_999_956_800,
    })
}

fn committed(store: &LeaseStore, rows: Vec<Arc<Binding>>) -> Result<(), String> {
    store.commit(rows.into_iter().map(Row::Put).collect()).blocking_recv().expect("the thread answers")
}

fn folder_with(count: u8) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let opened = LeaseStore::open(folder.path(), 5).unwrap();
    assert!(opened.bindings.is_empty() && opened.notes.is_empty(), "{:?}", opened.notes);
    committed(&opened.store, (0..count).map(binding).collect()).unwrap();
    folder
}

fn sorted(mut bindings: Vec<Binding>) -> Vec<Binding> {
    bindings.sort_by_key(|binding| binding.address);
    bindings
}

#[test]
fn what_was_committed_is_there_again() {
    let folder = folder_with(21);
    let opened = LeaseStore::open(folder.path(), 5).unwrap();
    opened.store.commit(vec![Row::Delete(binding(20).address)]).blocking_recv().unwrap().unwrap();
    drop(opened);
    let opened = LeaseStore::open(folder.path(), 5).unwrap();
    let wanted: Vec<Binding> = (0..20).map(|last| Binding::clone(&binding(last))).collect();
    assert_eq!(sorted(opened.bindings), wanted);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(folder.path().join("leases.db")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // The readable view stands.
    let connection = Connection::open(folder.path().join("leases.db")).unwrap();
    let names: i64 = connection.query_row("SELECT count(host_name) FROM readable", [], |row| row.get(0)).unwrap();
    assert_eq!(names, 10);
}

#[test]
fn commits_without_a_clean_end_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let opened = LeaseStore::open(folder.path(), 5).unwrap();
    committed(&opened.store, vec![binding(1)]).unwrap();
    // What a power cut leaves: the file and its log as they are on the disk now.
    let cut = tempfile::tempdir().unwrap();
    for name in ["leases.db", "leases.db-wal"] {
        fs::copy(folder.path().join(name), cut.path().join(name)).unwrap();
    }
    // A torn record at the end of the log is no lease, and no harm.
    use std::io::Write;
    let mut log = OpenOptions::new().append(true).open(cut.path().join("leases.db-wal")).unwrap();
    log.write_all(&[0x55; 3000]).unwrap();
    let opened = LeaseStore::open(cut.path(), 5).unwrap();
    assert_eq!(opened.bindings, [Binding::clone(&binding(1))]);
    assert!(opened.notes.is_empty(), "{:?}", opened.notes);
}

#[test]
fn damaged_files_are_kept_aside_and_the_store_goes_on() {
    let zeroes = |bytes: &mut Vec<u8>| bytes.fill(0);
    let random =
        |bytes: &mut Vec<u8>| bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = ((i * 7919) >> 3) as u8);
    let truncated = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2 + 100);
    let stub = |bytes: &mut Vec<u8>| bytes.truncate(10);
    let empty = |bytes: &mut Vec<u8>| bytes.clear();
    let nul_tail = |bytes: &mut Vec<u8>| {
        let half = bytes.len() / 2;
        bytes[half..].fill(0);
    };
    let cases: [(&str, Damage); 6] = [
        ("all NUL", &zeroes),
        ("random", &random),
        ("truncated", &truncated),
        ("ten octets", &stub),
        ("empty", &empty),
        ("NUL tail", &nul_tail),
    ];
    for (name, damage) in cases {
        let folder = folder_with(200);
        let path = folder.path().join("leases.db");
        Connection::open(&path).unwrap().pragma_update(None, "journal_mode", "DELETE").unwrap();
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let opened = LeaseStore::open(folder.path(), 77).unwrap();
        assert_eq!(opened.notes.len(), 1, "{name}: {:?}", opened.notes);
        let aside = folder.path().join("leases.db.damaged-77");
        assert!(fs::read(&aside).unwrap() == bytes, "{name}: kept as it was found");
        committed(&opened.store, vec![binding(201)]).unwrap();
        let kept = opened.bindings.len() + 1;
        drop(opened);
        let again = LeaseStore::open(folder.path(), 78).unwrap();
        assert_eq!((again.bindings.len(), again.notes.len()), (kept, 0), "{name}: {:?}", again.notes);
    }
}

#[test]
fn a_newer_file_is_refused_and_untouched() {
    let folder = folder_with(3);
    let path = folder.path().join("leases.db");
    {
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        connection.pragma_update(None, "journal_mode", "DELETE").unwrap();
    }
    let before = fs::read(&path).unwrap();
    let words = LeaseStore::open(folder.path(), 5).unwrap_err().to_string();
    assert!(words.contains("newer labgate (version 2"), "{words}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_store_that_cannot_be_written_recovers_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    // No folder at all stands for a disk that refuses: it refuses root as well.
    let opened = LeaseStore::open(&state, 5).unwrap();
    assert_eq!(opened.notes.len(), 1, "{:?}", opened.notes);
    assert!(committed(&opened.store, vec![binding(1)]).is_err());
    fs::create_dir(&state).unwrap();
    committed(&opened.store, vec![binding(2)]).unwrap();
    drop(opened);
    assert_eq!(LeaseStore::open(&state, 5).unwrap().bindings, [Binding::clone(&binding(2))]);
}
