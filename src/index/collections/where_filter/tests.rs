use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::{
    error::Code,
    index::collections::{
        documents::{Metadata, NewDocument},
        format, reading,
        storage::{Space, create, upsert},
    },
};

/// `a`: 1, `b`: 2.5, `c`: "x" with a text, `d`: true, `e`: nothing, `f`: n is the string "1".
fn stored() -> (crate::db::Database, i64) {
    let db = format::stand_in().unwrap();
    let other = create(&db, "other", &Space::Given { dimensions: 2 }, 0).unwrap();
    let info = create(&db, "mine", &Space::Given { dimensions: 2 }, 0).unwrap();
    let document = |id: &str, text: Option<&str>, metadata: Value| NewDocument {
        id: id.to_owned(),
        text: text.map(str::to_owned),
        metadata: Some(Metadata::of_json(&metadata.to_string())),
        vector: Some(vec![1.0, 0.0]),
    };
    let documents = [
        document("a", Some("the heap leaks"), json!({"n": 1, "s": "x"})),
        document("b", Some("a blue button"), json!({"n": 2.5, "s": "y", "odd \"name'$.": 7})),
        document("c", Some("Heap 100 %"), json!({"n": 10, "s": "x"})),
        document("d", None, json!({"n": true, "s": "10"})),
        document("e", None, json!({"gone": null})),
        document("f", None, json!({"n": "1", "s": "z\u{0}z"})),
    ];
    upsert(&db, &other, &documents, 0).unwrap();
    upsert(&db, &info, &documents, 0).unwrap();
    (db, info.id)
}

fn found(db: &Connection, collection: i64, filter: &Filter) -> String {
    let keys = reading::keys(db, collection, Some(filter), 0, None).unwrap();
    assert_eq!(reading::count(db, collection, Some(filter)).unwrap(), keys.len() as u64);
    // The other ways of asking agree.
    let set = reading::admitted(db, collection, filter).unwrap();
    assert_eq!(set.iter().collect::<Vec<_>>(), keys, "{filter:?}");
    let all = reading::keys(db, collection, None, 0, None).unwrap();
    let held: Vec<i64> = all.into_iter().filter(|key| reading::holds(db, *key, filter).unwrap()).collect();
    assert_eq!(held, keys, "{filter:?}");
    for most in 0..keys.len() {
        assert!(!reading::is_selective(db, collection, filter, most).unwrap(), "{filter:?}");
    }
    let include = crate::index::collections::documents::Include { text: false, metadata: false, vector: false };
    keys.iter().map(|key| reading::Documents::of(db, include).unwrap().read(*key).unwrap().unwrap().id).collect()
}

#[test]
fn what_each_operator_finds() {
    let (db, collection) = stored();
    for (filter, ids) in [
        (json!({"n": 1}), "a"),
        (json!({"n": 1.0}), "a"),
        (json!({"n": "1"}), "f"),
        (json!({"n": true}), "d"),
        (json!({"n": false}), ""),
        (json!({"s": "x"}), "ac"),
        (json!({"s": "z\u{0}z"}), "f"),
        (json!({"s": "z"}), ""),
        (json!({"odd \"name'$.": 7}), "b"),
        (json!({"unknown": 1}), ""),
        (json!({"n": {"$eq": 2.5}}), "b"),
        // As Chroma does: what has no value is not equal.
        (json!({"n": {"$ne": 1}}), "bcdef"),
        (json!({"gone": {"$ne": 1}}), "abcdef"),
        (json!({"n": {"$gt": 1}}), "bc"),
        (json!({"n": {"$gte": 1}}), "abc"),
        (json!({"n": {"$lt": 10}}), "ab"),
        (json!({"n": {"$lte": 10}}), "abc"),
        (json!({"n": {"$gt": -1e300}}), "abc"),
        (json!({"n": {"$gt": "0"}}), "f"),
        // By their bytes: "10" before "x".
        (json!({"s": {"$gte": "10", "$lt": "y"}}), "acd"),
        (json!({"n": {"$in": [1, "1", true, 99]}}), "adf"),
        (json!({"n": {"$in": []}}), ""),
        (json!({"n": {"$nin": [1, "1"]}}), "bcde"),
        (json!({"n": {"$nin": []}}), "abcdef"),
        (json!({"n": {"$gt": 1}, "s": "x"}), "c"),
        (json!({"$and": [{"n": {"$gt": 1}}, {"s": "x"}]}), "c"),
        (json!({"$or": [{"n": 1}, {"s": "y"}]}), "ab"),
        (json!({"$or": [{"n": 1}, {"$and": [{"s": "x"}, {"n": {"$ne": 1}}]}]}), "ac"),
        (json!({"$and": [{"$or": [{"n": 1}, {"n": 10}]}, {"$or": [{"s": "x"}]}]}), "ac"),
        (json!({"$or": [{"n": 1}], "s": "y"}), ""),
    ] {
        let read = Filter::metadata(&filter).unwrap();
        assert_eq!(found(&db, collection, &read), ids, "{filter}");
    }
    for (filter, ids) in [
        (json!({"$contains": "eap"}), "ac"),
        // As it is written.
        (json!({"$contains": "heap"}), "a"),
        (json!({"$contains": "%"}), "c"),
        (json!({"$not_contains": "eap"}), "bdef"),
        (json!({"$and": [{"$contains": "eap"}, {"$not_contains": "leak"}]}), "c"),
        (json!({"$or": [{"$contains": "blue"}, {"$contains": "leak"}]}), "ab"),
    ] {
        let read = Filter::text(&filter).unwrap();
        assert_eq!(found(&db, collection, &read), ids, "{filter}");
    }
    let both = Filter::All(vec![
        Filter::metadata(&json!({"s": "x"})).unwrap(),
        Filter::text(&json!({"$contains": "leak"})).unwrap(),
    ]);
    assert_eq!(found(&db, collection, &both), "a");
}

#[test]
fn what_is_refused() {
    let deep = (0..40).fold(json!({"n": 1}), |inner, _| json!({"$and": [inner]}));
    let many = json!({"$or": (0..300).map(|n| json!({"n": n})).collect::<Vec<_>>()});
    for (filter, place, what) in [
        (json!({}), "where", "an object with one condition at least, got {}"),
        (json!(null), "where", "got null"),
        (json!([]), "where", "got an empty array"),
        (json!({"n": null}), "where.n", "must be a string, a finite number or a boolean, got null"),
        (json!({"n": [1]}), "where.n", "got an array"),
        (json!({"n": {}}), "where.n", "got {}"),
        (json!({"n": {"$gtt": 1}}), "where.n.$gtt", "unknown operator '$gtt'; known here are $eq, $ne, $gt"),
        (json!({"n": {"m": 1}}), "where.n.m", "unknown operator 'm'"),
        (json!({"n": {"$gt": true}}), "where.n.$gt", "booleans have no order"),
        (json!({"n": {"$in": 1}}), "where.n.$in", "must be an array, got 1"),
        (json!({"n": {"$in": [1, {}]}}), "where.n.$in[1]", "got {}"),
        (json!({"$not": []}), "where.$not", "unknown operator '$not'; known here are $and, $or"),
        (json!({"$and": []}), "where.$and", "got an empty array"),
        (json!({"$or": {"n": 1}}), "where.$or", "must be an array of one condition"),
        (json!({"$or": [{"n": 1}, 2]}), "where.$or[1]", "got 2"),
        (json!({"a b": {"$x": 1}}), "where[\"a b\"].$x", "unknown operator"),
        (json!({"": 1}), "where[\"\"]", "1 to 256 bytes, this one 0"),
        (json!({"n": {"$in": vec![1; 10_001]}}), "where.n.$in", "10001 values, the limit is 10000"),
        (deep, "where.$and[0].$and[0]", "deeper than 32"),
        (many, "where.$or[256].n", "more than 256 conditions"),
    ] {
        let error = Filter::metadata(&filter).unwrap_err();
        assert_eq!(error.code, Code::InvalidArg, "{filter}");
        assert!(error.message.starts_with(&format!("'{place}")), "{}", error.message);
        assert!(error.message.contains(what), "{}", error.message);
    }
    for (filter, what) in [
        (json!({"$contains": ""}), "a string that is not empty"),
        (json!({"$contains": 1}), "got 1"),
        (json!({"n": 1}), "unknown operator 'n'; known here are $contains, $not_contains, $and, $or"),
    ] {
        let error = Filter::text(&filter).unwrap_err();
        assert!(error.message.contains(what), "{}", error.message);
    }
}

#[test]
fn a_filter_goes_through_the_index_of_the_metadata() {
    let (db, collection) = stored();
    for (filter, found) in [
        (json!({"n": 1}), true),
        (json!({"n": {"$gt": 1}}), true),
        (json!({"n": {"$ne": 1}}), false),
        (json!({"$and": [{"n": {"$ne": 1}}, {"s": "x"}]}), true),
        (json!({"$or": [{"n": {"$ne": 1}}, {"s": "x"}]}), false),
    ] {
        let read = Filter::metadata(&filter).unwrap();
        assert_eq!(read.is_found_by_metadata(), found, "{filter}");
        let condition = read.condition(collection);
        let through = if found { "+" } else { "" };
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT d.key FROM documents d WHERE {through}d.collection = ?1 AND {}",
            condition.sql
        );
        let plan: Vec<String> = db
            .prepare(&sql)
            .unwrap()
            .query_map(rusqlite::params_from_iter(condition.bound), |row| row.get(3))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        let first = plan.first().unwrap();
        assert_eq!(first.contains("INTEGER PRIMARY KEY"), found, "{filter}: {plan:?}");
        assert!(plan.iter().all(|line| !line.starts_with("SCAN")), "{filter}: {plan:?}");
    }
}
