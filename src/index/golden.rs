//! The reference database against the vector store that the original kept for it: the same documents, and with the real
//! model the same vectors.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use super::{Index, Parts, chroma, document::DocumentId, row, table};
use crate::{
    embedder::{self, Embedder, Priority, testing::Words},
    job::Jobs,
    reply::wait,
    settings::Settings,
};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures");

/// The reference database in a directory of its own, and the documents of the store; `None`, and a printed reason, where
/// they are not at hand.
fn reference() -> Option<(tempfile::TempDir, Vec<chroma::Document>)> {
    let (database, store) = (Path::new(FIXTURES).join("claude-mem-6.0.2.db"), Path::new(FIXTURES).join("chroma"));
    if !database.exists() || !store.exists() {
        eprintln!("skipped: {FIXTURES} is not there");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(database, folder.path().join("claude-mem.db")).unwrap();
    let mut store = chroma::open(&store, &chroma::Options::default()).unwrap();
    let documents = store.documents().collect::<crate::error::Result<Vec<_>>>().unwrap();
    Some((folder, documents))
}

fn index(folder: &Path, embedder: Arc<dyn Embedder>) -> Arc<Index> {
    let mut settings = Settings::new(folder);
    settings.index.automatic = false;
    let parts = Parts {
        settings: Arc::new(settings),
        embedder,
        own_commits: Box::new(|| 0),
        activity: Arc::default(),
        guard: None,
    };
    Arc::new(Index::open(parts).unwrap())
}

#[test]
fn documents_are_those_of_the_original() {
    let Some((folder, originals)) = reference() else { return };
    let model = Arc::new(Words::new(16));
    model.set_missing(true);
    let index = index(folder.path(), model);
    let began = std::time::Instant::now();
    wait(|reply| index.freshen(reply)).unwrap();
    eprintln!("rows, documents and text indexes of the reference database: {:?}", began.elapsed());
    let ids: Vec<(DocumentId, [u8; 16])> = originals
        .iter()
        .map(|original| (original.id.parse().unwrap(), row::text_hash(original.text.as_deref().unwrap())))
        .collect();
    let compare = move |db: &rusqlite::Connection| {
        let (mut same, mut other, mut missing) = (0, 0, 0);
        for (id, hash) in &ids {
            match table::find(db, *id)? {
                Some((_, _, found)) if found == *hash => same += 1,
                Some(_) => other += 1,
                None => missing += 1,
            }
        }
        Ok((same, other, missing, table::counts(db)?))
    };
    let (same, other, missing, counts) = wait(|reply| index.read("compare", compare, reply)).unwrap();
    assert_eq!((same, other, missing), (3_154, 1, 0), "one text was rewritten in the original's store");
    assert_eq!(counts.rows, 3_496 + 420 + 900);
    eprintln!("{} documents, {} bytes of file", counts.documents, index.figures().file_bytes);
    let began = std::time::Instant::now();
    for _ in 0..100 {
        wait(|reply| index.freshen(reply)).unwrap();
    }
    eprintln!("freshen where nothing has changed: {:?}", began.elapsed() / 100);
    index.close(Duration::from_secs(20));
}

#[test]
fn vectors_are_those_of_the_original() {
    let Some((folder, originals)) = reference() else { return };
    let settings = Settings::new(folder.path()).model;
    let embedder = embedder::open(&settings, folder.path());
    if let Some(reason) = super::model::why_not(&*embedder) {
        return eprintln!("skipped: {reason}");
    }
    // One in forty, of every length, by the model alone; then a small database through the whole index.
    let sample: Vec<&chroma::Document> = originals.iter().step_by(40).collect();
    let texts: Vec<&str> = sample.iter().map(|document| document.text.as_deref().unwrap()).collect();
    let vectors = embedder.embed(&texts, Priority::Document).unwrap();
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() >= 0.999;
    let agree = sample.iter().zip(&vectors).filter(|(original, made)| near(&original.vector, made)).count();
    assert!(agree * 100 >= sample.len() * 98, "{agree} of {}", sample.len());
    let db = rusqlite::Connection::open(folder.path().join("claude-mem.db")).unwrap();
    let last: i64 =
        sample.iter().filter_map(|one| one.id.parse::<DocumentId>().ok()).map(|id| id.row_id).min().unwrap();
    db.execute_batch(&format!(
        "PRAGMA foreign_keys=OFF; DELETE FROM observations WHERE id > {}; DELETE FROM session_summaries WHERE id > 5;
         DELETE FROM user_prompts WHERE id > 5",
        last + 60
    ))
    .unwrap();
    drop(db);
    let index = index(folder.path(), embedder);
    let job = index.sync(&Jobs::default(), false).unwrap();
    let report = wait(|reply| job.result(reply)).unwrap();
    assert_eq!(report.pending, 0, "{report:?}");
    let by_id: HashMap<DocumentId, &[f32]> =
        originals.iter().map(|one| (one.id.parse().unwrap(), &*one.vector)).collect();
    let (mut compared, mut agree) = (0, 0);
    for (id, original) in by_id {
        if let Some(made) = wait(|reply| index.get(id, reply)).unwrap() {
            compared += 1;
            agree += usize::from(near(original, &made));
        }
    }
    eprintln!("{report:?}; {agree} of {compared} vectors as in the original");
    assert!(compared > 20 && agree * 100 >= compared * 98, "{agree} of {compared}");
    index.close(Duration::from_secs(20));
}
