//! The queue as a whole, on real files, without Node.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::*;
use crate::{
    db::layout::Layout,
    error::{Code, Result},
    memory::Memory,
    reply::{Reply, wait},
    settings::Settings,
    store::{observations::ObservationInput, response::Response},
};

mod clients;
mod control;
mod durability;
mod files_alone;
mod late_commits;
mod on_its_own;
mod seams;

struct Bench {
    folder: tempfile::TempDir,
    settings: Settings,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(folder.path());
        settings.retry.backoff_base = Duration::from_millis(20);
        settings.retry.backoff_max = Duration::from_millis(40);
        Self { folder, settings }
    }

    fn open(&self) -> Arc<Memory> {
        Memory::open_here(self.settings.clone()).unwrap()
    }

    fn sql(&self, file: &str, sql: &str) {
        let db = Connection::open(self.folder.path().join(file)).unwrap();
        db.busy_timeout(Duration::from_secs(5)).unwrap();
        db.execute_batch(sql).unwrap();
    }

    fn one<T: rusqlite::types::FromSql>(&self, file: &str, sql: &str) -> T {
        Connection::open(self.folder.path().join(file)).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Makes a session as a hook would.
    fn session(&self, name: &str) -> i64 {
        self.sql(
            "claude-mem.db",
            &format!(
                "INSERT INTO sdk_sessions(claude_session_id, sdk_session_id, project, started_at, started_at_epoch, status)
                 VALUES ('{name}', '{name}', 'p', '2026-01-01T00:00:00.000Z', 1, 'active')"
            ),
        );
        self.one("claude-mem.db", &format!("SELECT id FROM sdk_sessions WHERE claude_session_id = '{name}'"))
    }
}

fn dispose(memory: &Arc<Memory>) {
    wait(|reply| memory.dispose(reply)).unwrap();
}

fn put(memory: &Memory, session: i64, text: &str) -> Result<Enqueued> {
    let payload = format!(r#"{{"type":"observation","n":"{text}","prompt_number":1}}"#);
    wait(|reply| memory.queue().unwrap().enqueue(session, payload, EnqueueOptions::default(), reply))
}

fn put_all(memory: &Memory, session: i64, count: usize) {
    for n in 0..count {
        put(memory, session, &n.to_string()).unwrap();
    }
}

fn texts(batch: &Batch) -> Vec<String> {
    batch
        .messages()
        .iter()
        .map(|message| {
            let json: serde_json::Value = serde_json::from_str(&message.payload).unwrap();
            json["n"].as_str().unwrap_or_default().to_owned()
        })
        .collect()
}

fn pull(consumer: &Consumer) -> Option<Batch> {
    wait(|reply| consumer.next(reply)).unwrap()
}

fn commit(batch: &Batch, observations: usize) -> Result<Committed> {
    let one = ObservationInput { kind: Some("discovery".into()), title: Some("t".into()), ..Default::default() };
    let response = Response { observations: vec![one; observations], ..Default::default() };
    wait(|reply| batch.commit(Answer { response, deadline: None, external: false }, reply))
}

fn release(batch: &Batch, options: ReleaseOptions) -> Released {
    wait(|reply| batch.release(options, reply)).unwrap()
}

fn quick() -> ConsumeOptions {
    ConsumeOptions { idle_timeout: Duration::from_secs(5), ..ConsumeOptions::default() }
}

#[test]
fn batches_are_prefixes_and_commits_acknowledge_them() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 10);
    assert_eq!(memory.queue().unwrap().depth(Some(session)), 10);
    let consumer = memory.queue().unwrap().consume(session, quick()).unwrap();
    let batch = pull(&consumer).unwrap();
    assert_eq!(texts(&batch), ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(batch.prompt_number(), Some(1));
    let committed = commit(&batch, 2).unwrap();
    assert_eq!((committed.stored.observations.len(), committed.depth), (2, 2));
    assert_eq!(commit(&batch, 1).unwrap_err().code, Code::LeaseLost);
    let batch = pull(&consumer).unwrap();
    assert_eq!(texts(&batch), ["8", "9"]);
    commit(&batch, 0).unwrap();
    assert_eq!(memory.queue().unwrap().depth(None), 0);
    assert_eq!(bench.one::<i64>("claude-mem.db", "SELECT count(*) FROM observations"), 2);
    dispose(&memory);
    assert_eq!(bench.one::<i64>("native/queue.db", "SELECT count(*) FROM leases"), 0);
}

#[test]
fn a_waiting_consumer_gets_what_comes() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    let consumer = memory.queue().unwrap().consume(session, quick()).unwrap();
    for round in 0..50 {
        let (reply, answer) = Reply::channel();
        consumer.next(reply);
        put(&memory, session, &round.to_string()).unwrap();
        let batch = answer.recv_timeout(Duration::from_secs(5)).unwrap().unwrap().unwrap();
        assert_eq!(texts(&batch), [round.to_string()]);
        commit(&batch, 0).unwrap();
    }
    dispose(&memory);
}

#[test]
fn one_live_consumer_a_session() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    let consumer = memory.queue().unwrap().consume(session, quick()).unwrap();
    assert_eq!(memory.queue().unwrap().consume(session, quick()).unwrap_err().code, Code::Locked);
    consumer.dispose();
    assert_eq!(consumer.end_reason(), Some(EndReason::Disposed));
    assert!(pull(&consumer).is_none());
    drop(memory.queue().unwrap().consume(session, quick()).unwrap());
    // One that was only dropped makes room as well.
    assert!(memory.queue().unwrap().consume(session, quick()).is_ok());
    dispose(&memory);
}

#[test]
fn a_batch_never_crosses_a_prompt_nor_its_bytes_and_ends_with_a_summary() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    let big = "x".repeat(700);
    for (kind, prompt, text) in [
        ("observation", 1, "a"),
        ("observation", 2, &*big),
        ("observation", 2, &*big),
        ("summarize", 2, "s"),
        ("observation", 2, "b"),
    ] {
        let payload = format!(r#"{{"type":"{kind}","prompt_number":{prompt},"n":"{text}"}}"#);
        wait(|reply| memory.queue().unwrap().enqueue(session, payload, EnqueueOptions::default(), reply)).unwrap();
    }
    let consumer =
        memory.queue().unwrap().consume(session, ConsumeOptions { max_batch_bytes: 900, ..quick() }).unwrap();
    let mut sizes = Vec::new();
    while let Some(batch) = pull(&consumer) {
        sizes.push(batch.messages().len());
        commit(&batch, 0).unwrap();
    }
    assert_eq!(sizes, [1, 1, 2]);
    assert_eq!(consumer.end_reason(), Some(EndReason::Summary));
    // What is behind the summary stays, and shows.
    assert_eq!(memory.queue().unwrap().depth(Some(session)), 1);
    assert!(memory.queue().unwrap().is_ready(session));
    dispose(&memory);
}

#[test]
fn failing_batches_are_halved_until_the_poisonous_one_is_found() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 50);
    let consumer = memory.queue().unwrap().consume(session, quick()).unwrap();
    let (mut done, mut rounds) = (0, 0);
    while memory.queue().unwrap().depth(Some(session)) > 0 {
        let batch = pull(&consumer).unwrap();
        rounds += 1;
        assert!(rounds < 200, "no end");
        if texts(&batch).contains(&"17".to_owned()) {
            release(
                &batch,
                ReleaseOptions { delay: Some(Duration::ZERO), error: Some("bad".into()), count_attempt: true },
            );
        } else {
            done += batch.messages().len();
            commit(&batch, 0).unwrap();
        }
    }
    assert_eq!(done, 49);
    let dead = wait(|reply| memory.queue().unwrap().dead_letters(None, 10, 0, reply)).unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].reason.as_str(), dead[0].error.as_deref(), dead[0].attempts), ("max-attempts", Some("bad"), 5));
    let shown = wait(|reply| memory.queue().unwrap().dead_letter(dead[0].id, reply)).unwrap().unwrap();
    assert!(shown.payload.unwrap().contains(r#""n":"17""#));
    // Retried it comes again, at the tail and under a new id.
    let again = wait(|reply| memory.queue().unwrap().retry_dead_letter(dead[0].id, reply)).unwrap();
    assert!(again.id > dead[0].id);
    let batch = pull(&consumer).unwrap();
    assert_eq!((texts(&batch), batch.messages()[0].attempts), (vec!["17".to_owned()], 0));
    commit(&batch, 0).unwrap();
    assert_eq!(memory.queue().unwrap().figures(None).dead, 0);
    dispose(&memory);
}

#[test]
fn a_release_waits_for_its_backoff() {
    let mut bench = Bench::new();
    bench.settings.retry.backoff_base = Duration::from_millis(300);
    bench.settings.retry.backoff_max = Duration::from_millis(300);
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 1);
    let consumer = memory.queue().unwrap().consume(session, quick()).unwrap();
    let batch = pull(&consumer).unwrap();
    let released = release(&batch, ReleaseOptions { count_attempt: false, ..ReleaseOptions::default() });
    assert!(released.ready_at_epoch.is_some());
    assert!(!memory.queue().unwrap().is_ready(session));
    let since = Instant::now();
    let batch = pull(&consumer).unwrap();
    assert!(since.elapsed() >= Duration::from_millis(200), "{:?}", since.elapsed());
    assert_eq!(batch.messages()[0].attempts, 0);
    dispose(&memory);
}

#[test]
fn next_with_an_open_batch_releases_it_counted() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 2);
    let consumer = memory.queue().unwrap().consume(session, quick()).unwrap();
    let first = pull(&consumer).unwrap();
    let second = pull(&consumer).unwrap();
    assert_eq!(second.messages()[0].attempts, 1);
    assert_eq!(commit(&first, 1).unwrap_err().code, Code::LeaseLost);
    commit(&second, 1).unwrap();
    dispose(&memory);
}

#[test]
fn a_lease_that_runs_out_closes_its_consumer_and_is_still_taken_while_nobody_claimed() {
    let mut bench = Bench::new();
    bench.settings.retry.backoff_base = Duration::from_secs(60);
    bench.settings.retry.backoff_max = Duration::from_secs(60);
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 1);
    let options = ConsumeOptions { lease: Duration::from_millis(60), ..quick() };
    let consumer = memory.queue().unwrap().consume(session, options).unwrap();
    let batch = pull(&consumer).unwrap();
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(consumer.end_reason(), Some(EndReason::Expired));
    assert_eq!(commit(&batch, 1).unwrap().depth, 0);
    assert_eq!(bench.one::<i64>("claude-mem.db", "SELECT count(*) FROM observations"), 1);
    dispose(&memory);
}

#[test]
fn a_late_commit_loses_where_somebody_claimed_since() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 1);
    let options = ConsumeOptions { lease: Duration::from_millis(40), ..quick() };
    let first = memory.queue().unwrap().consume(session, options).unwrap();
    let late = pull(&first).unwrap();
    assert!(pull_end(&first, EndReason::Expired));
    let second = memory.queue().unwrap().consume(session, quick()).unwrap();
    let batch = pull(&second).unwrap();
    assert_eq!(batch.messages()[0].attempts, 1);
    assert_eq!(commit(&late, 1).unwrap_err().code, Code::LeaseLost);
    commit(&batch, 1).unwrap();
    assert_eq!(bench.one::<i64>("claude-mem.db", "SELECT count(*) FROM observations"), 1);
    dispose(&memory);
}

/// Waits until a consumer has ended by itself.
fn pull_end(consumer: &Consumer, reason: EndReason) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while consumer.end_reason().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    consumer.end_reason() == Some(reason)
}

#[test]
fn iterations_end_by_themselves() {
    let mut bench = Bench::new();
    bench.settings.session_ttl = Duration::from_millis(150);
    let memory = bench.open();
    let queue = memory.queue().unwrap();
    let session = bench.session("a");
    let idle = ConsumeOptions { idle_timeout: Duration::from_millis(30), ..ConsumeOptions::default() };
    let consumer = queue.consume(session, idle).unwrap();
    assert!(pull(&consumer).is_none());
    assert_eq!(consumer.end_reason(), Some(EndReason::Idle));
    // The TTL of an active session.
    put_all(&memory, session, 1);
    let consumer = queue.consume(session, quick()).unwrap();
    let batch = pull(&consumer).unwrap();
    commit(&batch, 0).unwrap();
    assert!(pull(&consumer).is_none());
    assert_eq!(consumer.end_reason(), Some(EndReason::Expired));
    assert_eq!(queue.session_count(), 0);
    // A pause, with a wait pending.
    let consumer = queue.consume(session, quick()).unwrap();
    let (reply, answer) = Reply::channel();
    consumer.next(reply);
    wait(|reply| queue.pause(Some(session), None, Some("quota".into()), reply)).unwrap();
    assert!(answer.recv_timeout(Duration::from_secs(5)).unwrap().unwrap().is_none());
    assert_eq!(consumer.end_reason(), Some(EndReason::Paused));
    wait(|reply| queue.resume(Some(session), reply)).unwrap();
    // A deletion, and the memory's end.
    let consumer = queue.consume(session, quick()).unwrap();
    wait(|reply| queue.delete_session(session, false, false, reply)).unwrap();
    assert!(pull(&consumer).is_none());
    assert_eq!(consumer.end_reason(), Some(EndReason::Deleted));
    let consumer = queue.consume(session, quick()).unwrap();
    let (reply, answer) = Reply::channel();
    consumer.next(reply);
    dispose(&memory);
    assert!(answer.recv_timeout(Duration::from_secs(5)).unwrap().unwrap().is_none());
    assert_eq!(consumer.end_reason(), Some(EndReason::Disposed));
    assert_eq!(queue.consume(session, quick()).unwrap_err().code, Code::Disposed);
    assert_eq!(put(&memory, session, "x").unwrap_err().code, Code::Disposed);
}

#[test]
fn bounds_refuse_and_nothing_is_dropped() {
    let mut bench = Bench::new();
    bench.settings.bounds.session_messages = 3;
    bench.settings.bounds.message_bytes = 200;
    let memory = bench.open();
    let (a, b) = (bench.session("a"), bench.session("b"));
    put_all(&memory, a, 3);
    let error = put(&memory, a, "one too many").unwrap_err();
    assert_eq!(error.code, Code::QueueFull);
    assert!(error.details.contains(&("depth", 3_usize.into())), "{:?}", error.details);
    put_all(&memory, b, 1);
    assert_eq!(put(&memory, b, &"x".repeat(300)).unwrap_err().code, Code::QueueFull);
    assert_eq!(put(&memory, 4711, "x").unwrap_err().code, Code::NotFound);
    let bad = wait(|reply| memory.queue().unwrap().enqueue(b, "[1]".into(), EnqueueOptions::default(), reply));
    assert_eq!(bad.unwrap_err().code, Code::InvalidArg);
    assert_eq!((memory.queue().unwrap().depth(None), memory.queue().unwrap().depth(Some(4711))), (4, 0));
    dispose(&memory);
}

#[test]
fn duplicates_are_told_apart() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    let put = |key: &str| {
        let options = EnqueueOptions { dedupe_key: Some(key.into()), ..Default::default() };
        wait(|reply| memory.queue().unwrap().enqueue(session, r#"{"type":"observation"}"#.into(), options, reply))
            .unwrap()
    };
    let first = put("k");
    let second = put("k");
    assert_eq!((second.id, second.duplicate, second.depth), (first.id, Some(Duplicate::Waiting), 1));
    let consumer = memory.queue().unwrap().consume(session, ConsumeOptions { max_batch: 1, ..quick() }).unwrap();
    commit(&pull(&consumer).unwrap(), 0).unwrap();
    assert_eq!(put("k").duplicate, Some(Duplicate::Done));
    let other = put("d");
    let batch = pull(&consumer).unwrap();
    assert_eq!(wait(|reply| batch.dead_letter(vec![other.id], Some("no".into()), reply)).unwrap(), 1);
    commit(&batch, 0).unwrap();
    assert_eq!(put("d").duplicate, Some(Duplicate::Dead));
    // Purge forgets the keys.
    wait(|reply| memory.queue().unwrap().purge(session, reply)).unwrap();
    assert_eq!(put("k").duplicate, None);
    dispose(&memory);
}

#[test]
fn a_restart_finds_everything_in_order_with_its_attempts() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 5);
    let consumer = memory.queue().unwrap().consume(session, ConsumeOptions { max_batch: 2, ..quick() }).unwrap();
    commit(&pull(&consumer).unwrap(), 1).unwrap();
    let batch = pull(&consumer).unwrap();
    release(&batch, ReleaseOptions { error: Some("e".into()), ..Default::default() });
    wait(|reply| memory.queue().unwrap().pause(Some(99), None, None, reply)).unwrap();
    let last = put(&memory, session, "5").unwrap().id;
    dispose(&memory);

    let memory = bench.open();
    let found = memory.queue().unwrap().discover();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].session_db_id, found[0].depth, found[0].attempts), (session, 4, 1));
    let ready = memory.queue().unwrap().ready(Some(1)).unwrap();
    let offered = wait(|reply| ready.next(reply)).unwrap().unwrap();
    assert_eq!((offered.session_db_id, offered.depth, offered.attempts), (session, 4, 1));
    assert!(wait(|reply| ready.next(reply)).unwrap().is_none());
    let consumer = memory.queue().unwrap().consume(session, quick()).unwrap();
    let batch = pull(&consumer).unwrap();
    assert_eq!(texts(&batch), ["2", "3", "4", "5"]);
    assert_eq!(batch.messages().iter().map(|message| message.attempts).collect::<Vec<_>>(), [1, 1, 0, 0]);
    commit(&batch, 1).unwrap();
    assert!(put(&memory, session, "x").unwrap().id > last);
    dispose(&memory);
}

#[test]
fn messages_of_a_session_that_is_gone_become_dead_letters() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 3);
    bench.sql("claude-mem.db", &format!("DELETE FROM sdk_sessions WHERE id = {session}"));
    let consumer = memory
        .queue()
        .unwrap()
        .consume(session, ConsumeOptions { idle_timeout: Duration::from_millis(300), ..quick() })
        .unwrap();
    assert!(pull(&consumer).is_none());
    assert_eq!(memory.queue().unwrap().depth(None), 0);
    let dead = wait(|reply| memory.queue().unwrap().dead_letters(Some(session), 10, 0, reply)).unwrap();
    assert_eq!(dead.iter().map(|letter| letter.reason.as_str()).collect::<Vec<_>>(), ["session-gone"; 3]);
    dispose(&memory);
}

#[test]
fn pause_and_resume_survive_a_restart() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 1);
    wait(|reply| memory.queue().unwrap().pause(None, None, Some("night".into()), reply)).unwrap();
    assert!(!memory.queue().unwrap().is_ready(session) && memory.queue().unwrap().discover()[0].paused);
    dispose(&memory);
    let memory = bench.open();
    assert!(memory.queue().unwrap().discover()[0].paused);
    let ready = memory.queue().unwrap().ready(None).unwrap();
    let (reply, answer) = Reply::channel();
    ready.next(reply);
    assert!(answer.recv_timeout(Duration::from_millis(50)).is_err());
    wait(|reply| memory.queue().unwrap().resume(None, reply)).unwrap();
    assert_eq!(answer.recv_timeout(Duration::from_secs(5)).unwrap().unwrap().unwrap().session_db_id, session);
    dispose(&memory);
}

#[test]
fn acknowledged_messages_are_purged_when_idle() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 20);
    let consumer = memory.queue().unwrap().consume(session, ConsumeOptions { max_batch: 15, ..quick() }).unwrap();
    commit(&pull(&consumer).unwrap(), 0).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while bench.one::<i64>("native/queue.db", "SELECT count(*) FROM messages") > 5 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(bench.one::<i64>("native/queue.db", "SELECT count(*) FROM messages"), 5);
    assert!(bench.one::<i64>("claude-mem.db", "SELECT count(*) FROM native_ledger WHERE key = 'synced_at_epoch'") > 0);
    dispose(&memory);
}

#[test]
fn drain_waits_for_the_queue_and_abort_purges() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 2);
    let drained = wait(|reply| memory.queue().unwrap().delete_session(session, true, false, reply)).unwrap();
    assert_eq!((drained.existed, drained.remaining, drained.draining), (true, 2, true));
    let consumer = memory.queue().unwrap().consume(session, quick()).unwrap();
    commit(&pull(&consumer).unwrap(), 0).unwrap();
    assert!(pull(&consumer).is_none());
    assert_eq!(consumer.end_reason(), Some(EndReason::Deleted));
    assert_eq!(memory.queue().unwrap().session_count(), 0);
    put_all(&memory, session, 3);
    let consumer = memory.queue().unwrap().consume(session, quick()).unwrap();
    let batch = pull(&consumer).unwrap();
    let deleted = wait(|reply| memory.queue().unwrap().delete_session(session, false, true, reply)).unwrap();
    assert_eq!((deleted.existed, deleted.purged, deleted.remaining), (true, 3, 0));
    assert_eq!(commit(&batch, 1).unwrap_err().code, Code::LeaseLost);
    assert_eq!(bench.one::<i64>("claude-mem.db", "SELECT count(*) FROM observations"), 0);
    dispose(&memory);
}

#[test]
fn an_enqueue_does_not_wait_for_the_shared_file() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 1);
    let hook = Connection::open(bench.folder.path().join("claude-mem.db")).unwrap();
    hook.execute_batch("BEGIN IMMEDIATE").unwrap();
    for n in 0..20 {
        put(&memory, session, &n.to_string()).unwrap();
    }
    // A commit does wait, and is refused at its deadline without ever running.
    let consumer = memory.queue().unwrap().consume(session, quick()).unwrap();
    let batch = pull(&consumer).unwrap();
    let response = Response {
        observations: vec![ObservationInput { kind: Some("discovery".into()), ..Default::default() }],
        ..Default::default()
    };
    let deadline = Some(Instant::now() + Duration::from_millis(50));
    let refused = wait(|reply| batch.commit(Answer { response, deadline, external: false }, reply));
    assert_eq!(refused.unwrap_err().code, Code::Busy);
    hook.execute_batch("ROLLBACK").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(bench.one::<i64>("claude-mem.db", "SELECT count(*) FROM observations"), 0);
    commit(&batch, 1).unwrap();
    assert_eq!(bench.one::<i64>("claude-mem.db", "SELECT count(*) FROM observations"), 1);
    dispose(&memory);
}

#[test]
fn the_owner_of_a_directory_is_one() {
    let mut bench = Bench::new();
    bench.settings.lock_wait = Duration::from_millis(20);
    let memory = bench.open();
    let refused = Memory::open_here(bench.settings.clone()).unwrap_err();
    assert_eq!(refused.code, Code::Locked);
    dispose(&memory);
    dispose(&memory);
    dispose(&bench.open());
    assert!(Layout::new(bench.folder.path()).queue().exists());
}

#[test]
fn counters_follow_and_the_group_survives_a_bad_command() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    let (good, answers) = crossbeam_channel::unbounded();
    for n in 0..200 {
        let payload = if n % 10 == 3 { "oops".to_owned() } else { format!(r#"{{"type":"observation","n":"{n}"}}"#) };
        let good = good.clone();
        memory.queue().unwrap().enqueue(
            session,
            payload,
            EnqueueOptions::default(),
            Reply::new(move |answer| drop(good.send(answer))),
        );
    }
    drop(good);
    let answers: Vec<Result<Enqueued>> = answers.iter().collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 180);
    assert_eq!(memory.queue().unwrap().depth(Some(session)), 180);
    assert_eq!(bench.one::<i64>("native/queue.db", "SELECT count(*) FROM messages"), 180);
    dispose(&memory);
}

#[test]
fn an_id_is_never_given_twice() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    let last = put(&memory, session, "x").unwrap().id;
    dispose(&memory);
    // The floor is kept in both files: either of them may be deleted alone.
    for suffix in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(bench.folder.path().join(format!("native/queue.db{suffix}"))));
    }
    let memory = bench.open();
    let next = put(&memory, session, "y").unwrap().id;
    assert!(next > last, "{next} after {last}");
    dispose(&memory);
    bench.sql("claude-mem.db", "DELETE FROM native_ledger; DELETE FROM native_ack");
    bench.sql("native/queue.db", "DELETE FROM messages");
    let memory = bench.open();
    let third = put(&memory, session, "z").unwrap().id;
    assert!(third > next, "{third} after {next}");
    dispose(&memory);
}

#[test]
fn a_lease_that_extends_itself_outlives_its_consumer() {
    let mut bench = Bench::new();
    bench.settings.session_ttl = Duration::from_millis(60);
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 1);
    let options = ConsumeOptions { lease: Duration::from_millis(40), auto_extend: true, ..quick() };
    let consumer = memory.queue().unwrap().consume(session, options).unwrap();
    let batch = pull(&consumer).unwrap();
    assert!(pull_end(&consumer, EndReason::Expired));
    std::thread::sleep(Duration::from_millis(200));
    // Nobody else is offered what is still in somebody's hands.
    assert!(!memory.queue().unwrap().is_ready(session));
    assert_eq!(commit(&batch, 1).unwrap().depth, 0);
    dispose(&memory);
}

#[test]
fn a_lease_that_runs_out_during_a_pause_counts_no_attempt() {
    let bench = Bench::new();
    let memory = bench.open();
    let session = bench.session("a");
    put_all(&memory, session, 1);
    let options = ConsumeOptions { lease: Duration::from_millis(150), ..quick() };
    let consumer = memory.queue().unwrap().consume(session, options).unwrap();
    let batch = pull(&consumer).unwrap();
    wait(|reply| memory.queue().unwrap().pause(Some(session), None, None, reply)).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    assert!(batch.extend(Duration::from_secs(1)).is_err(), "the lease is over");
    wait(|reply| memory.queue().unwrap().resume(Some(session), reply)).unwrap();
    let again = pull(&memory.queue().unwrap().consume(session, quick()).unwrap()).unwrap();
    assert_eq!(again.messages()[0].attempts, 0);
    dispose(&memory);
}
