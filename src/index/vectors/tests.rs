//! Through the public surface, against a plain model.

mod graphs;
mod groups;
mod postponed;
mod snapshots;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
};

use super::{testing::*, *};
use crate::{error::Code, settings::Settings};

/// A table in memory.
#[derive(Default)]
pub(super) struct Table(pub Mutex<BTreeMap<i64, (i64, Vec<u8>)>>);

impl Table {
    pub fn put(&self, id: i64, group: i64, unit: &[f32]) {
        self.0.lock().unwrap().insert(id, (group, vector::to_blob(unit)));
    }
}

impl Source for Table {
    fn scan(&self, visit: &mut dyn FnMut(Row<'_>) -> Result<()>) -> Result<()> {
        let rows = self.0.lock().unwrap().clone();
        rows.iter().try_for_each(|(&id, (group, blob))| visit(Row { id, group: *group, blob }))
    }

    fn of_groups(&self, groups: &[i64], visit: &mut dyn FnMut(Row<'_>) -> Result<()>) -> Result<()> {
        self.scan(&mut |row| if groups.contains(&row.group) { visit(row) } else { Ok(()) })
    }
}

pub(super) fn settings() -> settings::Index {
    Settings::new("").index
}

/// What the answer has to be: everything compared with 64 bits, and sorted.
pub(super) fn expected(
    model: &BTreeMap<i64, (i64, Vec<f32>)>,
    query: &[f32],
    k: usize,
    by: By,
    allowed: impl Fn(i64, i64) -> bool,
) -> Vec<(i64, f64)> {
    let mut all: Vec<(i64, i64, f64)> = model
        .iter()
        .filter(|&(&id, (group, _))| allowed(id, *group))
        .map(|(&id, (group, vector))| {
            let cosine: f64 = vector.iter().zip(query).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            (id, *group, 1.0 - cosine)
        })
        .collect();
    all.sort_by(|a, b| a.2.total_cmp(&b.2).then(a.0.cmp(&b.0)));
    if by == By::Group {
        let mut seen = HashSet::new();
        all.retain(|&(_, group, _)| seen.insert(group));
    }
    all.into_iter().take(k).map(|(id, _, distance)| (id, distance)).collect()
}

/// Whether hits are those expected, where rounding may exchange neighbours.
pub(super) fn assert_near(hits: &[Hit], expected: &[(i64, f64)], tolerance: f64, what: &str) {
    assert_eq!(hits.len(), expected.len(), "{what}");
    for (place, (hit, wanted)) in hits.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(hit.distance) - wanted.1).abs() < tolerance,
            "{what}, place {place}: {hit:?} in place of {wanted:?}"
        );
    }
    let both = hits.iter().filter(|hit| expected.iter().any(|wanted| wanted.0 == hit.id)).count();
    // Of a few the last may be another one at nearly the same distance.
    assert!(both * 10 + 10 >= hits.len() * 9, "{what}: {both} of {}", hits.len());
}

#[test]
fn any_course_of_puts_and_removals_answers_as_the_model() {
    for (precision, tolerance) in [(Precision::I16, 0.003), (Precision::I8, 0.006)] {
        let index = VectorIndex::new(48, &settings::Index { precision, ..settings() });
        let vectors = clustered(3_000, 48, 5);
        let mut model = BTreeMap::new();
        let mut random = Random(3);
        for round in 0..12 {
            for _ in 0..400 {
                let id = random.below(2_000) as i64;
                if random.below(4) == 0 {
                    index.remove(&[id, -5]);
                    model.remove(&id);
                } else {
                    let (vector, group) = (&vectors[random.below(3_000)], random.below(500) as i64);
                    index.put(&[Entry { id, group, vector }]).unwrap();
                    model.insert(id, (group, vector.clone()));
                }
            }
            let gone: Vec<i64> = (0..5).map(|_| random.below(500) as i64).collect();
            index.remove_groups(&gone);
            model.retain(|_, (group, _)| !gone.contains(group));
            assert_eq!(index.len(), model.len());
            assert_eq!(index.groups(), model.values().map(|(group, _)| group).collect::<HashSet<_>>().len());
            let query = random.direction(48);
            for by in [By::Document, By::Group] {
                for k in [1, 10, 5_000] {
                    let hits = index.nearest(&query, k, by, Allowed::All).unwrap();
                    let wanted = expected(&model, &query, k, by, |_, _| true);
                    assert_near(&hits, &wanted, tolerance, &format!("{precision:?} {round} {by:?} {k}"));
                    assert!(hits.iter().all(|hit| model[&hit.id].0 == hit.group));
                }
                // From a handful to most, close together and far apart.
                for (step, most) in [(1, 5), (3, 2_000), (1, 1_900), (1_000_003, 2_000_000_000)] {
                    let set: IdSet = (0..most).step_by(step).map(|id| id as i64).collect();
                    let what = format!("{precision:?} {round} {by:?}, every {step} of {most}");
                    let hits = index.nearest(&query, 20, by, Allowed::Documents(&set)).unwrap();
                    assert_near(&hits, &expected(&model, &query, 20, by, |id, _| set.contains(id)), tolerance, &what);
                    let hits = index.nearest(&query, 20, by, Allowed::Groups(&set)).unwrap();
                    let wanted = expected(&model, &query, 20, by, |_, group| set.contains(group));
                    assert_near(&hits, &wanted, tolerance, &what);
                }
            }
            let groups: Vec<i64> = (0..510).collect();
            for (group, best) in groups.iter().zip(index.best_of(&query, &groups).unwrap()) {
                let wanted = expected(&model, &query, 1, By::Document, |_, of| of == *group);
                assert_eq!(best.is_some(), !wanted.is_empty(), "group {group}");
                if let Some(best) = best {
                    assert_near(&[best], &wanted[..], tolerance * 2.0, "best of a group");
                }
            }
            let (id, (_, vector)) = model.iter().next().unwrap();
            let got = index.get(*id).unwrap();
            assert!(got.iter().zip(vector).all(|(a, b)| (a - b).abs() < tolerance as f32));
            assert_eq!(index.get(5_000), None);
        }
        index.clear();
        assert_eq!((index.len(), index.groups(), index.memory().vectors), (0, 0, 0));
    }
}

#[test]
fn a_vector_that_is_none_is_refused_and_nothing_of_its_batch_is_put() {
    let index = VectorIndex::new(3, &settings());
    let good = Entry { id: 1, group: 1, vector: &[1.0, 0.0, 0.0] };
    for (vector, named) in [
        (&[1.0][..], "has 1 numbers"),
        (&[0.0, f32::INFINITY, 0.0][..], "vector[1] is inf"),
        (&[0.0, 0.0, 0.0][..], "are 0"),
    ] {
        let error = index.put(&[good, Entry { id: 77, group: 1, vector }]).unwrap_err();
        assert_eq!(error.code, Code::InvalidArg);
        assert!(error.message.starts_with("document 77: ") && error.message.contains(named), "{}", error.message);
        assert_eq!(index.nearest(vector, 1, By::Document, Allowed::All).unwrap_err().code, Code::InvalidArg);
        assert_eq!(index.best_of(vector, &[1]).unwrap_err().code, Code::InvalidArg);
    }
    assert!(index.is_empty());
}

#[test]
fn equal_distances_are_ordered_by_id_and_a_distance_is_never_below_zero() {
    let index = VectorIndex::new(5, &settings());
    let vector = [0.1, 0.7, 0.3, 0.2, 0.9];
    let entries: Vec<Entry<'_>> = [9, 4, 7, 1].map(|id| Entry { id, group: id, vector: &vector }).into();
    index.put(&entries).unwrap();
    let hits = index.nearest(&vector, 3, By::Document, Allowed::All).unwrap();
    assert_eq!(hits.iter().map(|hit| hit.id).collect::<Vec<_>>(), [1, 4, 7]);
    assert!(hits.iter().all(|hit| (0.0..0.01).contains(&hit.distance)), "{hits:?}");
}

#[test]
fn a_table_is_read_until_it_is_in_memory_and_the_answers_are_the_same() {
    let (table, vectors) = (Arc::new(Table::default()), clustered(2_000, 64, 11));
    for (id, vector) in (0..).zip(&vectors) {
        table.put(id, id / 3, vector);
    }
    let index = VectorIndex::of(Arc::clone(&table) as Arc<dyn Source>, 64, &settings());
    let query = Random(1).direction(64);
    let set: IdSet = (100..400).collect();
    let ask = |index: &VectorIndex| {
        let mut answers = vec![];
        for by in [By::Document, By::Group] {
            for allowed in [Allowed::All, Allowed::Groups(&set), Allowed::Documents(&set)] {
                answers.push(index.nearest(&query, 10, by, allowed).unwrap());
            }
        }
        answers.push(index.best_of(&query, &[3, 10_000, 7]).unwrap().into_iter().flatten().collect());
        answers
    };
    assert_eq!(index.state(), State::FromFile);
    let from_file = ask(&index);
    // What is put before is in the table already.
    index.put(&[Entry { id: 5_000, group: 1, vector: &query }]).unwrap();
    assert_eq!(index.fill().unwrap(), 2_000);
    assert_eq!(index.state(), State::Exact);
    for (memory, file) in ask(&index).iter().zip(&from_file) {
        let wanted: Vec<(i64, f64)> = file.iter().map(|hit| (hit.id, f64::from(hit.distance))).collect();
        assert_near(memory, &wanted, 0.003, "in memory");
    }
}

#[test]
fn a_budget_is_kept_with_eight_bits_then_by_reading_the_table() {
    let (table, vectors) = (Arc::new(Table::default()), clustered(6_000, 64, 12));
    for (id, vector) in (0..).zip(&vectors[..5_000]) {
        table.put(id, id, vector);
    }
    let bytes = |precision| {
        let index =
            VectorIndex::of(Arc::clone(&table) as Arc<dyn Source>, 64, &settings::Index { precision, ..settings() });
        index.fill().unwrap();
        index.memory().total()
    };
    let (wide, narrow) = (bytes(Precision::I16), bytes(Precision::I8));
    assert!(narrow < wide);
    for (budget, state, precision) in [
        (wide, State::Exact, Precision::I16),
        (wide - 1, State::Exact, Precision::I8),
        (narrow + 1_000, State::Exact, Precision::I8),
        (narrow / 2, State::FromFile, Precision::I16),
    ] {
        let index = VectorIndex::of(
            Arc::clone(&table) as Arc<dyn Source>,
            64,
            &settings::Index { memory_budget: budget, ..settings() },
        );
        index.fill().unwrap();
        assert_eq!((index.state(), index.precision()), (state, precision), "{budget}");
        assert!(index.memory().total() <= budget);
        let hits = index.nearest(&vectors[17], 1, By::Document, Allowed::All).unwrap();
        assert_eq!(hits[0].id, 17);
    }
    // The same while it grows.
    let index = VectorIndex::of(
        Arc::clone(&table) as Arc<dyn Source>,
        64,
        &settings::Index { memory_budget: wide + 1_000, ..settings() },
    );
    index.fill().unwrap();
    let mut seen = vec![];
    for (id, vector) in (0..).zip(&vectors).skip(5_000).chain((6_000..).zip(vectors.iter().cycle().take(20_000))) {
        table.put(id, id, vector);
        index.put(&[Entry { id, group: id, vector }]).unwrap();
        seen.push((index.state(), index.precision()));
        assert!(index.memory().total() <= wide + 1_000);
        if index.state() == State::FromFile {
            break;
        }
    }
    seen.dedup();
    let (exact, file) = (State::Exact, State::FromFile);
    assert_eq!(seen, [(exact, Precision::I16), (exact, Precision::I8), (file, Precision::I16)]);
    assert_eq!(index.nearest(&vectors[5_500], 1, By::Document, Allowed::All).unwrap()[0].id, 5_500);
}

#[test]
fn a_damaged_row_is_an_error_and_what_was_there_stays() {
    let (table, vectors) = (Arc::new(Table::default()), clustered(10, 8, 12));
    for (id, vector) in (0..).zip(&vectors) {
        table.put(id, id, vector);
    }
    let index = VectorIndex::of(Arc::clone(&table) as Arc<dyn Source>, 8, &settings());
    index.fill().unwrap();
    table.0.lock().unwrap().get_mut(&4).unwrap().1.pop();
    assert_eq!(index.fill().unwrap_err().code, Code::Corrupt);
    assert_eq!((index.len(), index.state()), (10, State::Exact));
}

/// Waits until nothing is built any more.
pub(super) fn settle(index: &VectorIndex) {
    let start = std::time::Instant::now();
    while index.shared.builder.is_running() || index.shared.work().is_some() {
        index.shared.build_in_background();
        assert!(start.elapsed().as_secs() < 300, "the graph is never done");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert_eq!(index.failure(), None);
}

/// An index that has a graph from 300 documents on.
pub(super) fn graphed(source: Option<Arc<dyn Source>>, dimensions: usize, settings: &settings::Index) -> VectorIndex {
    VectorIndex::with_threshold(dimensions, settings, source, 300)
}

/// How many of the expected documents were found.
fn recalled(hits: &[Hit], expected: &[(i64, f64)]) -> usize {
    hits.iter().filter(|hit| expected.iter().any(|wanted| wanted.0 == hit.id)).count()
}

#[test]
fn everything_at_once_is_never_wrong_and_never_stuck() {
    let folder = tempfile::tempdir().unwrap();
    let table = Arc::new(Table::default());
    let vectors = clustered(3_000, 32, 6);
    let index = graphed(Some(Arc::clone(&table) as Arc<dyn Source>), 32, &settings());
    for (id, vector) in (0..).zip(&vectors[..2_000]) {
        table.put(id, id / 2, vector);
    }
    let until = std::time::Instant::now() + std::time::Duration::from_secs(3);
    let searched = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let (index, vectors, searched) = (&index, &vectors, &searched);
            scope.spawn(move || {
                let mut random = Random(seed);
                let set: IdSet = (0..700).collect();
                while std::time::Instant::now() < until {
                    let query = &vectors[random.below(3_000)];
                    for (by, allowed) in [
                        (By::Document, Allowed::All),
                        (By::Group, Allowed::All),
                        (By::Group, Allowed::Groups(&set)),
                        (By::Document, Allowed::Documents(&set)),
                    ] {
                        let hits = index.nearest(query, 10, by, allowed).unwrap();
                        assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance));
                        assert!(hits.iter().all(|hit| hit.group == hit.id / 2));
                        // Ids above are removed before this and never put again.
                        assert!(hits.iter().all(|hit| hit.id < 10_000));
                    }
                    index.best_of(query, &[1, 2, 3]).unwrap();
                    let _ = (index.get(5), index.memory(), index.state(), index.len());
                    searched.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while std::time::Instant::now() < until {
                if let Some(info) = index.save(folder.path(), "vectors", "model").unwrap() {
                    keep_only(folder.path(), "vectors", Some(&info)).unwrap();
                }
            }
        });
        scope.spawn(|| {
            let mut random = Random(77);
            index.fill().unwrap();
            while std::time::Instant::now() < until {
                let ids: Vec<i64> = (0..50).map(|_| random.below(3_000) as i64).collect();
                for &id in &ids {
                    let vector = &vectors[random.below(3_000)];
                    table.put(id, id / 2, vector);
                    index.put(&[Entry { id, group: id / 2, vector }]).unwrap();
                }
                index.remove(&ids[..10]);
                index.remove_groups(&[ids[11] / 2]);
                let mut table = table.0.lock().unwrap();
                ids[..10].iter().for_each(|id| _ = table.remove(id));
                table.retain(|_, (group, _)| *group != ids[11] / 2);
            }
        });
    });
    assert!(searched.into_inner() > 100);
    settle(&index);
    let model: BTreeMap<i64, (i64, Vec<f32>)> = table
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|(&id, (group, blob))| (id, (*group, vector::from_blob(blob, 32).unwrap())))
        .collect();
    assert_eq!(index.len(), model.len());
    let (mut found, mut wanted) = (0, 0);
    for query in &vectors[..100] {
        let expected = expected(&model, query, 10, By::Document, |_, _| true);
        found += recalled(&index.nearest(query, 10, By::Document, Allowed::All).unwrap(), &expected);
        wanted += expected.len();
    }
    assert!(found * 100 >= wanted * 95, "{found} of {wanted}");
}
