//! A backup and its way back, without Node.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    Progress, copy,
    files::FILES,
    manifest::{MANIFEST, Manifest},
    restore::{self, RestoreOptions, Restored},
};
use crate::{
    db::layout::Layout,
    error::{Code, Result},
    job::Job,
    memory::Memory,
    parts::{Part, Parts},
    queue::{EnqueueOptions, Enqueued},
    reply::wait,
    settings::{Role, Settings},
};

struct Data {
    root: TempDir,
    layout: Layout,
}

impl Data {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path().join("data"));
        Self { root, layout }
    }

    fn open(&self) -> std::sync::Arc<Memory> {
        let memory = Memory::open_here(Settings::new(&self.layout.data_dir)).unwrap();
        let insert = "INSERT OR IGNORE INTO sdk_sessions(id, claude_session_id, project, started_at, started_at_epoch)
                      VALUES (1, 'claude', 'project', '', 0)";
        wait(|reply| {
            let run = move |db: &Connection| Ok(db.execute(insert, [])?);
            memory.writer().unwrap().call("test", memory.deadline(None), run, reply);
        })
        .unwrap();
        memory
    }

    fn backup(&self, name: &str) -> std::path::PathBuf {
        let (layout, folder) = (self.layout.clone(), self.root.path().join(name));
        let to = folder.clone();
        end(Job::start("test", move |control| copy::run(&layout, Parts::default(), &to, control))).unwrap();
        folder
    }

    fn restore(&self, folder: &Path, overwrite: bool, only: &[&'static str]) -> Result<Restored> {
        let (layout, folder) = (self.layout.clone(), folder.to_owned());
        let only: BTreeSet<_> = only.iter().copied().collect();
        let options = RestoreOptions { overwrite, only, lock_wait: Duration::ZERO };
        end(Job::start("test", move |control| restore::run(&folder, &layout, &options, control)))
    }
}

fn end<R: Clone + Send + 'static>(job: Result<Job<Progress, R>>) -> Result<R> {
    let job = job?;
    wait(|reply| job.result(reply))
}

fn put(memory: &Memory) -> Enqueued {
    let options = EnqueueOptions::default();
    wait(|reply| memory.queue().unwrap().enqueue(1, r#"{"type":"observation"}"#.to_owned(), options, reply)).unwrap()
}

fn acknowledge(memory: &Memory, upto: i64) {
    let sql = format!(
        "INSERT INTO native_ack(session_id, claude_session_id, upto) VALUES (1, 'claude', {upto})
         ON CONFLICT DO UPDATE SET upto = excluded.upto"
    );
    wait(|reply| {
        let run = move |db: &Connection| Ok(db.execute(&sql, [])?);
        memory.writer().unwrap().call("test", memory.deadline(None), run, reply);
    })
    .unwrap();
}

fn close(memory: &std::sync::Arc<Memory>) {
    wait(|reply| memory.dispose(reply)).unwrap();
}

#[test]
fn what_comes_back_is_what_was_there_and_either_file_alone_swallows_nothing() {
    let data = Data::new();
    let memory = data.open();
    put(&memory);
    let early = data.backup("early");
    let manifest = Manifest::read(&early).unwrap();
    assert_eq!(manifest.files.iter().map(|entry| entry.file.name).collect::<Vec<_>>(), ["queue.db", "claude-mem.db"]);
    assert!(manifest.files[0].rows.contains(&("messages".into(), 1)));
    let later = put(&memory).id;
    acknowledge(&memory, later);
    let late = data.backup("late");
    close(&memory);
    assert_eq!(data.restore(&early, false, &[]).unwrap_err().code, Code::InvalidArg, "files are there");

    // (which backup, which files, what waits then)
    for (folder, only, depth) in [
        (&early, &["queue.db"][..], 0),      // its message was acknowledged since
        (&early, &["claude-mem.db"][..], 2), // the older database does not know that; one came since
        (&late, &["queue.db"][..], 2),
        (&late, &[][..], 0),
        (&early, &[][..], 1),
    ] {
        data.restore(folder, true, only).unwrap();
        let memory = data.open();
        assert_eq!(memory.queue().unwrap().depth(Some(1)), depth, "{} {only:?}", folder.display());
        let fresh = put(&memory);
        assert!(
            fresh.id > 1 && memory.queue().unwrap().depth(Some(1)) == depth + 1,
            "a new message is never swallowed"
        );
        close(&memory);
        // Also not after a restart, when depth is counted from the rows above the watermark.
        let memory = data.open();
        assert_eq!(memory.queue().unwrap().depth(Some(1)), depth + 1);
        close(&memory);
    }
}

#[test]
fn a_damaged_backup_changes_nothing_and_is_named() {
    let data = Data::new();
    let memory = data.open();
    let folder = data.backup("backup");
    close(&memory);
    let before = fs::read(data.layout.database()).unwrap();
    let file = folder.join("claude-mem.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = data.restore(&folder, true, &[]).unwrap_err();
    assert_eq!(error.code, Code::Corrupt);
    assert!(error.message.contains("claude-mem.db") && error.message.contains("SHA-256"), "{error}");
    fs::remove_file(&file).unwrap();
    assert_eq!(data.restore(&folder, true, &[]).unwrap_err().code, Code::Corrupt, "missing");
    assert_eq!(fs::read(data.layout.database()).unwrap(), before);
    assert!(!data.layout.database().with_file_name("claude-mem.db.before-restore").exists());
    fs::write(folder.join(MANIFEST), "{").unwrap();
    assert_eq!(data.restore(&folder, true, &[]).unwrap_err().code, Code::Corrupt);
    fs::write(folder.join(MANIFEST), r#"{"format": 99}"#).unwrap();
    assert_eq!(data.restore(&folder, true, &[]).unwrap_err().code, Code::SchemaUnsupported);
    fs::remove_file(folder.join(MANIFEST)).unwrap();
    assert_eq!(data.restore(&folder, true, &[]).unwrap_err().code, Code::NotFound);
}

#[test]
fn stale_logs_go_and_what_was_there_is_kept_whole() {
    let data = Data::new();
    let memory = data.open();
    let folder = data.backup("backup");
    put(&memory);
    close(&memory);
    // A database that was killed: its last commit lies in the log alone.
    let db = Connection::open(data.layout.database()).unwrap();
    db.execute_batch("PRAGMA wal_autocheckpoint=0; UPDATE sdk_sessions SET project = 'in the log'").unwrap();
    let log = data.layout.database().with_file_name("claude-mem.db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    assert_eq!(data.restore(&folder, true, &[]).unwrap_err().code, Code::Locked, "somebody has it open");
    let copy = fs::read(&log).unwrap();
    let file = fs::read(data.layout.database()).unwrap();
    drop(db);
    fs::write(data.layout.database(), file).unwrap();
    fs::write(&log, copy).unwrap();
    let restored = data.restore(&folder, true, &[]).unwrap();
    let kept = restored.files[1].kept_as.clone().unwrap();
    let old: String =
        Connection::open(&kept).unwrap().query_row("SELECT project FROM sdk_sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(old, "in the log");
    assert!(!log.exists());
    // Repeated: what is there already is left alone, and what was kept is not replaced by it.
    let again = data.restore(&folder, false, &[]).unwrap();
    assert!(again.files.iter().all(|file| file.kept_as.is_none()));
    assert!(Path::new(&kept).exists());
    // A file that is no database gives way as it is.
    fs::write(data.layout.database(), "no database at all, but long enough to have a header".repeat(50)).unwrap();
    data.restore(&folder, true, &[]).unwrap();
    close(&data.open());
}

#[test]
fn a_folder_with_something_in_it_is_left_alone_and_a_leftover_is_not() {
    let data = Data::new();
    let memory = data.open();
    let folder = data.root.path().join("backup");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("mine.txt"), "mine").unwrap();
    let (layout, to) = (data.layout.clone(), folder.clone());
    let refused =
        end(Job::start("test", move |control| copy::run(&layout, Parts::default(), &to, control))).unwrap_err();
    assert_eq!(refused.code, Code::InvalidArg);
    assert_eq!(fs::read(folder.join("mine.txt")).unwrap(), b"mine");
    fs::remove_file(folder.join("mine.txt")).unwrap();
    fs::write(folder.join("queue.db.partial"), "of a backup that was killed").unwrap();
    data.backup("backup");
    let names: BTreeSet<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let expected: BTreeSet<_> = FILES
        .iter()
        // It is made with the first collection.
        .filter(|file| file.part != Part::Vectors)
        .map(|file| file.name)
        .chain([MANIFEST])
        .map(Into::into)
        .collect();
    assert_eq!(names, expected);
    close(&memory);
}

#[test]
fn a_client_of_this_process_keeps_a_restore_out_until_it_is_closed() {
    let data = Data::new();
    close(&data.open());
    let folder = data.backup("backup");
    for part in ["store", "queue"] {
        let only: &[_] = if part == "store" { &["claude-mem.db"] } else { &["queue.db"] };
        let settings = Settings { role: Role::Client, ..Settings::new(&data.layout.data_dir) };
        let client = Memory::open_here(settings).unwrap();
        // Nothing was read through it: what counts is that it may open the file at any time.
        let error = data.restore(&folder, true, only).unwrap_err();
        assert_eq!(error.code, Code::Locked, "{part}: {error:?}");
        assert!(error.message.contains("of this process"), "{}", error.message);
        close(&client);
        drop(client);
        data.restore(&folder, true, only).unwrap();
    }
}
