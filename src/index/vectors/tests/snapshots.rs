//! Graphs in files.

use super::*;

/// A table of 1,000 documents with a settled index of it and its snapshot in a folder.
fn saved() -> (tempfile::TempDir, Arc<Table>, Vec<Vec<f32>>, SnapshotInfo) {
    let folder = tempfile::tempdir().unwrap();
    let (table, vectors) = (Arc::new(Table::default()), clustered(1_100, 32, 21));
    for (id, vector) in (0..).zip(&vectors[..1_000]) {
        table.put(id, id / 2, vector);
    }
    let index = graphed(Some(Arc::clone(&table) as Arc<dyn Source>), 32, &settings());
    assert_eq!(index.save(folder.path(), "vectors", "model").unwrap(), None, "nothing to save yet");
    index.fill().unwrap();
    settle(&index);
    let info = index.save(folder.path(), "vectors", "model").unwrap().unwrap();
    assert_eq!((info.documents, info.file.as_str()), (1_000, "vectors-1.usearch"));
    assert_eq!(SnapshotInfo::from_json(&info.to_json()).unwrap(), info);
    (folder, table, vectors, info)
}

#[test]
fn a_snapshot_gives_the_graph_back_and_each_has_a_name_of_its_own() {
    let (folder, table, vectors, info) = saved();
    let index = graphed(Some(Arc::clone(&table) as Arc<dyn Source>), 32, &settings());
    assert_eq!(index.load(folder.path(), &info, "model").unwrap(), 1_000);
    assert_eq!(index.state(), State::Graph, "at once");
    for (id, vector) in (0..).zip(&vectors[..1_000]) {
        let hit = index.nearest(vector, 1, By::Document, Allowed::All).unwrap()[0];
        assert_eq!((hit.id, hit.group), (id, id / 2));
    }
    let next = index.save(folder.path(), "vectors", "model").unwrap().unwrap();
    assert_eq!(next.file, "vectors-2.usearch");
    assert_eq!(index.load(folder.path(), &next, "model").unwrap(), 1_000, "over itself");
    std::fs::write(folder.path().join("vectors-xyz.tmp"), "left behind").unwrap();
    std::fs::write(folder.path().join("vectors-of-another.usearch"), "not ours").unwrap();
    keep_only(folder.path(), "vectors", Some(&next)).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["vectors-2.usearch", "vectors-of-another.usearch"]);
}

#[test]
fn a_snapshot_older_than_the_table_answers_as_the_table() {
    let (folder, table, vectors, info) = saved();
    // 20 have gone, 20 have another vector under the same id, 20 another group, 100 have come.
    {
        let mut rows = table.0.lock().unwrap();
        (0..20).for_each(|id| _ = rows.remove(&id));
    }
    (20..40).for_each(|id| table.put(id, id / 2, &vectors[1_000 + id as usize]));
    (40..60).for_each(|id| table.put(id, 9_000 + id, &vectors[id as usize]));
    (2_000..2_100).for_each(|id| table.put(id, id / 2, &vectors[id as usize - 1_000]));
    let index = graphed(Some(Arc::clone(&table) as Arc<dyn Source>), 32, &settings());
    assert_eq!(index.load(folder.path(), &info, "model").unwrap(), 1_080);
    for settled in [false, true] {
        if settled {
            settle(&index);
        }
        assert_eq!(index.state(), State::Graph);
        let rows = table.0.lock().unwrap().clone();
        let (mut found, mut wanted) = (0, 0);
        for query in &vectors {
            for hit in index.nearest(query, 10, By::Document, Allowed::All).unwrap() {
                let (group, blob) = &rows[&hit.id];
                let vector = vector::from_blob(blob, 32).unwrap();
                let cosine: f32 = vector.iter().zip(query).map(|(a, b)| a * b).sum();
                assert!(*group == hit.group && (1.0 - cosine - hit.distance).abs() < 0.005, "{hit:?}");
            }
        }
        for (&id, (_, blob)) in &rows {
            let vector = vector::from_blob(blob, 32).unwrap();
            wanted += 1;
            found += i32::from(
                index.nearest(&vector, 2, By::Document, Allowed::All).unwrap().iter().any(|hit| hit.id == id),
            );
        }
        assert!(found * 100 >= wanted * 99, "{found} of {wanted}");
    }
}

#[test]
fn a_snapshot_of_something_else_is_refused_and_nothing_changes() {
    let (folder, table, vectors, info) = saved();
    let source = Arc::clone(&table) as Arc<dyn Source>;
    let narrow = settings::Index { precision: Precision::I8, ..settings() };
    for (what, index, info, model) in [
        ("another model", graphed(Some(Arc::clone(&source)), 32, &settings()), info.clone(), "other"),
        ("another length", graphed(Some(Arc::clone(&source)), 16, &settings()), info.clone(), "model"),
        ("another precision", graphed(Some(Arc::clone(&source)), 32, &narrow), info.clone(), "model"),
        (
            "no file",
            graphed(Some(Arc::clone(&source)), 32, &settings()),
            SnapshotInfo { file: "vectors-7.usearch".into(), ..info.clone() },
            "model",
        ),
        (
            "another checksum",
            graphed(Some(Arc::clone(&source)), 32, &settings()),
            SnapshotInfo { checksum: "00".into(), ..info.clone() },
            "model",
        ),
    ] {
        let error = index.load(folder.path(), &info, model).unwrap_err();
        assert_eq!((error.code, index.state()), (Code::Corrupt, State::FromFile), "{what}: {}", error.message);
    }
    // Too far behind: 130 of 1,000 have gone.
    (0..130).for_each(|id| _ = table.0.lock().unwrap().remove(&id));
    let index = graphed(Some(source), 32, &settings());
    let error = index.load(folder.path(), &info, "model").unwrap_err();
    assert!(error.code == Code::Corrupt && error.message.contains("too old"), "{}", error.message);
    assert_eq!(index.fill().unwrap(), 870, "what is to be done then");
    assert_eq!(index.nearest(&vectors[500], 1, By::Document, Allowed::All).unwrap()[0].id, 500);
}

#[test]
fn a_damaged_snapshot_is_refused_wherever_it_is_damaged() {
    let (folder, table, _, info) = saved();
    let path = folder.path().join(&info.file);
    let whole = std::fs::read(&path).unwrap();
    let index = graphed(Some(Arc::clone(&table) as Arc<dyn Source>), 32, &settings());
    let refuses = |bytes: &[u8], what: &str| {
        std::fs::write(&path, bytes).unwrap();
        let error = index.load(folder.path(), &info, "model").unwrap_err();
        assert_eq!((error.code, index.state()), (Code::Corrupt, State::FromFile), "{what}");
    };
    for length in (0..whole.len()).step_by(4_096).chain([whole.len() - 1]) {
        refuses(&whole[..length], &format!("truncated to {length}"));
    }
    refuses(&[&whole[..], b"x"].concat(), "longer");
    refuses(&vec![0; whole.len()], "zeros");
    let mut random = Random(5);
    for _ in 0..300 {
        let mut damaged = whole.clone();
        let bit = random.below(damaged.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        refuses(&damaged, &format!("bit {bit} flipped"));
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(index.load(folder.path(), &info, "model").unwrap(), 1_000);
}
