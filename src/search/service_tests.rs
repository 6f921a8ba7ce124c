//! Whole searches: over an index that follows the tables, with other connections that write to them.

use std::{
    sync::{Arc, atomic::AtomicI64},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{
    ranking,
    request::{Kinds, Mode, Request},
    rows,
    service::{Answer, Query, Search},
};
use crate::{
    db::{Cell, Readers, connection, schema},
    embedder::{Embedder, testing::Words},
    error::{Code, Result},
    index::{
        Index, Parts,
        document::{Kind, RowKey},
    },
    job::Jobs,
    reply::wait,
    settings::Settings,
    store::{filters::Filters, order::OrderBy},
};

const SOON: Duration = Duration::from_secs(30);

mod waiting;

struct Fixture<M = Words> {
    folder: tempfile::TempDir,
    model: Arc<M>,
    index: Arc<Index>,
    tables: Arc<Readers>,
    search: Search,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        drop(schema::prepare(&folder.path().join("claude-mem.db"), SOON).unwrap());
        let fixture = Self::over(folder, Words::new(64));
        fixture.sql(
            "INSERT INTO sdk_sessions(claude_session_id, sdk_session_id, project, started_at, started_at_epoch, status)
               VALUES ('c', 's', 'p', '', 1, 'active')",
        );
        fixture
    }
}

impl<M: Embedder + 'static> Fixture<M> {
    fn over(folder: tempfile::TempDir, model: M) -> Self {
        let mut settings = Settings::new(folder.path());
        settings.index.automatic = false;
        let model = Arc::new(model);
        let own = AtomicI64::new(0);
        let index = Index::open(Parts {
            settings: Arc::new(settings),
            embedder: Arc::clone(&model) as _,
            own_commits: Box::new(move || own.load(std::sync::atomic::Ordering::Relaxed)),
            activity: Arc::default(),
            guard: None,
        });
        let index = Arc::new(index.unwrap());
        let reader = connection::open_reader(&folder.path().join("claude-mem.db")).unwrap();
        let tables = Arc::new(Readers::start("cm-read", vec![reader], Arc::default()).unwrap());
        let search = Search::new(Arc::clone(&index), Arc::clone(&tables));
        Self { folder, model, index, tables, search }
    }

    /// Closes everything and opens the directory again with another model.
    fn reopened<N: Embedder + 'static>(mut self, model: N) -> Fixture<N> {
        self.close();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Fixture::over(folder, model)
    }
}

impl<M> Fixture<M> {
    fn close(&self) {
        self.index.close(SOON);
        self.tables.close(SOON);
    }

    fn sql(&self, sql: &str) {
        let db = Connection::open(self.folder.path().join("claude-mem.db")).unwrap();
        db.busy_timeout(SOON).unwrap();
        db.execute_batch(sql).unwrap();
    }

    fn observe(&self, id: i64, title: &str, narrative: &str) {
        self.sql(&format!(
            "INSERT INTO observations(id, sdk_session_id, project, type, title, narrative, facts, created_at, created_at_epoch)
             VALUES ({id}, 's', 'p', 'change', '{title}', '{narrative}', '[\"a fact of {title}\"]', '', {id})"
        ));
    }

    fn sync(&self) {
        let job = self.index.sync(&Jobs::default(), false).unwrap();
        wait(|reply| job.result(reply)).unwrap();
    }

    fn try_find(&self, query: Query, request: Request) -> Result<Answer> {
        wait(|reply| self.search.find(query, request, reply))
    }

    fn find(&self, request: Request) -> Answer {
        self.try_find(Query::Text(None), request).unwrap()
    }
}

impl<M> Drop for Fixture<M> {
    fn drop(&mut self) {
        self.close();
    }
}

fn observations(text: &str) -> Request {
    Request::new(text, Kinds::of(&[Kind::Observation]))
}

fn ids(answer: &Answer) -> Vec<i64> {
    answer.results.iter().map(|found| found.hit.key.row_id()).collect()
}

#[test]
fn what_was_just_stored_is_found_and_judged_by_what_it_says() {
    let fixture = Fixture::new();
    fixture.observe(1, "Leak", "the heap leaks memory");
    fixture.observe(2, "Button", "a button is blue");
    fixture.sync();
    fixture.observe(3, "Other", "the heap of laundry leaks no memory at all, it is about clothes");
    fixture.observe(4, "New", "heap leaks memory");
    let answer = fixture.find(observations("heap leaks memory"));
    assert_eq!((answer.mode, answer.reason.as_deref()), (Some(Mode::Hybrid), None));
    assert_eq!(ids(&answer)[0], 4, "{answer:?}");
    assert_eq!(answer.pending_documents, 4, "nothing is indexed by a search");
    assert!(answer.results.iter().all(|found| found.hit.meaning.is_some()), "{answer:?}");
    let row = &answer.results[0].row;
    assert_eq!(row.cells[row.column("narrative").unwrap()], Cell::Text("heap leaks memory".into()));
}

#[test]
fn without_a_model_words_are_searched_for_and_the_reason_is_told() {
    let fixture = Fixture::new();
    fixture.observe(1, "Leak", "the heap leaks memory");
    fixture.model.set_missing(true);
    for mode in [Mode::Hybrid, Mode::Semantic] {
        let answer = fixture.find(Request { mode, ..observations("leaking heap") });
        assert_eq!((answer.mode, ids(&answer)), (Some(Mode::Keyword), vec![1]));
        assert!(answer.reason.unwrap().contains("took the model away"));
    }
    let answer = fixture.find(Request { mode: Mode::Keyword, ..observations("leaking heap") });
    assert_eq!((answer.mode, answer.reason), (Some(Mode::Keyword), None));
    let answer = fixture.find(observations(" \0\n"));
    assert_eq!((answer.results.len(), answer.reason.unwrap().as_str()), (0, "the query says nothing"));
}

#[test]
fn vectors_of_another_model_are_not_compared() {
    let fixture = Fixture::new();
    fixture.observe(1, "Leak", "the heap leaks memory");
    fixture.sync();
    let fixture = fixture.reopened(Words::named("another", 64));
    let answer = fixture.find(observations("heap"));
    if answer.mode == Some(Mode::Keyword) {
        assert!(answer.reason.unwrap().contains("another model"));
    } else {
        assert!(answer.results.iter().all(|found| found.hit.meaning.is_none_or(|meaning| meaning.rank.is_none())));
    }
    assert_eq!(fixture.find(observations("heap")).results.len(), 1);
    fixture.sync();
    assert_eq!(fixture.find(observations("heap")).mode, Some(Mode::Hybrid));
}

#[test]
fn what_is_like_an_observation() {
    let fixture = Fixture::new();
    fixture.observe(1, "Leak", "the heap leaks memory in the worker");
    fixture.observe(2, "Button", "a button is blue");
    fixture.observe(3, "Again", "the heap of the worker leaks memory again");
    fixture.sync();
    fixture.observe(4, "New", "memory leaks in the heap of the worker");
    let similar = |id| fixture.try_find(Query::Observation(id), observations(""));
    let answer = similar(1).unwrap();
    assert_eq!((answer.mode, ids(&answer)), (Some(Mode::Semantic), vec![3, 2]));
    let mut like_new = ids(&similar(4).unwrap());
    assert_eq!(like_new.pop(), Some(2), "embedded for this query");
    assert_eq!(like_new.len(), 2);
    fixture.model.set_missing(true);
    let answer = similar(4).unwrap();
    assert_eq!(answer.mode, Some(Mode::Keyword));
    assert!(answer.reason.is_some() && !ids(&answer).contains(&4), "{answer:?}");
    let error = similar(99).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::NotFound, "there is no observation 99"));
}

#[test]
fn the_best_match_and_what_happened_around_it() {
    let fixture = Fixture::new();
    for id in 1..=9 {
        fixture.observe(id, "Work", &format!("step {id} of the work"));
    }
    fixture.observe(10, "Leak", "the heap leaks memory");
    for id in 11..=19 {
        fixture.observe(id, "Work", &format!("step {id} of the work"));
    }
    let found =
        wait(|reply| fixture.search.timeline(Query::Text(None), observations("heap leak"), 2, 3, reply)).unwrap();
    assert_eq!(ids(&found.anchor), [10]);
    let id = found.timeline.observations.column("id").unwrap();
    let around: Vec<&Cell> = found.timeline.observations.iter().map(|row| &row[id]).collect();
    assert_eq!(around, [8, 9, 10, 11, 12, 13].map(Cell::Integer).iter().collect::<Vec<_>>());
    let request = Request { mode: Mode::Keyword, ..observations("nothing like it") };
    let found = wait(|reply| fixture.search.timeline(Query::Text(None), request, 2, 3, reply)).unwrap();
    assert!(found.anchor.results.is_empty() && found.timeline.observations.is_empty());
}

#[test]
fn explanations_name_the_field_and_show_the_text() {
    let fixture = Fixture::new();
    fixture.observe(1, "Leak", "the heap leaks memory");
    fixture.observe(2, "Button", "something else");
    fixture.sync();
    let answer = fixture.find(Request { explain: true, ..observations("leaking heap") });
    let best = &answer.results[0];
    let snippet = best.snippet.as_ref().unwrap();
    assert_eq!((snippet.field, snippet.text.as_str()), ("narrative", "the heap leaks memory"));
    assert_eq!(snippet.highlights, [(4, 8), (9, 14)]);
    assert_eq!(best.hit.meaning.unwrap().document.unwrap().to_string(), "obs_1_narrative");
    // Found by its vector alone: what its nearest document says.
    let other = answer.results.iter().find(|found| found.hit.key.row_id() == 2).unwrap();
    assert!(other.hit.words.is_none());
    let (document, snippet) = (other.hit.meaning.unwrap().document.unwrap(), other.snippet.as_ref().unwrap());
    match document.to_string().as_str() {
        "obs_2_narrative" => assert_eq!((snippet.field, snippet.text.as_str()), ("narrative", "something else")),
        "obs_2_fact_0" => assert_eq!((snippet.field, snippet.text.as_str()), ("facts", "a fact of Button")),
        other => panic!("{other}"),
    }
    assert!(fixture.find(observations("leak")).results.iter().all(|found| found.snippet.is_none()));
}

#[test]
fn a_row_that_is_gone_is_left_out() {
    let fixture = Fixture::new();
    fixture.observe(1, "Leak", "the heap leaks memory");
    fixture.observe(2, "Leak", "the heap leaks memory");
    let answer = fixture.find(observations("heap"));
    let hits = answer.results.iter().map(|found| found.hit.clone()).collect::<Vec<_>>();
    assert_eq!(hits.len(), 2);
    fixture.sql("DELETE FROM observations WHERE id = 1");
    let left = wait(|reply| fixture.tables.call("rows", move |db| rows::read(db, hits, None), reply)).unwrap();
    assert_eq!(left.iter().map(|found| found.hit.key).collect::<Vec<_>>(), [RowKey::new(Kind::Observation, 2)]);
    assert_eq!(ids(&fixture.find(observations("heap"))), [2]);
}

#[test]
fn lists_by_date() {
    let fixture = Fixture::new();
    for id in 1..=5 {
        fixture.observe(id, "Work", "step");
    }
    let list = |order_by, offset, filters| {
        let request = Request { order_by, offset, limit: 2, filters, ..observations("") };
        fixture.try_find(Query::Nothing, request).unwrap()
    };
    let project = Filters { project: Some("p".into()), ..Filters::default() };
    let first = list(OrderBy::Relevance, 0, project.clone());
    assert_eq!((ids(&first), first.total, first.mode), (vec![5, 4], 5, None));
    assert_eq!(ids(&list(OrderBy::DateDesc, 2, project.clone())), [3, 2]);
    assert_eq!(ids(&list(OrderBy::DateAsc, 0, project)), [1, 2]);
    let other = list(OrderBy::DateAsc, 0, Filters { project: Some("q".into()), ..Filters::default() });
    assert_eq!((other.results.len(), other.total), (0, 0));
}

/// `cargo test --release measure_search -- --ignored --nocapture`: figures, no test.
#[test]
#[ignore = "measures"]
fn measure_search() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures/claude-mem-6.0.2.db");
    if !std::path::Path::new(source).exists() {
        return eprintln!("skipped: {source} is not there");
    }
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("claude-mem.db");
    std::fs::copy(source, &database).unwrap();
    drop(schema::prepare(&database, SOON).unwrap());
    let fixture = Fixture::over(folder, Words::new(384));
    let start = Instant::now();
    fixture.sync();
    println!("{} documents indexed in {:?}", fixture.index.vectors().len(), start.elapsed());
    println!("µs: 10th percentile / median of 60");
    for text in [
        "heap snapshot retained object leaks",
        "refund request and currency conversion",
        "HNSW graph nearest neighbour recall",
        "where do we refresh the access token?",
        "fix the error handling of the worker service",
        "token",
        "データベース",
        "migratoin of the databse",
    ] {
        let fixture = &fixture;
        let vector = fixture.model.query(text).unwrap();
        let legs = |mode, vector: Option<&[f32]>| {
            let request = Request { mode, ..observations(text) };
            let (index, vector) = (Arc::clone(&fixture.index), vector.map(<[f32]>::to_vec));
            wait(|reply| {
                fixture.index.readers().call(
                    "legs",
                    move |db| {
                        let mut times: Vec<u128> = (0..60)
                            .map(|_| {
                                let start = Instant::now();
                                let found = ranking::candidates(db, index.vectors(), vector.as_deref(), &request, None)
                                    .unwrap();
                                std::hint::black_box(found.rank());
                                start.elapsed().as_micros()
                            })
                            .collect();
                        times.sort_unstable();
                        Ok((times[5], times[30]))
                    },
                    reply,
                );
            })
            .unwrap()
        };
        let keyword = legs(Mode::Keyword, None);
        let semantic = legs(Mode::Semantic, Some(&vector));
        let hybrid = legs(Mode::Hybrid, Some(&vector));
        let mut times: Vec<u128> = (0..60)
            .map(|_| {
                let start = Instant::now();
                fixture.find(observations(text));
                start.elapsed().as_micros()
            })
            .collect();
        times.sort_unstable();
        println!(
            "{text:45} keyword {keyword:?} semantic {semantic:?} hybrid {hybrid:?} whole {:?}",
            (times[5], times[30])
        );
    }
}
