//! One of the two files is deleted, or comes back from an older copy, and the other knows nothing of it.

use std::path::Path;

use super::*;

const MAIN: &str = "claude-mem.db";
const QUEUE: &str = "native/queue.db";

fn remove(bench: &Bench, file: &str) {
    for suffix in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(bench.folder.path().join(format!("{file}{suffix}"))));
    }
}

/// A copy of a file that nobody has open.
fn copy(bench: &Bench, file: &str, to: &Path) {
    std::fs::copy(bench.folder.path().join(file), to).unwrap();
}

fn restore(bench: &Bench, file: &str, from: &Path) {
    remove(bench, file);
    std::fs::copy(from, bench.folder.path().join(file)).unwrap();
}

fn drain(memory: &Memory, session: i64) -> Vec<String> {
    let consumer = memory.queue().unwrap().consume(session, ConsumeOptions { max_batch: 100, ..quick() }).unwrap();
    let mut all = Vec::new();
    while memory.queue().unwrap().depth(Some(session)) > 0 {
        let Some(batch) = pull(&consumer) else { break };
        all.extend(texts(&batch));
        commit(&batch, batch.messages().len()).unwrap();
    }
    consumer.dispose();
    all
}

fn keyed(memory: &Memory, session: i64, key: &str) -> Enqueued {
    let options = EnqueueOptions { dedupe_key: Some(key.into()), ..Default::default() };
    let payload = format!(r#"{{"type":"observation","n":"{key}","prompt_number":1}}"#);
    wait(|reply| memory.queue().unwrap().enqueue(session, payload, options, reply)).unwrap()
}

fn dead(memory: &Memory) -> Vec<DeadLetter> {
    wait(|reply| memory.queue().unwrap().dead_letters(None, 1_000, 0, reply)).unwrap()
}

#[test]
fn without_the_old_tables_a_new_session_of_the_same_number_gets_its_own_messages_alone() {
    let mut bench = Bench::new();
    bench.settings.retry.backoff_base = Duration::from_secs(600);
    bench.settings.retry.backoff_max = Duration::from_secs(600);
    let memory = bench.open();
    let old = bench.session("old");
    let last = [keyed(&memory, old, "a"), keyed(&memory, old, "b"), keyed(&memory, old, "c")][2].id;
    // It leaves all that a session can: a counted attempt, a backoff, a pause, remembered keys, a lease.
    let consumer = memory.queue().unwrap().consume(old, quick()).unwrap();
    release(&pull(&consumer).unwrap(), ReleaseOptions::default());
    wait(|reply| memory.queue().unwrap().pause(Some(old), None, Some("quota".into()), reply)).unwrap();
    dispose(&memory);
    bench.sql(QUEUE, &format!("INSERT INTO leases VALUES ({old}, {}, {last}, 77)", last - 2));
    remove(&bench, MAIN);

    // The tables are made anew, and a hook is faster than any worker.
    dispose(&bench.open());
    let new = bench.session("new");
    assert_eq!(new, old, "session numbers start over");
    let memory = bench.open();
    let first = keyed(&memory, new, "a");
    assert_eq!(first.duplicate, None, "the key was another session's");
    assert!(first.id > last, "{first:?}");
    assert_eq!(keyed(&memory, new, "a").duplicate, Some(Duplicate::Waiting));
    keyed(&memory, new, "b");
    assert_eq!(drain(&memory, new), ["a", "b"], "neither pause nor backoff were its own");
    let strangers = dead(&memory);
    assert_eq!(strangers.len(), 3);
    assert!(strangers.iter().all(|letter| letter.reason == "session-gone" && letter.claude_session_id == "old"));
    assert_eq!(bench.one::<i64>(MAIN, "SELECT count(*) FROM observations"), 2);
    // Nobody gets them but the session that they were meant for, whatever its number is.
    let refused = wait(|reply| memory.queue().unwrap().retry_dead_letter(strangers[0].id, reply)).unwrap_err();
    assert_eq!(refused.code, Code::NotFound);
    let back = bench.session("old");
    assert_ne!(back, old);
    for letter in strangers.iter().rev() {
        wait(|reply| memory.queue().unwrap().retry_dead_letter(letter.id, reply)).unwrap();
    }
    assert_eq!(drain(&memory, back), ["a", "b", "c"]);
    assert!(dead(&memory).is_empty());
    dispose(&memory);
    assert_eq!(bench.one::<i64>(QUEUE, "SELECT count(*) FROM pauses"), 0);
}

#[test]
fn a_pause_that_a_running_engine_took_over_ends_when_its_number_becomes_another_sessions() {
    let bench = Bench::new();
    let memory = bench.open();
    let old = bench.session("old");
    wait(|reply| memory.queue().unwrap().pause(Some(old), None, None, reply)).unwrap();
    dispose(&memory);
    remove(&bench, MAIN);
    let memory = bench.open();
    let new = bench.session("new");
    assert_eq!(new, old);
    put(&memory, new, "x").unwrap();
    assert_eq!(drain(&memory, new), ["x"]);
    dispose(&memory);
    assert_eq!(bench.one::<i64>(QUEUE, "SELECT count(*) FROM pauses"), 0);
}

#[test]
fn the_same_session_that_is_made_again_gets_what_waited_and_its_pause_stays() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 3);
    wait(|reply| memory.queue().unwrap().pause(Some(session), None, None, reply)).unwrap();
    dispose(&memory);
    remove(&bench, MAIN);
    dispose(&bench.open());
    assert_eq!(bench.session("a"), session);
    let memory = bench.open();
    assert!(memory.queue().unwrap().discover()[0].paused);
    wait(|reply| memory.queue().unwrap().resume(Some(session), reply)).unwrap();
    assert_eq!(drain(&memory, session), ["0", "1", "2"]);
    dispose(&memory);
}

#[test]
fn without_the_old_queue_new_messages_are_above_every_watermark() {
    let bench = Bench::new();
    let memory = bench.open();
    let (a, b) = (bench.session("a"), bench.session("b"));
    put_all(&memory, a, 20);
    assert_eq!(drain(&memory, a).len(), 20);
    put_all(&memory, b, 3);
    dispose(&memory);
    remove(&bench, QUEUE);
    let memory = bench.open();
    assert_eq!(memory.queue().unwrap().depth(None), 0, "what waited there is gone with it");
    put_all(&memory, a, 2);
    put_all(&memory, b, 2);
    assert_eq!((drain(&memory, a), drain(&memory, b)), (vec!["0".into(), "1".into()], vec!["0".into(), "1".into()]));
    assert_eq!(bench.one::<i64>(MAIN, "SELECT count(*) FROM observations"), 24);
    dispose(&memory);
}

#[test]
fn an_older_queue_brings_nothing_back_that_was_acknowledged_since() {
    let bench = Bench::new();
    let copied = tempfile::tempdir().unwrap();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 4);
    dispose(&memory);
    copy(&bench, QUEUE, &copied.path().join("queue.db"));
    let memory = bench.open();
    let consumer = memory.queue().unwrap().consume(session, ConsumeOptions { max_batch: 2, ..quick() }).unwrap();
    let batch = pull(&consumer).unwrap();
    commit(&batch, 2).unwrap();
    consumer.dispose();
    let newest = put(&memory, session, "lost with the newer file").unwrap().id;
    dispose(&memory);
    restore(&bench, QUEUE, &copied.path().join("queue.db"));

    let memory = bench.open();
    assert_eq!(memory.queue().unwrap().depth(Some(session)), 2);
    let id = put(&memory, session, "new").unwrap().id;
    assert!(id > newest, "{id} is not above {newest}, which was given before");
    assert_eq!(drain(&memory, session), ["2", "3", "new"]);
    assert_eq!(bench.one::<i64>(MAIN, "SELECT count(*) FROM observations"), 5, "no row twice");
    assert!(dead(&memory).is_empty());
    dispose(&memory);
}

/// A copy from while a batch was leased: its lease is void, and was finished since.
#[test]
fn an_older_queue_with_a_lease_that_was_committed_since_counts_no_attempt() {
    let bench = Bench::new();
    let copied = tempfile::tempdir().unwrap();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 4);
    let consumer = memory.queue().unwrap().consume(session, ConsumeOptions { max_batch: 2, ..quick() }).unwrap();
    let batch = pull(&consumer).unwrap();
    bench.sql(QUEUE, &format!("VACUUM INTO '{}'", copied.path().join("queue.db").display()));
    commit(&batch, 1).unwrap();
    dispose(&memory);
    restore(&bench, QUEUE, &copied.path().join("queue.db"));
    let memory = bench.open();
    assert_eq!(bench.one::<i64>(QUEUE, "SELECT count(*) FROM attempts"), 0);
    assert_eq!(drain(&memory, session), ["2", "3"]);
    dispose(&memory);
}

/// Rows and watermark are of one file: what the older copy has not stored is asked again, if its message is there.
#[test]
fn older_tables_are_filled_again_with_what_the_queue_still_has() {
    let bench = Bench::new();
    let copied = tempfile::tempdir().unwrap();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 2);
    assert_eq!(drain(&memory, session).len(), 2);
    dispose(&memory);
    copy(&bench, MAIN, &copied.path().join("main.db"));
    let memory = bench.open();
    for n in 2..5 {
        put(&memory, session, &n.to_string()).unwrap();
    }
    let consumer = memory.queue().unwrap().consume(session, ConsumeOptions { max_batch: 2, ..quick() }).unwrap();
    commit(&pull(&consumer).unwrap(), 2).unwrap();
    // One that is acknowledged and purged already.
    let sender = bench.session("sender");
    let purged = keyed(&memory, sender, "k");
    assert_eq!(drain(&memory, sender), ["k"]);
    assert_eq!(keyed(&memory, sender, "k").duplicate, Some(Duplicate::Done));
    let other = bench.session("made since");
    put_all(&memory, other, 1);
    dispose(&memory);
    bench.sql(QUEUE, &format!("DELETE FROM messages WHERE id = {}", purged.id));
    restore(&bench, MAIN, &copied.path().join("main.db"));

    // Its sender sends it again: its row is gone with the newer file, so it is no duplicate of anything.
    assert_eq!(bench.session("sender"), sender);
    let memory = bench.open();
    assert_eq!(keyed(&memory, sender, "k").duplicate, None);
    assert_eq!(drain(&memory, sender), ["k"]);
    let stranger = bench.session("another");
    assert_eq!(stranger, other, "its number is given again");
    put(&memory, stranger, "mine").unwrap();
    assert_eq!(drain(&memory, stranger), ["mine"]);
    assert_eq!(dead(&memory)[0].claude_session_id, "made since");
    assert_eq!(drain(&memory, session), ["2", "3", "4"], "acknowledged in the newer file, not in this one");
    assert_eq!(bench.one::<i64>(MAIN, "SELECT count(*) FROM observations"), 7, "each message once");
    dispose(&memory);
}
