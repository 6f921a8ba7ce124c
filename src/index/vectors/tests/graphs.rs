//! Graphs, made and mended in the background.

use super::{
    super::{construction::Construction, graph::Graph},
    *,
};

#[test]
fn a_graph_answers_as_the_model_through_any_course_of_events() {
    for precision in [Precision::I16, Precision::I8] {
        let index = graphed(None, 48, &settings::Index { precision, ..settings() });
        let vectors = clustered(1_500, 48, 5);
        let mut model = BTreeMap::new();
        let mut random = Random(8);
        let mut states = HashSet::new();
        let (mut found, mut wanted) = (0, 0);
        // Grows, is changed all over, shrinks to a few, and grows again.
        for (round, (most, removals)) in
            [(1_500, 0), (1_500, 1), (1_500, 8), (1_500, 1), (200, 40), (60, 60), (1_500, 0), (1_500, 2)]
                .into_iter()
                .enumerate()
        {
            for _ in 0..1_000 {
                let id = random.below(most) as i64;
                if random.below(100) < removals * 5 {
                    index.remove(&[id]);
                    model.remove(&id);
                } else {
                    let (vector, group) = (&vectors[random.below(1_500)], random.below(400) as i64);
                    index.put(&[Entry { id, group, vector }]).unwrap();
                    model.insert(id, (group, vector.clone()));
                }
            }
            if most < 1_500 {
                let gone: Vec<i64> = model.keys().copied().filter(|&id| id as usize >= most).collect();
                index.remove(&gone);
                gone.iter().for_each(|id| _ = model.remove(id));
            }
            for settled in [false, true] {
                if settled {
                    settle(&index);
                }
                states.insert(index.state().as_str());
                assert_eq!(index.len(), model.len());
                for _ in 0..6 {
                    let query = &vectors[random.below(1_500)];
                    for by in [By::Document, By::Group] {
                        let half: IdSet = (0..1_500).filter(|id| id % 2 == 0).collect();
                        let few: IdSet = (0..20).collect();
                        for (allowed, set) in [
                            (Allowed::All, None),
                            (Allowed::Groups(&half), Some(&half)),
                            (Allowed::Documents(&half), Some(&half)),
                            (Allowed::Groups(&few), Some(&few)),
                        ] {
                            let hits = index.nearest(query, 10, by, allowed).unwrap();
                            let by_group = matches!(allowed, Allowed::Groups(_));
                            let expected = expected(&model, query, 10, by, |id, group| {
                                set.is_none_or(|set| set.contains(if by_group { group } else { id }))
                            });
                            assert_eq!(hits.len(), expected.len(), "round {round}, {by:?}");
                            for hit in &hits {
                                // Never one that was removed, nor an earlier vector of one.
                                let (group, vector) = &model[&hit.id];
                                let cosine: f32 = vector.iter().zip(query).map(|(a, b)| a * b).sum();
                                assert_eq!(*group, hit.group);
                                assert!((1.0 - cosine - hit.distance).abs() < 0.006, "round {round}: {hit:?}");
                            }
                            found += recalled(&hits, &expected);
                            wanted += expected.len();
                        }
                    }
                }
            }
        }
        assert!(states.contains("graph") && states.contains("exact"), "{states:?}");
        // Rounding alone exchanges some.
        assert!(found * 100 >= wanted * 95, "{precision:?}: {found} of {wanted}");
    }
}

#[test]
fn removed_documents_give_their_memory_back() {
    let index = graphed(None, 32, &settings());
    let vectors = clustered(1_500, 32, 1);
    let entries: Vec<Entry<'_>> = (0..).zip(&vectors).map(|(id, vector)| Entry { id, group: id, vector }).collect();
    index.put(&entries).unwrap();
    settle(&index);
    let full = index.memory();
    // The same ones again and again: every one leaves a place that leads nowhere.
    for _ in 0..3 {
        index.put(&entries).unwrap();
        settle(&index);
    }
    assert!(index.memory().total() < full.total() * 3, "{:?} after {full:?}", index.memory());
    let ids: Vec<i64> = (0..1_100).collect();
    index.remove(&ids);
    settle(&index);
    assert_eq!((index.len(), index.state()), (400, State::Graph));
    assert!(index.memory().vectors * 2 <= full.vectors, "{:?} after {full:?}", index.memory());
    index.remove(&(1_100..1_400).collect::<Vec<_>>());
    settle(&index);
    assert_eq!((index.len(), index.state(), index.memory().graph), (100, State::Exact, 0));
}

#[test]
fn a_graph_stays_good_when_its_vectors_go_to_eight_bits() {
    let vectors = clustered(1_100, 384, 9);
    let entries: Vec<Entry<'_>> = (0..).zip(&vectors).map(|(id, vector)| Entry { id, group: id, vector }).collect();
    let index = graphed(None, 384, &settings());
    index.put(&entries[..1_000]).unwrap();
    settle(&index);
    // The next block of vectors is more than that with 16 bits a number, not with 8.
    let budget = index.memory().total() + 40_000;
    let index = graphed(None, 384, &settings::Index { memory_budget: budget, ..settings() });
    index.put(&entries[..1_000]).unwrap();
    settle(&index);
    assert_eq!((index.state(), index.precision()), (State::Graph, Precision::I16));
    index.put(&entries[1_000..]).unwrap();
    assert_eq!((index.state(), index.precision()), (State::Graph, Precision::I8));
    for (id, vector) in (0..).zip(&vectors) {
        assert_eq!(index.nearest(vector, 1, By::Document, Allowed::All).unwrap()[0].id, id);
    }
}

#[test]
fn more_than_a_budget_goes_to_eight_bits_then_without_a_graph_then_to_the_table() {
    let (table, vectors) = (Arc::new(Table::default()), clustered(16_000, 384, 9));
    for (id, vector) in (0..).zip(&vectors[..4_000]) {
        table.put(id, id, vector);
    }
    let source = || Some(Arc::clone(&table) as Arc<dyn Source>);
    let whole = graphed(source(), 384, &settings());
    whole.fill().unwrap();
    settle(&whole);
    let Memory { vectors: of_vectors, maps, .. } = whole.memory();
    // What a graph needs while it is made is part of it.
    let graph = Graph::bytes_of(4_000) + Construction::bytes_of(4_000);
    for (budget, state, precision) in [
        (of_vectors + graph + maps, State::Graph, Precision::I16),
        (of_vectors / 2 + graph + maps, State::Graph, Precision::I8),
        (of_vectors / 2 + graph + maps - 1, State::Exact, Precision::I16),
        (of_vectors / 2 + maps, State::Exact, Precision::I8),
        (of_vectors / 2, State::FromFile, Precision::I16),
    ] {
        let index = graphed(source(), 384, &settings::Index { memory_budget: budget, ..settings() });
        index.fill().unwrap();
        settle(&index);
        assert_eq!((index.state(), index.precision()), (state, precision), "{budget}");
        assert!(index.memory().total() <= budget, "{budget}: {:?}", index.memory());
        assert_eq!(index.nearest(&vectors[17], 1, By::Document, Allowed::All).unwrap()[0].id, 17);
    }
    // The same while it grows.
    let budget = whole.memory().total() + Construction::bytes_of(4_000);
    let index = graphed(source(), 384, &settings::Index { memory_budget: budget, ..settings() });
    index.fill().unwrap();
    settle(&index);
    let mut seen = vec![(index.state(), index.precision())];
    for (id, vector) in (4_000..).zip(&vectors[4_000..]) {
        table.put(id, id, vector);
        index.put(&[Entry { id, group: id, vector }]).unwrap();
        if id % 500 == 0 {
            settle(&index);
            assert!(index.memory().total() <= budget, "{id}: {:?}", index.memory());
            assert_eq!(index.nearest(vector, 1, By::Document, Allowed::All).unwrap()[0].id, id);
            seen.push((index.state(), index.precision()));
        }
        if index.state() == State::FromFile {
            break;
        }
    }
    seen.push((index.state(), index.precision()));
    seen.dedup();
    assert_eq!(
        seen,
        [
            (State::Graph, Precision::I16),
            (State::Graph, Precision::I8),
            (State::Exact, Precision::I8),
            (State::FromFile, Precision::I16)
        ]
    );
}
