use super::*;
use crate::index::document::Kind;

fn texts<'a>(column: &str, text: &'a str) -> Texts<'a> {
    let mut texts = [""; COLUMNS.len()];
    texts[COLUMNS.iter().position(|name| *name == column).unwrap()] = text;
    texts
}

fn found(db: &Connection, table: &str, expression: &str) -> Vec<i64> {
    db.prepare(&format!("SELECT rowid FROM {table} WHERE {table} MATCH ?1 ORDER BY rowid"))
        .unwrap()
        .query_map([expression], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap()
}

fn database() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    create(&db).unwrap();
    db
}

#[test]
fn words_are_found_by_their_stem_and_in_their_column() {
    let db = database();
    let key = RowKey::new(Kind::Observation, 7);
    put(&db, key, &texts("narrative", "The tokens were refreshed; naïve retries")).unwrap();
    for expression in ["token", "\"refreshing\"", "naive", "retry", "narrative : token"] {
        assert_eq!(found(&db, "words", expression), [key.0], "{expression}");
    }
    assert!(found(&db, "words", "title : token").is_empty());
    assert_eq!(found(&db, "pieces", "\"okens were refr\""), [key.0]);
}

#[test]
fn characters_without_spaces_are_found_as_neighbours() {
    let db = database();
    let key = RowKey::new(Kind::Prompt, 1);
    put(&db, key, &texts("prompt", "Reactの状態を管理する")).unwrap();
    for expression in ["\"状 態\"", "\"管 理\"", "react", "\"の 状 態\""] {
        assert_eq!(found(&db, "words", expression), [key.0], "{expression}");
    }
    assert!(found(&db, "words", "\"態 状\"").is_empty(), "not in another order");
}

#[test]
fn a_row_that_changed_is_found_by_what_it_says_now() {
    let db = database();
    let key = RowKey::new(Kind::Summary, 3);
    put(&db, key, &texts("learned", "the cache was stale")).unwrap();
    put(&db, key, &texts("learned", "the index was damaged")).unwrap();
    assert!(found(&db, "words", "cache").is_empty());
    assert!(found(&db, "pieces", "\"stale\"").is_empty());
    assert_eq!(found(&db, "words", "index"), [key.0]);
    remove(&db, key).unwrap();
    remove(&db, key).unwrap();
    assert!(found(&db, "words", "index").is_empty());
    assert!(found(&db, "pieces", "\"damaged\"").is_empty());
}

#[test]
fn text_with_a_nul_is_indexed_to_its_end() {
    let db = database();
    let key = RowKey::new(Kind::Prompt, 1);
    put(&db, key, &texts("prompt", "before\0behind")).unwrap();
    assert_eq!(found(&db, "words", "behind"), [key.0]);
    assert_eq!(found(&db, "pieces", "\"behind\""), [key.0]);
}

fn segments(db: &Connection, index: &str) -> i64 {
    db.query_row(&format!("SELECT count(DISTINCT segid) FROM {index}_idx"), [], |row| row.get(0)).unwrap()
}

/// Thousands of different words, other ones for each `seed`.
fn long_text(mut seed: u64) -> String {
    (0..2_000)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("w{:x} ", seed >> 40)
        })
        .collect()
}

#[test]
fn segments_are_merged_by_steps_and_everything_is_found_meanwhile() {
    let db = database();
    assert!(!segments::are_many(&db, "words").unwrap());
    let mut rows = 0;
    while !(segments::are_many(&db, "words").unwrap() && segments::are_many(&db, "pieces").unwrap()) {
        rows += 1;
        assert!(rows < 100, "{} {}", segments(&db, "words"), segments(&db, "pieces"));
        let text = format!("common {}", long_text(rows));
        put(&db, RowKey(rows.try_into().unwrap()), &texts("narrative", &text)).unwrap();
    }
    let all: Vec<i64> = (1..=rows.try_into().unwrap()).collect();
    let mut steps = 0;
    for index in segments::INDEXES {
        let transaction = db.unchecked_transaction().unwrap();
        assert!(segments::merge(&transaction, index, true).unwrap(), "{index}: {}", segments(&db, index));
        drop(transaction);
        assert!(segments::are_many(&db, index).unwrap(), "{index}: a step that was not committed is none");
        steps += 1;
        assert!(segments::merge(&db, index, true).unwrap());
        while segments::merge(&db, index, false).unwrap() {
            steps += 1;
            assert_eq!(found(&db, index, "common"), all, "{index}");
        }
        assert_eq!(segments(&db, index), 1, "{index}");
        assert!(!segments::are_many(&db, index).unwrap(), "{index}");
        assert_eq!(found(&db, index, "common"), all, "{index}");
    }
    assert!(steps > segments::INDEXES.len(), "{steps}: an index of more pages than one step writes takes several");
    // A row more is not worth another.
    put(&db, RowKey(1_000), &texts("narrative", "seldom")).unwrap();
    for index in segments::INDEXES {
        assert!(!segments::are_many(&db, index).unwrap(), "{index}");
    }
}
