//! What is on the disk when: by the COMMITs and fsyncs of both writers, in their order.

use super::*;
use crate::{
    db::Durability,
    fault::disk::{self, Commit},
};

fn commits(bench: &Bench) -> Vec<Commit> {
    disk::commits(bench.folder.path())
}

/// Where `command` was committed, and the fsyncs of that COMMIT.
fn committed(all: &[Commit], command: &str) -> Vec<(usize, u64)> {
    let with = |commit: &Commit| commit.commands.iter().any(|name| name == command);
    all.iter().enumerate().filter(|(_, commit)| with(commit)).map(|(place, commit)| (place, commit.syncs)).collect()
}

#[test]
fn dead_letters_and_attempts_are_fsynced_before_the_watermark_passes_them() {
    let mut bench = Bench::new();
    bench.settings.retry.max_attempts = 3;
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 6);
    let consumer = memory.queue().unwrap().consume(session, ConsumeOptions { max_batch: 2, ..quick() }).unwrap();
    // A counted attempt, then one message of the batch sent away and the rest committed.
    release(&pull(&consumer).unwrap(), ReleaseOptions { delay: Some(Duration::ZERO), ..Default::default() });
    let batch = pull(&consumer).unwrap();
    assert_eq!(batch.messages().len(), 1, "halved");
    commit(&batch, 1).unwrap();
    let batch = pull(&consumer).unwrap();
    let id = batch.messages()[0].id;
    wait(|reply| batch.dead_letter(vec![id], None, reply)).unwrap();
    commit(&batch, 1).unwrap();
    // One that fails alone until it dies, and a commit behind it.
    let alone = memory.queue().unwrap();
    consumer.dispose();
    let consumer = alone.consume(session, ConsumeOptions { max_batch: 1, ..quick() }).unwrap();
    let mut dead = Vec::new();
    while dead.is_empty() {
        let options = ReleaseOptions { delay: Some(Duration::ZERO), ..Default::default() };
        dead = release(&pull(&consumer).unwrap(), options).dead_lettered;
    }
    commit(&pull(&consumer).unwrap(), 1).unwrap();

    let all = commits(&bench);
    let (releases, sent, watermarks) =
        (committed(&all, "release"), committed(&all, "deadLetter"), committed(&all, "commit"));
    assert_eq!((sent.len(), watermarks.len()), (1, 3), "{all:?}");
    assert!(releases.len() >= 4, "{all:?}");
    for (place, syncs) in releases.iter().chain(&sent) {
        assert!(*syncs > 0, "not fsynced: {:?}", all[*place]);
    }
    // The watermark that passes them moves afterwards, and alone costs no fsync.
    assert!(releases[0].0 < watermarks[0].0 && sent[0].0 < watermarks[1].0, "{all:?}");
    assert!(releases.last().unwrap().0 < watermarks[2].0, "{all:?}");
    assert!(watermarks.iter().all(|(_, syncs)| *syncs == 0), "{all:?}");
    dispose(&memory);
}

#[test]
fn messages_of_a_session_that_is_gone_are_fsynced_among_the_dead_letters() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 2);
    bench.sql("claude-mem.db", "DELETE FROM sdk_sessions");
    let consumer = memory
        .queue()
        .unwrap()
        .consume(session, ConsumeOptions { idle_timeout: Duration::from_millis(200), ..quick() });
    assert!(pull(&consumer.unwrap()).is_none());
    let buried = committed(&commits(&bench), "bury-strangers");
    assert!(!buried.is_empty() && buried[0].1 > 0, "{buried:?}");
    dispose(&memory);
}

/// Whatever a lease that ran out or a dead process leaves is counted on the disk.
#[test]
fn the_attempt_of_a_lease_that_ran_out_is_fsynced() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 1);
    let options = ConsumeOptions { lease: Duration::from_millis(40), ..quick() };
    let consumer = memory.queue().unwrap().consume(session, options).unwrap();
    let _batch = pull(&consumer).unwrap();
    assert!(pull_end(&consumer, EndReason::Expired));
    let deadline = Instant::now() + Duration::from_secs(20);
    while committed(&commits(&bench), "release").is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(committed(&commits(&bench), "release")[0].1 > 0);
    dispose(&memory);
}

/// A batch that a dead process held, and a message that was alone in its hands for the last time.
#[test]
fn what_a_dead_process_leaves_is_counted_on_the_disk_before_anybody_works() {
    let mut bench = Bench::new();
    bench.settings.retry.max_attempts = 1;
    let memory = bench.open();
    let (many, alone) = (bench.session("many"), bench.session("alone"));
    put_all(&memory, many, 2);
    let id = put(&memory, alone, "x").unwrap().id;
    dispose(&memory);
    bench.sql(
        "native/queue.db",
        &format!("INSERT INTO leases VALUES ({many}, {}, {}, 7), ({alone}, {id}, {id}, 8)", id - 2, id - 1),
    );
    let memory = bench.open();
    let recovered = committed(&commits(&bench), "recover");
    // One fsync is the new log's header, whatever the durability; the other is the COMMIT's.
    assert!(recovered.len() == 2 && recovered[1].1 >= 2, "{recovered:?}");
    assert_eq!(memory.queue().unwrap().figures(None).dead, 1);
    assert_eq!(memory.queue().unwrap().discover()[0].attempts, 1);
    dispose(&memory);
}

#[test]
fn acknowledged_messages_go_only_after_the_shared_log_was_fsynced() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 3);
    commit(&pull(&memory.queue().unwrap().consume(session, quick()).unwrap()).unwrap(), 1).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while committed(&commits(&bench), "purge-acknowledged").is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let all = commits(&bench);
    let (acknowledged, synced, purged) =
        (committed(&all, "commit"), committed(&all, "sync-acknowledgements"), committed(&all, "purge-acknowledged"));
    assert!(acknowledged[0].0 < synced[0].0 && synced[0].0 < purged[0].0, "{all:?}");
    assert!(synced[0].1 > 0, "{all:?}");
    assert!(all[synced[0].0].file.ends_with("claude-mem.db"));
    dispose(&memory);
}

#[test]
fn with_full_durability_every_commit_is_fsynced_claims_and_bookkeeping_too() {
    let mut bench = Bench::new();
    bench.settings.durability = Durability::Full;
    let memory = bench.open();
    let session = bench.session("a");
    let consumer = memory.queue().unwrap().consume(session, quick()).unwrap();
    let (reply, claimed) = Reply::channel();
    consumer.next(reply);
    put(&memory, session, "waited for").unwrap();
    let batch = claimed.recv_timeout(Duration::from_secs(5)).unwrap().unwrap().unwrap();
    commit(&batch, 1).unwrap();
    put_all(&memory, session, 3);
    release(&pull(&consumer).unwrap(), ReleaseOptions { count_attempt: false, ..Default::default() });
    wait(|reply| memory.queue().unwrap().pause(Some(session), None, None, reply)).unwrap();
    wait(|reply| memory.queue().unwrap().resume(Some(session), reply)).unwrap();
    wait(|reply| memory.queue().unwrap().purge(session, reply)).unwrap();
    dispose(&memory);
    let all = commits(&bench);
    for command in ["enqueue", "claim", "commit", "finish-batch", "release", "pause", "resume", "purge"] {
        assert!(!committed(&all, command).is_empty(), "{command} was not committed: {all:?}");
    }
    // A transaction that changes nothing writes nothing, and has nothing to fsync.
    let reads = ["recover", "void-leases", "sample"];
    for commit in all.iter().filter(|commit| !commit.commands.iter().all(|name| reads.contains(&&**name))) {
        assert!(commit.syncs > 0, "not fsynced: {commit:?}");
    }
}

/// The file is written and its fsync fails: the answer is not on the disk for sure, so nobody is told that it is. A copy
/// of the files, as a crash would leave them, has rows and watermark, or neither.
#[test]
fn a_commit_whose_fsync_fails_is_stored_whole_or_not_at_all() {
    let mut bench = Bench::new();
    bench.settings.durability = Durability::Full;
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 2);
    let consumer = memory.queue().unwrap().consume(session, quick()).unwrap();
    let batch = pull(&consumer).unwrap();
    let log = disk::log(&bench.folder.path().join("claude-mem.db")).unwrap();
    log.fail_syncs(-1);
    assert_eq!(commit(&batch, 2).unwrap_err().code, Code::Io);
    let crashed = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("claude-mem.db{suffix}");
        std::fs::copy(bench.folder.path().join(&name), crashed.path().join(&name)).unwrap();
    }
    log.fail_syncs(0);
    let db = Connection::open(crashed.path().join("claude-mem.db")).unwrap();
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let left = (count("SELECT count(*) FROM observations"), count("SELECT coalesce(max(upto), 0) FROM native_ack"));
    assert!(left == (0, 0) || left == (2, batch.upto()), "{left:?}");
    // Here it was not stored, the batch is still held, and the next try is.
    assert_eq!(bench.one::<i64>("claude-mem.db", "SELECT count(*) FROM observations"), 0);
    assert_eq!(commit(&batch, 2).unwrap().depth, 0);
    assert_eq!(bench.one::<i64>("claude-mem.db", "SELECT count(*) FROM observations"), 2);
    dispose(&memory);
}

/// The COMMIT's I/O error passes by itself: the second run reads the watermark, and stores what is not there.
#[test]
fn a_commit_that_meets_one_io_error_is_stored_once() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 2);
    let consumer = memory.queue().unwrap().consume(session, ConsumeOptions { max_batch: 1, ..quick() }).unwrap();
    let batch = pull(&consumer).unwrap();
    let log = disk::log(&bench.folder.path().join("claude-mem.db")).unwrap();
    log.fail_writes(1);
    assert_eq!(commit(&batch, 3).unwrap().depth, 1);
    assert_eq!(bench.one::<i64>("claude-mem.db", "SELECT count(*) FROM observations"), 3);
    // The same of an enqueue and the claim in its transaction.
    commit(&pull(&consumer).unwrap(), 0).unwrap();
    let (reply, claimed) = Reply::channel();
    consumer.next(reply);
    disk::log(&bench.folder.path().join("native/queue.db")).unwrap().fail_writes(1);
    put(&memory, session, "last").unwrap();
    let batch = claimed.recv_timeout(Duration::from_secs(5)).unwrap().unwrap().unwrap();
    assert_eq!(texts(&batch), ["last"]);
    commit(&batch, 0).unwrap();
    dispose(&memory);
    assert_eq!(bench.open().queue().unwrap().depth(None), 0);
}
