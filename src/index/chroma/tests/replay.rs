//! What index and log come to together.

use rusqlite::params;

use super::{
    super::{LeftOut, MetadataValue, Space, Writer},
    Options, assert_corrupt, assert_left_out, by_id,
    made::{COLLECTION, Made, Row, SEGMENT, plain_pickle, vector},
    open,
};
use crate::error::Code;

const BOTH: [Writer; 2] = [Writer::V0, Writer::V1];

/// `one` and `two` in the index, `gone` deleted there; the log goes on from 10.
fn indexed(writer: Writer) -> Made {
    let made = Made::by(writer);
    made.document("one", 1);
    made.document("two", 2);
    // Rows are not in the order of the labels.
    let rows: [Row; 3] = [(2, false, vector(2)), (3, true, vector(3)), (1, false, vector(1))];
    made.index(&rows, &[("one", 1), ("two", 2)], 10);
    made
}

#[test]
fn rows_are_found_by_label_and_deleted_ones_are_not() {
    for writer in BOTH {
        let made = indexed(writer);
        let mut chroma = made.open().unwrap();
        assert_eq!(chroma.writer(), writer);
        let (documents, report) = super::read(&mut chroma).unwrap();
        let found: Vec<_> = documents.iter().map(|document| (document.id.as_str(), document.vector.clone())).collect();
        assert_eq!(found, [("one", vector(1).to_vec()), ("two", vector(2).to_vec())]);
        assert_eq!(documents[0].text.as_deref(), Some("text of one"));
        assert_left_out(&report, &[]);
        assert_eq!((report.index_rows, report.index_rows_deleted), (3, 1));
    }
}

#[test]
fn entries_of_the_log_follow_the_rules() {
    for writer in BOTH {
        let made = indexed(writer);
        // Consumed already: it stays in the log as its last entry.
        made.log(10, 2, "one", Some(vector(99)));
        // An add of a known id and an update of an unknown one do nothing.
        made.log(11, 0, "one", Some(vector(98)));
        made.log(12, 1, "unknown", Some(vector(97)));
        // Update, then metadata alone: the vector stays.
        made.log(13, 1, "two", Some(vector(22)));
        made.log(14, 1, "two", None);
        made.db.execute("UPDATE embeddings SET seq_id = 14 WHERE embedding_id = 'two'", []).unwrap();
        // Added, deleted, added again.
        made.log(15, 0, "three", Some(vector(30)));
        made.log(16, 3, "three", None);
        made.log(17, 0, "three", Some(vector(33)));
        made.document("three", 17);
        // Upserts of an unknown and of a known id.
        made.log(18, 2, "four", Some(vector(40)));
        made.log(19, 2, "four", Some(vector(44)));
        made.document("four", 19);
        // Added and deleted.
        made.log(20, 0, "five", Some(vector(50)));
        made.log(21, 3, "five", None);
        // Another collection's.
        let sql = "UPDATE embeddings_queue SET topic = 'persistent://default/default/' || ?1 WHERE seq_id = 22";
        made.log(22, 3, "one", None);
        made.db.execute(sql, ["11111111-2222-4333-8444-000000000000"]).unwrap();
        let (documents, report) = made.read().unwrap();
        let found: Vec<_> = documents.iter().map(|document| (document.id.as_str(), document.vector.clone())).collect();
        let expected = [("one", 1), ("two", 22), ("three", 33), ("four", 44)];
        assert_eq!(found, expected.map(|(id, number)| (id, vector(number).to_vec())));
        assert_left_out(&report, &[]);
        assert_eq!((report.log_entries, report.log_deletes), (11, 2));
    }
}

#[test]
fn a_document_that_the_log_deletes_from_the_index_is_gone() {
    for writer in BOTH {
        let made = indexed(writer);
        made.log(11, 3, "one", None);
        made.db.execute("DELETE FROM embeddings WHERE embedding_id = 'one'", []).unwrap();
        let (documents, report) = made.read().unwrap();
        assert_eq!(documents.len(), 1);
        assert_left_out(&report, &[]);
        assert_eq!(report.log_deletes, 1);
    }
}

#[test]
fn what_cannot_be_used_is_left_out_by_reason() {
    let made = indexed(Writer::V1);
    let bad = [
        ("nan", [f32::NAN, 0.0, 0.0, 0.0], LeftOut::NotFinite),
        ("infinite", [f32::INFINITY, 0.0, 0.0, 0.0], LeftOut::NotFinite),
        ("zero", [0.0; 4], LeftOut::Zero),
        ("long", [2.0, 0.0, 0.0, 0.0], LeftOut::NotUnitLength),
    ];
    for (at, (id, vector, _)) in (11..).zip(bad) {
        made.log(at, 0, id, Some(vector));
        made.document(id, at);
    }
    made.log_bytes(20, 0, "short", Some(&[0; 12]), "FLOAT32");
    made.document("short", 20);
    made.log_bytes(21, 0, "integers", Some(&[0; 16]), "INT32");
    made.document("integers", 21);
    made.log(22, 7, "odd", None);
    made.document("odd", 22);
    // Without a vector, and a vector without a document.
    made.document("bare", 23);
    made.log(24, 0, "orphan", Some(vector(1)));
    // The text is older than the vector; the vector is older than the text.
    made.log(25, 2, "one", Some(vector(5)));
    made.db.execute("UPDATE embeddings SET seq_id = 26 WHERE embedding_id = 'two'", []).unwrap();
    let row = made.document("large", 27);
    made.log(27, 0, "large", Some(vector(6)));
    for key in 0..300 {
        let sql = "INSERT INTO embedding_metadata (id, key, int_value) VALUES (?1, ?2, 1)";
        made.db.execute(sql, params![row, format!("key {key}")]).unwrap();
    }
    let row = made.document("huge", 28);
    made.log(28, 0, "huge", Some(vector(6)));
    let sql = "UPDATE embedding_metadata SET string_value = CAST(zeroblob(20000000) AS TEXT) WHERE id = ?1";
    made.db.execute(sql, [row]).unwrap();
    let row = made.document("garbled", 29);
    made.log(29, 0, "garbled", Some(vector(6)));
    made.db.execute("UPDATE embedding_metadata SET string_value = CAST(x'fffe' AS TEXT) WHERE id = ?1", [row]).unwrap();
    made.document("", 30);
    made.document(&"x".repeat(1025), 31);
    let (documents, report) = made.read().unwrap();
    assert_eq!(documents, []);
    assert_left_out(
        &report,
        &[
            (LeftOut::NotFinite, 2),
            (LeftOut::Zero, 1),
            (LeftOut::NotUnitLength, 1),
            (LeftOut::WrongDimension, 1),
            (LeftOut::UnknownEncoding, 2),
            (LeftOut::NoVector, 1),
            (LeftOut::NotInEmbeddings, 1),
            (LeftOut::OutOfStep, 2),
            (LeftOut::TooLarge, 2),
            (LeftOut::DamagedText, 1),
            (LeftOut::InvalidId, 2),
        ],
    );
    assert_eq!(report.left_out_in_all(), 16);
    assert_eq!(report.examples(LeftOut::NoVector), ["bare"]);
    // Other models' vectors need not be of unit length.
    let options = Options { unit_length: false, ..Options::default() };
    let (documents, _) = super::read(&mut open(made.path(), &options).unwrap()).unwrap();
    assert_eq!(documents.iter().map(|document| document.id.as_str()).collect::<Vec<_>>(), ["long"]);
}

#[test]
fn rows_that_contradict_the_pickle_are_left_out() {
    let made = Made::by(Writer::V1);
    let ids: Vec<String> = (1..=20).map(|label| format!("d{label}")).collect();
    let mut rows: Vec<Row> = (1..=20_u16).map(|label| (label.into(), false, vector(label))).collect();
    let labels: Vec<_> = ids.iter().zip(1..).map(|(id, label)| (id.as_str(), label)).collect();
    for (id, label) in &labels {
        made.document(id, *label as i64);
    }
    // Deleted, without a row, and two rows with one label.
    rows[0].1 = true;
    rows[1].0 = 50;
    rows[2].0 = 4;
    made.index(&rows, &labels, 20);
    // A neighbour that does not exist.
    let data = made.path().join(SEGMENT).join("data_level0.bin");
    let mut bytes = std::fs::read(&data).unwrap();
    let stride = bytes.len() / 20;
    bytes[5 * stride + 4..5 * stride + 8].fill(0xff);
    super::write_old(&data, &bytes);
    let (documents, report) = made.read().unwrap();
    assert_eq!(documents.len(), 15);
    assert!(documents.iter().all(|document| { document.vector == vector(document.id[1..].parse().unwrap()).to_vec() }));
    assert_left_out(
        &report,
        &[(LeftOut::RowDeleted, 1), (LeftOut::RowMissing, 2), (LeftOut::LabelAmbiguous, 1), (LeftOut::RowDamaged, 1)],
    );
    assert_eq!(report.index_rows_without_id, 1);
}

#[test]
fn a_pickle_of_another_collection_is_told_by_its_order() {
    let made = Made::by(Writer::V1);
    let ids: Vec<String> = (0..40).map(|label| format!("d{label}")).collect();
    let rows: Vec<Row> = (1..=40_u16).map(|label| (label.into(), false, vector(label))).collect();
    for (id, seq) in ids.iter().zip(1..) {
        made.document(id, seq);
    }
    // The same ids and labels, given in another order.
    let labels: Vec<_> = ids.iter().zip(0..).map(|(id, at)| (id.as_str(), at * 7 % 40 + 1)).collect();
    made.index(&rows, &labels, 40);
    assert_corrupt(&made.read().unwrap_err(), "chroma.sqlite3", "another order");
}

#[test]
fn a_crash_between_two_writes_is_put_right_by_the_log() {
    for writer in BOTH {
        // The rows were flushed, the pickle was not.
        let made = indexed(writer);
        let rows: [Row; 4] =
            [(2, false, vector(2)), (3, true, vector(3)), (1, false, vector(1)), (4, false, vector(4))];
        made.log(11, 0, "four", Some(vector(4)));
        made.document("four", 11);
        let folder = made.path().join(SEGMENT);
        let pickle = std::fs::read(folder.join("index_metadata.pickle")).unwrap();
        made.index_files(&rows, &pickle);
        let (documents, report) = made.read().unwrap();
        assert_eq!(documents.len(), 3);
        assert_left_out(&report, &[]);
        assert_eq!(report.index_rows_without_id, 1);
        // The first flush ever, and no pickle yet: everything is in the log.
        std::fs::remove_file(folder.join("index_metadata.pickle")).unwrap();
        made.db.execute("DELETE FROM max_seq_id", []).unwrap();
        let (documents, report) = made.read().unwrap();
        assert_eq!(documents.len(), 1);
        assert_left_out(&report, &[(LeftOut::NoVector, 2)]);
    }
}

#[test]
fn metadata_keeps_its_types() {
    let made = indexed(Writer::V1);
    let row = 1;
    for (key, column, value) in [
        ("a", "int_value", "-7"),
        ("b", "float_value", "0.5"),
        ("c", "bool_value", "1"),
        ("d", "string_value", "'ünï'"),
        ("e", "int_value", "NULL"),
    ] {
        let sql = format!("INSERT INTO embedding_metadata (id, key, {column}) VALUES (?1, ?2, {value})");
        made.db.execute(&sql, params![row, key]).unwrap();
    }
    let documents = by_id(made.read().unwrap().0);
    let expected = [
        ("a", MetadataValue::Integer(-7)),
        ("b", MetadataValue::Float(0.5)),
        ("c", MetadataValue::Bool(true)),
        ("d", MetadataValue::Text("ünï".to_owned())),
    ];
    assert_eq!(documents["one"].metadata, expected.map(|(key, value)| (key.to_owned(), value)));
}

#[test]
fn the_space_is_found_wherever_a_generation_keeps_it() {
    let made = indexed(Writer::V1);
    let set = |json: &str| made.db.execute("UPDATE collections SET config_json_str = ?1", [json]).unwrap();
    assert_eq!(made.open().unwrap().space(), Space::L2);
    made.db.execute("INSERT INTO collection_metadata VALUES (?1, 'hnsw:space', 'cosine')", [COLLECTION]).unwrap();
    assert_eq!(made.open().unwrap().space(), Space::Cosine);
    set(r#"{"hnsw_configuration": {"space": "ip"}}"#);
    assert_eq!(made.open().unwrap().space(), Space::InnerProduct);
    set(r#"{"vector_index": {"hnsw": {"space": "cosine"}}}"#);
    assert_eq!(made.open().unwrap().space(), Space::Cosine);
    made.db.execute_batch("ALTER TABLE collections ADD COLUMN schema_str TEXT").unwrap();
    let json = r##"{"keys": {"#embedding": {"float_list": {"vector_index": {"config": {"space": "l2"}}}}}}"##;
    made.db.execute("UPDATE collections SET schema_str = ?1", [json]).unwrap();
    assert_eq!(made.open().unwrap().space(), Space::L2);
    made.db.execute("UPDATE collections SET schema_str = ?1", [json.replace("l2", "hamming")]).unwrap();
    assert_corrupt(&made.open().unwrap_err(), "chroma.sqlite3", "hamming");
    made.db.execute("UPDATE collections SET schema_str = '{'", []).unwrap();
    assert_corrupt(&made.open().unwrap_err(), "chroma.sqlite3", "JSON");
}

#[test]
fn a_name_in_several_databases_asks_for_one() {
    let made = indexed(Writer::V1);
    let other = "22222222-2222-4333-8444-555555555555";
    made.db.execute("INSERT INTO databases VALUES ('1', 'other', 'default_tenant')", []).unwrap();
    made.db.execute("INSERT INTO collections VALUES (?1, 'cm__claude-mem', NULL, '1', '{}')", [other]).unwrap();
    // Chroma's default is meant where nothing else is said.
    let chroma = made.open().unwrap();
    assert_eq!(chroma.collection().id, COLLECTION);
    assert_eq!(chroma.collections().len(), 2);
    made.db.execute("UPDATE databases SET name = 'mine' WHERE id = '0'", []).unwrap();
    let error = made.open().unwrap_err();
    assert_eq!(error.code, Code::InvalidArg);
    assert!(error.message.contains("mine") && error.message.contains("other"), "{error}");
    let options = Options { database: Some("mine".to_owned()), ..Options::default() };
    assert_eq!(super::read(&mut open(made.path(), &options).unwrap()).unwrap().0.len(), 2);
}

#[test]
fn an_empty_collection_has_no_documents() {
    let made = Made::by(Writer::V1);
    made.db.execute("UPDATE collections SET dimension = NULL", []).unwrap();
    let (documents, report) = made.read().unwrap();
    assert_eq!((documents.len(), report.left_out_in_all()), (0, 0));
    // A flush of nothing at all.
    made.db.execute("UPDATE collections SET dimension = 4", []).unwrap();
    made.index_files(&[], &plain_pickle(&[]));
    assert_eq!(made.read().unwrap().0.len(), 0);
}
