//! Deletions on real files, without Node.

use std::{sync::Arc, time::Duration};

use rusqlite::Connection;

use super::*;
use crate::{
    clock,
    error::{Code, Result},
    queue::{Answer, Batch, ConsumeOptions, Consumer, EndReason, EnqueueOptions, Enqueued},
    reply::wait,
    settings::Settings,
    store::{date_range::Bound, observations::ObservationInput, response::Response},
};

const SOON: Duration = Duration::from_secs(20);

struct Bench {
    folder: tempfile::TempDir,
    memory: Arc<Memory>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::open_here(Settings::new(folder.path())).unwrap();
        Self { folder, memory }
    }

    fn sql(&self, sql: &str) {
        let db = Connection::open(self.folder.path().join("claude-mem.db")).unwrap();
        db.busy_timeout(SOON).unwrap();
        db.execute_batch(sql).unwrap();
    }

    fn count(&self, file: &str, from: &str) -> i64 {
        let db = Connection::open(self.folder.path().join(file)).unwrap();
        db.query_row(&format!("SELECT count(*) FROM {from}"), [], |row| row.get(0)).unwrap()
    }

    fn session(&self, name: &str, project: &str) -> i64 {
        self.sql(&format!(
            "INSERT INTO sdk_sessions(claude_session_id, sdk_session_id, project, user_prompt, started_at, started_at_epoch, status)
               VALUES ('{name}', '{name}', '{project}', 'secret', '', 1, 'active');
             INSERT INTO user_prompts(claude_session_id, prompt_number, prompt_text, created_at, created_at_epoch)
               VALUES ('{name}', 1, 'secret', '', 1);"
        ));
        self.row(name, project, 1);
        self.count(
            "claude-mem.db",
            &format!("sdk_sessions WHERE id <= (SELECT id FROM sdk_sessions WHERE claude_session_id = '{name}')"),
        )
    }

    fn row(&self, session: &str, project: &str, epoch: i64) {
        self.sql(&format!(
            "INSERT INTO observations(sdk_session_id, project, type, title, created_at, created_at_epoch)
               VALUES ('{session}', '{project}', 'change', 'secret', '', {epoch});
             INSERT INTO session_summaries(sdk_session_id, project, request, created_at, created_at_epoch)
               VALUES ('{session}', '{project}', 'secret', '', {epoch});"
        ));
    }

    fn put(&self, session: i64) -> Result<Enqueued> {
        let options = EnqueueOptions { dedupe_key: Some("key".into()), ..EnqueueOptions::default() };
        wait(|reply| self.memory.queue().unwrap().enqueue(session, r#"{"secret":1}"#.into(), options, reply))
    }

    fn batch(&self, session: i64) -> (Consumer, Batch) {
        let consumer = self.memory.queue().unwrap().consume(session, ConsumeOptions::default()).unwrap();
        let batch = wait(|reply| consumer.next(reply)).unwrap().unwrap();
        (consumer, batch)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(wait(|reply| self.memory.dispose(reply)));
    }
}

#[test]
fn a_project_goes_with_what_waits_for_it() {
    let bench = Bench::new();
    let (gone, stays) = (bench.session("a", "p"), bench.session("b", "q"));
    // A row of the project in another's session, and the other way round.
    bench.row("b", "p", 2);
    let mixed = bench.session("c", "p");
    bench.row("c", "q", 2);
    for id in [gone, stays, mixed] {
        bench.put(id).unwrap();
    }
    let (consumer, batch) = bench.batch(gone);
    let deleted = delete_project(&bench.memory, "p", SOON).unwrap();
    let expected = DeletedProject {
        observations: 3,
        summaries: 3,
        prompts: 2,
        sessions: 1,
        sessions_kept: 1,
        messages: 2,
        dead_letters: 0,
    };
    assert_eq!(deleted, expected);
    assert_eq!(consumer.end_reason(), Some(EndReason::Deleted));
    let late = Answer {
        response: Response {
            observations: vec![ObservationInput { kind: Some("change".into()), ..ObservationInput::default() }],
            ..Response::default()
        },
        deadline: None,
        external: false,
    };
    assert_eq!(wait(|reply| batch.commit(late, reply)).unwrap_err().code, Code::LeaseLost);
    assert_eq!(bench.put(gone).unwrap_err().code, Code::NotFound);
    assert_eq!(bench.memory.queue().unwrap().depth(None), 1);
    for table in ["observations", "session_summaries", "sdk_sessions"] {
        assert_eq!(bench.count("claude-mem.db", &format!("{table} WHERE project = 'p'")), 0, "{table}");
    }
    let kept = "sdk_sessions WHERE claude_session_id = 'c' AND project = 'q' AND user_prompt IS NULL";
    assert_eq!(bench.count("claude-mem.db", kept), 1);
    for table in ["messages", "leases", "dedupe_keys", "attempts", "backoffs", "dead_letters"] {
        let left = bench.count("native/queue.db", &format!("{table} WHERE session_id <> {stays}"));
        assert_eq!(left, 0, "{table}");
    }
    assert_eq!(delete_project(&bench.memory, "p", SOON).unwrap(), DeletedProject::default());
}

#[test]
fn message_ids_never_come_back() {
    let bench = Bench::new();
    let id = bench.session("a", "p");
    let first = bench.put(id).unwrap().id;
    let (_consumer, batch) = bench.batch(id);
    wait(|reply| batch.commit(Answer::default(), reply)).unwrap();
    // As if the floor had not been written: only the watermark knows.
    bench.sql("DELETE FROM native_ledger WHERE key = 'id_floor'");
    delete_project(&bench.memory, "p", SOON).unwrap();
    assert_eq!(bench.count("claude-mem.db", "native_ack"), 0);
    let floor = bench.count("claude-mem.db", &format!("native_ledger WHERE key = 'id_floor' AND value >= {first}"));
    assert_eq!(floor, 1);
}

#[test]
fn retention_spares_what_is_active_or_waits() {
    let bench = Bench::new();
    let (ended, waits, active) =
        (bench.session("ended", "p"), bench.session("waits", "p"), bench.session("active", "p"));
    bench.row("active", "p", clock::now_epoch());
    bench.sql(
        "UPDATE sdk_sessions SET status = 'completed', completed_at_epoch = 5 WHERE claude_session_id <> 'active'",
    );
    let other = bench.session("other", "q");
    bench.put(waits).unwrap();
    // Registered by its enqueue; a worker that was restarted knows it from its messages.
    wait(|reply| bench.memory.queue().unwrap().delete_session(waits, false, false, reply)).unwrap();
    let swept = retention(&bench.memory, Some("p".into()), Bound::Epoch(1_000.0), SOON).unwrap();
    let expected = Retained { older_than_epoch: 1_000, observations: 3, summaries: 3, prompts: 3, sessions: 1 };
    assert_eq!(swept, expected);
    let left = |id| bench.count("claude-mem.db", &format!("sdk_sessions WHERE id = {id}"));
    assert_eq!([ended, waits, active, other].map(left), [0, 1, 1, 1]);
    assert_eq!(bench.count("claude-mem.db", "observations"), 2, "a new one, and another project's");
    bench.put(waits).unwrap();
    let nothing = retention(&bench.memory, None, Bound::Epoch(1.0), SOON).unwrap();
    assert_eq!(nothing.observations + nothing.sessions, 0, "older than, not as old as");
    assert_eq!(retention(&bench.memory, None, Bound::Epoch(f64::MAX), SOON).unwrap_err().code, Code::InvalidArg);
}

#[test]
fn unknown_and_repeated_ids_are_counted_once() {
    let bench = Bench::new();
    bench.session("a", "p");
    let deleted = delete_rows(&bench.memory, Kind::Observations, vec![1, 1, 7, 1 << 50], SOON).unwrap();
    assert_eq!(deleted, DeletedRows { deleted: 1, unknown: 2 });
    assert_eq!(
        delete_rows(&bench.memory, Kind::Summaries, Vec::new(), SOON).unwrap(),
        DeletedRows { deleted: 0, unknown: 0 }
    );
}

#[test]
fn a_lock_is_waited_for_until_the_deadline() {
    let bench = Bench::new();
    bench.session("a", "p");
    let other = Connection::open(bench.folder.path().join("claude-mem.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = delete_rows(&bench.memory, Kind::Observations, vec![1], Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.code, Code::Busy);
    let error = delete_project(&bench.memory, "p", Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.code, Code::Busy);
    other.execute_batch("ROLLBACK").unwrap();
    // Let in again, although the deletion failed.
    bench.put(1).unwrap();
    assert_eq!(delete_project(&bench.memory, "p", SOON).unwrap().sessions, 1);
}
