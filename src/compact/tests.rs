//! Giving space back, without Node.

use rusqlite::Connection;

use super::*;
use crate::{
    error::Error,
    queue::{Answer, ConsumeOptions, EnqueueOptions},
    reply::wait,
    settings::{Role, Settings},
};

const MANY: i64 = 1_500;

/// A memory of which three quarters of everything were deleted, and half of the queue acknowledged.
fn shrunken() -> (tempfile::TempDir, Arc<Memory>) {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::open_here(Settings::new(folder.path())).unwrap();
    let shared = open(&folder, "claude-mem.db");
    shared
        .execute_batch(&format!(
            "INSERT INTO sdk_sessions(claude_session_id, sdk_session_id, project, started_at, started_at_epoch, status)
               VALUES ('a', 'a', 'p', '', 1, 'active');
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})
             INSERT INTO observations(sdk_session_id, project, text, type, title, narrative, created_at, created_at_epoch)
               SELECT 'a', 'p', hex(randomblob(600)), 'change', 'title number' || i, hex(randomblob(600)), '', i FROM n;
             DELETE FROM observations WHERE id % 4 <> 0"
        ))
        .unwrap();
    let queue = memory.queue().unwrap();
    for _ in 0..64 {
        let body = format!(r#"{{"tool_response":"{}"}}"#, "x".repeat(20_000));
        wait(|reply| queue.enqueue(1, body, EnqueueOptions::default(), reply)).unwrap();
    }
    let consumer = queue.consume(1, ConsumeOptions { max_batch: 32, ..ConsumeOptions::default() }).unwrap();
    let batch = wait(|reply| consumer.next(reply)).unwrap().unwrap();
    wait(|reply| batch.commit(Answer::default(), reply)).unwrap();
    consumer.dispose();
    (folder, memory)
}

fn open(folder: &tempfile::TempDir, name: &str) -> Connection {
    let db = Connection::open(folder.path().join(name)).unwrap();
    db.busy_timeout(Duration::from_secs(60)).unwrap();
    db
}

fn compacted(memory: &Arc<Memory>) -> Result<Compacted> {
    let job = start(memory, Duration::from_secs(60)).unwrap();
    wait(|reply| job.result(reply))
}

/// Every row of every table with its number; but for the ledger, in which purging the queue is noted.
fn everything(db: &Connection) -> Vec<String> {
    let tables: Vec<String> = db
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' AND name <> 'native_ledger'
               ORDER BY name",
        )
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    let mut all = Vec::new();
    for table in tables {
        let mut rows = db.prepare(&format!("SELECT * FROM \"{table}\" ORDER BY 1, 2")).unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<_> = (0..columns).map(|column| format!("{:?}", row.get_ref(column).unwrap())).collect();
            all.push(format!("{table}: {}", values.join(", ")));
        }
    }
    all
}

fn found(db: &Connection, text: &str) -> Vec<i64> {
    db.prepare("SELECT rowid FROM observations_fts WHERE observations_fts MATCH ?1 ORDER BY rowid")
        .unwrap()
        .query_map([text], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap()
}

#[test]
fn files_shrink_and_every_row_and_index_stays() {
    let (folder, memory) = shrunken();
    let shared = open(&folder, "claude-mem.db");
    let (rows, hits) = (everything(&shared), found(&shared, "number1000"));
    assert_eq!(hits, [1_000]);
    let waiting = memory.queue().unwrap().depth(Some(1));

    let report = compacted(&memory).unwrap();
    let of = |name: &str| report.files.iter().find(|file| file.name == name).unwrap();
    let (main, queue) = (of("claude-mem.db"), of("queue.db"));
    assert!(main.rewritten && !main.held_back, "{main:?}");
    assert!(main.after_bytes * 2 < main.before_bytes, "{main:?}");
    assert!(!queue.rewritten && queue.after_bytes * 3 < queue.before_bytes * 2, "{queue:?}");
    // The index may be written meanwhile: a file that has grown frees nothing.
    let freed = report.files.iter().map(|file| file.before_bytes.saturating_sub(file.after_bytes));
    assert_eq!(report.freed_bytes, freed.sum::<u64>());
    assert_eq!(std::fs::metadata(folder.path().join("claude-mem.db")).unwrap().len(), main.after_bytes);

    assert!(everything(&shared) == rows, "rows have changed");
    assert_eq!(found(&shared, "number1000"), hits);
    let checked: String = shared.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(checked, "ok");
    shared.execute_batch("INSERT INTO observations_fts(observations_fts) VALUES ('integrity-check')").unwrap();
    let report = wait(|reply| crate::integrity::check(&memory, reply)).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(memory.queue().unwrap().depth(Some(1)), waiting);
    // A number that was given is not given again.
    shared
        .execute_batch("INSERT INTO observations(sdk_session_id, project, text, type, created_at, created_at_epoch) VALUES ('a', 'p', '', 'change', '', 1)")
        .unwrap();
    assert_eq!(shared.last_insert_rowid(), MANY + 1);
    wait(|reply| memory.dispose(reply)).unwrap();
}

#[test]
fn what_has_nothing_to_give_is_not_written_anew() {
    let (folder, memory) = shrunken();
    compacted(&memory).unwrap();
    let before =
        open(&folder, "claude-mem.db").query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0)).unwrap();
    let again = compacted(&memory).unwrap();
    assert!(again.files.iter().all(|file| !file.rewritten), "{again:?}");
    let after =
        open(&folder, "claude-mem.db").query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(before, after);
    wait(|reply| memory.dispose(reply)).unwrap();
}

#[test]
fn too_little_space_is_refused_before_anything_is_changed() {
    let (folder, memory) = shrunken();
    let rows = everything(&open(&folder, "claude-mem.db"));
    let mine = Arc::clone(&memory);
    let job: Job<Progress, Compacted> =
        Job::start("test", move |control| run(&mine, Duration::from_secs(60), &|_| Ok(4_096), control)).unwrap();
    let error: Error = wait(|reply| job.result(reply)).unwrap_err();
    assert_eq!(error.code, Code::DiskFull);
    for name in ["neededBytes", "freeBytes", "path"] {
        assert!(error.details.iter().any(|(known, _)| *known == name), "{error:?}");
    }
    assert!(error.message.contains("nothing was changed"), "{error}");
    assert!(everything(&open(&folder, "claude-mem.db")) == rows, "rows have changed");
    wait(|reply| memory.dispose(reply)).unwrap();
}

#[test]
fn a_reader_goes_on_and_one_that_holds_the_log_back_is_told() {
    let (folder, memory) = shrunken();
    let reader = open(&folder, "claude-mem.db");
    let count =
        |db: &Connection| db.query_row("SELECT count(*) FROM observations", [], |row| row.get::<_, i64>(0)).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let seen = count(&reader);
    // So that the log has something that the reader does not see.
    open(&folder, "claude-mem.db").execute_batch("DELETE FROM observations WHERE id % 8 = 0").unwrap();
    let report = compacted(&memory).unwrap();
    let main = report.files.iter().find(|file| file.name == "claude-mem.db").unwrap();
    assert!(main.held_back && !main.rewritten, "{main:?}");
    assert_eq!(count(&reader), seen);
    reader.execute_batch("COMMIT").unwrap();
    // Open, and in the middle of nothing: it keeps nobody.
    let report = compacted(&memory).unwrap();
    let main = report.files.iter().find(|file| file.name == "claude-mem.db").unwrap();
    assert!(main.rewritten && !main.held_back, "{main:?}");
    assert!(count(&reader) < seen);
    wait(|reply| memory.dispose(reply)).unwrap();
}

#[test]
fn a_lock_that_somebody_holds_is_waited_for_and_then_told() {
    let (folder, memory) = shrunken();
    // Nothing of the queue is left that this lock would keep.
    compacted(&memory).unwrap();
    let hook = open(&folder, "claude-mem.db");
    hook.execute_batch("DELETE FROM observations WHERE id % 8 = 0").unwrap();
    hook.execute_batch("BEGIN IMMEDIATE").unwrap();
    let job = start(&memory, Duration::from_millis(50)).unwrap();
    let error: Error = wait(|reply| job.result(reply)).unwrap_err();
    assert_eq!(error.code, Code::Busy, "{error}");
    assert!(error.message.contains("claude-mem.db"), "{error}");
    hook.execute_batch("ROLLBACK").unwrap();
    assert!(compacted(&memory).unwrap().files.iter().any(|file| file.rewritten));
    wait(|reply| memory.dispose(reply)).unwrap();
}

#[test]
fn it_is_the_owners() {
    let (folder, memory) = shrunken();
    let client = Memory::open_here(Settings { role: Role::Client, ..Settings::new(folder.path()) }).unwrap();
    assert_eq!(start(&client, Duration::ZERO).unwrap_err().code, Code::NotOpen);
    wait(|reply| client.dispose(reply)).unwrap();
    wait(|reply| memory.dispose(reply)).unwrap();
    assert_eq!(start(&memory, Duration::ZERO).unwrap_err().code, Code::Disposed);
}
