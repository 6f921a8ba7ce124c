//! `parts: ['queue']`: the queue without `claude-mem.db`, and one directory opened now with it and now without.

use super::*;
use crate::{
    memory::Initialize,
    parts::{Part, Parts},
};

impl Bench {
    fn open_with(&self, parts: &[Part]) -> Arc<Memory> {
        Memory::open_here(Settings { parts: Parts::of(parts), ..self.settings.clone() }).unwrap()
    }

    fn alone(&self) -> Arc<Memory> {
        self.open_with(&[Part::Queue])
    }

    fn queue_rows(&self) -> i64 {
        self.one("native/queue.db", "SELECT count(*) FROM messages")
    }

    fn delete_queue(&self) {
        for suffix in ["", "-wal", "-shm"] {
            drop(std::fs::remove_file(self.folder.path().join(format!("native/queue.db{suffix}"))));
        }
    }
}

fn commit_external(batch: &Batch) -> Result<Committed> {
    wait(|reply| batch.commit(Answer { external: true, ..Answer::default() }, reply))
}

fn put_as(memory: &Memory, session: i64, text: &str, name: &str) -> Result<Enqueued> {
    let options = EnqueueOptions { claude_session_id: Some(name.into()), ..Default::default() };
    let payload = format!(r#"{{"type":"observation","n":"{text}"}}"#);
    wait(|reply| memory.queue().unwrap().enqueue(session, payload, options, reply))
}

/// The next batch of a session, of at most `count` messages, and its consumer.
fn take(memory: &Memory, session: i64, count: usize) -> (Consumer, Batch) {
    let options = ConsumeOptions { max_batch: count, ..quick() };
    let consumer = memory.queue().unwrap().consume(session, options).unwrap();
    let batch = pull(&consumer).unwrap();
    (consumer, batch)
}

/// What waits in a session, in order; it is put back.
fn waiting(memory: &Memory, session: i64) -> Vec<String> {
    if memory.queue().unwrap().depth(Some(session)) == 0 {
        return Vec::new();
    }
    let (consumer, batch) = take(memory, session, 100);
    let texts = texts(&batch);
    release(&batch, ReleaseOptions::graceful());
    consumer.dispose();
    texts
}

/// Waits until something is true.
fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what}: this never comes true");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn commits_are_acknowledged_in_the_queues_own_file() {
    let bench = Bench::new();
    std::fs::write(bench.folder.path().join("claude-mem.db"), "no database at all").unwrap();
    let memory = bench.alone();
    put_all(&memory, 7, 10);
    let (consumer, batch) = take(&memory, 7, 8);
    // Rows have no place here; nothing is acknowledged then.
    assert_eq!(commit(&batch, 1).unwrap_err().code, Code::NotOpen);
    let both = Answer {
        response: Response { complete_session: true, ..Default::default() },
        external: true,
        ..Default::default()
    };
    assert_eq!(wait(|reply| batch.commit(both, reply)).unwrap_err().code, Code::InvalidArg);
    assert_eq!(commit_external(&batch).unwrap().depth, 2);
    assert_eq!(commit_external(&batch).unwrap_err().code, Code::LeaseLost);
    let rest = pull(&consumer).unwrap();
    assert_eq!(texts(&rest), ["8", "9"]);
    // An empty commit has nothing to store either way.
    assert_eq!(commit(&rest, 0).unwrap().depth, 0);
    // Lease and attempts went in the same transaction.
    assert_eq!(bench.one::<i64>("native/queue.db", "SELECT count(*) FROM leases"), 0);
    until("purged", || bench.queue_rows() == 0);
    assert_eq!(memory.readers().err().unwrap().code, Code::NotOpen);
    assert_eq!(memory.writer().err().unwrap().code, Code::NotOpen);
    dispose(&memory);
    assert_eq!(memory.writer().err().unwrap().code, Code::Disposed);
    let left = std::fs::read(bench.folder.path().join("claude-mem.db")).unwrap();
    assert_eq!(left, b"no database at all");
    assert!(!bench.folder.path().join("claude-mem.db-wal").exists());
    let again = bench.alone();
    assert_eq!(again.queue().unwrap().depth(None), 0);
    dispose(&again);
}

#[test]
fn the_store_alone_has_no_queue() {
    let bench = Bench::new();
    let memory = bench.open_with(&[Part::Store]);
    assert_eq!(memory.queue().err().unwrap().code, Code::NotOpen);
    let answer = wait(|reply| memory.initialize_session(1, Initialize::default(), reply));
    assert_eq!(answer.unwrap_err().code, Code::NotOpen);
    assert!(!Layout::new(bench.folder.path()).queue().exists());
    let health = memory.health();
    assert!(health.database.is_some() && health.queue.is_none() && health.queue_database.is_none());
    let locked = Memory::open_here(Settings { lock_wait: Duration::ZERO, ..bench.settings.clone() });
    assert_eq!(locked.unwrap_err().code, Code::Locked);
    dispose(&memory);
    dispose(&bench.open());
}

#[test]
fn a_directory_used_with_the_store_goes_on_without_it_and_back() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 6);
    commit(&take(&memory, session, 2).1, 1).unwrap();
    dispose(&memory);

    let memory = bench.alone();
    assert_eq!(waiting(&memory, session), ["2", "3", "4", "5"]);
    commit_external(&take(&memory, session, 1).1).unwrap();
    put(&memory, session, "6").unwrap();
    dispose(&memory);

    let memory = bench.open();
    assert_eq!(waiting(&memory, session), ["3", "4", "5", "6"]);
    commit(&take(&memory, session, 1).1, 1).unwrap();
    put(&memory, session, "7").unwrap();
    dispose(&memory);

    let memory = bench.alone();
    assert_eq!(waiting(&memory, session), ["4", "5", "6", "7"]);
    commit_external(&take(&memory, session, 3).1).unwrap();
    dispose(&memory);

    let memory = bench.open();
    assert_eq!(waiting(&memory, session), ["7"]);
    // With both open an external commit is an empty one.
    commit_external(&take(&memory, session, 8).1).unwrap();
    assert_eq!(memory.queue().unwrap().depth(None), 0);
    until("purged", || bench.queue_rows() == 0);
    dispose(&memory);
    assert_eq!(bench.one::<i64>("claude-mem.db", "SELECT count(*) FROM observations"), 2);
}

#[test]
fn a_directory_used_without_the_store_goes_on_with_it() {
    let bench = Bench::new();
    let memory = bench.alone();
    // Two sessions by number, one of which is another one's in the tables.
    put_all(&memory, 1, 3);
    put_as(&memory, 2, "meant for b", "b").unwrap();
    commit_external(&take(&memory, 1, 2).1).unwrap();
    dispose(&memory);

    let memory = bench.open();
    assert_eq!((bench.session("x"), bench.session("y")), (1, 2));
    assert_eq!(waiting(&memory, 1), ["2"]);
    let consumer = memory.queue().unwrap().consume(2, quick()).unwrap();
    let (reply, _) = Reply::channel();
    consumer.next(reply);
    until("buried", || memory.queue().unwrap().figures(None).dead == 1);
    let letters = wait(|reply| memory.queue().unwrap().dead_letters(None, 10, 0, reply)).unwrap();
    assert_eq!((letters[0].reason.as_str(), letters[0].claude_session_id.as_str()), ("session-gone", "b"));
    dispose(&memory);
}

#[test]
fn what_died_between_a_commit_and_its_copy_is_copied_at_the_next_open() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 4);
    commit(&take(&memory, session, 2).1, 1).unwrap();
    dispose(&memory);
    bench.sql("native/queue.db", "DELETE FROM sessions");
    dispose(&bench.open());
    let memory = bench.alone();
    assert_eq!(waiting(&memory, session), ["2", "3"]);
    dispose(&memory);
    // The other file restored from a copy of before: with it, what it does not know comes again.
    bench.sql("claude-mem.db", "DELETE FROM native_ack");
    let memory = bench.open();
    assert_eq!(waiting(&memory, session), ["0", "1", "2", "3"]);
    dispose(&memory);
    let memory = bench.alone();
    assert_eq!(waiting(&memory, session), ["0", "1", "2", "3"]);
    dispose(&memory);
}

#[test]
fn messages_are_not_swallowed_by_a_watermark_that_could_not_be_seen() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 20);
    dispose(&memory);
    let older = std::fs::read(bench.folder.path().join("native/queue.db")).unwrap();
    let memory = bench.open();
    put_all(&memory, session, 20);
    commit(&take(&memory, session, 100).1, 0).unwrap();
    dispose(&memory);
    // queue.db is deleted, or restored from a copy of before: its own ids end far below native_ack.upto.
    for restored in [None, Some(older)] {
        bench.delete_queue();
        if let Some(bytes) = restored {
            std::fs::write(bench.folder.path().join("native/queue.db"), bytes).unwrap();
        }
        let memory = bench.alone();
        put(&memory, session, "new").unwrap();
        dispose(&memory);
        let memory = bench.open();
        assert_eq!(waiting(&memory, session), ["new"]);
        commit(&take(&memory, session, 1).1, 0).unwrap();
        dispose(&memory);
    }
}

#[test]
fn what_only_the_other_file_acknowledges_is_not_purged_from_here() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 4);
    commit(&take(&memory, session, 2).1, 0).unwrap();
    dispose(&memory);
    if bench.queue_rows() != 4 {
        eprintln!("skipped: the purge was faster than the test");
        return;
    }
    let memory = bench.alone();
    commit_external(&take(&memory, session, 2).1).unwrap();
    until("purged what is known here", || bench.queue_rows() == 2);
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(bench.queue_rows(), 2, "whether those are on the disk of the other file is not to be seen");
    dispose(&memory);
    let memory = bench.open();
    assert_eq!(memory.queue().unwrap().depth(None), 0);
    until("purged the rest", || bench.queue_rows() == 0);
    dispose(&memory);
}

#[test]
fn a_watermark_that_moved_meanwhile_refuses_the_commit() {
    let bench = Bench::new();
    let memory = bench.alone();
    put_all(&memory, 1, 3);
    let (consumer, batch) = take(&memory, 1, 2);
    bench.sql(
        "native/queue.db",
        &format!("INSERT OR REPLACE INTO sessions(session_id, upto) VALUES (1, {})", batch.upto()),
    );
    assert_eq!(commit_external(&batch).unwrap_err().code, Code::LeaseLost);
    consumer.dispose();
    assert_eq!(waiting(&memory, 1), ["2"]);
    dispose(&memory);
}

#[test]
fn a_lease_of_a_worker_that_died_comes_again_with_its_attempt_counted() {
    let bench = Bench::new();
    let memory = bench.alone();
    put_all(&memory, 1, 3);
    commit_external(&take(&memory, 1, 1).1).unwrap();
    dispose(&memory);
    let first: i64 =
        bench.one("native/queue.db", "SELECT min(id) FROM messages WHERE id > (SELECT upto FROM sessions)");
    bench.sql("native/queue.db", &format!("INSERT INTO leases VALUES (1, {first}, {first}, 9)"));
    let memory = bench.alone();
    let (_consumer, batch) = take(&memory, 1, 8);
    assert_eq!((texts(&batch), batch.messages()[0].attempts), (vec!["1".into(), "2".into()], 1));
    dispose(&memory);
}

#[test]
fn a_number_that_is_reused_under_another_name_gets_no_foreign_messages() {
    let bench = Bench::new();
    let memory = bench.alone();
    put_as(&memory, 5, "old", "first").unwrap();
    put_as(&memory, 5, "new", "second").unwrap();
    put(&memory, 5, "unnamed").unwrap();
    let consumer = memory.queue().unwrap().consume(5, quick()).unwrap();
    let batch = pull(&consumer).unwrap();
    assert_eq!(texts(&batch), ["new"], "of another prompt");
    commit_external(&batch).unwrap();
    assert_eq!(texts(&pull(&consumer).unwrap()), ["unnamed"]);
    let letters = wait(|reply| memory.queue().unwrap().dead_letters(None, 10, 0, reply)).unwrap();
    assert_eq!((letters.len(), letters[0].claude_session_id.as_str()), (1, "first"));
    let refused = wait(|reply| memory.queue().unwrap().retry_dead_letter(letters[0].id, reply)).unwrap_err();
    assert_eq!(refused.code, Code::NotFound);
    dispose(&memory);
    // With the store open the row is what counts.
    let memory = bench.open();
    let session = bench.session("a");
    assert_eq!(put_as(&memory, session, "x", "b").unwrap_err().code, Code::NotFound);
    put_as(&memory, session, "x", "a").unwrap();
    dispose(&memory);
}

#[test]
fn a_session_is_what_its_caller_tells() {
    let bench = Bench::new();
    let memory = bench.alone();
    let initialize = |memory: &Arc<Memory>, given| wait(|reply| memory.initialize_session(3, given, reply)).unwrap();
    let bare = initialize(&memory, Initialize::default());
    assert_eq!((&*bare.info.claude_session_id, &*bare.info.project, bare.user_prompt), ("", "", None));
    let told = Initialize {
        user_prompt: Some("do".into()),
        prompt_number: Some(2),
        claude_session_id: Some("c".into()),
        project: Some("p".into()),
    };
    let told = initialize(&memory, told);
    assert_eq!(
        (&*told.info.claude_session_id, &*told.info.project, told.user_prompt.as_deref()),
        ("c", "p", Some("do"))
    );
    put(&memory, 3, "x").unwrap();
    let info = memory.queue().unwrap().session(3).unwrap();
    assert_eq!((&*info.project, info.last_prompt_number), ("p", Some(1)));
    dispose(&memory);
    let memory = bench.alone();
    assert_eq!(&*initialize(&memory, Initialize::default()).info.project, "p");
    dispose(&memory);
}

#[test]
fn a_name_told_later_outlives_a_restart_and_a_message_tells_a_newer_one() {
    let bench = Bench::new();
    let memory = bench.alone();
    put_as(&memory, 4, "old", "first").unwrap();
    let told = Initialize { claude_session_id: Some("second".into()), ..Default::default() };
    wait(|reply| memory.initialize_session(4, told, reply)).unwrap();
    dispose(&memory);
    dispose(&bench.alone());
    let name = "SELECT claude_session_id FROM sessions WHERE session_id = 4";
    assert_eq!(bench.one::<String>("native/queue.db", name), "second");
    // As an engine with the store open leaves it.
    bench.sql(
        "native/queue.db",
        "INSERT INTO messages SELECT id + 1000, session_id, 'third', type, prompt_number, ends_batch, enqueued_at_epoch, bytes,
         payload FROM messages",
    );
    dispose(&bench.alone());
    assert_eq!(bench.one::<String>("native/queue.db", name), "third");
}

#[test]
fn a_file_of_format_1_is_taken_over_with_its_messages() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 3);
    commit(&take(&memory, session, 1).1, 0).unwrap();
    dispose(&memory);
    bench.sql(
        "native/queue.db",
        "DROP TABLE sessions; DROP TABLE known_messages; ALTER TABLE backoffs DROP COLUMN delay_ms; ALTER TABLE pauses DROP COLUMN claude_session_id;
         PRAGMA user_version = 1",
    );
    let memory = bench.open();
    assert_eq!(waiting(&memory, session), ["1", "2"]);
    dispose(&memory);
    assert_eq!(bench.one::<i64>("native/queue.db", "PRAGMA user_version"), 2);
    let memory = bench.alone();
    assert_eq!(waiting(&memory, session), ["1", "2"]);
    dispose(&memory);
}
