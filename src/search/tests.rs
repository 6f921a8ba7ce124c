use rusqlite::{Connection, params};

use super::{
    ranking::{self, Candidates, Ranking},
    request::{Kinds, Mode, Request},
};
use crate::{
    embedder::{Embedder, testing::Words},
    index::{
        document::{Field, Kind, RowKey},
        schema,
        text::{self, COLUMNS, Texts},
        vectors::{Entry, VectorIndex},
    },
    settings::Settings,
    store::{
        date_range::{Bound, DateRange},
        filters::Filters,
        order::OrderBy,
    },
};

const DIMENSIONS: usize = 64;

/// An index with its vectors, filled by hand.
struct Index {
    db: Connection,
    vectors: VectorIndex,
    embedder: Words,
}

/// One row to be.
#[derive(Default, Clone)]
struct Row<'a> {
    project: &'a str,
    kind: &'a str,
    concepts: &'a [&'a str],
    files: &'a [&'a str],
    epoch: i64,
}

impl Index {
    fn new() -> Self {
        let db = Connection::open_in_memory().unwrap();
        schema::create(&db).unwrap();
        let vectors = VectorIndex::new(DIMENSIONS, &Settings::new("").index);
        Self { db, vectors, embedder: Words::new(DIMENSIONS) }
    }

    /// Adds a row with one field; with its vector unless `owed`.
    fn add(&self, key: RowKey, field: Field, text: &str, row: &Row<'_>, owed: bool) {
        let json = |list: &[&str]| serde_json::to_string(list).unwrap();
        self.db
            .execute(
                "INSERT INTO rows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, '[]', 's', 1, ?8, x'00')",
                params![
                    key.0,
                    key.kind().unwrap().code(),
                    key.row_id(),
                    row.project,
                    (key.kind() == Some(Kind::Observation)).then_some(row.kind),
                    json(row.concepts),
                    json(row.files),
                    row.epoch
                ],
            )
            .unwrap();
        let files = row.files.join("\n");
        let mut texts: Texts<'_> = [""; COLUMNS.len()];
        let at = |name: &str| COLUMNS.iter().position(|column| *column == name).unwrap();
        texts[at(field.name())] = text;
        texts[at("files")] = &files;
        text::put(&self.db, key, &texts).unwrap();
        self.db
            .execute(
                "INSERT INTO documents(row_key, field, part, text_hash, vector) VALUES (?1, ?2, 0, x'00', ?3)",
                params![key.0, field.code(), (!owed).then_some([1_u8])],
            )
            .unwrap();
        if !owed {
            let vector = self.embedder.vector(text);
            self.vectors.put(&[Entry { id: self.db.last_insert_rowid(), group: key.0, vector: &vector }]).unwrap();
        }
    }

    fn observe(&self, id: i64, text: &str) -> RowKey {
        self.observe_in(id, text, &Row { project: "app", kind: "bugfix", epoch: id, ..Row::default() })
    }

    fn observe_in(&self, id: i64, text: &str, row: &Row<'_>) -> RowKey {
        let key = RowKey::new(Kind::Observation, id);
        self.add(key, Field::Narrative, text, row, false);
        key
    }

    fn candidates(&self, request: &Request) -> Candidates {
        let vector = self.embedder.query(&request.text).unwrap();
        ranking::candidates(&self.db, &self.vectors, Some(&vector), request, None).unwrap()
    }

    fn search(&self, request: &Request) -> Ranking {
        self.candidates(request).rank()
    }

    fn ids(&self, request: &Request) -> Vec<i64> {
        self.search(request).hits.iter().map(|hit| hit.key.row_id()).collect()
    }
}

fn observations(text: &str) -> Request {
    Request::new(text, Kinds::of(&[Kind::Observation]))
}

fn keyword(text: &str) -> Request {
    Request { mode: Mode::Keyword, ..observations(text) }
}

#[test]
fn the_sum_of_the_counts_is_what_fts5_calls_bm25() {
    let index = Index::new();
    for (id, text) in [
        "the token is refreshed by the token timer",
        "a token",
        "refresh the page, refresh it twice, and the token stays",
        "nothing of it at all, but quite a long text about other things",
        "the build is slow",
    ]
    .into_iter()
    .enumerate()
    {
        index.observe(id as i64 + 1, text);
    }
    let leg = index.candidates(&Request { limit: 100, ..keyword("token refresh timer") }).rank();
    let expected: Vec<(i64, f64)> = index
        .db
        .prepare("SELECT rowid, -bm25(words) FROM words WHERE words MATCH '\"token\" OR \"refresh\" OR \"timer\"' ORDER BY rank")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    assert_eq!(leg.hits.len(), expected.len());
    for (hit, (key, bm25)) in leg.hits.iter().zip(expected) {
        assert_eq!(hit.key.0, key);
        assert!((hit.words.unwrap().bm25 - bm25).abs() < 1e-9, "{hit:?} {bm25}");
    }
}

#[test]
fn the_number_of_rows_is_that_of_now_however_often_they_were_written() {
    let index = Index::new();
    let texts = ["a token", "another text", "and a third one", "four"];
    for (id, text) in texts.iter().enumerate() {
        index.observe(id as i64, text);
    }
    let before = index.search(&keyword("token")).hits[0].words.unwrap().bm25;
    for _ in 0..10 {
        for (id, text) in texts.iter().enumerate() {
            let mut row = [""; COLUMNS.len()];
            row[2] = text;
            text::put(&index.db, RowKey::new(Kind::Observation, id as i64), &row).unwrap();
        }
    }
    let after = index.search(&keyword("token")).hits[0].words.unwrap().bm25;
    assert!((before - after).abs() < 1e-9, "{before} {after}");
}

#[test]
fn words_in_any_form_and_not_all_of_them() {
    let index = Index::new();
    index.observe(1, "We refreshed all tokens before they expire");
    index.observe(2, "The build runs on every push");
    assert_eq!(index.ids(&keyword("where do we refresh the access token?")), [1]);
    assert_eq!(index.ids(&keyword("builds")), [2]);
    assert!(index.ids(&keyword("nothing like it")).is_empty());
    assert_eq!(index.ids(&keyword("on every")), [2]);
}

#[test]
fn any_user_text_is_safe() {
    let index = Index::new();
    index.observe(1, "quote token near the star");
    let huge = "token ".repeat(20_000);
    let different: String = (0..20_000).map(|number| format!("w{number}-x ")).collect();
    for text in [
        "",
        " ",
        "\0",
        "\"",
        "'",
        "\"token",
        "NEAR(",
        "NEAR(token near, 2)",
        "token*",
        "*",
        "^token",
        "token AND",
        "OR",
        "NOT token",
        "-token",
        "title:token",
        "{title}: token",
        "(((",
        "token;DROP TABLE rows",
        "\u{301}",
        "ा ि",
        "\u{fffd}",
        "🙂",
        "x\0token",
        &huge,
        &different,
    ] {
        let keyword = index.search(&keyword(text));
        let hybrid = index.search(&observations(text));
        assert!(keyword.total <= 1 && hybrid.total == 1, "{text:.40}");
        if text.contains("token") {
            assert_eq!(keyword.total, 1, "{text:.40}");
        }
    }
}

#[test]
fn identifiers_and_their_parts() {
    let index = Index::new();
    index.observe(1, "getUserById reads one row");
    index.observe(2, "see src/auth/token-refresh.ts for it");
    index.observe(3, "see src/token/auth.ts, and refresh the page");
    assert_eq!(index.ids(&keyword("getUserById")), [1]);
    assert_eq!(index.ids(&keyword("userby")), [1], "no such word, but a part of one");
    assert_eq!(index.ids(&keyword("token-refresh.ts"))[0], 2, "side by side is worth more");
    assert!(index.ids(&keyword("us")).is_empty(), "too short for a part");
}

#[test]
fn mistyped_words_are_found_where_nothing_else_is() {
    let index = Index::new();
    index.observe(1, "a migration of the database schema");
    index.observe(2, "the cache receives entries");
    for (typed, id) in [("migratoin", 1), ("databse", 1), ("recieve", 2), ("cahce", 2), ("scehma", 1)] {
        assert_eq!(index.ids(&keyword(typed)), [id], "{typed}");
    }
    assert!(index.ids(&keyword("xyzzy")).is_empty());
}

#[test]
fn scripts_without_spaces() {
    let index = Index::new();
    index.observe(1, "ユーザーのセッションが期限切れになる");
    index.observe(2, "数据库连接池的大小");
    index.observe(3, "데이터베이스 연결을 닫는다");
    assert_eq!(index.ids(&keyword("期限切れ")), [1]);
    assert_eq!(index.ids(&keyword("连接池"))[0], 2);
    assert_eq!(index.ids(&keyword("데이터베이스")), [3]);
    assert!(index.ids(&keyword("切限")).is_empty(), "not in another order");
}

#[test]
fn filters_hold_before_anything_is_ranked() {
    let index = Index::new();
    // A hundred better matches of another project must not push the one of this project out of the candidates.
    for id in 1..=150 {
        index.observe_in(id, "token token token", &Row { project: "other", kind: "feature", ..Row::default() });
    }
    let wanted = Row {
        project: "app",
        kind: "bugfix",
        concepts: &["gotcha", "security"],
        files: &["src/auth/login.ts"],
        epoch: 5_000,
    };
    index.observe_in(200, "something long about a token, and many other words that make it a weak match", &wanted);
    let with = |filters: Filters| index.ids(&Request { filters, ..observations("token") });
    let one = |text: &str| Some(vec![text.to_owned()]);
    let range = DateRange { start: Some(Bound::Text("4000000000".into())), end: None };
    assert_eq!(range.start, Some(Bound::Text("4000000000".into())));
    for filters in [
        Filters { project: Some("app".into()), ..Filters::default() },
        Filters { kinds: one("bugfix"), ..Filters::default() },
        Filters { concepts: one("security"), ..Filters::default() },
        Filters { files: one("auth/LOGIN"), ..Filters::default() },
        Filters { date_range: DateRange { start: Some(Bound::Epoch(4_000.0)), end: None }, ..Filters::default() },
    ] {
        assert_eq!(with(filters.clone()), [200], "{filters:?}");
        let semantic = Request { filters: filters.clone(), mode: Mode::Semantic, ..observations("token") };
        assert_eq!(index.ids(&semantic), [200], "{filters:?}");
        assert_eq!(index.ids(&Request { mode: Mode::Keyword, ..semantic }), [200], "{filters:?}");
    }
    assert!(with(Filters { project: Some("none".into()), ..Filters::default() }).is_empty());
    assert!(with(Filters { kinds: Some(Vec::new()), ..Filters::default() }).is_empty());
}

#[test]
fn kinds_in_one_ranking_and_alone() {
    let index = Index::new();
    let row = Row { project: "app", kind: "bugfix", ..Row::default() };
    let (observation, summary, prompt) =
        (RowKey::new(Kind::Observation, 1), RowKey::new(Kind::Summary, 1), RowKey::new(Kind::Prompt, 1));
    index.add(observation, Field::Narrative, "the token expired", &row, false);
    index.add(summary, Field::Learned, "a token is short", &row, false);
    index.add(prompt, Field::Prompt, "fix the token", &row, false);
    let of = |kinds: Kinds| {
        let mut keys: Vec<RowKey> =
            index.search(&Request::new("token", kinds)).hits.iter().map(|hit| hit.key).collect();
        keys.sort();
        keys
    };
    assert_eq!(of(Kinds::ALL), [observation, summary, prompt]);
    assert_eq!(of(Kinds::of(&[Kind::Summary])), [summary]);
    assert_eq!(of(Kinds::of(&[Kind::Prompt])), [prompt]);
    // What a kind does not have lets it through alone, and not in a ranking of all.
    let filters = Filters { kinds: Some(vec!["bugfix".into()]), ..Filters::default() };
    let filtered =
        |kinds| index.search(&Request { filters: filters.clone(), ..Request::new("token", kinds) }).hits.len();
    assert_eq!((filtered(Kinds::of(&[Kind::Prompt])), filtered(Kinds::ALL)), (1, 1));
}

#[test]
fn the_sum_of_both_legs() {
    let index = Index::new();
    index.observe(1, "token refresh");
    index.observe(2, "token of another kind entirely, nothing to do with it");
    index.observe(3, "unrelated words");
    let ranking = index.search(&observations("token refresh"));
    assert_eq!(ranking.hits.iter().map(|hit| hit.key.row_id()).collect::<Vec<_>>(), [1, 2, 3]);
    let best = &ranking.hits[0];
    assert!((best.score.unwrap() - 1.0).abs() < 1e-2, "{best:?}");
    let worse = &ranking.hits[1];
    let cosine = 1.0 - f64::from(worse.meaning.unwrap().distance);
    let expected = 0.4 * worse.words.unwrap().bm25 / best.words.unwrap().bm25 + 0.6 * cosine.max(0.0);
    assert!((worse.score.unwrap() - expected).abs() < 1e-9, "{worse:?} {expected}");
    assert_eq!((ranking.hits[2].words, best.words.unwrap().rank), (None, 1));
}

#[test]
fn words_count_as_much_as_they_cover_of_the_query() {
    let index = Index::new();
    index.observe(1, "token refresh");
    for id in 2..=9 {
        index.observe(id, "other words of every kind");
    }
    let adds = |query: &str| {
        let ranking = index.search(&observations(query));
        let hit = ranking.hits.iter().find(|hit| hit.key.row_id() == 1).unwrap();
        hit.score.unwrap() - 0.6 * (1.0 - f64::from(hit.meaning.unwrap().distance)).max(0.0)
    };
    assert!((adds("where is the token refresh") - 0.4).abs() < 1e-6, "all of it");
    assert!((adds("src/token-refresh") - adds("src token refresh")).abs() < 1e-6, "a compound is its words");
    // A word that nobody has is worth ln((9 + 0.5) / 0.5), one that one of nine rows has ln((9 - 1 + 0.5) / 1.5).
    let (nowhere, once) = (19.0_f64.ln(), (8.5_f64 / 1.5).ln());
    assert!((adds("token xyzzyx") - 0.4 * once / (once + nowhere)).abs() < 1e-6, "{}", adds("token xyzzyx"));
    assert!((adds("tokne refersh") - 0.4).abs() < 1e-6, "what was mistyped is covered: {}", adds("tokne refersh"));
    assert!((adds("toke") - 0.4).abs() < 1e-6, "and so is a part: {}", adds("toke"));
}

#[test]
fn every_candidate_has_its_exact_cosine() {
    let index = Index::new();
    // More rows near the query than the semantic leg has places for.
    for id in 1..=150 {
        index.observe(id, &format!("alpha beta gamma {}", ["x", "y", "z"][id as usize % 3]));
    }
    index.observe(500, "alpha needle in a text of quite other words");
    let ranking = index.search(&Request { limit: 300, ..observations("alpha beta gamma needle") });
    let found = ranking.hits.iter().find(|hit| hit.key.row_id() == 500).unwrap();
    let meaning = found.meaning.unwrap();
    assert_eq!(meaning.rank, None, "too far for the semantic leg");
    let exact = {
        let (a, b) = (
            index.embedder.vector("alpha beta gamma needle"),
            index.embedder.vector("alpha needle in a text of quite other words"),
        );
        1.0 - a.iter().zip(&b).map(|(a, b)| a * b).sum::<f32>()
    };
    assert!((meaning.distance - exact).abs() < 0.01, "{meaning:?} {exact}");
}

#[test]
fn a_row_without_a_vector_is_no_worse_than_the_middle() {
    let index = Index::new();
    for id in 1..=5 {
        index.observe(id, &format!("token {}", "word ".repeat(id as usize)));
    }
    let key = RowKey::new(Kind::Observation, 9);
    index.add(key, Field::Narrative, "token new", &Row { project: "app", ..Row::default() }, true);
    let mut candidates = index.candidates(&observations("token new"));
    assert_eq!(candidates.owed.len(), 1);
    assert_eq!(candidates.owed[0].id.to_string(), "obs_9_narrative");
    let ranking = index.candidates(&observations("token new")).rank();
    let hit = ranking.hits.iter().find(|hit| hit.key == key).unwrap();
    let mut cosines: Vec<f64> =
        ranking.hits.iter().filter_map(|hit| hit.meaning).map(|meaning| 1.0 - f64::from(meaning.distance)).collect();
    cosines.sort_by(f64::total_cmp);
    assert_eq!(hit.meaning, None);
    assert!((hit.score.unwrap() - (0.4 + 0.6 * cosines[2])).abs() < 1e-9, "{hit:?} {cosines:?}");
    // Embedded for this query it has its own.
    let owed = candidates.owed[0];
    candidates.embedded(&[(owed.id, 0.25)]);
    let ranking = candidates.rank();
    let hit = ranking.hits.iter().find(|hit| hit.key == key).unwrap();
    assert!((hit.score.unwrap() - (0.4 + 0.6 * 0.75)).abs() < 1e-9, "{hit:?}");
    assert_eq!(hit.meaning.unwrap().document, Some(owed.id));
}

#[test]
fn documents_owed_are_taken_in_turns() {
    let index = Index::new();
    let row = Row { project: "app", ..Row::default() };
    for id in 1..=20 {
        let key = RowKey::new(Kind::Observation, id);
        index.add(key, Field::Narrative, &format!("token {}", "word ".repeat(id as usize)), &row, true);
        index
            .db
            .execute("INSERT INTO documents(row_key, field, part, text_hash) VALUES (?1, 3, 0, x'00')", [key.0])
            .unwrap();
    }
    let owed = index.candidates(&observations("token")).owed;
    assert_eq!(owed.len(), ranking::EMBEDDED_ON_DEMAND);
    assert!(owed.iter().all(|owed| owed.id.field == Field::Narrative), "one of each row first: {owed:?}");
    assert_eq!(owed[0].id.row_id, 1, "the best row first");
}

#[test]
fn pages_are_pieces_of_one_ranking() {
    let index = Index::new();
    for id in 1..=450 {
        let words = ["alpha", "beta", "gamma", "delta"];
        let text: Vec<&str> = (0..=id % 7).map(|n| words[((id / 3 + n * n) % 4) as usize]).collect();
        index.observe(id, &text.join(" "));
    }
    for mode in [Mode::Hybrid, Mode::Keyword, Mode::Semantic] {
        let page = |offset, limit| {
            let ranking = index.search(&Request { offset, limit, mode, ..observations("alpha gamma") });
            ranking.hits.into_iter().map(|hit| hit.key).collect::<Vec<_>>()
        };
        let whole = page(0, 450);
        let mut pages = Vec::new();
        for offset in (0..450).step_by(30) {
            pages.extend(page(offset, 30));
        }
        assert_eq!(pages, whole, "{mode:?}");
        let mut once = whole.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), whole.len(), "{mode:?}: each row once");
        assert!(page(1_000, 10).is_empty());
    }
}

#[test]
fn candidates_by_date() {
    let index = Index::new();
    for (id, epoch) in [(1, 30), (2, 10), (3, 20)] {
        index.observe_in(id, "token", &Row { project: "app", epoch, ..Row::default() });
    }
    let by = |order_by| index.ids(&Request { order_by, ..keyword("token") });
    assert_eq!(by(OrderBy::DateDesc), [1, 3, 2]);
    assert_eq!(by(OrderBy::DateAsc), [2, 3, 1]);
    assert_eq!(by(OrderBy::Relevance), [1, 2, 3], "of equal score by key");
}

#[test]
fn a_row_is_one_result_with_its_best_document() {
    let index = Index::new();
    let key = index.observe(1, "about buttons");
    index.observe(2, "about other things");
    index
        .db
        .execute(
            "INSERT INTO documents(row_key, field, part, text_hash, vector) VALUES (?1, 3, 4, x'00', x'01')",
            [key.0],
        )
        .unwrap();
    let vector = index.embedder.vector("heap leak");
    index.vectors.put(&[Entry { id: index.db.last_insert_rowid(), group: key.0, vector: &vector }]).unwrap();
    let request = Request { mode: Mode::Semantic, explain: true, ..observations("heap leak") };
    let ranking = index.search(&request);
    assert_eq!(ranking.total, 2);
    let hit = ranking.hits[0].meaning.unwrap();
    assert_eq!((ranking.hits[0].key, hit.document.unwrap().to_string()), (key, "obs_1_fact_4".to_owned()));
    assert!(hit.distance < 0.01 && hit.rank == Some(1), "{hit:?}");
}

#[test]
fn what_is_remembered_is_forgotten_when_the_file_changes() {
    let index = Index::new();
    index.observe(1, "token");
    assert_eq!(index.ids(&observations("token")), [1]);
    index.observe(2, "token");
    assert_eq!(index.ids(&observations("token")), [1, 2]);
    index.vectors.remove_groups(&[RowKey::new(Kind::Observation, 1).0]);
    text::remove(&index.db, RowKey::new(Kind::Observation, 1)).unwrap();
    index.db.execute("DELETE FROM rows WHERE id = 1", []).unwrap();
    assert_eq!(index.ids(&observations("token")), [2]);
}
