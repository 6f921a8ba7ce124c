//! The index of a directory of its own, with other connections that write to the tables as hooks do.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::AtomicI64,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    db::schema,
    embedder::testing::Words,
    index::{
        document::Kind,
        table::Counts,
        vectors::{Allowed, By},
    },
    job::{Cancellable, Jobs},
    reply::wait,
};

const SOON: Duration = Duration::from_secs(30);

struct Bench {
    folder: tempfile::TempDir,
    index: Arc<Index>,
    model: Arc<Words>,
    own: Arc<AtomicI64>,
}

fn settings(folder: &tempfile::TempDir, change: impl Fn(&mut Settings)) -> Settings {
    let mut settings = Settings::new(folder.path());
    settings.index.automatic = false;
    change(&mut settings);
    settings
}

fn open(
    folder: &tempfile::TempDir,
    model: &Arc<Words>,
    own: &Arc<AtomicI64>,
    change: impl Fn(&mut Settings),
) -> Arc<Index> {
    let own = Arc::clone(own);
    let parts = Parts {
        settings: Arc::new(settings(folder, change)),
        embedder: Arc::clone(model) as _,
        own_commits: Box::new(move || own.load(Ordering::Relaxed)),
        activity: Arc::default(),
        guard: None,
    };
    Arc::new(Index::open(parts).unwrap())
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl Fn(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        drop(schema::prepare(&folder.path().join("claude-mem.db"), SOON).unwrap());
        let (model, own) = (Arc::new(Words::new(64)), Arc::default());
        let index = open(&folder, &model, &own, change);
        let bench = Self { folder, index, model, own };
        bench.sql(
            "INSERT INTO sdk_sessions(claude_session_id, sdk_session_id, project, started_at, started_at_epoch, status)
               VALUES ('c', 's', 'p', '', 1, 'active')",
        );
        bench
    }

    /// Disposes the index and opens it again.
    fn reopen(&mut self, change: impl Fn(&mut Settings)) {
        self.index.close(SOON);
        self.index = open(&self.folder, &self.model, &self.own, change);
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("native").join("index.db")
    }

    /// As another process does.
    fn sql(&self, sql: &str) {
        let db = Connection::open(self.folder.path().join("claude-mem.db")).unwrap();
        db.busy_timeout(SOON).unwrap();
        db.execute_batch(sql).unwrap();
    }

    fn observation(&self, id: i64, narrative: &str) {
        self.sql(&format!(
            "INSERT INTO observations(id, sdk_session_id, project, type, narrative, created_at, created_at_epoch)
             VALUES ({id}, 's', 'p', 'change', '{narrative}', '', {id})"
        ));
    }

    fn fresh(&self) {
        wait(|reply| self.index.freshen(reply)).unwrap();
    }

    fn sync(&self) -> sync::Report {
        let job = self.index.sync(&Jobs::default(), false).unwrap();
        wait(|reply| job.result(reply)).unwrap()
    }

    fn ask<T: Send + 'static>(&self, sql: &'static str, read: fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let ask = move |db: &Connection| {
            let mut statement = db.prepare(sql)?;
            Ok(statement.query_map([], read)?.collect::<rusqlite::Result<Vec<T>>>()?)
        };
        wait(|reply| self.index.read("ask", ask, reply)).unwrap()
    }

    /// Names of all documents, in order.
    fn documents(&self) -> Vec<String> {
        let read = |row: &rusqlite::Row<'_>| Ok((RowKey(row.get(0)?), row.get(1)?, row.get(2)?));
        let mut names: Vec<String> = self
            .ask("SELECT row_key, field, part FROM documents", read)
            .into_iter()
            .map(|(key, field, part): (RowKey, i64, u32)| {
                let field = document::Field::of_code(field).unwrap();
                DocumentId { row_id: key.row_id(), field, part }.to_string()
            })
            .collect();
        names.sort();
        names
    }

    fn words(&self, word: &'static str) -> Vec<RowKey> {
        let find = move |db: &Connection| {
            let mut statement = db.prepare("SELECT rowid FROM words WHERE words MATCH ?1 ORDER BY rowid")?;
            Ok(statement.query_map([word], |row| Ok(RowKey(row.get(0)?)))?.collect::<rusqlite::Result<Vec<_>>>()?)
        };
        wait(|reply| self.index.read("find", find, reply)).unwrap()
    }

    /// Rows by what they are near to.
    fn near(&self, text: &str, k: usize) -> Vec<i64> {
        let query = self.model.vector(text);
        let hits = self.index.vectors().nearest(&query, k, By::Group, Allowed::All).unwrap();
        hits.into_iter().filter(|hit| hit.distance < 0.2).map(|hit| RowKey(hit.group).row_id()).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.index.close(SOON);
    }
}

use document::RowKey;

#[test]
fn rows_of_all_kinds_become_lines_documents_and_words() {
    let bench = Bench::new();
    bench.sql(
        r#"INSERT INTO observations(id, sdk_session_id, project, type, title, narrative, text, facts, concepts, files_read,
             files_modified, prompt_number, created_at, created_at_epoch)
           VALUES (3, 's', 'p', 'bugfix', 'titled', 'narrated', 'texted', '["first","","third"]', '["how-it-works"]',
             '["/a.ts"]', '["/a.ts","/b.ts"]', 2, '', 77);
           INSERT INTO session_summaries(id, sdk_session_id, project, request, next_steps, notes, files_edited, created_at,
             created_at_epoch) VALUES (4, 's', 'other', 'requested', 'onwards', '', '["/c.ts"]', '', 78);
           INSERT INTO user_prompts(id, claude_session_id, prompt_number, prompt_text, created_at, created_at_epoch)
             VALUES (5, 'c', 1, 'prompted', '', 79), (6, 'c', 2, '', '', 80)"#,
    );
    assert_eq!(
        bench.documents(),
        [
            "obs_3_fact_0",
            "obs_3_fact_2",
            "obs_3_narrative",
            "obs_3_text",
            "prompt_5",
            "summary_4_next_steps",
            "summary_4_request"
        ]
    );
    let lines = bench.ask(
        "SELECT concat_ws('|', kind, id, project, type, concepts, files_read, files_modified, sdk_session_id, prompt_number,
           created_at_epoch) FROM rows ORDER BY kind, id",
        |row| row.get::<_, String>(0),
    );
    assert_eq!(
        lines,
        [
            r#"1|3|p|bugfix|["how-it-works"]|["/a.ts"]|["/a.ts","/b.ts"]|s|2|77"#,
            r#"2|4|other|["/c.ts"]|s|78"#,
            "3|5|p|1|79",
            "3|6|p|2|80"
        ]
    );
    for (word, kind, id) in [
        ("titled", Kind::Observation, 3),
        ("third", Kind::Observation, 3),
        ("onwards", Kind::Summary, 4),
        ("prompted", Kind::Prompt, 5),
    ] {
        assert_eq!(bench.words(word), [RowKey::new(kind, id)], "{word}");
    }
    assert_eq!(bench.index.figures().counts, Counts { rows: 4, documents: 7, owed: 7 });
}

#[test]
fn what_others_insert_update_and_delete_is_found_before_a_search() {
    let bench = Bench::new();
    for id in 1..=5 {
        bench.observation(id, &format!("number{id} stays"));
    }
    assert_eq!(bench.sync().embedded, 5);
    assert_eq!(bench.near("number3 stays", 1), [3]);
    // Inserted: a new one, and one below the highest.
    bench.observation(50, "number50");
    bench.observation(20, "number20");
    assert_eq!(bench.words("number50").len() + bench.words("number20").len(), 2);
    // Deleted, and one is put in the place of another, so that the count is as before.
    bench.sql("DELETE FROM observations WHERE id IN (1, 50)");
    assert_eq!((bench.words("number1"), bench.words("number50")), (vec![], vec![]));
    assert!(!bench.near("number1 stays", 9).contains(&1), "its vector is gone at once");
    bench.sql("UPDATE observations SET id = 10 WHERE id = 2");
    assert_eq!(bench.words("number2"), [RowKey::new(Kind::Observation, 10)]);
    // Updated in place: no id tells.
    bench.sql("UPDATE observations SET narrative = 'rewritten words' WHERE id = 3");
    assert_eq!((bench.words("number3"), bench.words("rewritten").len()), (vec![], 1));
    assert!(!bench.near("number3 stays", 9).contains(&3), "the vector of the old text is gone at once");
    bench.sync();
    assert_eq!(bench.near("rewritten words", 1), [3]);
    // A session goes to another project, and its prompts with it.
    bench.sql(
        "INSERT INTO user_prompts(claude_session_id, prompt_number, prompt_text, created_at, created_at_epoch)
           VALUES ('c', 1, 'x', '', 1);
         UPDATE sdk_sessions SET project = 'elsewhere'",
    );
    let projects = || bench.ask("SELECT project FROM rows WHERE kind = 3", |row| row.get::<_, String>(0));
    assert_eq!(projects(), ["elsewhere"]);
    bench.sql("UPDATE sdk_sessions SET project = 'back'");
    assert_eq!(projects(), ["back"]);
}

#[test]
fn own_commits_and_hidden_changes_are_found_by_going_round() {
    let bench = Bench::with(|settings| settings.index.automatic = true);
    for id in 1..=3 {
        bench.observation(id, &format!("number{id}"));
    }
    bench.fresh();
    // It looks like an own commit, and is the change of another.
    bench.sql("UPDATE observations SET narrative = 'rewritten' WHERE id = 2");
    bench.own.fetch_add(1, Ordering::Relaxed);
    let began = Instant::now();
    while bench.words("rewritten").is_empty() {
        assert!(began.elapsed() < SOON, "the sweep never comes by");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_fact_that_moves_keeps_its_vector_and_gets_a_new_number() {
    let bench = Bench::new();
    bench.sql(
        r#"INSERT INTO observations(id, sdk_session_id, project, type, facts, created_at, created_at_epoch)
           VALUES (1, 's', 'p', 'change', '["alpha one","beta two"]', '', 1)"#,
    );
    bench.sync();
    let ids = || bench.ask("SELECT id FROM documents ORDER BY part", |row| row.get::<_, i64>(0));
    let before = ids();
    bench.sql(r#"UPDATE observations SET facts = '["gamma three","alpha one","beta two"]'"#);
    bench.fresh();
    assert_eq!(bench.index.figures().counts, Counts { rows: 1, documents: 3, owed: 1 });
    assert!(ids().iter().all(|id| !before.contains(id)), "{before:?} {:?}", ids());
    let vector = wait(|reply| bench.index.get("obs_1_fact_1".parse().unwrap(), reply)).unwrap().unwrap();
    let cosine: f32 = vector.iter().zip(bench.model.vector("alpha one")).map(|(a, b)| a * b).sum();
    assert!(cosine > 0.999, "{cosine}");
    assert_eq!(bench.sync().embedded, 1);
    assert_eq!(bench.index.vectors().len(), 3);
}

#[test]
fn removed_documents_stay_out_until_their_text_changes_or_all_is_rebuilt() {
    let bench = Bench::new();
    bench.observation(1, "first words");
    bench.observation(2, "second words");
    bench.sync();
    let document: DocumentId = "obs_1_narrative".parse().unwrap();
    let remove = || wait(|reply| bench.index.remove(vec![document, "obs_9_text".parse().unwrap()], reply)).unwrap();
    assert_eq!((remove(), remove()), (1, 0));
    assert!(bench.near("first words", 1).is_empty());
    assert_eq!(bench.words("first").len(), 1, "words find it still");
    bench.sql("UPDATE observations SET title = 'now with a title' WHERE id = 1");
    assert_eq!(bench.sync().documents, 1, "that is no change of its text");
    bench.sql("UPDATE observations SET narrative = 'other words' WHERE id = 1");
    assert_eq!((bench.sync().documents, bench.near("other words", 1)), (2, vec![1]));
    remove();
    let job = bench.index.sync(&Jobs::default(), true).unwrap();
    let report = wait(|reply| job.result(reply)).unwrap();
    assert_eq!((report.documents, report.embedded, report.pending), (2, 2, 0));
    assert_eq!(bench.near("other words", 1), [1]);
}

#[test]
fn without_a_model_rows_and_words_are_kept_and_vectors_stay_owed() {
    let bench = Bench::new();
    bench.model.set_missing(true);
    bench.observation(1, "some words");
    let report = bench.sync();
    assert_eq!((report.documents, report.embedded, report.pending), (1, 0, 1));
    assert_eq!(report.reason.as_deref(), Some("the test took the model away"));
    assert_eq!(bench.words("words").len(), 1);
    assert_eq!(bench.index.query_vector("words").unwrap_err().code, Code::NoModel);
    bench.model.set_missing(false);
    let report = bench.sync();
    assert_eq!((report.embedded, report.pending, report.reason), (1, 0, None));
}

#[test]
fn the_graph_does_not_wait_for_what_cannot_be_embedded() {
    let bench = Bench::with(|settings| settings.index.automatic = true);
    bench.observation(1, "some words");
    bench.observation(2, Words::UNEMBEDDABLE);
    let report = bench.sync();
    assert_eq!((report.documents, report.pending), (2, 1));
    assert!(report.reason.is_some_and(|reason| reason.contains("1 documents could not be embedded")));
    let start = Instant::now();
    while bench.index.vectors().is_postponed() {
        assert!(start.elapsed() < SOON, "for as long as it is owed");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(bench.near("some words", 1), [1]);
}

#[test]
fn another_model_makes_every_vector_again() {
    let mut bench = Bench::new();
    for id in 1..=3 {
        bench.observation(id, &format!("number{id}"));
    }
    bench.sync();
    // Another name.
    bench.model = Arc::new(Words::named("others", 32));
    bench.reopen(|_| {});
    bench.fresh();
    assert_eq!(bench.index.figures().counts.owed, 3);
    assert_eq!(bench.sync().embedded, 3);
    assert_eq!(bench.near("number2", 1), [2]);
    // The same name, and other vectors: found by its probes.
    let db = Connection::open(bench.path()).unwrap();
    let probes: String = db.query_row("SELECT value FROM meta WHERE name = 'probes'", [], |row| row.get(0)).unwrap();
    db.execute("UPDATE meta SET value = ?1 WHERE name = 'probes'", [probes.replace("0.", "-0.").replace("--", "")])
        .unwrap();
    drop(db);
    bench.reopen(|_| {});
    bench.fresh();
    assert_eq!(bench.index.figures().counts.owed, 0);
    bench.index.query_vector("anything").unwrap();
    assert_eq!(bench.index.figures().counts.owed, 3);
    assert!(bench.near("number2", 1).is_empty(), "nothing is found by vectors of another model");
    assert_eq!(bench.sync().embedded, 3);
    // Its vectors are not thrown away while no others can be made.
    bench.model = Arc::new(Words::named("third", 16));
    bench.model.set_missing(true);
    bench.reopen(|_| {});
    bench.fresh();
    let figures = bench.index.figures();
    assert_eq!((figures.counts.owed, figures.other_model.map(|model| model.name)), (0, Some("others".into())));
    assert!(bench.near("number2", 1).is_empty());
    assert_eq!(wait(|reply| bench.index.get("obs_1_narrative".parse().unwrap(), reply)), Ok(None));
    bench.model = Arc::new(Words::named("others", 32));
    bench.reopen(|_| {});
    bench.fresh();
    assert_eq!(bench.near("number2", 1), [2]);
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_made_anew() {
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 5] = [
        ("deleted", |path| fs::remove_file(path).unwrap()),
        ("garbage in its place", |path| {
            fs::remove_file(path).unwrap();
            fs::write(path, "garbage".repeat(9_999)).unwrap();
        }),
        ("overwritten", |path| fs::write(path, "garbage".repeat(9_999)).unwrap()),
        ("a table is gone", |path| {
            let db = Connection::open(path).unwrap();
            db.busy_timeout(SOON).unwrap();
            db.execute_batch("DROP TABLE words").unwrap();
        }),
        ("truncated", |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(4_096).unwrap()),
    ];
    for (name, damage) in damages {
        let mut bench = Bench::new();
        for id in 1..=30 {
            bench.observation(id, &format!("number{id} {}", "padding ".repeat(500)));
        }
        bench.sync();
        assert_eq!(bench.words("number7").len(), 1);
        // In the file, not in the log beside it.
        wait(|reply| bench.index.run("move", |indexer| indexer.scrub(), reply)).unwrap();
        damage(&bench.path());
        bench.observation(31, "number31");
        assert_eq!(bench.words("number7").len(), 1, "{name}");
        assert_eq!(bench.words("number31").len(), 1, "{name}");
        let report = bench.sync();
        assert_eq!((report.documents, report.pending), (31, 0), "{name}");
        assert_eq!(bench.near("number31", 1), [31], "{name}");
        // What live connections had in memory hides damage in place; who opens the file next meets it.
        bench.reopen(|_| {});
        assert_eq!((bench.words("number7").len(), bench.words("number31").len()), (1, 1), "{name}");
        let report = bench.sync();
        assert_eq!((report.documents, report.pending), (31, 0), "{name}");
        assert_eq!(bench.near("number31", 1), [31], "{name}");
    }
}

#[test]
fn what_was_there_at_open_is_not_trusted() {
    let mut bench = Bench::new();
    bench.observation(1, "one");
    bench.observation(2, "two");
    bench.sync();
    bench.index.close(SOON);
    assert!(!crate::db::layout::beside(&bench.path(), "-wal").exists(), "closed cleanly");
    bench.sql(
        "UPDATE observations SET narrative = 'three' WHERE id = 1; DELETE FROM observations WHERE id = 2;
         INSERT INTO observations(id, sdk_session_id, project, type, narrative, created_at, created_at_epoch)
         VALUES (9, 's', 'p', 'change', 'nine', '', 1)",
    );
    bench.reopen(|_| {});
    assert_eq!((bench.words("one"), bench.words("two")), (vec![], vec![]));
    assert_eq!(bench.words("three").len() + bench.words("nine").len(), 2);
    let embedded = bench.model.embedded();
    bench.sync();
    // Two documents, and the probes.
    assert_eq!(bench.model.embedded() - embedded, 2 + crate::embedder::probes::TEXTS.len());
}

#[test]
fn by_itself_it_embeds_and_comes_to_rest() {
    let bench = Bench::with(|settings| settings.index.automatic = true);
    for id in 1..=40 {
        bench.observation(id, &format!("number{id}"));
    }
    let began = Instant::now();
    while bench.index.vectors().len() < 40 {
        assert!(began.elapsed() < SOON, "{:?}", bench.index.figures());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(bench.near("number33", 1), [33]);
    while bench.index.figures().progress != Progress::Idle {
        assert!(began.elapsed() < SOON);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_client_reads_what_the_owner_has_written() {
    let bench = Bench::new();
    let client = open(&bench.folder, &bench.model, &bench.own, |settings| {
        settings.role = Role::Client;
        settings.read_only = true;
    });
    let near = |text: &str| client.vectors().nearest(&bench.model.vector(text), 1, By::Group, Allowed::All).unwrap();
    let rows = || wait(|reply| client.read("count", |db| Ok(table::counts(db)?.rows), reply)).unwrap();
    assert_eq!((near("one").len(), rows()), (0, 0), "before there is a file");
    bench.observation(1, "one");
    bench.sync();
    assert_eq!((near("one")[0].group, rows()), (RowKey::new(Kind::Observation, 1).0, 1));
    // The owner makes another file meanwhile.
    bench.observation(2, "two");
    let job = bench.index.sync(&Jobs::default(), true).unwrap();
    wait(|reply| job.result(reply)).unwrap();
    assert_eq!((near("two")[0].group, rows()), (RowKey::new(Kind::Observation, 2).0, 2));
    assert_eq!(client.sync(&Jobs::default(), false).unwrap_err().code, Code::NotOpen);
    assert_eq!(wait(|reply| client.remove(Vec::new(), reply)).unwrap_err().code, Code::NotOpen);
    client.close(SOON);
}

#[test]
fn the_caller_hands_vectors_over() {
    let bench = Bench::new();
    bench.model.set_missing(true);
    bench.observation(1, "one");
    bench.observation(2, "two");
    let pending = wait(|reply| bench.index.pending(10, reply)).unwrap();
    assert_eq!(
        pending.iter().map(|one| (one.document.row_id, &*one.text)).collect::<Vec<_>>(),
        [(2, "two"), (1, "one")]
    );
    bench.sql("UPDATE observations SET narrative = 'another' WHERE id = 2");
    bench.fresh();
    let unknown: DocumentId = "prompt_7".parse().unwrap();
    let mut given: Vec<_> = pending
        .iter()
        .map(|one| (one.document, Some(one.revision), bench.model.vector(&one.text)))
        .chain([(unknown, None, bench.model.vector("x"))])
        .collect();
    let put = wait(|reply| bench.index.put(given.clone(), reply)).unwrap();
    assert_eq!(put, Put { stored: 1, stale: vec![pending[0].document], unknown: vec![unknown] });
    assert_eq!(bench.near("one", 1), [1]);
    // In place of what is there.
    given[1].2 = bench.model.vector("something else");
    given[1].1 = None;
    wait(|reply| bench.index.put(given[1..2].to_vec(), reply)).unwrap();
    assert_eq!((bench.near("one", 1), bench.near("something else", 1)), (vec![], vec![1]));
    assert_eq!(bench.index.vectors().len(), 1);
    given[1].2 = vec![0.0; 64];
    let error = wait(|reply| bench.index.put(given, reply)).unwrap_err();
    assert_eq!(error.code, Code::InvalidArg);
    assert!(error.message.starts_with("obs_1_narrative: "), "{}", error.message);
}

#[test]
fn a_job_that_is_cancelled_leaves_what_it_has_done() {
    let bench = Bench::new();
    for id in 1..=200 {
        bench.observation(id, &format!("number{id}"));
    }
    let job = bench.index.sync(&Jobs::default(), false).unwrap();
    job.cancel();
    assert_eq!(wait(|reply| job.result(reply)).unwrap_err().code, Code::Disposed);
    let report = bench.sync();
    assert_eq!((report.documents, report.pending), (200, 0));
    assert_eq!(bench.near("number150", 1), [150]);
}

#[test]
fn rounds_of_opening_and_closing_leave_no_thread_behind() {
    let mut bench = Bench::with(|settings| settings.index.automatic = true);
    bench.observation(1, "one");
    for _ in 0..50 {
        bench.reopen(|settings| settings.index.automatic = true);
    }
    // Dropped without being closed: the threads end by themselves, and another may write.
    let other = open(&bench.folder, &bench.model, &bench.own, |settings| settings.index.automatic = true);
    drop(other);
    bench.fresh();
    assert_eq!(bench.words("one").len(), 1);
}

/// Segments of both text indexes.
fn segments(bench: &Bench) -> (i64, i64) {
    let sql = "SELECT (SELECT count(DISTINCT segid) FROM words_idx), (SELECT count(DISTINCT segid) FROM pieces_idx)";
    bench.ask(sql, |row| Ok((row.get(0)?, row.get(1)?)))[0]
}

/// Rows with thousands of different words, each of a transaction of its own, until a merge would pay.
fn fill_segments(bench: &Bench) -> i64 {
    let mut seed = 1_u64;
    for id in 1..100 {
        let words: String = (0..2_000)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                format!("w{:x} ", seed >> 40)
            })
            .collect();
        bench.observation(id, &format!("common {words}"));
        bench.fresh();
        let many =
            |db: &Connection| Ok(text::segments::are_many(db, "words")? && text::segments::are_many(db, "pieces")?);
        if wait(|reply| bench.index.read("look", many, reply)).unwrap() {
            return id;
        }
    }
    panic!("never many: {:?}", segments(bench));
}

#[test]
fn segments_of_the_text_indexes_are_merged_when_there_is_nothing_else_to_do() {
    let mut bench = Bench::new();
    let rows = fill_segments(&bench);
    let before = segments(&bench);
    bench.reopen(|settings| settings.index.automatic = true);
    let began = Instant::now();
    while segments(&bench) != (1, 1) {
        assert!(began.elapsed() < SOON, "{before:?}: {:?}", segments(&bench));
        std::thread::sleep(Duration::from_millis(50));
    }
    let found = "SELECT rowid FROM words WHERE words MATCH 'common'";
    assert_eq!(bench.ask(found, |row| row.get::<_, i64>(0)).len(), usize::try_from(rows).unwrap());
}

#[test]
fn a_merge_that_was_left_is_gone_on_with() {
    let mut bench = Bench::new();
    fill_segments(&bench);
    bench.fresh();
    assert!(segments(&bench) > (4, 4), "by hand nobody merges unasked: {:?}", segments(&bench));
    let step =
        |bench: &Bench| wait(|reply| bench.index.run("step", |indexer| Ok(indexer.merge_segments()), reply)).unwrap();
    let note = "SELECT value FROM meta WHERE name = 'merging'";
    assert!(step(&bench));
    assert_eq!(bench.ask(note, |row| row.get::<_, String>(0)), ["words"]);
    bench.reopen(|_| {});
    assert_eq!(bench.ask(note, |row| row.get::<_, String>(0)), ["words"]);
    bench.sync();
    assert_eq!(segments(&bench), (1, 1));
    assert!(bench.ask(note, |row| row.get::<_, String>(0)).is_empty());
    assert!(!step(&bench), "once is enough");
}
