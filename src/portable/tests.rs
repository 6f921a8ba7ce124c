//! Export and import on real files, without Node.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rusqlite::Connection;

use super::*;
use crate::{
    error::{Code, Result},
    job::Job,
    memory::Memory,
    queue::{ConsumeOptions, EnqueueOptions},
    reply::wait,
    settings::Settings,
};

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
        db.busy_timeout(Duration::from_secs(5)).unwrap();
        db.execute_batch(sql).unwrap();
    }

    fn one<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        Connection::open(self.folder.path().join("claude-mem.db"))
            .unwrap()
            .query_row(sql, [], |row| row.get(0))
            .unwrap()
    }

    fn session(&self, name: &str, project: &str) -> i64 {
        self.sql(&format!(
            "INSERT INTO sdk_sessions(claude_session_id, sdk_session_id, project, started_at, started_at_epoch, status)
             VALUES ('{name}', 'sdk-{name}', '{project}', '2026-01-01T00:00:00.000Z', 1, 'active')"
        ));
        self.one(&format!("SELECT id FROM sdk_sessions WHERE claude_session_id = '{name}'"))
    }

    fn put(&self, session: i64, payload: &str) {
        let payload = payload.to_owned();
        wait(|reply| self.memory.queue().unwrap().enqueue(session, payload, EnqueueOptions::default(), reply)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn export(&self, name: &str) -> Result<Exported> {
        let (memory, path) = (Arc::clone(&self.memory), self.path(name));
        let options = ExportOptions { project: None, wait: Duration::from_secs(5) };
        let job: Job<Progress, _> =
            self.memory.jobs().start("export", move |control| export(&memory, &path, &options, control))?;
        wait(|reply| job.result(reply))
    }

    fn import(&self, path: PathBuf) -> Result<Imported> {
        let memory = Arc::clone(&self.memory);
        let options = ImportOptions { max_line_bytes: 64 << 10, wait: Duration::from_secs(5) };
        let job: Job<Progress, _> =
            self.memory.jobs().start("import", move |control| import(&memory, &path, &options, control))?;
        wait(|reply| job.result(reply))
    }

    fn import_text(&self, text: &str) -> Result<Imported> {
        let path = self.path("text.jsonl");
        std::fs::write(&path, text).unwrap();
        self.import(path)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(wait(|reply| self.memory.dispose(reply)));
    }
}

const TIME: &str = "'2026-01-01T00:00:00.000Z', 1767225600000";

#[test]
fn whatever_sqlite_holds_comes_back() {
    let (from, to) = (Bench::new(), Bench::new());
    from.session("a", "p");
    from.sql(&format!(
        "INSERT INTO observations(sdk_session_id, project, type, title, subtitle, narrative, facts, concepts, text, created_at, created_at_epoch)
           VALUES ('sdk-a', 'p', 'change', '', NULL, 'line' || char(10) || 'break' || char(0) || 'nul', '[not json', '[]',
             CAST(x'61ff62' AS TEXT), {TIME}),
           ('sdk-a', 'p', 'change', x'00ff', 'same', NULL, NULL, NULL, NULL, {TIME}),
           ('sdk-a', 'p', 'change', x'00ff', 'same', NULL, NULL, NULL, NULL, {TIME})"
    ));
    let exported = from.export("all.jsonl").unwrap();
    assert_eq!((exported.sessions, exported.observations, exported.lines), (1, 3, 6));
    let imported = to.import(from.path("all.jsonl")).unwrap();
    assert_eq!(imported.observations, Tally { imported: 3, existing: 0 }, "equal rows are counted one by one");
    let again = to.import(from.path("all.jsonl")).unwrap();
    assert_eq!(again.observations, Tally { imported: 0, existing: 3 });
    let content = "SELECT group_concat(typeof(title) || hex(title) || typeof(subtitle) || coalesce(hex(narrative), '-') || hex(facts) ||
      typeof(text) || hex(text) || created_at_epoch, '|') FROM (SELECT * FROM observations ORDER BY id)";
    assert_eq!(from.one::<String>(content), to.one::<String>(content));
}

#[test]
fn a_session_with_another_name_for_its_rows() {
    let (from, to) = (Bench::new(), Bench::new());
    from.session("a", "p");
    from.sql(&format!("INSERT INTO observations(sdk_session_id, project, type, created_at, created_at_epoch) VALUES ('sdk-a', 'p', 'change', {TIME})"));
    // Here the session is known under another name, and the file's name is another session's.
    to.session("a", "mine");
    to.sql("UPDATE sdk_sessions SET sdk_session_id = 'other' WHERE claude_session_id = 'a'");
    to.session("b", "p");
    to.sql("UPDATE sdk_sessions SET sdk_session_id = 'sdk-a' WHERE claude_session_id = 'b'");
    from.export("all.jsonl").unwrap();
    for _ in 0..2 {
        let imported = to.import(from.path("all.jsonl")).unwrap();
        assert_eq!(imported.sessions, Tally { imported: 0, existing: 1 });
    }
    assert_eq!(to.one::<String>("SELECT group_concat(sdk_session_id) FROM observations"), "other");
    assert_eq!(to.one::<String>("SELECT project FROM sdk_sessions WHERE claude_session_id = 'a'"), "mine", "kept");
}

#[test]
fn messages_are_taken_once() {
    let (from, to) = (Bench::new(), Bench::new());
    let session = from.session("a", "p");
    for payload in [
        r#"{"type":"observation","n":1}"#,
        r#"{"type":"observation","n":1}"#,
        "{\n \"type\": \"summarize\"\n}",
        r#" {"lone":"\ud800"}"#,
    ] {
        from.put(session, payload);
    }
    assert_eq!(from.export("all.jsonl").unwrap().messages, 4);
    let file = from.path("all.jsonl");
    assert_eq!(to.import(file.clone()).unwrap().messages, Arrivals { imported: 4, duplicate: 0, skipped: 0 });
    assert_eq!(to.import(file.clone()).unwrap().messages, Arrivals { imported: 0, duplicate: 4, skipped: 0 });
    assert_eq!(from.import(file.clone()).unwrap().messages, Arrivals { imported: 0, duplicate: 4, skipped: 0 });
    let there: i64 = to.one("SELECT id FROM sdk_sessions");
    assert_eq!(to.memory.queue().unwrap().depth(Some(there)), 4);
    // Delivered in both: neither takes them for new.
    for (bench, id) in [(&from, session), (&to, there)] {
        let consumer = bench
            .memory
            .queue()
            .unwrap()
            .consume(id, ConsumeOptions { max_batch: 10, ..ConsumeOptions::default() })
            .unwrap();
        let batch = wait(|reply| consumer.next(reply)).unwrap().unwrap();
        let payloads: Vec<&str> = batch.messages().iter().map(|message| &*message.payload).collect();
        assert_eq!(
            payloads,
            [r#"{"type":"observation","n":1}"#, r#"{"type":"observation","n":1}"#, "{\n \"type\": \"summarize\"\n}"],
            "a batch ends with a summary"
        );
        wait(|reply| batch.commit(crate::queue::Answer::default(), reply)).unwrap();
        assert_eq!(bench.import(file.clone()).unwrap().messages, Arrivals { imported: 0, duplicate: 4, skipped: 0 });
        assert_eq!(bench.memory.queue().unwrap().depth(Some(id)), 1);
        // Thrown away on purpose, they may come back.
        wait(|reply| bench.memory.queue().unwrap().purge(id, reply)).unwrap();
        assert_eq!(bench.import(file.clone()).unwrap().messages.imported, 4);
    }
}

#[test]
fn an_acknowledged_message_is_not_exported() {
    let from = Bench::new();
    let session = from.session("a", "p");
    from.put(session, r#"{"n":1}"#);
    from.put(session, r#"{"n":2}"#);
    let consumer = from
        .memory
        .queue()
        .unwrap()
        .consume(session, ConsumeOptions { max_batch: 1, ..ConsumeOptions::default() })
        .unwrap();
    let batch = wait(|reply| consumer.next(reply)).unwrap().unwrap();
    wait(|reply| batch.commit(crate::queue::Answer::default(), reply)).unwrap();
    assert_eq!(from.export("all.jsonl").unwrap().messages, 1);
    let text = std::fs::read_to_string(from.path("all.jsonl")).unwrap();
    assert!(text.contains(r#""payload":{"n":2}"#) && !text.contains(r#"{"n":1}"#), "{text}");
}

const HEADER: &str = r#"{"kind":"header","format":"claude-mem-native-export","version":1}"#;
const FOOTER: &str = r#"{"kind":"footer","counts":{}}"#;
const SESSION: &str = r#"{"kind":"session","row":{"claude_session_id":"x","sdk_session_id":"x","project":"p","started_at":"","started_at_epoch":1,"status":"active"}}"#;

#[test]
fn what_is_no_export_says_which_line() {
    let bench = Bench::new();
    let later = HEADER.replace(":1}", ":99}");
    let long = format!(r#"{{"kind":"session","row":{{"claude_session_id":"{}"}}}}"#, "x".repeat(70 << 10));
    for (text, code, line, says) in [
        (String::new(), Code::Corrupt, 1, "is empty"),
        ("hello\n".into(), Code::InvalidArg, 1, "not the JSON text"),
        (format!("{SESSION}\n"), Code::InvalidArg, 1, "no header"),
        (r#"{"kind":"header","format":"other"}"#.into(), Code::InvalidArg, 1, "no header"),
        (later, Code::SchemaUnsupported, 1, "version 99"),
        (format!("{HEADER}\n{SESSION}\n"), Code::Corrupt, 3, "no footer"),
        (format!("{HEADER}\n{}", &SESSION[..50]), Code::Corrupt, 2, "in the middle"),
        (format!("{HEADER}\n{SESSION}\n{FOOTER}\n"), Code::Corrupt, 3, "has 1 lines of the kind 'session'"),
        (format!("{HEADER}\n\n{{\"kind\":\"x\"}}\n"), Code::InvalidArg, 3, "'x', which is not known"),
        (format!("{HEADER}\n{FOOTER}\n{FOOTER}\n"), Code::InvalidArg, 3, "after the footer"),
        (format!("{HEADER}\n{long}\n{FOOTER}\n"), Code::InvalidArg, 2, "limit of 65536 bytes"),
        (format!("{HEADER}\n{{\"kind\":\"session\"}}\n"), Code::InvalidArg, 2, "no object 'row'"),
        (
            format!("{HEADER}\n{{\"kind\":\"session\",\"row\":{{\"project\":[]}}}}\n"),
            Code::InvalidArg,
            2,
            "column project",
        ),
        (
            format!("{HEADER}\n{{\"kind\":\"session\",\"row\":{{\"claude_session_id\":\"y\"}}}}\n"),
            Code::Constraint,
            2,
            "line 2",
        ),
        (
            format!("{HEADER}\n{{\"kind\":\"message\",\"row\":{{\"claude_session_id\":\"x\"}}}}\n"),
            Code::InvalidArg,
            2,
            "payload",
        ),
    ] {
        let error = bench.import_text(&text).unwrap_err();
        assert_eq!(error.code, code, "{text}: {error}");
        assert!(error.message.contains(says), "{text}: {error}");
        assert!(
            error
                .details
                .iter()
                .any(|(name, value)| *name == "line" && *value == crate::error::Detail::from(i64::from(line))),
            "{error:?}"
        );
    }
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM sdk_sessions"), 1, "what came before the line is imported");
    assert_eq!(bench.import_text(&format!("{HEADER}\r\n{FOOTER}")).unwrap().lines, 2);
}

#[test]
fn columns_that_are_not_here_are_named() {
    let bench = Bench::new();
    let session = SESSION.replace(r#""project":"p""#, r#""project":"p","later":5"#);
    let text = format!("{HEADER}\n{session}\n{}\n", FOOTER.replace("{}", r#"{"session":1}"#));
    assert_eq!(bench.import_text(&text).unwrap().ignored_columns, ["sdk_sessions.later"]);
}

#[test]
fn a_message_without_a_session_is_a_dead_letter_once() {
    let bench = Bench::new();
    let message = r#"{"kind":"message","row":{"claude_session_id":"gone","enqueued_at_epoch":5,"ends_batch":0,"attempts":0},"payload":{"n":1}}"#;
    let text = format!("{HEADER}\n{message}\n{}\n", FOOTER.replace("{}", r#"{"message":1}"#));
    assert_eq!(bench.import_text(&text).unwrap().dead_letters, Arrivals { imported: 1, duplicate: 0, skipped: 0 });
    assert_eq!(bench.import_text(&text).unwrap().dead_letters, Arrivals { imported: 0, duplicate: 1, skipped: 0 });
    let letters = wait(|reply| bench.memory.queue().unwrap().dead_letters(None, 10, 0, reply)).unwrap();
    assert_eq!((letters.len(), &*letters[0].reason), (1, "session-gone"));
}

#[test]
fn the_memorys_own_files_are_no_place_for_an_export() {
    let bench = Bench::new();
    for name in ["claude-mem.db", "claude-mem.db-wal", "native/queue.db", "native/export.jsonl"] {
        assert_eq!(bench.export(name).unwrap_err().code, Code::InvalidArg, "{name}");
    }
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM sdk_sessions"), 0);
}
