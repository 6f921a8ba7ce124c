//! Graphs between two opens: saved, loaded, and made anew on any doubt.

use std::{fs, path::PathBuf, sync::LazyLock};

use super::{
    super::graph_file::{GraphFiles, Read},
    *,
};
use crate::index::vectors::{SnapshotInfo, State, VectorIndex, testing::Random};

/// Just enough for a graph.
const COUNT: usize = 20_200;
const DIMENSIONS: usize = 8;
const NAME: &str = "own";

fn point(number: usize) -> Vec<f32> {
    Random(number as u64 * 2 + 1).direction(DIMENSIONS)
}

fn document(number: usize) -> NewDocument {
    vector(&number.to_string(), &point(number))
}

/// A data directory with one collection, whose graph was saved when it was disposed.
static SAVED: LazyLock<Data> = LazyLock::new(|| {
    let data = Data::new();
    let collections = data.open();
    for first in (0..COUNT).step_by(10_000) {
        let documents = (first..COUNT.min(first + 10_000)).map(document).collect();
        upsert(&collections, NAME, documents).unwrap();
    }
    assert_eq!(by_vector(&collections, NAME, &point(7), 1), ["7"]);
    built(&collections);
    assert_eq!(files(&data), [""; 0], "nothing has rested yet");
    close(&collections);
    data
});

/// A copy of it.
fn saved() -> Data {
    let data = Data::new();
    let native = Layout::new(data.folder.path()).native();
    for file in fs::read_dir(Layout::new(SAVED.folder.path()).native()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), native.join(file.file_name())).unwrap();
    }
    data
}

fn native(data: &Data) -> PathBuf {
    Layout::new(data.folder.path()).native()
}

fn files(data: &Data) -> Vec<String> {
    let all = fs::read_dir(native(data)).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    all.filter(|file| file.ends_with(".usearch")).collect()
}

fn index(collections: &Collections) -> Arc<VectorIndex> {
    collections.shared.loaded.index_of(1).unwrap()
}

fn built(collections: &Collections) {
    until(|| !index(collections).is_working());
    assert_eq!(index(collections).state(), State::Graph);
}

/// The share of what is among the ten nearest that is found.
fn recall(collections: &Arc<Collections>, there: impl Fn(usize) -> bool) -> f64 {
    let points: Vec<(usize, Vec<f32>)> = (0..COUNT).filter(|&number| there(number)).map(|n| (n, point(n))).collect();
    let (mut found, mut wanted) = (0.0, 0.0);
    for query in (0..20).map(|number| point(1_000_000 + number)) {
        let dot = |other: &[f32]| query.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
        let mut near: Vec<(f32, usize)> = points.iter().map(|(number, point)| (dot(point), *number)).collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        let hits = by_vector(collections, NAME, &query, 10);
        wanted += 10.0;
        for (_, number) in &near[..10] {
            found += if hits.contains(&number.to_string()) { 1.0 } else { 0.0 };
        }
    }
    found / wanted
}

/// Reads the collection as a search does.
fn read(data: &Data) -> Read {
    let db = Connection::open(Layout::new(data.folder.path()).collections()).unwrap();
    let info = reading::find(&db, NAME).unwrap().unwrap();
    let index = VectorIndex::new(info.space.dimensions(), &data.settings.index);
    GraphFiles::new(&data.settings).read(&db, &info, &index).unwrap()
}

fn client_of(data: &Data) -> Data {
    let mut client = Data { folder: tempfile::tempdir().unwrap(), settings: data.settings.clone() };
    client.settings.role = Role::Client;
    client
}

#[test]
fn a_saved_graph_is_there_at_once_also_for_a_client() {
    let data = saved();
    assert_eq!(files(&data), ["collection-1-1.usearch"]);
    let collections = data.open();
    let client = client_of(&data).open();
    for opened in [&collections, &client] {
        assert_eq!(by_vector(opened, NAME, &point(7), 1), ["7"]);
        let index = index(opened);
        assert_eq!((index.state(), index.len(), index.is_working()), (State::Graph, COUNT, false));
        assert!(recall(opened, |_| true) >= 0.95);
    }
    close(&client);
    close(&collections);
    assert_eq!(files(&data), ["collection-1-1.usearch"], "and not written again");
    assert_eq!(read(&data), Read { count: COUNT, changed: Some(0) });
}

#[test]
fn on_any_doubt_the_graph_is_built_anew_and_every_vector_compared_until_then() {
    type Damage = fn(&Connection, &std::path::Path);
    fn note(db: &Connection, change: impl FnOnce(&mut SnapshotInfo)) {
        let mut info = SnapshotInfo::from_json(&reading::snapshot(db, 1).unwrap().unwrap()).unwrap();
        change(&mut info);
        assert!(storage::note_snapshot(db, 1, &info.to_json()).unwrap());
    }
    let damages: [(&str, Damage); 9] = [
        ("missing, as after a restore", |_, file| fs::remove_file(file).unwrap()),
        ("truncated", |_, file| fs::OpenOptions::new().write(true).open(file).unwrap().set_len(10_000).unwrap()),
        ("a bit is another", |_, file| {
            let mut bytes = fs::read(file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            fs::write(file, bytes).unwrap();
        }),
        ("other dimensions", |db, _| note(db, |info| info.dimensions = 16)),
        ("another model", |db, _| note(db, |info| info.model = "words".to_owned())),
        ("another precision", |db, _| note(db, |info| info.precision = crate::settings::Precision::I8)),
        ("a note that is none", |db, _| assert!(storage::note_snapshot(db, 1, "{").unwrap())),
        ("a file that is not of this collection", |db, _| note(db, |info| info.file = "../owner.lock".to_owned())),
        ("an eighth is gone", |db, _| {
            let keys: Vec<i64> = (1..=3_000).collect();
            assert_eq!(storage::remove(db, 1, &keys).unwrap(), 3_000);
        }),
    ];
    for (what, damage) in damages {
        let data = saved();
        let file = native(&data).join("collection-1-1.usearch");
        damage(&Connection::open(Layout::new(data.folder.path()).collections()).unwrap(), &file);
        let before = files(&data);
        // A client does it too, and removes nothing.
        let data = Data { settings: client_of(&data).settings, ..data };
        assert_eq!((read(&data).changed, files(&data)), (None, before), "{what}");
    }
    // The last one leaves too few for a graph.
    for (what, damage) in &damages[..8] {
        let data = saved();
        let file = native(&data).join("collection-1-1.usearch");
        damage(&Connection::open(Layout::new(data.folder.path()).collections()).unwrap(), &file);
        let collections = data.open();
        let exact = recall(&collections, |_| true);
        if index(&collections).state() == State::Rebuilding {
            assert!(exact >= 0.99, "{what}: {exact}");
        }
        built(&collections);
        assert!(recall(&collections, |_| true) >= 0.95, "{what}");
        close(&collections);
        assert_eq!(files(&data).len(), 1, "{what}");
        assert_eq!(read(&data).changed, Some(0), "{what}: saved again");
    }
}

#[test]
fn what_has_changed_since_is_taken_from_the_table() {
    let data = saved();
    let collections = data.open();
    delete(&collections, NAME, &["7"]);
    upsert(&collections, NAME, vec![vector("8", &point(2_000_000)), document(COUNT)]).unwrap();
    // Never searched, so nothing is in memory that could be saved.
    close(&collections);
    assert_eq!(files(&data), ["collection-1-1.usearch"]);
    assert_eq!(read(&data), Read { count: COUNT, changed: Some(2 + 2) }, "two places lead to nothing, two are new");
    let collections = data.open();
    assert_ne!(by_vector(&collections, NAME, &point(7), 1), ["7"]);
    assert_eq!(index(&collections).state(), State::Graph);
    assert_eq!(by_vector(&collections, NAME, &point(2_000_000), 1), ["8"]);
    assert_ne!(by_vector(&collections, NAME, &point(8), 1), ["8"]);
    assert_eq!(by_vector(&collections, NAME, &point(COUNT), 1), [COUNT.to_string()]);
    close(&collections);
    assert_eq!(files(&data), ["collection-1-1.usearch"], "so few are not worth another file");

    // More than one in 32: the next file takes the place of the first.
    let collections = data.open();
    assert_eq!(by_vector(&collections, NAME, &point(9), 1), ["9"]);
    upsert(&collections, NAME, (COUNT + 1..COUNT + 801).map(document).collect()).unwrap();
    assert_eq!(by_vector(&collections, NAME, &point(COUNT + 500), 1), [(COUNT + 500).to_string()]);
    built(&collections);
    close(&collections);
    assert_eq!(files(&data), ["collection-1-2.usearch"]);
    assert!(read(&data).changed.is_some());
}

#[test]
fn the_file_goes_with_its_collection_and_with_nothing_else() {
    let data = saved();
    for left in ["collection-1-7.usearch", "collection-2-1.usearch", "collection-1-x.tmp", "vectors-1.usearch"] {
        fs::write(native(&data).join(left), "left behind").unwrap();
    }
    fs::write(native(&data).join("collection-notes.usearch"), "not ours").unwrap();
    let client = client_of(&data).open();
    assert_eq!(files(&data).len(), 5, "a client removes nothing");
    close(&client);
    let collections = data.open();
    let mut left = files(&data);
    left.sort();
    assert_eq!(left, ["collection-1-1.usearch", "collection-notes.usearch", "vectors-1.usearch"]);
    assert!(!native(&data).join("collection-1-x.tmp").exists());
    upsert(&collections, "other", vec![vector("x", &[1.0])]).unwrap();
    assert!(wait(|reply| collections.drop_collection("other".to_owned(), soon(), reply)).unwrap());
    assert!(files(&data).contains(&"collection-1-1.usearch".to_owned()));
    assert!(wait(|reply| collections.drop_collection(NAME.to_owned(), soon(), reply)).unwrap());
    assert!(!files(&data).contains(&"collection-1-1.usearch".to_owned()));
    close(&collections);
}

#[test]
fn few_vectors_have_no_graph_and_no_file() {
    let data = Data::new();
    let collections = data.open();
    upsert(&collections, NAME, (0..500).map(document).collect()).unwrap();
    assert_eq!(by_vector(&collections, NAME, &point(7), 1), ["7"]);
    assert_eq!(index(&collections).state(), State::Exact);
    close(&collections);
    assert_eq!(files(&data), [""; 0]);
}

#[test]
fn a_file_of_an_older_format_is_extended() {
    let data = Data::new();
    let collections = data.open();
    upsert(&collections, NAME, (0..5).map(document).collect()).unwrap();
    close(&collections);
    let path = Layout::new(data.folder.path()).collections();
    Connection::open(&path)
        .unwrap()
        .execute_batch("ALTER TABLE collections DROP COLUMN snapshot; PRAGMA user_version=2")
        .unwrap();
    let collections = data.open();
    assert_eq!(by_vector(&collections, NAME, &point(3), 1), ["3"]);
    close(&collections);
    let db = format::open(&path, false).unwrap();
    assert_eq!(reading::snapshot(&db, 1).unwrap(), None);
}
