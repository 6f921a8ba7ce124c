//! Directories that Chroma itself has written.

use rusqlite::Connection;

use super::{
    super::{MetadataValue, Space, Writer},
    Options, assert_left_out, by_id, fixture, open, read, traces,
};

fn distance(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(one, other)| f64::from(one - other).powi(2)).sum()
}

#[test]
fn the_large_directory_gives_its_3155_documents() {
    let Some(directory) = fixture("chroma") else { return };
    let before = traces(&directory);
    let mut chroma = open(&directory, &Options::default()).unwrap();
    assert_eq!(chroma.collection().dimension, Some(384));
    assert_eq!((chroma.space(), chroma.writer()), (Space::L2, Writer::V1));
    let (documents, report) = read(&mut chroma).unwrap();
    assert_eq!(documents.len(), 3155);
    assert_eq!(report.documents, 3155);
    assert_left_out(&report, &[]);
    assert_eq!((report.index_rows, report.index_rows_deleted, report.index_rows_without_id), (3005, 30, 0));
    assert_eq!((report.log_entries, report.log_deletes), (185, 2));
    for document in &documents {
        let square: f64 = document.vector.iter().map(|component| f64::from(*component).powi(2)).sum();
        assert!((square - 1.0).abs() < 1e-6, "{} has length² {square}", document.id);
    }
    // A second run gives the same, and nothing was touched.
    assert_eq!(read(&mut chroma).unwrap(), (documents, report));
    drop(chroma);
    assert_eq!(traces(&directory), before);
}

#[test]
fn the_exact_nearest_of_the_golden_queries_are_found_again() {
    let (Some(directory), Some(golden)) = (fixture("chroma"), fixture("golden-vector-queries.json")) else { return };
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let documents = read(&mut open(&directory, &Options::default()).unwrap()).unwrap().0;
    let queries = golden["queries"].as_array().unwrap();
    assert_eq!(queries.len(), 3);
    for query in queries {
        let vector: Vec<f32> = serde_json::from_value(query["embedding"].clone()).unwrap();
        let mut found: Vec<_> =
            documents.iter().map(|document| (distance(&document.vector, &vector), document.id.as_str())).collect();
        found.sort_by(|one, other| one.0.total_cmp(&other.0));
        let ids: Vec<String> = serde_json::from_value(query["exact_ids"].clone()).unwrap();
        let distances: Vec<f64> = serde_json::from_value(query["exact_sq_l2"].clone()).unwrap();
        for (rank, (id, expected)) in ids.iter().zip(&distances).enumerate() {
            let at = found.iter().position(|(_, found)| found == id).unwrap();
            assert!((found[at].0 - expected).abs() < 1e-6, "{id}: {} instead of {expected}", found[at].0);
            // Equal distances may change places.
            assert!((found[rank].0 - expected).abs() < 1e-6, "rank {rank}");
        }
        let mut nearest: Vec<_> = found[..100].iter().map(|(_, id)| *id).collect();
        let mut expected: Vec<_> = ids.iter().map(String::as_str).collect();
        nearest.sort_unstable();
        expected.sort_unstable();
        assert_eq!(nearest, expected);
    }
}

#[test]
fn documents_below_the_sync_threshold_come_from_the_log() {
    for (name, writer) in [("chroma-small", Writer::V1), ("chroma-small-0.6.3", Writer::V0)] {
        let Some(directory) = fixture(name) else { return };
        let mut chroma = open(&directory, &Options::default()).unwrap();
        assert_eq!((chroma.space(), chroma.writer()), (Space::L2, writer));
        let (documents, report) = read(&mut chroma).unwrap();
        assert_eq!(documents.len(), 300, "{name}");
        assert_left_out(&report, &[]);
        assert_eq!((report.index_rows, report.log_entries), (0, 300));
        // The same documents as in the large one, which two other writers hold in two other ways.
        let Some(large) = fixture("chroma") else { return };
        let large = by_id(read(&mut open(&large, &Options::default()).unwrap()).unwrap().0);
        let mut common = 0;
        for document in documents {
            let Some(other) = large.get(&document.id).filter(|other| other.text == document.text) else { continue };
            assert_eq!(document.metadata, other.metadata);
            common += 1;
            // The vectors alone of these were updated in the large one, before and after its last flush.
            let updated = ["obs_87_fact_3", "obs_45_narrative"].contains(&document.id.as_str());
            assert_eq!(distance(&document.vector, &other.vector) > 1e-9, updated, "{}", document.id);
        }
        assert!(common > 200, "{common} in common");
    }
}

#[test]
fn texts_and_metadata_are_those_of_the_rows() {
    let (Some(directory), Some(database)) = (fixture("chroma"), fixture("claude-mem-6.0.2.db")) else { return };
    let copy = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(copy.path(), std::fs::read(database).unwrap()).unwrap();
    let db = Connection::open(copy.path()).unwrap();
    let (documents, _) = read(&mut open(&directory, &Options::default()).unwrap()).unwrap();
    let (mut compared, mut rewritten) = (0, Vec::new());
    for document in &documents {
        let metadata = |key: &str| document.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        let Some(MetadataValue::Integer(row)) = metadata("sqlite_id") else { panic!("{} has no row", document.id) };
        let (table, column) = match (document.id.split('_').next(), metadata("field_type")) {
            (Some("obs"), Some(MetadataValue::Text(field))) if field == "narrative" => ("observations", "narrative"),
            (Some("obs"), Some(MetadataValue::Text(field))) if field == "fact" => ("observations", "facts"),
            (Some("prompt"), None) => ("user_prompts", "prompt_text"),
            _ => continue,
        };
        let mut stored: Option<String> =
            db.query_row(&format!("SELECT {column} FROM {table} WHERE id = ?1"), [row], |found| found.get(0)).unwrap();
        if let Some(MetadataValue::Integer(index)) = metadata("fact_index") {
            let facts: Vec<String> = serde_json::from_str(&stored.unwrap()).unwrap();
            stored = Some(facts[usize::try_from(*index).unwrap()].clone());
        }
        compared += 1;
        if stored != document.text {
            rewritten.push(document.id.as_str());
        }
    }
    assert!(compared > 500, "{compared} compared");
    // One document's text was changed in Chroma alone.
    assert_eq!(rewritten.len(), 1, "{rewritten:?}");
}

#[test]
fn the_collections_are_listed_and_one_that_is_not_there_is_refused() {
    let Some(directory) = fixture("chroma-small") else { return };
    let listed = super::super::collections(&directory, None).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].name.as_str(), listed[0].dimension), ("cm__claude-mem", Some(384)));
    assert_eq!(listed[0].database, "default_database");
    let options = Options { collection: "cm__other".to_owned(), ..Options::default() };
    let error = open(&directory, &options).unwrap_err();
    assert_eq!(error.code, crate::error::Code::NotFound);
    assert!(error.message.contains("cm__claude-mem"), "{error}");
}
