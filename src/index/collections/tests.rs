mod graphs;
mod waiting;

use std::sync::{Condvar, Mutex, mpsc};

use tempfile::TempDir;

use super::*;
use crate::{
    db::layout::Layout,
    embedder::{Priority, probes, testing::Words},
    reply::wait,
};

const PLAIN: Include = Include { text: true, metadata: true, vector: false };

struct Data {
    folder: TempDir,
    settings: Settings,
}

impl Data {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(Layout::new(folder.path()).native()).unwrap();
        let settings = Settings::new(folder.path());
        Self { folder, settings }
    }

    fn open_with(&self, embedder: &Arc<impl Embedder + 'static>) -> Arc<Collections> {
        let (budget, activity) = (Arc::new(Budget::new(64 << 20)), Arc::new(Activity::default()));
        let embedder = Arc::clone(embedder) as Arc<dyn Embedder>;
        let settings = Arc::new(self.settings.clone());
        Arc::new(Collections::open(&settings, embedder, &budget, &activity, None).unwrap())
    }

    fn open(&self) -> Arc<Collections> {
        self.open_with(&Arc::new(Words::new(64)))
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn close(collections: &Collections) {
    collections.close(Duration::from_secs(60));
}

fn text(id: &str, text: &str) -> NewDocument {
    NewDocument { id: id.to_owned(), text: Some(text.to_owned()), ..NewDocument::default() }
}

fn vector(id: &str, vector: &[f32]) -> NewDocument {
    NewDocument { id: id.to_owned(), vector: Some(vector.to_vec()), ..NewDocument::default() }
}

fn upsert(collections: &Arc<Collections>, name: &str, documents: Vec<NewDocument>) -> Result<Upserted> {
    wait(|reply| collections.upsert(name.to_owned(), documents, soon(), reply))
}

fn delete(collections: &Arc<Collections>, name: &str, ids: &[&str]) -> usize {
    let ids = Some(ids.iter().map(|id| (*id).to_owned()).collect());
    wait(|reply| collections.delete(name.to_owned(), Which { ids, filter: None }, soon(), reply)).unwrap()
}

fn query(collections: &Arc<Collections>, name: &str, near: Near, k: usize) -> Result<Vec<String>> {
    let query = Query { near, k, filter: None, max_distance: None, include: PLAIN };
    let found = wait(|reply| collections.query(name.to_owned(), query, reply))?;
    assert!(found.is_sorted_by(|a, b| a.distance <= b.distance));
    Ok(found.into_iter().map(|found| found.document.id).collect())
}

fn by_text(collections: &Arc<Collections>, name: &str, text: &str) -> Result<Vec<String>> {
    query(collections, name, Near::Text(text.to_owned()), 2)
}

fn by_vector(collections: &Arc<Collections>, name: &str, vector: &[f32], k: usize) -> Vec<String> {
    query(collections, name, Near::Vector(vector.to_vec()), k).unwrap()
}

fn listed(collections: &Arc<Collections>, name: &str) -> Listed {
    let all = wait(|reply| collections.list(reply)).unwrap();
    all.into_iter().find(|listed| listed.name == name).unwrap()
}

fn until(condition: impl Fn() -> bool) {
    let deadline = soon();
    while !condition() {
        assert!(Instant::now() < deadline, "this never comes true");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_an_awaited_upsert_has_stored_is_found() {
    let data = Data::new();
    let collections = data.open();
    assert!(by_text(&collections, "notes", "anything").unwrap().is_empty(), "not there yet");
    assert!(!Layout::new(data.folder.path()).collections().exists(), "and not made by looking");
    let documents = vec![text("leak", "the heap leaks memory"), text("button", "a button is blue")];
    let done = upsert(&collections, "notes", documents).unwrap();
    assert_eq!(done, Upserted { stored: 2, owed: 0, reason: None });
    assert_eq!(by_text(&collections, "notes", "memory leaks").unwrap(), ["leak", "button"]);
    // Another text is found by what it says now, the old one by nothing.
    upsert(&collections, "notes", vec![text("leak", "a disk is full"), text("new", "memory leaks in the heap")])
        .unwrap();
    assert_eq!(by_text(&collections, "notes", "memory leaks").unwrap()[0], "new");
    assert_eq!(by_text(&collections, "notes", "full disk").unwrap()[0], "leak");
    assert_eq!(delete(&collections, "notes", &["new", "none"]), 1);
    assert!(!by_text(&collections, "notes", "memory leaks").unwrap().contains(&"new".to_owned()));
    let (count, owed) = (listed(&collections, "notes").count, listed(&collections, "notes").owed);
    assert_eq!((count, owed), (2, 0));
    close(&collections);
    assert_eq!(by_text(&collections, "notes", "x").unwrap_err().code, Code::Disposed);
    let again = data.open();
    assert_eq!(by_text(&again, "notes", "full disk").unwrap()[0], "leak");
    assert!(wait(|reply| again.drop_collection("notes".to_owned(), soon(), reply)).unwrap());
    assert!(by_text(&again, "notes", "full disk").unwrap().is_empty());
    close(&again);
}

#[test]
fn without_a_model_vectors_are_owed_until_there_is_one() {
    let data = Data::new();
    let words = Arc::new(Words::new(64));
    words.set_missing(true);
    let collections = data.open_with(&words);
    let done = upsert(&collections, "notes", vec![text("a", "the heap leaks")]).unwrap();
    assert_eq!((done.stored, done.owed), (1, 1));
    assert!(done.reason.unwrap().contains("took the model away"));
    assert_eq!(by_text(&collections, "notes", "heap").unwrap_err().code, Code::NoModel);
    let kept = wait(|reply| collections.get("notes".into(), Which::default(), 0, 9, PLAIN, reply)).unwrap();
    assert_eq!(kept[0].text.as_deref(), Some("the heap leaks"));
    // One that is handed over is found meanwhile.
    upsert(&collections, "notes", vec![vector("b", &words.vector("a blue button"))]).unwrap();
    assert_eq!(by_vector(&collections, "notes", &words.vector("blue"), 2), ["b"]);
    words.set_missing(false);
    until(|| by_text(&collections, "notes", "heap").unwrap() == ["a", "b"]);
    close(&collections);
    // The same across a restart.
    words.set_missing(true);
    let collections = data.open_with(&words);
    upsert(&collections, "notes", vec![text("c", "the disk is full")]).unwrap();
    close(&collections);
    words.set_missing(false);
    let collections = data.open_with(&words);
    until(|| listed(&collections, "notes").owed == 0);
    assert_eq!(by_text(&collections, "notes", "full disk").unwrap()[0], "c");
    close(&collections);
}

#[test]
fn another_model_makes_the_vectors_of_texts_again_and_leaves_the_others() {
    let data = Data::new();
    let collections = data.open();
    let many = (0..200).map(|number| text(&format!("{number}"), &format!("word{number} here"))).collect();
    upsert(&collections, "notes", many).unwrap();
    upsert(&collections, "own", vec![vector("x", &[1.0, 2.0])]).unwrap();
    assert_eq!(listed(&collections, "notes").model.as_deref(), Some("words"));
    assert_eq!(listed(&collections, "own").model, None);
    close(&collections);
    let other = Arc::new(Words::named("other", 32));
    // While it is not there, the old vectors stay.
    other.set_missing(true);
    let collections = data.open_with(&other);
    assert_eq!(by_text(&collections, "notes", "word7").unwrap_err().code, Code::NoModel);
    assert_eq!(by_vector(&collections, "notes", &Words::new(64).vector("word7 here"), 1), ["7"]);
    close(&collections);
    other.set_missing(false);
    let collections = data.open_with(&other);
    until(|| {
        // Read once: before the change none is owed either, but of the old length.
        let notes = listed(&collections, "notes");
        notes.owed == 0 && notes.dimensions == 32
    });
    assert_eq!(by_text(&collections, "notes", "word7").unwrap()[0], "7");
    assert_eq!(other.embedded(), 201 + probes::TEXTS.len(), "each text once, the query, and the probes");
    assert_eq!(by_vector(&collections, "own", &[1.0, 2.0], 1), ["x"]);
    assert_eq!(by_text(&collections, "own", "word").unwrap_err().code, Code::NoModel);
    close(&collections);
}

#[test]
fn another_model_of_the_same_name_is_found_by_its_probes() {
    let data = Data::new();
    let collections = data.open();
    upsert(&collections, "notes", (0..20).map(|number| text(&format!("{number}"), &format!("word{number}"))).collect())
        .unwrap();
    close(&collections);
    let file = Layout::new(data.folder.path()).collections();
    let stored = || -> Option<Vec<u8>> {
        let db = Connection::open(&file).unwrap();
        db.query_row("SELECT probes FROM collections WHERE name = 'notes'", [], |row| row.get(0)).unwrap()
    };
    let leave = |bytes: Option<Vec<u8>>| {
        Connection::open(&file).unwrap().execute("UPDATE collections SET probes = ?1", [bytes]).unwrap();
    };
    let ours = stored().unwrap();
    assert_eq!(probes::from_bytes(&ours), Words::new(64).probes().unwrap());
    let of_another = probes::to_bytes(&Words::new(64).embed(&["a", "b", "c", "d"], Priority::Query).unwrap());

    // A query finds out, and has the vectors made again.
    leave(Some(of_another.clone()));
    let words = Arc::new(Words::new(64));
    let collections = data.open_with(&words);
    let refused = by_text(&collections, "notes", "word7").unwrap_err();
    assert_eq!(refused.code, Code::ModelMismatch, "{refused}");
    assert!(refused.message.contains("another model of that name"), "{refused}");
    until(|| by_text(&collections, "notes", "word7").is_ok_and(|found| found.first().is_some_and(|id| id == "7")));
    until(|| listed(&collections, "notes").owed == 0);
    close(&collections);
    assert_eq!(stored().unwrap(), ours);

    // So does an upsert; the new document is made once.
    leave(Some(of_another));
    let words = Arc::new(Words::new(64));
    let collections = data.open_with(&words);
    upsert(&collections, "notes", vec![text("new", "one more")]).unwrap();
    until(|| listed(&collections, "notes").owed == 0);
    assert_eq!(words.embedded(), 21 + probes::TEXTS.len());
    close(&collections);
    assert_eq!(stored().unwrap(), ours);

    // One that was written before there were probes is taken at its name.
    leave(None);
    let words = Arc::new(Words::new(64));
    let collections = data.open_with(&words);
    assert_eq!(by_text(&collections, "notes", "word7").unwrap()[0], "7");
    upsert(&collections, "notes", vec![text("newer", "and one more")]).unwrap();
    assert_eq!(listed(&collections, "notes").owed, 0);
    close(&collections);
    assert_eq!(stored().unwrap(), ours);
}

/// Embeds nothing until it is let.
struct Gate {
    words: Words,
    asked: Mutex<Option<mpsc::Sender<()>>>,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Embedder for Gate {
    fn identity(&self) -> &Identity {
        self.words.identity()
    }
    fn availability(&self) -> Availability {
        Availability::Loaded
    }
    fn embed(&self, texts: &[&str], priority: Priority) -> Result<Vec<Vec<f32>>> {
        if let Some(asked) = self.asked.lock().unwrap().take() {
            asked.send(()).unwrap();
        }
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
        self.words.embed(texts, priority)
    }
    fn query(&self, text: &str) -> Result<Arc<[f32]>> {
        self.words.query(text)
    }
    fn memory_bytes(&self) -> usize {
        0
    }
}

#[test]
fn what_is_stored_survives_a_close_before_its_vectors_are_made() {
    let data = Data::new();
    let (asked, is_asked) = mpsc::channel();
    let gate = Arc::new(Gate {
        words: Words::new(64),
        asked: Mutex::new(Some(asked)),
        open: Mutex::new(false),
        opened: Condvar::new(),
    });
    let collections = data.open_with(&gate);
    let documents = (0..100).map(|number| text(&number.to_string(), "the heap leaks")).collect();
    let (reply, answer) = Reply::channel();
    collections.upsert("notes".to_owned(), documents, soon(), reply);
    is_asked.recv().unwrap();
    // Stored already, while the first batch is being embedded.
    assert_eq!(listed(&collections, "notes").count, 100);
    let closing = {
        let collections = Arc::clone(&collections);
        std::thread::spawn(move || close(&collections))
    };
    *gate.open.lock().unwrap() = true;
    gate.opened.notify_all();
    closing.join().unwrap();
    let done = answer.recv().unwrap().unwrap();
    assert_eq!(done.stored, 100);
    assert_eq!(done.owed > 0, done.reason.is_some(), "{done:?}");
    let again = data.open();
    until(|| listed(&again, "notes").owed == 0);
    assert_eq!(by_text(&again, "notes", "heap").unwrap().len(), 2);
    close(&again);
}

#[test]
fn what_somebody_else_has_committed_is_searched() {
    let data = Data::new();
    let owner = data.open();
    let many = (0..50_u8).map(|number| vector(&number.to_string(), &[1.0, f32::from(number)])).collect();
    upsert(&owner, "own", many).unwrap();
    let mut beside = Data { folder: tempfile::tempdir().unwrap(), settings: data.settings.clone() };
    beside.settings.role = Role::Client;
    let client = beside.open();
    assert_eq!(by_vector(&client, "own", &[1.0, 0.0], 2), ["0", "1"]);
    // The client knows nothing of these but what the file says.
    delete(&owner, "own", &["0", "1", "2"]);
    upsert(&owner, "own", vec![vector("3", &[0.0, 1.0]), vector("new", &[1.0, 0.0])]).unwrap();
    assert_eq!(by_vector(&client, "own", &[1.0, 0.0], 3), ["new", "4", "5"]);
    assert_eq!(by_vector(&client, "own", &[1.0, 0.0], 100).len(), 48);
    // Nearly all of it at once: it is read again.
    let ids: Vec<String> = (4..50).map(|number: u8| number.to_string()).collect();
    delete(&owner, "own", &ids.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(by_vector(&client, "own", &[1.0, 0.0], 9), ["new", "3"]);
    let refused = upsert(&client, "own", vec![vector("x", &[1.0, 0.0])]).unwrap_err();
    assert_eq!(refused.code, Code::NotOpen);
    // Dropped and made again with other vectors.
    wait(|reply| owner.drop_collection("own".to_owned(), soon(), reply)).unwrap();
    upsert(&owner, "own", vec![vector("y", &[1.0, 0.0, 0.0])]).unwrap();
    assert_eq!(by_vector(&client, "own", &[1.0, 0.0, 0.0], 9), ["y"]);
    close(&client);
    close(&owner);
}

#[test]
fn more_than_the_budget_is_read_from_the_table() {
    let mut data = Data::new();
    let words = Words::new(32);
    let point = |number: u16| words.vector(&format!("word{number}"));
    let many = |count: u16| (0..count).map(|number| vector(&number.to_string(), &point(number))).collect::<Vec<_>>();
    let collections = data.open();
    upsert(&collections, "large", many(1_500)).unwrap();
    for name in ["small", "other"] {
        upsert(&collections, name, many(100)).unwrap();
    }
    let expected = by_vector(&collections, "large", &point(150), 5);
    let (large, _) = (collections.memory_bytes(), by_vector(&collections, "small", &point(50), 5));
    let small = collections.memory_bytes() - large;
    assert!(small > 0 && large > small * 3, "{large} {small}");
    close(&collections);
    data.settings.index.memory_budget = small + small / 2;
    let collections = data.open();
    assert_eq!(by_vector(&collections, "large", &point(150), 5), expected);
    assert_eq!(collections.memory_bytes(), 0);
    for name in ["small", "other", "small"] {
        assert_eq!(by_vector(&collections, name, &point(50), 1), ["50"]);
        assert_eq!(collections.memory_bytes(), small, "the other one went");
    }
    close(&collections);
}

#[test]
fn a_filter_holds_before_the_ranking() {
    let data = Data::new();
    let collections = data.open();
    let documents = (0..40_u8)
        .map(|number| NewDocument {
            metadata: Some(Metadata(vec![("even".to_owned(), Some(Scalar::Boolean(number % 2 == 0)))])),
            ..vector(&number.to_string(), &[1.0, f32::from(number)])
        })
        .collect();
    upsert(&collections, "own", documents).unwrap();
    let filter = Filter::metadata(&json!({"even": false})).unwrap();
    let found = |max_distance| {
        let near = Near::Vector(vec![1.0, 0.0]);
        let query = Query { near, k: 3, filter: Some(filter.clone()), max_distance, include: PLAIN };
        let found = wait(|reply| collections.query("own".to_owned(), query, reply)).unwrap();
        found.into_iter().map(|found| found.document.id).collect::<Vec<_>>()
    };
    assert_eq!(found(None), ["1", "3", "5"]);
    assert_eq!(found(Some(0.5)), ["1"], "1 − cos 45° is 0.29, 1 − cos 72° is 0.68");
    let removed = wait(|reply| {
        let which = Which { ids: None, filter: Some(filter.clone()) };
        collections.delete("own".to_owned(), which, soon(), reply);
    });
    assert_eq!(removed.unwrap(), 20);
    assert_eq!(found(None), [""; 0]);
    assert_eq!(by_vector(&collections, "own", &[1.0, 0.0], 2), ["0", "2"]);
    close(&collections);
}

#[test]
fn a_filter_that_lets_many_through_finds_what_is_nearest_of_them() {
    let data = Data::new();
    let collections = data.open();
    // On an arc: the first half of the documents is nearer to (1, 0) than all of the other.
    let angle = |number: usize| number as f32 / 6_000.0 * std::f32::consts::FRAC_PI_2;
    let document = |number: usize| NewDocument {
        metadata: Some(Metadata::of_json(
            &json!({"half": number / 3_000, "even": number.is_multiple_of(2), "number": number}).to_string(),
        )),
        ..vector(&number.to_string(), &[angle(number).cos(), angle(number).sin()])
    };
    upsert(&collections, "own", (0..6_000).map(document).collect()).unwrap();
    let check = |filter: serde_json::Value, k: usize, holds: &dyn Fn(usize) -> bool| {
        let read = Some(Filter::metadata(&filter).unwrap());
        let query = Query { near: Near::Vector(vec![1.0, 0.0]), k, filter: read, max_distance: None, include: PLAIN };
        let found = wait(|reply| collections.query("own".to_owned(), query, reply)).unwrap();
        let wanted: Vec<usize> = (0..6_000).filter(|&number| holds(number)).take(k).collect();
        assert_eq!(found.len(), wanted.len(), "{filter}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(holds(found.document.id.parse().unwrap()), "{filter}: {}", found.document.id);
            // 16 bits do not tell neighbours on the arc apart.
            assert!((found.distance - (1.0 - angle(wanted).cos())).abs() < 0.002, "{filter}: {wanted}");
        }
    };
    // The first time one by one, then by the set; and what lies behind more than are asked one by one.
    for _ in 0..3 {
        check(json!({"even": true}), 7, &|number| number.is_multiple_of(2));
        check(json!({"even": true}), 2_900, &|number| number.is_multiple_of(2));
        check(json!({"half": 1}), 5, &|number| number >= 3_000);
        check(json!({"number": {"$ne": 0}}), 2, &|number| number != 0);
        check(json!({"$or": [{"even": false}, {"half": 1}]}), 3, &|number| number % 2 == 1 || number >= 3_000);
        check(json!({"number": {"$gte": 5_998}}), 5, &|number| number >= 5_998);
        check(json!({"$and": [{"even": true}, {"even": false}]}), 5, &|_| false);
    }
    // What was remembered is forgotten with the next write.
    let changed = NewDocument { metadata: Some(Metadata::of_json(r#"{"half": 1}"#)), ..document(1) };
    upsert(&collections, "own", vec![changed]).unwrap();
    check(json!({"half": 1}), 2, &|number| number == 1 || number >= 3_000);
    assert_eq!(delete(&collections, "own", &["1"]), 1);
    check(json!({"half": 1}), 2, &|number| number >= 3_000);
    close(&collections);
}

#[test]
fn damage_is_found_and_mended() {
    let data = Data::new();
    let collections = data.open();
    let with = |id: &str, json: &str| NewDocument { metadata: Some(Metadata::of_json(json)), ..text(id, id) };
    upsert(&collections, "notes", vec![with("a", r#"{"n":1}"#), with("b", r#"{"n":2.5}"#), text("c", "c")]).unwrap();
    close(&collections);
    let path = Layout::new(data.folder.path()).collections();
    let db = format::open(&path, false).unwrap();
    assert_eq!(damage::find(&db).unwrap(), []);
    db.execute_batch(
        "UPDATE metadata SET value = 3 WHERE key = 1; UPDATE vectors SET vector = zeroblob(128) WHERE key = 2;
         UPDATE documents SET metadata = '[1' WHERE key = 3",
    )
    .unwrap();
    let kinds = |db: &Connection| damage::find(db).unwrap().into_iter().map(|found| found.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&db), ["metadata-damaged", damage::METADATA_DIFFERS, damage::VECTOR_DAMAGED]);
    assert_eq!(storage::rebuild_metadata(&db).unwrap(), 2);
    drop(db);
    let collections = data.open();
    assert_eq!(wait(|reply| collections.owe_damaged_vectors(soon(), reply)).unwrap(), 1);
    until(|| listed(&collections, "notes").owed == 0);
    close(&collections);
    assert_eq!(kinds(&format::open(&path, false).unwrap()), ["metadata-damaged"]);
}

#[test]
fn a_newer_file_is_refused_and_left_as_it_was() {
    let data = Data::new();
    let collections = data.open();
    upsert(&collections, "own", vec![vector("a", &[1.0])]).unwrap();
    close(&collections);
    let path = Layout::new(data.folder.path()).collections();
    let db = Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA user_version=99; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(db);
    let before = std::fs::read(&path).unwrap();
    let settings = Arc::new(data.settings.clone());
    let (budget, activity) = (Arc::new(Budget::new(1)), Arc::new(Activity::default()));
    let error = Collections::open(&settings, Arc::new(Words::new(64)), &budget, &activity, None).map(drop).unwrap_err();
    assert_eq!(error.code, Code::SchemaUnsupported);
    assert!(error.message.contains("format 99") && error.message.contains("no collections"), "{}", error.message);
    assert!(std::fs::read(&path).unwrap() == before);
}
