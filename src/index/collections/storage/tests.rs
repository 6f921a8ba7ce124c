use super::*;
use crate::index::collections::{
    documents::{Include, METADATA_BYTES, check},
    format, scan,
    where_filter::Filter,
};

const ALL: Include = Include { text: true, metadata: true, vector: true };
const OWN: Space = Space::Given { dimensions: 2 };

fn model(name: &str) -> Space {
    Space::Model { identity: name.to_owned(), dimensions: 2 }
}

fn with_text(id: &str, text: &str, metadata: &str) -> NewDocument {
    NewDocument {
        id: id.to_owned(),
        text: Some(text.to_owned()),
        metadata: (!metadata.is_empty()).then(|| Metadata::of_json(metadata)),
        vector: None,
    }
}

fn with_vector(id: &str, vector: &[f32]) -> NewDocument {
    NewDocument { id: id.to_owned(), vector: Some(vector.to_vec()), ..NewDocument::default() }
}

fn ids(db: &Connection, collection: i64, filter: &str) -> Vec<String> {
    let filter = Filter::metadata(&serde_json::from_str(filter).unwrap()).unwrap();
    let keys = reading::keys(db, collection, Some(&filter), 0, None).unwrap();
    keys.iter().map(|key| reading::Documents::of(db, ALL).unwrap().read(*key).unwrap().unwrap().id).collect()
}

fn blob(values: &[f32]) -> Vec<u8> {
    vector::to_blob(&vector::unit(values, values.len()).unwrap())
}

fn rows(db: &Connection, table: &str) -> i64 {
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn a_document_is_what_was_said_of_it_last() {
    let db = format::stand_in().unwrap();
    let space = model("one");
    let made = create(&db, "c", &space, 5).unwrap();
    assert_eq!(create(&db, "c", &space, 6).unwrap(), made, "once");
    let stored = upsert(
        &db,
        &made,
        &[with_text("a", "first", r#"{"n":0.30000000000000004,"s":"x","gone":null}"#), with_text("b", "second", "")],
        1,
    )
    .unwrap();
    assert_eq!((stored.documents, stored.owed.len()), (2, 2));
    let [a, b] = stored.owed[..] else { panic!() };
    assert_eq!(ids(&db, made.id, r#"{"n":0.30000000000000004}"#), ["a"]);
    let owed = reading::first_owed(&db, made.id, 10).unwrap();
    assert_eq!(owed.iter().map(|owed| (owed.key, &*owed.text)).collect::<Vec<_>>(), [(a, "first"), (b, "second")]);
    let pay_all = |owed: &[reading::Owed]| {
        let made_of: Vec<Made> = owed
            .iter()
            .map(|owed| Made { key: owed.key, revision: owed.revision, vector: blob(&[3.0, 4.0]) })
            .collect();
        pay(&db, made.id, "one", &made_of).unwrap()
    };
    assert_eq!(pay_all(&owed), 2);
    assert_eq!(pay_all(&owed), 0, "nothing is owed any more");
    assert_eq!(reading::counts(&db, made.id).unwrap(), (2, 0));
    let vector = reading::Documents::of(&db, ALL).unwrap().read(a).unwrap().unwrap().vector.unwrap();
    assert!((vector[0] - 0.6).abs() < 1e-3 && (vector[1] - 0.8).abs() < 1e-3, "{vector:?}");
    // Of the same text the vector stays, of another it is owed again, and the old one is gone at once.
    let again = upsert(&db, &made, &[with_text("a", "first", r#"{"n":2}"#), with_text("b", "other", "")], 2).unwrap();
    assert_eq!(again.owed, [b]);
    assert_eq!(ids(&db, made.id, r#"{"n":0.30000000000000004}"#), [""; 0]);
    assert_eq!(ids(&db, made.id, r#"{"n":2}"#), ["a"]);
    assert_eq!((rows(&db, "vectors"), rows(&db, "metadata")), (1, 1));
    // A vector of a text that was replaced meanwhile is not taken.
    let old = reading::owed_of(&db, &[a, b]).unwrap();
    upsert(&db, &made, &[with_text("b", "yet another", "")], 3).unwrap();
    assert_eq!(pay_all(&old), 0);
    // One that is handed over replaces what was owed; a text replaces it again.
    let given = NewDocument { vector: Some(vec![1.0, 0.0]), ..with_text("b", "yet another", "") };
    assert!(upsert(&db, &made, &[given], 4).unwrap().owed.is_empty());
    assert_eq!(reading::Documents::of(&db, ALL).unwrap().read(b).unwrap().unwrap().vector.unwrap(), [1.0, 0.0]);
    assert_eq!(upsert(&db, &made, &[with_text("b", "yet another", "")], 5).unwrap().owed, [b]);
    assert_eq!(reading::Documents::of(&db, ALL).unwrap().read(b).unwrap().unwrap().vector, None);
}

#[test]
fn removing_leaves_nothing_behind() {
    let db = format::stand_in().unwrap();
    let one = create(&db, "one", &OWN, 0).unwrap();
    let two = create(&db, "two", &OWN, 0).unwrap();
    for info in [&one, &two] {
        let mut documents: Vec<NewDocument> = (0..10).map(|n| with_vector(&n.to_string(), &[1.0, n as f32])).collect();
        documents[3].metadata = Some(Metadata::of_json(r#"{"a":1,"b":"x","c":true}"#));
        upsert(&db, info, &documents, 0).unwrap();
    }
    let keys = reading::keys_of(&db, one.id, &["3".into(), "4".into(), "none".into()]).unwrap();
    assert_eq!(remove(&db, one.id, &keys).unwrap(), 2);
    assert_eq!(remove(&db, one.id, &keys).unwrap(), 0);
    assert_eq!(remove(&db, two.id, &[1]).unwrap(), 0, "another collection's");
    let now = reading::find(&db, "one").unwrap().unwrap();
    assert_eq!((now.removed, now.revision), (2, 2));
    assert_eq!((rows(&db, "documents"), rows(&db, "vectors"), rows(&db, "metadata")), (18, 18, 3));
    let new = upsert(&db, &one, &[with_vector("3", &[0.0, 1.0])], 0).unwrap();
    assert_eq!(new.documents, 1);
    assert!(reading::keys_of(&db, one.id, &["3".into()]).unwrap()[0] > 20, "no key is used again");
    assert!(drop_collection(&db, "two").unwrap());
    assert!(!drop_collection(&db, "two").unwrap());
    assert_eq!((rows(&db, "documents"), rows(&db, "vectors"), rows(&db, "metadata")), (9, 9, 0));
    let message = create(&db, "one", &Space::Given { dimensions: 3 }, 0).unwrap_err().message;
    assert!(message.contains("2 numbers of your own, not of 3 numbers"), "{message}");
}

#[test]
fn another_model_makes_all_but_the_given_ones_owed() {
    let db = format::stand_in().unwrap();
    let made = create(&db, "c", &model("one"), 0).unwrap();
    let stored = upsert(&db, &made, &[with_text("a", "text", ""), with_vector("b", &[1.0, 0.0])], 0).unwrap();
    let owed = reading::owed_of(&db, &stored.owed).unwrap();
    let vector = || vec![Made { key: owed[0].key, revision: owed[0].revision, vector: blob(&[0.0, 1.0]) }];
    assert_eq!(pay(&db, made.id, "another", &vector()).unwrap(), 0, "of another model");
    assert_eq!(pay(&db, made.id, "one", &vector()).unwrap(), 1);
    change_model(&db, made.id, "two", 3, &[]).unwrap();
    let info = reading::find(&db, "c").unwrap().unwrap();
    assert_eq!(info.space, Space::Model { identity: "two".into(), dimensions: 3 });
    assert_eq!(reading::counts(&db, made.id).unwrap(), (2, 1));
    assert_eq!(rows(&db, "vectors"), 1, "the given one");
    // It has another length now, and is not compared.
    assert_eq!(scan::nearest(&db, made.id, &[1.0, 0.0, 0.0], 5, None).unwrap(), []);
}

#[test]
fn a_vector_of_another_length_or_none_stores_nothing() {
    let db = format::stand_in().unwrap();
    let own = create(&db, "own", &OWN, 0).unwrap();
    let error = upsert(&db, &own, &[with_vector("a", &[1.0, 2.0]), with_vector("b", &[1.0])], 0).unwrap_err();
    assert!(error.message.contains("'documents[1].vector' has 1 numbers"), "{}", error.message);
    let error = upsert(&db, &own, &[with_text("a", "text", "")], 0).unwrap_err();
    assert_eq!(error.code, Code::NoModel);
    assert!(error.message.contains("'documents[0]'"), "{}", error.message);
}

#[test]
fn the_nearest_of_the_table() {
    let db = format::stand_in().unwrap();
    let own = create(&db, "own", &OWN, 0).unwrap();
    let other = create(&db, "other", &OWN, 0).unwrap();
    upsert(&db, &other, &[with_vector("x", &[1.0, 0.0])], 0).unwrap();
    let documents: Vec<NewDocument> = (0..90_u8)
        .map(|degrees| {
            let angle = f32::from(degrees).to_radians();
            with_vector(&degrees.to_string(), &[angle.cos() * 7.0, angle.sin() * 7.0])
        })
        .collect();
    upsert(&db, &own, &documents, 0).unwrap();
    let id = |key| reading::Documents::of(&db, ALL).unwrap().read(key).unwrap().unwrap().id;
    let near = scan::nearest(&db, own.id, &[10.0, 0.0], 3, None).unwrap();
    assert_eq!(near.iter().map(|near| id(near.key)).collect::<Vec<_>>(), ["0", "1", "2"]);
    for (near, degrees) in near.iter().zip([0.0_f32, 1.0, 2.0]) {
        assert!((near.distance - (1.0 - degrees.to_radians().cos())).abs() < 1e-4, "{near:?}");
    }
    let some = reading::keys_of(&db, own.id, &["80".into(), "40".into()]).unwrap();
    let near = scan::nearest(&db, own.id, &[10.0, 0.0], 3, Some(&some)).unwrap();
    assert_eq!(near.iter().map(|near| id(near.key)).collect::<Vec<_>>(), ["40", "80"]);
    assert_eq!(scan::nearest(&db, own.id, &[1.0, 0.0], 0, None).unwrap(), []);
}

#[test]
fn the_index_of_the_metadata_can_be_made_again() {
    let db = format::stand_in().unwrap();
    let own = create(&db, "own", &OWN, 0).unwrap();
    let mut document = with_vector("a", &[1.0, 0.0]);
    document.metadata = Some(Metadata::of_json(r#"{"n":1.5,"s":"x","b":false,"gone":null}"#));
    upsert(&db, &own, &[document], 0).unwrap();
    db.execute_batch("DELETE FROM metadata; INSERT INTO metadata VALUES (1, 'x', 1, 1, 77)").unwrap();
    assert_eq!(rebuild_metadata(&db).unwrap(), 3);
    for filter in [r#"{"n":1.5}"#, r#"{"s":"x"}"#, r#"{"b":false}"#] {
        assert_eq!(ids(&db, own.id, filter), ["a"], "{filter}");
    }
    assert_eq!(rows(&db, "metadata"), 3);
}

#[test]
fn bounds_of_what_is_handed_over() {
    let plain = || with_vector("a", &[1.0]);
    let metadata = |json: &str| NewDocument { metadata: Some(Metadata::of_json(json)), ..plain() };
    let long = format!(r#"{{"s":"{}"}}"#, "x".repeat(METADATA_BYTES));
    let many: String = (0..300).map(|n| format!(r#""{n}":1,"#)).collect();
    let many = format!("{{{}}}", many.trim_end_matches(','));
    for (documents, place, what) in [
        (vec![with_vector("", &[1.0])], "documents[0].id", "has 0 bytes; an id has 1 to 512"),
        (vec![with_vector(&"é".repeat(300), &[1.0])], "documents[0].id", "has 600 bytes"),
        (vec![plain(), plain()], "documents[1].id", "ids are unique"),
        (vec![NewDocument { id: "a".into(), ..NewDocument::default() }], "documents[0].text", "give one of them"),
        (vec![with_text("a", &"x".repeat(1 << 21), "")], "documents[0].text", "the limit is 1048576"),
        (vec![with_vector("a", &[])], "documents[0].vector", "has 0 numbers; a vector has 1 to 4096"),
        (vec![with_vector("a", &[1.0, f32::NAN])], "documents[0].vector", "vector[1] is NaN"),
        (vec![with_vector("a", &[0.0, 0.0])], "documents[0].vector", "are 0"),
        (vec![metadata(r#"{"":1}"#)], "documents[0].metadata", "a name of 0 bytes"),
        (vec![metadata(r#"{"$and":1}"#)], "documents[0].metadata", "begin with $"),
        (vec![metadata(&long)], "documents[0].metadata", "the limit is 65536"),
        (vec![metadata(&many)], "documents[0].metadata", "has 300 values"),
    ] {
        let error = check(&documents).unwrap_err();
        assert!(error.message.starts_with(&format!("'{place}' ")) && error.message.contains(what), "{}", error.message);
    }
    check(&[with_vector("a", &[f32::MAX, f32::MIN_POSITIVE]), with_text("b", "", "{}")]).unwrap();
    assert!(check(&vec![plain(); 10_001]).unwrap_err().message.contains("10001 documents in one call"));
}
